//! Rows and position in one statement.
//!
//! Only a single statement is atomic there. So a view stands for the table while a run writes to it: a trigger on the view
//! takes the rows of one parameter into the table, and the state of another one into the state's table. The view goes with
//! the lease, because a view that names a table keeps its user from changing that table.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::encode::{self, Chunk, Encoder, Special};
use super::lease::{APPLY, guard, guard_of_row};
use super::remote::{DONE, Remote, numbers, strange};
use super::state::{self, Count};
use crate::batch::{Batch, Key};
use crate::error::Result;
use crate::mapping::SqliteType;
use crate::replica::Replica;
use crate::source::sqlite::link::Fault;
use crate::target::sql::{self, DELETED_AT, NOW, quote};
use crate::target::{Changes, Lane, Removal, TableState, Write};

/// The rows of a request, each one taken apart once: without the limit, which limits nothing, SQLite would do that again for
/// each of its cells. [ran] Half the time of the plain `json_each` for 4,500 rows of 11 columns.
const ROWS: &str = "(SELECT jsonb(value) AS value FROM json_each(NEW.rows) LIMIT -1)";

/// What the rows are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// To be written.
    Write(Write),
    /// Keys of rows to be removed.
    Remove(Removal),
}

/// What the view does at present.
#[derive(Debug)]
struct View {
    replica: Arc<Replica>,
    work: Work,
    special: Special,
    marks: bool,
}

/// The way of rows into tables.
pub(super) struct Apply {
    remote: Arc<Remote>,
    view: Mutex<Option<View>>,
}

impl Apply {
    pub(super) fn new(remote: Arc<Remote>) -> Self {
        Self { remote, view: Mutex::default() }
    }

    /// Forgets the view, because somebody took it away.
    pub(super) async fn forget(&self) {
        *self.view.lock().await = None;
    }

    /// Writes the rows of `batches`, and `state` with the last of them. With `marks`, the table marks rows as deleted.
    pub(super) async fn write(
        &self,
        replica: &Arc<Replica>,
        write: Write,
        marks: bool,
        batches: &[Batch],
        state: &TableState,
    ) -> Result<Changes> {
        let context = format!("Failed to write to table '{}'", replica.target);
        let mut view = self.view.lock().await;
        let known = view.as_ref().filter(|view| Arc::ptr_eq(&view.replica, replica));
        let mut rows =
            Encoder::new(replica, known.map_or_else(|| encode::special(replica), |view| view.special.clone()));
        // Until the swap, the table is the old one and so is its state.
        let document = if write == Write::Aside { None } else { Some(state::document(state)?) };
        let mut changes = Changes::default();
        let work = Work::Write(write);
        for batch in batches {
            for row in 0..batch.rows() {
                let Some(chunk) = rows.push(batch, row)? else { continue };
                changes += self.send(&mut view, replica, work, marks, &rows.special, &chunk, None, &context).await?;
            }
        }
        let last = rows.take()?.unwrap_or_else(Chunk::none);
        changes +=
            self.send(&mut view, replica, work, marks, &rows.special, &last, document.as_deref(), &context).await?;
        Ok(changes)
    }

    /// Removes the rows with as many of `keys` as one statement takes, and says how many keys those were.
    pub(super) async fn remove(
        &self,
        replica: &Arc<Replica>,
        removal: Removal,
        keys: &[Key],
        state: &TableState,
    ) -> Result<(Changes, usize)> {
        let context = format!("Failed to delete from table '{}'", replica.target);
        let mut view = self.view.lock().await;
        let chunk = encode::keys(keys)?;
        let special = vec![true; replica.columns.len()];
        let document = state::document(state)?;
        let changes = self
            .send(&mut view, replica, Work::Remove(removal), false, &special, &chunk, Some(&document), &context)
            .await?;
        // Rows that were marked are counted as updated there, because they are still rows.
        Ok((Changes { deleted: changes.deleted + changes.updated, ..Changes::default() }, chunk.rows))
    }

