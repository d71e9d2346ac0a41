//! A source that goes back to an earlier moment: a failover to a server that was behind, a restored backup, a table that
//! was emptied and begins to count anew.

use serde_json::json;

use crate::event::Level;

use super::bed::{Bed, Shape};
use super::postgres_bed;
use super::world::{World, at, row, usual};

async fn values_that_are_given_out_twice(bed: Box<dyn Bed>) {
    let shape = Shape::usual("t");
    bed.create(&shape).await;
    let rows = |ids: std::ops::Range<i64>, name: &str| -> Vec<_> { ids.map(|i| usual(i, i, name, at(0))).collect() };
    bed.insert(&shape, &rows(1..101, "before")).await;
    let world = World::new(bed, json!({ "track_column": "n", "lookback_values": 5 }));
    world.run().await;
    world.run().await;
    let is_told = || world.log(Level::Warn).iter().any(|line| line.contains("The newest row of table t is gone"));
    assert!(!is_told(), "nothing is gone");
    for id in 51..101 {
        world.bed.delete(&shape, &row([("id", id.into())])).await;
    }
    world.run().await;
    assert!(is_told(), "{:?}", world.log(Level::Info));
    // The values behind the old position, for other rows.
    world.bed.insert(&shape, &rows(51..61, "after")).await;
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated), (0, 10), "{:?}", world.status().await);
    // Rows that are gone stay, as nothing was said of deletes.
    assert_eq!(world.query("SELECT count(*) FROM t WHERE name = 'after'"), [[Some("10".to_owned())]]);
    world.bed.insert(&shape, &rows(61..102, "after")).await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

macro_rules! behind {
    ($module:ident, $beds:path) => {
        mod $module {
            contract!($beds: values_that_are_given_out_twice);
        }
    };
}

behind!(postgres, crate::tests::postgres_bed::beds);
behind!(mysql, crate::tests::mysql_bed::beds);
behind!(mongodb, crate::tests::mongodb_bed::beds);
behind!(sqlite, crate::tests::sqlite_bed::file_beds);
behind!(turso, crate::tests::sqlite_bed::turso_beds);
behind!(d1, crate::tests::sqlite_bed::d1_beds);
behind!(starbasedb, crate::tests::sqlite_bed::starbasedb_beds);

/// No server is at hand that lost transactions; the position says that there were some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_the_source_never_heard_of() {
    for bed in postgres_bed::beds().await {
        let shape = Shape::usual("t");
        bed.create(&shape).await;
        bed.insert(&shape, &(0..50).map(|i| usual(i, i, "x", at(i * 1_000))).collect::<Vec<_>>()).await;
        let mut world = World::new(bed, json!({}));
        world.run().await;
        // A change that was undone: the older version, far behind the lookback, is the right one again.
        world.damage(
            "UPDATE t SET name = 'lost with the server' WHERE id = 3;
             UPDATE tmp_data_sync_state SET snapshot = '4000000000:4000000000:'",
        );
        let stats = world.run().await;
        assert_eq!((stats.rows_updated, stats.rows_read), (1, 50));
        assert!(world.log(Level::Warn).iter().any(|line| line.contains("is behind what table t was synced to")));
        world.assert_equal(&shape).await;
        assert_eq!(world.run().await.rows_read, 0);

        // What a restored source lacks is not deleted beyond the limit, however often the run comes again.
        world.restart(json!({ "deletes": "hard" })).await;
        world.damage("UPDATE tmp_data_sync_state SET snapshot = '4000000000:4000000000:'");
        world.bed.execute("DELETE FROM t WHERE id < 40").await;
        for _ in 0..2 {
            assert_eq!(world.fail().await.first.code, "DELETE_LIMIT");
            assert_eq!(world.query("SELECT count(*) FROM t"), [[Some("50".to_owned())]]);
        }
        world.restart(json!({ "delete_limit": 1 })).await;
        world.run().await;
        world.assert_equal(&shape).await;

        // Even where rows are only ever added, the source's own take the place of those that were lost.
        world.restart(json!({ "deletes": "none", "tables": [{ "name": "t", "mode": "append" }] })).await;
        world.run().await;
        world.damage(
            "UPDATE t SET name = 'lost with the server' WHERE id = 45;
             UPDATE tmp_data_sync_state SET snapshot = '4000000000:4000000000:'",
        );
        assert_eq!(world.run().await.rows_updated, 1);
        world.assert_equal(&shape).await;
        world.end().await;
    }
}
