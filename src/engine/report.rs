//! What the engine says while it works: events as they are, log lines above the level, progress not too often.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::printable;
use crate::event::{Event, Level, Observer};

/// Progress is told at most this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The words every log line begins with.
const PREFIX: &str = "Data Sync Plugin: ";

/// Tells the observer.
pub struct Reporter {
    observer: Arc<dyn Observer>,
    level: AtomicU8,
    said: Mutex<HashSet<String>>,
    last_progress: Mutex<Option<Instant>>,
}

impl Reporter {
    /// A reporter that logs lines of `level` and above.
    pub fn new(observer: Arc<dyn Observer>, level: Level) -> Self {
        Self { observer, level: AtomicU8::new(level as u8), said: Mutex::default(), last_progress: Mutex::default() }
    }

    /// Changes the least urgent level that is logged.
    pub fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Passes an event on.
    pub fn event(&self, event: Event) {
        self.observer.event(event);
    }

    /// Passes progress on, unless the last was a moment ago.
    pub fn progress(&self, event: impl FnOnce() -> Event) {
        let now = Instant::now();
        let mut last = self.last_progress.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| now.duration_since(last) >= PROGRESS_INTERVAL) {
            *last = Some(now);
            drop(last);
            self.event(event());
        }
    }

    /// Logs a line.
    pub fn log(&self, level: Level, message: impl Display) {
        if level as u8 >= self.level.load(Ordering::Relaxed) {
            let message = format!("{PREFIX}{message}");
            let message = printable(&message).into_owned();
            self.event(Event::Log { level, message });
        }
    }

    /// Logs a line that is true of every run only the first time, and says whether this was it.
    pub fn log_once(&self, level: Level, message: impl Display) -> bool {
        let message = message.to_string();
        let is_first = self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(message.clone());
        if is_first {
            self.log(level, message);
        }
        is_first
    }
}