    /// Sends rows, and makes the view for them where it does something else at present.
    #[expect(clippy::too_many_arguments, reason = "what is sent, and what the view for it is made of")]
    async fn send(
        &self,
        view: &mut Option<View>,
        replica: &Arc<Replica>,
        work: Work,
        marks: bool,
        special: &Special,
        rows: &Chunk,
        state: Option<&str>,
        context: &str,
    ) -> Result<Changes> {
        let fits = view.as_ref().is_some_and(|view| {
            Arc::ptr_eq(&view.replica, replica) && view.work == work && view.special == *special && view.marks == marks
        });
        let mut sql = String::new();
        if !fits {
            *view = Some(View { replica: Arc::clone(replica), work, special: special.clone(), marks });
            sql = format!("{};{}", guard(&self.remote.next()), made(replica, work, marks, special));
        }
        let turn = self.remote.next();
        let insert = format!(
            "INSERT INTO {APPLY} VALUES (?1, {}, ?2, '{}', {}) RETURNING (SELECT json_array(inserted, updated, deleted)
               FROM tmp_data_sync_lease) AS c0",
            rows.rows, turn.owner, turn.number
        );
        sql.push_str(&insert);
        let outcome = match self.remote.ask_again(&sql, &[Some(&rows.json), state]).await {
            Ok(answer) => numbers(&answer).ok_or_else(|| strange(context)),
            Err(Fault::Refused(words)) if words.contains(DONE) => match self.outcome(turn.number).await {
                // Without counts, it got no further than to the view.
                Ok(counts) => counts.ok_or_else(|| strange(context)),
                Err(fault) => Err(Remote::told(fault, context)),
            },
            Err(fault) => Err(Remote::told(fault, context)),
        };
        let [inserted, updated, deleted] = outcome.inspect_err(|_| *view = None)?;
        Ok(Changes { inserted, updated, deleted })
    }

    /// What change `number` did, if it was the last one.
    async fn outcome(&self, number: u64) -> Result<Option<[u64; 3]>, Fault> {
        let sql = format!(
            "SELECT json_array(inserted, updated, deleted) AS c0 FROM tmp_data_sync_lease WHERE number = {number}"
        );
        self.remote.ask_again(&sql, &[]).await.map(|rows| numbers(&rows))
    }
}

/// The statements that make the view.
fn made(replica: &Replica, work: Work, marks: bool, special: &Special) -> String {
    let body = match work {
        Work::Write(write) => writes(replica, write, marks, special),
        Work::Remove(removal) => removes(replica, removal),
    };
    format!(
        "DROP VIEW IF EXISTS {APPLY};
         CREATE VIEW {APPLY} (rows, many, state, owner, number) AS SELECT NULL, NULL, NULL, NULL, NULL;
         CREATE TRIGGER tmp_data_sync_apply_rows INSTEAD OF INSERT ON {APPLY} BEGIN
           {} {body}
         END;",
        guard_of_row()
    )
}

/// Two passes over the rows: the first one counts those that are new, the second one those that differ, and only where
/// some were there before.
fn writes(replica: &Replica, write: Write, marks: bool, special: &Special) -> String {
    let aside = sql::aside(replica);
    let name = if write == Write::Aside { &aside } else { &replica.target };
    let table = quote(name);
    let values = replica.columns.iter().zip(special).enumerate();
    let values =
        sql::join(values, ",", |(index, (column, special))| encode::expression(index, column.sqlite, *special));
    let insert = |condition: &str| {
        format!(
            "INSERT INTO {table} ({}) SELECT {values} FROM {ROWS} WHERE {condition}",
            sql::names("", sql::columns(replica))
        )
    };
    let count = |counter: &str| format!("UPDATE tmp_data_sync_lease SET {counter} = changes();");
    let mut body = match replica.key.as_slice() {
        [] => format!("{}; {}", insert("true"), count("inserted")),
        _ => format!("{} ON CONFLICT ({}) DO NOTHING; {}", insert("true"), key(replica), count("inserted")),
    };
    let stored = format!("{table}.");
    let update =
        sql::on_conflict(replica, marks, &stored).filter(|_| write != Write::InsertNew && !replica.key.is_empty());
    if let Some(update) = update {
        let pass = insert("(SELECT inserted FROM tmp_data_sync_lease) < NEW.many");
        body = format!("{body}{pass} ON CONFLICT ({}) DO UPDATE {update}; {}", key(replica), count("updated"));
    }
    // The table aside has no state of its own.
    if write != Write::Aside {
        body.push_str(&stores(replica));
    }
    body
}

fn removes(replica: &Replica, removal: Removal) -> String {
    let table = quote(&replica.target);
    let values = replica.key.iter().enumerate();
    // Blobs among keys are marked as such, whatever their column is declared as.
    let values = sql::join(values, ",", |(index, _)| encode::expression(index, SqliteType::Text, true));
    let rows = format!(
        "WHERE ({}) IN (SELECT {values} FROM {ROWS}) AND {}",
        key(replica),
        sql::in_lane(replica, Lane::All, "")
    );
    let statement = match removal {
        Removal::Delete => format!("DELETE FROM {table} {rows}"),
        Removal::Mark => format!("UPDATE {table} SET {} = {NOW} {rows}", quote(DELETED_AT)),
    };
    let counter = if removal == Removal::Delete { "deleted" } else { "updated" };
    format!("{statement}; UPDATE tmp_data_sync_lease SET {counter} = changes(); {}", stores(replica))
}

/// The state with the last rows; before them, only the count of rows goes on.
fn stores(replica: &Replica) -> String {
    format!(
        "{}; UPDATE tmp_data_sync_state SET record_count = max(0, record_count +
           (SELECT inserted - deleted FROM tmp_data_sync_lease)) WHERE NEW.state IS NULL AND source_table = {};",
        state::put("NEW.state", &replica.target, Count::Changed, None),
        text(&replica.source.name.to_string())
    )
}

fn key(replica: &Replica) -> String {
    sql::names("", sql::key(replica))
}

/// A text as SQL spells it.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
