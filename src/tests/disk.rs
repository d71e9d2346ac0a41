//! The disk below the target: a process killed at any of its operations on files, a write that is torn, a disk that is
//! full or breaks, power that is lost. Whatever is left is sound, and the next run makes it equal to the source.
//!
//! The process is this test binary again (`crash::victim`), with `shim.c` between it and the disk.
//! `DATA_SYNC_TEST_POINTS=all` tries every operation there is, instead of some.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fastrand::Rng;
use serde_json::{Value, json};

use super::bed::{Bed, Row, Shape};
use super::crash;
use super::world::{World, at, query, row, usual};

/// Points of each kind of fault in each kind of run, unless all are asked for: what happens on the disk is decided on this
/// side, so the source that is fastest bears the most.
fn points(bed: &dyn Bed) -> usize {
    match bed.source()["type"].as_str() {
        Some("sqlite") => 6,
        Some("postgresql") => 2,
        _ => 1,
    }
}

/// Rows at the source when a test begins.
const ROWS: i64 = 300;

/// The files of a directory by their names.
type Files = BTreeMap<String, Vec<u8>>;

/// What a run has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    FirstLoad,
    Incremental,
    Full,
    Rebuild,
    Keyless,
    Reset,
    Repair,
}

/// What happens at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Torn,
    Full,
    Fail,
    /// Killed, and what was not yet on the disk for certain is lost, in part or in whole.
    PowerLoss,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Kill, Self::Torn, Self::Full, Self::Fail, Self::PowerLoss];

    const fn name(self) -> &'static str {
        match self {
            Self::Kill | Self::PowerLoss => "kill",
            Self::Torn => "torn",
            Self::Full => "full",
            Self::Fail => "fail",
        }
    }
}

/// One operation of a process on a file.
struct Operation {
    kind: u8,
    file: String,
    at: usize,
    bytes: Vec<u8>,
}

/// The library to preload, compiled once.
fn shim() -> &'static Path {
    static SHIM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SHIM.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/shim.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&path, &source]).arg("-ldl").status();
        assert!(compiled.unwrap().success(), "cc compiles shim.c");
        (directory, path)
    });
    path
}

fn read_files(directory: &Path) -> Files {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        // The log's index is made anew by whoever opens the database first.
        .filter(|(name, _)| !name.ends_with("-shm"))
        .collect()
}

fn put_files(directory: &Path, files: &Files) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        std::fs::remove_file(entry.path()).unwrap();
    }
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes).unwrap();
    }
}

fn read_log(path: &Path, directory: &Path) -> Vec<Operation> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at_checked(length)?;
        rest = left;
        Some(taken)
    };
    let mut operations = Vec::new();
    while let Some(kind) = take(1) {
        let kind = kind[0];
        let path_length = u32::from_le_bytes(take(4).unwrap().try_into().unwrap());
        let path = String::from_utf8(take(path_length as usize).unwrap().to_vec()).unwrap();
        let at = usize::try_from(i64::from_le_bytes(take(8).unwrap().try_into().unwrap())).unwrap();
        let length = usize::try_from(u64::from_le_bytes(take(8).unwrap().try_into().unwrap())).unwrap();
        // A process that was killed while it wrote here had not done the operation either.
        let Some(bytes) = take(length) else { break };
        let file = path.strip_prefix(directory.to_str().unwrap()).unwrap().trim_start_matches('/').to_owned();
        operations.push(Operation { kind, file, at, bytes: bytes.to_vec() });
    }
    operations
}

/// What a disk may hold after the power failed: everything up to a file's last sync, and of what came after it each
/// write or not, or its first sectors only.
fn after_power_loss(before: &Files, operations: &[Operation], random: &mut Rng) -> Files {
    let mut files = before.clone();
    let mut synced = BTreeMap::new();
    for (index, operation) in operations.iter().enumerate() {
        if operation.kind == b'S' {
            synced.insert(operation.file.as_str(), index);
        }
    }
    let all_lost = random.bool();
    for (index, operation) in operations.iter().enumerate() {
        // What is deleted while it is open, and the log's index, outlive nothing.
        if operation.file.ends_with("(deleted)") || operation.file.ends_with("-shm") {
            continue;
        }
        let is_safe = synced.get(operation.file.as_str()).is_some_and(|last| index < *last);
        let is_kept = is_safe || (!all_lost && random.bool());
        match operation.kind {
            b'U' => {
                files.remove(&operation.file);
            }
            b'W' | b'T' => {
                let file = files.entry(operation.file.clone()).or_default();
                if !is_kept {
                    continue;
                }
                if operation.kind == b'T' {
                    file.resize(operation.at, 0);
                    continue;
                }
                let tears = !is_safe && random.u8(..4) == 0;
                let length = if tears { operation.bytes.len() / 1024 * 512 } else { operation.bytes.len() };
                file.resize(file.len().max(operation.at + length), 0);
                file[operation.at..operation.at + length].copy_from_slice(&operation.bytes[..length]);
            }
            _ => {}
        }
    }
    files
}

