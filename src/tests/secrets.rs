//! What is told and kept while everything goes wrong that can: no password, no token, no address with either, and no value
//! of a row.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::event::{Event, Failure, Observer, RunStats};

use super::bed::{Bed, Shape};
use super::proxy::{Break, Proxy};
use super::sqlite_bed::{TURSO, bare, servers};
use super::world::{World, at, handle, usual};

/// What every text value of the source begins with.
const NAME: &str = "row-value-";
/// What every key begins with.
const ID: i64 = 7_310_000_000_000;
/// What every other number begins with.
const NUMBER: i64 = 8_420_000_000_000;

/// The marks of a row's values in what is told.
const VALUES: [&str; 3] = [NAME, "731000000", "842000000"];

/// The ways in which `secret` may be written down.
fn spellings(secret: &str) -> Vec<String> {
    let mut spellings = vec![
        secret.to_owned(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        crate::batch::hex(secret.as_bytes()),
    ];
    let mut url: Url = "http://user@host".parse().unwrap();
    url.set_password(Some(secret)).unwrap();
    spellings.push(url.password().unwrap().to_owned());
    // Behind nought to two other bytes, and without the signs in which neighbours have a part.
    for before in 0..3 {
        let bytes = [&vec![0; before][..], secret.as_bytes()].concat();
        for encoded in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let whole = encoded.trim_end_matches('=');
            spellings.push(whole[before + usize::from(before > 0)..whole.len() - 1].to_owned());
        }
    }
    spellings
}

/// The secrets in the option `source`, and every way to write them.
fn secrets(source: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for option in ["url", "uri"] {
        let Some(address) = source[option].as_str() else { continue };
        let url: Url = address.parse().unwrap();
        if let Some(password) = url.password() {
            found.push(address.to_owned());
            found.push(format!("{}:{password}@", url.username()));
            found.extend(spellings(password));
            let form = format!("p={}", password.replace('+', "%2B"));
            found.extend(url::form_urlencoded::parse(form.as_bytes()).flat_map(|(_, plain)| spellings(&plain)));
        }
    }
    for option in ["token", "api_key", "password"] {
        found.extend(source[option].as_str().into_iter().flat_map(spellings));
    }
    found
}

/// `source` with a secret that is wrong; nothing for one that has none.
fn with_wrong_secret(source: &Value) -> Option<Value> {
    let secret = format!("pa/ss:w+rd@{:016x}", fastrand::u64(..));
    let mut wrong = source.clone();
    match source["type"].as_str().unwrap() {
        "sqlite" => return None,
        "turso" => {
            wrong = json!({ "type": "turso", "uri": bare(&servers(TURSO)[1]).as_str(), "token": secret });
        }
        "d1" => wrong["api_key"] = json!(secret),
        "starbasedb" => wrong["token"] = json!(secret),
        _ => {
            let option = if source["uri"].is_string() { "uri" } else { "url" };
            let mut url: Url = source[option].as_str().unwrap().parse().unwrap();
            url.set_password(Some(&secret)).unwrap();
            wrong[option] = json!(url.as_str());
        }
    }
    Some(wrong)
}

/// Everything that was told, and which secrets there were.
#[derive(Default)]
struct Ears {
    told: String,
    secrets: Vec<String>,
    path_count: u32,
}

impl Ears {
    fn failure(&mut self, failure: &Failure) {
        writeln!(self.told, "{failure:?} {}", serde_json::to_string(failure).unwrap()).unwrap();
    }

    /// A run from `source` into a file of its own, which is to fail with `code`.
    async fn fails(&mut self, world: &mut World, source: &Value, code: &str, more: Value) {
        self.secrets.extend(secrets(source));
        self.path_count += 1;
        let mut options = json!({ "source": source, "retry": { "attempts": 2, "base_ms": 1 }, "tables": [] });
        options["database"] = json!(world.path().with_file_name(format!("other-{}.sqlite", self.path_count)));
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.restart(options).await;
        let failure = world.fail().await;
        assert_eq!(failure.first.code, code, "{failure:?}");
        self.failure(&failure);
        // The status is of whatever could be kept.
        writeln!(self.told, "{:?}", world.sync.status().await).unwrap();
    }

    fn assert_clean(&self, what: &str, with_values: bool) {
        let values = VALUES.iter().map(|value| (*value).to_owned()).filter(|_| with_values);
        for mark in self.secrets.iter().cloned().chain(values) {
            if let Some(found) = self.told.find(&mark) {
                let around: String = self.told[..found].chars().rev().take(300).collect();
                panic!("{what} has {mark:?} behind {:?}", around.chars().rev().collect::<String>());
            }
        }
    }
}

