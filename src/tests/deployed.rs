//! A deployed StarbaseDB as the target: SQLite in a Durable Object of workerd, behind a Worker that answers as StarbaseDB does.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Level};

use super::bed::{Datum, Shape};
use super::faults::rounds_of_breaks;
use super::postgres_bed;
use super::proxy::{Break, Proxy};
use super::sqlite_bed::{self, Place, Told};
use super::world::{World, at, query, row, some, usual};

/// A StarbaseDB of a test's own, and the file that its rows are in.
pub struct Deployed {
    /// The instance.
    pub place: Place,
    /// What its Durable Object keeps its rows in, to be looked at beside it.
    pub file: PathBuf,
}

impl Deployed {
    /// A new one.
    pub async fn new() -> Self {
        let place = Place::starbasedb();
        let file = place.file_below().await;
        Self { place, file }
    }

    /// The option `target` that reaches it.
    pub fn target(&self) -> Value {
        let source = self.place.source();
        json!({ "type": "starbasedb", "url": source["uri"], "token": source["token"] })
    }

    /// Takes everything out of it.
    pub async fn clear(&self) {
        self.place.clone().drop_all().await;
    }

    /// Panics when a run left anything that would be in its user's way.
    pub fn assert_left_alone(&self) {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'view' OR name LIKE 'tmp_data_sync_new_%'";
        assert_eq!(query(&self.file, sql), Vec::<Vec<Option<String>>>::new(), "nothing of ours stays between runs");
    }
}

/// An answer of a Worker that restarts.
fn unavailable() -> Value {
    json!({ "status": 503, "body": "no" })
}

/// The same, but what was asked for is done.
fn lost() -> Value {
    json!({ "status": 502, "body": "<html>", "after": true })
}

impl World {
    fn place(&self) -> &Place {
        &self.bed.deployed().unwrap().place
    }

    async fn requests(&self) -> u64 {
        self.place().counted().await["requests"].as_u64().unwrap()
    }

    /// Has the next requests to the target go wrong.
    async fn break_target(&self, faults: Vec<Value>) {
        self.place().tell(Told::Faults(faults.into())).await;
    }
}

/// The target is gone from each request on, with that one done or not: the next run makes it equal. Keyed rows, rows without a
/// track value, deletes, a table without a key, and one that is rebuilt because its type changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_goes_away_at_any_request() {
    let bed = postgres_bed::deployed_beds().await.remove(0);
    let (users, mut log) = (Shape::usual("users"), Shape::usual("log"));
    log.key.clear();
    let typed = Shape::usual("typed");
    for shape in [&users, &log, &typed] {
        bed.create(shape).await;
        bed.insert(shape, &(0..60).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    }
    let options = json!({ "deletes": "hard", "delete_limit": 1, "retry": { "attempts": 1 } });
    let mut world = World::new(bed, options);
    world.run().await;
    world.damage("CREATE INDEX mine ON typed (name)");
    let mut whole = 0;
    let mut request = 0;
    let (mut round, mut failures) = (0_i64, 0);
    while request <= whole {
        for fault in [unavailable(), lost()] {
            round += 1;
            let id = 1_000 + round;
            for shape in [&users, &log, &typed] {
                world.bed.insert(shape, &[usual(id, round, "new", at(100 + round))]).await;
                world.bed.insert(shape, &[usual(id + 10_000, round, "null", Datum::Null)]).await;
                world.bed.delete(shape, &row([("id", (id - 1).into())])).await;
            }
            world
                .bed
                .update(&users, &row([("id", 5.into())]), &row([("n", round.into()), ("updated_at", at(100 + round))]))
                .await;
            // Another type every time: the table is rebuilt.
            let sqlite = if round % 2 == 0 { "INTEGER" } else { "TEXT" };
            world.restart(json!({ "tables": ["users", "log", { "name": "typed", "types": { "n": sqlite } }] })).await;
            if whole == 0 {
                let before = world.requests().await;
                world.run().await;
                whole = world.requests().await - before;
                continue;
            }
            let mut faults = vec![Value::Null; usize::try_from(request).unwrap()];
            faults.push(fault);
            faults.extend((0..60).map(|_| unavailable()));
            world.break_target(faults).await;
            let outcome = world.sync.sync(None, CancellationToken::new()).await;
            world.break_target(Vec::new()).await;
            if let Err(failure) = outcome {
                failures += 1;
                assert!(failure.first.retryable, "{failure:?}");
            }
            assert_eq!(world.query("SELECT count(*) FROM typed")[0].len(), 1, "it is there at any time");
            world.run().await;
            assert_eq!(world.query("SELECT tbl_name FROM sqlite_schema WHERE name = 'mine'"), [["typed"].map(some)]);
            for shape in [&users, &log, &typed] {
                world.assert_equal(shape).await;
            }
        }
        request += 1;
    }
    println!("{whole} requests of a run, {failures} runs failed");
    assert!(failures >= whole, "only {failures} runs failed");
    world.end().await;
}

