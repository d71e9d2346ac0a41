//! Where rows go: the contract every target keeps.

mod sql;
pub mod sqlite;
pub mod starbasedb;
pub mod state;
mod swap;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::batch::{Batch, Key};
use crate::error::Result;
use crate::replica::Replica;

pub use state::{State, StoredColumn, TablePhase, TableState};

/// What a write changed, counted by the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rows that are new.
    pub inserted: u64,
    /// Rows that differ now.
    pub updated: u64,
    /// Rows that are gone or were marked as deleted.
    pub deleted: u64,
}

impl std::ops::AddAssign for Changes {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
    }
}

/// What `prepare` does to a table before rows are written, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ddl {
    /// Creates the table with the replica's columns and key (and `_deleted_at` for soft deletes).
    Create,
    /// Adds these columns (indexes into `Replica::columns`).
    AddColumns(Vec<usize>),
    /// Adds `_deleted_at` where it is missing.
    AddDeletedAt,
    /// Adds the partial index over rows without a track value, by which the NULL lane finds them, where it is missing.
    IndexMissingTrack,
}

/// How rows meet those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// New rows are inserted, rows that differ are updated, equal rows are not touched. A soft-deleted row comes back.
    Upsert,
    /// New rows are inserted, the others are not touched.
    InsertNew,
    /// Into the table that `begin_aside` made; every row is inserted. The table's state stays as it is until the swap,
    /// which counts the changes too.
    Aside,
}

/// Which keys of the target to compare with the staged ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// All of them (soft-deleted rows count as gone).
    All,
    /// Those of rows without a track value.
    WithoutTrack,
}

/// How the staged keys and the target's differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyDifference {
    /// Staged keys.
    pub staged: u64,
    /// Rows of the target's lane.
    pub present: u64,
    /// Rows of the target's lane whose key was not staged.
    pub extra: u64,
}

/// What happens to the target's rows whose key was not staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// They are deleted.
    Delete,
    /// They get a `_deleted_at`.
    Mark,
}

/// How a row of the target is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The source has it, the target has not.
    Missing,
    /// A value differs.
    Different,
    /// The target has it, the source has not.
    Extra,
}

/// How the target's rows differ from the source's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Differences {
    /// Rows that only the source has.
    pub missing: u64,
    /// Rows that only the target has.
    pub extra: u64,
    /// Rows of which a value differs.
    pub different: u64,
    /// Those of them that the next run puts right anyway.
    pub pending: u64,
    /// The keys of the first of them.
    pub samples: Vec<(Finding, Key)>,
}

/// Which rows of those that are not as they should be the next run puts right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mending {
    /// All with such a finding.
    Every(&'static [Finding]),
    /// Those with such a finding whose rows the last look came across.
    Read(&'static [Finding]),
    /// Those with such a finding that following the NULL lane comes across, whose keys were staged.
    Lane(&'static [Finding]),
}

/// What is known of a table in the target that the state says nothing of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Its columns' names.
    pub columns: Vec<String>,
    /// Whether it holds any row; `true` where nobody asks, because it has a state.
    pub has_rows: bool,
    /// `table`, `view`, ….
    pub kind: String,
}

/// What a swap does with rows that only the old table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// They go.
    Goes,
    /// They go, and nothing tells which ones these are: the new table's keys have another form.
    Unknown,
    /// They stay.
    Stays {
        /// Whether they are marked as deleted; those that are marked already keep their mark.
        marked: bool,
        /// Columns that take nothing over, such as those that are masked from now on.
        cleared: Vec<String>,
    },
}

/// What a swap takes from a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Losses {
    /// How many of its rows are no longer there, or are marked as deleted.
    pub lost: u64,
    /// How many it has, without those that are marked already.
    pub present: u64,
}

/// Finds rows that a target has no room for, before it is to take them.
pub trait Measure: Send {
    /// A row whose values take no more bytes than this at the source has room, in nearly all forms that they may get.
    fn small(&self) -> u64;

