//! One run: connect, find the tables, sync each, say how it went.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::config::Options;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Failure, Fault, Level, RunStats, TableStats};
use crate::source::{Moment, Source};
use crate::target::{State, Target};

use super::clock;
use super::report::Reporter;
use super::retry::Attempts;
use super::select::{self, Selected};

/// How a run is ended from outside.
#[derive(Debug, Default)]
pub struct Control {
    token: CancellationToken,
    kind: OnceLock<Kind>,
}

impl Control {
    /// Ends the run after the batch in hand, with an error of `kind` (`Aborted` or `Closed`).
    pub fn end(&self, kind: Kind) {
        let _ = self.kind.set(kind);
        self.token.cancel();
    }

    /// Waits until the run is to end.
    pub async fn ended(&self) {
        self.token.cancelled().await;
    }

    /// Waits for `work`, which it drops when the run is to end. Not for what writes: a write is let finish.
    pub async fn or_end<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.ended() => Err(self.error()),
            outcome = work => outcome,
        }
    }

    /// Whether the run is to end.
    pub fn is_ended(&self) -> bool {
        self.token.is_cancelled()
    }

    /// What the run ends with.
    pub fn error(&self) -> Error {
        match self.kind.get() {
            Some(Kind::Closed) => Error::new(Kind::Closed, "The plugin was stopped before the sync was complete"),
            _ => Error::new(Kind::Aborted, "The sync was aborted"),
        }
    }
}

/// Everything one run works with.
pub struct Run<'a> {
    pub options: &'a Options,
    pub reporter: &'a Reporter,
    pub target: &'a dyn Target,
    pub source: &'a mut dyn Source,
    pub control: &'a Control,
    pub fingerprint: String,
    /// The consistent read, while one is open.
    moment: Option<Moment>,
    /// How many consistent reads this run has opened: two reads with the same number saw the same state.
    pub epoch: u64,
}

impl<'a> Run<'a> {
    /// A run that has not begun.
    pub fn new(
        options: &'a Options,
        reporter: &'a Reporter,
        target: &'a dyn Target,
        source: &'a mut dyn Source,
        control: &'a Control,
        fingerprint: String,
    ) -> Self {
        Self { options, reporter, target, source, control, fingerprint, moment: None, epoch: 0 }
    }

    /// Runs from end to end. The caller holds the target's lock.
    pub async fn execute(mut self, named: Option<&[String]>) -> Result<RunStats, Failure> {
        let clock = Clock::start();
        let outcome = self.tables(named).await;
        self.end_read().await;
        let (tables, mut errors) = outcome.map_err(|error| {
            self.log_failure(&error);
            failure(&[error], None)
        })?;
        let stats = clock.stats(tables);
        let finished = errors.is_empty().then_some(stats.finished_at.as_str());
        let is_busy = errors.iter().any(|error| error.kind() == Kind::TargetBusy);
        if !is_busy && let Err(error) = self.store_end(finished).await {
            self.log_failure(&error);
            errors.push(error);
        }
        if errors.is_empty() { Ok(stats) } else { Err(failure(&errors, Some(stats))) }
    }

    /// Stores what belongs to the run as a whole.
    async fn store_end(&mut self, last_sync_time: Option<&str>) -> Result<()> {
        let mut attempts = Attempts::new(self.options.retry);
        while let Err(error) = self.target.finish_run(&self.fingerprint, last_sync_time).await {
            self.wait_to_retry(&mut attempts, error, "the end of the run").await?;
        }
        Ok(())
    }

    async fn tables(&mut self, named: Option<&[String]>) -> Result<(BTreeMap<String, TableStats>, Vec<Error>)> {
        let mut state = self.target.load().await?;
        check_source(&state, &self.fingerprint)?;
        let selected = self.select(&mut state).await?;
        let (selected, mut errors) = select::narrow(selected, named);
        for error in &errors {
            self.reporter.log(Level::Error, error);
        }
        self.reporter.log(Level::Info, format_args!("Found {} tables to sync", selected.len()));
        self.reporter.event(Event::SyncStart { tables: selected.iter().map(|table| table.target.clone()).collect() });
        let mut done = BTreeMap::new();
        for table in &selected {
            let before = state.tables.remove(&table.full_name());
            let (stats, outcome) = self.table(table, before).await;
            if let Some(stats) = stats {
                done.insert(table.target.clone(), stats);
            }
            let Err(error) = outcome else { continue };
            let ends_run = error.kind().ends_run();
            // A lost connection is nobody's in particular; a target that is held is told with what it was held for.
            let of_table = !ends_run || error.kind() == Kind::TargetBusy;
            let error = if of_table { error.in_table(&table.target) } else { error };
            self.log_failure(&error);
            // An end that the user asked for is no failure of the table's; and what can't be written to can't be told.
            if matches!(error.kind(), Kind::Aborted | Kind::Closed | Kind::TargetBusy) {
                errors.push(error);
                break;
            }
            if let Err(unsaved) = self.target.save_error(&table.full_name(), Some(&error.to_string())).await {
                self.reporter.log(Level::Debug, format_args!("The failure could not be stored: {unsaved}"));
            }
            errors.push(error);
            if ends_run {
                break;
            }
        }
        Ok((done, errors))
    }

