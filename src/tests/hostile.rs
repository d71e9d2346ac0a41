//! Sources that mean harm, and what happens to a target file behind a run's back.

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::sqlite_bed::{Place, SqliteBed};
use super::support;
use super::world::{World, cell, some};
use crate::event::{Event, Failure};

fn world(place: Place, options: Json) -> World {
    World::new(Box::new(SqliteBed { place, deployed: None }), options)
}

/// A clear error: of a kind that says whose fault it is, on one line, and short enough to be read.
fn assert_clear(failure: &Failure) {
    for fault in failure.errors.iter().chain([&failure.first]) {
        let codes = ["CONNECT", "SOURCE_READ", "SCHEMA", "TABLE_NOT_FOUND"];
        assert!(codes.contains(&fault.code), "{failure:?}");
        assert!(fault.message.len() < 5_000 && !fault.message.contains(char::is_control), "{failure:?}");
    }
}

/// Passes questions on to `upstream` and puts `evil`, a piece of JSON text, in the place of `name` in its answers.
async fn rewriting(upstream: u16, name: &'static str, evil: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let evil = evil.clone();
            tokio::spawn(async move {
                let Some(question) = message(&mut client).await else { return };
                let mut server = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
                server.write_all(&closing(&question)).await.unwrap();
                let mut answer = Vec::new();
                server.read_to_end(&mut answer).await.unwrap();
                let answer = String::from_utf8(answer).unwrap();
                let (_, body) = answer.split_once("\r\n\r\n").unwrap();
                let body = unchunked(&answer, body).replace(name, &evil);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
                let _ = client.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await;
                let _ = client.shutdown().await;
            });
        }
    });
    port
}

/// One request, with its body.
async fn message(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut said = Vec::new();
    loop {
        let mut piece = vec![0; 64 << 10];
        let count = client.read(&mut piece).await.ok().filter(|&count| count > 0)?;
        said.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&said).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(said);
        }
    }
}

/// The same request with the wish that the connection ends with the answer.
fn closing(question: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(question).replacen("\r\n", "\r\nconnection: close\r\n", 1).into_bytes()
}

fn unchunked(answer: &str, body: &str) -> String {
    if !answer.to_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((length, more)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(&more[..length]);
        rest = more[length..].trim_start_matches("\r\n");
    }
    whole
}

/// Names that only a server of the sender's own making has: SQLite ends a text at NUL.
#[tokio::test]
async fn names_that_no_database_has() {
    let evil = [
        "\\u0000",
        "a\\u0000\\\"; DROP TABLE tmp_data_sync_state; --",
        "\\u001b[2J\\r\\n",
        "\\ud800",
        "",
        &"n".repeat(3 << 20),
    ];
    for evil in evil.map(str::to_owned) {
        let real = Place::starbasedb();
        real.execute("CREATE TABLE good (id INTEGER PRIMARY KEY)").await;
        real.execute("INSERT INTO good VALUES (1)").await;
        real.execute("CREATE TABLE the_table (id INTEGER PRIMARY KEY, the_column TEXT)").await;
        real.execute("INSERT INTO the_table VALUES (1, 'x')").await;
        for part in ["the_table", "the_column"] {
            let mut source = real.source();
            let upstream: url::Url = source["uri"].as_str().unwrap().parse().unwrap();
            let port = rewriting(upstream.port().unwrap(), part, evil.clone()).await;
            let mut rewritten = upstream;
            rewritten.set_port(Some(port)).unwrap();
            source["uri"] = json!(rewritten.as_str());
            let options = json!({ "source": source, "retry": { "attempts": 1 } });
            let world = world(Place::file(), options);
            let outcome = world.sync.sync(None, tokio_util::sync::CancellationToken::new()).await;
            if let Err(failure) = &outcome {
                assert_clear(failure);
            }
            if world.path().exists() {
                assert_eq!(cell(&world, "PRAGMA integrity_check"), some("ok"), "{outcome:?}");
            }
            for line in world.log(crate::event::Level::Debug) {
                assert!(!line.contains(['\0', '\u{1b}', '\r', '\n']) && line.len() < 5_000, "{line:?}");
            }
            world.end().await;
        }
    }
}

