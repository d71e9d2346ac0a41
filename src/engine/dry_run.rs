//! What a run would do: the same selection and the same plan, and nothing written.

use std::collections::BTreeMap;

use crate::config::SourceConfig;
use crate::error::{Error, Result, printable};
use crate::event::{Failure, Level, Mode};
use crate::replica::Track;
use crate::source::{Range, ScanPlan, Source, Standing, TrackPart};
use crate::target::{Ddl, Existing, State, TablePhase, TableState, Target};

use super::drift::{self, Drift};
use super::plan::Plan;
use super::select::{self, Selected, Selection};
use super::status::{DryRun, TablePlan};
use super::table::{MOST_RESHAPES, Route, check_is_free, lacks_marks, lagging, lookback, route, standing};
use super::{Inner, clock, plan, room, run};

impl Inner {
    /// Plans these tables, or all, on a connection of its own, so that a run under way is not disturbed. As in a run, a
    /// table that fails does not stop the others: the failure tells of each, and what was planned.
    pub(super) async fn dry_run(&self, named: Option<&[String]>) -> Result<DryRun, Failure> {
        let refused = |error: Error| run::failure(&[error], None);
        self.check_enabled().map_err(refused)?;
        let resolved = self.configured_source().map_err(refused)?;
        let mut found = DryRun {
            dry_run: true,
            source: resolved.source.describe(),
            configured_by: resolved.origin,
            variables: resolved.variables,
            warnings: resolved.warnings,
            clock_skew_ms: None,
            tables: BTreeMap::new(),
        };
        let errors = match self.new_source(&resolved.source) {
            Ok(mut source) => {
                let outcome = self.plan_tables(source.as_mut(), &resolved.source, named, &mut found).await;
                source.close().await;
                outcome.unwrap_or_else(|error| vec![error])
            }
            Err(error) => vec![error],
        };
        if errors.is_empty() {
            return Ok(found);
        }
        Err(Failure { plan: Some(Box::new(found)), ..run::failure(&errors, None) })
    }

    /// Fills `found`; gives what failed besides. The source comes first, so that a fault of the target leaves it known
    /// whether the source can be reached.
    async fn plan_tables(
        &self,
        source: &mut dyn Source,
        config: &SourceConfig,
        named: Option<&[String]>,
        found: &mut DryRun,
    ) -> Result<Vec<Error>> {
        source.begin().await?;
        found.clock_skew_ms = clock_skew(source).await?;
        self.refuse_itself(config)?;
        let target = self.target()?;
        let mut state = target.load().await?;
        let fingerprint = config.fingerprint();
        run::check_source(&state, &fingerprint)?;
        let Selection { tables, warnings } =
            select::select(source, &self.options, &fingerprint, &mut state, &self.reporter).await?;
        found.warnings.extend(warnings);
        let (tables, mut errors) = select::narrow(tables, named);
        let names = tables.iter().map(|table| table.target.clone()).collect();
        let there = target.look_up(names, &state).await?;
        for table in &tables {
            let existing = there.get(&table.target);
            let mut reshapes = 0;
            let planned = loop {
                match self.plan_table(source, target.as_ref(), table, &state, existing).await {
                    // The source has learnt of columns, as in a run.
                    Err(error) if error.is_reshaped() && reshapes < MOST_RESHAPES => reshapes += 1,
                    planned => break planned,
                }
            };
            let error = match planned {
                Ok(plan) => {
                    found.tables.insert(table.target.clone(), plan);
                    continue;
                }
                Err(error) => error,
            };
            if error.kind().ends_run() {
                errors.push(error);
                break;
            }
            errors.push(error.in_table(&table.target));
            // A failed statement ends a transaction.
            source.end().await;
            if let Err(error) = source.begin().await {
                errors.push(error);
                break;
            }
        }
        Ok(errors)
    }

    /// What an incremental run reads.
    fn range_behind(&self, plan: &Plan, before: &TableState) -> Range {
        match plan.replica.track {
            _ if plan.mode == Mode::Full => Range::Whole,
            Track::Columns(_) => Range::ByTrack {
                part: TrackPart::All,
                floor: before.floor.clone(),
                after: before.position.clone(),
                snapshot: before.snapshot.clone(),
                lookback: lookback(&self.options),
            },
            Track::Transaction => Range::Changed { snapshot: before.snapshot.clone() },
            Track::Whole => Range::Whole,
        }
    }

