//! The least rights: the statements of README.md's table, run as they stand there, are enough for a table's whole life, and
//! for nothing else.

use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::bed::{Bed, Shape};
use super::sqlite_bed::{Place, STARBASEDB, SqliteBed, TURSO, bare, servers};
use super::tls::{Front, Upgrade};
use super::world::{World, at, row, usual};
use super::{mongodb_bed, mysql_bed, postgres_bed};

const README: &str = include_str!("../../README.md");

/// What the README has in its table of rights for `source`, with other names than those that are meant as examples.
fn statements(source: &str, names: &[(&str, &str)]) -> Vec<String> {
    let table = README.split_once("\n## Rights that the source's user needs\n").expect("the section").1;
    let row = table.lines().find(|line| line.starts_with(&format!("| {source} |"))).expect("a row");
    let cell = row.split('|').nth(2).unwrap();
    let found = cell.split('`').skip(1).step_by(2).map(|statement| {
        names.iter().fold(statement.to_owned(), |statement, (example, name)| statement.replace(example, name))
    });
    let found: Vec<_> = found.collect();
    assert!(!found.is_empty(), "{row}");
    found
}

/// A first load, rows that come, change and go, and a comparison.
async fn lives(bed: Box<dyn Bed>, source: Value, tables: &[&'static str]) {
    let shapes: Vec<_> = tables.iter().map(|name| Shape::usual(name)).collect();
    let names = json!(tables);
    let options =
        json!({ "source": source, "tables": names, "deletes": "hard", "batch_size": 50, "retry": { "attempts": 1 } });
    let world = World::new(bed, options);
    assert_eq!(world.run().await.rows_inserted, 200 * tables.len() as u64);
    for shape in &shapes {
        world.bed.insert(shape, &[usual(900, 1, "new", at(900))]).await;
        world.bed.update(shape, &row([("id", 5.into())]), &row([("n", 77.into()), ("updated_at", at(901))])).await;
        world.bed.delete(shape, &row([("id", 6.into())])).await;
    }
    let stats = world.run().await;
    let each = tables.len() as u64;
    assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (each, each, each));
    for shape in &shapes {
        world.assert_equal(shape).await;
    }
    let compared = world.sync.verify(None, false, CancellationToken::new()).await.unwrap();
    for (name, found) in json!(compared)["tables"].as_object().unwrap() {
        assert_eq!(
            (&found["missing"], &found["extra"], &found["different"]),
            (&json!(0), &json!(0), &json!(0)),
            "{name}"
        );
    }
    world.end().await;
}

