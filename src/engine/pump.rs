//! Moving batches: the source reads ahead while the target writes, and each commit carries the position with its rows.

use crate::batch::{Batch, Cell, Position};
use crate::error::Result;
use crate::event::{Event, Phase};
use crate::mapping::mask;
use crate::source::{self, BatchSink, Range, ScanPlan, Source};
use crate::target::{Changes, TableState, Write};

use super::run::Run;
use super::table::{Progress, Work};

/// What happens to the rows of a scan.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// How they meet those that are there.
    pub write: Write,
    /// Whether their keys are staged for a reconcile.
    pub stage: bool,
    /// What moves with them.
    pub advance: Advance,
}

/// What committed batches move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// Nothing.
    None,
    /// The first load's key position.
    Key,
    /// The position, by the hidden cells of a track range.
    Track,
}

impl Run<'_> {
    /// Reads `range` and writes its rows.
    pub async fn pump(&mut self, work: &Work, range: Range, rows: Rows, progress: &mut Progress) -> Result<()> {
        let mut state = super::table::state(progress)?.clone();
        let outcome = self.pump_rows(work, range, rows, progress, &mut state).await;
        // What was committed before a failure is where the next try goes on.
        progress.state = Some(state);
        outcome
    }

    /// Reads the whole table into the table aside; the table's own state stays what it is until the swap.
    pub async fn pump_aside(
        &mut self,
        work: &Work,
        rows: Rows,
        progress: &mut Progress,
        after: &TableState,
    ) -> Result<()> {
        self.pump_rows(work, Range::Whole, rows, progress, &mut after.clone()).await
    }

    async fn pump_rows(
        &mut self,
        work: &Work,
        range: Range,
        rows: Rows,
        progress: &mut Progress,
        state: &mut TableState,
    ) -> Result<()> {
        let phase = progress.phase;
        let is_whole = matches!(range, Range::ByKey { .. } | Range::Whole);
        let plan = ScanPlan { replica: &work.replica, range, batch_size: work.plan.batch_size };
        if is_whole && progress.estimated_rows.is_none() {
            progress.estimated_rows = self.control.or_end(self.source.estimate(&plan)).await?;
        }
        let (sink, mut incoming) = source::channel(work.replica.columns.len() + hidden(&plan.range), plan.batch_size);
        let Run { source, target, control, reporter, .. } = self;
        let read = read_all(&mut **source, &plan, sink);
        let masks = work.plan.masked();
        let write = async move {
            loop {
                let Some(mut batches) = control.or_end(async { Ok(incoming.next().await) }).await? else {
                    return Ok(());
                };
                let mut next = state.clone();
                let mut read = 0;
                for batch in &mut batches {
                    progress.met_position |= advance(work, rows.advance, batch, &mut next);
                    read += batch.rows() as u64;
                    progress.stats.bytes_read += batch.payload();
                    mask::apply(batch, &masks);
                }
                let (changes, batches) = target.write(&work.replica, rows.write, rows.stage, batches, &next).await?;
                // Only where the next try goes on behind these rows; else a read that always breaks at the same place would
                // be tried for ever.
                if (&next.position, &next.key_position) != (&state.position, &state.key_position) {
                    progress.advances += 1;
                }
                *state = next;
                incoming.recycle(batches);
                progress.stats.rows_read += read;
                // Rows aside count when they are swapped in.
                if rows.write != Write::Aside {
                    progress.count(changes);
                }
                reporter.progress(|| progress.event(work, phase));
            }
        };
        both(read, write).await
    }

    /// Reads `range` and compares its rows with the target's.
    pub async fn pump_check(&mut self, work: &Work, range: Range, progress: &mut Progress) -> Result<()> {
        let plan = ScanPlan { replica: &work.replica, range, batch_size: work.plan.batch_size };
        if progress.estimated_rows.is_none() {
            progress.estimated_rows = self.control.or_end(self.source.estimate(&plan)).await?;
        }
        let (sink, mut incoming) = source::channel(work.replica.columns.len() + hidden(&plan.range), plan.batch_size);
        let Run { source, target, control, reporter, .. } = self;
        let read = read_all(&mut **source, &plan, sink);
        let masks = work.plan.masked();
        let compare = async move {
            loop {
                let Some(mut batches) = control.or_end(async { Ok(incoming.next().await) }).await? else {
                    return Ok(());
                };
                for batch in &mut batches {
                    progress.stats.rows_read += batch.rows() as u64;
                    mask::apply(batch, &masks);
                }
                incoming.recycle(target.check(&work.replica, batches).await?);
                reporter.progress(|| progress.event(work, Phase::Verify));
            }
        };
        both(read, compare).await
    }

    /// Reads keys and stages them.
    pub async fn pump_keys(&mut self, work: &Work, range: Range) -> Result<()> {
        let plan = ScanPlan { replica: &work.replica, range, batch_size: work.plan.batch_size };
        let (sink, mut incoming) = source::channel(work.replica.key.len() + hidden(&plan.range), plan.batch_size);
        let Run { source, target, control, .. } = self;
        let read = read_all(&mut **source, &plan, sink);
        let write = async move {
            loop {
                let Some(batches) = control.or_end(async { Ok(incoming.next().await) }).await? else { return Ok(()) };
                incoming.recycle(target.stage(&work.replica, batches).await?);
            }
        };
        both(read, write).await
    }
}

