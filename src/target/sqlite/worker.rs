//! The thread that owns the writing connection, and the way to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::database::Database;
use crate::error::{Error, Kind, Result};

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

    /// Lets go of a file that isn't the one at the path any more.
    pub(super) fn drop_replaced(&mut self) {
        if self.database.as_ref().is_some_and(|database| !database.in_place()) {
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
            for job in queue {
                job(&mut writer);
            }
        })
        .map_err(|error| Error::new(Kind::Internal, "The target's thread can't be started").because(error))?;
    Ok(Running { jobs, thread })
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
