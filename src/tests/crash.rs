//! Killing a real process, at many points of a first load and of an incremental run: whatever is left, the next run
//! makes the target equal to the source.
//!
//! The process that is killed is this test binary itself, started again to run [`victim`] alone.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Observer};

use super::bed::{Bed, Shape};
use super::world::{World, at, handle, query, row, usual};

/// The options of the process to be killed, as JSON.
const OPTIONS: &str = "DATA_SYNC_TEST_VICTIM";

/// What it is to do: `sync`, `reset` (and sync), or `repair`.
pub const VERB: &str = "DATA_SYNC_TEST_VERB";

/// Points at which a process is killed, for each kind of run and each server, and rows that a load has then.
fn extent(bed: &dyn Bed) -> (u32, i64) {
    // A killed process leaves its lease, and the next run waits until that ends.
    if bed.deployed().is_some() {
        return (6, 20_000);
    }
    if bed.is_slow() { (5, 3_000) } else { (20, 20_000) }
}

/// Precedes what a process says of its end.
const OUTCOME: &str = "outcome of the run: ";

struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}

/// One run in a process of its own. Does nothing unless started by the tests below.
#[tokio::test]
#[ignore = "is run by the crash tests in a process of its own"]
async fn victim() {
    let Ok(options) = std::env::var(OPTIONS) else { return };
    let options: Value = serde_json::from_str(&options).unwrap();
    let sync = handle(&options, Arc::new(Silent));
    let forever = CancellationToken::new();
    let outcome = match std::env::var(VERB).as_deref() {
        Ok("repair") => sync.verify(None, true, forever).await.map(drop).map_err(|failure| failure.first.code),
        Ok("reset") => match sync.reset(None).await {
            Ok(()) => sync.sync(None, forever).await.map(drop).map_err(|failure| failure.first.code),
            Err(error) => Err(error.kind().code()),
        },
        _ => sync.sync(None, forever).await.map(drop).map_err(|failure| failure.first.code),
    };
    sync.stop().await;
    // Not by println: the harness would keep it.
    writeln!(std::io::stdout(), "{OUTCOME}{}", outcome.err().unwrap_or("ok")).unwrap();
    assert_eq!(outcome, Ok(()));
}

/// What a process says of its end; `None` when it didn't get so far.
pub fn outcome(mut command: Command) -> Option<String> {
    let output = command.stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_once(OUTCOME).map(|(_, rest)| rest.lines().next().unwrap_or_default().to_owned())
}

pub fn victim_of(options: &Value) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "tests::crash::victim", "--ignored"])
        .env(OPTIONS, options.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn start_victim(options: &Value) -> Child {
    victim_of(options).spawn().unwrap()
}

/// Whether one run in a process of its own succeeds that is told of an authority to trust.
pub fn run_elsewhere(options: &Value, authority: Option<&str>) -> bool {
    let mut command = victim_of(options);
    match authority {
        Some(path) => command.env("NODE_EXTRA_CA_CERTS", path),
        None => command.env_remove("NODE_EXTRA_CA_CERTS"),
    };
    command.status().unwrap().success()
}

/// How long an undisturbed process takes with these options.
fn time_victim(options: &Value) -> Duration {
    let started = Instant::now();
    assert!(start_victim(options).wait().unwrap().success(), "an undisturbed run succeeds");
    started.elapsed()
}

fn options_of(world: &World, batch_size: usize) -> Value {
    let mut options = world.options();
    options["batch_size"] = json!(batch_size);
    options
}

/// Kills a process when `share` of `whole`, the time of a run, is over, and checks that what it left agrees with itself.
/// Says whether the kill hit it alive; when it was faster than that, its own time is the `whole` of those to come.
fn kill_after(world: &World, options: &Value, whole: &mut Duration, share: f64) -> bool {
    let wait = whole.mul_f64(share);
    let started = Instant::now();
    let mut victim = start_victim(options);
    let mut alive = true;
    while alive && started.elapsed() < wait {
        std::thread::sleep(Duration::from_millis(1).min(wait));
        alive = victim.try_wait().unwrap().is_none();
    }
    if !alive {
        *whole = started.elapsed();
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    let names = "SELECT count(*) FROM sqlite_schema WHERE name IN ('tmp_data_sync_state', 'users')";
    if query(&world.path(), names) == [[Some("2".to_owned())]] {
        // In one statement: what the process sent to a deployed target may have its effect at this moment.
        let agreeing = "SELECT record_count, (SELECT count(*) FROM users) FROM tmp_data_sync_state
                        WHERE target_table = 'users'";
        for pair in query(&world.path(), agreeing) {
            assert_eq!(pair[0], pair[1], "the counter and the rows are of one transaction");
        }
    }
    alive
}

async fn remove_target(world: &World) {
    if let Some(deployed) = world.bed.deployed() {
        return deployed.clear().await;
    }
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", world.path().display());
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("{path}: {error}"),
        }
    }
}