/// `filter` is one that fails on a row whose `name` it reads, in a way in which the server quotes what it read.
async fn nothing_is_told(bed: Box<dyn Bed>, prepare: Option<&str>, filter: &str) {
    let kind = bed.source()["type"].as_str().unwrap().to_owned();
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    let rows = |from: i64, to: i64| -> Vec<_> {
        (from..to).map(|i| usual(ID + i, NUMBER + i, &format!("{NAME}{i}"), at(i))).collect()
    };
    bed.insert(&shape, &rows(0, 1_500)).await;
    if let Some(sql) = prepare {
        bed.execute(sql).await;
    }
    let mut source = bed.source();
    if kind == "turso" {
        // A server that asks for no token takes any.
        source["token"] = json!(format!("a-token-{:016x}", fastrand::u64(..)));
    }
    let upstream = if kind == "sqlite" { String::new() } else { bed.through(0).0 };
    let mut ears = Ears { secrets: secrets(&source), ..Ears::default() };
    assert!(kind == "sqlite" || !ears.secrets.is_empty(), "{kind} has a secret");
    let options = json!({ "source": source, "log_level": "debug", "batch_size": 50, "deletes": "hard" });
    let mut world = World::new(bed, options);
    let usual_tables = json!({ "tables": [], "database": world.path(), "source": source, "retry": { "attempts": 1 } });

    // A run that is stopped, one that succeeds, a plan, a comparison, a target that takes no row.
    if let Err(failure) = world.run_until(|event| matches!(event, Event::Progress { .. })).await {
        ears.failure(&failure);
    }
    writeln!(ears.told, "{:?}", world.run().await).unwrap();
    writeln!(ears.told, "{:?} {}", world.status().await, json!(world.status().await)).unwrap();
    writeln!(ears.told, "{:?}", json!(world.sync.plan(None).await.unwrap())).unwrap();
    world.damage("UPDATE users SET name = 'row-value-wrong'");
    // The answer has the keys of rows, as it says; what is logged on the way has none.
    let compared = world.sync.verify(None, false, CancellationToken::new()).await.unwrap();
    assert!(!json!(compared).to_string().contains(NAME), "{compared:?}");
    world.damage("CREATE TRIGGER guard BEFORE INSERT ON users BEGIN SELECT RAISE(ABORT, NEW.name); END");
    world.bed.insert(&shape, &rows(1_500, 1_600)).await;
    let failure = world.fail().await;
    assert_eq!(failure.first.code, "TARGET_WRITE", "{failure:?}");
    ears.failure(&failure);
    world.damage("DROP TRIGGER guard");
    writeln!(ears.told, "{:?}", world.status().await).unwrap();

    // Sources that refuse, are not there, break off, or are others.
    if let Some(wrong) = with_wrong_secret(&source) {
        ears.fails(&mut world, &wrong, "AUTH", json!({})).await;
    }
    if kind != "sqlite" {
        let proxy = Proxy::start(upstream).await;
        for (port, cut) in [(1, None), (proxy.port, Some(Break::Reset)), (proxy.port, Some(Break::Close))] {
            let (_, mut away) = world.bed.through(port);
            if !source["token"].is_null() {
                away["token"] = source["token"].clone();
            }
            if let Some(how) = cut {
                proxy.cut(how, 20, usize::MAX >> 1);
            }
            ears.fails(&mut world, &away, "CONNECT", json!({})).await;
            ears.fails(&mut world, &away, "CONNECT", json!({ "query_timeout": 1, "connect_timeout": 1 })).await;
        }
        // In the middle of the rows.
        let (_, mut away) = world.bed.through(proxy.port);
        if !source["token"].is_null() {
            away["token"] = source["token"].clone();
        }
        proxy.cut(Break::Reset, world.bed.cut_after() / 3, usize::MAX >> 1);
        ears.secrets.extend(secrets(&away));
        world.restart(json!({ "source": away, "database": world.path().with_file_name("cut.sqlite") })).await;
        match world.sync.sync(None, CancellationToken::new()).await {
            Ok(stats) => writeln!(ears.told, "{stats:?}").unwrap(),
            Err(failure) => ears.failure(&failure),
        }
        if !world.bed.moves() {
            let database = json!({ "database": world.path() });
            proxy.cut(Break::Close, -1, 0);
            ears.fails(&mut world, &away, "SOURCE_CHANGED", database).await;
        }
    }

    // Tables that are not there, can't be read or can't be stored.
    ears.fails(&mut world, &source, "TABLE_NOT_FOUND", json!({ "tables": ["nowhere"] })).await;
    let filtered = json!({ "tables": [{ "name": "users", "where": filter }] });
    ears.fails(&mut world, &source, "SOURCE_READ", filtered).await;
    if !world.bed.grows() {
        let computed = json!({ "tables": [{ "name": "users", "select": { "made": filter } }] });
        ears.fails(&mut world, &source, "SOURCE_READ", computed).await;
    }
    world.restart(usual_tables).await;
    world.run().await;

    write!(ears.told, "{:?}", world.events()).unwrap();
    ears.assert_clean(&format!("what was told of {kind}"), true);

    // A position is made of a row's key and track value; of all other columns nothing is in the state.
    for table in ["tmp_data_sync_state", "tmp_data_sync_meta"] {
        let kept = format!("{:?}", world.query(&format!("SELECT * FROM {table}")));
        assert!(!kept.contains(NAME) && !kept.contains(VALUES[2]), "{kind}, {table}: {kept}");
    }
    // The files have the rows; nothing in them may be a secret.
    for file in std::fs::read_dir(world.path().parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        let told = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        Ears { told, secrets: ears.secrets.clone(), path_count: 0 }.assert_clean(&path.display().to_string(), false);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    for bed in super::postgres_bed::beds().await {
        nothing_is_told(bed, None, "name::int > 0").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql() {
    let refuse = "CREATE FUNCTION refuse(value text) RETURNS int NO SQL
                  BEGIN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = value; RETURN 1; END";
    for bed in super::mysql_bed::beds().await {
        nothing_is_told(bed, Some(refuse), "refuse(name) = 1").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb() {
    for bed in super::mongodb_bed::guarded_beds().await {
        nothing_is_told(bed, None, r#"{ "$expr": { "$eq": [{ "$toInt": "$name" }, 1] } }"#).await;
    }
}

/// What SQLite says of a path that is none repeats it.
const PATH: &str = "json_extract('{}', name) = 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    for bed in super::sqlite_bed::file_beds().await {
        nothing_is_told(bed, None, PATH).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turso() {
    for bed in super::sqlite_bed::turso_beds().await {
        nothing_is_told(bed, None, PATH).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1() {
    for bed in super::sqlite_bed::d1_beds().await {
        nothing_is_told(bed, None, PATH).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starbasedb() {
    for bed in super::sqlite_bed::starbasedb_beds().await {
        nothing_is_told(bed, None, PATH).await;
    }
}

/// Somebody in whose hands a run breaks, with words that hold a value.
struct Panics;

impl Observer for Panics {
    fn event(&self, event: Event) {
        assert!(!matches!(event, Event::TableStart { .. }), "{NAME}{}", 1);
    }
}

/// A panic's words are made of what was at hand, which may be a value.
#[tokio::test]
async fn a_panic_is_told_without_its_words() {
    for bed in super::sqlite_bed::file_beds().await {
        bed.create(&Shape::usual("t")).await;
        let directory = tempfile::tempdir().unwrap();
        let options = json!({ "source": bed.source(), "database": directory.path().join("replica.sqlite") });
        let sync = handle(&options, Arc::new(Panics));
        let outcome: Result<RunStats, Failure> = sync.sync(None, CancellationToken::new()).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.first.code, "INTERNAL");
        assert!(!format!("{failure:?}").contains(NAME), "{failure:?}");
        sync.stop().await;
    }
}

/// The replica is as confidential as its source, so nobody else may read what is made for it.
#[cfg(unix)]
#[tokio::test]
async fn files_are_for_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let modes = |world: &World| -> std::collections::BTreeMap<String, u32> {
        let files = std::fs::read_dir(world.path().parent().unwrap()).unwrap().map(Result::unwrap);
        files
            .map(|file| {
                (file.file_name().into_string().unwrap(), file.metadata().unwrap().permissions().mode() & 0o777)
            })
            .collect()
    };
    for given in [None, Some(0o664), Some(0o600), Some(0o640)] {
        for bed in super::sqlite_bed::file_beds().await {
            let shape = Shape::usual("users");
            bed.create(&shape).await;
            bed.insert(&shape, &(0..500).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
            let world = World::new(bed, json!({ "batch_size": 100 }));
            if let Some(mode) = given {
                std::fs::write(world.path(), "").unwrap();
                std::fs::set_permissions(world.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            }
            world.run().await;
            // The second one has a database beside which it makes its files.
            world.run().await;
            let found = modes(&world);
            assert!(found.len() >= 4, "the database, -wal, -shm and the lock: {found:?}");
            assert!(found.values().all(|mode| *mode == given.unwrap_or(0o600)), "{given:?}: {found:?}");
            world.end().await;
        }
    }
    // A link that is there before its file: both have one lock, and one mode.
    for bed in super::sqlite_bed::file_beds().await {
        let shape = Shape::usual("users");
        bed.create(&shape).await;
        bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
        let world = World::new(bed, json!({}));
        std::os::unix::fs::symlink("real.sqlite", world.path()).unwrap();
        world.run().await;
        let mut found = modes(&world);
        found.remove("replica.sqlite").expect("the link, whose own mode says nothing");
        assert!(found.values().all(|mode| *mode == 0o600), "{found:?}");
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["real.sqlite", "real.sqlite-data-sync.lock", "real.sqlite-shm", "real.sqlite-wal"]);
        world.end().await;
    }
}
