//! What a target remembers between runs, in tables of its own beside the rows.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::batch::{Key, Position};
use crate::error::{Error, Kind, Result};
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

impl StoredColumn {
    /// Whether equal values are equal cells in both.
    pub fn has_form_of(&self, other: &Self) -> bool {
        (self.sqlite, &self.spelling) == (other.sqlite, &other.spelling)
    }
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

impl TableState {
    /// The state of a table that goes from `source` to `target`, before anything is known of it.
    pub fn new(source: String, target: String, mode: Mode, phase: TablePhase) -> Self {
        Self {
            source,
            target,
            fingerprint: String::new(),
            mode,
            phase,
            signature: String::new(),
            columns: Vec::new(),
            key: Vec::new(),
            key_position: None,
            position: None,
            floor: None,
            snapshot: None,
            record_count: 0,
            null_tracked: 0,
            last_sync_time: None,
            last_error: None,
        }
    }
}

/// The layout of the state's tables; a later one is refused.
pub(super) const VERSION: u32 = 1;

/// The statements that make the state's tables where they are missing.
pub(super) const CREATE: &str = "
CREATE TABLE IF NOT EXISTS main.tmp_data_sync_meta (key TEXT PRIMARY KEY NOT NULL, value TEXT);
CREATE TABLE IF NOT EXISTS main.tmp_data_sync_state (
  source_table TEXT PRIMARY KEY NOT NULL, target_table TEXT NOT NULL, source_fingerprint TEXT NOT NULL,
  mode TEXT NOT NULL, phase TEXT NOT NULL, signature TEXT NOT NULL, columns TEXT NOT NULL, key TEXT NOT NULL,
  key_position TEXT, position TEXT, floor TEXT, snapshot TEXT,
  record_count INTEGER NOT NULL, null_tracked INTEGER NOT NULL, last_sync_time TEXT, last_error TEXT
);";

/// What makes the state of the source's table `?1` that of `?2`.
pub(super) const HAND_ON: &str = "UPDATE main.tmp_data_sync_state SET source_table = ?2 WHERE source_table = ?1";

/// What a reset does to the state of the table `?1`, or of all of them when that is NULL. A damaged description would keep
/// even a table that starts over from being read.
pub(super) const RESET: &str =
    "UPDATE main.tmp_data_sync_state SET phase = 'reset', key_position = NULL, position = NULL,
  floor = NULL, snapshot = NULL, last_error = NULL, columns = iif(json_valid(columns), columns, '[]'),
  key = iif(json_valid(key), key, '[]') WHERE ?1 IS NULL OR source_table = ?1 OR target_table = ?1";

/// Refuses tables that a later version made: `found` is what they say of themselves.
pub(super) fn check_version(found: Option<&str>) -> Result<()> {
    let Some(found) = found else { return Ok(()) };
    if found.parse::<u32>().is_ok_and(|version| version <= VERSION) {
        return Ok(());
    }
    Err(Error::new(Kind::TargetWrite, "The target database was synced by a later version of this plugin")
        .because(format!("its state has version {found}, this version knows {VERSION}: update the plugin")))
}

/// A row of `tmp_data_sync_state`, by its columns' names; the counts are the target's own.
#[expect(clippy::struct_field_names, reason = "they are the columns' names")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) source_table: String,
    pub(super) target_table: String,
    pub(super) source_fingerprint: String,
    pub(super) mode: String,
    pub(super) phase: String,
    pub(super) signature: String,
    pub(super) columns: String,
    pub(super) key: String,
    pub(super) key_position: Option<String>,
    pub(super) position: Option<String>,
    pub(super) floor: Option<String>,
    pub(super) snapshot: Option<String>,
    pub(super) record_count: i64,
    pub(super) null_tracked: i64,
    pub(super) last_sync_time: Option<String>,
    pub(super) last_error: Option<String>,
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|_| Error::new(Kind::Internal, "A table's state can't be written as JSON"))
}

/// The name that a unit variant is stored under.
fn name<T: Serialize>(value: &T) -> Result<String> {
    json(value).map(|text| text.trim_matches('"').to_owned())
}

impl Record {
    /// `state` as it is stored.
    pub(super) fn of(state: &TableState) -> Result<Self> {
        let position = |position: &Option<Position>| position.as_ref().map(json).transpose();
        Ok(Self {
            source_table: state.source.clone(),
            target_table: state.target.clone(),
            source_fingerprint: state.fingerprint.clone(),
            mode: name(&state.mode)?,
            phase: name(&state.phase)?,
            signature: state.signature.clone(),
            columns: json(&state.columns)?,
            key: json(&state.key)?,
            key_position: state.key_position.as_ref().map(json).transpose()?,
            position: position(&state.position)?,
            floor: position(&state.floor)?,
            snapshot: state.snapshot.clone(),
            record_count: i64::try_from(state.record_count).unwrap_or(i64::MAX),
            null_tracked: i64::try_from(state.null_tracked).unwrap_or(i64::MAX),
            last_sync_time: state.last_sync_time.clone(),
            last_error: state.last_error.clone(),
        })
    }

    /// The state that was stored.
    pub(super) fn state(self) -> Result<TableState> {
        let table = &self.target_table;
        let word = |text: &str| serde_json::Value::String(text.to_owned());
        let known = |column: &str| damaged(table, column);
        let document =
            |column: &str, text: &Option<String>| text.as_deref().map(|text| parsed(table, column, text)).transpose();
        Ok(TableState {
            mode: serde_json::from_value(word(&self.mode)).map_err(|_| known("mode"))?,
            phase: serde_json::from_value(word(&self.phase)).map_err(|_| known("phase"))?,
            columns: parsed(table, "columns", &self.columns)?,
            key: parsed(table, "key", &self.key)?,
            key_position: self.key_position.as_deref().map(|text| parsed(table, "key_position", text)).transpose()?,
            position: document("position", &self.position)?,
            floor: document("floor", &self.floor)?,
            record_count: unsigned(self.record_count),
            null_tracked: unsigned(self.null_tracked),
            source: self.source_table,
            target: self.target_table,
            fingerprint: self.source_fingerprint,
            signature: self.signature,
            snapshot: self.snapshot,
            last_sync_time: self.last_sync_time,
            last_error: self.last_error,
        })
    }
}

/// A count as SQLite gives it.
pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn parsed<T: DeserializeOwned>(table: &str, column: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| damaged(table, column))
}

/// What is wrong is not told: the parser would quote row values.
fn damaged(table: &str, column: &str) -> Error {
    Error::new(Kind::TargetWrite, format!("The state of table '{table}' can't be read")).because(format!(
        "the column {column} of tmp_data_sync_state holds something unknown: start the table over with resetSyncState"
    ))
}
