//! Random histories: rows, ties, NULLs, updates, deletes, changed keys, dates in the future, a clock that jumps and steps
//! back, transactions that commit late, columns that come, go and change their type, runs that are given up, connections
//! that break at any byte, processes that are killed, handles that are made anew, and a target that is damaged and
//! repaired. A model in memory goes along: after every complete run the source and the target equal it, cell by cell.
//!
//! A failure prints its seed; `DATA_SYNC_TEST_SEED` replays it, `DATA_SYNC_TEST_HISTORIES` sets how many are tried.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::engine::TableDifferences;
use crate::event::Event;

use super::bed::{Bed, Datum, Holds, Open, Row, Shape};
use super::crash;
use super::proxy::{Break, Proxy};
use super::world::{World, at, row, some, usual};

/// Histories for each server, unless the environment says otherwise.
const HISTORIES: u64 = 8;

/// Things that happen in one history.
const STEPS: usize = 25;

/// What a late transaction may be late by, in seconds of the history's own clock; the lookback is longer, by more than a
/// slow clock may be behind.
const LATE: i64 = 120;

/// How far a writer's clock may be behind, and how far the clock may step back, in seconds.
const SLOW: i64 = 40;

/// Columns that come and go.
const EXTRAS: [(&str, Holds); 3] = [("extra_n", Holds::Int), ("extra_text", Holds::Text), ("extra_at", Holds::Instant)];

