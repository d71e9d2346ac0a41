//! A SQLite file as the target.
//!
//! One thread owns the connection that writes ([`worker`]); what status needs is read through a connection of its own,
//! so that it answers while a load is running. A file that isn't there is made by the first write, never by a look.

mod aside;
mod check;
mod connection;
mod database;
mod ddl;
mod failure;
pub(crate) mod feed;
mod lock;
mod stage;
mod state;
mod worker;
mod write;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::{
    Changes, Ddl, Differences, Existing, Finding, KeyDifference, Lane, Leftover, Losses, Mending, Removal, State,
    TableState, Target, TargetLock, Write,
};
use crate::batch::{Batch, Key};
use crate::error::{Error, Kind, Result};
use crate::replica::Replica;
use failure::Failure;
use worker::Worker;

/// A SQLite file as the target.
pub struct SqliteTarget {
    worker: Worker,
}

impl SqliteTarget {
    /// The target in the file at `path`. Opens nothing yet.
    pub fn new(path: PathBuf) -> Self {
        Self { worker: Worker::new(path) }
    }

    /// A place for keys and rows to be compared with: a temporary file without a name, which ends with this.
    pub(in crate::target) fn scratch() -> Self {
        Self::new(PathBuf::new())
    }

    /// Makes an empty table as `replica` has it, in the place of one that is there.
    pub(in crate::target) async fn begin_copy(&self, replica: &Arc<Replica>) -> Result<()> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.begin_copy(&replica)).await
    }

    /// Stages the keys of whole rows.
    pub(in crate::target) async fn stage_rows(
        &self,
        replica: &Arc<Replica>,
        mut batches: Vec<Batch>,
    ) -> Result<Vec<Batch>> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.stage_rows(&replica, &mut batches).map(|()| batches)).await
    }

    /// Up to `limit` keys, after `after`, of those that the stage lacks.
    pub(in crate::target) async fn unstaged(
        &self,
        replica: &Arc<Replica>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        let (replica, after) = (Arc::clone(replica), after.cloned());
        self.worker.call(move |writer| writer.database()?.unstaged_keys(&replica, after.as_ref(), limit)).await
    }

    /// Makes the file's disk full at so many pages.
    #[cfg(test)]
    pub(crate) async fn limit_pages(&self, pages: u32) {
        let limit = format!("PRAGMA max_page_count = {pages}");
        let limited = self.worker.call(move |writer| {
            let row = writer.database()?.conn.query_row(&limit, [], |_| Ok(()));
            row.map_err(|error| Failure::from(error).within(limit))
        });
        limited.await.expect("the limit is set");
    }

    /// Reads beside the writer; `None` when there is no file.
    async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Option<T>> {
        let path = self.worker.path().to_owned();
        let read = move || {
            let Some(mut conn) = connection::look(&path)? else {
                return Ok(None);
            };
            // One transaction, so that everything read is of one moment.
            conn.transaction()
                .map_err(Failure::from)
                .and_then(|tx| read(&tx))
                .map(Some)
                .map_err(|failure| failure.within(format!("Failed to read target database '{}'", path.display())))
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| Error::new(Kind::Internal, "Reading from the target database panicked"))?
    }
}

#[async_trait]
impl Target for SqliteTarget {
    async fn lock(&self, wait: Duration) -> Result<Box<dyn TargetLock>> {
        let lock = lock::acquire(self.worker.path(), wait).await?;
        self.worker
            .call(|writer| {
                writer.drop_replaced();
                writer.existing().map(drop)
            })
            .await?;
        Ok(Box::new(lock))
    }

    fn most_columns(&self) -> usize {
        // SQLite has room for 2,000, of which some are the target's own.
        1_900
    }

    async fn load(&self) -> Result<State> {
        Ok(self.look(state::load).await?.unwrap_or_default())
    }

    async fn existing(&self, table: &str) -> Result<Option<Existing>> {
        let table = table.to_owned();
        // Asked once per table in every run: a connection that has the schema in mind answers at once.
        self.worker
            .call(move |writer| match writer.existing()? {
                Some(database) => database.existing(&table),
                None => Ok(None),
            })
            .await
    }

    async fn look_up(&self, tables: Vec<String>, _: &State) -> Result<HashMap<String, Existing>> {
        let read = move |conn: &Connection| {
            let found = tables.into_iter().map(|table| Ok(ddl::existing(conn, &table)?.map(|found| (table, found))));
            found.filter_map(Result::transpose).collect()
        };
        Ok(self.look(read).await?.unwrap_or_default())
    }

    async fn prepare(&self, replica: &Arc<Replica>, steps: &[Ddl], state: &TableState) -> Result<()> {
        let (replica, steps, state) = (Arc::clone(replica), steps.to_vec(), state.clone());
        self.worker.call(move |writer| writer.commit(|database| database.prepare(&replica, &steps, &state))).await
    }

    async fn write(
        &self,
        replica: &Arc<Replica>,
        write: Write,
        stage: bool,
        mut batches: Vec<Batch>,
        state: &TableState,
    ) -> Result<(Changes, Vec<Batch>)> {
        let (replica, state) = (Arc::clone(replica), state.clone());
        self.worker
            .call(move |writer| {
                let changes = writer.commit(|database| database.write(&replica, write, stage, &mut batches, &state))?;
                Ok((changes, batches))
            })
            .await
    }