/// No source is asked for compressed answers, so there is nothing that unpacks: a few bytes stay a few bytes.
#[tokio::test]
async fn what_is_compressed_is_not_unpacked() {
    const PACKED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x1d\x8a\x3d\x0a\xc0\x20\x0c\x46\xef\xf2\xcd\x59\xba\x7a\x15\x71\x90\
        \x10\xba\x68\x85\xc4\xd0\x41\xbc\x7b\x63\xc7\xf7\xb3\xa0\x62\xde\x26\xd2\x02\x8f\xe6\xfd\x31\xa4\x8c\x8a\x42\xd0\xf1\x1e\xc8\
        \x57\x29\x9b\x60\xce\x2c\x16\x62\xaa\x0b\x41\x54\x87\x9e\x1c\x63\x0f\x5f\x6f\xf9\x69\x7f\x91\x11\x1d\xb8\xb5\x20\x00\x00\x00";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let question = message(&mut client).await.unwrap_or_default();
            let asked = String::from_utf8_lossy(&question).to_lowercase();
            assert!(!asked.contains("accept-encoding"), "{asked}");
            let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\ncontent-length:";
            let _ = client.write_all(format!("{head} {}\r\n\r\n", PACKED.len()).as_bytes()).await;
            let _ = client.write_all(PACKED).await;
            let _ = client.shutdown().await;
        }
    });
    let address = format!("http://127.0.0.1:{port}");
    for source in [
        json!({ "type": "turso", "uri": address, "token": "t" }),
        json!({ "type": "starbasedb", "uri": address, "token": "t" }),
        json!({ "type": "d1", "url": address, "api_key": "t", "account_id": "a", "database_id": "d" }),
    ] {
        let world = world(Place::file(), json!({ "source": source, "retry": { "attempts": 1 } }));
        assert_clear(&world.fail().await);
        world.end().await;
    }
}

/// A message that ends before what its type promises; its reader in sqlx panics. No real server sends one, so these are not real.
#[tokio::test]
async fn messages_that_are_too_short() {
    let scripts: [(&str, &[u8]); 2] = [("postgresql", b"R\x00\x00\x00\x04"), ("mysql", b"\x03\x00\x00\x00\x0a8\x00")];
    for (system, said) in scripts {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let _ = client.write_all(said).await;
                let _ = client.read_to_end(&mut Vec::new()).await;
            }
        });
        let source = json!({ "type": system, "host": "127.0.0.1", "port": port, "user": "u", "password": "p",
                             "database": "d", "ssl": "disable" });
        let world = world(Place::file(), json!({ "source": source, "retry": { "attempts": 1 } }));
        let failure = world.fail().await;
        assert_clear(&failure);
        assert!(failure.first.message.contains("too short for its type"), "{failure:?}");
        world.end().await;
    }
}

/// PostgreSQL can hold such a row, but not send it.
#[tokio::test]
async fn a_row_larger_than_a_gigabyte_is_told_and_the_other_tables_go_on() {
    // One server will do: making the row takes seconds.
    let database = support::databases().await.remove(0);
    database
        .execute(
            "CREATE TABLE huge (id int PRIMARY KEY, a text, b text);
             INSERT INTO huge VALUES (1, repeat('x', 540000000));
             UPDATE huge SET b = a;
             CREATE TABLE large (id int PRIMARY KEY, a text);
             INSERT INTO large VALUES (1, repeat('x', 100000000)), (2, 'y')",
        )
        .await;
    let source = json!({ "type": "postgresql", "url": database.url });
    let world = world(Place::file(), json!({ "source": source, "retry": { "attempts": 1 } }));
    let failure = world.fail().await;
    assert_clear(&failure);
    assert_eq!(failure.errors.len(), 1, "{failure:?}");
    assert_eq!(failure.first.table.as_deref(), Some("huge"), "{failure:?}");
    assert_eq!(cell(&world, "SELECT sum(length(a)) FROM large"), some("100000001"));
    assert_eq!(cell(&world, "SELECT count(*) FROM huge"), some("0"));
    world.end().await;
}

/// Deletes the target, or puts another file in its place, in the middle of a load.
async fn behind_a_run(change: impl Fn(&std::path::Path) + Send + Sync + 'static) {
    let place = Place::file();
    place.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)").await;
    let count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)";
    place.execute(&format!("INSERT INTO t {count} SELECT i, hex(randomblob(50)) FROM n")).await;
    let world = world(place, json!({ "batch_size": 100, "retry": { "attempts": 1 } }));
    let path = world.path();
    let mut done = false;
    world.recorder.watch(move |event| {
        if !done && matches!(event, Event::Progress { .. }) {
            done = true;
            change(&path);
        }
    });
    let failure = world.fail().await;
    world.recorder.watch(|_| {});
    assert_eq!(failure.first.code, "TARGET_WRITE", "{failure:?}");
    assert_clear_of_target(&failure);
    world.run().await;
    assert_eq!(cell(&world, "SELECT count(*) FROM t"), some("20000"));
    assert_eq!(cell(&world, "PRAGMA integrity_check"), some("ok"));
    let report = world.sync.verify(None, false, tokio_util::sync::CancellationToken::new()).await.unwrap();
    assert_eq!(report.tables["t"].missing + report.tables["t"].different + report.tables["t"].extra, 0);
    world.end().await;
}

fn assert_clear_of_target(failure: &Failure) {
    assert!(failure.first.message.starts_with("Failed to"), "{failure:?}");
    assert!(failure.first.message.contains("moved or deleted"), "{failure:?}");
}

fn remove(path: &std::path::Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_deleted_during_a_run() {
    behind_a_run(remove).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_replaced_during_a_run() {
    behind_a_run(|path| {
        remove(path);
        rusqlite::Connection::open(path)
            .unwrap()
            .execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)")
            .unwrap();
    })
    .await;
}
