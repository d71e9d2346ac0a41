//! The guarantees of a sync, written once for any source and run against each real server.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Failure, Level, Mode, Phase};

use super::bed::{Bed, Datum, Holds, Shape};
use super::world::{World, at, at_micros, row, some, usual};

/// Runs each function of this module against every server of a source.
macro_rules! contract {
    ($beds:path: $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                for bed in $beds().await {
                    super::$name(bed).await;
                }
            }
        )+
    };
}

/// Every test of the suite, for a function that gives a bed for each server.
macro_rules! suite {
    ($module:ident, $beds:path) => {
        mod $module {
            contract!($beds:
                a_first_load_copies_every_cell,
                a_run_that_finds_nothing_writes_nothing,
                only_changed_rows_count,
                equal_track_values_beyond_a_batch,
                new_rows_with_the_positions_own_track_value,
                a_transaction_that_commits_late,
                rows_without_a_track_value,
                a_row_from_the_future_freezes_nothing,
                the_shortest_time_decides,
                an_update_inside_the_lookback,
                a_composite_text_key,
                an_interrupted_first_load_goes_on_where_it_stopped,
                rows_changed_while_a_first_load_was_interrupted,
                an_interrupted_incremental_run_goes_on,
                deletes_are_ignored_unless_asked_for,
                hard_deletes,
                soft_deletes_and_their_return,
                too_many_deletes_are_refused,
                a_changed_key_is_a_delete_and_an_insert,
                full_mode_writes_only_what_differs,
                a_table_without_a_key,
                append_never_rewrites,
                a_reset_loads_anew,
                sixty_columns_and_a_key_alone,
                one_tables_failure_leaves_the_others,
                two_writers_take_turns,
                triggers_during_a_run_are_merged,
                another_source_is_refused,
                a_second_handle_sees_the_same_status,
                a_table_dropped_from_the_target_is_loaded_anew,
                a_target_that_was_emptied_is_loaded_anew,
                a_list_of_track_columns,
                an_integer_track_column,
                a_dry_run_writes_nothing,
                a_dry_run_plans_what_it_can,
                what_its_user_made_in_the_target_is_left_alone,
                a_filter_and_chosen_columns,
                a_changed_filter_with_deletes,
                a_track_column_that_is_left_out,
                masked_columns,
                a_rebuild_keeps_rows_that_left,
                a_reset_leads_out_of_every_refusal,
                a_new_column_under_freeze_is_not_tracked,
                selected_columns,
            );
        }
    };
}

suite!(postgres, crate::tests::postgres_bed::beds);
suite!(pgbouncer, crate::tests::postgres_bed::pooled_beds);
suite!(mysql, crate::tests::mysql_bed::beds);
suite!(mongodb, crate::tests::mongodb_bed::beds);
suite!(sqlite, crate::tests::sqlite_bed::file_beds);
suite!(turso, crate::tests::sqlite_bed::turso_beds);
suite!(d1, crate::tests::sqlite_bed::d1_beds);
suite!(starbasedb, crate::tests::sqlite_bed::starbasedb_beds);
suite!(postgres_deployed, crate::tests::postgres_bed::deployed_beds);
suite!(sqlite_deployed, crate::tests::sqlite_bed::deployed_beds);

async fn a_first_load_copies_every_cell(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let mut rows: Vec<_> = (0..2_345).map(|i| usual(i * 7, i, "käse 🧀", at(i % 100))).collect();
    rows.push(row([("id", (-5).into()), ("n", Datum::Null), ("name", "".into()), ("updated_at", Datum::Null)]));
    rows.push(usual(i64::MAX, i64::MIN, "quote ' \" \\ \n", at(1)));
    bed.insert(&shape, &rows).await;
    let world = World::new(bed, json!({ "batch_size": 100 }));
    let stats = world.run().await;
    assert_eq!((stats.rows_read, stats.rows_inserted, stats.rows_updated), (2_347, 2_347, 0));
    world.assert_equal(&shape).await;
    let status = &world.status().await.table_map["users"];
    assert_eq!((status.mode, status.phase, status.null_tracked), (Mode::Incremental, Phase::Incremental, 1));
    assert_eq!(status.last_value, Some(world.bed.instant(at_micros(99))));
    let log = world.log(Level::Info);
    for line in [
        "Data Sync Plugin: Starting synchronization",
        "Data Sync Plugin: Found 1 tables to sync",
        "Data Sync Plugin: Syncing table users",
        "Data Sync Plugin: Created table users",
        "Data Sync Plugin: Synced 2347 records for table users",
    ] {
        assert!(log.iter().any(|logged| logged == line), "{line} in {log:#?}");
    }
    world.end().await;
}