    /// Looks at the rows of `batch`.
    fn look(&mut self, replica: &Replica, batch: &Batch);

    /// Says what was found.
    ///
    /// # Errors
    /// `TARGET_WRITE` when there is no room for a row.
    fn end(&self, replica: &Replica) -> Result<()>;
}

/// Keeps others out of the target while it lives.
#[async_trait]
pub trait TargetLock: Send + Sync {
    /// Lets others in, and returns when they can come.
    async fn release(self: Box<Self>);
}

/// Where rows go.
///
/// Contract: every method that writes does so in one transaction that holds the rows *and* the table's state, so that
/// after a crash both are there or neither is. A target that takes only so much at once writes in several: each keeps the
/// count of rows, and the state comes with the last one, never before its rows. No transaction is open between two calls, so the target is never locked
/// while the source is waited for. Staged keys and asides belong to the run: a crash loses them and the run's next try
/// starts them anew. Where a state is passed it is written as it stands, except `record_count` and `null_tracked`,
/// which the target keeps; [`TableState`]s that come back have them filled.
///
/// Errors are `TARGET_WRITE`, or `TARGET_BUSY` (transient) when another process holds the target for too long.
#[async_trait]
pub trait Target: Send + Sync {
    /// Waits up to `wait` until no other run, in this process or another, writes to this target.
    ///
    /// # Errors
    /// `TARGET_BUSY` when the time is over; `TARGET_WRITE` when the target can't be opened at all.
    async fn lock(&self, wait: Duration) -> Result<Box<dyn TargetLock>>;

    /// The most columns that a table may have here.
    fn most_columns(&self) -> usize;

    /// What tells rows that there is no room for here; `None` where there is room for any.
    fn measure(&self) -> Option<Box<dyn Measure>> {
        None
    }

    /// What earlier runs left; creates nothing. Empty when the target isn't there yet, but could be made.
    async fn load(&self) -> Result<State>;

    /// What is in the target under the name `table`, if anything is.
    async fn existing(&self, table: &str) -> Result<Option<Existing>>;

    /// The same of each of `tables` that is there, asked beside a run that may be under way; makes and remembers nothing.
    /// Of a table in `state` it is not asked whether it has rows.
    async fn look_up(&self, tables: Vec<String>, state: &State) -> Result<HashMap<String, Existing>>;

    /// The statements that `prepare` would run; runs nothing.
    fn ddl(&self, replica: &Replica, steps: &[Ddl]) -> Vec<String> {
        steps.iter().flat_map(|step| sql::statements(replica, step)).collect()
    }

    /// Runs `steps` and stores `state`.
    async fn prepare(&self, replica: &Arc<Replica>, steps: &[Ddl], state: &TableState) -> Result<()>;

    /// Writes the rows of `batches` (cells beyond the replica's columns are ignored) and `state`. With `stage`, the
    /// rows' keys are staged too. Gives the batches back for recycling.
    async fn write(
        &self,
        replica: &Arc<Replica>,
        write: Write,
        stage: bool,
        batches: Vec<Batch>,
        state: &TableState,
    ) -> Result<(Changes, Vec<Batch>)>;

    /// Stores `state` alone and gives it back with the target's own counts filled in.
    async fn save(&self, replica: &Arc<Replica>, state: &TableState) -> Result<TableState>;

    /// The same, and counts the table's rows anew instead of trusting what was counted.
    async fn recount(&self, replica: &Arc<Replica>, state: &TableState) -> Result<TableState>;

    /// Empties the stage of keys for `replica`'s table.
    async fn begin_stage(&self, replica: &Arc<Replica>) -> Result<()>;

    /// Stages the keys in `batches`: rows of key cells, optionally followed by one cell that is 1 for a changed row.
    async fn stage(&self, replica: &Arc<Replica>, batches: Vec<Batch>) -> Result<Vec<Batch>>;

    /// Compares the staged keys with the target's.
    async fn compare(&self, replica: &Arc<Replica>, lane: Lane) -> Result<KeyDifference>;

