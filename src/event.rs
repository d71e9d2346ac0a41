//! What a run tells while it goes: events for programs, log lines for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::DryRun;

/// How urgent a log line is, least urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For finding a fault.
    Debug,
    /// What happens.
    Info,
    /// What may need attention.
    Warn,
    /// What went wrong.
    Error,
    /// As a threshold only: nothing is logged.
    Silent,
}

/// How a table is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Changed rows are found by the track column.
    Incremental,
    /// New rows are found by the track column; rows that are there are never rewritten.
    Append,
    /// Every run reads the whole table.
    Full,
}

/// Which part of its life a table is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The first load, or a new load after a reset or a change of schema, is not complete.
    Snapshot,
    /// The first load is complete.
    Incremental,
    /// In the progress of a comparison only: its rows are compared with the source's.
    Verify,
}

/// What was done for one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableStats {
    /// How it was synced.
    pub mode: Mode,
    /// Rows the source sent.
    pub rows_read: u64,
    /// Rows that are new in the target.
    pub rows_inserted: u64,
    /// Rows of the target that really changed.
    pub rows_updated: u64,
    /// Rows of the target that were deleted, or marked as deleted.
    pub rows_deleted: u64,
    /// Bytes of row data the source sent.
    pub bytes_read: u64,
    /// Milliseconds.
    pub duration_ms: u64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStats {
    /// When it began: ISO 8601, UTC, milliseconds.
    pub started_at: String,
    /// When it ended, in the same form.
    pub finished_at: String,
    /// Milliseconds between them.
    pub duration_ms: u64,
    /// Sum over the tables.
    pub rows_read: u64,
    /// Sum over the tables.
    pub rows_inserted: u64,
    /// Sum over the tables.
    pub rows_updated: u64,
    /// Sum over the tables.
    pub rows_deleted: u64,
    /// Sum over the tables.
    pub bytes_read: u64,
    /// By the table's name in the target.
    pub tables: BTreeMap<String, TableStats>,
}

/// One difference between a table's schema now and at the last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SchemaChange {
    /// What changed.
    pub kind: ChangeKind,
    /// The column at the source; `None` when the key as a whole changed.
    pub column: Option<String>,
    /// The type before, as the source printed it.
    pub from: Option<String>,
    /// The type now, as the source prints it.
    pub to: Option<String>,
}

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// A column is new.
    ColumnAdded,
    /// A column is gone; the target keeps it.
    ColumnDropped,
    /// A column's type changed so that its values are spelled in another way.
    ColumnRetyped,
    /// The key's columns changed.
    KeyChanged,
}

/// Everything a run tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// A run has found its tables.
    SyncStart {
        /// Their names in the target.
        tables: Vec<String>,
    },
    /// A table's turn has come.
    TableStart {
        /// Its name in the target.
        table: String,
        /// How it is synced.
        mode: Mode,
        /// Where it stands.
        phase: Phase,
    },
    /// Rows were committed; at most ten a second.
    Progress {
        /// The table.
        table: String,
        /// Where it stands.
        phase: Phase,
        /// Rows read in this run so far.
        rows: u64,
        /// Roughly how many there will be, when known.
        estimated_rows: Option<u64>,
        /// Rows read a second since the table's start.
        rows_per_second: u64,
    },
    /// A table is done.
    TableComplete {
        /// The table.
        table: String,
        /// What was done.
        stats: TableStats,
    },
    /// A table's schema at the source differs from the last run's.
    SchemaChange {
        /// The table.
        table: String,
        /// Every difference.
        changes: Vec<SchemaChange>,
    },
    /// A line for people.
    Log {
        /// How urgent.
        level: Level,
        /// The line, without a time and without a line end.
        message: String,
    },
    /// A run ended and every table is in sync.
    SyncComplete(RunStats),
    /// A run ended and something failed.
    SyncError(Failure),
}

/// How a run failed, in the form users see.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The first failure, and the whole of it when it has no table.
    #[serde(flatten)]
    pub first: Fault,
    /// What was done all the same.
    pub stats: Option<RunStats>,
    /// One per failed table.
    pub errors: Vec<Fault>,
    /// What a dry run found all the same.
    pub plan: Option<Box<DryRun>>,
}

/// One failure, in the form users see.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// The public code.
    pub code: &'static str,
    /// The message, ending with the cause.
    pub message: String,
    /// The table by its name in the target, when it belongs to one.
    pub table: Option<String>,
    /// The cause alone.
    pub cause: Option<String>,
    /// Whether the same call may succeed later without any change.
    pub retryable: bool,
}

impl From<&crate::error::Error> for Fault {
    fn from(error: &crate::error::Error) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
            table: error.table().map(str::to_owned),
            cause: error.cause().map(str::to_owned),
            retryable: error.is_transient(),
        }
    }
}

/// Somebody who listens. Called from the run's own task: it must return at once and must not panic.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}
