//! The state's tables. Every function works inside the caller's transaction.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ddl;
use super::failure::Failure;
use crate::error::{Error, Kind, Result};
use crate::target::{State, TableState};

/// The layout of the tables below; a later one is refused.
const VERSION: u32 = 1;

const CREATE: &str = "
CREATE TABLE IF NOT EXISTS main.tmp_data_sync_meta (key TEXT PRIMARY KEY NOT NULL, value TEXT);
CREATE TABLE IF NOT EXISTS main.tmp_data_sync_state (
  source_table TEXT PRIMARY KEY NOT NULL, target_table TEXT NOT NULL, source_fingerprint TEXT NOT NULL,
  mode TEXT NOT NULL, phase TEXT NOT NULL, signature TEXT NOT NULL, columns TEXT NOT NULL, key TEXT NOT NULL,
  key_position TEXT, position TEXT, floor TEXT, snapshot TEXT,
  record_count INTEGER NOT NULL, null_tracked INTEGER NOT NULL, last_sync_time TEXT, last_error TEXT
);";

/// How a table's count of rows goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows {
    /// By so many more, or fewer.
    Change(i64),
    /// From this.
    Exactly(u64),
}

/// Whether the tables are there.
pub(super) fn exists(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(ddl::kind(conn, "tmp_data_sync_meta")?.is_some() && ddl::kind(conn, "tmp_data_sync_state")?.is_some())
}

/// Makes the tables where they are missing.
pub(super) fn create(conn: &Connection) -> Result<(), Failure> {
    conn.execute_batch(CREATE)?;
    check_version(conn)?;
    put_meta(conn, "schema_version", &VERSION.to_string())?;
    Ok(())
}

/// Refuses tables that a later version made.
pub(super) fn check_version(conn: &Connection) -> Result<(), Failure> {
    let Some(found) = meta(conn, "schema_version")? else {
        return Ok(());
    };
    if found.parse::<u32>().is_ok_and(|version| version <= VERSION) {
        return Ok(());
    }
    Err(Error::new(Kind::TargetWrite, "The target database was synced by a later version of this plugin")
        .because(format!("its state has version {found}, this version knows {VERSION}: update the plugin"))
        .into())
}

fn meta(conn: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM main.tmp_data_sync_meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

/// Stores something that belongs to the run.
pub(super) fn put_meta(conn: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO main.tmp_data_sync_meta (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value",
    )?
    .execute([key, value])
    .map(drop)
}

/// Everything earlier runs left.
pub(super) fn load(conn: &Connection) -> Result<State, Failure> {
    if !exists(conn)? {
        return Ok(State::default());
    }
    check_version(conn)?;
    let mut state = State {
        fingerprint: meta(conn, "fingerprint")?,
        last_sync_time: meta(conn, "last_sync_time")?,
        ..State::default()
    };
    let mut statement = conn.prepare("SELECT * FROM main.tmp_data_sync_state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let table = table(row)?;
        state.tables.insert(table.source.clone(), table);
    }
    Ok(state)
}

fn table(row: &Row<'_>) -> Result<TableState, Failure> {
    let target: String = row.get("target_table")?;
    let number = |column: &str| row.get(column).map(ddl::unsigned);
    Ok(TableState {
        source: row.get("source_table")?,
        fingerprint: row.get("source_fingerprint")?,
        mode: word(row, &target, "mode")?,
        phase: word(row, &target, "phase")?,
        signature: row.get("signature")?,
        columns: document(row, &target, "columns")?.ok_or_else(|| damaged(&target, "columns"))?,
        key: document(row, &target, "key")?.ok_or_else(|| damaged(&target, "key"))?,
        key_position: document(row, &target, "key_position")?,
        position: document(row, &target, "position")?,
        floor: document(row, &target, "floor")?,
        snapshot: row.get("snapshot")?,
        record_count: number("record_count")?,
        null_tracked: number("null_tracked")?,
        last_sync_time: row.get("last_sync_time")?,
        last_error: row.get("last_error")?,
        target,
    })
}

/// What is wrong is not told: the parser would quote row values.
fn damaged(table: &str, column: &str) -> Error {
    Error::new(Kind::TargetWrite, format!("The state of table '{table}' can't be read")).because(format!(
        "the column {column} of tmp_data_sync_state holds something unknown: start the table over with resetSyncState"
    ))
}

fn word<T: DeserializeOwned>(row: &Row<'_>, table: &str, column: &str) -> Result<T, Failure> {
    let text: String = row.get(column)?;
    serde_json::from_value(serde_json::Value::String(text)).map_err(|_| damaged(table, column).into())
}

fn document<T: DeserializeOwned>(row: &Row<'_>, table: &str, column: &str) -> Result<Option<T>, Failure> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| damaged(table, column).into())
}

fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|_| Error::new(Kind::Internal, "A table's state can't be written as JSON").into())
}

