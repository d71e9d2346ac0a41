//! Staged keys: what the source has, to be compared with what the target has.

use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef as Sql};
use rusqlite::{Connection, ToSql, TransactionBehavior};

use super::database::{Database, misplaced};
use super::ddl::{self, in_lane, join, quote};
use super::failure::Failure;
use super::{feed, state};
use crate::batch::{Batch, Key, Value};
use crate::error::Result;
use crate::mapping::SqliteType;
use crate::replica::Replica;
use crate::target::{Changes, KeyDifference, Lane, Removal, TableState};

pub(super) const STAGE: &str = "temp.tmp_data_sync_stage";

/// The keys that the target has and the stage has not.
pub(super) const EXTRA: &str = "temp.tmp_data_sync_extra";

/// The name of a key column in the stage; the target's own could be `changed`.
pub(super) fn staged(index: usize) -> String {
    format!("k{index}")
}

pub(super) fn staged_key(replica: &Replica, prefix: &str) -> String {
    join(0..replica.key.len(), ", ", |index| format!("{prefix}{}", staged(index)))
}

/// The condition that row `t` of the target and row `s` of the stage have one key.
fn same_key(replica: &Replica) -> String {
    join(ddl::key(replica).enumerate(), " AND ", |(index, name)| format!("t.{} = s.{}", quote(name), staged(index)))
}

/// The condition that row `t` of the target was not staged.
fn unstaged(replica: &Replica) -> String {
    format!("NOT EXISTS (SELECT 1 FROM {STAGE} AS s WHERE {})", same_key(replica))
}

/// Lists the keys of the target's lane that were not staged, and counts them.
fn find_extra(conn: &Connection, replica: &Replica, lane: Lane) -> rusqlite::Result<u64> {
    let keys = ddl::names("t.", ddl::key(replica));
    let (table, lane) = (quote(&replica.target), in_lane(replica, lane, "t."));
    conn.execute(&format!("DELETE FROM {EXTRA}"), [])?;
    let found = conn.execute(
        &format!("INSERT INTO {EXTRA} SELECT {keys} FROM main.{table} AS t WHERE {lane} AND {}", unstaged(replica)),
        [],
    )?;
    Ok(found as u64)
}

/// Stages the keys of the whole rows that are served.
pub(super) fn add_rows(conn: &Connection, replica: &Replica) -> rusqlite::Result<()> {
    add(conn, replica, replica.key.iter().copied())
}

/// Stages keys that are found in these columns of the batches.
fn add(conn: &Connection, replica: &Replica, columns: impl IntoIterator<Item = usize>) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT OR FAIL INTO {STAGE} ({}) SELECT {} FROM {} WHERE true ON CONFLICT DO NOTHING",
        staged_key(replica, ""),
        feed::columns(columns),
        feed::NAME
    );
    conn.prepare_cached(&sql)?.raw_execute().map(drop)
}

/// Stages keys, each with a cell that says whether the row changed.
fn add_flagged(conn: &Connection, replica: &Replica) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT OR FAIL INTO {STAGE} ({}, changed) SELECT {} FROM {} WHERE true
         ON CONFLICT DO UPDATE SET changed = 1 WHERE excluded.changed > changed",
        staged_key(replica, ""),
        feed::columns(0..=replica.key.len()),
        feed::NAME
    );
    conn.prepare_cached(&sql)?.raw_execute().map(drop)
}

/// A value on its own, as a parameter.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => Sql::Null,
            Value::Int(value) => Sql::Integer(*value),
            Value::Real(value) => Sql::Real(*value),
            Value::Text(text) => Sql::Text(text.as_bytes()),
            Value::Blob(blob) => Sql::Blob(blob),
        }))
    }
}

fn value(sql: Sql<'_>) -> Value {
    match sql {
        Sql::Null => Value::Null,
        Sql::Integer(value) => Value::Int(value),
        Sql::Real(value) => Value::Real(value),
        Sql::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        Sql::Blob(blob) => Value::Blob(blob.to_vec()),
    }
}

