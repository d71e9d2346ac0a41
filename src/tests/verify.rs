//! `verify()` on every source: it finds each kind of difference, tells what comes right by itself, changes nothing, and
//! repairs exactly what differs.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::engine::{SampleKind, TableDifferences, Verification};
use crate::event::{Event, Failure, Level, Phase};

use super::bed::{Bed, Datum, Holds, Shape};
use super::world::{World, at, row, some, usual};

macro_rules! suite {
    ($($module:ident: $beds:path),+ $(,)?) => {
        $(mod $module {
            contract!($beds:
                a_good_replica_has_no_difference,
                every_kind_of_difference_is_found_and_repaired,
                what_changed_since_the_last_run_is_pending,
                a_repair_keeps_to_the_options,
                marked_rows_are_gone,
                a_table_without_a_key_is_counted,
                what_cannot_be_compared_is_said,
                a_comparison_can_be_ended,
            );
        })+
    };
}

suite!(
    postgres: crate::tests::postgres_bed::beds,
    mysql: crate::tests::mysql_bed::beds,
    mongodb: crate::tests::mongodb_bed::beds,
    sqlite: crate::tests::sqlite_bed::file_beds,
    turso: crate::tests::sqlite_bed::turso_beds,
    d1: crate::tests::sqlite_bed::d1_beds,
    starbasedb: crate::tests::sqlite_bed::starbasedb_beds,
    postgres_deployed: crate::tests::postgres_bed::deployed_beds,
    sqlite_deployed: crate::tests::sqlite_bed::deployed_beds,
);

/// A row that differs at first and no more when it is looked at again: it is told as it is in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_is_looked_at_again() {
    for bed in crate::tests::sqlite_bed::file_beds().await {
        let path = bed.source()["path"].as_str().unwrap().to_owned();
        let (world, shape) = synced(bed, 50, json!({})).await;
        let change = |id: i64, name: &str| {
            let change = row([("name", name.into())]);
            (row([("id", id.into())]), change)
        };
        for id in [3, 4] {
            let (key, change) = change(id, "for a moment");
            world.bed.update(&shape, &key, &change).await;
        }
        world.bed.insert(&shape, &[usual(60, 60, "short-lived", at(-9_000_000))]).await;
        rest().await;
        world.recorder.watch(move |event| {
            if matches!(event, Event::Progress { phase: Phase::Verify, .. }) {
                let source = rusqlite::Connection::open(&path).unwrap();
                source
                    .execute_batch("UPDATE users SET name = 'x' WHERE id = 3; DELETE FROM users WHERE id = 60")
                    .unwrap();
            }
        });
        let found = verify(&world, false).await;
        // It is in the lookback, so the next run reads it.
        assert_eq!((found.rows, counts(&found)), (51, (0, 1, 0, 1)), "{found:?}");
        assert_eq!(found.samples[0].key["id"], "4");
        world.recorder.watch(|_| {});
        world.end().await;
    }
}

async fn try_verify(world: &World, repair: bool) -> Result<Verification, Failure> {
    world.sync.verify(None, repair, CancellationToken::new()).await
}

async fn verify(world: &World, repair: bool) -> TableDifferences {
    let found = try_verify(world, repair).await.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(found.tables.len(), 1, "{found:?}");
    found.tables.into_values().next().unwrap()
}

/// Missing, different, extra, pending.
fn counts(found: &TableDifferences) -> (u64, u64, u64, u64) {
    (found.missing, found.different, found.extra, found.pending)
}

/// Waits until progress may be told again.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(120)).await;
}

async fn synced(bed: Box<dyn Bed>, rows: i64, options: serde_json::Value) -> (World, Shape) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..rows).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, options);
    world.run().await;
    (world, shape)
}

async fn a_good_replica_has_no_difference(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let mut rows: Vec<_> = (0..700).map(|i| usual(i, i, "a name", at(i / 3))).collect();
    rows.push(row([("id", 800.into()), ("n", Datum::Null), ("name", "".into()), ("updated_at", Datum::Null)]));
    rows.push(row([("id", 801.into()), ("n", i64::MAX.into()), ("name", Datum::Null), ("updated_at", Datum::Null)]));
    bed.insert(&shape, &rows).await;
    let world = World::new(bed, json!({ "batch_size": 100 }));
    world.run().await;
    let before = std::fs::read(world.path()).unwrap();
    rest().await;
    for repair in [false, true] {
        let found = verify(&world, repair).await;
        assert_eq!((found.rows, counts(&found), found.repaired), (702, (0, 0, 0, 0), 0), "{found:?}");
        assert!(found.samples.is_empty());
    }
    assert!(before == std::fs::read(world.path()).unwrap(), "a comparison changes nothing");
    let told = |event: &Event| matches!(event, Event::Progress { phase: Phase::Verify, .. });
    assert!(world.events().iter().any(told), "progress is told");
    world.end().await;
}