async fn a_run_that_finds_nothing_writes_nothing(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..100).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (0, 0, 0));
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn only_changed_rows_count(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..1_000).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    for id in [3, 500] {
        world
            .bed
            .update(&shape, &row([("id", id.into())]), &row([("n", (-1).into()), ("updated_at", at(2_000))]))
            .await;
    }
    world.bed.insert(&shape, &[usual(5_000, 1, "new", at(2_000))]).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated), (1, 2));
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn equal_track_values_beyond_a_batch(bed: Box<dyn Bed>) {
    let shape = Shape::usual("ticks");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(0, 0, "first", at(0))]).await;
    let world = World::new(bed, json!({ "batch_size": 1_000, "lookback": 0 }));
    world.run().await;
    world.bed.insert(&shape, &(1..=5_000).map(|i| usual(i, i, "tie", at(10))).collect::<Vec<_>>()).await;
    let stats = world.run().await;
    assert_eq!(stats.rows_inserted, 5_000);
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn new_rows_with_the_positions_own_track_value(bed: Box<dyn Bed>) {
    let shape = Shape::usual("ticks");
    bed.create(&shape).await;
    bed.insert(&shape, &(1_000..6_000).map(|i| usual(i, i, "tie", at(10))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "batch_size": 1_000 }));
    world.run().await;
    // Keys below and above the position's.
    let more: Vec<_> = (0..500).chain(6_000..6_500).map(|i| usual(i, i, "late tie", at(10))).collect();
    world.bed.insert(&shape, &more).await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn a_transaction_that_commits_late(bed: Box<dyn Bed>) {
    let shape = Shape::usual("orders");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "first", at(0))]).await;
    let late = bed.insert_late(&shape, &[usual(2, 2, "late", at(100))]).await;
    bed.insert(&shape, &(10..20).map(|i| usual(i, i, "on time", at(101))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    // A second transaction that begins after the first load and is open during a further run.
    let later = world.bed.insert_late(&shape, &[usual(3, 3, "later", at(102))]).await;
    world.bed.insert(&shape, &[usual(30, 30, "on time", at(150))]).await;
    world.run().await;
    late.commit().await;
    later.commit().await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn rows_without_a_track_value(bed: Box<dyn Bed>) {
    let shape = Shape::usual("notes");
    bed.create(&shape).await;
    let null = || Datum::Null;
    bed.insert(&shape, &(0..50).map(|i| usual(i * 10, i, "null", null())).collect::<Vec<_>>()).await;
    bed.insert(&shape, &(1_000..1_050).map(|i| usual(i, i, "dated", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "batch_size": 20 }));
    world.run().await;
    assert_eq!(world.status().await.table_map["notes"].null_tracked, 50);
    // New ones with keys before, between and after; one filled with a date far behind the position; one emptied.
    world.bed.insert(&shape, &[-5, 15, 9_999].map(|id| usual(id, 0, "new null", null()))).await;
    world.bed.update(&shape, &row([("id", 20.into())]), &row([("updated_at", at(-1_000_000))])).await;
    world.bed.update(&shape, &row([("id", 1_010.into())]), &row([("updated_at", Datum::Null)])).await;
    world.run().await;
    world.assert_equal(&shape).await;
    assert_eq!(world.status().await.table_map["notes"].null_tracked, 53);
    world.end().await;
}

async fn a_row_from_the_future_freezes_nothing(bed: Box<dyn Bed>) {
    let shape = Shape::usual("events");
    bed.create(&shape).await;
    let year_9999 = Datum::Instant(253_402_214_400_000_000);
    bed.insert(&shape, &[usual(1, 1, "now", at(0)), usual(2, 2, "future", year_9999.clone())]).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    world.assert_equal(&shape).await;
    world.bed.insert(&shape, &[usual(3, 3, "after", at(10)), usual(4, 4, "future too", year_9999)]).await;
    world.run().await;
    world.bed.insert(&shape, &[usual(5, 5, "after that", at(20))]).await;
    world.run().await;
    world.assert_equal(&shape).await;
    let last = world.status().await.table_map["events"].last_value.clone();
    assert_eq!(last, Some(world.bed.instant(at_micros(20))));
    world.end().await;
}

async fn the_shortest_time_decides(bed: Box<dyn Bed>) {
    let shape = Shape::usual("ticks");
    bed.create(&shape).await;
    let step = bed.resolution();
    let micro = |n: i64| Datum::Instant(at_micros(0) + n * step);
    bed.insert(&shape, &(0..10).map(|i| usual(i, i, "x", micro(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "lookback": 0 }));
    world.run().await;
    world.bed.insert(&shape, &[usual(100, 0, "x", micro(10))]).await;
    let stats = world.run().await;
    assert_eq!(stats.rows_inserted, 1);
    world.assert_equal(&shape).await;
    let last = world.status().await.table_map["ticks"].last_value.clone();
    assert_eq!(last, Some(world.bed.instant(at_micros(0) + 10 * step)));
    world.end().await;
}

async fn an_update_inside_the_lookback(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..100).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "lookback": 60 }));
    world.run().await;
    // The clock of whoever wrote it was behind: the track value lies before the position.
    world.bed.update(&shape, &row([("id", 5.into())]), &row([("n", 77.into()), ("updated_at", at(70))])).await;
    world.bed.insert(&shape, &[usual(500, 0, "late", at(50))]).await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn a_composite_text_key(bed: Box<dyn Bed>) {
    let shape = Shape {
        name: "places",
        columns: vec![
            ("country", Holds::Text),
            ("town", Holds::Text),
            ("n", Holds::Int),
            ("updated_at", Holds::Instant),
        ],
        key: vec!["country", "town"],
    };
    bed.create(&shape).await;
    let place = |country: &str, town: &str, n: i64, seconds: i64| {
        row([("country", country.into()), ("town", town.into()), ("n", n.into()), ("updated_at", at(seconds))])
    };
    let countries = ["de", "DE", "dk", "é", "e", "z'; --"];
    let all: Vec<_> =
        countries.iter().flat_map(|c| (0..80).map(move |i| place(c, &format!("town {i} \\ ' \""), i, i % 3))).collect();
    bed.insert(&shape, &all).await;
    let world = World::new(bed, json!({ "batch_size": 7 }));
    world.run().await;
    world.assert_equal(&shape).await;
    let more: Vec<_> =
        countries.iter().flat_map(|c| (80..120).map(move |i| place(c, &format!("Town {i}"), i, 2))).collect();
    world.bed.insert(&shape, &more).await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn an_interrupted_first_load_goes_on_where_it_stopped(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..3_000).map(|i| usual(i, i, "x", at(i % 50))).collect::<Vec<_>>()).await;
    let mut world = World::new(bed, json!({ "batch_size": 100 }));
    let failure = world.run_until(|event| matches!(event, Event::Progress { .. })).await.expect_err("aborted");
    assert_eq!(failure.first.code, "ABORTED");
    let there = world.status().await.table_map["users"].clone();
    assert_eq!(there.phase, Phase::Snapshot);
    assert!((100..3_000).contains(&there.record_count), "{there:?}");
    world.restart(json!({})).await;
    let stats = world.run().await;
    assert_eq!(stats.rows_inserted, 3_000 - there.record_count);
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn rows_changed_while_a_first_load_was_interrupted(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..2_000).map(|i| usual(i, i, "x", at(i % 50))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "batch_size": 100 }));
    world.run_until(|event| matches!(event, Event::Progress { .. })).await.expect_err("aborted");
    world.bed.update(&shape, &row([("id", 5.into())]), &row([("n", 1_000.into()), ("updated_at", at(1_000))])).await;
    world.bed.insert(&shape, &[usual(-9, 0, "before the key position", at(1_000))]).await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn an_interrupted_incremental_run_goes_on(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(0, 0, "x", at(0))]).await;
    let world = World::new(bed, json!({ "batch_size": 50 }));
    world.run().await;
    world.bed.insert(&shape, &(1..2_000).map(|i| usual(i, i, "x", at(i / 100))).collect::<Vec<_>>()).await;
    let late = world.bed.insert_late(&shape, &[usual(9_000, 0, "late", at(1))]).await;
    // Progress, which the interruption waits for, is told at most ten times a second.
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    world.run_until(|event| matches!(event, Event::Progress { rows, .. } if *rows > 0)).await.expect_err("aborted");
    let there = world.status().await.table_map["users"].clone();
    assert!(there.record_count < 2_000, "{there:?}");
    late.commit().await;
    world.bed.update(&shape, &row([("id", 3.into())]), &row([("n", 1.into()), ("updated_at", at(5))])).await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn deletes_are_ignored_unless_asked_for(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..10).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    world.bed.delete(&shape, &row([("id", 3.into())])).await;
    let stats = world.run().await;
    assert_eq!(stats.rows_deleted, 0);
    assert_eq!(world.status().await.table_map["users"].record_count, 10);
    world.end().await;
}

