//! Tests by feature. Those that need a server find it by `DATA_SYNC_TEST_POSTGRES`, `DATA_SYNC_TEST_MYSQL` or
//! `DATA_SYNC_TEST_MONGODB`, which `npm test` sets.

mod bed;
mod config;
mod contract;
mod crash;
mod faults;
mod histories;
mod losses;
mod mapping;
mod mongodb;
mod mongodb_bed;
mod mysql;
mod mysql_bed;
mod postgres;
mod postgres_bed;
mod proxy;
mod support;
mod target;
mod world;
