//! The engine: one handle per plugin instance, one run at a time, and the schedule.
//!
//! A trigger during a run is queued; triggers that wait are merged into one further run, whose outcome all of them get.

mod clock;
mod drift;
mod dry_run;
mod naming;
mod plan;
mod pump;
mod queue;
mod reconcile;
mod report;
mod retry;
mod room;
mod run;
mod select;
mod status;
mod table;
mod verify;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::{Options, Resolved, SourceConfig, Surroundings, TargetConfig};
use crate::error::{Error, Kind, Result, panic_text};
use crate::event::{Event, Failure, Level, Observer, RunStats};
use crate::source::{self, Limits, Source};
use crate::target::sqlite::SqliteTarget;
use crate::target::starbasedb::StarbasedbTarget;
use crate::target::{Target, TargetLock};

use queue::{Queue, Ticket};
use report::Reporter;
use run::{Control, Run};

pub use status::{DryRun, Status, TablePlan, TableStatus};
pub use verify::{Sample, SampleKind, TableDifferences, Verification};

/// Keeps one target in sync with one source. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct DataSync {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    surroundings: Surroundings,
    reporter: Reporter,
    queue: Queue,
    target: Mutex<Option<Arc<dyn Target>>>,
    /// The connection between runs; a run takes it and puts it back.
    source: Mutex<Option<Connected>>,
    schedule: Mutex<Option<CancellationToken>>,
}

/// A source with what it was made from.
struct Connected {
    config: SourceConfig,
    source: Box<dyn Source>,
}

impl DataSync {
    /// A handle that has done nothing yet: no I/O happens here.
    pub fn new(options: Options, surroundings: Surroundings, observer: Arc<dyn Observer>) -> Self {
        let reporter = Reporter::new(observer, options.log_level);
        Self {
            inner: Arc::new(Inner {
                options,
                surroundings,
                reporter,
                queue: Queue::default(),
                target: Mutex::default(),
                source: Mutex::default(),
                schedule: Mutex::default(),
            }),
        }
    }

    /// Begins the schedule with a run at once; does nothing when it has begun. To be called within a tokio runtime.
    pub fn start(&self) {
        let inner = &self.inner;
        if !inner.options.enabled {
            inner.reporter.log(Level::Info, "Not started, because enabled is false");
            return;
        }
        let mut schedule = inner.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        if schedule.is_some() {
            return;
        }
        let stopped = CancellationToken::new();
        *schedule = Some(stopped.clone());
        drop(schedule);
        let sync = self.clone();
        tokio::spawn(async move { sync.follow_schedule(stopped).await });
    }

