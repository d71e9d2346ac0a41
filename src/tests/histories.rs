//! Random histories: rows, ties, NULLs, updates, deletes, dates in the future, transactions that commit late, runs that
//! are cut, handles that are made anew, and a target that is damaged and repaired; after every complete run the target
//! equals the source, cell by cell.
//!
//! A failure prints its seed; `DATA_SYNC_TEST_SEED` replays it, `DATA_SYNC_TEST_HISTORIES` sets how many are tried.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::engine::TableDifferences;
use crate::event::Event;

use super::bed::{Bed, Datum, Open, Row, Shape};
use super::world::{World, at, row, usual};

/// Histories for each server, unless the environment says otherwise.
const HISTORIES: u64 = 8;

/// Things that happen in one history.
const STEPS: usize = 25;

/// What a late transaction may be late by, in seconds of the history's own clock; the lookback is longer.
const LATE: i64 = 200;

struct History {
    random: Rng,
    world: World,
    shape: Shape,
    /// Ids that are in the source and committed.
    ids: BTreeSet<i64>,
    clock: i64,
    next_id: i64,
    /// Transactions that are still open: when they began, and which ids they will bring.
    open: Vec<(i64, Vec<i64>, Box<dyn Open>)>,
}

impl History {
    /// An id that is free: mostly ascending, sometimes before all others.
    fn fresh_id(&mut self) -> i64 {
        self.next_id += self.random.i64(1..5);
        if self.random.u8(..10) == 0 { -self.next_id } else { self.next_id }
    }

    /// A track value that a row written now may have.
    fn stamp(&mut self) -> Datum {
        match self.random.u8(..20) {
            0..=2 => Datum::Null,
            3 => Datum::Instant(253_402_214_400_000_000),
            // Behind the clock, as of a writer whose own clock is slow.
            4..=7 => at(self.clock - self.random.i64(0..60)),
            _ => at(self.clock),
        }
    }

    fn rows(&mut self, most: usize) -> Vec<Row> {
        let count = self.random.usize(1..=most);
        (0..count)
            .map(|_| {
                let (id, stamp) = (self.fresh_id(), self.stamp());
                let name = ["", "ä ' \" \\", "plain", "\u{1f9c0}"][self.random.usize(..4)];
                usual(id, self.random.i64(..), name, stamp)
            })
            .collect()
    }

    fn some_id(&mut self) -> Option<i64> {
        let nth = self.random.usize(..self.ids.len().max(1));
        self.ids.iter().nth(nth).copied()
    }

    async fn step(&mut self) {
        self.clock += self.random.i64(0..20);
        let ids = |rows: &[Row]| rows.iter().map(id_of).collect::<Vec<_>>();
        match self.random.u8(..17) {
            0..=2 => {
                let rows = self.rows(120);
                self.world.bed.insert(&self.shape, &rows).await;
                self.ids.extend(ids(&rows));
            }
            3..=5 => {
                for _ in 0..self.random.usize(1..6) {
                    let Some(id) = self.some_id() else { continue };
                    let mut stamp = self.stamp();
                    // A value behind the lookback would be a change that no track value shows, and to many a source so
                    // would be one from none to none.
                    if stamp != Datum::Null || !self.world.bed.sees_changes() {
                        stamp = at(self.clock);
                    }
                    let change = row([("n", self.random.i64(..).into()), ("updated_at", stamp)]);
                    self.world.bed.update(&self.shape, &row([("id", id.into())]), &change).await;
                }
            }
            6 => {
                let Some(id) = self.some_id() else { return };
                self.world.bed.delete(&self.shape, &row([("id", id.into())])).await;
                self.ids.remove(&id);
            }
            7 => {
                let (Some(id), new) = (self.some_id(), self.fresh_id()) else { return };
                let change = row([("id", new.into()), ("updated_at", at(self.clock))]);
                self.world.bed.update(&self.shape, &row([("id", id.into())]), &change).await;
                self.ids.remove(&id);
                self.ids.insert(new);
            }
            8 if self.open.len() < 2 => {
                let rows = self.rows(10);
                let open = self.world.bed.insert_late(&self.shape, &rows).await;
                self.open.push((self.clock, ids(&rows), open));
            }
            9 => {
                let patience = self.random.u64(0..40);
                let cut = self.world.run_until(move |event| {
                    // The observer is called from the run's own task: waiting here makes the cut come at another point.
                    std::thread::sleep(Duration::from_millis(patience / 10));
                    matches!(event, Event::Progress { .. } | Event::TableStart { .. })
                });
                let _ = cut.await;
            }
            10 => self.world.restart(json!({ "batch_size": self.random.usize(1..60) })).await,
            11 => {
                // Every change of a history is one that a run notices.
                let Some(found) = self.verify(false).await else { return };
                assert_eq!(found.pending, found.missing + found.different + found.extra, "{found:?}");
            }
            12 => {
                if self.verify(false).await.is_none() {
                    return;
                }
                let (gone, forged) = (self.random.u8(..7), self.random.u8(..7));
                self.world.damage(&format!(
                    "DELETE FROM things WHERE n % 7 = {gone}; UPDATE things SET name = 'forged' WHERE n % 7 = {forged}"
                ));
                self.verify(true).await;
                self.world.assert_equal(&self.shape).await;
            }
            _ => self.run().await,
        }
        let due = |(began, _, _): &(i64, Vec<i64>, Box<dyn Open>)| self.clock - began > LATE;
        if let Some(index) = self.open.iter().position(due).or((self.random.u8(..4) == 0).then_some(0))
            && index < self.open.len()
        {
            let (_, ids, open) = self.open.remove(index);
            open.commit().await;
            self.ids.extend(ids);
        }
    }

