//! Tests by feature. Those that need a server find it by `DATA_SYNC_TEST_POSTGRES` and its like, which `npm test` sets.

mod bed;
mod computed;
mod config;
#[macro_use]
mod contract;
mod behind;
mod crash;
mod deployed;
#[cfg(target_os = "linux")]
mod disk;
mod faults;
mod fuzz_seeds;
mod histories;
mod hostile;
mod losses;
mod mapping;
mod mongodb;
mod mongodb_bed;
mod mysql;
mod mysql_bed;
mod postgres;
mod postgres_bed;
mod proxy;
mod rights;
mod room;
mod secrets;
mod sqlite;
mod sqlite_bed;
pub(crate) mod support;
mod target;
mod tls;
mod verify;
mod world;