    async fn follow_schedule(&self, stopped: CancellationToken) {
        let mut ticks = tokio::time::interval(self.inner.options.sync_interval);
        // A run that took longer than the interval is followed by one run at once, not by all it missed.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // Failures are told by `syncError`; the schedule goes on.
            if let Some(ticket) = self.join_scheduled(&stopped) {
                let _ = self.inner.queue.outcome(ticket, &CancellationToken::new()).await;
            }
        }
    }

    /// Joins the queue unless the schedule has ended: nothing begins once `stop` has seen what there is to end.
    fn join_scheduled(&self, stopped: &CancellationToken) -> Option<Ticket> {
        let _schedule = self.inner.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        (!stopped.is_cancelled()).then(|| self.join(None))
    }

    /// Joins the run that waits, or makes one.
    fn join(&self, tables: Option<Vec<String>>) -> Ticket {
        let (ticket, is_first) = self.inner.queue.join(tables);
        if is_first {
            let sync = self.clone();
            tokio::spawn(async move { sync.work_off().await });
        }
        ticket
    }

    /// Ends the schedule and the run under way, after the batch in hand, and closes connections. The handle can be used
    /// again afterwards.
    pub async fn stop(&self) {
        {
            let mut schedule = self.inner.schedule.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(schedule) = schedule.take() {
                schedule.cancel();
            }
        }
        self.inner.queue.end_all().await;
        let connected = self.inner.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(connected) = connected {
            connected.source.close().await;
        }
        let target = self.inner.target.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(target) = target {
            target.close().await;
        }
    }

    /// Where the replica stands.
    pub async fn status(&self) -> Result<Status> {
        let target = self.inner.target()?;
        let state = target.load().await?;
        let is_running = self.inner.queue.is_running() || target.is_locked().await;
        Ok(Status::of(state, is_running))
    }

    /// Syncs these tables, or all; waits for a run under way first. `cancel` ends the caller's interest, and with the
    /// last interested caller the run, after the batch in hand. To be called within a tokio runtime.
    pub async fn sync(&self, tables: Option<Vec<String>>, cancel: CancellationToken) -> Result<RunStats, Failure> {
        self.inner.check_enabled().map_err(|error| run::failure(&[error], None))?;
        let ticket = self.join(tables);
        self.inner.queue.outcome(ticket, &cancel).await
    }

    /// Compares these tables, or all, with the source, and with `repair` puts right what differs; waits for a run under
    /// way first. `cancel` ends it. To be called within a tokio runtime.
    pub async fn verify(
        &self,
        tables: Option<Vec<String>>,
        repair: bool,
        cancel: CancellationToken,
    ) -> Result<Verification, Failure> {
        let refused = |error: Error| run::failure(&[error], None);
        self.inner.check_enabled().map_err(refused)?;
        let place = tokio::select! {
            biased;
            place = self.inner.queue.occupy() => place,
            () = cancel.cancelled() => return Err(refused(Error::new(Kind::Aborted, "The comparison was aborted"))),
        };
        let Some(place) = place else { return Err(refused(Error::new(Kind::Closed, "The plugin was stopped"))) };
        let (sync, control) = (self.clone(), Arc::clone(&place.control));
        // In a task of its own, so that a panic in it ends this comparison only.
        let work = tokio::spawn(async move { sync.inner.verify(tables.as_deref(), repair, &control).await });
        tokio::pin!(work);
        let outcome = tokio::select! {
            biased;
            outcome = &mut work => outcome,
            () = cancel.cancelled() => {
                place.control.end(Kind::Aborted);
                work.await
            }
        };
        outcome.unwrap_or_else(|panic| Err(refused(defect("The comparison", panic))))
    }

    /// Runs until nobody waits for a run any more.
    async fn work_off(&self) {
        while let Some(turn) = self.inner.queue.next().await {
            let sync = self.clone();
            let (tables, control) = (turn.tables.clone(), Arc::clone(&turn.control));
            // In a task of its own, so that a panic in it ends this run only.
            let work = tokio::spawn(async move { sync.inner.run(tables.as_deref(), &control).await });
            let outcome = work.await.unwrap_or_else(|panic| Err(self.inner.fail(defect("The sync", panic))));
            self.inner.queue.done(turn, &outcome);
        }
    }

    /// What a run would do to these tables, or all; writes nothing. Fails where a run would, after it has planned what can
    /// be planned.
    pub async fn plan(&self, tables: Option<Vec<String>>) -> Result<DryRun, Failure> {
        self.inner.dry_run(tables.as_deref()).await
    }

    /// Forgets the position of one table, by its name in the target or at the source, or of all: the next run loads it
    /// anew over the rows that are there. Waits for a run under way.
    ///
    /// # Errors
    /// `TABLE_NOT_FOUND` when the state knows no such table.
    pub async fn reset(&self, table: Option<String>) -> Result<()> {
        let target = self.inner.target()?;
        let known = |known: bool| match (&table, known) {
            (Some(table), false) => Err(Error::new(Kind::TableNotFound, format!("Table '{table}' has no sync state"))
                .because("it was never synced into this target")
                .in_table(table)),
            _ => Ok(()),
        };
        // A state that can't be read is what a reset is for.
        if target.load().await.is_ok_and(|state| state.tables.is_empty() && state.fingerprint.is_none()) {
            return known(false);
        }
        let idle = self.inner.queue.idle().await;
        let lock = target.lock(self.inner.options.connect_timeout).await?;
        let outcome = target.reset(table.as_deref()).await;
        lock.release().await;
        drop(idle);
        known(outcome?)
    }

    /// Changes the least urgent level that is logged.
    pub fn set_log_level(&self, level: Level) {
        self.inner.reporter.set_level(level);
    }
}

impl Inner {
    /// The target, made on first use.
    fn target(&self) -> Result<Arc<dyn Target>> {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = &*target {
            return Ok(Arc::clone(target));
        }
        let made: Arc<dyn Target> = match self.options.target(&self.surroundings)? {
            TargetConfig::Sqlite { path } => Arc::new(SqliteTarget::new(path)),
            TargetConfig::Local => {
                return Err(Error::new(Kind::Internal, "The file of the local StarbaseDB was not looked for"));
            }
            TargetConfig::Starbasedb { url, token } => Arc::new(StarbasedbTarget::new(&url, token, self.limits())?),
        };
        *target = Some(Arc::clone(&made));
        Ok(made)
    }

    /// The source that the configuration names now.
    fn named_source(&self) -> Result<Resolved> {
        let resolved = self.configured_source()?;
        self.refuse_itself(&resolved.source)?;
        Ok(resolved)
    }

    /// The same, whatever the target is.
    fn configured_source(&self) -> Result<Resolved> {
        let resolved = self.options.source(&self.surroundings)?;
        for warning in &resolved.warnings {
            self.reporter.log_once(Level::Warn, warning);
        }
        self.reporter
            .log(Level::Debug, format_args!("The source is {} (from {})", resolved.source.describe(), resolved.origin));
        Ok(resolved)
    }

    /// The same, connected in an earlier run when the configuration is the same.
    async fn source(&self) -> Result<Connected> {
        let resolved = self.named_source()?;
        let kept = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept {
            if kept.config == resolved.source {
                return Ok(kept);
            }
            kept.source.close().await;
        }
        Ok(Connected { source: self.new_source(&resolved.source)?, config: resolved.source })
    }

