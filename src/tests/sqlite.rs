//! What is the SQLite family's own: storage classes, tables of every shape, track values of every kind, and what servers say
//! when they refuse, are busy, or are asked too often.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::types::Value as Cell;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Level, Mode};

use super::bed::{Datum, Holds, Shape};
use super::sqlite_bed::{D1, Place, STARBASEDB, SqliteBed, TURSO, Told, bare, servers};
use super::world::{World, at, cell, row, some, usual};

async fn places() -> [Place; 4] {
    [Place::file(), Place::turso().await, Place::d1().await, Place::starbasedb()]
}

fn world(place: Place, options: Json) -> World {
    World::new(Box::new(SqliteBed { place, deployed: None }), options)
}

/// Every cell of a table as it is stored, in the order of the first column.
fn stored(connection: &rusqlite::Connection, table: &str) -> Vec<Vec<Cell>> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|index| row.get(index)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

fn target(world: &World) -> rusqlite::Connection {
    rusqlite::Connection::open(world.path()).unwrap()
}

#[tokio::test]
async fn every_value_keeps_its_storage_class() {
    const VALUES: [&str; 27] = [
        "NULL",
        "0",
        "-1",
        "9007199254740991",
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "1.5",
        "2.0",
        "-7.0",
        "0.1",
        "123456789.12345679",
        "1e300",
        "1e18",
        "9e999",
        "-9e999",
        "''",
        "'text'",
        "'123'",
        "'12abc'",
        "'2026-01-01 00:00:00'",
        "'1e5'",
        "'9223372036854775808'",
        "'i5 ä 🧀 \" \\'",
        "x''",
        "x'00ff10'",
    ];
    let ddl = "CREATE TABLE t (id INTEGER PRIMARY KEY, i INT, n NUMERIC, d DECIMAL(10,2), m DATETIME, o BOOLEAN, r REAL, \
               x TEXT, v VARCHAR(20), b BLOB, a, e DOUBLE PRECISION)";
    for place in places().await {
        let kind = place.source()["type"].clone();
        // What libSQL's protocol can't carry is tested below.
        let values = VALUES.iter().filter(|value| kind != "turso" || !value.contains("e999")).enumerate();
        let rows: Vec<String> = values.map(|(id, value)| format!("({id}, {})", [*value; 11].join(", "))).collect();
        let insert = format!("INSERT INTO t VALUES {}", rows.join(", "));
        let oracle = rusqlite::Connection::open_in_memory().unwrap();
        oracle.execute_batch(&format!("{ddl}; {insert}")).unwrap();
        place.execute(ddl).await;
        place.execute(&insert).await;
        let world = world(place, json!({}));
        world.run().await;
        assert_eq!(stored(&target(&world), "t"), stored(&oracle, "t"), "{kind}");
        // What changes in its class alone is a change too.
        world.bed.execute("UPDATE t SET a = 2 WHERE id = 9; UPDATE t SET b = 2.0 WHERE id = 0").await;
        world.run().await;
        let changed = cell(&world, "SELECT group_concat(typeof(a) || typeof(b)) FROM t WHERE id IN (0, 9)");
        assert_eq!(changed, some("nullreal,integerreal"), "{kind}");
        world.end().await;
    }
}

