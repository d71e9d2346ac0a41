//! Comparing the target with the source, row by row, and putting right what differs.
//!
//! The source's rows stream past the target's once. What differs then is looked at a second time, at a later moment of
//! the source, so that a row which changed during the comparison is told as it is in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::batch::{Key, Value};
use crate::config::Deletes;
use crate::error::{Error, Kind, Result};
use crate::event::{Failure, Level, Mode};
use crate::replica::Track;
use crate::source::{Range, TrackPart};
use crate::target::{Differences, Existing, Finding, Mending, Removal, TablePhase, TableState, Write};

use super::drift;
use super::plan::{self, Plan};
use super::pump::{Advance, Rows};
use super::reconcile::LOOKUP;
use super::retry::Attempts;
use super::run::{Run, check_source, failure};
use super::select::{self, Selected};
use super::table::{Progress, Work, check_delete_limit, lookback, state, write_of};

/// Keys that a result names for each table.
const SAMPLES: usize = 10;

/// How the target differs from the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// By the table's name in the target.
    pub tables: BTreeMap<String, TableDifferences>,
}

/// How one table differs from the source's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableDifferences {
    /// Rows that the source has.
    pub rows: u64,
    /// Rows that only the source has.
    pub missing: u64,
    /// Rows that only the target has.
    pub extra: u64,
    /// Rows that both have, of which a value differs.
    pub different: u64,
    /// Those of them that the next run puts right anyway, such as rows that changed since the last one.
    pub pending: u64,
    /// Rows that were inserted, rewritten, deleted or marked as deleted; 0 without `repair`.
    pub repaired: u64,
    /// The first of the rows that differ, by their keys.
    pub samples: Vec<Sample>,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// How.
    pub kind: SampleKind,
    /// Its key: the target's columns, and their values as text.
    pub key: BTreeMap<String, String>,
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleKind {
    /// Only the source has it.
    Missing,
    /// A value differs.
    Different,
    /// Only the target has it.
    Extra,
}

impl From<Finding> for SampleKind {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Missing => Self::Missing,
            Finding::Different => Self::Different,
            Finding::Extra => Self::Extra,
        }
    }
}