async fn first_load_survives(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let (points, count) = extent(bed.as_ref());
    let rows: Vec<_> = (0..count).map(|i| usual(i, i, "some text that takes a little room", at(i % 77))).collect();
    bed.insert(&shape, &rows).await;
    let world = World::new(bed, json!({}));
    let options = options_of(&world, 50);
    let mut whole = time_victim(&options);
    let mut hits = 0;
    for point in 0..points {
        remove_target(&world).await;
        hits += u32::from(kill_after(&world, &options, &mut whole, f64::from(point) / f64::from(points)));
        world
            .bed
            .update(
                &shape,
                &row([("id", i64::from(point * 7).into())]),
                &row([("updated_at", at(1_000 + i64::from(point)))]),
            )
            .await;
        world.run().await;
        world.assert_equal(&shape).await;
    }
    assert!(hits >= points / 2, "only {hits} of {points} kills came in time");
    world.end().await;
}

async fn incremental_run_survives(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..1_000).map(|i| usual(i, i, "x", at(i % 77))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "deletes": "hard", "delete_limit": 1 }));
    let mut options = options_of(&world, 20);
    options["deletes"] = json!("hard");
    options["delete_limit"] = json!(1);
    world.run().await;
    let (points, count) = extent(world.bed.as_ref());
    let mut whole = None;
    let mut hits = 0;
    for point in 0..=i64::from(points) {
        let base = 10_000 * (point + 1);
        let rows: Vec<_> = (base..base + count * 3 / 20).map(|i| usual(i, i, "x", at(point * 10 + i % 7))).collect();
        world.bed.insert(&shape, &rows).await;
        world
            .bed
            .update(&shape, &row([("id", point.into())]), &row([("n", (-1).into()), ("updated_at", at(point * 10))]))
            .await;
        world.bed.delete(&shape, &row([("id", (500 + point).into())])).await;
        match &mut whole {
            None => whole = Some(time_victim(&options)),
            Some(whole) => {
                let share = f64::from(i32::try_from(point).unwrap()) / f64::from(points);
                hits += u32::from(kill_after(&world, &options, whole, share));
            }
        }
        world.run().await;
        world.assert_equal(&shape).await;
    }
    assert!(hits >= points / 2, "only {hits} of {points} kills came in time");
    world.end().await;
}

macro_rules! crash {
    ($module:ident, $beds:path) => {
        mod $module {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn first_load() {
                for bed in $beds().await {
                    super::first_load_survives(bed).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn incremental_run() {
                for bed in $beds().await {
                    super::incremental_run_survives(bed).await;
                }
            }
        }
    };
}

crash!(postgres, crate::tests::postgres_bed::beds);
crash!(mysql, crate::tests::mysql_bed::beds);
crash!(mongodb, crate::tests::mongodb_bed::beds);
crash!(sqlite, crate::tests::sqlite_bed::file_beds);
crash!(turso, crate::tests::sqlite_bed::turso_beds);
crash!(d1, crate::tests::sqlite_bed::d1_beds);
crash!(starbasedb, crate::tests::sqlite_bed::starbasedb_beds);
crash!(deployed, crate::tests::sqlite_bed::deployed_beds);
