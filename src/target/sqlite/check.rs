//! Comparing the target's rows with the source's, without changing either.
//!
//! The stage holds each key that was read and what was found of its row; what is not as it should be goes into a list of
//! suspects, which is looked at once more. All of that is in this connection's temporary tables, on disk.

use super::database::Database;
use super::ddl::{self, in_lane, join, quote};
use super::failure::Failure;
use super::feed;
use super::stage::{EXTRA, STAGE, keys_of, staged, staged_key};
use crate::batch::{Batch, Key};
use crate::error::Result;
use crate::mapping::SqliteType;
use crate::replica::Replica;
use crate::target::{Differences, Finding, Lane, Mending};

/// The keys of rows that are not as they should be.
const SUSPECTS: &str = "temp.tmp_data_sync_suspects";

/// The rows of a table without a key, as the source has them.
const ROWS: &str = "temp.tmp_data_sync_rows";

/// Findings as the stage and the suspects hold them; 0 is a row that is as it should be.
const fn code(finding: Finding) -> i64 {
    match finding {
        Finding::Different => 1,
        Finding::Missing => 2,
        Finding::Extra => 3,
    }
}

impl Database {
    pub(super) fn begin_check(&mut self, replica: &Replica) -> Result<()> {
        if !replica.key.is_empty() {
            return self.begin_stage(replica);
        }
        let columns = join(replica.columns.iter().enumerate(), ", ", |(index, column)| {
            format!("c{index} {}", column.sqlite.name())
        });
        self.conn
            .execute_batch(&format!("DROP TABLE IF EXISTS {ROWS}; CREATE TABLE {ROWS} ({columns})"))
            .map_err(|error| Failure::from(error).within(checking(replica)))
    }

    pub(super) fn check(&mut self, replica: &Replica, batches: &mut Vec<Batch>) -> Result<()> {
        let sql = if replica.key.is_empty() {
            let columns = feed::columns(0..replica.columns.len());
            format!("INSERT OR FAIL INTO {ROWS} SELECT {columns} FROM {}", feed::NAME)
        } else {
            compare_rows(replica)
        };
        let mut run = || {
            // Deferred: only temporary tables are written, and the target's file stays free.
            let tx = self.conn.transaction()?;
            self.feed.serve(batches, || tx.prepare_cached(&sql)?.raw_execute())?;
            Ok(tx.commit()?)
        };
        run().map_err(|failure: Failure| failure.within(checking(replica)))
    }

    pub(super) fn find_suspects(&mut self, replica: &Replica) -> Result<u64> {
        self.compare(replica, Lane::All)?;
        let key = staged_key(replica, "");
        let columns = join(replica.key.iter().enumerate(), ", ", |(index, &column)| {
            format!("{} {} NOT NULL", staged(index), replica.columns[column].sqlite.name())
        });
        let list = format!(
            "DROP TABLE IF EXISTS {SUSPECTS};
             CREATE TABLE {SUSPECTS} ({columns}, finding INTEGER NOT NULL, pending INTEGER NOT NULL DEFAULT 0,
               PRIMARY KEY ({key})) WITHOUT ROWID;
             INSERT INTO {SUSPECTS} ({key}, finding) SELECT {key}, changed FROM {STAGE} WHERE changed > 0;
             INSERT INTO {SUSPECTS} ({key}, finding) SELECT {key}, {} FROM {EXTRA};",
            code(Finding::Extra)
        );
        let run = || -> rusqlite::Result<i64> {
            self.conn.execute_batch(&list)?;
            self.conn.query_row(&format!("SELECT count(*) FROM {SUSPECTS}"), [], |row| row.get(0))
        };
        run().map(ddl::unsigned).map_err(|error| Failure::from(error).within(checking(replica)))
    }

    pub(super) fn suspects(
        &self,
        replica: &Replica,
        only: Option<&[Finding]>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        let key = staged_key(replica, "");
        let mut terms = vec!["1".to_owned()];
        if let Some(only) = only {
            terms.push(format!("finding IN ({})", join(only, ", ", |&finding| code(finding).to_string())));
        }
        if after.is_some() {
            terms.push(format!("({key}) > ({})", join(1..=replica.key.len(), ", ", |index| format!("?{index}"))));
        }
        let sql = format!("SELECT {key} FROM {SUSPECTS} WHERE {} ORDER BY {key} LIMIT {limit}", terms.join(" AND "));
        keys_of(&self.conn, &sql, after, replica.key.len())
            .map_err(|error| Failure::from(error).within(checking(replica)))
    }