async fn hard_deletes(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..1_000).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "deletes": "hard", "batch_size": 100 }));
    world.run().await;
    for id in [0, 500, 999] {
        world.bed.delete(&shape, &row([("id", id.into())])).await;
    }
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (0, 0, 3));
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn soft_deletes_and_their_return(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..10).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "deletes": "soft" }));
    world.run().await;
    world.bed.delete(&shape, &row([("id", 3.into())])).await;
    assert_eq!(world.run().await.rows_deleted, 1);
    assert_eq!(world.run().await.rows_deleted, 0, "a marked row is not marked again");
    let marked = world.query(&format!("SELECT {} FROM users WHERE _deleted_at LIKE '20__-%Z'", world.bed.id()));
    assert_eq!(marked, [[Some("3".to_owned())]]);
    world.bed.insert(&shape, &[usual(3, 3, "back", at(3))]).await;
    world.run().await;
    assert_eq!(world.query("SELECT count(*) FROM users WHERE _deleted_at IS NULL"), [[Some("10".to_owned())]]);
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn too_many_deletes_are_refused(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..10).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let mut world = World::new(bed, json!({ "deletes": "hard" }));
    world.run().await;
    for id in 0..6 {
        world.bed.delete(&shape, &row([("id", id.into())])).await;
    }
    let failure = world.fail().await;
    assert_eq!((failure.first.code, failure.first.table.as_deref()), ("DELETE_LIMIT", Some("users")));
    assert_eq!(world.query("SELECT count(*) FROM users"), [[Some("10".to_owned())]]);
    world.restart(json!({ "delete_limit": 1 })).await;
    assert_eq!(world.run().await.rows_deleted, 6);
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn a_changed_key_is_a_delete_and_an_insert(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..10).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "deletes": "hard" }));
    world.run().await;
    world.bed.update(&shape, &row([("id", 4.into())]), &row([("id", 400.into())])).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_deleted), (1, 1));
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn full_mode_writes_only_what_differs(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..1_000).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "tables": [{ "name": "users", "mode": "full" }], "batch_size": 100 }));
    world.run().await;
    world.bed.update(&shape, &row([("id", 4.into())]), &row([("n", (-4).into())])).await;
    world.bed.delete(&shape, &row([("id", 5.into())])).await;
    world.bed.insert(&shape, &[usual(7_000, 1, "new", at(0))]).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (1, 1, 1));
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn a_table_without_a_key(bed: Box<dyn Bed>) {
    let shape = Shape { key: vec![], ..Shape::usual("lines") };
    bed.create(&shape).await;
    let twice = |i: i64| [usual(i, i, "x", at(i)), usual(i, i, "x", at(i))];
    bed.insert(&shape, &(0..200).flat_map(twice).collect::<Vec<_>>()).await;
    let mut options = json!({ "batch_size": 30 });
    if bed.always_keyed() {
        options["tables"] = json!([{ "name": "lines", "mode": "full" }]);
    }
    let world = World::new(bed, options);
    let stats = world.run().await;
    assert_eq!(stats.rows_inserted, 400);
    world.assert_equal(&shape).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (0, 0, 0));
    world.bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
    world.bed.delete(&shape, &row([("id", 7.into())])).await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn append_never_rewrites(bed: Box<dyn Bed>) {
    let shape = Shape::usual("log");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..10).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "tables": [{ "name": "log", "mode": "append" }] }));
    world.run().await;
    world.bed.update(&shape, &row([("id", 4.into())]), &row([("n", (-4).into()), ("updated_at", at(100))])).await;
    world.bed.insert(&shape, &[usual(11, 11, "new", at(101))]).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated), (1, 0));
    let n = world.query(&format!("SELECT n FROM log WHERE {} = 4", world.bed.id()));
    assert_eq!(n, [[Some("4".to_owned())]]);
    world.end().await;
}

async fn a_reset_loads_anew(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..100).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    // Changes that no track value shows: what a reset is for.
    world.bed.update(&shape, &row([("id", 4.into())]), &row([("n", (-4).into())])).await;
    world.sync.reset(Some("users".to_owned())).await.unwrap();
    let status = world.status().await.table_map["users"].clone();
    assert_eq!((status.last_value, status.phase), (None, Phase::Snapshot));
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated), (0, 1));
    world.assert_equal(&shape).await;
    let error = world.sync.reset(Some("nothing".to_owned())).await.expect_err("unknown");
    assert_eq!(error.code(), "TABLE_NOT_FOUND");
    world.end().await;
}