/// The name that a unit variant is stored under.
fn name<T: Serialize>(value: &T) -> Result<String, Failure> {
    json(value).map(|text| text.trim_matches('"').to_owned())
}

/// Stores `state`; `null_tracked` where it was counted anew.
pub(super) fn put(conn: &Connection, state: &TableState, rows: Rows, null_tracked: Option<u64>) -> Result<(), Failure> {
    let document = |value: Option<&_>| value.map(json).transpose();
    let known = conn
        .prepare_cached("SELECT record_count FROM main.tmp_data_sync_state WHERE source_table = ?1")?
        .query_row([&state.source], |row| row.get::<_, i64>(0))
        .optional()?;
    let record_count = match (rows, known) {
        (Rows::Exactly(count), _) => i64::try_from(count).unwrap_or(i64::MAX),
        (Rows::Change(change), Some(known)) => (known + change).max(0),
        (Rows::Change(_), None) => i64::try_from(ddl::rows(conn, &state.target)?).unwrap_or(i64::MAX),
    };
    conn.prepare_cached(
        "INSERT INTO main.tmp_data_sync_state (source_table, target_table, source_fingerprint, mode, phase, signature,
           columns, key, key_position, position, floor, snapshot, record_count, null_tracked, last_sync_time, last_error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, coalesce(?14, 0), ?15, ?16)
         ON CONFLICT (source_table) DO UPDATE SET target_table = ?2, source_fingerprint = ?3, mode = ?4, phase = ?5,
           signature = ?6, columns = ?7, key = ?8, key_position = ?9, position = ?10, floor = ?11, snapshot = ?12,
           record_count = ?13, null_tracked = coalesce(?14, null_tracked), last_sync_time = ?15, last_error = ?16",
    )?
    .execute(params![
        state.source,
        state.target,
        state.fingerprint,
        name(&state.mode)?,
        name(&state.phase)?,
        state.signature,
        json(&state.columns)?,
        json(&state.key)?,
        state.key_position.as_ref().map(json).transpose()?,
        document(state.position.as_ref())?,
        document(state.floor.as_ref())?,
        state.snapshot,
        record_count,
        null_tracked.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
        state.last_sync_time,
        state.last_error,
    ])?;
    Ok(())
}

/// The target's own counts of a table: rows, and rows without a track value.
pub(super) fn counts(conn: &Connection, source: &str) -> rusqlite::Result<(u64, u64)> {
    conn.prepare_cached("SELECT record_count, null_tracked FROM main.tmp_data_sync_state WHERE source_table = ?1")?
        .query_row([source], |row| Ok((ddl::unsigned(row.get(0)?), ddl::unsigned(row.get(1)?))))
}

/// The name in the target that a table's rows went to so far.
pub(super) fn target_of(conn: &Connection, source: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT target_table FROM main.tmp_data_sync_state WHERE source_table = ?1")?
        .query_row([source], |row| row.get(0))
        .optional()
}

/// Stores a table's error.
pub(super) fn put_error(conn: &Connection, source: &str, error: Option<&str>) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE main.tmp_data_sync_state SET last_error = ?2 WHERE source_table = ?1 AND last_error IS NOT ?2",
        params![source, error],
    )
    .map(drop)
}

/// Forgets the positions of one table or of all, and says whether there was anything of that name.
pub(super) fn reset(conn: &Connection, table: Option<&str>) -> rusqlite::Result<bool> {
    // A damaged description would keep even a table that starts over from being read.
    let changed = conn.execute(
        "UPDATE main.tmp_data_sync_state SET phase = 'reset', key_position = NULL, position = NULL, floor = NULL,
           snapshot = NULL, last_error = NULL, columns = iif(json_valid(columns), columns, '[]'),
           key = iif(json_valid(key), key, '[]')
         WHERE ?1 IS NULL OR source_table = ?1 OR target_table = ?1",
        [table],
    )?;
    if table.is_none() {
        conn.execute("DELETE FROM main.tmp_data_sync_meta WHERE key IN ('fingerprint', 'last_sync_time')", [])?;
    }
    Ok(table.is_none() || changed > 0)
}