/// The target is gone for a moment at any request of a rebuild, so that the run tries again, and may be gone for good soon after:
/// each row is there in the end, that which left the source too, and so is the user's index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_whose_target_goes_away_for_a_moment() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("typed");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..60).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let mut world = World::new(bed, json!({ "batch_size": 10, "retry": { "attempts": 2 } }));
    world.run().await;
    world.damage("CREATE INDEX mine ON typed (name)");
    world.bed.delete(&shape, &row([("id", 7.into())])).await;
    let expected: Vec<_> = (0..60).map(|i: i64| vec![Some(i.to_string()); 2]).collect();
    let mut round = 0;
    let mut rebuild = async |faults: Vec<Value>| {
        round += 1;
        let sqlite = if round % 2 == 0 { "INTEGER" } else { "TEXT" };
        world.restart(json!({ "tables": [{ "name": "typed", "types": { "n": sqlite } }] })).await;
        let before = world.requests().await;
        world.break_target(faults.clone()).await;
        let outcome = world.sync.sync(None, CancellationToken::new()).await;
        world.break_target(Vec::new()).await;
        let asked = world.requests().await - before;
        world.run().await;
        let there = world.query("SELECT id, CAST(n AS INTEGER) FROM typed ORDER BY id");
        assert_eq!(there, expected, "{faults:?}");
        assert_eq!(world.query("SELECT tbl_name FROM sqlite_schema WHERE name = 'mine'"), [["typed"].map(some)]);
        (asked, outcome)
    };
    let after = |request: u64| vec![Value::Null; usize::try_from(request).unwrap()];
    let (whole, _) = rebuild(Vec::new()).await;
    for request in 0..whole {
        let (_, outcome) = rebuild([after(request), vec![lost()]].concat()).await;
        assert!(outcome.is_ok(), "request {request}: {outcome:?}");
    }
    // Longer than a request is sent again: the run tries again, and comes to its end or not.
    for request in whole.saturating_sub(10)..whole {
        let fault = if request % 2 == 0 { lost() } else { unavailable() };
        let faults = [after(request), vec![fault; 5]].concat();
        drop(rebuild([faults, after(8), vec![unavailable(); 60]].concat()).await);
    }
    assert!(whole > 12, "{whole} requests of a rebuild");
    world.end().await;
}

/// The same of a first load that takes many requests: it goes on where it was, and misses no row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_load_whose_target_goes_away_at_any_request() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &(0..400).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    let mut world = World::new(bed, json!({ "batch_size": 10, "retry": { "attempts": 1 } }));
    let before = world.requests().await;
    world.run().await;
    let whole = world.requests().await - before;
    for request in 0..whole {
        for fault in [unavailable(), lost()] {
            world.restart(json!({})).await;
            world.bed.deployed().unwrap().clear().await;
            let mut faults = vec![Value::Null; usize::try_from(request).unwrap()];
            faults.push(fault);
            faults.extend((0..60).map(|_| unavailable()));
            world.break_target(faults).await;
            drop(world.sync.sync(None, CancellationToken::new()).await);
            world.break_target(Vec::new()).await;
            world.run().await;
            world.assert_equal(&shape).await;
        }
    }
    assert!(whole > 12, "{whole} requests of a load");
    world.end().await;
}