async fn sixty_columns_and_a_key_alone(bed: Box<dyn Bed>) {
    const NAMES: [&str; 60] = {
        const LETTERS: &str = "c00c01c02c03c04c05c06c07c08c09c10c11c12c13c14c15c16c17c18c19c20c21c22c23c24c25c26c27c28c29\
                               c30c31c32c33c34c35c36c37c38c39c40c41c42c43c44c45c46c47c48c49c50c51c52c53c54c55c56c57c58c59";
        let mut names = [""; 60];
        let mut index = 0;
        while index < 60 {
            names[index] = LETTERS.split_at(index * 3).1.split_at(3).0;
            index += 1;
        }
        names
    };
    let wide = Shape {
        name: "wide",
        columns: NAMES.iter().map(|name| (*name, if *name == "c00" { Holds::Int } else { Holds::Text })).collect(),
        key: vec!["c00"],
    };
    let narrow = Shape { name: "narrow", columns: vec![("id", Holds::Int)], key: vec!["id"] };
    bed.create(&wide).await;
    bed.create(&narrow).await;
    let wide_rows: Vec<_> = (0..200_i64)
        .map(|i| {
            NAMES
                .iter()
                .map(|name| (*name, if *name == "c00" { i.into() } else { Datum::Text(format!("{name} of {i}")) }))
                .collect()
        })
        .collect();
    bed.insert(&wide, &wide_rows).await;
    bed.insert(&narrow, &(0..300).map(|i| row([("id", i.into())])).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "batch_size": 64 }));
    world.run().await;
    world.bed.delete(&narrow, &row([("id", 7.into())])).await;
    world.bed.update(&wide, &row([("c00", 7.into())]), &row([("c59", "other".into())])).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (0, 1, 1));
    world.assert_equal(&wide).await;
    world.assert_equal(&narrow).await;
    world.end().await;
}

async fn one_tables_failure_leaves_the_others(bed: Box<dyn Bed>) {
    let (first, last) = (Shape::usual("aaa"), Shape::usual("zzz"));
    for shape in [&first, &last] {
        bed.create(shape).await;
        bed.insert(shape, &[usual(1, 1, "x", at(1))]).await;
    }
    let world = World::new(bed, json!({ "tables": ["aaa", "products", "zzz"] }));
    let failure = world.fail().await;
    assert_eq!((failure.first.code, failure.first.table.as_deref()), ("TABLE_NOT_FOUND", Some("products")));
    assert!(failure.first.message.starts_with("Table 'products' not found in external database"), "{failure:?}");
    assert_eq!(failure.errors.len(), 1);
    assert_eq!(failure.stats.unwrap().rows_inserted, 2);
    world.assert_equal(&first).await;
    world.assert_equal(&last).await;
    assert_eq!(world.status().await.last_sync_time, None, "the run as a whole failed");
    let ends = world.events().into_iter().filter(|event| matches!(event, Event::SyncComplete(_) | Event::SyncError(_)));
    assert_eq!(ends.count(), 1);
    world.end().await;
}

async fn two_writers_take_turns(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..2_000).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    // The second one waits for the first, which may take long where many tests run.
    let world = World::new(bed, json!({ "batch_size": 100, "connect_timeout": 60 }));
    let other = world.second();
    let (one, two) =
        tokio::join!(world.sync.sync(None, CancellationToken::new()), other.sync(None, CancellationToken::new()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.rows_inserted + two.rows_inserted, 2_000);
    assert!(one.rows_inserted == 0 || two.rows_inserted == 0, "the runs overlapped");
    other.stop().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn triggers_during_a_run_are_merged(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..500).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    let runs = (0..20).map(|_| world.sync.sync(None, CancellationToken::new()));
    for outcome in futures_util::future::join_all(runs).await {
        outcome.unwrap();
    }
    let begun = world.events().into_iter().filter(|event| matches!(event, Event::SyncStart { .. })).count();
    assert!((1..=2).contains(&begun), "{begun} runs for 20 triggers");
    world.end().await;
}

async fn another_source_is_refused(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1)), usual(2, 2, "y", at(2))]).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    let id = world.bed.id();
    let file = rusqlite::Connection::open(world.path()).unwrap();
    file.execute_batch(&format!(
        "UPDATE tmp_data_sync_meta SET value = 'another' WHERE key = 'fingerprint'; \
         UPDATE tmp_data_sync_state SET source_fingerprint = 'another'; \
         INSERT INTO users ({id}, n, name) VALUES (77, 7, 'of the other source')"
    ))
    .unwrap();
    drop(file);
    let failure = world.fail().await;
    assert_eq!(failure.first.code, "SOURCE_CHANGED");
    world.sync.reset(None).await.unwrap();
    world.run().await;
    assert_eq!(
        world.query(&format!("SELECT {id} FROM users ORDER BY {id}")),
        [[Some("1".to_owned())], [Some("2".to_owned())]]
    );
    world.end().await;
}

async fn a_second_handle_sees_the_same_status(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
    let world = World::new(bed, json!({}));
    let empty = world.status().await;
    assert_eq!((empty.last_sync_time, empty.table_map.len()), (None, 0));
    assert!(world.is_untouched(), "a status makes nothing");
    world.run().await;
    let other = world.second();
    assert_eq!(other.status().await.unwrap(), world.status().await);
    assert!(world.status().await.last_sync_time.is_some());
    other.stop().await;
    world.end().await;
}

