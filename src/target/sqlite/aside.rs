//! The table aside: filled while the old one stays as it is, then put in its place.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::database::{Database, null_tracked};
use super::ddl::{self, DELETED_AT, MAX_COLUMNS, Shape, join, quote};
use super::failure::{Failure, cause, is_unfit};
use super::state::{self, Rows};
use super::write::differ;
use crate::error::Result;
use crate::mapping::SqliteType;
use crate::replica::Replica;
use crate::target::{Changes, TableState};

impl Database {
    pub(super) fn begin_aside(&mut self, replica: &Replica) -> Result<()> {
        self.statement = None;
        let mut run = || {
            ddl::check_width(replica)?;
            self.ready()?;
            let aside = ddl::aside(replica);
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute_batch(&format!("DROP TABLE IF EXISTS main.{}", quote(&aside)))?;
            tx.execute_batch(&ddl::create(replica, &aside))?;
            Ok(tx.commit()?)
        };
        run().map_err(|failure: Failure| failure.within_schema(format!("Failed to create table '{}'", replica.target)))
    }

    pub(super) fn aside_rows(&self, replica: &Replica) -> Result<u64> {
        ddl::rows(&self.conn, &ddl::aside(replica)).map_err(|error| Failure::from(error).within(replacing(replica)))
    }

    pub(super) fn swap_aside(&mut self, replica: &Arc<Replica>, state: &TableState) -> Result<(Changes, Vec<String>)> {
        self.statement = None;
        let swapped = self.try_swap_aside(replica, state);
        // The next swap sets it anyway, and nothing else renames.
        let _ = self.conn.pragma_update(None, "legacy_alter_table", false);
        swapped.map_err(|failure| failure.within(replacing(replica)))
    }

    fn try_swap_aside(&mut self, replica: &Replica, state: &TableState) -> Result<(Changes, Vec<String>), Failure> {
        self.ready()?;
        self.behind = true;
        // Views and triggers that name the table go on naming it, instead of being checked while it is gone.
        self.conn.pragma_update(None, "legacy_alter_table", true)?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (changes, lost) = Swap::new(&tx, replica, state)?.run()?;
        let null_tracked = null_tracked(&tx, replica)?;
        state::put(&tx, state, Rows::Exactly(ddl::rows(&tx, &replica.target)?), Some(null_tracked))?;
        tx.commit()?;
        Ok((changes, lost))
    }
}

fn replacing(replica: &Replica) -> String {
    format!("Failed to replace table '{}'", replica.target)
}

/// A swap under way, inside a transaction.
struct Swap<'a> {
    conn: &'a Connection,
    replica: &'a Replica,
    /// The two tables as SQL names them.
    old: String,
    new: String,
    /// The old table's columns; empty when there is no old table.
    old_shape: Vec<Shape>,
    /// The new table's columns.
    new_shape: Vec<Shape>,
    /// Whether rows of both can be told to be the same row.
    same_key: bool,
    /// Whether the old table marks rows as deleted.
    old_marks: bool,
}

impl<'a> Swap<'a> {
    fn new(conn: &'a Connection, replica: &'a Replica, state: &TableState) -> Result<Self, Failure> {
        let aside = ddl::aside(replica);
        let mut swap = Self {
            conn,
            replica,
            old: format!("main.{}", quote(&replica.target)),
            new: format!("main.{}", quote(&aside)),
            old_shape: ddl::shape(conn, &replica.target)?,
            new_shape: ddl::shape(conn, &aside)?,
            same_key: false,
            old_marks: ddl::has_marks(conn, replica, &replica.target)?,
        };
        let mut old_key: Vec<&Shape> = swap.old_shape.iter().filter(|column| column.key > 0).collect();
        old_key.sort_by_key(|column| column.key);
        swap.same_key =
            !replica.key.is_empty() && old_key.iter().map(|column| column.name.as_str()).eq(ddl::key(replica));
        swap.keep_dropped_columns(state)?;
        swap.new_shape = ddl::shape(conn, &aside)?;
        Ok(swap)
    }