/// Answers get lost, up to three in a row: what is asked for again is not done again, and the counts are right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_get_lost() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let world = World::new(bed, json!({ "deletes": "hard", "delete_limit": 1, "retry": { "attempts": 8 } }));
    for round in 0..12 {
        let base = round * 1_000;
        let rows: Vec<_> = (base..base + 300).map(|i| usual(i, i, "x", at(round))).collect();
        world.bed.insert(&shape, &rows).await;
        let mut faults = Vec::new();
        for _ in 0..20 {
            let mut next = [lost(), unavailable(), json!({ "truncate": fastrand::u8(..30) })];
            fastrand::shuffle(&mut next);
            faults.extend(next.into_iter().take(fastrand::usize(..4)));
            faults.push(Value::Null);
        }
        world.break_target(faults).await;
        let stats = world.run().await;
        world.break_target(Vec::new()).await;
        assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (300, 0, 0), "round {round}");
        world.assert_equal(&shape).await;
    }
    world.end().await;
}

/// Connections to the target that break at any byte, in any way: a run comes to its end, and the next one makes the target equal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_anywhere() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let mut target = bed.deployed().unwrap().target();
    let mut url: url::Url = target["url"].as_str().unwrap().parse().unwrap();
    let proxy = Proxy::start(format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())).await;
    url.set_port(Some(proxy.port)).unwrap();
    target["url"] = json!(url.as_str());
    let mut world = World::new(
        bed,
        json!({ "target": target, "batch_size": 100, "deletes": "hard", "delete_limit": 1, "query_timeout": 1 }),
    );
    let ways = [Break::Close, Break::Reset, Break::Stall, Break::Delay];
    rounds_of_breaks(&mut world, &shape, &proxy, &ways, 3_000, |how, failure| {
        assert!(failure.first.retryable, "{how:?}: {failure:?}");
    })
    .await;
    world.end().await;
}

/// Who has lost the lease writes nothing any more, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_somebody_else_has() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let rows: Vec<_> = (0..20_000).map(|i| usual(i, i, "some text in a row of a table", at(i % 50))).collect();
    bed.insert(&shape, &rows).await;
    let world = World::new(bed, json!({ "batch_size": 100 }));
    let file = world.path();
    let mut taken = false;
    world.recorder.watch(move |event| {
        if matches!(event, Event::Progress { .. }) && !std::mem::replace(&mut taken, true) {
            let sql = "UPDATE tmp_data_sync_lease SET owner = 'somebody', ends = unixepoch() + 4";
            rusqlite::Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        }
    });
    let failure = world.fail().await;
    world.recorder.watch(|_| {});
    assert_eq!((failure.first.code, failure.first.retryable), ("TARGET_BUSY", false), "{failure:?}");
    assert!(failure.first.message.starts_with("Another sync has taken over this StarbaseDB"), "{failure:?}");
    let counted = world.query("SELECT record_count FROM tmp_data_sync_state");
    assert_eq!(counted, world.query("SELECT count(*) FROM users"));
    assert!(world.status().await.is_running, "somebody holds it");
    // Nobody renews it, so it ends.
    world.run().await;
    assert!(!world.status().await.is_running);
    world.assert_equal(&shape).await;
    world.end().await;
}

/// A request that comes late, when others have come after it, changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_comes_late() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    world.damage("UPDATE tmp_data_sync_lease SET owner = 'me', ends = unixepoch() + 60");
    let last: u64 = world.query("SELECT number FROM tmp_data_sync_lease")[0][0].as_ref().unwrap().parse().unwrap();
    let connection = rusqlite::Connection::open(world.path()).unwrap();
    let change = |owner: &str, number: u64| {
        let sql = format!("UPDATE tmp_data_sync_lease SET owner = '{owner}', number = {number}");
        connection.execute_batch(&sql).map_err(|error| error.to_string())
    };
    assert_eq!(change("me", last), Err("data-sync: done before".to_owned()));
    assert_eq!(change("somebody", last + 1), Err("data-sync: lease lost".to_owned()));
    assert_eq!(change("me", last + 1), Ok(()));
    drop(connection);
    world.damage("UPDATE tmp_data_sync_lease SET owner = NULL");
    world.end().await;
}