    /// Up to `limit` keys after `after` (in the target's key order) that must be looked up at the source: staged keys
    /// that the lane lacks or that were staged as changed, and, in the lane `WithoutTrack`, the lane's keys that were
    /// not staged.
    async fn keys_to_look_up(
        &self,
        replica: &Arc<Replica>,
        lane: Lane,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>>;

    /// Removes the target's rows whose key was not staged, all in one transaction where the target takes so many keys at
    /// once, and stores `state`.
    async fn remove_unstaged(&self, replica: &Arc<Replica>, removal: Removal, state: &TableState) -> Result<Changes>;

    /// Begins a comparison of rows, or its next look: forgets the rows of the look before, keeps the suspects.
    async fn begin_check(&self, replica: &Arc<Replica>) -> Result<()>;

    /// Compares the rows of `batches` (cells beyond the replica's columns are ignored) with the target's and remembers
    /// what it finds, and which keys came; without a key it remembers the rows. Changes nothing in the target.
    async fn check(&self, replica: &Arc<Replica>, batches: Vec<Batch>) -> Result<Vec<Batch>>;

    /// After a look at all rows: lists the keys of those that are missing, different or extra, and counts them.
    async fn find_suspects(&self, replica: &Arc<Replica>) -> Result<u64>;

    /// Up to `limit` keys after `after` from that list, or `only` those with such findings.
    async fn suspects(
        &self,
        replica: &Arc<Replica>,
        only: Option<&'static [Finding]>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>>;

    /// After a second look at the suspects: keeps what it found of them, and strikes off those that are well by now.
    async fn confirm(&self, replica: &Arc<Replica>) -> Result<()>;

    /// Marks rows of the list that the next run puts right.
    async fn mark_pending(&self, replica: &Arc<Replica>, mending: Mending) -> Result<()>;

    /// What the comparison found, with up to `samples` keys.
    async fn differences(&self, replica: &Arc<Replica>, samples: usize) -> Result<Differences>;

    /// Prepares [`remove_unstaged`](Self::remove_unstaged) to remove exactly the extra rows that were found.
    async fn list_extra(&self, replica: &Arc<Replica>) -> Result<()>;

    /// Forgets what the last comparison remembers.
    async fn end_check(&self) -> Result<()>;

    /// Makes an empty table aside, dropping one that a crash left.
    async fn begin_aside(&self, replica: &Arc<Replica>) -> Result<()>;

    /// What a swap of the table aside would take from the table, which is there.
    async fn aside_losses(&self, replica: &Arc<Replica>, leftover: &Leftover) -> Result<Losses>;

    /// Puts the table aside in the table's place, with the user's indexes and triggers, in one transaction with `state`;
    /// counts what differs. When nothing does, the old table stays and only the state is stored. Rows that the table aside
    /// lacks are taken over as `leftover` says; when the key changed, they go. What comes back beside the counts
    /// names each index or trigger that no longer fits.
    async fn swap_aside(
        &self,
        replica: &Arc<Replica>,
        state: &TableState,
        leftover: &Leftover,
    ) -> Result<(Changes, Vec<String>)>;

    /// Makes the state of the source's table `from` that of `to`, which has none.
    async fn hand_on(&self, from: &str, to: &str) -> Result<()>;

    /// Stores a table's error, if it has a state, without touching anything else of it.
    async fn save_error(&self, source_table: &str, error: Option<&str>) -> Result<()>;

    /// Stores what belongs to the run: the source's fingerprint, and the time of its success.
    async fn finish_run(&self, fingerprint: &str, last_sync_time: Option<&str>) -> Result<()>;

    /// Forgets the positions of one table (by its name in the target or at the source) or of all: see
    /// [`TablePhase::Reset`]. `false` when there is no such table in the state.
    async fn reset(&self, table: Option<&str>) -> Result<bool>;

    /// Whether another process holds the target's lock now.
    async fn is_locked(&self) -> bool;

    /// Forgets open files and statements; the next call opens them again.
    async fn close(&self);
}