    async fn plan_table(
        &self,
        source: &mut dyn Source,
        target: &dyn Target,
        table: &Selected,
        state: &State,
        existing: Option<&Existing>,
    ) -> Result<TablePlan> {
        let before = state.tables.get(&table.full_name());
        let before = before.filter(|before| before.target == table.target && existing.is_some());
        let described = select::described(source, table, &plan::known_columns(before)).await?;
        let mut plan = plan::plan(described, table.target.clone(), &table.wishes, &self.options, before)?;
        let drift = match before {
            Some(before) => drift::compare(&mut plan, before, self.options.schema_drift)?,
            None => Drift::default(),
        };
        plan.check_width(self.options.schema_drift, target.most_columns())?;
        if let Some(existing) = existing.filter(|_| before.is_none()) {
            check_is_free(table, existing)?;
        }
        let route = route(&plan, &drift, before, existing.is_some());
        let route = match standing(source, route, before) {
            Standing::Later => route,
            Standing::Lagging => return Err(lagging(&table.target)),
            Standing::Lost => Route::Load,
        };
        if room::is_due(route)
            && let Some(error) = room::check(source, target, &plan, self.options.query_timeout).await?
        {
            plan.hints.push((Level::Warn, room::not_searched(&table.target, &error)));
            source.end().await;
            source.begin().await?;
        }
        let mut steps = drift.steps;
        if before.is_none() || route == Route::Rebuild {
            steps = vec![Ddl::Create];
        } else if lacks_marks(&plan.replica, existing) {
            steps.push(Ddl::AddDeletedAt);
        }
        let is_tracked_so = before.is_some_and(|before| before.signature == plan.signature);
        if (route == Route::Rebuild || !is_tracked_so) && plan.replica.may_lack_track() {
            steps.push(Ddl::IndexMissingTrack);
        }
        let (phase, range) = match (route, before) {
            (Route::Update, Some(before)) => (TablePhase::Incremental, self.range_behind(&plan, before)),
            (Route::Resume, Some(before)) => {
                (TablePhase::Snapshot, Range::ByKey { after: before.key_position.clone() })
            }
            _ => (TablePhase::Snapshot, Range::Whole),
        };
        for (level, hint) in &plan.hints {
            self.reporter.log(*level, hint);
        }
        let missing_index = source.advice(&plan.replica);
        if let Some(statement) = &missing_index {
            self.reporter.log(Level::Warn, format_args!("Table {} needs an index: {statement}", table.target));
        }
        let warned = plan.hints.iter().filter(|(level, _)| *level >= Level::Warn);
        let hints = warned.map(|(_, hint)| printable(hint).into_owned()).collect();
        let names = |columns: Vec<usize>| -> Vec<String> {
            columns.into_iter().map(|column| plan.replica.source.columns[column].name.clone()).collect()
        };
        let scan = ScanPlan { replica: &plan.replica, range, batch_size: plan.batch_size };
        Ok(TablePlan {
            source: table.full_name(),
            mode: plan.mode,
            phase: phase.into(),
            track_columns: match &plan.replica.track {
                Track::Columns(columns) => names(columns.clone()),
                Track::Transaction => vec![plan::TRANSACTION_COLUMN.to_owned()],
                Track::Whole => Vec::new(),
            },
            primary_key: names(plan.replica.key.iter().map(|&key| plan.replica.columns[key].source).collect()),
            ddl: target.ddl(&plan.replica, &steps),
            hints,
            missing_index,
            estimated_rows: source.estimate(&scan).await?,
        })
    }
}

/// By how many milliseconds the source's clock is ahead of this machine's. It is asked a moment before its answer comes.
async fn clock_skew(source: &mut dyn Source) -> Result<Option<i64>> {
    let asked = clock::millis();
    let there = source.clock().await?;
    let answered = clock::millis();
    Ok(there.map(|there| there - (asked + (answered - asked) / 2)))
}
