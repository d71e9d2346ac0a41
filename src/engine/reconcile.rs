//! Comparing keys: the NULL lane, and rows that left the source.

use crate::batch::Key;
use crate::config::Deletes;
use crate::error::Result;
use crate::source::Range;
use crate::target::{KeyDifference, Lane, Removal};

use super::pump::{Advance, Rows};
use super::run::Run;
use super::table::{Progress, Work, check_delete_limit, state, write_of};

/// Keys looked up at the source in one go.
pub const LOOKUP: usize = 500;

impl Run<'_> {
    /// The NULL lane. Rows without a track value have no position, so their keys are compared: a key that only the
    /// source has in the lane is a new row (or one that lost its track value), a key that only the target has there is
    /// a row that got one (whatever it is, it may lie far behind the position), and the source marks those that changed
    /// where it can.
    pub async fn follow_missing_track(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        self.target.begin_stage(&work.replica).await?;
        let snapshot = state(progress)?.snapshot.clone();
        self.pump_keys(work, Range::KeysWithoutTrack { snapshot }).await?;
        let difference = self.target.compare(&work.replica, Lane::WithoutTrack).await?;
        if difference.staged == 0 && difference.present == 0 {
            return Ok(());
        }
        self.look_up(work, Lane::WithoutTrack, progress).await
    }

    /// Compares all keys and fetches the rows that the target lacks.
    pub async fn fetch_missing(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        self.target.begin_stage(&work.replica).await?;
        self.pump_keys(work, Range::Keys).await?;
        self.look_up(work, Lane::All, progress).await
    }

    /// Compares all keys, removes what left the source, and fetches what the target lacks.
    pub async fn reconcile(&mut self, work: &Work, progress: &mut Progress) -> Result<()> {
        if work.plan.deletes == Deletes::None {
            return Ok(());
        }
        self.target.begin_stage(&work.replica).await?;
        self.pump_keys(work, Range::Keys).await?;
        let difference = self.remove_unstaged(work, Some(self.options.delete_limit), progress).await?;
        if difference.staged > difference.present - difference.extra {
            self.look_up(work, Lane::All, progress).await?;
        }
        let saved = self.target.save(&work.replica, state(progress)?).await?;
        progress.state = Some(saved);
        Ok(())
    }

    /// Removes the target's rows whose key was not staged, unless they are more than `limit` allows, and says how the keys
    /// differed before. To be called only after a scan that was complete.
    pub async fn remove_unstaged(
        &mut self,
        work: &Work,
        limit: Option<f64>,
        progress: &mut Progress,
    ) -> Result<KeyDifference> {
        let difference = self.target.compare(&work.replica, Lane::All).await?;
        if difference.extra == 0 {
            return Ok(difference);
        }
        if let Some(limit) = limit {
            check_delete_limit(work, difference.extra, difference.present, limit)?;
        }
        let removal = if work.plan.deletes == Deletes::Soft { Removal::Mark } else { Removal::Delete };
        let changes = self.target.remove_unstaged(&work.replica, removal, state(progress)?).await?;
        progress.count(changes);
        Ok(difference)
    }

    /// Fetches the rows that a comparison of keys asks for.
    async fn look_up(&mut self, work: &Work, lane: Lane, progress: &mut Progress) -> Result<()> {
        let mut after: Option<Key> = None;
        loop {
            let keys = self.target.keys_to_look_up(&work.replica, lane, after.as_ref(), LOOKUP).await?;
            let Some(last) = keys.last().cloned() else { return Ok(()) };
            let is_last = keys.len() < LOOKUP;
            let rows = Rows { write: write_of(work), stage: false, advance: Advance::None };
            self.pump(work, Range::Lookup { keys }, rows, progress).await?;
            if is_last {
                return Ok(());
            }
            after = Some(last);
        }
    }
}
