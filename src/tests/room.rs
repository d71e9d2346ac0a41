//! What a Durable Object has no room for, found before a row is written: by every source that rows may come from.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::engine::DataSync;
use crate::event::{Failure, Level};

use super::bed::{Bed, Shape};
use super::deployed::Deployed;
use super::world::{Recorder, World, at, handle, query, some, usual};
use super::{mongodb_bed, mysql_bed, postgres_bed, sqlite_bed};

/// A source, and a deployed StarbaseDB that its rows go to.
struct Pair {
    bed: Box<dyn Bed>,
    deployed: Deployed,
    recorder: Arc<Recorder>,
}

impl Pair {
    async fn new(bed: Box<dyn Bed>) -> Self {
        Self { bed, deployed: Deployed::new().await, recorder: Arc::default() }
    }

    fn sync(&self, tables: &Value) -> DataSync {
        let retry = json!({ "attempts": 1 });
        let all =
            json!({ "source": self.bed.source(), "target": self.deployed.target(), "tables": tables, "retry": retry });
        handle(&all, Arc::<Recorder>::clone(&self.recorder) as _)
    }

    /// Runs, and has a dry run say the same.
    async fn fail(&self, tables: &Value) -> Failure {
        let sync = self.sync(tables);
        let planned = sync.plan(None).await.expect_err("the dry run was to fail");
        let failure = sync.sync(None, CancellationToken::new()).await.expect_err("the run was to fail");
        let said = |failure: &Failure| failure.errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>();
        assert_eq!(said(&planned), said(&failure));
        sync.stop().await;
        failure
    }

    async fn run(&self, tables: &Value) {
        let sync = self.sync(tables);
        sync.sync(None, CancellationToken::new()).await.unwrap_or_else(|failure| panic!("{failure:?}"));
        sync.stop().await;
    }

    /// The tables that are in the target.
    fn tables(&self) -> Vec<String> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'tmp!_%' ESCAPE '!'
                   AND name NOT LIKE '!_cf!_%' ESCAPE '!' AND name <> 'sqlite_sequence' ORDER BY name";
        query(&self.deployed.file, sql).concat().into_iter().flatten().collect()
    }

    async fn end(self) {
        self.deployed.clear().await;
        self.bed.drop_all().await;
    }
}

/// Each table that has one value there is no room for, with nothing before it written, and the column that must be named.
fn assert_refused(failure: &Failure, expected: &[(&str, &str)]) {
    let said: Vec<_> = failure.errors.iter().filter_map(|error| error.table.as_deref()).collect();
    assert_eq!(said, expected.iter().map(|(table, _)| *table).collect::<Vec<_>>(), "{failure:?}");
    for (error, (_, words)) in failure.errors.iter().zip(expected) {
        assert!(error.code == "TARGET_WRITE" && !error.retryable, "{error:?}");
        assert!(error.message.contains(words) && error.message.contains("exclude_columns"), "{error:?}");
    }
}

/// A million quotes, which JSON writes with two characters each.
const QUOTES: usize = 1_100_000;