async fn every_kind_of_difference_is_found_and_repaired(bed: Box<dyn Bed>) {
    let (world, shape) = synced(bed, 700, json!({ "deletes": "hard", "batch_size": 100 })).await;
    let id = world.bed.id();
    world.damage(&format!(
        "DELETE FROM users WHERE n IN (3, 690);
             UPDATE users SET name = 'y' WHERE n = 5; UPDATE users SET name = NULL WHERE n = 6;
             UPDATE users SET updated_at = NULL WHERE n = 7; UPDATE users SET name = CAST(name AS BLOB) WHERE n = 8;
             INSERT INTO users ({id}, n) SELECT {}, -1",
        if id == "id" { "9000" } else { "'9000'" },
    ));
    let found = verify(&world, false).await;
    assert_eq!((found.rows, found.repaired), (700, 0));
    let (missing, different, extra, pending) = counts(&found);
    assert_eq!((missing, different, extra), (2, 4, 1), "{found:?}");
    assert!(pending >= 3, "a run looks for deleted and missing rows anyway: {found:?}");
    let kinds: Vec<_> = found.samples.iter().map(|sample| sample.kind).collect();
    let (m, d, e) = (SampleKind::Missing, SampleKind::Different, SampleKind::Extra);
    assert_eq!(kinds, [m, m, d, d, d, d, e]);
    assert_eq!(found.samples[6].key.get(id).map(String::as_str), Some("9000"));
    assert!(world.log(Level::Warn).iter().any(|line| line.contains("2 missing, 4 different, 1 extra")));

    assert_eq!(verify(&world, true).await.repaired, 7);
    world.assert_equal(&shape).await;
    assert_eq!(counts(&verify(&world, false).await), (0, 0, 0, 0));
    world.end().await;
}

async fn what_changed_since_the_last_run_is_pending(bed: Box<dyn Bed>) {
    let (world, shape) = synced(bed, 50, json!({})).await;
    world.bed.insert(&shape, &[usual(60, 60, "new", at(100))]).await;
    world.bed.update(&shape, &row([("id", 4.into())]), &row([("n", (-4).into()), ("updated_at", at(101))])).await;
    world.bed.insert(&shape, &[row([("id", 61.into()), ("n", 61.into()), ("updated_at", Datum::Null)])]).await;
    // Nothing tells a run of this one.
    world
        .bed
        .update(&shape, &row([("id", 1.into())]), &row([("name", "quiet".into()), ("updated_at", at(-9_000_000))]))
        .await;
    world.bed.delete(&shape, &row([("id", 2.into())])).await;
    let found = verify(&world, false).await;
    // A source that can tell what was written since, whatever its track value, brings the quiet one too.
    let (missing, different, extra, pending) = counts(&found);
    assert_eq!((missing, different, extra), (2, 2, 1), "{found:?}");
    assert!((3..=4).contains(&pending), "{found:?}");
    world.run().await;
    let found = verify(&world, false).await;
    assert_eq!(counts(&found), (0, 4 - pending, 1, 0), "{found:?}");
    world.end().await;
}

async fn a_repair_keeps_to_the_options(bed: Box<dyn Bed>) {
    let (mut world, shape) = synced(bed, 10, json!({})).await;
    for id in 0..6 {
        world.bed.delete(&shape, &row([("id", id.into())])).await;
    }
    let found = verify(&world, true).await;
    assert_eq!((counts(&found), found.repaired), ((0, 0, 6, 0), 0), "deletes: 'none' keeps them");
    world.restart(json!({ "deletes": "hard" })).await;
    let failure = try_verify(&world, true).await.expect_err("a refusal");
    assert_eq!((failure.first.code, failure.first.table.as_deref()), ("DELETE_LIMIT", Some("users")));
    world.restart(json!({ "deletes": "hard", "delete_limit": 1 })).await;
    assert_eq!(verify(&world, true).await.repaired, 6);
    world.assert_equal(&shape).await;

    world.restart(json!({ "tables": [{ "name": "users", "mode": "append" }] })).await;
    world.run().await;
    world.damage("UPDATE users SET name = 'mine' WHERE n = 7; DELETE FROM users WHERE n = 8");
    let found = verify(&world, true).await;
    assert_eq!((found.missing, found.different, found.repaired), (1, 1, 1), "append rewrites nothing: {found:?}");
    assert_eq!(world.query("SELECT name FROM users WHERE n = 7"), [[some("mine")]]);
    world.end().await;
}

