//! The thread that owns the writing connection, and the way to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::database::Database;
use crate::error::{Error, Kind, Result};

/// How long nothing has to come before the time is used to tidy up.
const QUIET: Duration = Duration::from_millis(500);

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// What the thread owns: the database, once something needed it.
pub(super) struct Writer {
    path: PathBuf,
    database: Option<Database>,
}

impl Writer {
    /// The database, opened and created as needed.
    pub(super) fn database(&mut self) -> Result<&mut Database> {
        match &mut self.database {
            Some(database) => Ok(database),
            closed => Ok(closed.insert(Database::open(&self.path)?)),
        }
    }

    /// The database, opened as needed; `None` when there is no file.
    pub(super) fn existing(&mut self) -> Result<Option<&mut Database>> {
        if self.database.is_none() && !self.path.exists() {
            return Ok(None);
        }
        self.database().map(Some)
    }

    /// Runs `work`, which changes the database, and believes it only when what it committed is still at the path.
    ///
    /// Another SQLite library in this process (`better-sqlite3`, `node:sqlite`) that closes the same file drops the
    /// locks of the whole process and may take the -wal away under this connection; commits would then go to a file
    /// without a name. What was committed before is safe: that library has moved it into the database first.
    pub(super) fn commit<T>(&mut self, work: impl FnOnce(&mut Database) -> Result<T>) -> Result<T> {
        let database = self.database()?;
        let outcome = if database.lost_its_log() { Err(lost_log()) } else { work(database) };
        if !database.lost_its_log() {
            return outcome;
        }
        self.database = None;
        Err(outcome.err().unwrap_or_else(lost_log))
    }

    /// The next job. When none comes for a while, what was written is moved into the file itself: that takes as long as
    /// a small run does, and nobody has to wait for it.
    fn next(&mut self, queue: &mpsc::Receiver<Job>) -> Option<Job> {
        if let Some(database) = self.database.as_mut().filter(|database| database.is_behind()) {
            match queue.recv_timeout(QUIET) {
                Err(RecvTimeoutError::Timeout) => database.checkpoint("PASSIVE"),
                job => return job.ok(),
            }
        }
        queue.recv().ok()
    }

    /// Lets go of a file that isn't the one at the path any more, or isn't what it was.
    pub(super) fn drop_replaced(&mut self) {
        let is_another =
            |database: &Database| !database.in_place() || database.lost_its_log() || database.lost_its_state();
        if self.database.as_ref().is_some_and(is_another) {
            self.database = None;
        }
    }
}

struct Running {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

/// The way to the thread, which runs from the first call until [`stop`](Self::stop).
pub(super) struct Worker {
    path: PathBuf,
    running: Mutex<Option<Running>>,
}

impl Worker {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, running: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the thread. It runs to its end even when the caller stops waiting.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |writer| {
            let result = catch_unwind(AssertUnwindSafe(|| work(writer))).unwrap_or_else(|_| {
                // Closing rolls back whatever the panic left open.
                writer.database = None;
                Err(Error::new(Kind::Internal, "Writing to the target database panicked"))
            });
            // A caller that is gone has no use for the answer.
            let _ = answer.send(result);
        }))?;
        answered.await.map_err(|_| gone())?
    }

    fn send(&self, job: Job) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match &mut *running {
            Some(running) => running,
            stopped => stopped.insert(start(self.path.clone())?),
        };
        running.jobs.send(job).map_err(|_| gone())
    }

    /// Waits for the calls on their way, closes the database and ends the thread.
    pub(super) async fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { jobs, thread }) = running {
            drop(jobs);
            // Neither failure is of use here: a panic was told to the call that caused it.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }
}

fn start(path: PathBuf) -> Result<Running> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let thread = thread::Builder::new()
        .name("data-sync-target".to_owned())
        .spawn(move || {
            let mut writer = Writer { path, database: None };
            while let Some(job) = writer.next(&queue) {
                job(&mut writer);
            }
            if let Some(database) = &mut writer.database {
                // Nobody waits long for somebody who reads: the next to write finds the log where it is.
                let _ = database.conn.busy_timeout(Duration::from_millis(100));
                database.checkpoint("TRUNCATE");
            }
        })
        .map_err(|error| Error::new(Kind::Internal, "The target's thread can't be started").because(error))?;
    Ok(Running { jobs, thread })
}

fn lost_log() -> Error {
    Error::new(Kind::TargetWrite, "The target database's -wal file was taken away")
        .because("another SQLite library in this process closed the same file: let another process read it")
        .transient(true)
}

fn gone() -> Error {
    Error::new(Kind::Internal, "The target's thread is gone")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_internal_error_and_the_thread_goes_on() -> Result<()> {
        let worker = Worker::new(PathBuf::from("unused.sqlite"));
        let failed = worker.call(|_| -> Result<()> { panic!("on purpose") }).await;
        assert_eq!(failed.map_err(|error| error.kind()), Err(Kind::Internal));
        assert_eq!(worker.call(|_| Ok(1)).await?, 1);
        worker.stop().await;
        assert_eq!(worker.call(|_| Ok(2)).await?, 2);
        Ok(())
    }
}
