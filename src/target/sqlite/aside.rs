//! The table aside: filled while the old one stays as it is, then put in its place.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::database::{Database, null_tracked};
use super::ddl::{self, MAX_COLUMNS, quote};
use super::failure::{Failure, cause, is_unfit};
use super::state::{self, Rows};
use crate::error::Result;
use crate::replica::Replica;
use crate::target::swap::{self, Swap};
use crate::target::{Changes, TableState};

impl Database {
    pub(super) fn begin_aside(&mut self, replica: &Replica) -> Result<()> {
        self.statement = None;
        let mut run = || {
            ddl::check_width(replica, MAX_COLUMNS, "SQLite")?;
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
        let (changes, lost) = run(&tx, replica, state)?;
        let null_tracked = null_tracked(&tx, replica)?;
        state::put(&tx, state, Rows::Exactly(ddl::rows(&tx, &replica.target)?), Some(null_tracked))?;
        tx.commit()?;
        Ok((changes, lost))
    }
}

fn replacing(replica: &Replica) -> String {
    format!("Failed to replace table '{}'", replica.target)
}

/// Puts the table aside in the table's place, inside the caller's transaction.
fn run(conn: &Connection, replica: &Replica, state: &TableState) -> Result<(Changes, Vec<String>), Failure> {
    let aside = ddl::aside(replica);
    let shapes = || Ok::<_, Failure>((ddl::shape(conn, &replica.target)?, ddl::shape(conn, &aside)?));
    let (old, new) = shapes()?;
    for statement in Swap::new(replica, old, new, MAX_COLUMNS).keep_dropped_columns(state) {
        conn.execute_batch(&statement)?;
    }
    let (old, new) = shapes()?;
    let is_new = old.is_empty();
    let swap = Swap::new(replica, old, new, MAX_COLUMNS);
    let changes = conn.query_row(&swap.differences(), [], |row| {
        let count = |index| row.get(index).map(ddl::unsigned);
        Ok(Changes { inserted: count(0)?, updated: count(1)?, deleted: count(2)? })
    })?;
    if swap.same_columns() && changes == Changes::default() {
        conn.execute_batch(&swap.give_up())?;
        return Ok((changes, Vec::new()));
    }
    if let Some(statement) = swap.take_over_marked() {
        conn.execute_batch(&statement)?;
    }
    let objects = user_objects(conn, replica)?;
    if !is_new {
        conn.execute_batch(&format!("DROP TABLE main.{}", quote(&replica.target)))?;
    }
    conn.execute_batch(&swap.rename())?;
    Ok((changes, restore(conn, &objects)?))
}

/// What the user put on the old table: kind, name and statement.
fn user_objects(conn: &Connection, replica: &Replica) -> rusqlite::Result<Vec<(String, String, String)>> {
    conn.prepare(swap::USER_OBJECTS)?
        .query_map([&replica.target], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Puts `objects` on the new table, and tells of those that don't fit it.
fn restore(conn: &Connection, objects: &[(String, String, String)]) -> Result<Vec<String>, Failure> {
    let mut lost = Vec::new();
    for (kind, name, sql) in objects {
        match conn.execute_batch(sql) {
            Ok(()) => {}
            Err(error) if is_unfit(&error) || error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                lost.push(swap::lost(kind, name, &cause(&error)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(lost)
}