/// A task on one source, ready to be done again and again from the same beginning.
struct Trial {
    world: World,
    shape: Shape,
    task: Task,
    options: Value,
    before: Files,
    /// Rows that a reader may find at least, whenever he looks.
    least: usize,
    scratch: tempfile::TempDir,
}

fn rows(ids: std::ops::Range<i64>, from: i64) -> Vec<Row> {
    ids.map(|id| usual(id, id, "some text that takes a little room", at(from + id % 17))).collect()
}

impl Trial {
    async fn new(bed: Box<dyn Bed>, task: Task) -> Self {
        let mut shape = Shape::usual("users");
        if task == Task::Keyless {
            shape.key.clear();
        }
        bed.create(&shape).await;
        bed.insert(&shape, &rows(0..ROWS, 0)).await;
        let mut table = json!({ "name": "users" });
        if matches!(task, Task::Full | Task::Keyless) {
            table["mode"] = json!("full");
        }
        let mut settings = json!({ "tables": [table], "deletes": "hard", "delete_limit": 1, "batch_size": 40 });
        let mut world = World::new(bed, settings.clone());
        if task != Task::FirstLoad {
            world.run().await;
            world.bed.insert(&shape, &rows(1_000..1_120, 20)).await;
            for id in 0..20 {
                let change = row([("n", (-1).into()), ("updated_at", at(30))]);
                world.bed.update(&shape, &row([("id", (id * 3).into())]), &change).await;
                world.bed.delete(&shape, &row([("id", (id * 3 + 1).into())])).await;
            }
        }
        match task {
            Task::Rebuild => settings["tables"][0]["types"] = json!({ "n": "TEXT" }),
            Task::Repair => {
                world.run().await;
                let id = world.bed.id();
                world.damage(&format!(
                    "DELETE FROM users WHERE {id} % 5 = 0; UPDATE users SET n = 7 WHERE {id} % 7 = 0"
                ));
            }
            _ => {}
        }
        world.restart(settings.clone()).await;
        let directory = world.path().parent().unwrap().to_owned();
        let before = read_files(&directory);
        let least = match task {
            Task::FirstLoad => 0,
            // Twenty rows are gone from the source, a hundred and twenty new.
            Task::Repair => usize::try_from(ROWS).unwrap() - 80,
            _ => usize::try_from(ROWS).unwrap() - 20,
        };
        let mut options = settings;
        options["source"] = world.bed.source();
        options["database"] = json!(world.path());
        options["retry"] = json!({ "attempts": 1 });
        Self { world, shape, task, options, before, least, scratch: tempfile::tempdir().unwrap() }
    }

    fn directory(&self) -> PathBuf {
        self.world.path().parent().unwrap().to_owned()
    }

    /// Does the task in a process of its own, from the beginning. Says what the process said of its end, if it got so far.
    fn go(&self, fault: Option<(Fault, usize)>) -> (Option<String>, Vec<Operation>) {
        put_files(&self.directory(), &self.before);
        let log = self.scratch.path().join("log");
        let _ = std::fs::remove_file(&log);
        let verb = match self.task {
            Task::Reset => "reset",
            Task::Repair => "repair",
            _ => "sync",
        };
        let mut command = crash::victim_of(&self.options);
        command
            .env(crash::VERB, verb)
            .env("LD_PRELOAD", shim())
            .env("DATA_SYNC_SHIM_DIR", self.directory())
            .env("DATA_SYNC_SHIM_LOG", &log)
            // What is staged goes to a file at once, below the same disk.
            .env("SQLITE_TMPDIR", self.directory());
        if let Some((fault, at)) = fault {
            command.env("DATA_SYNC_SHIM", format!("{}:{at}", fault.name()));
        }
        (crash::outcome(command), read_log(&log, &self.directory()))
    }

