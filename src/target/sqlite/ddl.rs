//! Tables and indexes: the statements that make them, and what is there.

use rusqlite::{Connection, OptionalExtension};

use super::failure::Failure;
use crate::replica::Replica;
use crate::target::{Ddl, Existing};

pub(super) use crate::target::sql::{
    DELETED_AT, NOW, Shape, aside, check_width, columns, create, has_marks, in_lane, join, key, names, null_tracked,
    on_conflict, quote, statements,
};
pub(super) use crate::target::state::unsigned;

/// The most columns SQLite takes, in a table and in a result.
pub(super) const MAX_COLUMNS: usize = 2000;

/// The columns of `table`; empty when there is none.
pub(super) fn shape(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Shape>> {
    conn.prepare_cached("SELECT name, type, pk FROM pragma_table_xinfo(?1, 'main')")?
        .query_map([table], |row| Ok(Shape { name: row.get(0)?, declared: row.get(1)?, key: row.get(2)? }))?
        .collect()
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
    if *step == Ddl::AddDeletedAt && has_marks(replica, &shape(conn, &replica.target)?) {
        return Ok(());
    }
    statements(replica, step).iter().try_for_each(|statement| conn.execute_batch(statement))
}