    /// Finds the tables, trying again when the source can't be reached for a moment.
    pub async fn select(&mut self, state: &mut State) -> Result<Vec<Selected>> {
        let mut attempts = Attempts::new(self.options.retry);
        loop {
            let outcome = match self.read().await {
                Ok(_) => {
                    let selected = select::select(self.source, self.options, &self.fingerprint, state, self.reporter);
                    self.control.or_end(selected).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(selection) => return Ok(selection.tables),
                Err(error) => self.wait_to_retry(&mut attempts, error, "the list of tables").await?,
            }
        }
    }

    pub fn log_failure(&self, error: &Error) {
        // What the user asked for is nothing to be alarmed about.
        let asked = matches!(error.kind(), Kind::Aborted | Kind::Closed);
        self.reporter.log(if asked { Level::Info } else { Level::Error }, error);
    }

    /// The open consistent read, or a new one.
    pub async fn read(&mut self) -> Result<Moment> {
        if let Some(moment) = &self.moment {
            return Ok(moment.clone());
        }
        let moment = self.control.or_end(self.source.begin()).await?;
        self.epoch += 1;
        self.moment = Some(moment.clone());
        Ok(moment)
    }

    /// Ends the consistent read, if one is open.
    pub async fn end_read(&mut self) {
        if self.moment.take().is_some() {
            self.source.end().await;
        }
    }

    /// After a failure: ends the consistent read and waits, or gives the failure back when there is no further try.
    pub async fn wait_to_retry(&mut self, attempts: &mut Attempts, error: Error, what: &str) -> Result<()> {
        // A failed statement ends a transaction, and a failed connection all there was.
        self.end_read().await;
        if self.control.is_ended() {
            return Err(self.control.error());
        }
        let Some(wait) = attempts.wait_after(&error) else { return Err(error) };
        self.reporter.log(
            Level::Warn,
            format_args!("Trying {what} again in {:.1}s (try {}): {error}", wait.as_secs_f64(), attempts.next()),
        );
        tokio::select! {
            () = self.control.ended() => Err(self.control.error()),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }
}

/// Refuses a target whose rows came from another source.
pub fn check_source(state: &State, fingerprint: &str) -> Result<()> {
    let of_tables = state
        .tables
        .values()
        .filter(|table| table.phase != crate::target::TablePhase::Reset)
        .map(|table| &table.fingerprint);
    let other = state.fingerprint.iter().chain(of_tables).any(|known| known != fingerprint);
    if !other {
        return Ok(());
    }
    Err(Error::new(Kind::SourceChanged, "The target holds a replica of another source").because(
        "its positions mean nothing here; call resetSyncState() to load every table anew, or name another target",
    ))
}

/// The failure of a run with these errors, of which there is at least one.
pub fn failure(errors: &[Error], stats: Option<RunStats>) -> Failure {
    // What ended the run is what the caller has to know first.
    let first = errors.iter().find(|error| error.kind().ends_run()).unwrap_or(&errors[0]);
    Failure { first: Fault::from(first), stats, errors: errors.iter().map(Fault::from).collect(), plan: None }
}

/// When a run began, by both clocks.
pub struct Clock {
    wall: SystemTime,
    steady: Instant,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    fn stats(&self, tables: BTreeMap<String, TableStats>) -> RunStats {
        let duration = self.steady.elapsed();
        let sum = |part: fn(&TableStats) -> u64| tables.values().map(part).sum();
        RunStats {
            started_at: clock::iso(self.wall),
            finished_at: clock::iso(self.wall + duration),
            duration_ms: millis(duration),
            rows_read: sum(|table| table.rows_read),
            rows_inserted: sum(|table| table.rows_inserted),
            rows_updated: sum(|table| table.rows_updated),
            rows_deleted: sum(|table| table.rows_deleted),
            bytes_read: sum(|table| table.bytes_read),
            tables,
        }
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