    /// Refuses a database that would be copied into itself.
    fn refuse_itself(&self, source: &SourceConfig) -> Result<()> {
        match (source, self.options.target(&self.surroundings)?) {
            (SourceConfig::Sqlite { path: source }, TargetConfig::Sqlite { path: target }) => {
                let file = |path: &std::path::Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                if file(source) == file(&target) {
                    return Err(Error::new(Kind::Config, "Source and target are the same file")
                        .because("name another file with database, or another one with source.path"));
                }
            }
            (SourceConfig::Starbasedb { uri, .. }, TargetConfig::Starbasedb { url, .. })
                if uri.trim_end_matches('/') == url.trim_end_matches('/') =>
            {
                return Err(Error::new(Kind::Config, "Source and target are the same StarbaseDB")
                    .because("name another one with target.url, or with source.uri"));
            }
            _ => {}
        }
        Ok(())
    }

    fn new_source(&self, config: &SourceConfig) -> Result<Box<dyn Source>> {
        let kind = source::ALL.iter().find(|kind| kind.serves(config)).ok_or_else(|| {
            Error::new(Kind::Config, format!("The source type '{}' can't be used in this version", config.kind()))
        })?;
        kind.source(config, self.limits())
    }

    fn limits(&self) -> Limits {
        Limits { connect: self.options.connect_timeout, query: self.options.query_timeout }
    }

    async fn run(&self, tables: Option<&[String]>, control: &Control) -> Result<RunStats, Failure> {
        if control.is_ended() {
            return Err(run::failure(&[control.error()], None));
        }
        self.reporter.log(Level::Info, "Starting synchronization");
        let work = self.run_once(tables, control);
        tokio::pin!(work);
        let started = Instant::now();
        let mut slow_after = self.options.slow_sync_warning;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut work => break outcome,
                () = tokio::time::sleep_until(started + slow_after) => {
                    let seconds = started.elapsed().as_secs();
                    self.reporter.log(Level::Warn, format_args!("Sync taking longer than expected ({seconds}s)"));
                    slow_after = (slow_after * 2).max(Duration::from_secs(1));
                }
            }
        };
        match &outcome {
            Ok(stats) => self.reporter.event(Event::SyncComplete(stats.clone())),
            Err(failure) => self.reporter.event(Event::SyncError(failure.clone())),
        }
        outcome
    }

    async fn run_once(&self, tables: Option<&[String]>, control: &Control) -> Result<RunStats, Failure> {
        let (target, mut connected, lock) = self.open(control).await?;
        let fingerprint = connected.config.fingerprint();
        let run =
            Run::new(&self.options, &self.reporter, target.as_ref(), connected.source.as_mut(), control, fingerprint);
        let outcome = run.execute(tables).await;
        lock.release().await;
        self.keep(connected);
        outcome
    }

    async fn verify(
        &self,
        tables: Option<&[String]>,
        repair: bool,
        control: &Control,
    ) -> Result<Verification, Failure> {
        let (target, mut connected, lock) = self.open(control).await?;
        let fingerprint = connected.config.fingerprint();
        let run =
            Run::new(&self.options, &self.reporter, target.as_ref(), connected.source.as_mut(), control, fingerprint);
        let outcome = run.verify(tables, repair).await;
        lock.release().await;
        self.keep(connected);
        outcome
    }

    /// The target, held, and the source.
    async fn open(&self, control: &Control) -> Result<(Arc<dyn Target>, Connected, Box<dyn TargetLock>), Failure> {
        let opened = async {
            let target = self.target()?;
            let mut connected = self.source().await?;
            // The target first: a run that can't write has nothing to read for.
            match control.or_end(target.lock(self.options.connect_timeout)).await {
                Ok(lock) => Ok((target, connected, lock)),
                Err(error) => {
                    connected.source.end().await;
                    self.keep(connected);
                    Err(error)
                }
            }
        };
        opened.await.map_err(|error| {
            self.reporter.log(Level::Error, &error);
            run::failure(&[error], None)
        })
    }

    fn check_enabled(&self) -> Result<()> {
        if self.options.enabled {
            return Ok(());
        }
        Err(Error::new(Kind::SyncDisabled, "Sync is disabled").because("the option enabled is false"))
    }

    /// Keeps a connection for the next run.
    fn keep(&self, connected: Connected) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(connected);
    }

    /// Tells of a run that a panic ended.
    fn fail(&self, error: Error) -> Failure {
        self.reporter.log(Level::Error, &error);
        let failure = run::failure(&[error], None);
        self.reporter.event(Event::SyncError(failure.clone()));
        failure
    }
}

/// The error for a task that panicked.
fn defect(what: &str, task: tokio::task::JoinError) -> Error {
    let said = match task.try_into_panic() {
        Ok(panic) => panic_text(panic.as_ref()).to_owned(),
        Err(error) => error.to_string(),
    };
    Error::new(Kind::Internal, format!("{what} failed by a defect of the plugin")).because(said)
}