    async fn save(&self, replica: &Arc<Replica>, state: &TableState) -> Result<TableState> {
        let (replica, state) = (Arc::clone(replica), state.clone());
        self.worker.call(move |writer| writer.commit(|database| database.save(&replica, &state))).await
    }

    async fn recount(&self, replica: &Arc<Replica>, state: &TableState) -> Result<TableState> {
        let (replica, state) = (Arc::clone(replica), state.clone());
        self.worker.call(move |writer| writer.commit(|database| database.recount(&replica, &state))).await
    }

    async fn begin_stage(&self, replica: &Arc<Replica>) -> Result<()> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.begin_stage(&replica)).await
    }

    async fn stage(&self, replica: &Arc<Replica>, mut batches: Vec<Batch>) -> Result<Vec<Batch>> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.stage(&replica, &mut batches).map(|()| batches)).await
    }

    async fn compare(&self, replica: &Arc<Replica>, lane: Lane) -> Result<KeyDifference> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.compare(&replica, lane)).await
    }

    async fn keys_to_look_up(
        &self,
        replica: &Arc<Replica>,
        lane: Lane,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        let (replica, after) = (Arc::clone(replica), after.cloned());
        self.worker.call(move |writer| writer.database()?.keys_to_look_up(&replica, lane, after.as_ref(), limit)).await
    }

    async fn remove_unstaged(&self, replica: &Arc<Replica>, removal: Removal, state: &TableState) -> Result<Changes> {
        let (replica, state) = (Arc::clone(replica), state.clone());
        self.worker
            .call(move |writer| writer.commit(|database| database.remove_unstaged(&replica, removal, &state)))
            .await
    }

    async fn begin_check(&self, replica: &Arc<Replica>) -> Result<()> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.begin_check(&replica)).await
    }

    async fn check(&self, replica: &Arc<Replica>, mut batches: Vec<Batch>) -> Result<Vec<Batch>> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.check(&replica, &mut batches).map(|()| batches)).await
    }

    async fn find_suspects(&self, replica: &Arc<Replica>) -> Result<u64> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.find_suspects(&replica)).await
    }

    async fn suspects(
        &self,
        replica: &Arc<Replica>,
        only: Option<&'static [Finding]>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        let (replica, after) = (Arc::clone(replica), after.cloned());
        self.worker.call(move |writer| writer.database()?.suspects(&replica, only, after.as_ref(), limit)).await
    }

    async fn confirm(&self, replica: &Arc<Replica>) -> Result<()> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.confirm(&replica)).await
    }

    async fn mark_pending(&self, replica: &Arc<Replica>, mending: Mending) -> Result<()> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.mark_pending(&replica, mending)).await
    }

    async fn differences(&self, replica: &Arc<Replica>, samples: usize) -> Result<Differences> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.differences(&replica, samples)).await
    }

    async fn list_extra(&self, replica: &Arc<Replica>) -> Result<()> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.database()?.list_extra(&replica)).await
    }

    async fn end_check(&self) -> Result<()> {
        self.worker.call(move |writer| writer.database()?.end_check()).await
    }

    async fn begin_aside(&self, replica: &Arc<Replica>) -> Result<()> {
        let replica = Arc::clone(replica);
        self.worker.call(move |writer| writer.commit(|database| database.begin_aside(&replica))).await
    }

    async fn aside_losses(&self, replica: &Arc<Replica>, leftover: &Leftover) -> Result<Losses> {
        let (replica, leftover) = (Arc::clone(replica), leftover.clone());
        self.worker.call(move |writer| writer.database()?.aside_losses(&replica, &leftover)).await
    }

    async fn swap_aside(
        &self,
        replica: &Arc<Replica>,
        state: &TableState,
        leftover: &Leftover,
    ) -> Result<(Changes, Vec<String>)> {
        let (replica, state, leftover) = (Arc::clone(replica), state.clone(), leftover.clone());
        self.worker.call(move |writer| writer.commit(|database| database.swap_aside(&replica, &state, &leftover))).await
    }

    async fn hand_on(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.worker.call(move |writer| writer.commit(|database| database.hand_on(&from, &to))).await
    }

    async fn save_error(&self, source_table: &str, error: Option<&str>) -> Result<()> {
        let (source, error) = (source_table.to_owned(), error.map(str::to_owned));
        self.worker
            .call(move |writer| match writer.existing()? {
                Some(_) => writer.commit(|database| database.save_error(&source, error.as_deref())),
                None => Ok(()),
            })
            .await
    }

    async fn finish_run(&self, fingerprint: &str, last_sync_time: Option<&str>) -> Result<()> {
        let (fingerprint, time) = (fingerprint.to_owned(), last_sync_time.map(str::to_owned));
        self.worker
            .call(move |writer| writer.commit(|database| database.finish_run(&fingerprint, time.as_deref())))
            .await
    }

    async fn reset(&self, table: Option<&str>) -> Result<bool> {
        let table = table.map(str::to_owned);
        self.worker
            .call(move |writer| match writer.existing()? {
                Some(_) => writer.commit(|database| database.reset(table.as_deref())),
                None => Ok(table.is_none()),
            })
            .await
    }

    async fn is_locked(&self) -> bool {
        lock::is_held(self.worker.path())
    }

    async fn close(&self) {
        self.worker.stop().await;
    }
}