async fn a_table_dropped_from_the_target_is_loaded_anew(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..50).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    rusqlite::Connection::open(world.path()).unwrap().execute_batch("DROP TABLE users").unwrap();
    assert_eq!(world.run().await.rows_inserted, 50);
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn a_target_that_was_emptied_is_loaded_anew(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1)), usual(2, 2, "y", at(2))]).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    let tables = world
        .query("SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 4) NOT IN ('_cf_', 'sqli')");
    let drops: Vec<_> = tables.iter().map(|name| format!("DROP TABLE \"{}\"", name[0].as_deref().unwrap())).collect();
    // By the same handle, which has it open.
    world.damage(&drops.join(";"));
    assert_eq!(world.run().await.rows_inserted, 2);
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn a_list_of_track_columns(bed: Box<dyn Bed>) {
    let mut shape = Shape::usual("users");
    shape.columns.push(("changed_at", Holds::Instant));
    bed.create(&shape).await;
    let with = |id: i64, updated: Datum, changed: Datum| {
        let mut row = usual(id, id, "x", updated);
        row.insert("changed_at", changed);
        row
    };
    bed.insert(&shape, &[with(1, at(1), Datum::Null), with(2, Datum::Null, at(2)), with(3, Datum::Null, Datum::Null)])
        .await;
    let world = World::new(bed, json!({ "track_column": ["changed_at", "updated_at"] }));
    world.run().await;
    world
        .bed
        .insert(&shape, &[with(4, at(4), Datum::Null), with(5, at(0), at(5)), with(6, Datum::Null, Datum::Null)])
        .await;
    world.run().await;
    world.assert_equal(&shape).await;
    let status = world.status().await.table_map["users"].clone();
    assert_eq!((status.last_value, status.null_tracked), (Some(world.bed.instant(at_micros(5))), 2));
    world.end().await;
}

async fn an_integer_track_column(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..100).map(|i| usual(i, i * 10, "x", at(0))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({ "track_column": "n", "lookback_values": 100, "batch_size": 10 }));
    world.run().await;
    world.bed.insert(&shape, &[usual(200, 991, "ahead", at(0)), usual(201, 905, "in the lookback", at(0))]).await;
    world.run().await;
    world.assert_equal(&shape).await;
    assert_eq!(world.status().await.table_map["users"].last_value.as_deref(), Some("991"));
    world.end().await;
}

async fn a_dry_run_writes_nothing(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..100).map(|i| usual(i, i, "x", at(0))).collect::<Vec<_>>()).await;
    let world = World::new(bed, json!({}));
    let plan = world.sync.plan(None).await.unwrap();
    // They are on one machine.
    assert!(plan.clock_skew_ms.is_some_and(|skew| skew.abs() < 1_000), "{plan:?}");
    assert_eq!((plan.configured_by.as_str(), plan.variables.len()), ("options.source", 0));
    let users = &plan.tables["users"];
    assert_eq!(
        (users.mode, users.phase, users.primary_key.join(",").as_str()),
        (Mode::Incremental, Phase::Snapshot, world.bed.id())
    );
    assert_eq!(users.track_columns, ["updated_at"]);
    assert!(users.ddl[0].starts_with("CREATE TABLE \"users\""), "{users:?}");
    assert!(world.is_untouched(), "a dry run makes nothing");
    world.run().await;
    assert!(world.sync.plan(None).await.unwrap().tables["users"].ddl.is_empty());
    world.end().await;
}

async fn a_dry_run_plans_what_it_can(bed: Box<dyn Bed>) {
    let instants = vec![("id", Holds::Int), ("created_at", Holds::Instant)];
    let old = Shape { name: "old", columns: instants, key: vec!["id"] };
    let (bad, last) = (Shape::usual("bad"), Shape::usual("zzz"));
    for shape in [&bad, &last] {
        bed.create(shape).await;
        bed.insert(shape, &[usual(1, 1, "x", at(1))]).await;
    }
    bed.create(&old).await;
    bed.insert(&old, &[row([("id", 1.into()), ("created_at", at(1))])]).await;
    let bad = json!({ "name": "bad", "primary_key": ["nowhere"] });
    let world = World::new(bed, json!({ "tables": [bad, "gone", "none*", "old", "zzz"] }));
    let failure = world.sync.plan(None).await.unwrap_err();
    let failed: Vec<_> = failure.errors.iter().map(|fault| (fault.code, fault.table.as_deref())).collect();
    assert_eq!(failed, [("SCHEMA", Some("bad")), ("TABLE_NOT_FOUND", Some("gone"))]);
    assert_eq!((failure.first.code, failure.stats), ("SCHEMA", None));
    let plan = *failure.plan.unwrap();
    assert_eq!(plan.tables.keys().collect::<Vec<_>>(), ["old", "zzz"]);
    assert_eq!(plan.tables["zzz"].hints, [""; 0]);
    let [hint] = plan.tables["old"].hints.as_slice() else { panic!("{plan:?}") };
    assert!(hint.starts_with("Table old has only created_at to track"), "{hint}");
    assert_eq!(plan.tables["old"].missing_index, None);
    assert_eq!(plan.warnings, ["No further table matches 'none*'"]);
    assert!(plan.clock_skew_ms.is_some());
    assert!(world.is_untouched(), "a dry run makes nothing");
    // The log says the same.
    let log = world.log(Level::Warn);
    let told = [&plan.warnings[0], hint].map(|line| format!("Data Sync Plugin: {line}"));
    assert_eq!(log, told);
    // A table that is named and not there doesn't hide the others either.
    let named = ["nowhere", "zzz"].map(str::to_owned).to_vec();
    let failure = world.sync.plan(Some(named)).await.unwrap_err();
    assert_eq!((failure.first.code, failure.first.table.as_deref()), ("TABLE_NOT_FOUND", Some("nowhere")));
    assert_eq!(failure.plan.unwrap().tables.keys().collect::<Vec<_>>(), ["zzz"]);
    world.end().await;
}

