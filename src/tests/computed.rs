//! Computed columns: what each kind of source makes of the types of expressions. What all of them promise is in
//! `contract::selected_columns`.

use serde_json::{Value as Json, json};

use super::bed::Bed;
use super::sqlite_bed::{Place, SqliteBed};
use super::world::{World, cell, some};
use super::{mysql_bed, postgres_bed};

/// Copies the one row of `t` with a column for each expression, and compares what SQLite prints of it.
async fn expect(bed: Box<dyn Bed>, types: Json, cases: &[(&str, &str)]) -> World {
    let name = |index: usize| format!("c{index}");
    let select: serde_json::Map<_, _> =
        cases.iter().enumerate().map(|(index, (expression, _))| (name(index), json!(expression))).collect();
    let world = World::new(bed, json!({ "tables": [{ "name": "t", "select": select, "types": types }] }));
    world.run().await;
    for (index, (expression, expected)) in cases.iter().enumerate() {
        let found = cell(&world, &format!("SELECT quote({}) FROM t", name(index)));
        assert_eq!(found, some(expected), "{expression}");
    }
    assert_eq!(world.run().await.rows_updated, 0);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_says_what_an_expression_is() {
    for bed in postgres_bed::beds().await {
        bed.execute(
            "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN price AS numeric(12,2); \
             CREATE TABLE t (id int PRIMARY KEY, name text, cost price, mood mood, at timestamptz(3)); \
             INSERT INTO t VALUES (1, 'käse', 12.50, 'happy', '2026-01-02 03:04:05.678Z')",
        )
        .await;
        let cases = [
            ("id + 1", "2"),
            ("t.id::bigint << 40", "1099511627776"),
            ("id > 0", "1"),
            ("id / 2.0::float8", "0.5"),
            ("1.50::numeric", "'1.50'"),
            ("name || '!' -- a comment", "'käse!'"),
            ("'literal'", "'literal'"),
            ("NULL", "NULL"),
            ("mood", "'happy'"),
            ("at", "'2026-01-02T03:04:05.678000Z'"),
            ("at::date", "'2026-01-02'"),
            ("'\\x00ff'::bytea", "X'00FF'"),
            ("ARRAY[id, 2]", "'[1,2]'"),
            ("jsonb_build_object('a', id)", "'{\"a\": 1}'"),
            ("(id, name)", "'(1,käse)'"),
            ("interval '90 minutes'", "'01:30:00'"),
            ("SELECT count(*) FROM t AS other WHERE other.id >= t.id", "1"),
            ("cost", "12.5"),
        ];
        let world = expect(bed, json!({ "c17": "REAL" }), &cases).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_says_what_an_expression_is() {
    for bed in mysql_bed::beds().await {
        bed.execute(
            "CREATE TABLE t (id int PRIMARY KEY, name varchar(20) COLLATE utf8mb4_bin, mood enum('sad','happy'), \
             big bigint unsigned, at timestamp(3) NULL, bits bit(3), yes boolean, place point); \
             INSERT INTO t VALUES (1, 'käse', 'happy', 5, '2026-01-02 03:04:05.678', b'101', 1, \
             ST_GeomFromText('POINT(1 2)'))",
        )
        .await;
        let cases = [
            ("id + 1", "2"),
            ("t.id > 0", "1"),
            ("big + 1", "'6'"),
            ("yes", "1"),
            ("bits", "'5'"),
            ("5e-1", "0.5"),
            ("1.50 * 2", "'3.00'"),
            ("CONCAT(name, '!') -- a comment", "'käse!'"),
            ("name", "'käse'"),
            ("'literal'", "'literal'"),
            ("NULL", "NULL"),
            ("mood", "'happy'"),
            ("at", "'2026-01-02T03:04:05.678000Z'"),
            ("DATE(at)", "'2026-01-02'"),
            ("CAST('2026-01-02 03:04:05' AS datetime)", "'2026-01-02T03:04:05.000000'"),
            ("TIME('01:02:03')", "'01:02:03.000000'"),
            ("UNHEX('00ff')", "X'00FF'"),
            ("CAST(name AS binary)", "X'6BC3A47365'"),
            ("JSON_OBJECT('a', id)", "'{\"a\": 1}'"),
            ("place", "'POINT(1 2)'"),
            ("SELECT COUNT(*) FROM t AS other WHERE other.id >= t.id", "1"),
            ("1.25 + 0", "1.25"),
        ];
        let mut world = expect(bed, json!({ "c21": "REAL" }), &cases).await;
        // A type that changes between two runs of one process.
        world.restart(json!({ "tables": [{ "name": "t", "select": { "shown": "name" } }] })).await;
        world.run().await;
        world.bed.execute("UPDATE t SET name = '12'; ALTER TABLE t MODIFY name int").await;
        world.run().await;
        assert_eq!(cell(&world, "SELECT quote(shown) FROM t"), some("12"));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_says_nothing_and_values_stay_what_they_are() {
    for place in [Place::file(), Place::turso().await, Place::d1().await, Place::starbasedb()] {
        place.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, size)").await;
        place.execute("INSERT INTO t VALUES (1, 'käse', x'00ff')").await;
        let cases = [
            ("id + 9007199254740993", "9007199254740994"),
            ("id / 2.0", "0.5"),
            ("name || '!' -- a comment", "'käse!'"),
            ("NULL", "NULL"),
            ("size", "X'00FF'"),
            ("SELECT count(*) FROM t AS other WHERE other.id >= t.id", "1"),
            ("'12'", "12"),
            ("'1.5'", "1.5"),
            ("12", "'12'"),
        ];
        let types = json!({ "c6": "INTEGER", "c7": "REAL", "c8": "TEXT" });
        let world = expect(Box::new(SqliteBed { place, deployed: None }), types, &cases).await;
        world.end().await;
    }
}