#[tokio::test]
async fn tables_of_every_shape() {
    for place in places().await {
        let kind = place.source()["type"].as_str().unwrap().to_owned();
        for sql in [
            "CREATE TABLE plain (a TEXT, b)",
            "INSERT INTO plain VALUES ('x', 1), ('x', 1), (NULL, NULL)",
            "CREATE TABLE pairs (a TEXT, b INTEGER, c, PRIMARY KEY (b, a)) WITHOUT ROWID",
            "INSERT INTO pairs VALUES ('x', 2, 'c'), ('y', 1, x'00'), ('x', 1, NULL)",
            "CREATE TABLE strict (id INTEGER PRIMARY KEY, a ANY, n INT) STRICT",
            "INSERT INTO strict VALUES (1, '5', 7), (2, 5, NULL), (3, 5.0, 1)",
            "CREATE TABLE made (id INTEGER PRIMARY KEY, n INT, twice INT GENERATED ALWAYS AS (n * 2) STORED, \
             text AS ('n' || n))",
            "INSERT INTO made (id, n) VALUES (1, 4), (2, NULL)",
            "CREATE TABLE tagged (tag TEXT NOT NULL UNIQUE, n INT)",
            "INSERT INTO tagged VALUES ('b', 1), ('a', 2)",
            "CREATE TABLE \"we\"\"ird; -- [x]\" (\"order\" INTEGER PRIMARY KEY, \"a\"\"b\" TEXT, \"ä ö\" TEXT)",
            "INSERT INTO \"we\"\"ird; -- [x]\" VALUES (1, 'it''s', NULL)",
            "CREATE TABLE tmp_mine (a)",
            "CREATE VIEW seen AS SELECT id, n, n + 1 AS more FROM made",
        ] {
            place.execute(sql).await;
        }
        let world = world(place, json!({}));
        world.run().await;
        let names =
            world.query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'tmp_%' ORDER BY 1");
        let names: Vec<String> = names.into_iter().flatten().flatten().collect();
        assert_eq!(names, ["made", "pairs", "plain", "strict", "tagged", "we\"ird; -- [x]"], "{kind}");
        let one = |sql: &str| cell(&world, sql);
        assert_eq!(one("SELECT group_concat(rowid || ifnull(a, '-')) FROM plain"), some("1x,2x,3-"), "{kind}");
        assert_eq!(one("SELECT group_concat(a || b || quote(c)) FROM pairs"), some("x1NULL,y1X'00',x2'c'"), "{kind}");
        assert_eq!(one("SELECT group_concat(typeof(a) || a) FROM strict"), some("text5,integer5,real5.0"), "{kind}");
        assert_eq!(one("SELECT group_concat(n || twice || text) FROM made"), some("48n4"), "{kind}");
        assert_eq!(one("SELECT group_concat(tag) FROM (SELECT tag FROM tagged ORDER BY tag)"), some("a,b"), "{kind}");
        assert_eq!(one("SELECT \"a\"\"b\" FROM \"we\"\"ird; -- [x]\""), some("it's"), "{kind}");
        let said = world.log(Level::Info);
        assert!(said.iter().any(|line| line.contains("Table plain has no key: its rows")), "{kind}: {said:#?}");
        // Views by name; with a key of the user's they are read page by page.
        let mut world = world;
        world.bed.execute("INSERT INTO made (id, n) VALUES (3, 30); DELETE FROM plain WHERE rowid = 2").await;
        world.restart(json!({ "tables": ["seen", "plain", "pairs"] })).await;
        let stats = world.run().await;
        assert_eq!(stats.rows_deleted, 1, "{kind}");
        world.restart(json!({ "tables": [{ "name": "seen", "as": "keyed", "primary_key": ["id"] }] })).await;
        world.run().await;
        for view in ["seen", "keyed"] {
            let sum = cell(&world, &format!("SELECT count(*) || '/' || sum(more) FROM {view}"));
            assert_eq!(sum, some("3/36"), "{kind} {view}");
        }
        world.end().await;
    }
}