    /// Runs to the end; then there is no difference, for our own comparison either.
    async fn run(&self) {
        self.world.run().await;
        self.world.assert_equal(&self.shape).await;
        let found = self.verify(false).await.expect("a table that is synced can be compared");
        assert_eq!((found.missing, found.different, found.extra), (0, 0, 0), "{found:?}");
    }

    /// `None` when there is nothing to compare yet.
    async fn verify(&self, repair: bool) -> Option<TableDifferences> {
        match self.world.sync.verify(None, repair, CancellationToken::new()).await {
            Ok(mut found) => found.tables.remove("things"),
            Err(failure) if matches!(failure.first.code, "TABLE_NOT_FOUND" | "SCHEMA") => None,
            Err(failure) => panic!("{failure:?}"),
        }
    }

    async fn end(mut self) {
        for (_, _, open) in self.open.drain(..) {
            open.commit().await;
        }
        self.run().await;
        let again = self.world.run().await;
        assert_eq!((again.rows_inserted, again.rows_updated, again.rows_deleted), (0, 0, 0));
        self.world.end().await;
    }
}

fn id_of(row: &Row) -> i64 {
    match row["id"] {
        Datum::Int(id) => id,
        _ => unreachable!("ids are integers"),
    }
}

/// The ways of syncing that a history may take.
fn options(random: &mut Rng) -> Value {
    let mut options = json!({ "deletes": "hard", "delete_limit": 1, "batch_size": random.usize(1..60) });
    match random.u8(..6) {
        0 => options["tables"] = json!([{ "name": "things", "mode": "full" }]),
        1 => options["track_column"] = json!(["updated_at", "other_at"]),
        _ => {}
    }
    options
}

async fn run_history(bed: Box<dyn Bed>, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut shape = Shape::usual("things");
    shape.columns.push(("other_at", super::bed::Holds::Instant));
    bed.create(&shape).await;
    let options = options(&mut random);
    let world = World::new(bed, options);
    let mut history = History { random, world, shape, ids: BTreeSet::new(), clock: 0, next_id: 0, open: Vec::new() };
    let first = history.rows(300);
    history.ids.extend(first.iter().map(id_of));
    history.world.bed.insert(&history.shape, &first).await;
    for _ in 0..STEPS {
        history.step().await;
    }
    history.end().await;
}

async fn histories<Beds: Future<Output = Vec<Box<dyn Bed>>>>(beds: impl Fn() -> Beds) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds: Vec<u64> = match number("DATA_SYNC_TEST_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("DATA_SYNC_TEST_HISTORIES").unwrap_or(HISTORIES)).map(|_| fastrand::u64(..)).collect(),
    };
    for seed in seeds {
        println!("DATA_SYNC_TEST_SEED={seed}");
        for bed in beds().await {
            run_history(bed, seed).await;
        }
    }
}

macro_rules! histories {
    ($module:ident, $beds:path) => {
        mod $module {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn histories() {
                super::histories($beds).await;
            }
        }
    };
}

histories!(postgres, crate::tests::postgres_bed::beds);
histories!(mysql, crate::tests::mysql_bed::beds);
histories!(mongodb, crate::tests::mongodb_bed::beds);
histories!(sqlite, crate::tests::sqlite_bed::file_beds);
histories!(turso, crate::tests::sqlite_bed::turso_beds);
histories!(d1, crate::tests::sqlite_bed::d1_beds);
histories!(starbasedb, crate::tests::sqlite_bed::starbasedb_beds);