async fn what_its_user_made_in_the_target_is_left_alone(bed: Box<dyn Bed>) {
    let shapes = ["empty", "seen", "users"].map(Shape::usual);
    for shape in &shapes {
        bed.create(shape).await;
        bed.insert(shape, &[usual(1, 1, "x", at(1)), usual(2, 2, "y", at(2))]).await;
    }
    let mut world = World::new(bed, json!({}));
    world.damage(
        "CREATE TABLE users (mine TEXT); INSERT INTO users VALUES ('kept'); CREATE VIEW seen AS SELECT mine FROM users;
         CREATE TABLE empty (mine TEXT)",
    );
    let kept = |world: &World| world.query("SELECT mine FROM seen") == [[some("kept")]];
    let in_the_way = |failure: &Failure, what: &str| {
        let failed: Vec<_> = failure.errors.iter().map(|fault| (fault.code, fault.table.as_deref())).collect();
        assert_eq!(failed, [("SCHEMA", Some("seen")), ("SCHEMA", Some("users"))], "{what}: {failure:?}");
        for (fault, kind) in failure.errors.iter().zip(["view", "table"]) {
            let said =
                format!("the target has a {kind} of that name that this plugin did not make; name another with as");
            assert!(fault.message.contains(&said), "{what}: {failure:?}");
        }
    };
    let failure = world.sync.plan(None).await.unwrap_err();
    in_the_way(&failure, "a dry run");
    assert_eq!(failure.plan.unwrap().tables.keys().collect::<Vec<_>>(), ["empty"]);
    assert!(kept(&world) && world.query("SELECT * FROM empty").is_empty(), "a dry run changes nothing");
    in_the_way(&world.fail().await, "a run");
    assert!(kept(&world), "a run leaves alone what it didn't make");
    world.assert_equal(&shapes[0]).await;

    world.damage("DROP VIEW seen; DROP TABLE users");
    world.run().await;
    for shape in &shapes {
        world.assert_equal(shape).await;
    }
    world.damage("DROP TABLE seen");
    world.restart(json!({ "deletes": "soft" })).await;
    let plan = world.sync.plan(None).await.unwrap();
    assert!(plan.tables["seen"].ddl[0].starts_with("CREATE TABLE"), "it is loaded anew: {plan:?}");
    assert_eq!(plan.tables["users"].ddl, ["ALTER TABLE \"users\" ADD COLUMN \"_deleted_at\" TEXT"]);
    world.run().await;
    assert!(world.sync.plan(None).await.unwrap().tables.values().all(|table| table.ddl.is_empty()));
    world.end().await;
}

async fn a_filter_and_chosen_columns(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..100).map(|i| usual(i, i % 10, "x", at(i))).collect::<Vec<_>>()).await;
    let columns = [bed.id(), "n", "updated_at"];
    let table = json!({ "name": "users", "as": "people", "columns": columns, "where": bed.filter("n", "=", 3) });
    let world = World::new(bed, json!({ "tables": [table] }));
    assert_eq!(world.run().await.rows_inserted, 10);
    assert_eq!(world.query("SELECT name FROM pragma_table_info('people')").len(), 3);
    world.bed.insert(&shape, &[usual(100, 3, "x", at(100)), usual(101, 4, "x", at(101))]).await;
    assert_eq!(world.run().await.rows_inserted, 1);
    world.end().await;
}

async fn a_changed_filter_with_deletes(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..100).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let filtered = |condition: String| json!({ "tables": [{ "name": "users", "where": condition }] });
    let (below, above) = (bed.filter("n", "<", 50), bed.filter("n", ">=", 40));
    let mut world = World::new(bed, json!({ "deletes": "hard", "delete_limit": 1 }));
    world.restart(filtered(below)).await;
    assert_eq!(world.run().await.rows_inserted, 50);
    world.restart(filtered(above)).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_deleted), (50, 40));
    assert_eq!(world.query("SELECT min(n) || '-' || max(n) FROM users"), [[Some("40-99".to_owned())]]);
    world.end().await;
}

async fn a_track_column_that_is_left_out(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(0))]).await;
    let mut world = World::new(bed, json!({ "tables": [{ "name": "users", "exclude_columns": ["updated_at"] }] }));
    world.run().await;
    assert_eq!(world.status().await.table_map["users"].mode, Mode::Full);
    // By name it is the user's own contradiction.
    let table = json!({ "name": "users", "exclude_columns": ["updated_at"], "track_column": "updated_at" });
    world.restart(json!({ "tables": [table] })).await;
    assert_eq!(world.fail().await.first.code, "SCHEMA");
    world.end().await;
}

async fn a_rebuild_keeps_rows_that_left(bed: Box<dyn Bed>) {
    let secret = "a name that nobody is to see";
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..20).map(|i| usual(i, i, secret, at(i))).collect::<Vec<_>>()).await;
    let options = |deletes: &str, mask: serde_json::Value| json!({ "deletes": deletes, "tables": [{ "name": "users", "mask": mask }] });
    let mut world = World::new(bed, options("none", json!({})));
    world.run().await;
    let id = world.bed.id();
    for gone in 0..12 {
        world.bed.delete(&shape, &row([("id", gone.into())])).await;
    }
    // More than delete_limit allows to delete; but nothing is deleted.
    world.restart(options("none", json!({ "name": "redact" }))).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_updated, stats.rows_deleted), (8, 0));
    assert_eq!(world.query("SELECT count(*), count(name), count(n) FROM users"), [["20", "8", "20"].map(some)]);
    assert_eq!(world.query(&format!("SELECT count(*) FROM users WHERE name = '{secret}'")), [["0"].map(some)]);
    assert_eq!(world.status().await.table_map["users"].record_count, 20);

    // They are marked now, which is as good as deleted.
    world.restart(options("soft", json!({ "name": "hash" }))).await;
    assert_eq!(world.fail().await.first.code, "DELETE_LIMIT");
    world.restart(json!({ "delete_limit": 1 })).await;
    world.run().await;
    assert_eq!(world.query("SELECT count(*), count(_deleted_at) FROM users"), [["20", "12"].map(some)]);
    // What is marked already is not deleted again.
    world.restart(json!({ "delete_limit": 0.5, "tables": [{ "name": "users", "mask": { "name": "null" } }] })).await;
    assert_eq!(world.run().await.rows_deleted, 0);
    assert_eq!(
        world.query("SELECT count(*), count(_deleted_at), count(name) FROM users"),
        [["20", "12", "0"].map(some)]
    );

    let gone = format!("SELECT count(*) FROM users WHERE {id} < 12");
    world.restart(options("hard", json!({}))).await;
    world.run().await;
    assert_eq!(world.query(&gone), [["0"].map(some)]);
    world.assert_equal(&shape).await;
    world.end().await;
}