/// One row of a thousand is too large, and nothing of the table is written, not even the table. Without that column it is.
async fn one_row_of_many(bed: Box<dyn Bed>, widen: Option<&str>, quotes: Option<&str>) {
    let pair = Pair::new(bed).await;
    let shape = Shape::usual("users");
    pair.bed.create(&shape).await;
    if let Some(widen) = widen {
        pair.bed.execute(widen).await;
    }
    pair.bed.insert(&shape, &(0..1_000).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    // Statements of some sources are short.
    match quotes {
        Some(quotes) => pair.bed.execute(&format!("UPDATE users SET name = {quotes} WHERE id = 777")).await,
        None => pair.bed.insert(&shape, &[usual(5_000, 1, &"\"".repeat(QUOTES), at(2_000))]).await,
    }
    let failure = pair.fail(&json!(["users"])).await;
    assert_refused(&failure, &[("users", "1 value of up to 2.2 MB in column 'name'")]);
    assert_eq!(pair.tables(), Vec::<String>::new());
    // What a mask makes of it has room.
    pair.run(&json!([{ "name": "users", "mask": { "name": "redact" } }])).await;
    pair.run(&json!([{ "name": "users", "as": "less", "exclude_columns": ["name"] }])).await;
    assert_eq!(pair.tables(), ["less", "users"]);
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_postgres() {
    one_row_of_many(postgres_bed::beds().await.remove(0), None, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_mysql() {
    for bed in mysql_bed::beds().await {
        one_row_of_many(bed, Some("ALTER TABLE users MODIFY name longtext"), None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_mongodb() {
    one_row_of_many(mongodb_bed::beds().await.remove(0), None, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sqlites_family() {
    let quotes = format!("replace(hex(zeroblob({})), '0', '\"')", QUOTES / 2);
    let beds = [
        sqlite_bed::file_beds().await,
        sqlite_bed::turso_beds().await,
        sqlite_bed::d1_beds().await,
        sqlite_bed::starbasedb_beds().await,
    ];
    for bed in beds.into_iter().flatten() {
        one_row_of_many(bed, None, Some(&quotes)).await;
    }
}

/// Every type of PostgreSQL's whose values may be long, and what is only too much together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_every_long_type_of_postgres() {
    let pair = Pair::new(postgres_bed::beds().await.remove(0)).await;
    pair.bed.execute("CREATE DOMAIN words AS text; CREATE TYPE two AS (a text, b int)").await;
    let x = |count: usize| format!("repeat('x', {count})");
    let types = [
        ("a_text", "text", x(2_000_000)),
        ("b_varchar", "varchar(3000000)", x(2_000_000)),
        ("c_char", "char(2000000)", "'x'".to_owned()),
        ("d_bytes", "bytea", format!("convert_to({}, 'UTF8')", x(1_000_000))),
        ("e_json", "json", format!("to_json({})", x(2_000_000))),
        ("f_jsonb", "jsonb", format!("to_jsonb({})", x(2_000_000))),
        ("g_texts", "text[]", format!("ARRAY[{0}, {0}]", x(1_000_000))),
        ("h_numbers", "int[]", "(SELECT array_agg(i) FROM generate_series(1, 310000) i)".to_owned()),
        ("i_domain", "words", x(2_000_000)),
        ("j_record", "two", format!("ROW({}, 1)::two", x(2_000_000))),
        ("k_bits", "varbit", "repeat('1', 2000000)::varbit".to_owned()),
        ("l_points", "path", "(SELECT ('(' || string_agg('(0.123456789,0.123456789)', ',') || ')')::path FROM generate_series(1, 100000))".to_owned()),
    ];
    for (table, kind, value) in &types {
        let sql = format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, v {kind}); INSERT INTO {table} VALUES (1, NULL), (2, {value})"
        );
        pair.bed.execute(&sql).await;
    }
    let columns: Vec<String> = (0..40).map(|index| format!("v{index} text DEFAULT {}", x(60_000))).collect();
    pair.bed
        .execute(&format!(
            "CREATE TABLE m_row (id int PRIMARY KEY, {}); INSERT INTO m_row VALUES (1)",
            columns.join(", ")
        ))
        .await;
    pair.bed.execute("CREATE TABLE n_none (id int PRIMARY KEY, n numeric); INSERT INTO n_none VALUES (1, 2)").await;
    pair.bed.execute(&format!("CREATE TABLE o_fits (id int PRIMARY KEY, t text, b bytea); INSERT INTO o_fits VALUES (1, {}, NULL), (2, NULL, convert_to({}, 'UTF8'))", x(1_980_000), x(990_000))).await;
    let failure = pair.fail(&json!(["*"])).await;
    let mut expected: Vec<_> = types.iter().map(|(table, ..)| (*table, " in column 'v', and")).collect();
    expected.push(("m_row", "it has 1 row of up to 2.4 MB, and"));
    assert_refused(&failure, &expected);
    assert_eq!(pair.tables(), ["n_none", "o_fits"]);
    let computed = json!([{ "name": "n_none", "as": "computed", "select": { "v": "repeat('x', 2000000)" } }]);
    assert_refused(&pair.fail(&computed).await, &[("computed", "1 value of up to 2.0 MB in column 'v'")]);
    pair.end().await;
}

/// Every type of MySQL's whose values may be long; those that can't be are not even looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_every_long_type_of_mysql() {
    let pair = Pair::new(mysql_bed::beds().await.remove(0)).await;
    let types = [
        ("a_text", "mediumtext", "repeat('x', 2000000)"),
        ("b_latin", "longtext CHARACTER SET latin1", "repeat('é', 1000000)"),
        ("c_bytes", "longblob", "repeat('x', 1000000)"),
        ("d_json", "json", "concat('\"', repeat('x', 2000000), '\"')"),
        (
            "e_points",
            "linestring",
            "ST_LineFromText(concat('LINESTRING(', repeat('0.123456789 0.123456789,', 100000), '0 0)'))",
        ),
    ];
    for (table, kind, value) in types {
        pair.bed.execute(&format!("CREATE TABLE {table} (id int PRIMARY KEY, v {kind})")).await;
        pair.bed.execute(&format!("INSERT INTO {table} VALUES (1, NULL), (2, {value})")).await;
    }
    let columns: Vec<String> = (0..40).map(|index| format!("v{index} text DEFAULT repeat('x', 60000)")).collect();
    pair.bed.execute(&format!("CREATE TABLE f_row (id int PRIMARY KEY, {})", columns.join(", "))).await;
    pair.bed.execute("INSERT INTO f_row (id) VALUES (1)").await;
    pair.bed.execute("CREATE TABLE g_none (id int PRIMARY KEY, t text, v varchar(2000), e enum('a', 'b'))").await;
    pair.bed.execute("INSERT INTO g_none VALUES (1, repeat('x', 60000), 'x', 'a')").await;
    let failure = pair.fail(&json!(["*"])).await;
    let mut expected = types.map(|(table, ..)| (table, " in column 'v', and")).to_vec();
    expected.push(("f_row", "it has 1 row of up to 2.4 MB, and"));
    assert_refused(&failure, &expected);
    assert_eq!(pair.tables(), ["g_none"]);
    pair.end().await;
}

/// What a Durable Object has no room for is told for each table, and nothing of it is done; the other tables go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_tables_go_on() {
    let bed = sqlite_bed::deployed_beds().await.remove(0);
    let columns: Vec<String> = (0..101).map(|index| format!("c{index} INTEGER")).collect();
    bed.execute(&format!("CREATE TABLE wide (id INTEGER PRIMARY KEY, {})", columns.join(", "))).await;
    bed.execute("CREATE TABLE long (id INTEGER PRIMARY KEY, t TEXT, u TEXT); INSERT INTO long VALUES (1, 'x', 'x'), (2, printf('%.*c', 2100000, 'x'), NULL), (3, printf('%.*c', 2300000, 'x'), printf('%.*c', 2000000, 'x'))").await;
    bed.execute(
        "CREATE TABLE blobs (id INTEGER PRIMARY KEY, b INTEGER); INSERT INTO blobs VALUES (1, zeroblob(1100000))",
    )
    .await;
    bed.execute("CREATE TABLE fits (id INTEGER PRIMARY KEY, t TEXT, b BLOB); INSERT INTO fits VALUES (1, printf('%.*c', 1900000, 'x'), NULL), (2, NULL, zeroblob(900000))").await;
    let most: Vec<String> = (0..99).map(|index| format!("\"the column number {index}\" BLOB")).collect();
    bed.execute(&format!("CREATE TABLE most (id INTEGER PRIMARY KEY, {}); INSERT INTO most (id, \"the column number 7\") VALUES (1, x'00'), (2, 'text')", most.join(", "))).await;
    let world = World::new(bed, json!({}));
    let failure = world.fail().await;
    let said: Vec<_> = failure.errors.iter().map(|error| (error.code, error.table.as_deref().unwrap())).collect();
    assert_eq!(said, [("TARGET_WRITE", "blobs"), ("TARGET_WRITE", "long"), ("SCHEMA", "wide")], "{failure:?}");
    let words = [
        "1 value of up to 2.2 MB in column 'b', and a StarbaseDB in a Durable Object takes 2 MB, which is about 1 MB of a blob",
        "it has 2 values of up to 2.3 MB in column 't', 1 value of up to 2.0 MB in column 'u', and",
        "more than 100 columns",
    ];
    for (error, words) in failure.errors.iter().zip(words) {
        assert!(error.message.contains(words) && !error.retryable, "{error:?}");
    }
    assert_eq!(world.query("SELECT length(t), length(b) FROM fits ORDER BY id").len(), 2);
    assert_eq!(
        world.query("SELECT typeof(\"the column number 7\") FROM most ORDER BY id").concat(),
        ["blob", "text"].map(|kind| Some(kind.to_owned()))
    );
    assert!(world.query("SELECT 1 FROM sqlite_schema WHERE name IN ('wide', 'long', 'blobs')").is_empty());
    world.end().await;
}

/// A value that comes later is found before its batch: what was committed stays, and the next run goes on behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_later_fails_before_its_batch() {
    let bed = postgres_bed::deployed_beds().await.remove(0);
    let shape = Shape::usual("users");
    bed.create(&shape).await;
    bed.insert(&shape, &[usual(1, 1, "x", at(1))]).await;
    let world = World::new(bed, json!({ "batch_size": 2 }));
    world.run().await;
    world.bed.insert(&shape, &(2..4).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
    world.bed.insert(&shape, &[usual(9, 9, &"x".repeat(2_100_000), at(9))]).await;
    let failure = world.fail().await;
    assert!(failure.first.message.contains("Column 'name' has a value that takes 2.1 MB of JSON"), "{failure:?}");
    // Batches that came together go together.
    let there = world.query("SELECT id FROM users").len();
    assert!([1, 3].contains(&there), "{there} rows");
    world.bed.update(&shape, &[("id", 9.into())].into(), &[("name", "short".into())].into()).await;
    world.run().await;
    world.assert_equal(&shape).await;
    world.end().await;
}

/// A source that is silent for longer than it may be while it is searched: the search is given up, and the table is loaded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_takes_too_long_stops_nothing() {
    let bed = postgres_bed::deployed_beds().await.remove(0);
    // Each row takes half a second, and is so long that it is sent at once.
    bed.execute(
        "CREATE TABLE base (id int PRIMARY KEY); INSERT INTO base SELECT generate_series(1, 6);
         CREATE VIEW slow AS SELECT id, repeat(CASE WHEN pg_sleep(0.5)::text IS NULL THEN '' ELSE 'x' END, 20000) AS name FROM base",
    )
    .await;
    let options = json!({ "tables": ["slow"], "query_timeout": 2, "retry": { "attempts": 1 } });
    let world = World::new(bed, options);
    let plan = world.sync.plan(None).await.unwrap_or_else(|failure| panic!("{failure:?}"));
    let said = |line: &String| line.contains("could not be searched for values that the target has no room for");
    assert!(plan.tables["slow"].hints.iter().any(said), "{plan:?}");
    world.run().await;
    assert_eq!(
        world.query("SELECT count(*), min(length(name)) FROM slow").concat(),
        ["6", "20000"].map(|n| Some(n.to_owned()))
    );
    assert_eq!(world.log(Level::Warn).iter().filter(|line| said(line)).count(), 2, "{:?}", world.log(Level::Warn));
    world.end().await;
}

/// A search that the source can't answer, because it computes values of rows that the condition leaves out: nor does that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_the_source_refuses_stops_nothing() {
    let bed = postgres_bed::deployed_beds().await.remove(0);
    bed.execute(
        "CREATE TABLE t (id int PRIMARY KEY, raw text); CREATE TABLE good (id int PRIMARY KEY); ANALYZE t; ANALYZE good;
         INSERT INTO good VALUES (2); INSERT INTO t VALUES (1, 'no json'), (2, '{\"a\": \"x\"}')",
    )
    .await;
    let table = json!({ "name": "t", "where": "id IN (SELECT id FROM good)", "select": { "a": "raw::jsonb->>'a'" } });
    let world = World::new(bed, json!({ "tables": [table] }));
    world.run().await;
    assert_eq!(world.query("SELECT id, a FROM t"), [["2", "x"].map(some)]);
    assert!(
        world.log(Level::Warn).iter().any(|line| line.contains("could not be searched")),
        "{:?}",
        world.log(Level::Info)
    );
    world.end().await;
}
