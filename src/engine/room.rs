//! Before a table is read as a whole: whether the target has room for each of its rows.

use std::time::Duration;

use tokio::time::timeout;

use crate::error::{Error, Kind, Result};
use crate::event::Level;
use crate::mapping::mask;
use crate::source::{self, Range, ScanPlan, Source};
use crate::target::Target;

use super::plan::Plan;
use super::pump::{both, read_all};
use super::run::Run;
use super::table::{Progress, Route};

/// Times that a table is searched in a run whose connections break.
const MOST_SEARCHES: u32 = 2;

/// Looks at the rows of the table that may be too large for the target, in the form that they would be written in. Gives why
/// that came to no end: the source can't answer, or not within `limit`. The consistent read is over then, and nothing else is,
/// because each batch is looked at again before it is written.
///
/// # Errors
/// `TARGET_WRITE` when there is no room for a row; what ends any read.
pub async fn check(
    source: &mut dyn Source,
    target: &dyn Target,
    plan: &Plan,
    limit: Duration,
) -> Result<Option<Error>> {
    let Some(mut measure) = target.measure() else { return Ok(None) };
    let replica = &plan.replica;
    let masks = plan.masked();
    let columns =
        (0..replica.columns.len()).filter(|column| masks.iter().all(|(masked, _)| masked != column)).collect();
    let range = Range::Large { bytes: measure.small(), columns };
    let scan = ScanPlan { replica, range, batch_size: plan.batch_size };
    let (sink, mut incoming) = source::channel(replica.columns.len(), plan.batch_size);
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
    let read = timeout(limit, both(read_all(source, &scan, sink), look)).await;
    // What was found stays true of a read that came to no end.
    measure.end(replica)?;
    match read {
        Ok(Ok(())) => Ok(None),
        Ok(Err(error)) if error.is_reshaped() || error.kind() != Kind::SourceRead => Err(error),
        Ok(Err(error)) => Ok(Some(error)),
        Err(_) => {
            let told =
                format!("it took longer than {} s; the option query_timeout sets this limit", limit.as_secs_f64());
            Ok(Some(Error::new(Kind::SourceRead, format!("Failed to search table '{}'", replica.target)).because(told)))
        }
    }
}

/// What to tell of a table when that came to no end.
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
    /// Does so once in a run. `false` when it came to no end.
    ///
    /// # Errors
    /// As [`check`]'s, and what broke the read, if that may not happen again.
    pub(super) async fn has_room(&mut self, plan: &Plan, progress: &mut Progress) -> Result<bool> {
        if progress.searched {
            return Ok(true);
        }
        let limit = self.options.query_timeout;
        let Some(error) = self.control.or_end(check(self.source, self.target, plan, limit)).await? else {
            progress.searched = true;
            return Ok(true);
        };
        progress.searches += 1;
        // A connection that nothing comes by for long may be cut each time, which is no reason not to load.
        if error.is_transient() && progress.searches < self.options.retry.attempts.min(MOST_SEARCHES) {
            return Err(error);
        }
        progress.searched = true;
        self.reporter.log(Level::Warn, not_searched(&plan.replica.target, &error));
        self.end_read().await;
        Ok(false)
    }
}