    fn run(&self) -> Result<(Changes, Vec<String>), Failure> {
        let changes = self.differences()?;
        if self.same_columns() && changes == Changes::default() {
            self.conn.execute_batch(&format!("DROP TABLE {}", self.new))?;
            return Ok((changes, Vec::new()));
        }
        if self.replica.soft_delete && self.same_key {
            self.take_over_marked()?;
        }
        let objects = self.user_objects()?;
        if !self.old_shape.is_empty() {
            self.conn.execute_batch(&format!("DROP TABLE {}", self.old))?;
        }
        self.conn.execute_batch(&format!("ALTER TABLE {} RENAME TO {}", self.new, quote(&self.replica.target)))?;
        Ok((changes, self.restore(&objects)?))
    }

    fn has(shape: &[Shape], name: &str) -> bool {
        shape.iter().any(|column| column.name.eq_ignore_ascii_case(name))
    }

    fn same_columns(&self) -> bool {
        let sorted = |shape: &[Shape]| {
            let mut shape = shape.to_vec();
            shape.sort();
            shape
        };
        sorted(&self.old_shape) == sorted(&self.new_shape)
    }

    /// The condition that `o` of the old and `n` of the new table have one key.
    fn on_key(&self) -> String {
        join(ddl::key(self.replica), " AND ", |name| format!("o.{0} = n.{0}", quote(name)))
    }

    /// Columns of both tables, without the key and our mark.
    fn common(&self) -> Vec<&str> {
        self.new_shape
            .iter()
            .filter(|column| column.key == 0 && Self::has(&self.old_shape, &column.name))
            .map(|column| column.name.as_str())
            .filter(|name| !(self.old_marks && name.eq_ignore_ascii_case(DELETED_AT)))
            .collect()
    }

    /// Gives the new table those columns of the old one that the source dropped earlier.
    fn keep_dropped_columns(&self, state: &TableState) -> rusqlite::Result<()> {
        for column in self.old_shape.iter().filter(|column| !Self::has(&self.new_shape, &column.name)) {
            if !state.columns.iter().any(|stored| !stored.present && stored.target == column.name) {
                continue;
            }
            let name = quote(&column.name);
            self.conn.execute_batch(&format!("ALTER TABLE {} ADD COLUMN {name} {}", self.new, column.declared))?;
            if self.same_key {
                self.conn.execute_batch(&format!(
                    "UPDATE {} AS n SET {name} = o.{name} FROM {} AS o WHERE {}",
                    self.new,
                    self.old,
                    self.on_key()
                ))?;
            }
        }
        Ok(())
    }

    fn differences(&self) -> rusqlite::Result<Changes> {
        let count = |sql: &str| ddl::count(self.conn, sql);
        let (old, new) = (&self.old, &self.new);
        if self.old_shape.is_empty() {
            return Ok(Changes { inserted: count(&format!("SELECT count(*) FROM {new}"))?, ..Changes::default() });
        }
        if self.same_key {
            let on_key = self.on_key();
            let live = if self.old_marks { format!("o.{} IS NULL AND ", quote(DELETED_AT)) } else { String::new() };
            return Ok(Changes {
                inserted: count(&format!(
                    "SELECT count(*) FROM {new} AS n WHERE NOT EXISTS (SELECT 1 FROM {old} AS o WHERE {on_key})"
                ))?,
                updated: count(&format!(
                    "SELECT count(*) FROM {new} AS n JOIN {old} AS o ON {on_key} WHERE {}",
                    self.changed()
                ))?,
                deleted: count(&format!(
                    "SELECT count(*) FROM {old} AS o WHERE {live}NOT EXISTS (SELECT 1 FROM {new} AS n WHERE {on_key})"
                ))?,
            });
        }
        if !self.same_columns() || self.new_shape.len() == MAX_COLUMNS {
            return Ok(Changes {
                inserted: count(&format!("SELECT count(*) FROM {new}"))?,
                updated: 0,
                deleted: count(&format!("SELECT count(*) FROM {old}"))?,
            });
        }
        self.difference_without_key()
    }

