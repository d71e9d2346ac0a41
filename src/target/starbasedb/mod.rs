//! A deployed StarbaseDB as the target: a SQLite database in a Durable Object, over its own interface.
//!
//! Only one statement is atomic there, so rows and position go in one ([`apply`]); a lease in the target keeps other runs out
//! and numbers the changes ([`lease`]); tables are replaced by a note first ([`exchange`]); and keys and rows are compared on
//! this machine, with a copy of the target's ([`copy`]).

mod apply;
mod copy;
mod encode;
mod exchange;
mod lease;
mod measure;
mod remote;
mod state;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use self::apply::Apply;
use self::copy::Copy;
use self::lease::APPLY;
use self::measure::Oversized;
use self::remote::{Remote, strange};
use self::state::Count;
use super::sql::{self, DELETED_AT, Shape, quote};
use super::{
    Changes, Ddl, Differences, Existing, Finding, KeyDifference, Lane, Leftover, Losses, Measure, Mending, Removal,
    State, TablePhase, TableState, Target, TargetLock, Write,
};
use crate::batch::{Batch, Key};
use crate::config::Secret;
use crate::error::{Error, Kind, Result};
use crate::replica::Replica;
use crate::source::Limits;

/// The most columns of a table, and of an answer
/// (<https://developers.cloudflare.com/durable-objects/platform/limits/>).
const LARGEST_ANSWER: usize = 100;

/// Keys that are taken from the list of those to be removed in one go.
const REMOVED: usize = 50_000;

/// A deployed StarbaseDB as the target.
pub struct StarbasedbTarget {
    remote: Arc<Remote>,
    apply: Apply,
    copy: Copy,
    /// What is known of tables since the lease was taken, by their names in the target.
    tables: Mutex<HashMap<String, Known>>,
}

/// What is known of a table.
#[derive(Debug, Clone, Default)]
struct Known {
    columns: Vec<String>,
    /// Whether an earlier run left a state of it.
    has_state: bool,
}

impl StarbasedbTarget {
    /// The instance at `url`, which is asked when it is needed.
    ///
    /// # Errors
    /// `CONFIG` when the address has no host, or the token signs that no token has.
    pub fn new(url: &str, token: Secret, limits: Limits) -> Result<Self> {
        let remote = Arc::new(Remote::new(url, token.clone(), limits)?);
        Ok(Self {
            apply: Apply::new(Arc::clone(&remote)),
            copy: Copy::new(url, token, limits),
            remote,
            tables: Mutex::default(),
        })
    }

