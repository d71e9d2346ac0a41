//! The table aside: filled while the old one stays as it is, then put in its place.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior};

use super::database::{Database, null_tracked};
use super::ddl::{self, MAX_COLUMNS, quote};
use super::failure::{Failure, cause, is_unfit};
use super::state::{self, Rows};
use crate::error::Result;
use crate::replica::Replica;
use crate::target::sql::Shape;
use crate::target::swap::{self, Swap};
use crate::target::{Changes, Leftover, Losses, TableState};

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

    pub(super) fn aside_losses(&self, replica: &Replica, leftover: &Leftover) -> Result<Losses> {
        let ask = || {
            let (old, new) = shapes(&self.conn, replica)?;
            let swap = Swap::new(replica, old, new, leftover, MAX_COLUMNS);
            let count = |row: &Row<'_>, index| row.get(index).map(ddl::unsigned);
            let losses = |row: &Row<'_>| Ok(Losses { lost: count(row, 0)?, present: count(row, 1)? });
            Ok(self.conn.query_row(&swap.losses(), [], losses)?)
        };
        ask().map_err(|failure: Failure| failure.within(replacing(replica)))
    }

    pub(super) fn swap_aside(
        &mut self,
        replica: &Arc<Replica>,
        state: &TableState,
        leftover: &Leftover,
    ) -> Result<(Changes, Vec<String>)> {
        self.statement = None;
        let swapped = self.try_swap_aside(replica, state, leftover);
        // The next swap sets it anyway, and nothing else renames.
        let _ = self.conn.pragma_update(None, "legacy_alter_table", false);
        swapped.map_err(|failure| failure.within(replacing(replica)))
    }

    fn try_swap_aside(
        &mut self,
        replica: &Replica,
        state: &TableState,
        leftover: &Leftover,
    ) -> Result<(Changes, Vec<String>), Failure> {
        self.ready()?;
        self.behind = true;
        // Views and triggers that name the table go on naming it, instead of being checked while it is gone.
        self.conn.pragma_update(None, "legacy_alter_table", true)?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (changes, lost) = run(&tx, replica, state, leftover)?;
        let null_tracked = null_tracked(&tx, replica)?;
        state::put(&tx, state, Rows::Exactly(ddl::rows(&tx, &replica.target)?), Some(null_tracked))?;
        tx.commit()?;
        Ok((changes, lost))
    }
}

fn replacing(replica: &Replica) -> String {
    format!("Failed to replace table '{}'", replica.target)
}

/// The columns of the table and of the table aside.
fn shapes(conn: &Connection, replica: &Replica) -> Result<(Vec<Shape>, Vec<Shape>), Failure> {
    Ok((ddl::shape(conn, &replica.target)?, ddl::shape(conn, &ddl::aside(replica))?))
}

/// Puts the table aside in the table's place, inside the caller's transaction.
fn run(
    conn: &Connection,
    replica: &Replica,
    state: &TableState,
    leftover: &Leftover,
) -> Result<(Changes, Vec<String>), Failure> {
    let (old, new) = shapes(conn, replica)?;
    for statement in Swap::new(replica, old, new, leftover, MAX_COLUMNS).keep_dropped_columns(state) {
        conn.execute_batch(&statement)?;
    }
    let (old, new) = shapes(conn, replica)?;
    let is_new = old.is_empty();
    let swap = Swap::new(replica, old, new, leftover, MAX_COLUMNS);
    let changes = conn.query_row(&swap.differences(), [], |row| {
        let count = |index| row.get(index).map(ddl::unsigned);
        Ok(Changes { inserted: count(0)?, updated: count(1)?, deleted: count(2)? })
    })?;
    if swap.is_needless(changes) {
        conn.execute_batch(&swap.give_up())?;
        return Ok((changes, Vec::new()));
    }
    if let Some(statement) = swap.take_over() {
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