#[tokio::test]
async fn track_values_of_every_kind() {
    // A track value from its second, and the year 9999.
    type Stamp = fn(i64) -> String;
    const BASE: i64 = 1_767_225_600;
    const LAST: i64 = 253_402_214_400;
    let kinds: [(&str, Stamp); 7] = [
        ("INTEGER", |second| second.to_string()),
        ("INTEGER", |second| (second * 1000 + 7).to_string()),
        ("INTEGER", |second| (second * 1_000_000 + 7).to_string()),
        ("REAL", |second| format!("{second}.25")),
        ("TEXT", |second| format!("strftime('%Y-%m-%dT%H:%M:%S.000Z', {second}, 'unixepoch')")),
        ("DATETIME", |second| format!("datetime({second}, 'unixepoch')")),
        ("DATE", |second| format!("date({second}, 'unixepoch')")),
    ];
    for place in places().await {
        let kind = place.source()["type"].as_str().unwrap().to_owned();
        let mut tables = Vec::new();
        for (index, (declared, stamp)) in kinds.iter().enumerate() {
            place.execute(&format!("CREATE TABLE t{index} (id INTEGER PRIMARY KEY, updated_at {declared})")).await;
            let rows: Vec<String> = (0..50).map(|id| format!("({id}, {})", stamp(BASE + id * 10))).collect();
            let (rows, future, none) = (rows.join(","), stamp(LAST), "(1001, NULL)");
            place.execute(&format!("INSERT INTO t{index} VALUES {rows}, (1000, {future}), {none}")).await;
            tables.push(format!("t{index}"));
        }
        let world = world(place, json!({ "batch_size": 7 }));
        world.run().await;
        for (index, (declared, stamp)) in kinds.iter().enumerate() {
            let status = world.status().await.table_map[&format!("t{index}")].clone();
            assert_eq!((status.mode, status.null_tracked), (Mode::Incremental, 1));
            let last = status.last_value.unwrap();
            assert!(!last.contains("9999") && !last.starts_with("2534"), "{kind} {declared}: {last}");
            // Within the lookback of 300 s, at the position, after it, and again in the far future.
            let new = [(2_000, BASE + 250), (2_001, BASE + 490), (2_002, BASE + 500), (2_003, LAST)];
            let rows: Vec<String> = new.iter().map(|(id, second)| format!("({id}, {})", stamp(*second))).collect();
            world.bed.execute(&format!("INSERT INTO t{index} VALUES {}", rows.join(","))).await;
        }
        let stats = world.run().await;
        assert_eq!(stats.rows_inserted, 4 * 7, "{kind}");
        world.end().await;
    }
}

#[tokio::test]
async fn an_infinity_that_a_protocol_cannot_carry_is_told() {
    let place = Place::turso().await;
    place.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 9e999)").await;
    let world = world(place, json!({}));
    let failure = world.fail().await;
    assert_eq!((failure.first.code, failure.first.retryable), ("SOURCE_READ", false), "{failure:?}");
    assert!(failure.first.message.contains("an infinite number"), "{failure:?}");
    world.end().await;
}

#[tokio::test]
async fn a_key_that_is_null_is_told() {
    for place in places().await {
        place.execute("CREATE TABLE t (id TEXT PRIMARY KEY, secret TEXT)").await;
        place.execute("INSERT INTO t VALUES ('a', 'x'), (NULL, 'hunter2')").await;
        let world = world(place, json!({}));
        let failure = world.fail().await;
        assert_eq!((failure.first.code, failure.first.table.as_deref()), ("SOURCE_READ", Some("t")));
        assert!(failure.first.message.contains("key column 'id' is NULL"), "{failure:?}");
        assert!(!format!("{failure:?}").contains("hunter2"));
        let mut world = world;
        world.restart(json!({ "tables": [{ "name": "t", "types": { "id": "BLOB" } }] })).await;
        world.sync.reset(None).await.unwrap();
        assert_eq!(world.fail().await.first.code, "SOURCE_READ", "whatever it is stored as");
        world.end().await;
    }
}

/// D1 and Durable Objects take statements of 100 KB and give answers of 100 columns.
#[tokio::test]
async fn as_many_columns_as_there_may_be() {
    for place in [Place::d1().await, Place::starbasedb()] {
        let long = "with_a_name_as_long_as_nobody_would_ever_give_to_a_column_of_his_or_hers";
        let columns: Vec<String> = (1..99).map(|index| format!("c{index}_{long}")).collect();
        let names = columns.join(" INT, ");
        place.execute(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, {names} INT, updated_at TEXT)")).await;
        place.execute("INSERT INTO t (id, updated_at) VALUES (1, '2026-01-01'), (2, NULL)").await;
        let mut world = world(place, json!({}));
        let failure = world.fail().await;
        assert_eq!((failure.first.code, failure.first.table.as_deref()), ("SCHEMA", Some("t")), "{failure:?}");
        assert!(failure.first.message.contains("at most 100 columns"), "{failure:?}");
        world.restart(json!({ "tables": [{ "name": "t", "mode": "full" }] })).await;
        assert_eq!(world.run().await.rows_inserted, 2);
        world.sync.reset(None).await.unwrap();
        let left_out = [columns[3].as_str(), columns[4].as_str()];
        world.restart(json!({ "tables": [{ "name": "t", "exclude_columns": left_out }] })).await;
        world.run().await;
        world
            .bed
            .execute(&format!("INSERT INTO t (id, {}, updated_at) VALUES (3, 7, '2026-01-02')", columns[97]))
            .await;
        world.run().await;
        assert_eq!(cell(&world, &format!("SELECT sum({}) || '/' || count(*) FROM t", columns[97])), some("7/3"));
        world.end().await;
    }
}