    /// The condition that a row with the same key differs.
    fn changed(&self) -> String {
        let typed = |name: &str| {
            let shape = self.new_shape.iter().find(|column| column.name == name);
            shape.and_then(|column| SqliteType::parse(&column.declared)).unwrap_or(SqliteType::Blob)
        };
        let common: Vec<_> = self.common().into_iter().map(|name| (name, typed(name))).collect();
        let mut terms = Vec::new();
        if !common.is_empty() {
            terms.push(differ(&common, "n.", "o."));
        }
        if self.old_marks {
            terms.push(format!("o.{} IS NOT NULL", quote(DELETED_AT)));
        }
        let added: Vec<&str> = self
            .new_shape
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !Self::has(&self.old_shape, name) && *name != DELETED_AT)
            .collect();
        if !added.is_empty() {
            let nulls = vec!["NULL"; added.len()].join(", ");
            terms.push(format!("({}) IS NOT ({nulls})", ddl::names("n.", added)));
        }
        if terms.is_empty() { "0".to_owned() } else { terms.join(" OR ") }
    }

    /// Rows of tables without a key can only be counted: a row that is there twice must be there twice again.
    fn difference_without_key(&self) -> rusqlite::Result<Changes> {
        let columns = ddl::names("", self.new_shape.iter().map(|column| column.name.as_str()));
        let labels = join(0..self.new_shape.len(), ", ", |index| format!("c{index}"));
        let sql = format!(
            "WITH sides({labels}, side) AS (SELECT {columns}, 1 FROM {} UNION ALL SELECT {columns}, -1 FROM {})
             SELECT coalesce(sum(max(surplus, 0)), 0), coalesce(sum(max(-surplus, 0)), 0)
             FROM (SELECT sum(side) AS surplus FROM sides GROUP BY {labels})",
            self.new, self.old
        );
        self.conn.query_row(&sql, [], |row| {
            Ok(Changes { inserted: ddl::unsigned(row.get(0)?), updated: 0, deleted: ddl::unsigned(row.get(1)?) })
        })
    }

    /// Rows that left the source stay, with the mark they have or one of now.
    fn take_over_marked(&self) -> rusqlite::Result<()> {
        let mark = quote(DELETED_AT);
        let columns: Vec<&str> = ddl::key(self.replica).chain(self.common()).collect();
        let now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
        let marked = if self.old_marks { format!("coalesce(o.{mark}, {now})") } else { now.to_owned() };
        self.conn.execute_batch(&format!(
            "INSERT INTO {new} ({}, {mark}) SELECT {}, {marked} FROM {} AS o
             WHERE NOT EXISTS (SELECT 1 FROM {new} AS n WHERE {})",
            ddl::names("", columns.iter().copied()),
            ddl::names("o.", columns.iter().copied()),
            self.old,
            self.on_key(),
            new = self.new
        ))
    }

    /// What the user put on the old table: kind, name and statement.
    fn user_objects(&self) -> rusqlite::Result<Vec<(String, String, String)>> {
        self.conn
            .prepare(
                "SELECT type, name, sql FROM main.sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE
                 AND type IN ('index', 'trigger') AND sql IS NOT NULL AND substr(name, 1, 14) <> 'tmp_data_sync_'",
            )?
            .query_map([&self.replica.target], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    }

    /// Puts `objects` on the new table, and tells of those that don't fit it.
    fn restore(&self, objects: &[(String, String, String)]) -> Result<Vec<String>, Failure> {
        let mut lost = Vec::new();
        for (kind, name, sql) in objects {
            match self.conn.execute_batch(sql) {
                Ok(()) => {}
                Err(error) if is_unfit(&error) || error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    lost.push(format!("the {kind} '{name}': {}", cause(&error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(lost)
    }
}