    /// What must hold whenever somebody looks.
    fn assert_sound(&self, what: &str) {
        let path = self.world.path();
        if !path.exists() {
            return;
        }
        let integrity = query(&path, "PRAGMA integrity_check");
        assert_eq!(integrity, [[Some("ok".to_owned())]], "{what}");
        let tables = query(&path, "SELECT name FROM sqlite_schema WHERE name IN ('users', 'tmp_data_sync_state')");
        if tables.len() < 2 {
            assert_eq!(self.task, Task::FirstLoad, "{what}: {tables:?}");
            return;
        }
        let there = query(&path, "SELECT count(*) FROM users").remove(0).remove(0).unwrap();
        assert!(there.parse::<usize>().unwrap() >= self.least, "{what}: {there} rows");
        let counted = query(&path, "SELECT record_count FROM tmp_data_sync_state WHERE target_table = 'users'");
        if let Some(counted) = counted.first().filter(|_| self.task != Task::Repair) {
            assert_eq!(counted[0].as_ref(), Some(&there), "{what}: the counter and the rows are of one transaction");
        }
    }

    async fn survive(&mut self, fault: Fault, point: usize, random: &mut Rng) {
        let what = format!("{:?}, {fault:?} at {point}", self.task);
        let (outcome, operations) = self.go(Some((fault, point)));
        let outcome = outcome.as_deref();
        let told = match fault {
            Fault::Full | Fault::Fail => matches!(outcome, Some("TARGET_WRITE" | "SCHEMA")),
            Fault::Kill | Fault::Torn | Fault::PowerLoss => outcome.is_none(),
        };
        // Between the last look at the disk and the end there may be an operation that nobody misses.
        assert!(told || outcome == Some("ok"), "{what}: {outcome:?}");
        if fault == Fault::PowerLoss {
            put_files(&self.directory(), &after_power_loss(&self.before, &operations, random));
        }
        self.assert_sound(&what);
        if self.task == Task::Repair {
            let cancel = tokio_util::sync::CancellationToken::new();
            self.world.sync.verify(None, true, cancel).await.unwrap_or_else(|failure| panic!("{what}: {failure:?}"));
        }
        let again = self.world.sync.sync(None, tokio_util::sync::CancellationToken::new()).await;
        again.unwrap_or_else(|failure| panic!("{what}: {failure:?}"));
        self.world.assert_equal(&self.shape).await;
        self.world.restart(json!({})).await;
    }
}

async fn survives(bed: Box<dyn Bed>, task: Task) {
    let seed = std::env::var("DATA_SYNC_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("DATA_SYNC_TEST_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let mut trial = Trial::new(bed, task).await;
    let (outcome, operations) = trial.go(None);
    assert_eq!(outcome.as_deref(), Some("ok"), "{task:?}: undisturbed");
    trial.assert_sound("undisturbed");
    let everything = std::env::var("DATA_SYNC_TEST_POINTS").is_ok_and(|points| points == "all");
    let mut tried = 0;
    for fault in Fault::ALL {
        let mut points: Vec<usize> = (1..=operations.len()).collect();
        if !everything {
            random.shuffle(&mut points);
            points.truncate(self::points(trial.world.bed.as_ref()));
        }
        for point in points {
            trial.survive(fault, point, &mut random).await;
            tried += 1;
        }
    }
    println!("{task:?}: {tried} faults at {} operations", operations.len());
    trial.world.end().await;
}

macro_rules! disk {
    ($module:ident, $beds:path) => {
        mod $module {
            disk!($beds: first_load FirstLoad, incremental Incremental, full Full, rebuild Rebuild, keyless Keyless,
                reset Reset, repair Repair);
        }
    };
    ($beds:path: $($name:ident $task:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                for bed in $beds().await {
                    super::survives(bed, super::Task::$task).await;
                }
            }
        )+
    };
}

disk!(sqlite, crate::tests::sqlite_bed::file_beds);
disk!(postgres, crate::tests::postgres_bed::beds);
disk!(mysql, crate::tests::mysql_bed::beds);
disk!(mongodb, crate::tests::mongodb_bed::beds);
disk!(turso, crate::tests::sqlite_bed::turso_beds);
disk!(d1, crate::tests::sqlite_bed::d1_beds);
disk!(starbasedb, crate::tests::sqlite_bed::starbasedb_beds);
