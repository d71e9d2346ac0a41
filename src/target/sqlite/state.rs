//! The state's tables. Every function works inside the caller's transaction.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::ddl;
use super::failure::Failure;
use crate::target::state::{self, CREATE, RESET, Record, VERSION};
use crate::target::{State, TableState};

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
    Ok(state::check_version(meta(conn, "schema_version")?.as_deref())?)
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
    let record = Record {
        source_table: row.get("source_table")?,
        target_table: row.get("target_table")?,
        source_fingerprint: row.get("source_fingerprint")?,
        mode: row.get("mode")?,
        phase: row.get("phase")?,
        signature: row.get("signature")?,
        columns: row.get("columns")?,
        key: row.get("key")?,
        key_position: row.get("key_position")?,
        position: row.get("position")?,
        floor: row.get("floor")?,
        snapshot: row.get("snapshot")?,
        record_count: row.get("record_count")?,
        null_tracked: row.get("null_tracked")?,
        last_sync_time: row.get("last_sync_time")?,
        last_error: row.get("last_error")?,
    };
    Ok(record.state()?)
}

/// Stores `state`; `null_tracked` where it was counted anew.
pub(super) fn put(conn: &Connection, state: &TableState, rows: Rows, null_tracked: Option<u64>) -> Result<(), Failure> {
    let record = Record::of(state)?;
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
        record.source_table,
        record.target_table,
        record.source_fingerprint,
        record.mode,
        record.phase,
        record.signature,
        record.columns,
        record.key,
        record.key_position,
        record.position,
        record.floor,
        record.snapshot,
        record_count,
        null_tracked.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
        record.last_sync_time,
        record.last_error,
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
    let changed = conn.execute(RESET, [table])?;
    if table.is_none() {
        conn.execute("DELETE FROM main.tmp_data_sync_meta WHERE key IN ('fingerprint', 'last_sync_time')", [])?;
    }
    Ok(table.is_none() || changed > 0)
}
