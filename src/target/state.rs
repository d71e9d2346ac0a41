//! What a target remembers between runs, in tables of its own beside the rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::batch::{Key, Position};
use crate::event::{Mode, Phase};
use crate::mapping::SqliteType;

/// Everything earlier runs left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The source the state belongs to, without secrets; `None` before the first run and after a full reset.
    pub fingerprint: Option<String>,
    /// The end of the last run in which every table succeeded.
    pub last_sync_time: Option<String>,
    /// By the table's full name at the source (`schema.table`).
    pub tables: BTreeMap<String, TableState>,
}

/// Where a table is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TablePhase {
    /// The first load is under way: `key_position` says how far.
    Snapshot,
    /// The first load is complete.
    Incremental,
    /// The user asked to start over: the rows are there, but nothing is known of them.
    Reset,
}

impl From<TablePhase> for Phase {
    fn from(phase: TablePhase) -> Self {
        match phase {
            TablePhase::Incremental => Self::Incremental,
            TablePhase::Snapshot | TablePhase::Reset => Self::Snapshot,
        }
    }
}

/// A column as it was at the last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredColumn {
    /// Its name at the source.
    pub source: String,
    /// Its name in the target.
    pub target: String,
    /// Its type as the source printed it.
    pub declared: String,
    /// Its type in the target.
    pub sqlite: SqliteType,
    /// How its values are spelled (`mapping::spelling`).
    pub spelling: String,
    /// Whether it was at the source in the last run; the target keeps a dropped column.
    pub present: bool,
}

/// What is remembered of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableState {
    /// Its full name at the source.
    pub source: String,
    /// Its name in the target.
    pub target: String,
    /// The source that its rows came from (`State::fingerprint` of then).
    pub fingerprint: String,
    /// How it is synced.
    pub mode: Mode,
    /// Where it is in its life.
    pub phase: TablePhase,
    /// What else its positions depend on (track columns, filter): when it differs, all rows are read anew.
    pub signature: String,
    /// Its columns.
    pub columns: Vec<StoredColumn>,
    /// Its key: names of columns in the target; empty when it has none.
    pub key: Vec<String>,
    /// How far the first load is; `None` at its beginning and after its end.
    pub key_position: Option<Key>,
    /// The position: the greatest (track value, key) committed, or the watermark while the first load is under way.
    pub position: Option<Position>,
    /// The position at the end of the last complete run.
    pub floor: Option<Position>,
    /// The source's snapshot of the last complete run.
    pub snapshot: Option<String>,
    /// Rows in the target. Kept by the target.
    pub record_count: u64,
    /// Rows in the target without a track value. Kept by the target.
    pub null_tracked: u64,
    /// The end of the last run in which this table succeeded.
    pub last_sync_time: Option<String>,
    /// The message of the last failure; `None` after a success.
    pub last_error: Option<String>,
}
