//! A test's own world: one source, one target file, one handle, and everything it told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::{Options, Surroundings};
use crate::engine::{DataSync, Status};
use crate::event::{Event, Failure, Level, Observer, RunStats};

use super::bed::{Bed, Datum, Row, Shape};

/// Keeps what was told.
#[derive(Default)]
pub struct Recorder {
    events: Mutex<Vec<Event>>,
    /// Called with each event, from the run's own task.
    hook: Mutex<Option<Hook>>,
}

type Hook = Box<dyn FnMut(&Event) + Send>;

impl Observer for Recorder {
    fn event(&self, event: Event) {
        if let Some(hook) = &mut *self.hook.lock().unwrap() {
            hook(&event);
        }
        self.events.lock().unwrap().push(event);
    }
}

impl Recorder {
    /// Shows every further event to `hook` alone.
    pub fn watch(&self, hook: impl FnMut(&Event) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }
}

/// One source, one target, one handle.
pub struct World {
    pub bed: Box<dyn Bed>,
    pub sync: DataSync,
    pub recorder: Arc<Recorder>,
    directory: tempfile::TempDir,
    options: Value,
}

impl World {
    /// A world with these options; `database` and a patient `retry` are given.
    pub fn new(bed: Box<dyn Bed>, options: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Arc::new(Recorder::default());
        let sync = Self::handle(bed.as_ref(), &directory.path().join("replica.sqlite"), &options, &recorder);
        Self { bed, sync, recorder, directory, options }
    }

    fn handle(bed: &dyn Bed, path: &std::path::Path, options: &Value, recorder: &Arc<Recorder>) -> DataSync {
        let observer: Arc<dyn Observer> = Arc::<Recorder>::clone(recorder);
        handle(&Self::completed(bed, path, options), observer)
    }

    fn completed(bed: &dyn Bed, path: &std::path::Path, options: &Value) -> Value {
        let mut all = json!({ "source": bed.source(), "retry": { "base_ms": 10, "max_ms": 50 } });
        match bed.deployed() {
            Some(deployed) => all["target"] = deployed.target(),
            None => all["database"] = json!(path),
        }
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        all
    }

    /// The options that another process would have for the same.
    pub fn options(&self) -> Value {
        Self::completed(self.bed.as_ref(), &self.path(), &self.options)
    }

    /// Gives up the handle and makes a new one, as a new process would, with other options on top.
    pub async fn restart(&mut self, options: Value) {
        self.sync.stop().await;
        self.options.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        self.sync = Self::handle(self.bed.as_ref(), &self.path(), &self.options, &self.recorder);
    }

    /// A second handle on the same target and source.
    pub fn second(&self) -> DataSync {
        Self::handle(self.bed.as_ref(), &self.path(), &self.options, &Arc::default())
    }

    /// The target file.
    pub fn path(&self) -> PathBuf {
        self.bed
            .deployed()
            .map_or_else(|| self.directory.path().join("replica.sqlite"), |deployed| deployed.file.clone())
    }

    /// Runs; panics on failure.
    pub async fn run(&self) -> RunStats {
        self.sync.sync(None, CancellationToken::new()).await.unwrap_or_else(|failure| panic!("{failure:?}"))
    }

    /// Runs and expects a failure.
    pub async fn fail(&self) -> Failure {
        self.sync.sync(None, CancellationToken::new()).await.expect_err("the run was to fail")
    }

