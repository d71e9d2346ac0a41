//! Before a table is read as a whole: whether the target has room for each of its rows.

use crate::error::{Error, Result};
use crate::event::Level;
use crate::mapping::mask;
use crate::source::{self, Range, ScanPlan, Source};
use crate::target::Target;

use super::plan::Plan;
use super::pump::{both, read_all};
use super::run::Run;
use super::table::{Progress, Route};

/// Looks at the rows of the table that may be too large for the target, in the form that they would be written in. Gives what
/// the source broke off with, as it may when looking takes longer than `query_timeout`: the consistent read is over then, and
/// nothing else is, because each batch is looked at again before it is written.
///
/// # Errors
/// `TARGET_WRITE` when there is no room for a row; what the source says when it can't be asked.
pub async fn check(source: &mut dyn Source, target: &dyn Target, plan: &Plan) -> Result<Option<Error>> {
    let Some(mut measure) = target.measure() else { return Ok(None) };
    let replica = &plan.replica;
    let scan = ScanPlan { replica, range: Range::Large { bytes: measure.small() }, batch_size: plan.batch_size };
    let (sink, mut incoming) = source::channel(replica.columns.len(), plan.batch_size);
    let masks = plan.masked();
    let look = async {
        while let Some(mut batches) = incoming.next().await {
            for batch in &mut batches {
                mask::apply(batch, &masks);
                measure.look(replica, batch);
            }
            incoming.recycle(batches);
        }
        Ok(())
    };
    let read = both(read_all(source, &scan, sink), look).await;
    // What was found stays true of a read that broke.
    measure.end(replica)?;
    match read {
        Err(error) if error.is_transient() && !error.is_reshaped() => Ok(Some(error)),
        read => read.map(|()| None),
    }
}

/// What to tell of a table when the source broke off.
pub fn not_searched(target: &str, error: &Error) -> String {
    format!(
        "Table {target} could not be searched for values that the target has no room for, so one fails its run when it is \
         reached: {error}"
    )
}

/// Whether a table that takes this way is read as a whole. What a table gets later is looked at as it comes.
pub fn is_due(route: Route) -> bool {
    route != Route::Update
}

impl Run<'_> {
    /// Does so once in a run. `false` when the source broke off.
    pub(super) async fn has_room(&mut self, plan: &Plan, route: Route, progress: &mut Progress) -> Result<bool> {
        if progress.measured || !is_due(route) {
            return Ok(true);
        }
        let broke_off = self.control.or_end(check(self.source, self.target, plan)).await?;
        progress.measured = true;
        let Some(error) = broke_off else { return Ok(true) };
        self.reporter.log(Level::Warn, not_searched(&plan.replica.target, &error));
        self.end_read().await;
        Ok(false)
    }
}