/// The keys of `width` columns that `sql` selects, given the key `after`.
pub(super) fn keys_of(conn: &Connection, sql: &str, after: Option<&Key>, width: usize) -> rusqlite::Result<Vec<Key>> {
    let mut select = conn.prepare_cached(sql)?;
    for (index, value) in after.into_iter().flatten().enumerate() {
        select.raw_bind_parameter(index + 1, Bound(value))?;
    }
    let mut rows = select.raw_query();
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push((0..width).map(|index| row.get_ref(index).map(value)).collect::<rusqlite::Result<Key>>()?);
    }
    Ok(keys)
}

impl Database {
    /// Refuses to compare with keys that aren't there: every row would seem to have left the source.
    pub(super) fn expect_stage(&self, replica: &Replica) -> Result<(), Failure> {
        if self.staged.as_ref() == Some(&replica.target) { Ok(()) } else { Err(misplaced(replica)) }
    }

    pub(super) fn drop_stage(&mut self) -> rusqlite::Result<()> {
        self.staged = None;
        self.compared = false;
        self.conn.execute_batch(&format!("DROP TABLE IF EXISTS {STAGE}; DROP TABLE IF EXISTS {EXTRA}"))
    }

    pub(super) fn begin_stage(&mut self, replica: &Replica) -> Result<()> {
        let columns = join(replica.key.iter().enumerate(), ", ", |(index, &column)| {
            format!("{} {} NOT NULL", staged(index), replica.columns[column].sqlite.name())
        });
        // A single integer is a rowid, which is found faster than any other key.
        let is_rowid =
            matches!(replica.key.as_slice(), [column] if replica.columns[*column].sqlite == SqliteType::Integer);
        let without = if is_rowid { "" } else { " WITHOUT ROWID" };
        let create = format!(
            "CREATE TABLE {STAGE} ({columns}, changed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY ({})){without};
             CREATE TABLE {EXTRA} ({columns})",
            staged_key(replica, "")
        );
        self.drop_stage()
            .and_then(|()| self.conn.execute_batch(&create))
            .map_err(|error| Failure::from(error).within(staging(replica)))?;
        self.staged = Some(replica.target.clone());
        Ok(())
    }

    pub(super) fn stage(&mut self, replica: &Replica, batches: &mut Vec<Batch>) -> Result<()> {
        let width = replica.key.len();
        let flagged = batches.first().is_some_and(|batch| batch.width() > width);
        let mut run = || {
            self.expect_stage(replica)?;
            // Deferred: the stage is this connection's own, and the target's file stays free.
            let tx = self.conn.transaction()?;
            self.feed
                .serve(batches, || if flagged { add_flagged(&tx, replica) } else { add(&tx, replica, 0..width) })?;
            Ok(tx.commit()?)
        };
        run().map_err(|failure: Failure| failure.within(staging(replica)))
    }

    pub(super) fn stage_rows(&mut self, replica: &Replica, batches: &mut Vec<Batch>) -> Result<()> {
        let mut run = || {
            self.expect_stage(replica)?;
            let tx = self.conn.transaction()?;
            self.feed.serve(batches, || add_rows(&tx, replica))?;
            Ok(tx.commit()?)
        };
        run().map_err(|failure: Failure| failure.within(staging(replica)))
    }

    /// Up to `limit` keys of the list of those that were not staged.
    pub(super) fn unstaged_keys(&mut self, replica: &Replica, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
        let mut run = || {
            self.expect_stage(replica)?;
            if !self.compared {
                find_extra(&self.conn, replica, Lane::All)?;
                self.compared = true;
            }
            let width = replica.key.len();
            let keys = staged_key(replica, "");
            let beyond = match after {
                Some(_) => format!(" WHERE ({keys}) > ({})", join(1..=width, ", ", |index| format!("?{index}"))),
                None => String::new(),
            };
            let sql = format!("SELECT {keys} FROM {EXTRA}{beyond} ORDER BY {keys} LIMIT {limit}");
            Ok(keys_of(&self.conn, &sql, after, width)?)
        };
        run().map_err(|failure: Failure| failure.within(comparing(replica)))
    }

