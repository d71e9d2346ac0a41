//! Keeps a SQLite replica of tables that live in another database.
//!
//! ```text
//! source ──scan──▶ Batch ──commit rows + position──▶ target ──▶ event
//! ```
//!
//! The engine asks, the source answers with batches, the target commits rows and position together, then the event
//! fires. The source never touches state; the target never talks to the source; nothing flows back.
//!
//! | module | what it owns |
//! |---|---|
//! | [`error`] | what can go wrong: kind, message, cause |
//! | [`schema`] | what a source says about its tables |
//! | [`batch`] | rows in an arena, values, positions |
//! | [`mapping`] | source type → SQLite type, and how values are spelled |
//! | [`replica`] | the plan for one table |
//! | [`event`] | what a run tells while it goes |
//! | [`config`] | options, environment, wrangler file |
//! | [`source`] | databases to pull from |
//! | [`target`] | where rows go, and the state beside them |
//! | [`engine`] | one run, one table, the schedule |
//! | `node` | the binding: converts and forwards, decides nothing |
//! | `bench` | the hot paths by themselves, for bench/hot-paths |
//! | `fuzz` | what reads foreign bytes, by itself, for fuzz |

pub mod batch;
#[cfg(feature = "bench")]
pub mod bench;
pub mod config;
pub mod engine;
pub mod error;
pub mod event;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod mapping;
#[cfg(feature = "napi")]
mod node;
pub mod replica;
pub mod schema;
pub mod source;
pub mod target;

#[cfg(test)]
mod tests;