    fn known<T>(&self, with: impl FnOnce(&mut HashMap<String, Known>) -> T) -> T {
        with(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is there under each of `names`, which is not asked for rows.
    async fn find(&self, names: &[String]) -> Result<Vec<(String, Existing)>> {
        let context = "Failed to read about tables in target StarbaseDB";
        let sql = "SELECT n.value AS c0, s.type AS c1, json_group_array(x.name) AS c2 FROM json_each(?1) AS n
                   JOIN sqlite_schema AS s ON s.name = n.value COLLATE NOCASE
                   JOIN pragma_table_xinfo(s.name) AS x GROUP BY n.value, s.type";
        let names = Value::from(names).to_string();
        let rows = self.remote.ask(sql, &[Some(&names)], context).await?;
        let found = rows.into_iter().map(|row| match row.as_slice() {
            [Value::String(name), Value::String(kind), Value::String(columns)] => {
                let columns = serde_json::from_str(columns).map_err(|_| strange(context))?;
                Ok((name.clone(), Existing { columns, has_rows: true, kind: kind.clone() }))
            }
            _ => Err(strange(context)),
        });
        found.collect()
    }

    /// Whether what is there under this name holds rows; only a table does.
    async fn has_rows(&self, name: &str, kind: &str) -> Result<bool> {
        if kind != "table" {
            return Ok(false);
        }
        let context = format!("Failed to read about table '{name}' in target StarbaseDB");
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {}) AS c0", quote(name));
        let rows = self.remote.ask(&sql, &[], &context).await?;
        Ok(rows.first().and_then(|row| row.first()).and_then(Value::as_i64) == Some(1))
    }

    /// Whether the table at hand marks rows as deleted, by a column of ours.
    fn marks(&self, replica: &Replica, write: Write) -> bool {
        let ours = |name: &str| name.eq_ignore_ascii_case(DELETED_AT);
        // The table aside is made as the replica has it.
        let has = write != Write::Aside
            && self.known(|tables| {
                tables.get(&replica.target).is_some_and(|table| table.columns.iter().any(|name| ours(name)))
            });
        replica.soft_delete || (has && !sql::columns(replica).any(ours))
    }
}

/// The columns of `table`; empty when there is none.
async fn shape_of(remote: &Remote, table: &str, context: &str) -> Result<Vec<Shape>> {
    let sql = "SELECT name AS c0, type AS c1, pk AS c2 FROM pragma_table_xinfo(?1)";
    let rows = remote.ask(sql, &[Some(table)], context).await?;
    let shape = rows.iter().map(|row| match row.as_slice() {
        [Value::String(name), Value::String(declared), key] => {
            Ok(Shape { name: name.clone(), declared: declared.clone(), key: key.as_i64().unwrap_or(0) })
        }
        _ => Err(strange(context)),
    });
    shape.collect()
}

#[async_trait]
impl Target for StarbasedbTarget {
    async fn lock(&self, wait: Duration) -> Result<Box<dyn TargetLock>> {
        let taken = lease::acquire(&self.remote, wait).await?;
        self.apply.forget().await;
        self.copy.forget().await;
        self.known(HashMap::clear);
        if let Some(note) = taken.swap {
            exchange::resume(&self.remote, &note).await?;
        }
        Ok(Box::new(taken.lease))
    }

    fn most_columns(&self) -> usize {
        LARGEST_ANSWER
    }

    fn measure(&self) -> Option<Box<dyn Measure>> {
        Some(Box::<Oversized>::default())
    }

    async fn load(&self) -> Result<State> {
        let state = state::load(&self.remote).await?;
        self.known(|tables| {
            for table in state.tables.values() {
                tables.entry(table.target.clone()).or_default().has_state = true;
            }
        });
        Ok(state)
    }

    async fn existing(&self, table: &str) -> Result<Option<Existing>> {
        let found = self.find(std::slice::from_ref(&table.to_owned())).await?.pop();
        let Some((_, mut found)) = found else {
            self.known(|tables| tables.remove(table));
            return Ok(None);
        };
        let has_state = self.known(|tables| {
            let known = tables.entry(table.to_owned()).or_default();
            known.columns.clone_from(&found.columns);
            known.has_state
        });
        if !has_state {
            found.has_rows = self.has_rows(table, &found.kind).await?;
        }
        Ok(Some(found))
    }

    async fn look_up(&self, tables: Vec<String>, state: &State) -> Result<HashMap<String, Existing>> {
        let mut found: HashMap<_, _> = self.find(&tables).await?.into_iter().collect();
        let with_state: HashSet<&str> = state.tables.values().map(|table| table.target.as_str()).collect();
        for (table, found) in &mut found {
            if !with_state.contains(table.as_str()) {
                found.has_rows = self.has_rows(table, &found.kind).await?;
            }
        }
        Ok(found)
    }