    pub(super) fn confirm(&mut self, replica: &Replica) -> Result<()> {
        let sql = format!(
            "UPDATE {SUSPECTS} AS u SET finding = coalesce((SELECT s.changed FROM {STAGE} AS s WHERE {}),
               CASE WHEN EXISTS (SELECT 1 FROM main.{} AS t WHERE {} AND {}) THEN {} ELSE 0 END);
             DELETE FROM {SUSPECTS} WHERE finding = 0",
            join(0..replica.key.len(), " AND ", |index| format!("s.{0} = u.{0}", staged(index))),
            quote(&replica.target),
            in_target(replica),
            in_lane(replica, Lane::All, "t."),
            code(Finding::Extra)
        );
        self.conn.execute_batch(&sql).map_err(|error| Failure::from(error).within(checking(replica)))
    }

    pub(super) fn mark_pending(&mut self, replica: &Replica, mending: Mending) -> Result<()> {
        let same = join(0..replica.key.len(), " AND ", |index| format!("s.{0} = u.{0}", staged(index)));
        let staged = format!("EXISTS (SELECT 1 FROM {STAGE} AS s WHERE {same})");
        let (findings, condition) = match mending {
            Mending::Every(findings) => (findings, "1".to_owned()),
            Mending::Read(findings) => (findings, staged),
            // As a run follows it: a row that is missing is fetched, another when it came as changed, or came to the lane
            // or left it.
            Mending::Lane(findings) => {
                let condition = format!(
                    "CASE finding WHEN {} THEN {staged} ELSE
                       EXISTS (SELECT 1 FROM {STAGE} AS s WHERE {same} AND s.changed = 1)
                       OR {staged} <> EXISTS (SELECT 1 FROM main.{} AS t WHERE {} AND {}) END",
                    code(Finding::Missing),
                    quote(&replica.target),
                    in_target(replica),
                    in_lane(replica, Lane::WithoutTrack, "t.")
                );
                (findings, condition)
            }
        };
        let findings = join(findings, ", ", |&finding| code(finding).to_string());
        let sql = format!("UPDATE {SUSPECTS} AS u SET pending = 1 WHERE finding IN ({findings}) AND ({condition})");
        self.conn.execute_batch(&sql).map_err(|error| Failure::from(error).within(checking(replica)))
    }

    pub(super) fn differences(&self, replica: &Replica, samples: usize) -> Result<Differences> {
        let run =
            || if replica.key.is_empty() { self.count_rows(replica) } else { self.count_suspects(replica, samples) };
        run().map_err(|error| Failure::from(error).within(checking(replica)))
    }

    fn count_suspects(&self, replica: &Replica, samples: usize) -> rusqlite::Result<Differences> {
        let mut differences = self.conn.query_row(
            &format!(
                "SELECT count(*) FILTER (WHERE finding = {}), count(*) FILTER (WHERE finding = {}),
                 count(*) FILTER (WHERE finding = {}), coalesce(sum(pending), 0) FROM {SUSPECTS}",
                code(Finding::Missing),
                code(Finding::Extra),
                code(Finding::Different)
            ),
            [],
            |row| {
                Ok(Differences {
                    missing: ddl::unsigned(row.get(0)?),
                    extra: ddl::unsigned(row.get(1)?),
                    different: ddl::unsigned(row.get(2)?),
                    pending: ddl::unsigned(row.get(3)?),
                    samples: Vec::new(),
                })
            },
        )?;
        let key = staged_key(replica, "");
        for finding in [Finding::Missing, Finding::Different, Finding::Extra] {
            let left = samples - differences.samples.len();
            let sql =
                format!("SELECT {key} FROM {SUSPECTS} WHERE finding = {} ORDER BY {key} LIMIT {left}", code(finding));
            let keys = keys_of(&self.conn, &sql, None, replica.key.len())?;
            differences.samples.extend(keys.into_iter().map(|key| (finding, key)));
        }
        Ok(differences)
    }

    /// Rows without a key have nothing to be found by: equal ones are counted on both sides.
    fn count_rows(&self, replica: &Replica) -> rusqlite::Result<Differences> {
        let theirs = feed::columns(0..replica.columns.len());
        let ours = ddl::names("", ddl::columns(replica));
        let sql = format!(
            "SELECT coalesce(sum(max(more, 0)), 0), coalesce(sum(max(-more, 0)), 0) FROM (SELECT sum(side) AS more FROM
               (SELECT {theirs}, 1 AS side FROM {ROWS} UNION ALL SELECT {ours}, -1 FROM main.{}) GROUP BY {theirs})",
            quote(&replica.target)
        );
        self.conn.query_row(&sql, [], |row| {
            let (missing, extra) = (ddl::unsigned(row.get(0)?), ddl::unsigned(row.get(1)?));
            Ok(Differences { missing, extra, ..Differences::default() })
        })
    }

    pub(super) fn list_extra(&mut self, replica: &Replica) -> Result<()> {
        self.begin_stage(replica)?;
        let key = staged_key(replica, "");
        let extra = code(Finding::Extra);
        self.conn
            .execute(&format!("INSERT INTO {EXTRA} SELECT {key} FROM {SUSPECTS} WHERE finding = {extra}"), [])
            .map_err(|error| Failure::from(error).within(checking(replica)))?;
        self.compared = true;
        Ok(())
    }

    pub(super) fn end_check(&mut self) -> Result<()> {
        self.drop_stage()
            .and_then(|()| {
                self.conn.execute_batch(&format!("DROP TABLE IF EXISTS {SUSPECTS}; DROP TABLE IF EXISTS {ROWS}"))
            })
            .map_err(|error| Failure::from(error).within("Failed to end the comparison of rows".to_owned()))
    }
}