async fn marked_rows_are_gone(bed: Box<dyn Bed>) {
    let (world, shape) = synced(bed, 20, json!({ "deletes": "soft" })).await;
    world.bed.delete(&shape, &row([("id", 3.into())])).await;
    assert_eq!(counts(&verify(&world, false).await), (0, 0, 1, 1));
    world.run().await;
    assert_eq!(counts(&verify(&world, false).await), (0, 0, 0, 0));
    world.damage("UPDATE users SET _deleted_at = '2026-01-01' WHERE n = 5");
    let found = verify(&world, true).await;
    assert_eq!((found.missing, found.repaired), (1, 1), "{found:?}");
    assert_eq!(world.query("SELECT n FROM users WHERE _deleted_at IS NOT NULL"), [[some("3")]]);
    world.end().await;
}

async fn a_table_without_a_key_is_counted(bed: Box<dyn Bed>) {
    if bed.always_keyed() {
        return bed.drop_all().await;
    }
    let shape = Shape { name: "log", columns: vec![("n", Holds::Int), ("name", Holds::Text)], key: Vec::new() };
    bed.create(&shape).await;
    let line = |n: i64| row([("n", (n % 5).into()), ("name", if n % 2 == 0 { Datum::Null } else { "x".into() })]);
    bed.insert(&shape, &(0..40).map(line).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    assert_eq!(counts(&verify(&world, false).await), (0, 0, 0, 0));
    world.damage("DELETE FROM log WHERE rowid IN (1, 2, 3); INSERT INTO log VALUES (77, 'x')");
    let found = verify(&world, true).await;
    assert_eq!((found.rows, counts(&found), found.repaired), (40, (3, 0, 1, 4), 0));
    world.end().await;
}

async fn what_cannot_be_compared_is_said(bed: Box<dyn Bed>) {
    let (mut world, shape) = synced(bed, 5, json!({})).await;
    let other = Shape::usual("others");
    world.bed.create(&other).await;
    world.bed.insert(&other, &[usual(1, 1, "x", at(1))]).await;
    let failure = try_verify(&world, false).await.expect_err("a failure");
    assert_eq!((failure.first.code, failure.first.table.as_deref()), ("TABLE_NOT_FOUND", Some("others")));
    let named = |name: &str| Some(vec![name.to_owned()]);
    let verify_only = |name| world.sync.verify(named(name), false, CancellationToken::new());
    assert_eq!(verify_only("users").await.unwrap().tables["users"].rows, 5);
    assert_eq!(verify_only("nobody").await.unwrap_err().first.code, "TABLE_NOT_FOUND");

    let filter = world.bed.filter("n", "<", 3);
    world.restart(json!({ "tables": [{ "name": "users", "where": filter }] })).await;
    let failure = try_verify(&world, false).await.expect_err("a failure");
    assert_eq!(failure.first.code, "SCHEMA");
    assert!(failure.first.message.contains("sync it first"), "{failure:?}");
    world.run().await;
    assert_eq!(counts(&verify(&world, false).await), (0, 0, 2, 0));
    world.damage("DROP TABLE users");
    let failure = try_verify(&world, false).await.expect_err("a failure");
    assert_eq!(failure.first.code, "TABLE_NOT_FOUND");

    world.sync.reset(None).await.unwrap();
    if world.bed.deployed().is_none() {
        world.restart(json!({ "database": world.path().with_file_name("new.sqlite") })).await;
        let failure = try_verify(&world, false).await.expect_err("a failure");
        assert_eq!(failure.first.code, "TABLE_NOT_FOUND");
        assert!(!world.path().with_file_name("new.sqlite").exists(), "a comparison makes no file");
    }
    drop(shape);
    world.sync.stop().await;
    world.bed.drop_all().await;
}

async fn a_comparison_can_be_ended(bed: Box<dyn Bed>) {
    let (world, shape) = synced(bed, 2_000, json!({ "batch_size": 10 })).await;
    rest().await;
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    world.recorder.watch(move |event| {
        if matches!(event, Event::Progress { phase: Phase::Verify, .. }) {
            token.cancel();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let failure = world.sync.verify(None, true, cancel).await.expect_err("an end");
    assert_eq!(failure.first.code, "ABORTED");
    world.recorder.watch(|_| {});
    let (sync, stopped) = (world.sync.clone(), std::sync::Arc::new(tokio::sync::Notify::new()));
    let told = std::sync::Arc::clone(&stopped);
    world.recorder.watch(move |event| {
        if matches!(event, Event::Progress { phase: Phase::Verify, .. }) {
            told.notify_one();
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    rest().await;
    let work = tokio::spawn(async move { sync.verify(None, false, CancellationToken::new()).await });
    stopped.notified().await;
    assert!(world.status().await.is_running);
    world.sync.stop().await;
    assert_eq!(work.await.unwrap().expect_err("an end").first.code, "CLOSED");
    world.recorder.watch(|_| {});
    assert_eq!(counts(&verify(&world, false).await), (0, 0, 0, 0));
    world.assert_equal(&shape).await;
    world.end().await;
}
