//! What `getSyncStatus` and a dry run answer.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::batch::Value;
use crate::event::{Mode, Phase};
use crate::target::{State, TablePhase, TableState};

/// Where the replica stands, read from the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The end of the last run in which every table succeeded; `None` before it.
    pub last_sync_time: Option<String>,
    /// Whether a run is under way, in this process or another.
    pub is_running: bool,
    /// By the table's name in the target.
    pub table_map: BTreeMap<String, TableStatus>,
}

/// Where one table stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableStatus {
    /// The position as a person reads it: the track value, or the key while the first load is under way.
    pub last_value: Option<String>,
    /// Rows in the target.
    pub record_count: u64,
    /// How it is synced.
    pub mode: Mode,
    /// Where it is in its life.
    pub phase: Phase,
    /// The end of the last run in which it succeeded.
    pub last_sync_time: Option<String>,
    /// The message of its last failure; `None` after a success.
    pub last_error: Option<String>,
    /// Rows in the target without a track value.
    pub null_tracked: u64,
}

impl Status {
    /// What `state` says.
    pub fn of(state: State, is_running: bool) -> Self {
        Self {
            last_sync_time: state.last_sync_time,
            is_running,
            table_map: state.tables.into_values().map(|table| (table.target.clone(), TableStatus::of(table))).collect(),
        }
    }
}

impl TableStatus {
    fn of(table: TableState) -> Self {
        let last_value = match table.phase {
            TablePhase::Reset => None,
            TablePhase::Snapshot => {
                table.key_position.map(|key| key.iter().map(Value::render).collect::<Vec<_>>().join(", "))
            }
            TablePhase::Incremental => table.position.map(|position| position.track.render()),
        };
        Self {
            last_value,
            record_count: table.record_count,
            mode: table.mode,
            phase: table.phase.into(),
            last_sync_time: table.last_sync_time,
            last_error: table.last_error,
            null_tracked: table.null_tracked,
        }
    }
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// Always true, so that a program can tell it from a run's result.
    pub dry_run: bool,
    /// The source, without secrets.
    pub source: String,
    /// Where its type stands: `options.source`, `environment`, `.dev.vars` or the wrangler file's path.
    pub configured_by: String,
    /// Where each variable that it was made of stands, by the variable's name.
    pub variables: BTreeMap<String, String>,
    /// What the log warns of besides the tables' hints.
    pub warnings: Vec<String>,
    /// By how many milliseconds the source's clock is ahead of this machine's; `None` where it tells no time.
    pub clock_skew_ms: Option<i64>,
    /// By the table's name in the target.
    pub tables: BTreeMap<String, TablePlan>,
}

/// What a run would do to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TablePlan {
    /// Its full name at the source.
    pub source: String,
    /// How it would be synced.
    pub mode: Mode,
    /// Where it is in its life.
    pub phase: Phase,
    /// The columns it would be tracked by.
    pub track_columns: Vec<String>,
    /// Its key, by the columns' names at the source.
    pub primary_key: Vec<String>,
    /// The statements that would be run on the target before the rows.
    pub ddl: Vec<String>,
    /// What may not be as its user expects, such as updates that are missed.
    pub hints: Vec<String>,
    /// The statement that would give the source an index it lacks to find changes by.
    pub missing_index: Option<String>,
    /// Roughly how many rows would be read; `None` when the source can't tell.
    pub estimated_rows: Option<u64>,
}