async fn fill(bed: &dyn Bed, name: &'static str) {
    let shape = Shape::usual(name);
    bed.create(&shape).await;
    bed.insert(&shape, &(0..200).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
}

fn role() -> String {
    format!("reader_{:012x}", fastrand::u64(..) >> 16)
}

fn url_as(address: &Value, user: &str) -> String {
    let mut url: Url = address.as_str().unwrap().parse().unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some("hush")).unwrap();
    url.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    for bed in postgres_bed::beds().await {
        let role = role();
        fill(bed.as_ref(), "users").await;
        for statement in statements("PostgreSQL", &[("data_sync", &role), ("'secret'", "'hush'")]) {
            bed.execute(&statement).await;
        }
        // One that comes later.
        fill(bed.as_ref(), "orders").await;
        let url = url_as(&bed.source()["url"], &role);
        for statement in [
            "INSERT INTO users VALUES (1000, 1, 'x', now())",
            "UPDATE users SET n = 1",
            "DELETE FROM users",
            "TRUNCATE users",
            "CREATE TABLE mine (id int)",
            "CREATE INDEX ON users (n)",
        ] {
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            let refused = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap_err().to_string();
            assert!(
                refused.contains("permission denied") || refused.contains("must be owner"),
                "{statement}: {refused}"
            );
        }
        let admin = bed.source();
        lives(bed, json!({ "type": "postgresql", "url": url }), &["users", "orders"]).await;
        let mut server: Url = admin["url"].as_str().unwrap().parse().unwrap();
        server.set_path("postgres");
        let mut connection = sqlx::PgConnection::connect(server.as_str()).await.unwrap();
        let gone = format!("DROP ROLE {role}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(gone)).execute(&mut connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql() {
    // With and without the right that may be left out.
    for optional in [false, true] {
        for bed in mysql_bed::beds().await {
            let role = role();
            let admin = bed.source()["url"].as_str().unwrap().to_owned();
            let database = admin.rsplit_once('/').unwrap().1.to_owned();
            fill(bed.as_ref(), "users").await;
            let names = [("data_sync", &*role), ("'secret'", "'hush'"), (" app.", &*format!(" {database}."))];
            let all = statements("MySQL and MariaDB", &names);
            assert!(all.last().unwrap().starts_with("GRANT PROCESS"), "{all:?}");
            for statement in &all[..all.len() - usize::from(!optional)] {
                bed.execute(statement).await;
            }
            fill(bed.as_ref(), "orders").await;
            let url = url_as(&json!(admin), &role);
            for statement in [
                "INSERT INTO users VALUES (1000, 1, 'x', now())",
                "UPDATE users SET n = 1",
                "DELETE FROM users",
                "TRUNCATE users",
                "CREATE TABLE mine (id int)",
                "CREATE INDEX i ON users (n)",
            ] {
                let mut connection = sqlx::MySqlConnection::connect(&url).await.unwrap();
                let refused = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap_err().to_string();
                assert!(refused.contains("denied"), "{statement}: {refused}");
            }
            lives(bed, json!({ "type": "mysql", "url": url }), &["users", "orders"]).await;
            let mut connection = mysql_bed::connect(&admin.replace(&database, "")).await;
            mysql_bed::run(&mut connection, &format!("DROP USER {role}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb() {
    for bed in mongodb_bed::guarded_beds().await {
        let role = role();
        let admin = bed.source()["uri"].as_str().unwrap().to_owned();
        let database = admin.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
        fill(bed.as_ref(), "users").await;
        let names =
            [("'data_sync'", &*format!("'{role}'")), ("'secret'", "'hush'"), ("'app'", &*format!("'{database}'"))];
        let [statement] = <[String; 1]>::try_from(statements("MongoDB", &names)).unwrap();
        // The shell's way to call the command.
        let argument = statement.strip_prefix("db.createUser(").unwrap().strip_suffix(')').unwrap();
        let argument =
            ["user", "pwd", "roles", "role", "db"].iter().fold(argument.replace('\'', "\""), |text, name| {
                text.replace(&format!(" {name}: "), &format!(" \"{name}\": "))
            });
        let argument: Value = serde_json::from_str(&argument).unwrap();
        let command = json!({ "createUser": argument["user"], "pwd": argument["pwd"], "roles": argument["roles"] });
        // The order of a command's fields counts: its name comes first.
        bed.execute(&command.to_string()).await;
        fill(bed.as_ref(), "orders").await;
        let uri = url_as(&json!(admin), &role).replace("authSource=admin", &format!("authSource={database}"));
        let client = mongodb::Client::with_uri_str(&uri).await.unwrap().database(&database);
        let users = client.collection::<mongodb::bson::Document>("users");
        let one = mongodb::bson::doc! { "_id": 1000_i64 };
        for (what, outcome) in [
            ("insert", users.insert_one(&one).await.map(drop)),
            ("delete", users.delete_one(one.clone()).await.map(drop)),
            ("update", users.update_one(one, mongodb::bson::doc! { "$set": { "n": 1 } }).await.map(drop)),
            ("drop", users.drop().await),
        ] {
            let refused = outcome.expect_err(what).to_string();
            assert!(refused.contains("not authorized") || refused.contains("Unauthorized"), "{what}: {refused}");
        }
        lives(bed, json!({ "type": "mongodb", "uri": uri }), &["users", "orders"]).await;
    }
}

/// The server with tokens has one database, which other tests look into; so its table stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turso() {
    let guarded = servers(TURSO).remove(1);
    let (all, read) = (guarded.username(), guarded.password().expect("a token that may only read"));
    let table = format!("rights_{:012x}", fastrand::u64(..) >> 16);
    let ask = async |token: &str, sql: String| -> Value {
        let body = json!({ "requests": [{ "type": "execute", "stmt": { "sql": sql } }, { "type": "close" }] });
        let request = crate::source::sqlite::http::client().unwrap().build().unwrap();
        let request = request.post(bare(&guarded).join("v3/pipeline").unwrap()).bearer_auth(token);
        let answer = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&answer).unwrap_or(Value::String(answer))
    };
    let sqls = [
        format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, n INTEGER, updated_at DATETIME)"),
        format!("INSERT INTO {table} VALUES (1, 1, '2026-01-01 00:00:00'), (2, 2, '2026-01-01 00:00:00')"),
    ];
    for sql in sqls {
        assert_eq!(ask(all, sql.clone()).await["results"][0]["type"], "ok", "{sql}");
    }
    for sql in [
        format!("INSERT INTO {table} VALUES (3, 3, NULL)"),
        format!("UPDATE {table} SET n = 5"),
        format!("DELETE FROM {table}"),
        format!("DROP TABLE {table}"),
    ] {
        let answer = ask(read, sql.clone()).await;
        assert_ne!(answer["results"][0]["type"], "ok", "{sql}: {answer}");
    }
    let mut world = World::new(Box::new(SqliteBed { place: Place::file(), deployed: None }), json!({}));
    let source = json!({ "type": "turso", "uri": bare(&guarded).as_str(), "token": read });
    world.restart(json!({ "source": source, "tables": [table], "deletes": "hard" })).await;
    assert_eq!(world.run().await.rows_inserted, 2);
    for sql in [
        format!("INSERT INTO {table} VALUES (3, 3, '2026-01-02 00:00:00')"),
        format!("UPDATE {table} SET n = 9, updated_at = '2026-01-02 00:00:00' WHERE id = 1"),
        format!("DELETE FROM {table} WHERE id = 2"),
    ] {
        ask(all, sql).await;
    }
    let stats = world.run().await;
    assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (1, 1, 1));
    let compared = world.sync.verify(None, false, CancellationToken::new()).await.unwrap();
    let found = &json!(compared)["tables"][&table];
    assert_eq!((&found["missing"], &found["extra"], &found["different"]), (&json!(0), &json!(0), &json!(0)));
    world.end().await;
}

/// Where no right can be tried that only lets one read: all that is said are questions.
async fn only_asks(place: Place, token: Option<&str>) {
    let bed = SqliteBed { place, deployed: None };
    fill(&bed, "users").await;
    let (upstream, _) = bed.through(0);
    let front = Front::start(upstream, Upgrade::AtOnce, None).await;
    let (_, mut source) = bed.through(front.port);
    if let Some(token) = token {
        source["token"] = json!(token);
    }
    lives(Box::new(bed), source, &["users"]).await;
    let said = front.said();
    let statements: Vec<_> = said.split("{\"sql\":\"").skip(1).collect();
    assert!(statements.len() > 8, "{said}");
    for statement in statements {
        assert!(statement.starts_with("SELECT ") || statement.starts_with("WITH "), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1() {
    only_asks(Place::d1().await, None).await;
}

/// With the client's token, which may less than the admin's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starbasedb() {
    let server = servers(STARBASEDB).remove(0);
    only_asks(Place::starbasedb(), server.password()).await;
}

/// Who reads a file leaves every byte of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_left_as_it_was() {
    for mode in ["delete", "wal"] {
        let place = Place::file();
        place.execute(&format!("PRAGMA journal_mode = {mode}")).await;
        let path = place.source()["path"].as_str().unwrap().to_owned();
        let bed = SqliteBed { place, deployed: None };
        fill(&bed, "users").await;
        let before = std::fs::read(&path).unwrap();
        let world = World::new(Box::new(bed), json!({ "deletes": "hard" }));
        world.run().await;
        world.run().await;
        world.sync.verify(None, false, CancellationToken::new()).await.unwrap();
        world.sync.stop().await;
        assert!(std::fs::read(&path).unwrap() == before, "{mode}");
        world.end().await;
    }
}