    async fn prepare(&self, replica: &Arc<Replica>, steps: &[Ddl], state: &TableState) -> Result<()> {
        let creates = steps.contains(&Ddl::Create);
        let what = if creates { "create" } else { "change" };
        let context = format!("Failed to {what} table '{}'", replica.target);
        sql::check_width(replica, LARGEST_ANSWER, "a StarbaseDB in a Durable Object")?;
        self.apply.forget().await;
        let document = state::document(state)?;
        let there = shape_of(&self.remote, &replica.target, &context).await?;
        let has = |name: &str| there.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let put = |count| state::put("?1", &replica.target, count, None);
        // A table that is there and has no state would be somebody else's: the state comes first. One that has a state and
        // isn't there is made anew.
        if creates && !there.is_empty() {
            let cause = format!("table {} already exists", quote(&replica.target));
            return Err(Error::new(Kind::Schema, context).because(cause));
        }
        if creates {
            self.remote.change(&put(Count::Zero), &[Some(&document)], &context).await?;
        }
        let mut statements = vec![format!("DROP VIEW IF EXISTS {APPLY}")];
        for step in steps {
            match step {
                Ddl::AddDeletedAt if sql::has_marks(replica, &there) => {}
                // A cut may have left some of them.
                Ddl::AddColumns(added) => {
                    let missing = added.iter().copied().filter(|&column| !has(&replica.columns[column].name)).collect();
                    statements.extend(sql::statements(replica, &Ddl::AddColumns(missing)));
                }
                step => statements.extend(sql::statements(replica, step)),
            }
        }
        if statements.len() > 1 {
            self.remote.change_shape(&statements.join(";"), &context).await?;
        }
        if !creates {
            // A load that starts over is the moment to find rows that somebody else put there or took away.
            let anew = state.phase != TablePhase::Incremental && state.key_position.is_none();
            let count = if anew { Count::Anew } else { Count::Same };
            self.remote.change(&put(count), &[Some(&document)], &context).await?;
        }
        if replica.soft_delete {
            self.known(|tables| tables.entry(replica.target.clone()).or_default().columns.push(DELETED_AT.to_owned()));
        }
        Ok(())
    }

    async fn write(
        &self,
        replica: &Arc<Replica>,
        write: Write,
        stage: bool,
        batches: Vec<Batch>,
        state: &TableState,
    ) -> Result<(Changes, Vec<Batch>)> {
        let changes = self.apply.write(replica, write, self.marks(replica, write), &batches, state).await?;
        let batches = if stage { self.copy.scratch.stage_rows(replica, batches).await? } else { batches };
        Ok((changes, batches))
    }

    async fn save(&self, replica: &Arc<Replica>, state: &TableState) -> Result<TableState> {
        state::save(&self.remote, replica, state, Count::Same).await
    }

    async fn recount(&self, replica: &Arc<Replica>, state: &TableState) -> Result<TableState> {
        state::save(&self.remote, replica, state, Count::Anew).await
    }

    async fn begin_stage(&self, replica: &Arc<Replica>) -> Result<()> {
        self.copy.forget().await;
        self.copy.scratch.begin_stage(replica).await
    }

    async fn stage(&self, replica: &Arc<Replica>, batches: Vec<Batch>) -> Result<Vec<Batch>> {
        self.copy.scratch.stage(replica, batches).await
    }

    async fn compare(&self, replica: &Arc<Replica>, lane: Lane) -> Result<KeyDifference> {
        self.copy.keys(replica, lane, true).await?;
        self.copy.scratch.compare(replica, lane).await
    }

    async fn keys_to_look_up(
        &self,
        replica: &Arc<Replica>,
        lane: Lane,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        // What is looked up lies ahead of what was, so the copy needn't know of what was written meanwhile.
        self.copy.keys(replica, lane, false).await?;
        self.copy.scratch.keys_to_look_up(replica, lane, after, limit).await
    }

    async fn remove_unstaged(&self, replica: &Arc<Replica>, removal: Removal, state: &TableState) -> Result<Changes> {
        self.copy.keys(replica, Lane::All, false).await?;
        let mut changes = Changes::default();
        let mut after: Option<Key> = None;
        loop {
            let keys = self.copy.scratch.unstaged(replica, after.as_ref(), REMOVED).await?;
            let mut rest = keys.as_slice();
            while !rest.is_empty() {
                let (removed, taken) = self.apply.remove(replica, removal, rest, state).await?;
                changes += removed;
                rest = &rest[taken..];
            }
            after = keys.last().cloned();
            if keys.len() < REMOVED {
                return Ok(changes);
            }
        }
    }

    async fn begin_check(&self, replica: &Arc<Replica>) -> Result<()> {
        self.copy.rows(replica).await?;
        self.copy.scratch.begin_check(replica).await
    }

    async fn check(&self, replica: &Arc<Replica>, batches: Vec<Batch>) -> Result<Vec<Batch>> {
        self.copy.scratch.check(replica, batches).await
    }

    async fn find_suspects(&self, replica: &Arc<Replica>) -> Result<u64> {
        self.copy.scratch.find_suspects(replica).await
    }

