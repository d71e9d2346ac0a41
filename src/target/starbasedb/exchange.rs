//! Putting a table aside in another one's place, where no transaction holds several statements together.
//!
//! What is to be done is written down first, as one row of the state's own facts. Then the old table goes, the new one gets
//! its name, and the state is stored, in one request, between whose statements nobody reads. Whatever cuts that, the next
//! holder of the lease finds the note and does what is left of it.

use serde::{Deserialize, Serialize};

use super::lease::{APPLY, SWAP};
use super::remote::{Remote, Rows, is_unfit, numbers, plain, strange};
use super::state::{self, Count};
use super::{LARGEST_ANSWER, shape_of};
use crate::error::{Error, Kind, Result};
use crate::replica::Replica;
use crate::target::sql::{self, quote};
use crate::target::swap::{self, USER_OBJECTS};
use crate::target::{Changes, Leftover, Losses, TableState};

/// The note of a swap that was begun.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The table that goes, and whose name the other one gets.
    table: String,
    /// The table that comes.
    aside: String,
    /// What the user had on the table: kind, name and statement.
    objects: Vec<(String, String, String)>,
    /// The state that belongs to the new table, as `state::document` writes it.
    state: String,
    /// The SELECT of how many rows have no track value.
    nulls: Option<String>,
}

fn replacing(table: &str) -> String {
    format!("Failed to replace table '{table}'")
}

/// See `Target::aside_losses`.
pub(super) async fn losses(remote: &Remote, replica: &Replica, leftover: &Leftover) -> Result<Losses> {
    let context = replacing(&replica.target);
    let old = shape_of(remote, &replica.target, &context).await?;
    let new = shape_of(remote, &sql::aside(replica), &context).await?;
    let swap = swap::Swap::new(replica, old, new, leftover, LARGEST_ANSWER);
    let counts = format!("SELECT json_array(c0, c1) AS c0 FROM ({})", swap.losses());
    let [lost, present] = numbers(&remote.ask(&counts, &[], &context).await?).ok_or_else(|| strange(&context))?;
    Ok(Losses { lost, present })
}