/// What an error tells to do is all that it takes.
async fn a_reset_leads_out_of_every_refusal(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1)), usual(2, 2, "y", at(2))]).await;
    let mut world = World::new(bed, json!({ "tables": ["nowhere"] }));
    // A run against a source that has none of the tables.
    assert_eq!(world.fail().await.first.code, "TABLE_NOT_FOUND");
    world.damage("UPDATE tmp_data_sync_meta SET value = 'another' WHERE key = 'fingerprint'");
    world.restart(json!({ "tables": ["users"] })).await;
    assert_eq!(world.fail().await.first.code, "SOURCE_CHANGED");
    world.sync.reset(None).await.unwrap();
    world.run().await;
    world.assert_equal(&shape).await;

    for drift in ["freeze", "fail"] {
        let sqlite = if drift == "freeze" { "TEXT" } else { "INTEGER" };
        let table = json!({ "name": "users", "types": { "n": sqlite } });
        world.restart(json!({ "schema_drift": drift, "tables": [table] })).await;
        let failure = world.fail().await;
        assert_eq!(failure.first.code, "SCHEMA");
        assert!(failure.first.message.contains("or reset the table"), "{failure:?}");
        world.sync.reset(Some("users".to_owned())).await.unwrap();
        world.run().await;
        let kept = format!("SELECT count(*) FROM users WHERE typeof(n) = '{}'", sqlite.to_lowercase());
        assert_eq!(world.query(&kept), [["2"].map(some)]);
    }

    // The database moved, and its tables have another full name there.
    world.damage(
        "DELETE FROM tmp_data_sync_meta WHERE key = 'fingerprint';
         UPDATE tmp_data_sync_state SET source_table = 'elsewhere.users', source_fingerprint = 'another', phase = 'reset'",
    );
    world.bed.delete(&shape, &row([("id", 1.into())])).await;
    assert_eq!(world.sync.plan(None).await.unwrap().tables.keys().collect::<Vec<_>>(), ["users"]);
    world.run().await;
    let id = world.bed.id();
    assert_eq!(world.query(&format!("SELECT {id} FROM users")), [["2"].map(some)], "and none of the other source's");
    assert_eq!(world.status().await.table_map.keys().collect::<Vec<_>>(), ["users"]);
    assert_eq!(world.query("SELECT count(*) FROM tmp_data_sync_state"), [["1"].map(some)]);
    assert_eq!(world.run().await.rows_inserted, 0);
    world.end().await;
}

async fn a_new_column_under_freeze_is_not_tracked(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1)), usual(2, 2, "y", at(2))]).await;
    // To the state, the column that would be tracked came later.
    let columns = json!([{ "name": "users", "exclude_columns": ["updated_at"] }]);
    let mut world = World::new(bed, json!({ "tables": columns, "schema_drift": "freeze" }));
    world.run().await;
    world.restart(json!({ "tables": ["users"] })).await;
    for i in 3..6 {
        world.bed.insert(&shape, &[usual(i, i, "new", at(i))]).await;
        assert_eq!(world.run().await.rows_inserted, 1);
    }
    assert_eq!(
        world.query("SELECT count(*) FROM pragma_table_info('users') WHERE name = 'updated_at'"),
        [["0"].map(some)]
    );
    world.restart(json!({ "tables": [{ "name": "users", "track_column": "updated_at" }] })).await;
    let failure = world.fail().await;
    assert_eq!(failure.first.code, "SCHEMA");
    assert!(failure.first.message.contains("schema_drift 'freeze' leaves it out"), "{failure:?}");
    world.sync.reset(Some("users".to_owned())).await.unwrap();
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

async fn masked_columns(bed: Box<dyn Bed>) {
    let secret = "a name that nobody is to see";
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let mut rows: Vec<_> = (0..50).map(|i| usual(i, 7_310_000 + i, secret, at(i))).collect();
    rows.push(row([("id", 50.into()), ("n", Datum::Null), ("name", Datum::Null), ("updated_at", at(50))]));
    bed.insert(&shape, &rows).await;
    let masked = |mask: serde_json::Value| json!({ "tables": [{ "name": "users", "mask": mask }] });
    let mut world = World::new(bed, masked(json!({ "name": "hash", "n": "redact" })));
    assert_eq!(world.run().await.rows_inserted, 51);
    // printf %s 'a name that nobody is to see' | sha256sum
    let digest = "d7faab0b2238037388ba74de46d5835931e604ec16d9498059f3f73443b289bd";
    let cells = world.query("SELECT DISTINCT name, n FROM users ORDER BY 1");
    assert_eq!(cells, [[None, None], [some(digest), some("[redacted]")]]);
    assert_unseen(&world, &[secret, "7310007"]);
    let report = world.sync.verify(None, false, CancellationToken::new()).await.unwrap();
    let found = &report.tables["users"];
    assert_eq!((found.rows, found.missing, found.extra, found.different), (51, 0, 0, 0));
    assert_eq!(world.run().await.rows_updated, 0);

    // A new handle takes a masked column for what it is, also where the source only says of its rows what columns it has.
    let mut first = masked(json!({ "name": "hash", "n": "redact" }));
    first["schema_drift"] = json!("fail");
    world.restart(first).await;
    assert_eq!(world.run().await.rows_updated, 0);
    world.bed.insert(&shape, &[usual(51, 7_310_051, secret, at(51))]).await;
    assert_eq!(world.run().await.rows_inserted, 1);
    assert_eq!(world.query("SELECT count(*) FROM users WHERE name IS NULL"), [["1"].map(some)]);
    world.bed.delete(&shape, &row([("id", 51.into())])).await;
    world.damage(&format!("DELETE FROM users WHERE {} = 51", world.bed.id()));
    world.restart(json!({ "schema_drift": "evolve" })).await;

    // Another mask is another form of all rows.
    world.restart(masked(json!({ "name": "null" }))).await;
    world.run().await;
    assert_eq!(world.query("SELECT count(name), min(n), max(n) FROM users"), [["0", "7310000", "7310049"].map(some)]);
    assert!(world.events().iter().any(|event| matches!(event, Event::SchemaChange { .. })), "it is told");
    world.restart(masked(json!({}))).await;
    world.run().await;
    world.assert_equal(&shape).await;

    for (mask, said) in [
        (json!({ "id": "hash", "_id": "hash" }), "can't be masked"),
        (json!({ "updated_at": "null" }), "The track column 'updated_at' of table 'users' can't be masked"),
        (json!({ "nowhere": "null" }), "has no column 'nowhere'"),
    ] {
        if world.bed.grows() && mask.get("nowhere").is_some() {
            // It may come yet; but whole rows would show what is masked.
            let table = json!({ "name": "users", "columns": [world.bed.id(), "_doc"], "mask": mask });
            world.restart(json!({ "tables": [table] })).await;
            assert!(world.fail().await.first.message.contains("would show what mask hides"));
            continue;
        }
        let key = world.bed.id();
        let mut mask = mask;
        if let Some(masks) = mask.as_object_mut().filter(|masks| masks.contains_key("id")) {
            masks.retain(|name, _| name == key);
        }
        world.restart(masked(mask)).await;
        let failure = world.fail().await;
        assert_eq!(failure.first.code, "SCHEMA", "{failure:?}");
        assert!(failure.first.message.contains(said), "{said}: {failure:?}");
    }
    world.end().await;
}