    async fn suspects(
        &self,
        replica: &Arc<Replica>,
        only: Option<&'static [Finding]>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        self.copy.scratch.suspects(replica, only, after, limit).await
    }

    async fn confirm(&self, replica: &Arc<Replica>) -> Result<()> {
        self.copy.scratch.confirm(replica).await
    }

    async fn mark_pending(&self, replica: &Arc<Replica>, mending: Mending) -> Result<()> {
        self.copy.scratch.mark_pending(replica, mending).await
    }

    async fn differences(&self, replica: &Arc<Replica>, samples: usize) -> Result<Differences> {
        self.copy.scratch.differences(replica, samples).await
    }

    async fn list_extra(&self, replica: &Arc<Replica>) -> Result<()> {
        self.copy.scratch.list_extra(replica).await
    }

    async fn end_check(&self) -> Result<()> {
        self.copy.forget().await;
        self.copy.scratch.end_check().await
    }

    async fn begin_aside(&self, replica: &Arc<Replica>) -> Result<()> {
        sql::check_width(replica, LARGEST_ANSWER, "a StarbaseDB in a Durable Object")?;
        let context = format!("Failed to create table '{}'", replica.target);
        let aside = sql::aside(replica);
        self.apply.forget().await;
        // An earlier try of this run may have begun a swap. It is ended first, while its table aside is whole.
        exchange::settle(&self.remote).await?;
        let sql = format!(
            "DROP VIEW IF EXISTS {APPLY}; DROP TABLE IF EXISTS {}; {}",
            quote(&aside),
            sql::create(replica, &aside)
        );
        self.remote.change_shape(&sql, &context).await
    }

    async fn aside_losses(&self, replica: &Arc<Replica>, leftover: &Leftover) -> Result<Losses> {
        exchange::losses(&self.remote, replica, leftover).await
    }

    async fn swap_aside(
        &self,
        replica: &Arc<Replica>,
        state: &TableState,
        leftover: &Leftover,
    ) -> Result<(Changes, Vec<String>)> {
        self.apply.forget().await;
        exchange::swap(&self.remote, replica, state, leftover).await
    }

    async fn hand_on(&self, from: &str, to: &str) -> Result<()> {
        let context = format!("Failed to save the sync state of table '{to}'");
        self.remote.change(super::state::HAND_ON, &[Some(from), Some(to)], &context).await.map(drop)
    }

    async fn save_error(&self, source_table: &str, error: Option<&str>) -> Result<()> {
        let sql = "UPDATE tmp_data_sync_state SET last_error = ?2 WHERE source_table = ?1 AND last_error IS NOT ?2";
        let context = format!("Failed to save the sync state of table '{source_table}'");
        self.remote.change(sql, &[Some(source_table), error], &context).await.map(drop)
    }

    async fn finish_run(&self, fingerprint: &str, last_sync_time: Option<&str>) -> Result<()> {
        let sql = "INSERT INTO tmp_data_sync_meta (key, value)
                   SELECT * FROM (VALUES ('fingerprint', ?1), ('last_sync_time', ?2)) AS v WHERE v.column2 IS NOT NULL
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value";
        self.remote.change(sql, &[Some(fingerprint), last_sync_time], "Failed to save the sync state").await?;
        // Keys that stay only take room in a temporary file.
        self.copy.forget().await;
        self.copy.scratch.end_check().await
    }

    async fn reset(&self, table: Option<&str>) -> Result<bool> {
        let context = "Failed to reset the sync state";
        state::check_version(&self.remote, context).await?;
        let sql = format!("{} RETURNING 1 AS c0", super::state::RESET);
        let changed = self.remote.change(&sql, &[table], context).await?;
        if table.is_none() {
            let sql = "DELETE FROM tmp_data_sync_meta WHERE key IN ('fingerprint', 'last_sync_time')";
            self.remote.change(sql, &[], context).await?;
        }
        Ok(table.is_none() || !changed.is_empty())
    }

    async fn is_locked(&self) -> bool {
        lease::is_held(&self.remote).await
    }

    async fn close(&self) {
        self.copy.close().await;
    }
}