/// See `Target::swap_aside`.
pub(super) async fn swap(
    remote: &Remote,
    replica: &Replica,
    state: &TableState,
    leftover: &Leftover,
) -> Result<(Changes, Vec<String>)> {
    let context = replacing(&replica.target);
    let aside = sql::aside(replica);
    let old = shape_of(remote, &replica.target, &context).await?;
    let mut new = shape_of(remote, &aside, &context).await?;
    if new.is_empty() {
        return Err(Error::new(Kind::TargetWrite, &context).because("the table aside is gone").transient(true));
    }
    let swap = swap::Swap::new(replica, old.clone(), new.clone(), leftover, LARGEST_ANSWER);
    let kept = swap.keep_dropped_columns(state);
    if !kept.is_empty() {
        // Sent a second time it is refused; the next try has a new table aside.
        remote.change(&kept.join(";"), &[], &context).await.map_err(|error| error.transient(true))?;
        new = shape_of(remote, &aside, &context).await?;
    }
    let swap = swap::Swap::new(replica, old, new, leftover, LARGEST_ANSWER);
    let counts = format!("SELECT json_array(c0, c1, c2) AS c0 FROM ({})", swap.differences());
    let counts = remote.ask(&counts, &[], &context).await?;
    let [inserted, updated, deleted] = numbers(&counts).ok_or_else(|| strange(&context))?;
    let changes = Changes { inserted, updated, deleted };
    let nulls = sql::null_tracked(replica);
    let document = state::document(state)?;
    if swap.is_needless(changes) {
        let put = state::put("?1", &replica.target, Count::Anew, nulls.as_deref());
        remote.change(&format!("{}; {put}", swap.give_up()), &[Some(&document)], &context).await?;
        return Ok((changes, Vec::new()));
    }
    if let Some(statement) = swap.take_over() {
        remote.change(&statement, &[], &context).await?;
    }
    let objects = objects(&remote.ask(USER_OBJECTS, &[Some(&replica.target)], &context).await?);
    let note = Note { table: replica.target.clone(), aside, objects, state: document, nulls };
    let text = serde_json::to_string(&note).map_err(|_| Error::new(Kind::Internal, &context))?;
    let write = format!(
        "INSERT INTO tmp_data_sync_meta (key, value) VALUES ('{SWAP}', ?1)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    );
    remote.change(&write, &[Some(&text)], &context).await?;
    Ok((changes, finish(remote, &note).await?))
}

/// Ends a swap that an earlier try of this run began.
pub(super) async fn settle(remote: &Remote) -> Result<()> {
    let sql = format!("SELECT value AS c0 FROM tmp_data_sync_meta WHERE key = '{SWAP}'");
    let rows = remote.ask(&sql, &[], "Failed to go on with a replaced table").await?;
    match rows.first().and_then(|row| row.first()).and_then(|note| note.as_str()) {
        Some(note) => resume(remote, note).await,
        None => Ok(()),
    }
}

/// Does what a note that an earlier run left says.
pub(super) async fn resume(remote: &Remote, note: &str) -> Result<()> {
    let Ok(note) = serde_json::from_str::<Note>(note) else {
        // Nothing of ours reads like that; without it, the table aside is dropped by the next rebuild.
        return forget(remote, "Failed to go on with a replaced table").await;
    };
    finish(remote, &note).await.map(drop)
}

/// Which of the two tables of a note are there: the table, and the table aside.
async fn tables_of(remote: &Remote, note: &Note, context: &str) -> Result<(bool, bool)> {
    let sql = "SELECT name FROM sqlite_schema WHERE name IN (?1, ?2)";
    let there = remote.ask(sql, &[Some(&note.table), Some(&note.aside)], context).await?;
    let is_there = |table: &str| there.iter().flatten().any(|name| name.as_str() == Some(table));
    Ok((is_there(&note.table), is_there(&note.aside)))
}

async fn finish(remote: &Remote, note: &Note) -> Result<Vec<String>> {
    let context = replacing(&note.table);
    let put = state::put("?1", &note.table, Count::Anew, note.nulls.as_deref());
    let put = async |before: &str| remote.change(&format!("{before}{put}"), &[Some(&note.state)], &context).await;
    match tables_of(remote, note, &context).await? {
        (_, true) => {
            // An answer that is lost is asked for again; then the table aside is gone, and the table must not follow it.
            // Views and triggers that name the table go on naming it, instead of being checked while it is gone.
            let replace = format!(
                "SELECT 1 FROM {aside} LIMIT 0; DROP VIEW IF EXISTS {APPLY}; PRAGMA legacy_alter_table = ON;
                 DROP TABLE IF EXISTS {table}; ALTER TABLE {aside} RENAME TO {table}; PRAGMA legacy_alter_table = OFF; ",
                table = quote(&note.table),
                aside = quote(&note.aside),
            );
            if let Err(error) = put(&replace).await {
                match tables_of(remote, note, &context).await {
                    Ok((true, false)) => put("").await?,
                    _ => return Err(error),
                };
            }
        }
        (true, false) => {
            put("").await?;
        }
        (false, false) => {
            // Somebody dropped both: the run finds the table gone, and loads it anew.
            forget(remote, &context).await?;
            return Ok(Vec::new());
        }
    }
    let mut lost = Vec::new();
    for (kind, name, statement) in &note.objects {
        let known = remote.ask("SELECT 1 FROM sqlite_schema WHERE name = ?1", &[Some(name)], &context).await?;
        if !known.is_empty() {
            continue;
        }
        // Its text may end in a comment.
        let made = remote.try_ask(&format!("{statement}\n"), &[]).await;
        match made {
            Ok(_) => {}
            Err(crate::source::sqlite::link::Fault::Refused(words))
                if is_unfit(&words) || words.contains("SQLITE_CONSTRAINT") =>
            {
                lost.push(swap::lost(kind, name, plain(&words)));
            }
            Err(fault) => return Err(Remote::told(fault, &context)),
        }
    }
    forget(remote, &context).await?;
    Ok(lost)
}

async fn forget(remote: &Remote, context: &str) -> Result<()> {
    remote.change(&format!("DELETE FROM tmp_data_sync_meta WHERE key = '{SWAP}'"), &[], context).await.map(drop)
}

fn objects(rows: &Rows) -> Vec<(String, String, String)> {
    let text = |cell: &serde_json::Value| cell.as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| (text(&row[0]), text(&row[1]), text(&row[2]))).collect()
}
