//! Rows of the benchmark's table, made in memory and encoded as each source sends them, and the paths that they take.

pub mod encode;
pub mod events;
pub mod paths;