#[tokio::test]
async fn types_that_the_user_chose() {
    for place in places().await {
        place.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b TEXT, c TEXT, d REAL)").await;
        place.execute("INSERT INTO t VALUES (1, 9007199254740993, '12', 'x', 1.5), (2, NULL, 'y', NULL, 2.0)").await;
        let types = json!({ "a": "TEXT", "b": "INTEGER", "c": "BLOB", "d": "TEXT" });
        let world = world(place, json!({ "tables": [{ "name": "t", "types": types }] }));
        world.run().await;
        let cells = world.query("SELECT quote(a), quote(b), quote(c), quote(d) FROM t ORDER BY id");
        assert_eq!(cells[0], ["'9007199254740993'", "12", "X'78'", "'1.5'"].map(some));
        assert_eq!(cells[1], ["NULL", "'y'", "NULL", "'2'"].map(some));
        world.end().await;
    }
}

/// How a source refuses somebody else.
async fn refused(place: Place, source: Json) {
    place.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let mut world = world(place, json!({}));
    world.restart(json!({ "source": source, "retry": { "attempts": 1 } })).await;
    let failure = world.fail().await;
    assert_eq!((failure.first.code, failure.first.retryable), ("AUTH", false), "{failure:?}");
    assert!(failure.first.message.starts_with("Failed to connect to external database: "), "{failure:?}");
    assert!(!format!("{failure:?}").contains("wrong-token"), "{failure:?}");
    world.end().await;
}

#[tokio::test]
async fn wrong_tokens_are_told_as_such() {
    for (place, option) in [(Place::d1().await, "api_key"), (Place::starbasedb(), "token")] {
        let mut source = place.source();
        source[option] = json!("wrong-token");
        refused(place, source).await;
    }
    let guarded = servers(TURSO).remove(1);
    for token in [None, Some("wrong-token")] {
        let mut source = json!({ "type": "turso", "uri": bare(&guarded).as_str() });
        if let Some(token) = token {
            source["token"] = json!(token);
        }
        refused(Place::turso().await, source).await;
    }
    // The right ones, each kind of them.
    let sources = [
        json!({ "type": "turso", "uri": bare(&guarded).as_str(), "token": guarded.username() }),
        {
            let place = Place::starbasedb();
            let mut source = place.source();
            source["token"] = json!(servers(STARBASEDB).remove(0).password().unwrap());
            source
        },
        {
            let mut source = Place::d1().await.source();
            source["email"] = json!("test@example.com");
            source
        },
    ];
    for source in sources {
        let mut world = world(Place::file(), json!({}));
        world.restart(json!({ "source": source })).await;
        world.run().await;
        world.end().await;
    }
}

/// A server that answers everything with `answer`, and what it was told.
async fn answering(answer: String) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let ears = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut question = vec![0; 64 << 10];
            let count = client.read(&mut question).await.unwrap_or(0);
            ears.lock().unwrap().extend_from_slice(&question[..count]);
            let _ = client.write_all(answer.as_bytes()).await;
            let _ = client.shutdown().await;
        }
    });
    (port, heard)
}