/// A server that repeats what it was sent, whichever request it is: nothing that is told or kept has the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_repeats_the_token() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
    let token = bed.deployed().unwrap().target()["token"].as_str().unwrap().to_owned();
    let mut world = World::new(bed, json!({ "retry": { "attempts": 1 } }));
    let said = json!({ "error": format!("near \"{token}\": syntax error: SQLITE_ERROR") }).to_string();
    let mut codes = BTreeSet::new();
    for request in 0..16 {
        world.restart(json!({})).await;
        world.bed.deployed().unwrap().clear().await;
        let mut faults = vec![Value::Null; request];
        faults.push(json!({ "status": 500, "body": said }));
        world.break_target(faults).await;
        if let Err(failure) = world.sync.sync(None, CancellationToken::new()).await {
            codes.insert(failure.first.code);
            assert!(!format!("{failure:?}").contains(&token), "request {request}: {failure:?}");
        }
        world.break_target(Vec::new()).await;
        assert!(world.log(Level::Debug).iter().all(|line| !line.contains(&token)), "request {request}");
        if !world.is_untouched() {
            let kept = world.query("SELECT last_error FROM tmp_data_sync_state");
            assert!(!format!("{kept:?}").contains(&token), "request {request}");
        }
    }
    assert!(codes.is_superset(&BTreeSet::from(["SCHEMA", "TARGET_WRITE"])), "{codes:?}");
    world.end().await;
}

/// A note of a replaced table whose tables somebody dropped keeps no run from going on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_of_tables_that_are_gone() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
    let world = World::new(bed, json!({}));
    world.run().await;
    world.damage(
        "INSERT INTO tmp_data_sync_meta VALUES ('swap', json_object('table', 'users', 'aside', 'tmp_data_sync_new_users',
           'objects', json('[]'), 'nulls', NULL, 'state', (SELECT '' || json_object('source_table', source_table,
           'target_table', target_table, 'source_fingerprint', source_fingerprint, 'mode', mode, 'phase', phase,
           'signature', signature, 'columns', columns, 'key', key, 'position', position) FROM tmp_data_sync_state)));
         DROP TABLE users",
    );
    world.run().await;
    world.assert_equal(&shape).await;
    assert!(world.query("SELECT 1 FROM tmp_data_sync_meta WHERE key = 'swap'").is_empty());
    world.end().await;
}

/// Who can't be reached, and who refuses the token, are told apart; nothing of the token is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_be_used() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
    let target = bed.deployed().unwrap().target();
    let mut world = World::new(bed, json!({ "retry": { "attempts": 1 } }));
    let token = "not-the-token-of-anybody";
    for (url, code, words) in [
        (target["url"].as_str().unwrap(), "AUTH", "refuses the token"),
        ("http://127.0.0.1:1/", "CONNECT", "ECONNREFUSED"),
    ] {
        world.restart(json!({ "target": { "type": "starbasedb", "url": url, "token": token } })).await;
        let failure = world.fail().await;
        assert_eq!(failure.first.code, code, "{failure:?}");
        let message = &failure.first.message;
        assert!(
            message.starts_with("Failed to connect to target StarbaseDB: ") && message.contains(words),
            "{message}"
        );
        assert!(world.log(Level::Debug).iter().all(|line| !line.contains(token)));
    }
    // What a user's trigger says may be a row's value.
    world.restart(json!({ "target": target })).await;
    world.run().await;
    world.damage("CREATE TRIGGER no BEFORE INSERT ON users BEGIN SELECT RAISE(ABORT, 'hush'); END");
    world.bed.insert(&shape, &[usual(2, 2, "y", at(2))]).await;
    let failure = world.fail().await;
    assert_eq!(failure.first.message, "Failed to write to table 'users': a trigger on the table refused a row");
    world.damage("DROP TRIGGER no; UPDATE tmp_data_sync_state SET position = 'nonsense'");
    assert!(world.fail().await.first.message.contains("resetSyncState"));
    world.sync.reset(None).await.unwrap();
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}
