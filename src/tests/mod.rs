//! Tests by feature. Those that need a server find it by `DATA_SYNC_TEST_POSTGRES`, which `npm test` sets.

mod bed;
mod config;
mod contract;
mod crash;
mod histories;
mod losses;
mod mapping;
mod postgres;
mod postgres_bed;
mod proxy;
mod support;
mod target;
mod world;