struct History {
    random: Rng,
    world: World,
    shape: Shape,
    /// What is in the source and committed.
    model: BTreeMap<i64, Row>,
    clock: i64,
    /// Where the clock would be, had it never stepped back.
    steady: i64,
    next_id: i64,
    /// Transactions that are still open: when they began, and which rows they will bring.
    open: Vec<(i64, Vec<Row>, Box<dyn Open>)>,
    /// Columns that are gone and that no complete run has missed yet: if one came back now, nothing would tell it from the
    /// old one.
    dropped: Vec<&'static str>,
    /// What stands before the source, where it is reached by a network.
    proxy: Option<Proxy>,
    /// Whether a column is computed at the source.
    computes: bool,
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
            4..=7 => at(self.clock - self.random.i64(0..SLOW)),
            _ => at(self.clock),
        }
    }

    fn rows(&mut self, most: usize) -> Vec<Row> {
        let count = self.random.usize(1..=most);
        (0..count)
            .map(|_| {
                let (id, stamp) = (self.fresh_id(), self.stamp());
                let name = self.text();
                let mut row = usual(id, self.random.i64(..), name, stamp);
                row.insert("other_at", Datum::Null);
                row.extend(self.extras());
                row
            })
            .collect()
    }

    fn text(&mut self) -> &'static str {
        ["", "ä ' \" \\", "plain", "\u{1f9c0}"][self.random.usize(..4)]
    }

    /// Values for the columns that came in the meantime.
    fn extras(&mut self) -> Row {
        let extras: Vec<_> = self.shape.columns.iter().filter(|(name, _)| is_extra(name)).copied().collect();
        let values = extras.into_iter().map(|(name, holds)| {
            let value = match holds {
                _ if self.random.u8(..4) == 0 => Datum::Null,
                Holds::Int => self.random.i64(..).into(),
                Holds::Text => self.text().into(),
                Holds::Instant => at(self.random.i64(0..1_000_000_000)),
            };
            (name, value)
        });
        values.collect()
    }

    fn some_id(&mut self) -> Option<i64> {
        let nth = self.random.usize(..self.model.len().max(1));
        self.model.keys().nth(nth).copied()
    }

    async fn insert(&mut self, most: usize) {
        let rows = self.rows(most);
        self.world.bed.insert(&self.shape, &rows).await;
        self.commit(rows);
    }

    fn commit(&mut self, rows: Vec<Row>) {
        self.model.extend(rows.into_iter().map(|row| (id_of(&row), row)));
    }

    async fn update(&mut self, id: i64, change: Row) {
        self.world.bed.update(&self.shape, &row([("id", id.into())]), &change).await;
        let mut row = self.model.remove(&id).expect("only rows that are there are changed");
        row.extend(change);
        self.model.insert(id_of(&row), row);
    }

    async fn step(&mut self) {
        let passes = self.random.i64(0..20);
        self.clock += passes;
        self.steady += passes;
        match self.random.u8(..22) {
            0..=2 => self.insert(120).await,
            3..=5 => {
                for _ in 0..self.random.usize(1..6) {
                    let Some(id) = self.some_id() else { continue };
                    let mut stamp = self.stamp();
                    // A value behind the lookback would be a change that no track value shows, and to many a source so
                    // would be one from none to none.
                    if stamp != Datum::Null || !self.world.bed.sees_changes() {
                        stamp = at(self.clock);
                    }
                    let mut change = row([("n", self.random.i64(..).into()), ("updated_at", stamp)]);
                    change.extend(self.extras());
                    self.update(id, change).await;
                }
            }
            6 => {
                let Some(id) = self.some_id() else { return };
                self.world.bed.delete(&self.shape, &row([("id", id.into())])).await;
                self.model.remove(&id);
            }
            7 => {
                let (Some(id), new) = (self.some_id(), self.fresh_id()) else { return };
                self.update(id, row([("id", new.into()), ("updated_at", at(self.clock))])).await;
            }
            8 if self.open.len() < 2 => {
                let rows = self.rows(10);
                let open = self.world.bed.insert_late(&self.shape, &rows).await;
                self.open.push((self.steady, rows, open));
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
                if self.computes {
                    self.world.damage(&format!("UPDATE things SET remainder = 7 WHERE n % 5 = {forged}"));
                }
                self.verify(true).await;
                self.assert_equal().await;
            }
            13 => self.step_the_clock(),
            14 | 15 if self.open.is_empty() => self.change_the_schema().await,
            16 => self.break_connections().await,
            17 => self.kill().await,
            _ => self.run().await,
        }
        let due = |(began, _, _): &(i64, Vec<Row>, Box<dyn Open>)| self.steady - began > LATE;
        if let Some(index) = self.open.iter().position(due).or((self.random.u8(..4) == 0).then_some(0))
            && index < self.open.len()
        {
            let (_, rows, open) = self.open.remove(index);
            open.commit().await;
            self.commit(rows);
        }
    }

    /// Back by a little, or on by much: further than the lookback reaches, so nobody is late by so much.
    fn step_the_clock(&mut self) {
        if self.open.is_empty() && self.random.bool() {
            let on = self.random.i64(0..100_000);
            self.clock = self.clock.max(self.steady) + on;
            self.steady = self.clock;
        } else {
            self.clock = self.clock.max(self.steady - SLOW) - self.random.i64(0..SLOW / 2);
        }
    }

    async fn change_the_schema(&mut self) {
        let (name, holds) = EXTRAS[self.random.usize(..EXTRAS.len())];
        let (bed, there) = (&self.world.bed, self.shape.columns.iter().position(|(column, _)| *column == name));
        match there {
            None if self.dropped.contains(&name) => {}
            None => {
                bed.add_column(&self.shape, name, holds).await;
                self.shape.columns.push((name, holds));
                for row in self.model.values_mut() {
                    row.insert(name, Datum::Null);
                }
            }
            Some(index) if self.shape.columns[index].1 == Holds::Int && self.random.bool() => {
                if bed.make_text(&self.shape, name).await {
                    self.shape.columns[index].1 = Holds::Text;
                    for row in self.model.values_mut() {
                        if let Datum::Int(value) = row[name] {
                            row.insert(name, Datum::Text(value.to_string()));
                        }
                    }
                }
            }
            Some(index) => {
                if bed.drop_column(&self.shape, name).await {
                    self.shape.columns.remove(index);
                    self.dropped.push(name);
                    for row in self.model.values_mut() {
                        row.remove(name);
                    }
                }
            }
        }
    }

    /// A run whose connections break at any byte of the answers: it comes to its end all the same, or says why not.
    async fn break_connections(&mut self) {
        let how = [Break::Close, Break::Reset, Break::Delay][self.random.usize(..3)];
        let (bytes, times) = (self.random.i64(0..30_000), self.random.usize(1..4));
        let Some(proxy) = &self.proxy else { return };
        proxy.cut(how, bytes, times);
        let outcome = self.world.sync.sync(None, CancellationToken::new()).await;
        proxy.cut(how, 0, 0);
        match outcome {
            Ok(_) => self.assert_equal().await,
            Err(failure) => {
                assert!(failure.first.retryable, "{failure:?}");
                assert!(matches!(failure.first.code, "CONNECT" | "SOURCE_READ"), "{failure:?}");
            }
        }
    }

    /// A run in a process that is killed at any time.
    async fn kill(&mut self) {
        let mut victim = crash::victim_of(&self.world.options()).stdin(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(self.random.u64(..200))).await;
        victim.kill().unwrap();
        victim.wait().unwrap();
    }

    /// The model as the replica must have it.
    fn expected(&self) -> Vec<Vec<Option<String>>> {
        let bed = &self.world.bed;
        let cell = |datum: &Datum| match datum {
            Datum::Null => None,
            Datum::Int(value) => Some(value.to_string()),
            Datum::Text(text) => Some(text.clone()),
            Datum::Instant(micros) => Some(bed.instant(*micros)),
        };
        let cells = |row: &Row| self.shape.columns.iter().map(|(name, _)| cell(&row[name])).collect();
        let mut rows: Vec<Vec<_>> = self.model.values().map(cells).collect();
        rows.sort();
        rows
    }

    /// The target equals the source, and what is computed its expression.
    async fn assert_equal(&self) {
        self.world.assert_equal(&self.shape).await;
        if self.computes {
            let wrong = self.world.query("SELECT count(*) FROM things WHERE remainder IS NOT n % 7");
            assert_eq!(wrong, [[some("0")]], "computed columns differ");
        }
    }

    /// Runs to the end; then there is no difference, for our own comparison either.
    async fn run(&mut self) {
        self.world.run().await;
        self.dropped.clear();
        assert!(self.world.bed.dump(&self.shape).await == self.expected(), "the source is not as the model says");
        self.assert_equal().await;
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
        for (_, rows, open) in std::mem::take(&mut self.open) {
            open.commit().await;
            self.commit(rows);
        }
        self.run().await;
        let again = self.world.run().await;
        assert_eq!((again.rows_inserted, again.rows_updated, again.rows_deleted), (0, 0, 0));
        self.world.end().await;
    }
}

