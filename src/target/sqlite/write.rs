//! Rows into tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::hooks::Action;
use rusqlite::{Connection, TransactionBehavior};

use super::database::Database;
use super::failure::Failure;
use super::state::{self, Rows};
use super::{ddl, feed, stage};
use crate::batch::Batch;
use crate::error::Result;
use crate::replica::Replica;
use crate::target::{Changes, TableState, Write};

/// Rows that came and went in one table, whoever did it: a trigger of the user's counts too.
#[derive(Debug, Default)]
pub(super) struct Tally {
    inserted: AtomicU64,
    deleted: AtomicU64,
}

impl Tally {
    /// Starts counting the rows of `table`.
    ///
    /// SQLite's own count of changes doesn't tell an insert from an update.
    pub(super) fn watch(self: &Arc<Self>, conn: &Connection, table: &str) -> rusqlite::Result<()> {
        self.inserted.store(0, Ordering::Relaxed);
        self.deleted.store(0, Ordering::Relaxed);
        let (tally, watched) = (Arc::clone(self), table.to_owned());
        conn.update_hook(Some(move |action, database: &str, table: &str, _| {
            let counter = match action {
                Action::SQLITE_INSERT => &tally.inserted,
                Action::SQLITE_DELETE => &tally.deleted,
                _ => return,
            };
            // It is nearly always spelled alike, which takes less to see.
            if (table == watched || table.eq_ignore_ascii_case(&watched)) && database == "main" {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }))
    }

    /// Ends the counting, which costs something for each row of any table.
    fn rest(conn: &Connection) -> rusqlite::Result<()> {
        conn.update_hook(None::<fn(Action, &str, &str, i64)>)
    }

    fn inserted(&self) -> u64 {
        self.inserted.load(Ordering::Relaxed)
    }

    /// By how much the table grew or shrank since `watch`.
    pub(super) fn growth(&self) -> Rows {
        Rows::Change(self.inserted().cast_signed() - self.deleted.load(Ordering::Relaxed).cast_signed())
    }
}

/// The statement of one kind of write to one table.
pub(super) struct Statement {
    replica: Arc<Replica>,
    write: Write,
    sql: String,
}

impl Database {
    pub(super) fn write(
        &mut self,
        replica: &Arc<Replica>,
        write: Write,
        stage: bool,
        batches: &mut Vec<Batch>,
        state: &TableState,
    ) -> Result<Changes> {
        self.try_write(replica, write, stage, batches, state)
            .map_err(|failure| failure.within(format!("Failed to write to table '{}'", replica.target)))
    }

    fn try_write(
        &mut self,
        replica: &Arc<Replica>,
        write: Write,
        stage: bool,
        batches: &mut Vec<Batch>,
        state: &TableState,
    ) -> Result<Changes, Failure> {
        self.ready()?;
        self.behind = true;
        if stage {
            self.expect_stage(replica)?;
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let statement = match self.statement.take() {
            Some(last) if last.write == write && Arc::ptr_eq(&last.replica, replica) => last,
            _ => Statement { replica: Arc::clone(replica), write, sql: sql(&tx, replica, write)? },
        };
        // What comes of the rows aside is counted when they take the table's place.
        if write == Write::Aside {
            Tally::rest(&tx)?;
        } else {
            self.tally.watch(&tx, &replica.target)?;
        }
        let written = self.feed.serve(batches, || {
            let written = tx.prepare_cached(&statement.sql)?.raw_execute()? as u64;
            if stage {
                stage::add_rows(&tx, replica)?;
            }
            Ok::<_, rusqlite::Error>(written)
        })?;
        // Until the swap, the table is the old one and so is its state.
        let changes = if write == Write::Aside {
            Changes::default()
        } else {
            state::put(&tx, state, self.tally.growth(), None)?;
            // A trigger of the user's may have inserted more.
            let inserted = self.tally.inserted().min(written);
            Changes { inserted, updated: written - inserted, deleted: 0 }
        };
        tx.commit()?;
        self.statement = Some(statement);
        Ok(changes)
    }
}

fn sql(conn: &Connection, replica: &Replica, write: Write) -> rusqlite::Result<String> {
    let table = if write == Write::Aside { ddl::aside(replica) } else { replica.target.clone() };
    let marks = ddl::has_marks(replica, &ddl::shape(conn, &table)?);
    // A row that fails ends the transaction: SQLite need not remember what the statement did before it. But said so, it
    // would count in place of what triggers say.
    let triggers = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE";
    let has_triggers = conn.query_row(triggers, [&table], |row| Ok(row.get::<_, i64>(0)? > 0))?;
    let insert = format!(
        "INSERT{} INTO main.{} AS stored ({}) SELECT {} FROM {} WHERE true",
        if has_triggers { "" } else { " OR FAIL" },
        ddl::quote(&table),
        ddl::names("", ddl::columns(replica)),
        feed::columns(0..replica.columns.len()),
        feed::NAME
    );
    if replica.key.is_empty() {
        return Ok(insert);
    }
    let key = ddl::names("", ddl::key(replica));
    Ok(match ddl::on_conflict(replica, marks, "stored.").filter(|_| write != Write::InsertNew) {
        Some(update) => format!("{insert} ON CONFLICT ({key}) DO UPDATE {update}"),
        None => format!("{insert} ON CONFLICT ({key}) DO NOTHING"),
    })
}