impl Run<'_> {
    /// Compares these tables, or all. The caller holds the target's lock.
    pub async fn verify(mut self, named: Option<&[String]>, repair: bool) -> Result<Verification, Failure> {
        let outcome = self.verify_tables(named, repair).await;
        self.end_read().await;
        let (tables, errors) = outcome.map_err(|error| {
            self.log_failure(&error);
            failure(&[error], None)
        })?;
        if errors.is_empty() { Ok(Verification { tables }) } else { Err(failure(&errors, None)) }
    }

    async fn verify_tables(
        &mut self,
        named: Option<&[String]>,
        repair: bool,
    ) -> Result<(BTreeMap<String, TableDifferences>, Vec<Error>)> {
        let mut known = self.target.load().await?;
        check_source(&known, &self.fingerprint)?;
        let (selected, mut errors) = select::narrow(self.select(&mut known).await?, named);
        for error in &errors {
            self.log_failure(error);
        }
        let mut done = BTreeMap::new();
        for table in &selected {
            let before = known.tables.remove(&table.full_name());
            // One that another source left is none of this one's yet.
            let before = before.filter(|before| before.target == table.target && before.source == table.full_name());
            let error = match self.verify_table(table, before, repair).await {
                Ok(differences) => {
                    done.insert(table.target.clone(), differences);
                    continue;
                }
                Err(error) => error.in_table(&table.target),
            };
            self.log_failure(&error);
            let ends = error.kind().ends_run();
            errors.push(error);
            if ends {
                break;
            }
        }
        Ok((done, errors))
    }

    async fn verify_table(
        &mut self,
        table: &Selected,
        before: Option<TableState>,
        repair: bool,
    ) -> Result<TableDifferences> {
        let before = before.ok_or_else(|| never_synced(table))?;
        self.reporter.log(Level::Info, format_args!("Verifying table {}", table.target));
        let outcome = self.compare_table(table, &before, repair).await;
        self.target.end_check().await?;
        let differences = outcome?;
        self.tell_differences(table, &differences);
        Ok(differences)
    }

    async fn compare_table(&mut self, table: &Selected, before: &TableState, repair: bool) -> Result<TableDifferences> {
        let mut attempts = Attempts::new(self.options.retry);
        let what = format!("the comparison of table {}", table.target);
        let mut repaired = 0;
        loop {
            let mut progress = Progress::new(Some(before.clone()));
            let outcome = self.try_to_verify(table, repair, &mut progress).await;
            // What an earlier try put right stays so.
            repaired += progress.stats.rows_inserted + progress.stats.rows_updated + progress.stats.rows_deleted;
            match outcome {
                Ok(differences) => return Ok(TableDifferences { repaired, ..differences }),
                Err(error) => self.wait_to_retry(&mut attempts, error, &what).await?,
            }
        }
    }

    async fn try_to_verify(
        &mut self,
        table: &Selected,
        repair: bool,
        progress: &mut Progress,
    ) -> Result<TableDifferences> {
        let work = self.plan_check(table, progress).await?;
        let replica = &work.replica;
        self.target.begin_check(replica).await?;
        self.pump_check(&work, Range::Whole, progress).await?;
        let rows = progress.stats.rows_read;
        if !replica.key.is_empty() && self.target.find_suspects(replica).await? > 0 {
            self.look_again(&work, progress).await?;
        }
        let mut differences = self.target.differences(replica, SAMPLES).await?;
        if replica.key.is_empty() {
            // Such a table is built anew in every run.
            differences.pending = differences.missing + differences.extra;
        } else if differences != Differences::default() {
            self.find_pending(&work, progress).await?;
            differences = self.target.differences(replica, SAMPLES).await?;
            if repair {
                self.repair(&work, rows, &differences, progress).await?;
            }
        }
        let name = |key: Key| -> BTreeMap<String, String> {
            let columns = replica.key.iter().map(|&column| replica.columns[column].name.clone());
            columns.zip(key.iter().map(Value::render)).collect()
        };
        let samples =
            differences.samples.into_iter().map(|(finding, key)| Sample { kind: finding.into(), key: name(key) });
        Ok(TableDifferences {
            rows,
            missing: differences.missing,
            extra: differences.extra,
            different: differences.different,
            pending: differences.pending,
            repaired: 0,
            samples: samples.collect(),
        })
    }

    /// The plan that the table's rows were written by.
    ///
    /// # Errors
    /// `SCHEMA` when the next run would change the table, so that there is nothing to compare yet.
    async fn plan_check(&mut self, table: &Selected, progress: &Progress) -> Result<Work> {
        let before = state(progress)?;
        let moment = self.read().await?;
        let known = plan::known_columns(Some(before));
        let described = self.control.or_end(select::described(self.source, table, &known)).await?;
        let existing = self.target.existing(&table.target).await?.ok_or_else(|| gone(table))?;
        let mut plan = plan::plan(described, table.target.clone(), &table.wishes, self.options, Some(before))?;
        let drift = drift::compare(&mut plan, before, self.options.schema_drift)?;
        plan.check_width(self.options.schema_drift, self.target.most_columns())?;
        if drift.rebuild || drift.refill || !drift.steps.is_empty() || !fits(&plan, before, &existing) {
            return Err(Error::new(Kind::Schema, format!("Table '{}' can't be verified yet", table.target)).because(
                "its schema or its options changed since the last run, so the next one changes the table: sync it first",
            ));
        }
        Ok(Work { replica: Arc::new(plan.replica.clone()), plan, moment })
    }

    /// Looks at the suspects once more, at a later moment of the source.
    async fn look_again(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        self.end_read().await;
        self.read().await?;
        self.target.begin_check(&work.replica).await?;
        let mut after: Option<Key> = None;
        loop {
            let keys = self.target.suspects(&work.replica, None, after.as_ref(), LOOKUP).await?;
            let Some(last) = keys.last().cloned() else { break };
            self.pump_check(work, Range::Lookup { keys }, progress).await?;
            after = Some(last);
        }
        self.target.confirm(&work.replica).await
    }

    /// Finds out which of the differences the next run puts right, by reading what it would read.
    async fn find_pending(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        let TableState { phase, key_position, floor, position, snapshot, .. } = state(progress)?.clone();
        let (target, replica) = (self.target, &work.replica);
        let rewritten: &'static [Finding] =
            if work.plan.mode == Mode::Append { &[Finding::Missing] } else { &[Finding::Missing, Finding::Different] };
        if work.plan.deletes != Deletes::None {
            target.mark_pending(replica, Mending::Every(&[Finding::Missing, Finding::Extra])).await?;
        }
        if phase == TablePhase::Reset || work.plan.mode == Mode::Full || replica.track == Track::Whole {
            return target.mark_pending(replica, Mending::Every(rewritten)).await;
        }
        if phase == TablePhase::Snapshot {
            if key_position.is_some() && !self.source.loads_by_key() {
                target.mark_pending(replica, Mending::Every(&[Finding::Missing])).await?;
            }
            self.mark_read(work, Range::ByKey { after: key_position }, rewritten, progress).await?;
        }
        if replica.track == Track::Transaction {
            return self.mark_read(work, Range::Changed { snapshot }, rewritten, progress).await;
        }
        let lookback = lookback(self.options);
        let range =
            Range::ByTrack { part: TrackPart::All, floor, after: position, snapshot: snapshot.clone(), lookback };
        self.mark_read(work, range, rewritten, progress).await?;
        if replica.may_lack_track() {
            target.begin_check(replica).await?;
            self.pump_keys(work, Range::KeysWithoutTrack { snapshot }).await?;
            target.mark_pending(replica, Mending::Lane(rewritten)).await?;
        }
        Ok(())
    }

    async fn mark_read(
        &mut self,
        work: &Work,
        range: Range,
        findings: &'static [Finding],
        progress: &mut Progress,
    ) -> Result<()> {
        self.target.begin_check(&work.replica).await?;
        self.pump_check(work, range, progress).await?;
        self.target.mark_pending(&work.replica, Mending::Read(findings)).await
    }

    /// Writes the rows that are missing or different anew, and removes those that are extra where deletes are followed.
    async fn repair(
        &mut self,
        work: &Work,
        rows: u64,
        differences: &Differences,
        progress: &mut Progress,
    ) -> Result<()> {
        let (target, replica) = (self.target, &work.replica);
        let removes = work.plan.deletes != Deletes::None && differences.extra > 0;
        if removes {
            let present = (rows + differences.extra).saturating_sub(differences.missing);
            check_delete_limit(work, differences.extra, present, self.options.delete_limit)?;
        }
        // Whoever changed the rows did not count them. From here on every write counts, so that a repair that is cut
        // leaves right counters, too.
        progress.state = Some(target.recount(replica, state(progress)?).await?);
        let findings: &'static [Finding] = if write_of(work) == Write::InsertNew {
            &[Finding::Missing]
        } else {
            &[Finding::Missing, Finding::Different]
        };
        let mut after: Option<Key> = None;
        loop {
            let keys = target.suspects(replica, Some(findings), after.as_ref(), LOOKUP).await?;
            let Some(last) = keys.last().cloned() else { break };
            let rows = Rows { write: write_of(work), stage: false, advance: Advance::None };
            self.pump(work, Range::Lookup { keys }, rows, progress).await?;
            after = Some(last);
        }
        if removes {
            target.list_extra(replica).await?;
            let removal = if work.plan.deletes == Deletes::Soft { Removal::Mark } else { Removal::Delete };
            let changes = target.remove_unstaged(replica, removal, state(progress)?).await?;
            progress.count(changes);
        }
        // Rows without a track value are counted by no write.
        progress.state = Some(target.save(replica, state(progress)?).await?);
        Ok(())
    }

    fn tell_differences(&self, table: &Selected, found: &TableDifferences) {
        let TableDifferences { rows, missing, extra, different, pending, repaired, .. } = found;
        let table = &table.target;
        if missing + extra + different == 0 {
            self.reporter.log(Level::Info, format_args!("Verified table {table}: {rows} rows, no difference"));
            return;
        }
        self.reporter.log(
            Level::Warn,
            format_args!(
                "Table {table} differs from the source's {rows} rows: {missing} missing, {different} different, \
                 {extra} extra ({pending} of them come right with the next run)"
            ),
        );
        if *repaired > 0 {
            self.reporter.log(Level::Info, format_args!("Repaired {repaired} rows of table {table}"));
        }
    }
}

/// Whether the table's rows were written by this plan, or will all be read by the next run, which changes no column.
fn fits(plan: &Plan, before: &TableState, existing: &Existing) -> bool {
    let has_mark = existing.columns.iter().any(|name| name == plan::DELETED_AT);
    let same = before.signature == plan.signature || (plan.mode == Mode::Full && before.mode == Mode::Full);
    same && (has_mark || !plan.replica.soft_delete)
}

fn never_synced(table: &Selected) -> Error {
    Error::new(Kind::TableNotFound, format!("Table '{}' has no sync state", table.target))
        .because("it was never synced into this target")
}

fn gone(table: &Selected) -> Error {
    Error::new(Kind::TableNotFound, format!("Table '{}' is gone from the target", table.target))
        .because("the next run loads it anew")
}