    pub(super) fn compare(&mut self, replica: &Replica, lane: Lane) -> Result<KeyDifference> {
        let mut run = || {
            self.expect_stage(replica)?;
            let extra = find_extra(&self.conn, replica, lane)?;
            self.compared = lane == Lane::All;
            let sql = format!(
                "SELECT (SELECT count(*) FROM {STAGE}), count(*) FROM main.{} AS t WHERE {}",
                quote(&replica.target),
                in_lane(replica, lane, "t.")
            );
            Ok(self.conn.query_row(&sql, [], |row| {
                Ok(KeyDifference { staged: ddl::unsigned(row.get(0)?), present: ddl::unsigned(row.get(1)?), extra })
            })?)
        };
        run().map_err(|failure: Failure| failure.within(comparing(replica)))
    }

    pub(super) fn keys_to_look_up(
        &self,
        replica: &Replica,
        lane: Lane,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        self.try_keys_to_look_up(replica, lane, after, limit).map_err(|failure| failure.within(comparing(replica)))
    }

    fn try_keys_to_look_up(
        &self,
        replica: &Replica,
        lane: Lane,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, Failure> {
        self.expect_stage(replica)?;
        let table = quote(&replica.target);
        let width = replica.key.len();
        let beyond = |keys: &str| match after {
            Some(_) => format!("({keys}) > ({}) AND ", join(1..=width, ", ", |index| format!("?{index}"))),
            None => String::new(),
        };
        let staged_keys = staged_key(replica, "s.");
        let lane_sql = in_lane(replica, lane, "t.");
        let ahead = format!(
            "SELECT {staged_keys} FROM {STAGE} AS s WHERE {}(s.changed = 1 OR NOT EXISTS
               (SELECT 1 FROM main.{table} AS t WHERE {} AND {lane_sql}))",
            beyond(&staged_keys),
            same_key(replica)
        );
        let left = if lane == Lane::WithoutTrack {
            let keys = ddl::names("t.", ddl::key(replica));
            let after = beyond(&keys);
            format!(" UNION ALL SELECT {keys} FROM main.{table} AS t WHERE {after}{lane_sql} AND {}", unstaged(replica))
        } else {
            String::new()
        };
        let order = join(1..=width, ", ", |index| index.to_string());
        let sql = format!("{ahead}{left} ORDER BY {order} LIMIT {limit}");
        Ok(keys_of(&self.conn, &sql, after, width)?)
    }

    pub(super) fn remove_unstaged(
        &mut self,
        replica: &Arc<Replica>,
        removal: Removal,
        state: &TableState,
    ) -> Result<Changes> {
        self.try_remove_unstaged(replica, removal, state)
            .map_err(|failure| failure.within(format!("Failed to delete from table '{}'", replica.target)))
    }

    fn try_remove_unstaged(
        &mut self,
        replica: &Arc<Replica>,
        removal: Removal,
        state: &TableState,
    ) -> Result<Changes, Failure> {
        self.ready()?;
        self.expect_stage(replica)?;
        self.behind = true;
        let table = quote(&replica.target);
        if !self.compared {
            find_extra(&self.conn, replica, Lane::All)?;
        }
        let (keys, staged) = (ddl::names("t.", ddl::key(replica)), staged_key(replica, ""));
        let rows =
            format!("WHERE ({keys}) IN (SELECT {staged} FROM {EXTRA}) AND {}", in_lane(replica, Lane::All, "t."));
        let sql = match removal {
            Removal::Delete => format!("DELETE FROM main.{table} AS t {rows}"),
            Removal::Mark => {
                let mark = quote(ddl::DELETED_AT);
                format!("UPDATE main.{table} AS t SET {mark} = {} {rows}", ddl::NOW)
            }
        };
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.tally.watch(&tx, &replica.target)?;
        let deleted = tx.execute(&sql, [])? as u64;
        state::put(&tx, state, self.tally.growth(), None)?;
        tx.commit()?;
        Ok(Changes { deleted, ..Changes::default() })
    }
}

fn staging(replica: &Replica) -> String {
    format!("Failed to keep the keys of table '{}' for comparison", replica.target)
}

fn comparing(replica: &Replica) -> String {
    format!("Failed to compare the keys of table '{}'", replica.target)
}