async fn selected_columns(bed: Box<dyn Bed>) {
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let mut rows: Vec<_> = (0..50).map(|i| usual(i, i, "ada", at(i))).collect();
    rows.push(row([("id", 50.into()), ("n", Datum::Null), ("name", Datum::Null), ("updated_at", Datum::Null)]));
    bed.insert(&shape, &rows).await;
    let selected =
        |select: serde_json::Value| json!({ "tables": [{ "name": "users", "select": select }], "deletes": "hard" });
    let select = json!({ "Shout \"it\"": "upper(name) -- as it is called", "more": "n + 1" });
    let mut world = World::new(bed, selected(select.clone()));
    if world.bed.grows() {
        let failure = world.fail().await;
        assert_eq!(failure.first.code, "CONFIG", "{failure:?}");
        assert!(failure.first.message.contains("no expressions of SQL"), "{failure:?}");
        return world.end().await;
    }
    let plan = world.sync.plan(None).await.unwrap();
    assert!(plan.tables["users"].ddl[0].contains("\"more\""), "{:?}", plan.tables);
    let check = |world: &World, name: &str| {
        let wrong =
            format!("SELECT count(*) FROM users WHERE \"Shout \"\"it\"\"\" IS NOT upper({name}) OR more IS NOT n + 1");
        assert_eq!(world.query(&wrong), [[some("0")]]);
        assert_eq!(world.query("SELECT count(more), typeof(min(more)) FROM users"), [["50", "integer"].map(some)]);
    };
    assert_eq!(world.run().await.rows_inserted, 51);
    world.assert_equal(&shape).await;
    check(&world, "name");
    // Changed rows, new ones, and those that are found by their keys.
    world.bed.update(&shape, &row([("id", 3.into())]), &row([("name", "eve".into()), ("updated_at", at(99))])).await;
    world.bed.delete(&shape, &row([("id", 4.into())])).await;
    world.bed.insert(&shape, &[usual(51, 51, "new", Datum::Null)]).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (1, 1, 1));
    world.assert_equal(&shape).await;
    check(&world, "name");
    world.damage("UPDATE users SET more = -1 WHERE id = 7");
    let report = world.sync.verify(None, true, CancellationToken::new()).await.unwrap();
    assert_eq!((report.tables["users"].different, report.tables["users"].repaired), (1, 1));
    check(&world, "name");

    // Another expression is another value in every row; and so is another mask.
    world.restart(selected(json!({ "Shout \"it\"": "upper(name)", "more": "n + 2" }))).await;
    world.run().await;
    assert_eq!(world.query("SELECT count(*) FROM users WHERE more IS NOT n + 2"), [[some("0")]]);
    let mut masked = selected(select);
    masked["tables"][0]["mask"] = json!({ "more": "redact" });
    world.restart(masked).await;
    world.run().await;
    assert_eq!(world.query("SELECT DISTINCT more FROM users WHERE n IS NOT NULL"), [[some("[redacted]")]]);
    let told = format!("{:?}", world.events());
    assert!(
        told.contains("SchemaChange") && !told.contains("upper("),
        "a change is told, an expression may hold a secret"
    );
    // A column that isn't computed any more stays as it is.
    world.restart(selected(json!({}))).await;
    world.run().await;
    world.assert_equal(&shape).await;

    for (select, code, said) in [
        (json!({ "NAME": "n" }), "SCHEMA", "has a column 'NAME' already"),
        (json!({ "_deleted_at": "n" }), "SCHEMA", "has a column '_deleted_at' already"),
        (json!({ "a": "n", "b": "nowhere + 1" }), "SOURCE_READ", "Column 'b' of table 'users' can't be computed"),
        // These would change which rows there are, or which cell is whose.
        (json!({ "a": "count(*)" }), "SOURCE_READ", "Column 'a' of table 'users' can't be computed"),
        (json!({ "a": "row_number() OVER ()" }), "SOURCE_READ", "Column 'a' of table 'users' can't be computed"),
        (json!({ "a": "n), (n" }), "SOURCE_READ", "Column 'a' of table 'users' can't be computed"),
    ] {
        world.restart(selected(select)).await;
        let failure = world.fail().await;
        assert_eq!((failure.first.code, failure.first.retryable), (code, false), "{failure:?}");
        assert!(failure.first.message.contains(said), "{said}: {failure:?}");
    }
    world.end().await;
}

/// Nothing that is kept or told holds any of `secrets`.
fn assert_unseen(world: &World, secrets: &[&str]) {
    let path = world.path();
    for suffix in ["", "-wal", "-shm"] {
        let kept = std::fs::read(format!("{}{suffix}", path.display())).unwrap_or_default();
        for secret in secrets {
            let there = kept.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!there, "{secret} is in the target{suffix}");
        }
    }
    let told = format!("{:?}", world.events());
    assert!(secrets.iter().all(|secret| !told.contains(secret)), "{told}");
}