    /// Runs and gives up as soon as `when` says so.
    pub async fn run_until(&self, mut when: impl FnMut(&Event) -> bool + Send + 'static) -> Result<RunStats, Failure> {
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        self.recorder.watch(move |event| {
            if when(event) && !token.is_cancelled() {
                token.cancel();
                // This holds the run until the word has gone round; a small table would be finished before.
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let outcome = self.sync.sync(None, cancel).await;
        self.recorder.watch(|_| {});
        outcome
    }

    /// Where the replica stands.
    pub async fn status(&self) -> Status {
        self.sync.status().await.unwrap()
    }

    /// The lines that were logged, of `level` and above.
    pub fn log(&self, least: Level) -> Vec<String> {
        let events = self.recorder.events.lock().unwrap();
        let lines = events.iter().filter_map(|event| match event {
            Event::Log { level, message } if *level >= least => Some(message.clone()),
            _ => None,
        });
        lines.collect()
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.recorder.events.lock().unwrap().clone()
    }

    /// Whether nothing of ours is in the target yet.
    pub fn is_untouched(&self) -> bool {
        let ours = "SELECT 1 FROM sqlite_schema WHERE name LIKE 'tmp_data_sync_%'";
        !self.path().exists() || (self.bed.deployed().is_some() && self.query(ours).is_empty())
    }

    /// Asks the target file.
    pub fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        query(&self.path(), sql)
    }

    /// Changes the target behind the plugin's back.
    pub fn damage(&self, sql: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }

    /// Panics unless the target's table equals the source's, cell by cell, and the counter is right.
    pub async fn assert_equal(&self, shape: &Shape) {
        self.assert_equal_as(shape, shape.name).await;
    }

    /// The same for a table that has another name in the target.
    pub async fn assert_equal_as(&self, shape: &Shape, target: &str) {
        let there = self.query(&format!("SELECT '\"' || name || '\"' FROM pragma_table_info('{target}')"));
        let cell = |name: &&'static str| {
            let cell = self.bed.cell(shape, name);
            // To SQLite, a name that no column has would be a text.
            let lacks = self.bed.grows() && cell.starts_with('"') && !there.contains(&vec![Some(cell.clone())]);
            if lacks { "NULL".to_owned() } else { cell }
        };
        let columns: Vec<String> = shape.columns.iter().map(|(name, _)| cell(name)).collect();
        let mut there = self.query(&format!("SELECT {} FROM \"{target}\"", columns.join(", ")));
        there.sort();
        let source = self.bed.dump(shape).await;
        if there != source {
            let missing: Vec<_> = source.iter().filter(|row| there.binary_search(row).is_err()).take(5).collect();
            let extra: Vec<_> = there.iter().filter(|row| source.binary_search(row).is_err()).take(5).collect();
            panic!(
                "{target}: {} rows, {} at the source; missing {missing:?}, extra {extra:?}",
                there.len(),
                source.len()
            );
        }
        let count = self.status().await.table_map[target].record_count;
        assert_eq!(count, there.len() as u64, "recordCount of {target}");
    }

    /// Ends the world.
    pub async fn end(self) {
        self.sync.stop().await;
        let integrity = query(&self.path(), "PRAGMA integrity_check");
        assert_eq!(integrity, [[Some("ok".to_owned())]]);
        if let Some(deployed) = self.bed.deployed() {
            deployed.assert_left_alone();
            deployed.clear().await;
        }
        self.bed.drop_all().await;
    }
}

/// A handle with these options.
pub fn handle(options: &Value, observer: Arc<dyn Observer>) -> DataSync {
    let options = Options::parse(options).unwrap_or_else(|error| panic!("{error:?}"));
    DataSync::new(options, Surroundings::of_process(), observer)
}

/// Asks a SQLite file; every cell as text.
pub fn query(path: &std::path::Path, sql: &str) -> Vec<Vec<Option<String>>> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..width)
            .map(|column| {
                Ok(match row.get_ref(column)? {
                    rusqlite::types::ValueRef::Null => None,
                    rusqlite::types::ValueRef::Integer(value) => Some(value.to_string()),
                    rusqlite::types::ValueRef::Real(value) => Some(format!("{value:?}")),
                    rusqlite::types::ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
                    rusqlite::types::ValueRef::Blob(blob) => Some(crate::batch::hex(blob)),
                })
            })
            .collect()
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// One cell of a one-cell answer of the target.
pub fn cell(world: &World, sql: &str) -> Option<String> {
    world.query(sql).remove(0).remove(0)
}

/// A cell that is not NULL, to compare with.
#[expect(clippy::unnecessary_wraps, reason = "it is compared with cells, which may be NULL")]
pub fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// A row.
pub fn row<const N: usize>(cells: [(&'static str, Datum); N]) -> Row {
    BTreeMap::from(cells)
}

/// A row of `Shape::usual`.
pub fn usual(id: i64, n: i64, name: &str, updated_at: Datum) -> Row {
    row([("id", id.into()), ("n", n.into()), ("name", name.into()), ("updated_at", updated_at)])
}

/// A moment in the past: `seconds` after 2026-01-01T00:00:00Z.
pub fn at(seconds: i64) -> Datum {
    Datum::Instant(at_micros(seconds))
}

/// The same in microseconds since 1970.
pub fn at_micros(seconds: i64) -> i64 {
    (1_767_225_600 + seconds) * 1_000_000
}