/// The options of each source that is asked over HTTP at `port`.
fn tokens_at(port: u16) -> [Json; 4] {
    let address = format!("http://127.0.0.1:{port}");
    [
        json!({ "type": "turso", "uri": address, "token": "hush-hush" }),
        json!({ "type": "starbasedb", "uri": address, "token": "hush-hush" }),
        json!({ "type": "d1", "url": address, "api_key": "hush-hush", "account_id": "a", "database_id": "d" }),
        json!({ "type": "d1", "url": address, "api_key": "hush-hush", "account_id": "a", "database_id": "d", "email": "a@b.example" }),
    ]
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirection() {
    for status in [301, 302, 303, 307, 308] {
        let (elsewhere, heard_elsewhere) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
        let (port, heard) = answering(format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: http://user:password@127.0.0.1:{elsewhere}/there?key=hush\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ))
        .await;
        for source in tokens_at(port) {
            let mut world = world(Place::file(), json!({}));
            world.restart(json!({ "source": source, "retry": { "attempts": 1 } })).await;
            let failure = world.fail().await;
            assert_eq!((failure.first.code, failure.first.retryable), ("CONNECT", false), "{failure:?}");
            let told = &failure.first.message;
            for part in [format!("127.0.0.1:{port}"), format!("HTTP {status}"), "give the final".to_owned()] {
                assert!(told.contains(&part), "{part}: {failure:?}");
            }
            assert!(!format!("{failure:?}").contains("hush") && !told.contains("password"), "{failure:?}");
            world.end().await;
        }
        let said = String::from_utf8_lossy(&std::mem::take(&mut *heard.lock().unwrap())).into_owned();
        assert_eq!(said.matches("hush-hush").count(), 4, "each was asked, with its token: {said}");
        assert!(heard_elsewhere.lock().unwrap().is_empty(), "somebody else was asked after a {status}");
    }
}

/// Some servers and proxies show the request in the page that says what is wrong with it.
#[tokio::test]
async fn a_server_that_repeats_the_token() {
    for status in [200, 400, 401, 403, 404, 418, 429, 500, 503] {
        for body in [
            "authorization: Bearer hush-hush",
            "{\"error\":\"Bearer hush-hush\"}",
            "{\"result\":[],\"success\":false,\"errors\":[{\"code\":1,\"message\":\"Bearer hush-hush\"}]}",
            "{\"results\":[{\"type\":\"error\",\"error\":{\"message\":\"Bearer hush-hush\"}}]}",
        ] {
            let (port, _) = answering(format!(
                "HTTP/1.1 {status} No\r\nretry-after: 0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            ))
            .await;
            for source in tokens_at(port) {
                let mut world = world(Place::file(), json!({}));
                let retry = json!({ "attempts": 1 });
                world.restart(json!({ "source": source, "retry": retry, "log_level": "debug" })).await;
                let failure = world.fail().await;
                let told = format!("{failure:?} {:?}", world.events());
                assert!(!told.contains("hush"), "HTTP {status} {body}: {told}");
                world.end().await;
            }
        }
    }
}

#[tokio::test]
async fn a_file_is_not_copied_into_itself() {
    let place = Place::file();
    let path = place.source()["path"].clone();
    let mut world = world(place, json!({}));
    world.restart(json!({ "database": path })).await;
    let failure = world.fail().await;
    assert_eq!(failure.first.code, "CONFIG", "{failure:?}");
    world.restart(json!({ "database": world.path() })).await;
    world.run().await;
    world.end().await;
}

#[tokio::test]
async fn places_that_are_not_there() {
    let d1 = Place::d1().await;
    let mut nowhere = d1.source();
    nowhere["database_id"] = json!("00000000-0000-0000-0000-000000000000");
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    std::fs::write(&text, "no database at all, however long this text is made to be, and then some more").unwrap();
    let elsewhere = servers(D1).remove(0).port().unwrap();
    let sources = [
        (nowhere, "check the account's and the database's id"),
        (json!({ "type": "sqlite", "path": directory.path().join("missing") }), "No such file"),
        (json!({ "type": "sqlite", "path": directory.path() }), "it is no file"),
        (json!({ "type": "sqlite", "path": text }), "not a database"),
        (json!({ "type": "starbasedb", "uri": format!("http://127.0.0.1:{elsewhere}/x"), "token": "t" }), "check it"),
        (json!({ "type": "turso", "uri": format!("http://127.0.0.1:{elsewhere}/x") }), "check it"),
    ];
    for (source, said) in sources {
        let mut world = world(Place::file(), json!({}));
        world.restart(json!({ "source": source, "retry": { "attempts": 1 } })).await;
        let failure = world.fail().await;
        assert_eq!((failure.first.code, failure.first.retryable), ("CONNECT", false), "{failure:?}");
        assert!(failure.first.message.contains(said), "{said}: {failure:?}");
        world.end().await;
    }
}

/// A server that fails in every way it knows, in the middle of a load and of an incremental run: nothing is lost.
async fn failing_server(place: Place, faults: Json) {
    let shape = Shape::usual("users");
    let kind = place.source()["type"].clone();
    let mut world = world(place.clone(), json!({ "batch_size": 500 }));
    world.bed.create(&shape).await;
    world.bed.insert(&shape, &(0..9_000).map(|i| usual(i, i, "some text", at(i % 99))).collect::<Vec<_>>()).await;
    place.tell(Told::Faults(faults.clone())).await;
    let stats = world.run().await;
    assert_eq!(stats.rows_inserted, 9_000, "{kind}");
    world.assert_equal(&shape).await;
    world.restart(json!({})).await;
    place.tell(Told::Faults(json!([]))).await;
    world.bed.insert(&shape, &(20_000..25_000).map(|i| usual(i, i, "more", at(100 + i % 9))).collect::<Vec<_>>()).await;
    world.bed.update(&shape, &row([("id", 5.into())]), &row([("n", (-1).into()), ("updated_at", at(105))])).await;
    place.tell(Told::Faults(faults)).await;
    world.run().await;
    place.tell(Told::Faults(json!([]))).await;
    world.assert_equal(&shape).await;
    world.end().await;
}

#[tokio::test]
async fn a_d1_that_fails_in_every_way() {
    let error = |code: i64, message: &str| {
        json!({ "result": [], "success": false, "errors": [{ "code": code, "message": message }], "messages": [] })
            .to_string()
    };
    let faults = json!([
        null,
        { "status": 500, "body": error(7500, "D1 DB storage operation exceeded timeout which caused object to be reset.") },
        null, null, null,
        { "truncate": 20_000 },
        { "status": 504, "headers": { "content-type": "text/html" }, "body": "<html>Gateway time-out</html>" },
        { "status": 429, "headers": { "retry-after": "1" }, "body": error(971, "Please wait") },
        null, null, null, null,
        { "after": true, "status": 502, "body": "" },
        { "delay_ms": 300 },
        null, null,
        { "status": 200, "body": "<html>" },
    ]);
    failing_server(Place::d1().await, faults).await;
}

#[tokio::test]
async fn a_starbasedb_that_fails_in_every_way() {
    let error = |message: &str| json!({ "error": message }).to_string();
    let faults = json!([
        { "status": 503, "body": "error code: 1105" },
        null, null,
        { "status": 500, "body": error("database is locked: SQLITE_BUSY") },
        null, null, null,
        { "truncate": 20_000 },
        { "status": 500, "body": "<html>" },
        { "status": 429, "headers": { "retry-after": "1" }, "body": "" },
        null, null, null, null,
        { "after": true, "status": 502, "body": "" },
        { "delay_ms": 300 },
        null, null,
        { "status": 200, "body": "{\"result\":{\"columns\":[],\"rows\":[[1" },
    ]);
    failing_server(Place::starbasedb(), faults).await;
}

#[tokio::test]
async fn a_failure_that_stays_is_told() {
    for (place, body) in [
        (
            Place::d1().await,
            json!({ "result": [], "success": false, "errors": [{ "code": 7500, "message": "no such table: t: SQLITE_ERROR" }] }),
        ),
        (Place::starbasedb(), json!({ "error": "no such table: t: SQLITE_ERROR" })),
    ] {
        place.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
        let status = if place.source()["type"] == "d1" { 400 } else { 500 };
        // The list of tables and the description come; the rows don't.
        place.tell(Told::Faults(json!([null, null, null, { "status": status, "body": body.to_string() }]))).await;
        let world = world(place, json!({}));
        let failure = world.fail().await;
        assert_eq!((failure.first.code, failure.first.retryable), ("SOURCE_READ", false), "{failure:?}");
        assert!(
            failure.first.message.contains("Failed to read table 't' from external database: no such table"),
            "{failure:?}"
        );
        world.end().await;
    }
}

/// D1 allows 1,200 requests in five minutes and then none for as long; here the minutes are seconds.
#[tokio::test]
async fn the_limit_of_requests_pauses_a_run() {
    let place = Place::d1().await;
    let shape = Shape::usual("users");
    let world = world(place.clone(), json!({ "batch_size": 500 }));
    world.bed.create(&shape).await;
    world.bed.insert(&shape, &(0..9_000).map(|i| usual(i, i, "some text", at(i % 99))).collect::<Vec<_>>()).await;
    place.tell(Told::Limit(json!({ "requests": 1_200, "window_ms": 30_000, "block_ms": 5_000 }))).await;
    let began = Instant::now();
    // All but three of them, so that the run meets the limit between two pages.
    futures_util::future::join_all((0..4).map(|_| async {
        for _ in 0..299 {
            place.ask("SELECT 1", &[]).await;
        }
    }))
    .await;
    let burnt = began.elapsed();
    place.ask("SELECT 1", &[]).await;
    let paused = Instant::now();
    let stats = world.run().await;
    let waited = paused.elapsed();
    assert_eq!(stats.rows_inserted, 9_000);
    world.assert_equal(&shape).await;
    let counted = place.counted().await;
    let said: Vec<String> =
        world.log(Level::Warn).into_iter().filter(|line| line.contains("limits how often")).collect();
    println!("1,197 requests in {burnt:.1?}, then a run of {waited:.1?}, refused {}: {said:#?}", counted["refused"]);
    assert!(!said.is_empty(), "the pause is in the log");
    assert_eq!(counted["refused"], 0, "what the server told of the limit was enough not to meet it");
    assert!(waited > Duration::from_secs(3), "{waited:?}");
    // Who is refused waits as long as it is told, and goes on.
    place.tell(Told::Limit(Json::Null)).await;
    place.tell(Told::Faults(json!([{ "status": 429, "headers": { "retry-after": "2" }, "body": "" }]))).await;
    let paused = Instant::now();
    world.run().await;
    assert!(paused.elapsed() >= Duration::from_secs(2));
    world.end().await;
}

/// Few requests is what D1 asks for.
#[tokio::test]
async fn a_load_asks_d1_as_little_as_it_can() {
    const ROWS: i64 = 100_000;
    const PAGE: f64 = 4.0 * 1024.0 * 1024.0;
    let shape = Shape {
        name: "events",
        columns: vec![("id", Holds::Int), ("name", Holds::Text), ("body", Holds::Text), ("updated_at", Holds::Instant)],
        key: vec!["id"],
    };
    let place = Place::d1().await;
    let world = world(place.clone(), json!({ "tables": ["events"], "batch_size": 5_000 }));
    world.bed.create(&shape).await;
    let text = "x".repeat(180);
    let rows: Vec<_> = (0..ROWS)
        .map(|id| {
            row([
                ("id", id.into()),
                ("name", "some name".into()),
                ("body", Datum::Text(text.clone())),
                ("updated_at", at(id)),
            ])
        })
        .collect();
    for chunk in rows.chunks(5_000) {
        world.bed.insert(&shape, chunk).await;
    }
    let before = place.counted().await;
    assert_eq!(world.run().await.rows_inserted, 100_000);
    let after = place.counted().await;
    let difference = |what: &str| after[what].as_f64().unwrap() - before[what].as_f64().unwrap();
    let (requests, bytes) = (difference("requests"), difference("bytes"));
    // Which tables there are, how this one is made, how large it is, and where its changes begin; then pages.
    let least = 4.0 + (bytes / PAGE).ceil();
    println!("100,000 rows from D1: {requests} requests for {bytes} bytes; the least is {least}");
    assert!(requests <= 1.2 * least, "{requests} requests, {least} would do");
    world.assert_equal(&shape).await;
    // A run that finds nothing asks for the tables, the table, and what is new.
    let before = place.counted().await["requests"].as_i64().unwrap();
    world.run().await;
    let idle = place.counted().await["requests"].as_i64().unwrap() - before;
    println!("a run that finds nothing: {idle} requests");
    assert!(idle <= 5, "{idle}");
    world.end().await;
}

#[tokio::test]
async fn an_idle_stream_is_opened_again() {
    let shape = Shape::usual("users");
    let place = Place::turso().await;
    let world = world(place, json!({}));
    world.bed.create(&shape).await;
    world.bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
    let mut idle = true;
    // The server forgets streams that are idle for ten seconds.
    let run = world.run_until(move |event| {
        if matches!(event, Event::TableStart { .. }) && std::mem::take(&mut idle) {
            std::thread::sleep(Duration::from_secs(12));
        }
        false
    });
    run.await.unwrap();
    world.assert_equal(&shape).await;
    assert!(world.log(Level::Warn).is_empty(), "{:?}", world.log(Level::Warn));
    world.end().await;
}

/// libSQL's servers give no answer above 10 MB, unless it is streamed.
#[tokio::test]
async fn an_answer_that_is_too_large_comes_in_parts() {
    let place = Place::turso().await;
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 4000)";
    for sql in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b AS (a), c AS (a))",
        &format!("INSERT INTO t {numbers} SELECT n, hex(zeroblob(4000)) FROM numbers"),
        // One row that is too large by itself, among others: what is stored of it is not.
        "UPDATE t SET a = hex(zeroblob(2000000)) WHERE id = 1700",
    ] {
        place.execute(sql).await;
    }
    let world = world(place, json!({}));
    assert_eq!(world.run().await.rows_inserted, 4_000);
    let lengths = "SELECT count(*) || '/' || sum(length(a)) || '/' || sum(length(c)) FROM t";
    assert_eq!(cell(&world, lengths), some("4000/35992000/35992000"));
    assert!(world.log(Level::Warn).is_empty(), "{:?}", world.log(Level::Warn));
    world.end().await;
}

#[tokio::test]
async fn a_file_in_any_journal_mode() {
    for mode in ["delete", "wal", "truncate"] {
        let place = Place::file();
        place.execute(&format!("PRAGMA journal_mode = {mode}")).await;
        let shape = Shape::usual("users");
        let world = world(place, json!({}));
        world.bed.create(&shape).await;
        world.bed.insert(&shape, &(0..3_000).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
        world.run().await;
        world.bed.insert(&shape, &[usual(9_000, 1, "y", at(9_000))]).await;
        assert_eq!(world.run().await.rows_inserted, 1);
        world.assert_equal(&shape).await;
        world.end().await;
    }
}

/// A page may end between two keys that are one in the column's own collation, and not in the key's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_collation_than_its_columns() {
    let columns = "part TEXT NOT NULL, name TEXT COLLATE NOCASE NOT NULL, updated_at TEXT COLLATE NOCASE";
    for place in places().await {
        let kind = place.source()["type"].clone();
        // Pairs of names that differ by a letter's case, of which the second one begins a page.
        let fill = |table: usize, part: &str, day: u8| {
            format!(
                "INSERT INTO t{table} WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
                 SELECT '{part}', printf(CASE i % 2 WHEN 1 THEN '{part}k%05d' ELSE '{part}K%05d' END, (i + 1) / 2), \
                 '2026-01-0{day}' FROM n"
            )
        };
        for sql in [
            format!("CREATE TABLE t0 ({columns}, PRIMARY KEY (name COLLATE BINARY))"),
            format!("CREATE TABLE t1 ({columns}, PRIMARY KEY (part, name COLLATE BINARY)) WITHOUT ROWID"),
            format!("CREATE TABLE t2 ({columns})"),
            "CREATE UNIQUE INDEX i ON t2 (name COLLATE BINARY)".to_owned(),
            "CREATE TABLE t3 (part TEXT, name TEXT, updated_at TEXT, PRIMARY KEY (name COLLATE NOCASE))".to_owned(),
            "CREATE VIEW t4 AS SELECT * FROM t0".to_owned(),
        ] {
            place.execute(&sql).await;
        }
        let view = json!({ "name": "t4", "primary_key": ["name"] });
        let world = world(place.clone(), json!({ "deletes": "hard", "tables": ["*", view] }));
        for (part, day, rows) in [("p", 1, 3_001), ("q", 5, 6_002)] {
            for table in 0..3 {
                place.execute(&fill(table, part, day)).await;
            }
            place.execute(&format!("INSERT INTO t3 VALUES ('{part}', '{part}', '2026-01-0{day}')")).await;
            world.run().await;
            for table in [0, 1, 2, 4] {
                let count = cell(&world, &format!("SELECT count(*) FROM t{table}"));
                assert_eq!(count, some(&rows.to_string()), "{kind} t{table}");
            }
        }
        place.execute("DELETE FROM t1 WHERE name = 'pK00007'").await;
        assert_eq!(world.run().await.rows_deleted, 2, "{kind}: both spellings");
        let found = world.sync.verify(None, false, CancellationToken::new()).await.unwrap();
        assert!(found.tables.values().all(|table| table.missing + table.extra == 0), "{kind}: {found:?}");
        world.end().await;
    }
}
