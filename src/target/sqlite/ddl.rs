//! Tables and indexes: the statements that make them, and what is there.

use rusqlite::{Connection, OptionalExtension};

use super::failure::Failure;
use crate::error::{Error, Kind};
use crate::replica::Replica;
use crate::target::{Ddl, Existing};

/// The column that says when a row left the source.
pub(super) const DELETED_AT: &str = "_deleted_at";

/// The most columns SQLite takes, in a table and in a result.
pub(super) const MAX_COLUMNS: usize = 2000;

/// `name` as SQL spells it, whatever characters it has.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The expressions that `write` makes for each of `items`, with `separator` between them.
pub(super) fn join<T>(items: impl IntoIterator<Item = T>, separator: &str, write: impl Fn(T) -> String) -> String {
    items.into_iter().map(write).collect::<Vec<_>>().join(separator)
}

/// `columns` as a list of quoted names, each behind `prefix` (such as `t.`).
pub(super) fn names<'a>(prefix: &str, columns: impl IntoIterator<Item = &'a str>) -> String {
    join(columns, ", ", |name| format!("{prefix}{}", quote(name)))
}

/// The names of the replica's columns.
pub(super) fn columns(replica: &Replica) -> impl Iterator<Item = &str> + Clone {
    replica.columns.iter().map(|column| column.name.as_str())
}

/// The names of the replica's key columns.
pub(super) fn key(replica: &Replica) -> impl Iterator<Item = &str> + Clone {
    replica.key.iter().map(|&column| replica.columns[column].name.as_str())
}

/// The name of the table that `begin_aside` makes.
pub(super) fn aside(replica: &Replica) -> String {
    format!("tmp_data_sync_new_{}", replica.target)
}

/// The statements of one step.
pub(super) fn statements(replica: &Replica, step: &Ddl) -> Vec<String> {
    let table = quote(&replica.target);
    let add = |name: &str, kind: &str| format!("ALTER TABLE {table} ADD COLUMN {} {kind}", quote(name));
    match step {
        Ddl::Create => vec![create(replica, &replica.target)],
        Ddl::AddColumns(added) => added
            .iter()
            .map(|&column| add(&replica.columns[column].name, replica.columns[column].sqlite.name()))
            .collect(),
        Ddl::AddDeletedAt => vec![add(DELETED_AT, "TEXT")],
        // The index is for comparing keys.
        Ddl::IndexMissingTrack if replica.key.is_empty() => Vec::new(),
        Ddl::IndexMissingTrack => {
            let index = quote(&format!("tmp_data_sync_null_{}", replica.target));
            let keys = names("", key(replica));
            vec![format!(
                "CREATE INDEX IF NOT EXISTS {index} ON {table} ({keys}) WHERE {}",
                lacks_track(replica, "").unwrap_or_else(|| "0".to_owned())
            )]
        }
    }
}

/// The statement that creates the replica's table under the name `table`.
pub(super) fn create(replica: &Replica, table: &str) -> String {
    let mut parts: Vec<String> = replica
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let required = if replica.key.contains(&index) { " NOT NULL" } else { "" };
            format!("{} {}{required}", quote(&column.name), column.sqlite.name())
        })
        .collect();
    if replica.soft_delete {
        parts.push(format!("{} TEXT", quote(DELETED_AT)));
    }
    if !replica.key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", names("", key(replica))));
    }
    format!("CREATE TABLE {} ({})", quote(table), parts.join(", "))
}

/// The condition for a row without a track value; `None` when rows aren't tracked by columns.
pub(super) fn lacks_track(replica: &Replica, prefix: &str) -> Option<String> {
    let columns = replica.track_columns();
    (!columns.is_empty())
        .then(|| join(columns, " AND ", |column| format!("{prefix}{} IS NULL", quote(&replica.columns[column].name))))
}

/// Refuses what SQLite can't hold, before anything is done.
pub(super) fn check_width(replica: &Replica) -> Result<(), Error> {
    let width = replica.columns.len() + usize::from(replica.soft_delete);
    if width <= MAX_COLUMNS {
        return Ok(());
    }
    Err(Error::new(Kind::Schema, format!("Failed to create table '{}'", replica.target)).because(format!(
        "it has {width} columns and SQLite takes at most {MAX_COLUMNS}: leave some out with exclude_columns"
    )))
}

/// One column as SQLite describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    /// Its name.
    pub(super) name: String,
    /// Its declared type.
    pub(super) declared: String,
    /// Its place in the key from 1 on; 0 outside.
    pub(super) key: i64,
}

/// The columns of `table`; empty when there is none.
pub(super) fn shape(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Shape>> {
    conn.prepare_cached("SELECT name, type, pk FROM pragma_table_xinfo(?1, 'main')")?
        .query_map([table], |row| Ok(Shape { name: row.get(0)?, declared: row.get(1)?, key: row.get(2)? }))?
        .collect()
}

/// Whether `table` has a column of ours for marks; a column that the source calls so is none.
pub(super) fn has_marks(conn: &Connection, replica: &Replica, table: &str) -> rusqlite::Result<bool> {
    let ours = |name: &str| name.eq_ignore_ascii_case(DELETED_AT);
    Ok(!columns(replica).any(ours) && shape(conn, table)?.iter().any(|column| ours(&column.name)))
}

/// What kind of thing `name` is, if there is such a thing.
pub(super) fn kind(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT type FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// How many rows `table` has; none when it isn't there.
pub(super) fn rows(conn: &Connection, table: &str) -> rusqlite::Result<u64> {
    if kind(conn, table)?.as_deref() != Some("table") {
        return Ok(0);
    }
    count(conn, &format!("SELECT count(*) FROM main.{}", quote(table)))
}

/// The number that `query` gives.
pub(super) fn count(conn: &Connection, query: &str) -> rusqlite::Result<u64> {
    conn.query_row(query, [], |row| row.get(0)).map(unsigned)
}

/// A count as SQLite gives it.
pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// What is in the target under the name `name`.
pub(super) fn existing(conn: &Connection, name: &str) -> Result<Option<Existing>, Failure> {
    let Some(kind) = kind(conn, name)? else {
        return Ok(None);
    };
    let columns = shape(conn, name)?.into_iter().map(|column| column.name).collect();
    let has_rows = kind == "table" && count(conn, &format!("SELECT EXISTS (SELECT 1 FROM main.{})", quote(name)))? == 1;
    Ok(Some(Existing { columns, has_rows, kind }))
}

/// Runs one step.
pub(super) fn run(conn: &Connection, replica: &Replica, step: &Ddl) -> rusqlite::Result<()> {
    if *step == Ddl::AddDeletedAt && has_marks(conn, replica, &replica.target)? {
        return Ok(());
    }
    statements(replica, step).iter().try_for_each(|statement| conn.execute_batch(statement))
}
