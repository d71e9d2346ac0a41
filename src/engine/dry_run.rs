//! What a run would do: the same selection and the same plan, and nothing written.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::event::{Fault, Level, Mode};
use crate::replica::Track;
use crate::source::{Lookback, Range, ScanPlan, Source, TrackPart};
use crate::target::{Ddl, State, TablePhase, Target};

use super::drift::{self, Drift};
use super::select::{self, Selected};
use super::status::{DryRun, TablePlan};
use super::{Inner, clock, plan, run};

impl Inner {
    /// Plans these tables, or all, on a connection of its own, so that a run under way is not disturbed.
    pub(super) async fn dry_run(&self, named: Option<&[String]>) -> Result<DryRun> {
        self.check_enabled()?;
        let resolved = self.named_source()?;
        let config = &resolved.source;
        let target = self.target()?;
        let state = target.load().await?;
        run::check_source(&state, &config.fingerprint())?;
        let mut source = self.new_source(config)?;
        let outcome = async {
            source.begin().await?;
            let clock_skew_ms = clock_skew(source.as_mut()).await?;
            let all = select::select(source.as_mut(), &self.options, &state, &self.reporter).await?;
            let (tables, missing) = select::narrow(all, named);
            let mut errors: Vec<Fault> = missing.iter().map(Fault::from).collect();
            let mut plans = BTreeMap::new();
            for table in &tables {
                match self.plan_table(source.as_mut(), target.as_ref(), table, &state).await {
                    Ok(plan) => drop(plans.insert(table.target.clone(), plan)),
                    Err(error) if error.kind().ends_run() => return Err(error),
                    Err(error) => {
                        errors.push(Fault::from(&error.in_table(&table.target)));
                        // A failed statement ends a transaction.
                        source.begin().await?;
                    }
                }
            }
            Ok(DryRun {
                dry_run: true,
                source: config.describe(),
                configured_by: resolved.origin.clone(),
                warnings: resolved.warnings.clone(),
                clock_skew_ms,
                tables: plans,
                errors,
            })
        }
        .await;
        source.close().await;
        outcome
    }

    async fn plan_table(
        &self,
        source: &mut dyn Source,
        target: &dyn Target,
        table: &Selected,
        state: &State,
    ) -> Result<TablePlan> {
        let before = state.tables.get(&table.full_name()).filter(|before| before.target == table.target);
        let described = select::described(source, table, &plan::known_columns(before)).await?;
        let mut plan = plan::plan(described, table.target.clone(), &table.wishes, &self.options, before)?;
        let drift = match before {
            Some(before) => drift::compare(&mut plan, before, self.options.schema_drift)?,
            None => Drift::default(),
        };
        plan.check_width(self.options.schema_drift, target.most_columns())?;
        let steps = if before.is_none() || drift.rebuild { vec![Ddl::Create] } else { drift.steps };
        let phase = before.map_or(TablePhase::Snapshot, |before| before.phase);
        let range = match before {
            Some(before) if phase == TablePhase::Incremental && plan.mode != Mode::Full && !drift.rebuild => {
                match plan.replica.track {
                    Track::Columns(_) => Range::ByTrack {
                        part: TrackPart::All,
                        floor: before.floor.clone(),
                        after: before.position.clone(),
                        snapshot: before.snapshot.clone(),
                        lookback: Lookback { seconds: self.options.lookback, values: self.options.lookback_values },
                    },
                    Track::Transaction => Range::Changed { snapshot: before.snapshot.clone() },
                    Track::Whole => Range::Whole,
                }
            }
            Some(before) if phase == TablePhase::Snapshot && !plan.replica.key.is_empty() => {
                Range::ByKey { after: before.key_position.clone() }
            }
            _ => Range::Whole,
        };
        for (level, hint) in &plan.hints {
            self.reporter.log(*level, hint);
        }
        let missing_index = source.advice(&plan.replica);
        if let Some(statement) = &missing_index {
            self.reporter.log(Level::Warn, format_args!("Table {} needs an index: {statement}", table.target));
        }
        let hints =
            plan.hints.iter().filter(|(level, _)| *level >= Level::Warn).map(|(_, hint)| hint.clone()).collect();
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
