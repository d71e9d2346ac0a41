//! How values are spelled, with a real PostgreSQL as the oracle.

use std::collections::BTreeMap;

use super::support::{self, TestDatabase, describe, replica, rows};
use crate::batch::{Key, Value};
use crate::mapping::SqliteType;
use crate::source::Range;

/// The rows of the table `t`.
async fn read(database: &TestDatabase, types: &BTreeMap<&str, SqliteType>) -> Vec<Vec<Value>> {
    let mut source = database.source();
    source.begin().await.unwrap();
    let replica = replica(describe(source.as_mut(), "t").await, &[], types);
    rows(source.as_mut(), &replica, Range::Whole).await.unwrap()
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// Creates `t` with one row: a column for each (type, value) and reads it.
async fn one_row(columns: &[(&str, &str)], types: &BTreeMap<&str, SqliteType>) -> Vec<Vec<Value>> {
    let mut answers = Vec::new();
    for database in support::databases().await {
        let declared: Vec<_> =
            columns.iter().enumerate().map(|(index, (kind, _))| format!("c{index} {kind}")).collect();
        let values: Vec<_> = columns.iter().map(|(_, value)| *value).collect();
        database
            .execute(&format!(
                "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (a int, b text); \
                 CREATE DOMAIN price AS numeric(10,2); CREATE DOMAIN cost AS price; CREATE DOMAIN names AS text[]; \
                 CREATE TABLE t ({}); INSERT INTO t VALUES ({})",
                declared.join(", "),
                values.join(", ")
            ))
            .await;
        answers.extend(read(&database, types).await);
    }
    answers
}

#[tokio::test]
async fn every_type_has_its_form() {
    let cases: &[(&str, &str, Value)] = &[
        ("boolean", "true", Value::Int(1)),
        ("smallint", "-32768", Value::Int(-32768)),
        ("int", "2147483647", Value::Int(2_147_483_647)),
        ("bigint", "-9223372036854775808", Value::Int(i64::MIN)),
        ("oid", "4294967295", Value::Int(4_294_967_295)),
        ("real", "0.1", Value::Real(0.1)),
        ("real", "'NaN'", text("NaN")),
        ("double precision", "0.1", Value::Real(0.1)),
        ("double precision", "'-Infinity'", text("-Infinity")),
        ("numeric(12,2)", "1234567890.5", Value::Real(1_234_567_890.5)),
        ("numeric(12,2)", "'NaN'", text("NaN")),
        ("numeric(3,-2)", "12345", Value::Real(12300.0)),
        ("numeric(20,2)", "1.5", text("1.50")),
        ("numeric", "12345678901234567890.120", text("12345678901234567890.120")),
        ("numeric", "'Infinity'", text("Infinity")),
        ("cost", "1.5", Value::Real(1.5)),
        ("text", "E'it''s \\\\ \\n 😀'", text("it's \\ \n 😀")),
        ("varchar(5)", "'abc'", text("abc")),
        ("char(5)", "'abc'", text("abc  ")),
        ("\"char\"", "'x'", text("x")),
        ("name", "'abc'", text("abc")),
        ("mood", "'happy'", text("happy")),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
        ("bytea", "'\\x00ff'", Value::Blob(vec![0, 255])),
        ("json", "'{\"a\" : 1.0, \"a\":2}'", text("{\"a\" : 1.0, \"a\":2}")),
        ("jsonb", "'{\"b\":12345678901234567890.10}'", text("{\"b\": 12345678901234567890.10}")),
        ("timestamptz", "'2026-06-15 16:30:00.5+02'", text("2026-06-15T14:30:00.500000Z")),
        ("timestamptz(3)", "'2026-06-15 16:30:00.1239+02'", text("2026-06-15T14:30:00.124Z")),
        ("timestamptz(0)", "'2026-06-15 16:30:00+02'", text("2026-06-15T14:30:00Z")),
        ("timestamptz", "'infinity'", text("infinity")),
        ("timestamp", "'-infinity'", text("-infinity")),
        ("timestamp", "'294276-12-31 23:59:59.999999'", text("294276-12-31T23:59:59.999999")),
        ("timestamp", "'4713-01-01 BC'", text("4713-01-01T00:00:00.000000 BC")),
        ("date", "'2026-02-28'", text("2026-02-28")),
        ("date", "'infinity'", text("infinity")),
        ("date", "'5874897-12-31'", text("5874897-12-31")),
        ("time", "'24:00'", text("24:00:00.000000")),
        ("time(2)", "'01:02:03.456'", text("01:02:03.46")),
        ("timetz", "'01:02:03-05:30'", text("01:02:03.000000-05:30")),
        ("interval", "'1 day 02:03:04.5'", text("1 day 02:03:04.5")),
        ("inet", "'192.168.0.1'", text("192.168.0.1")),
        ("inet", "'192.168.0.1/24'", text("192.168.0.1/24")),
        ("cidr", "'10.0.0.0/8'", text("10.0.0.0/8")),
        ("macaddr", "'08:00:2b:01:02:03'", text("08:00:2b:01:02:03")),
        ("bit(4)", "B'1010'", text("1010")),
        ("bit varying", "B'101'", text("101")),
        ("int4range", "'[1,5)'", text("[1,5)")),
        ("point", "'(1,2)'", text("(1,2)")),
        ("pair", "ROW(1,'a b')", text("(1,\"a b\")")),
        ("xml", "'<a/>'", text("<a/>")),
        ("tsvector", "'a b'", text("'a' 'b'")),
        ("pg_lsn", "'16/B374D848'", text("16/B374D848")),
        ("int2vector", "'1 2'", text("1 2")),
        ("int[]", "'{{1,NULL},{3,4}}'", text("[[1,null],[3,4]]")),
        ("int[]", "'[0:1]={1,2}'", text("[1,2]")),
        ("text[]", "ARRAY['a\"b', E'\\\\', '', NULL, E'\\n']", text("[\"a\\\"b\",\"\\\\\",\"\",null,\"\\n\"]")),
        ("names", "'{}'", text("[]")),
        ("numeric[]", "'{1.50,NaN}'", text("[1.50,\"NaN\"]")),
        ("real[]", "'{0.1,1,Infinity}'", text("[0.1,1,\"Infinity\"]")),
        ("boolean[]", "'{t,f}'", text("[true,false]")),
        ("timestamptz(3)[]", "ARRAY['2026-06-15 00:00Z'::timestamptz]", text("[\"2026-06-15T00:00:00.000Z\"]")),
        ("jsonb[]", "ARRAY['{\"a\":1}'::jsonb]", text("[{\"a\": 1}]")),
        ("bytea[]", "ARRAY['\\x00ff'::bytea]", text("[\"\\\\x00ff\"]")),
        ("mood[]", "'{happy,NULL}'", text("[\"happy\",null]")),
        ("inet[]", "'{1.2.3.4,::1}'", text("[\"1.2.3.4\",\"::1\"]")),
        ("box[]", "ARRAY[box '((1,1),(0,0))', box '((2,2),(1,1))']", text("[\"(1,1),(0,0)\",\"(2,2),(1,1)\"]")),
        ("pair[]", "ARRAY[ROW(1,'a')::pair]", text("[\"(1,a)\"]")),
        ("cost[]", "ARRAY[1.5::cost]", text("[1.50]")),
        ("int", "NULL", Value::Null),
        ("int[]", "NULL", Value::Null),
    ];
    let columns: Vec<_> = cases.iter().map(|(kind, value, _)| (*kind, *value)).collect();
    for row in one_row(&columns, &BTreeMap::new()).await {
        for ((kind, value, expected), got) in cases.iter().zip(row) {
            assert_eq!(&got, expected, "{kind} {value}");
        }
    }
}

#[tokio::test]
async fn overrides_have_their_form() {
    use SqliteType::{Blob, Integer, Real, Text};
    let cases: &[(&str, &str, SqliteType, Value)] = &[
        ("boolean", "true", Text, text("true")),
        ("boolean", "true", Real, Value::Real(1.0)),
        ("int", "7", Real, Value::Real(7.0)),
        ("int", "7", Text, text("7")),
        ("double precision", "1e15", Text, text("1e+15")),
        ("real", "0.1", Text, text("0.1")),
        ("double precision", "2", Integer, Value::Real(2.0)),
        ("numeric", "12.50", Real, Value::Real(12.5)),
        ("numeric", "1e400", Real, text(&format!("1{}", "0".repeat(400)))),
        ("numeric", "42.00", Integer, Value::Int(42)),
        ("numeric", "42.01", Integer, text("42.01")),
        ("numeric(12,2)", "42.1", Text, text("42.10")),
        ("text", "'42'", Integer, Value::Int(42)),
        ("text", "'042'", Integer, text("042")),
        ("text", "'4.5'", Real, Value::Real(4.5)),
        ("text", "'x'", Blob, Value::Blob(b"x".to_vec())),
        ("money", "1.5", Text, text("$1.50")),
        ("uuid", "'00000000-0000-0000-0000-000000000001'", Blob, { Value::Blob([[0; 15].as_slice(), &[1]].concat()) }),
        ("bytea", "'\\x00ff'", Text, text("\\x00ff")),
        ("jsonb", "'[1]'", Blob, Value::Blob(b"[1]".to_vec())),
    ];
    let columns: Vec<_> = cases.iter().map(|(kind, value, ..)| (*kind, *value)).collect();
    let names: Vec<_> = (0..cases.len()).map(|index| format!("c{index}")).collect();
    let types = names.iter().map(String::as_str).zip(cases.iter().map(|case| case.2)).collect();
    for row in one_row(&columns, &types).await {
        for ((kind, value, sqlite, expected), got) in cases.iter().zip(row) {
            if *kind != "money" {
                assert_eq!(&got, expected, "{kind} {value} {sqlite:?}");
            }
        }
    }
}

/// Values of every shape, made by the server, with the server's own text beside them.
const ORACLE: &str = "
    SELECT setseed(0.5);
    CREATE TABLE t AS
    SELECT i,
        n, n::text AS n_text,
        (random() * 1e6 - 5e5)::numeric(15,4) AS d,
        (random() * 2 - 1)::float4 * 10 ^ (random() * 60 - 30)::int AS f8,
        ((random() * 2 - 1) * 10 ^ (random() * 60 - 30)::int)::float4 AS f4,
        z, to_char(z, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || CASE WHEN z < '0001-01-01' THEN ' BC' ELSE '' END AS z_text
    FROM (
        SELECT i,
            CASE i % 4
                WHEN 0 THEN (random() * 10 ^ (random() * 30)::int)::numeric * 10::numeric ^ ((random() * 30)::int - 15)
                WHEN 1 THEN round((random() * 1e9)::numeric, (random() * 12)::int) * (CASE WHEN random() < 0.5 THEN -1 ELSE 1 END)
                WHEN 2 THEN trunc((random() * 1e18)::numeric) * 10::numeric ^ (random() * 40)::int
                ELSE ('0.' || repeat('0', (random() * 20)::int) || (random() * 1e9)::int)::numeric
            END AS n,
            '1970-01-01Z'::timestamptz + random() ^ 6 *
                CASE WHEN i % 3 = 0 THEN interval '-6000 years' ELSE interval '290000 years' END AS z
        FROM generate_series(1, 5000) i
    ) s";

#[tokio::test]
async fn the_server_spells_alike() {
    for database in support::databases().await {
        database.execute(&format!("SET TimeZone = 'UTC'; {ORACLE}")).await;
        let rows = read(&database, &BTreeMap::new()).await;
        assert!(rows.len() > 3000, "{}", rows.len());
        for row in &rows {
            let [_, n, n_text, Value::Real(_), f8, f4, z, z_text] = row.as_slice() else { panic!("{row:?}") };
            assert_eq!(n, n_text);
            assert!(matches!((f8, f4), (Value::Real(_), Value::Real(_))));
            assert_eq!(z, z_text);
        }
        // Every value names the row it came from, when it is given back as SQL.
        for sqlite in [SqliteType::Text, SqliteType::Real] {
            let types = BTreeMap::from([("d", sqlite), ("f8", sqlite), ("f4", sqlite)]);
            let rows = read(&database, &types).await;
            let mut connection = database.connect().await;
            for chunk in rows.chunks(1000) {
                let values: Vec<String> = chunk
                    .iter()
                    .map(|row| {
                        let at = |index: usize| row[index].render().replace('\'', "''");
                        format!(
                            "({}, '{}'::numeric, '{}'::numeric, '{}'::float8, '{}'::float4, '{}'::timestamptz)",
                            at(0),
                            at(1),
                            at(3),
                            at(4),
                            at(5),
                            at(6)
                        )
                    })
                    .collect();
                let sql = format!(
                    "SELECT count(*) FROM t JOIN (VALUES {}) v(i, n, d, f8, f4, z) \
                     ON (t.i, t.n, t.d, t.f8, t.f4, t.z) = (v.i, v.n, v.d, v.f8, v.f4, v.z)",
                    values.join(", ")
                );
                let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
                assert_eq!(count, i64::try_from(chunk.len()).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn keys_of_any_type_come_back_as_they_went() {
    let kinds: &[(&str, &[&str])] = &[
        ("text", &["''", "'it''s'", "E'a\\\\b'", "'$$;--'", "E'E''''\\n'", "'😀'", "'\"'"]),
        ("char(6)", &["'a'", "'b '"]),
        ("citext_like", &["'sad'", "'happy'"]),
        ("bytea", &["'\\x'", "'\\x00'", "'\\xff27'"]),
        ("uuid", &["gen_random_uuid()", "gen_random_uuid()"]),
        ("numeric", &["1.10", "-5", "'NaN'", "12345678901234567890.5"]),
        ("numeric(8,3)", &["1.1", "-5", "'NaN'", "0.001"]),
        ("float4", &["0.1", "'Infinity'", "'NaN'", "1e-20", "-1e30"]),
        ("float8", &["0.1", "'-Infinity'", "1e300"]),
        ("boolean", &["true", "false"]),
        ("date", &["'2026-01-01'", "'0044-03-15 BC'", "'infinity'", "'12026-01-01'"]),
        ("timestamptz", &["now()", "'0044-03-15 BC'", "'-infinity'", "'12026-01-01'"]),
        ("timetz", &["'10:00+01'", "'10:00:00.5-05:30'"]),
        ("interval", &["'1 mon -2 days'", "'-00:00:01.5'"]),
        ("inet", &["'10.0.0.1'", "'10.0.0.1/8'", "'::1'"]),
        ("int[]", &["'{1,2}'", "'{}'", "'{{1},{2}}'"]),
        ("text[]", &["ARRAY['it''s', NULL, '\"']"]),
        ("int4range", &["'[1,5)'", "'empty'"]),
        ("jsonb", &["'{\"a\": \"it''s\"}'", "'1'"]),
        ("\"char\"", &["'a'", "''''"]),
        ("price", &["1.5", "2"]),
    ];
    for database in support::databases().await {
        database
            .execute("CREATE TYPE citext_like AS ENUM ('sad', 'happy'); CREATE DOMAIN price AS numeric(10,2)")
            .await;
        let mut source = database.source();
        for (kind, values) in kinds {
            let rows_sql = values.iter().map(|value| format!("(({value})::{kind})")).collect::<Vec<_>>().join(", ");
            database
                .execute(&format!(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t (k {kind} PRIMARY KEY); INSERT INTO t VALUES {rows_sql}"
                ))
                .await;
            source.begin().await.unwrap();
            let replica = replica(describe(source.as_mut(), "t").await, &[], &BTreeMap::new());
            let all: Vec<Key> = rows(source.as_mut(), &replica, Range::ByKey { after: None }).await.unwrap();
            assert_eq!(all.len(), values.len(), "{kind}");
            for (index, key) in all.iter().enumerate() {
                let after = Range::ByKey { after: Some(key.clone()) };
                let rest = rows(source.as_mut(), &replica, after).await.unwrap();
                assert_eq!(rest, all[index + 1..], "{kind} after {key:?}");
            }
            let found = rows(source.as_mut(), &replica, Range::Lookup { keys: all.clone() }).await.unwrap();
            assert_eq!(found.len(), all.len(), "{kind}");
            source.end().await;
        }
    }
}