/// Cells of a range's rows beyond those that were asked for.
const fn hidden(range: &Range) -> usize {
    match range {
        Range::ByTrack { .. } => 2,
        Range::KeysWithoutTrack { .. } => 1,
        _ => 0,
    }
}

/// Reads a whole scan.
pub async fn read_all(source: &mut dyn Source, plan: &ScanPlan<'_>, mut sink: BatchSink) -> Result<()> {
    source.scan(plan, &mut sink).await?;
    sink.flush().await
}

/// Drives reading and writing side by side. What was read before the source failed is still written; when writing fails,
/// reading is given up.
pub async fn both(read: impl Future<Output = Result<()>>, write: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::pin!(read, write);
    tokio::select! {
        biased;
        written = &mut write => match written {
            Ok(()) => read.await,
            Err(error) => Err(error),
        },
        read = &mut read => {
            write.await?;
            read
        }
    }
}

/// Moves the position in `state` to the last row of `batch` that may carry it. Says whether the batch has such a row, or
/// the one at the position.
fn advance(work: &Work, advance: Advance, batch: &Batch, state: &mut TableState) -> bool {
    let replica = &work.replica;
    match advance {
        Advance::None => false,
        Advance::Key => {
            if let Some(last) = batch.rows().checked_sub(1) {
                state.key_position = Some(batch.key(last, &replica.key));
            }
            false
        }
        Advance::Track => {
            let width = replica.columns.len();
            let last = (0..batch.rows()).rev().find(|&row| batch.row(row)[width + 1] == Cell::Int(1));
            if let Some(row) = last {
                state.position = Some(Position { track: batch.value(row, width), key: batch.key(row, &replica.key) });
                return true;
            }
            state.position.as_ref().is_some_and(|position| {
                (0..batch.rows()).any(|row| {
                    batch.holds(row, width, &position.track)
                        && replica.key.iter().zip(&position.key).all(|(&column, value)| batch.holds(row, column, value))
                })
            })
        }
    }
}

impl Progress {
    /// Adds what a write changed.
    pub fn count(&mut self, changes: Changes) {
        self.stats.rows_inserted += changes.inserted;
        self.stats.rows_updated += changes.updated;
        self.stats.rows_deleted += changes.deleted;
    }

    fn event(&self, work: &Work, phase: Phase) -> Event {
        let rows = self.stats.rows_read;
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rows_per_second = (rows as f64 / seconds) as u64;
        Event::Progress {
            table: work.replica.target.clone(),
            phase,
            rows,
            // An estimate that was too low is corrected by what was seen.
            estimated_rows: self.estimated_rows.map(|estimate| estimate.max(rows)),
            rows_per_second,
        }
    }
}