/// The condition that row `t` of the target and row `u` of the suspects have one key.
fn in_target(replica: &Replica) -> String {
    join(ddl::key(replica).enumerate(), " AND ", |(index, name)| format!("t.{} = u.{}", quote(name), staged(index)))
}

/// Stages the keys of the rows that are served, each with what is found of it.
fn compare_rows(replica: &Replica) -> String {
    let key =
        join(ddl::key(replica).zip(&replica.key), " AND ", |(name, column)| format!("t.{} = f.c{column}", quote(name)));
    let rest: Vec<usize> = (0..replica.columns.len()).filter(|column| !replica.key.contains(column)).collect();
    let ours = |column: &usize| format!("t.{}", quote(&replica.columns[*column].name));
    // As in a write: compared as one row value, and where a column takes values as they are, by their classes too.
    let classes = rest.iter().filter(|column| replica.columns[**column].sqlite == SqliteType::Blob);
    let list = |value: &dyn Fn(&usize) -> String| {
        let values = rest.iter().map(value);
        values.chain(classes.clone().map(|column| format!("typeof({})", value(column)))).collect::<Vec<_>>().join(", ")
    };
    let differ = if rest.is_empty() {
        "0".to_owned()
    } else {
        format!("({}) IS NOT ({})", list(&ours), list(&|column| format!("f.c{column}")))
    };
    format!(
        "INSERT OR FAIL INTO {STAGE} ({}, changed) SELECT {}, CASE WHEN t.{} IS NULL THEN {} WHEN {differ} THEN {} ELSE 0 END
         FROM {} AS f LEFT JOIN main.{} AS t ON {key} AND {} WHERE true
         ON CONFLICT DO UPDATE SET changed = excluded.changed",
        staged_key(replica, ""),
        join(&replica.key, ", ", |column| format!("f.c{column}")),
        quote(&replica.columns[replica.key[0]].name),
        code(Finding::Missing),
        code(Finding::Different),
        feed::NAME,
        quote(&replica.target),
        in_lane(replica, Lane::All, "t.")
    )
}

fn checking(replica: &Replica) -> String {
    format!("Failed to compare the rows of table '{}'", replica.target)
}