fn is_extra(column: &str) -> bool {
    EXTRAS.iter().any(|(name, _)| *name == column)
}

fn id_of(row: &Row) -> i64 {
    match row["id"] {
        Datum::Int(id) => id,
        _ => unreachable!("ids are integers"),
    }
}

/// The ways of syncing that a history may take.
fn options(random: &mut Rng, bed: &dyn Bed) -> Value {
    let mut options = json!({ "deletes": "hard", "delete_limit": 1, "batch_size": random.usize(1..60) });
    let mut table = json!({ "name": "things" });
    match random.u8(..6) {
        0 => table["mode"] = "full".into(),
        1 => options["track_column"] = json!(["updated_at", "other_at"]),
        2 if bed.source()["type"] == "postgresql" => table["track_column"] = "xmin".into(),
        _ => {}
    }
    if !bed.grows() && random.bool() {
        table["select"] = json!({ "remainder": "n % 7" });
    }
    // Without a wish of its own, as one of all tables.
    if table.as_object().is_some_and(|wishes| wishes.len() > 1) {
        options["tables"] = json!([table]);
    }
    options
}

async fn run_history(bed: Box<dyn Bed>, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut shape = Shape::usual("things");
    shape.columns.push(("other_at", Holds::Instant));
    bed.create(&shape).await;
    let mut options = options(&mut random, bed.as_ref());
    let computes = options.pointer("/tables/0/select").is_some();
    let mut proxy = None;
    if bed.source()["path"].is_null() {
        let made = Proxy::start(bed.through(0).0).await;
        options["source"] = bed.through(made.port).1;
        proxy = Some(made);
    }
    let world = World::new(bed, options);
    let model = BTreeMap::new();
    let mut history = History {
        random,
        world,
        shape,
        model,
        clock: 0,
        steady: 0,
        next_id: 0,
        open: Vec::new(),
        dropped: Vec::new(),
        proxy,
        computes,
    };
    history.insert(300).await;
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
histories!(postgres_deployed, crate::tests::postgres_bed::deployed_beds);
histories!(sqlite_deployed, crate::tests::sqlite_bed::deployed_beds);
