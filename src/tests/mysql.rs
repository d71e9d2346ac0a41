//! What is MySQL's and MariaDB's own: their types with the server as the oracle, their ways to lose rows, and what they
//! say when they refuse.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::batch::Value;
use crate::config::{Secret, ServerAddress, ServerConfig, SourceConfig, Ssl};
use crate::error::{Error, Kind};
use crate::event::{ChangeKind, Event, Level, Mode};
use crate::mapping::SqliteType;
use crate::source::{Connect as _, Limits, Lookback, Range, Source, TrackPart, mysql::Mysql};

use super::bed::{Datum, Shape};
use super::mysql_bed::{MysqlDatabase, beds, connect, databases, run};
use super::support::{LIMITS, describe, replica, rows};
use super::world::{World, at, cell, row, some, usual};

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn config(url: &str) -> ServerConfig {
    ServerConfig { address: ServerAddress::Url(Secret(url.to_owned())), schema: None, ssl: None, ca_cert: None }
}

fn source_of(database: &MysqlDatabase) -> Box<dyn Source> {
    Mysql.source(&SourceConfig::Mysql(config(&database.url)), LIMITS).unwrap()
}

/// Creates `t` with one row, a column for each (type, value), and reads it.
async fn one_row(columns: &[(&str, &str)], types: &BTreeMap<&str, SqliteType>) -> Vec<Vec<Value>> {
    let mut answers = Vec::new();
    for database in databases().await {
        let declared: Vec<_> =
            columns.iter().enumerate().map(|(index, (kind, _))| format!("c{index} {kind}")).collect();
        let values: Vec<_> = columns.iter().map(|(_, value)| *value).collect();
        let mut connection = connect(&database.url).await;
        run(&mut connection, &format!("CREATE TABLE t ({})", declared.join(", "))).await;
        run(&mut connection, &format!("INSERT INTO t VALUES ({})", values.join(", "))).await;
        let mut source = source_of(&database);
        source.begin().await.unwrap();
        let replica = replica(describe(source.as_mut(), "t").await, &[], types);
        answers.extend(rows(source.as_mut(), &replica, Range::Whole).await.unwrap());
    }
    answers
}

#[tokio::test]
async fn every_type_has_its_form() {
    let cases: &[(&str, &str, Value)] = &[
        ("tinyint", "-128", Value::Int(-128)),
        ("tinyint(1)", "7", Value::Int(7)),
        ("boolean", "true", Value::Int(1)),
        ("tinyint unsigned", "255", Value::Int(255)),
        ("smallint", "-32768", Value::Int(-32_768)),
        ("smallint unsigned", "65535", Value::Int(65_535)),
        ("mediumint", "-8388608", Value::Int(-8_388_608)),
        ("mediumint unsigned", "16777215", Value::Int(16_777_215)),
        ("int", "-2147483648", Value::Int(-2_147_483_648)),
        ("int unsigned", "4294967295", Value::Int(4_294_967_295)),
        ("int(8) zerofill", "42", Value::Int(42)),
        ("bigint", "-9223372036854775808", Value::Int(i64::MIN)),
        ("bigint unsigned", "9223372036854775807", Value::Int(i64::MAX)),
        ("year", "2026", Value::Int(2026)),
        ("year", "0", Value::Int(0)),
        ("bit(1)", "b'1'", Value::Int(1)),
        ("bit(12)", "b'101010101010'", Value::Int(0b1010_1010_1010)),
        ("bit(64)", "b'1'", Value::Int(1)),
        ("float", "0.1", Value::Real(0.1)),
        ("double", "0.1", Value::Real(0.1)),
        ("double", "-1.7976931348623157e308", Value::Real(f64::MIN)),
        ("decimal(12,2)", "1234567890.5", Value::Real(1_234_567_890.5)),
        ("decimal(15,15)", "0.123456789012345", Value::Real(0.123_456_789_012_345)),
        ("decimal(20,2)", "1.5", text("1.50")),
        (
            "decimal(65,30)",
            "-12345678901234567890123456789012345.123456789012345678901234567890",
            text("-12345678901234567890123456789012345.123456789012345678901234567890"),
        ),
        ("char(5)", "'ab '", text("ab")),
        ("varchar(5)", "'ab '", text("ab ")),
        ("varchar(20) character set latin1", "'käse ¥'", text("käse ¥")),
        ("varchar(20) character set ucs2", "'käse €'", text("käse €")),
        ("varchar(20) character set utf16", "'🧀'", text("🧀")),
        ("varchar(20) character set sjis", "'日本'", text("日本")),
        ("text", "'quote '' \" \\\\ 🧀'", text("quote ' \" \\ 🧀")),
        ("longtext", "repeat('x', 70000)", Value::Text("x".repeat(70_000))),
        ("enum('sad','happy')", "'happy'", text("happy")),
        ("enum('ä','ö') character set latin1", "'ö'", text("ö")),
        ("set('a','b','c')", "'c,a'", text("a,c")),
        ("json", "'{\"a\": 12345678901234567890, \"b\": \"ä\"}'", text("{\"a\": 12345678901234567890, \"b\": \"ä\"}")),
        ("binary(4)", "'ab'", Value::Blob(b"ab\0\0".to_vec())),
        ("varbinary(4)", "x'00ff'", Value::Blob(vec![0, 255])),
        ("blob", "''", Value::Blob(Vec::new())),
        ("date", "'2026-11-23'", text("2026-11-23")),
        ("date", "'0000-00-00'", text("0000-00-00")),
        ("date", "'2024-00-15'", text("2024-00-15")),
        ("date", "'0000-12-19'", text("0000-12-19")),
        ("date", "'2023-02-31'", text("2023-02-31")),
        ("datetime", "'2026-11-23 01:02:03'", text("2026-11-23T01:02:03")),
        ("datetime(3)", "'2026-11-23 01:02:03.004'", text("2026-11-23T01:02:03.004")),
        ("datetime(6)", "'9999-12-31 23:59:59.999999'", text("9999-12-31T23:59:59.999999")),
        ("datetime(6)", "'0000-00-00'", text("0000-00-00 00:00:00.000000")),
        ("datetime", "'2024-00-15 10:00:00'", text("2024-00-15T10:00:00")),
        ("timestamp null", "'2026-11-23 01:02:03'", text("2026-11-23T01:02:03Z")),
        ("timestamp(6) null", "'2026-11-23 01:02:03.000004'", text("2026-11-23T01:02:03.000004Z")),
        ("timestamp null", "'0000-00-00'", text("0000-00-00 00:00:00")),
        ("time", "'838:59:59'", text("838:59:59")),
        ("time(6)", "'-838:59:58.999999'", text("-838:59:58.999999")),
        ("time(3)", "'-00:00:00.001'", text("-00:00:00.001")),
        ("time", "'01:02:03'", text("01:02:03")),
        ("point", "ST_GeomFromText('POINT(1.5 -2)')", text("POINT(1.5 -2)")),
        ("geometry", "ST_GeomFromText('LINESTRING(0 0,1 1)', 4326)", text("SRID=4326;LINESTRING(0 0,1 1)")),
        ("int as (1 + 2) stored", "default", Value::Int(3)),
        ("varchar(3) as (concat('a', 'b')) virtual", "default", text("ab")),
        ("int invisible", "5", Value::Int(5)),
        ("int", "NULL", Value::Null),
        ("date", "NULL", Value::Null),
        ("timestamp null", "NULL", Value::Null),
    ];
    let columns: Vec<_> = cases.iter().map(|(kind, value, _)| (*kind, *value)).collect();
    // An invisible column takes no value unless it is named.
    let visible: Vec<_> = columns.iter().map(|(kind, value)| (kind.replace(" invisible", ""), *value)).collect();
    let visible: Vec<_> = visible.iter().map(|(kind, value)| (kind.as_str(), *value)).collect();
    for answer in one_row(&visible, &BTreeMap::new()).await {
        for ((kind, value, expected), found) in cases.iter().zip(&answer) {
            assert_eq!(found, expected, "{kind} {value}");
        }
    }
}

#[tokio::test]
async fn what_only_mariadb_has() {
    let columns = [("uuid", "'01890A5D-AC96-774B-BCCE-B302099A8057'"), ("inet6", "'2001:db8::1'")];
    for database in databases().await {
        let mut connection = connect(&database.url).await;
        let version: String = sqlx::query_scalar("SELECT version()").fetch_one(&mut connection).await.unwrap();
        if !version.contains("MariaDB") {
            return;
        }
    }
    for answer in one_row(&columns, &BTreeMap::new()).await {
        assert_eq!(answer, [text("01890a5d-ac96-774b-bcce-b302099a8057"), text("2001:db8::1")]);
    }
    for answer in one_row(&columns, &BTreeMap::from([("c0", SqliteType::Blob)])).await {
        assert!(matches!(&answer[0], Value::Blob(bytes) if bytes.len() == 16), "{answer:?}");
    }
}

#[tokio::test]
async fn overrides_have_their_form() {
    let types = [
        ("c0", SqliteType::Text),
        ("c1", SqliteType::Text),
        ("c2", SqliteType::Real),
        ("c3", SqliteType::Integer),
        ("c4", SqliteType::Blob),
        ("c5", SqliteType::Text),
        ("c6", SqliteType::Integer),
        ("c7", SqliteType::Text),
    ];
    let columns = [
        ("bigint unsigned", "18446744073709551615"),
        ("double", "0.1"),
        ("decimal(30,2)", "1.25"),
        ("decimal(10,2)", "7.00"),
        ("varchar(9)", "'ä'"),
        ("varbinary(4)", "x'00ff'"),
        ("varchar(9)", "'42'"),
        ("bit(64)", "b'1111111111111111111111111111111111111111111111111111111111111111'"),
    ];
    for answer in one_row(&columns, &BTreeMap::from(types)).await {
        assert_eq!(
            answer,
            [
                text("18446744073709551615"),
                text("0.1"),
                Value::Real(1.25),
                Value::Int(7),
                Value::Blob("ä".as_bytes().to_vec()),
                text("\\x00ff"),
                Value::Int(42),
                text("18446744073709551615"),
            ]
        );
    }
}

/// The server's own text of every cell equals ours, but for the letters that ISO 8601 adds.
#[tokio::test]
async fn the_server_spells_alike() {
    for database in databases().await {
        let mut connection = connect(&database.url).await;
        run(
            &mut connection,
            "CREATE TABLE t (id int PRIMARY KEY, d date, m datetime(6), s timestamp(3) NULL, e time(6), n decimal(40,12), f float, r double)",
        )
        .await;
        let mut random = fastrand::Rng::with_seed(7);
        let mut values = Vec::new();
        for id in 0..500 {
            let date = format!("{:04}-{:02}-{:02}", random.u16(..=9999), random.u8(0..=12), random.u8(0..=31));
            let time = format!(
                "{:02}:{:02}:{:02}.{:06}",
                random.u8(..24),
                random.u8(..60),
                random.u8(..60),
                random.u32(..1_000_000)
            );
            let stamp = format!("{:04}-{:02}-{:02}", random.u16(1971..2037), random.u8(1..=12), random.u8(1..=28));
            let span = format!(
                "{}{}:{:02}:{:02}.{:06}",
                ["", "-"][random.usize(..2)],
                random.u16(..838),
                random.u8(..60),
                random.u8(..60),
                random.u32(..1_000_000)
            );
            let digits =
                format!("{}{}.{:012}", ["", "-"][random.usize(..2)], random.u64(..), random.u64(..1_000_000_000_000));
            values.push(format!(
                "({id}, '{date}', '{date} {time}', '{stamp} {time}', '{span}', {digits}, {:e}, {:e})",
                f64::from(random.f32()) * 10_f64.powi(random.i32(-30..30)),
                random.f64() * 10_f64.powi(random.i32(-300..300))
            ));
        }
        run(&mut connection, &format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        let spelled: Vec<(String, String, String, String, String)> = sqlx::query_as(
            "SELECT CAST(d AS CHAR), CAST(m AS CHAR), CAST(s AS CHAR), CAST(e AS CHAR), CAST(n AS CHAR) FROM t ORDER BY id",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let reals: Vec<(f32, f64)> =
            sqlx::query_as("SELECT f, r FROM t ORDER BY id").fetch_all(&mut connection).await.unwrap();
        let mut source = source_of(&database);
        source.begin().await.unwrap();
        let replica = replica(describe(source.as_mut(), "t").await, &[], &BTreeMap::new());
        let read = rows(source.as_mut(), &replica, Range::ByKey { after: None }).await.unwrap();
        assert_eq!(read.len(), spelled.len());
        for ((row, (d, m, s, e, n)), (f, r)) in read.iter().zip(spelled).zip(reals) {
            let plain = |value: &Value| value.render().replace('T', " ").replace('Z', "");
            assert_eq!(
                [plain(&row[1]), plain(&row[2]), plain(&row[3]), plain(&row[4]), plain(&row[5])],
                [d, m, s, e, n]
            );
            assert_eq!(row[6], Value::Real(f.to_string().parse().unwrap()));
            assert_eq!(row[7], Value::Real(r));
        }
    }
}

#[tokio::test]
async fn keys_of_any_type_come_back_as_they_went() {
    for (kind, values) in [
        ("bigint unsigned", vec!["0", "1", "9223372036854775807"]),
        ("decimal(40,10)", vec!["-1.5", "0", "12345678901234567890.0123456789", "12345678901234567890.0123456788"]),
        ("double", vec!["-1e300", "0.1", "0.30000000000000004"]),
        ("float", vec!["0.1", "0.2", "16777216"]),
        ("varchar(20)", vec!["'a'", "'B'", "'ä'", "'it''s \\\\ '"]),
        ("varchar(20) character set latin1 collate latin1_swedish_ci", vec!["'a'", "'B'", "'ä'", "'z'"]),
        ("enum('z','m','a')", vec!["'z'", "'m'", "'a'"]),
        ("set('z','m','a')", vec!["'z'", "'z,m'", "'a'", "''"]),
        ("varbinary(20)", vec!["x'00'", "x'00ff'", "x'ff27'"]),
        ("date", vec!["'0000-00-00'", "'2024-00-15'", "'2026-01-01'"]),
        ("datetime(6)", vec!["'0000-00-00'", "'2026-01-01 00:00:00.000001'", "'9999-12-31'"]),
        ("timestamp(6)", vec!["'2001-01-01 00:00:00.000001'", "'2026-01-01 00:00:00.000001'"]),
        ("time(3)", vec!["'-838:00:00'", "'-00:00:01'", "'00:00:00'", "'101:00:00.001'"]),
        ("year", vec!["1901", "2026", "2155"]),
        ("bit(20)", vec!["b'0'", "b'1'", "b'11111111111111111111'"]),
        (
            "uuid",
            vec![
                "'00000000-0000-0000-0000-000000000001'",
                "'01890a5d-ac96-774b-bcce-b302099a8057'",
                "'f47ac10b-58cc-4372-a567-0e02b2c3d479'",
            ],
        ),
    ] {
        for database in databases().await {
            let mut connection = connect(&database.url).await;
            let quoted: Vec<_> = values.iter().map(|value| format!("({value}, 1), ({value}, 2)")).collect();
            run(&mut connection, &format!("CREATE TABLE t (k {kind} NOT NULL, n int NOT NULL, PRIMARY KEY (k, n))"))
                .await;
            run(&mut connection, &format!("INSERT INTO t VALUES {}", quoted.join(", "))).await;
            let mut source = source_of(&database);
            source.begin().await.unwrap();
            let table = describe(source.as_mut(), "t").await;
            for track in [vec![], vec!["k"]] {
                let replica = replica(table.clone(), &track, &BTreeMap::new());
                let all = rows(source.as_mut(), &replica, Range::ByKey { after: None }).await.unwrap();
                assert_eq!(all.len(), values.len() * 2, "{kind}");
                for (at, found) in all.iter().enumerate() {
                    let after = Range::ByKey { after: Some(found[..2].to_vec()) };
                    let rest = rows(source.as_mut(), &replica, after).await.unwrap();
                    assert_eq!(rest, all[at + 1..], "{kind} after {found:?}");
                    let keys = vec![found[..2].to_vec()];
                    let looked_up = rows(source.as_mut(), &replica, Range::Lookup { keys }).await.unwrap();
                    assert_eq!(looked_up, std::slice::from_ref(found), "{kind} {found:?}");
                }
                if track.is_empty() {
                    continue;
                }
                let by_track = |part, after| Range::ByTrack {
                    part,
                    floor: None,
                    after,
                    snapshot: None,
                    lookback: Lookback { seconds: 0.0, values: 0 },
                };
                let tracked = rows(source.as_mut(), &replica, by_track(TrackPart::All, None)).await.unwrap();
                assert_eq!(tracked.len(), all.len(), "{kind}");
                for (at, found) in tracked.iter().enumerate() {
                    let position = crate::batch::Position { track: found[2].clone(), key: found[..2].to_vec() };
                    let ahead = by_track(TrackPart::Ahead, Some(position.clone()));
                    let ahead = rows(source.as_mut(), &replica, ahead).await.unwrap();
                    let behind = by_track(TrackPart::Behind, Some(position));
                    let behind = rows(source.as_mut(), &replica, behind).await.unwrap();
                    assert_eq!((behind.len(), ahead.len()), (at + 1, all.len() - at - 1), "{kind} at {found:?}");
                    assert!(behind.iter().all(|row| row[3] == Value::Int(0)), "{kind}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyset_condition_ranges_over_the_index() {
    for database in databases().await {
        let mut connection = connect(&database.url).await;
        run(
            &mut connection,
            "CREATE TABLE t (a int, b int, c datetime(6), n text, PRIMARY KEY (a, b), INDEX (c));
             INSERT INTO t SELECT seq, seq % 7, '2026-01-01' + INTERVAL seq SECOND, 'x' FROM seq_1_to_20000;
             ANALYZE TABLE t",
        )
        .await;
        for (sql, range) in [
            (
                "SELECT * FROM t WHERE (c >= '2026-01-01 05:00:00' AND (c > '2026-01-01 05:00:00' OR (a >= 18000 AND (a > 18000 OR b > 3)))) ORDER BY c, a, b",
                true,
            ),
            ("SELECT * FROM t FORCE INDEX (PRIMARY) WHERE (a >= 15000 AND (a > 15000 OR b > 3)) ORDER BY a, b", true),
            // What the form is chosen for: a comparison of rows walks the whole index.
            ("SELECT * FROM t FORCE INDEX (PRIMARY) WHERE (a, b) > (15000, 3) ORDER BY a, b", false),
        ] {
            let explained = explain(&mut connection, sql).await;
            assert_eq!(explained["type"] == "range", range, "{sql}: {explained:?}");
            assert!(!explained["Extra"].contains("filesort"), "{sql}: {explained:?}");
        }
        // And that these are the conditions that a run asks with.
        let mut source = source_of(&database);
        source.begin().await.unwrap();
        let replica = replica(describe(source.as_mut(), "t").await, &["c"], &BTreeMap::new());
        let position = crate::batch::Position {
            track: text("2026-01-01T05:30:00.000000"),
            key: vec![Value::Int(19_800), Value::Int(4)],
        };
        let range = Range::ByTrack {
            part: TrackPart::All,
            floor: Some(position.clone()),
            after: Some(position),
            snapshot: None,
            lookback: Lookback { seconds: 10.0, values: 0 },
        };
        let plan = crate::source::ScanPlan { replica: &replica, range, batch_size: 100 };
        let estimate = source.estimate(&plan).await.unwrap().unwrap();
        assert!((100..2_000).contains(&estimate), "{estimate} rows of 20000 for 211");
        let Range::ByTrack { .. } = &plan.range else { unreachable!() };
        assert_eq!(rows(source.as_mut(), &replica, plan.range).await.unwrap().len(), 211);
    }
}

/// The first row of EXPLAIN by its columns' names.
async fn explain(connection: &mut sqlx::MySqlConnection, sql: &str) -> BTreeMap<String, String> {
    use sqlx::{Column as _, Row as _};
    let row = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_one(connection).await.unwrap();
    let cell = |index: usize| row.try_get_unchecked::<Option<String>, _>(index).unwrap().unwrap_or_default();
    row.columns().iter().enumerate().map(|(index, column)| (column.name().to_owned(), cell(index))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_integer_beyond_sqlites_makes_its_column_text() {
    for bed in beds().await {
        bed.execute(
            "CREATE TABLE t (id bigint unsigned PRIMARY KEY, big bigint unsigned, flags bit(64), n int);
             INSERT INTO t SELECT seq, seq, b'1', seq FROM seq_1_to_1000",
        )
        .await;
        let mut world = World::new(bed, json!({ "batch_size": 100, "deletes": "hard", "tables": ["t"] }));
        world.run().await;
        let kind = |world: &World, name: &str| {
            cell(world, &format!("SELECT type FROM pragma_table_info('t') WHERE name = '{name}'"))
        };
        assert_eq!((kind(&world, "big"), kind(&world, "id")), (some("INTEGER"), some("INTEGER")));
        world.bed.execute("UPDATE t SET big = 18446744073709551615, flags = b'1111111111111111111111111111111111111111111111111111111111111111' WHERE id = 500").await;
        world.run().await;
        assert_eq!(
            (kind(&world, "big"), kind(&world, "flags"), kind(&world, "id")),
            (some("TEXT"), some("TEXT"), some("INTEGER"))
        );
        assert_eq!(
            cell(&world, "SELECT big || flags FROM t WHERE id = 500"),
            some("1844674407370955161518446744073709551615")
        );
        assert_eq!(cell(&world, "SELECT typeof(big) || big FROM t WHERE id = 7"), some("text7"));
        let changes: Vec<_> = world
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::SchemaChange { changes, .. } => Some(changes),
                _ => None,
            })
            .flatten()
            .map(|change| (change.kind, change.column.unwrap()))
            .collect();
        assert_eq!(
            changes,
            [(ChangeKind::ColumnRetyped, "big".to_owned()), (ChangeKind::ColumnRetyped, "flags".to_owned())]
        );
        // It stays so in a new process, also when the value is gone, and a key goes the same way.
        world.bed.execute("UPDATE t SET big = 1 WHERE id = 500").await;
        world.restart(json!({})).await;
        world.run().await;
        assert_eq!(cell(&world, "SELECT big FROM t WHERE id = 500"), some("1"));
        world.bed.execute("INSERT INTO t VALUES (9223372036854775808, 2, 1, 2)").await;
        world.run().await;
        assert_eq!(kind(&world, "id"), some("TEXT"));
        assert_eq!(cell(&world, "SELECT n FROM t WHERE id = '9223372036854775808'"), some("2"));
        assert_eq!(cell(&world, "SELECT count(*) FROM t"), some("1001"));
        assert_eq!(world.run().await.rows_updated, 0);
        // Asked for as INTEGER it can't be.
        world.restart(json!({ "tables": [{ "name": "t", "types": { "id": "INTEGER" } }] })).await;
        let failure = world.fail().await;
        assert!(failure.first.message.contains("leave id out of types"), "{failure:?}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsigned_track_column_beyond_sqlites_integers() {
    for bed in beds().await {
        bed.execute("CREATE TABLE t (id int PRIMARY KEY, v bigint unsigned NOT NULL, INDEX (v)); INSERT INTO t VALUES (1, 5), (2, 18446744073709551600)").await;
        let mut world = World::new(bed, json!({ "track_column": "v", "tables": ["t"] }));
        world.run().await;
        assert_eq!(cell(&world, "SELECT v FROM t WHERE id = 2"), some("18446744073709551600"));
        world.restart(json!({})).await;
        world.bed.execute("INSERT INTO t VALUES (3, 18446744073709551610)").await;
        let stats = world.run().await;
        assert_eq!((stats.rows_inserted, stats.rows_read), (1, 2), "the row in the lookback is read again");
        assert_eq!(world.status().await.table_map["t"].last_value, some("18446744073709551610"));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zero_dates_are_kept_or_made_null() {
    for bed in beds().await {
        bed.execute(
            "SET SESSION sql_mode = 'ALLOW_INVALID_DATES';
             CREATE TABLE t (id int PRIMARY KEY, d date, updated_at datetime);
             INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00'), (2, '2024-00-15', '2026-01-01'), (3, NULL, NULL)",
        )
        .await;
        let mut world = World::new(bed, json!({}));
        world.run().await;
        assert_eq!(
            cell(&world, "SELECT group_concat(d || ' ' || updated_at) FROM t"),
            some("0000-00-00 0000-00-00 00:00:00,2024-00-15 2026-01-01T00:00:00")
        );
        world.bed.execute("SET SESSION sql_mode = ''; INSERT INTO t VALUES (4, '2026-01-01', '2026-01-02')").await;
        world.run().await;
        world.restart(json!({ "zero_dates": "null" })).await;
        world.run().await;
        assert_eq!(cell(&world, "SELECT group_concat(id) FROM t WHERE d IS NULL AND updated_at IS NULL"), some("1,3"));
        assert_eq!(world.status().await.table_map["t"].null_tracked, 2);
        world.bed.execute("SET SESSION sql_mode = ''; INSERT INTO t VALUES (5, '0000-00-00', '0000-00-00'); UPDATE t SET updated_at = '2026-01-03' WHERE id = 1").await;
        world.run().await;
        assert_eq!(cell(&world, "SELECT group_concat(id) FROM t WHERE updated_at IS NULL"), some("3,5"));
        world.end().await;
    }
}

/// A transaction that is open for longer than the lookback is seen as long as the role may see that it is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_longer_than_the_lookback() {
    for bed in beds().await {
        let shape = Shape::usual("t");
        bed.create(&shape).await;
        let now = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            Datum::Instant(i64::try_from(now.as_micros()).unwrap())
        };
        bed.insert(&shape, &[usual(1, 1, "first", now())]).await;
        let late = bed.insert_late(&shape, &[usual(2, 2, "late", now())]).await;
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        bed.insert(&shape, &[usual(3, 3, "on time", now())]).await;
        let world = World::new(bed, json!({ "lookback": 0 }));
        world.run().await;
        world.bed.insert(&shape, &[usual(4, 4, "on time", now())]).await;
        world.run().await;
        late.commit().await;
        world.run().await;
        world.assert_equal(&shape).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_schemas_and_names() {
    for bed in beds().await {
        let other = format!("data_sync_test_other_{:08x}", fastrand::u32(..));
        bed.execute(&format!(
            "CREATE TABLE base (id int PRIMARY KEY, n int, updated_at datetime DEFAULT '2026-01-01');
             INSERT INTO base (id, n) VALUES (1, 1), (2, 2);
             CREATE VIEW seen AS SELECT * FROM base WHERE n > 1;
             CREATE TABLE `odd ``name` (`a b` int PRIMARY KEY, `select` int, `é\"'` int);
             INSERT INTO `odd ``name` VALUES (1, 2, 3);
             CREATE TABLE versioned (id int PRIMARY KEY, n int) WITH SYSTEM VERSIONING;
             INSERT INTO versioned VALUES (1, 1); UPDATE versioned SET n = 2;
             CREATE DATABASE {other}; CREATE TABLE {other}.base (id int PRIMARY KEY, m int); INSERT INTO {other}.base VALUES (9, 9)"
        ))
        .await;
        let mut world = World::new(bed, json!({}));
        world.run().await;
        let tables: Vec<String> = world.status().await.table_map.into_keys().collect();
        assert_eq!(tables, ["base", "odd `name", "versioned"]);
        assert_eq!(cell(&world, "SELECT \"a b\" || \"select\" || \"é\"\"'\" FROM \"odd `name\""), some("123"));
        assert_eq!(cell(&world, "SELECT group_concat(n) FROM versioned"), some("2"));
        let wanted = json!([{ "name": "seen", "primary_key": ["id"] }, format!("{other}.*")]);
        world.restart(json!({ "tables": wanted })).await;
        world.run().await;
        let map = world.status().await.table_map;
        assert_eq!((map["seen"].mode, map["seen"].record_count), (Mode::Incremental, 1));
        assert_eq!(map[&format!("{other}_base")].record_count, 1);
        world.bed.execute(&format!("DROP DATABASE {other}")).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_changes() {
    for bed in beds().await {
        bed.execute("CREATE TABLE t (id int PRIMARY KEY, n int, old int, updated_at datetime(6)); INSERT INTO t SELECT seq, seq, 0, '2026-01-01' FROM seq_1_to_500").await;
        let world = World::new(bed, json!({ "tables": ["t"] }));
        world.run().await;
        world.bed.execute("ALTER TABLE t ADD COLUMN extra varchar(20) DEFAULT 'filled', DROP COLUMN old").await;
        world.run().await;
        assert_eq!(cell(&world, "SELECT count(*) FROM t WHERE extra = 'filled' AND old = 0"), some("500"));
        world.bed.execute("ALTER TABLE t MODIFY n varchar(20)").await;
        world.run().await;
        assert_eq!(cell(&world, "SELECT count(*) FROM t WHERE typeof(n) = 'text'"), some("500"));
        // A table that was emptied and filled anew since the consistent read began never looks empty.
        world.bed.execute("TRUNCATE t; INSERT INTO t (id, n, updated_at) VALUES (1, 'new', '2026-02-01')").await;
        world.run().await;
        assert_eq!(cell(&world, "SELECT n FROM t WHERE id = 1"), some("new"));
        world.end().await;
    }
}

#[tokio::test]
async fn one_read_sees_one_state_or_says_so() {
    for database in databases().await {
        let mut connection = connect(&database.url).await;
        run(&mut connection, "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)").await;
        let mut source = source_of(&database);
        source.begin().await.unwrap();
        run(&mut connection, "INSERT INTO a VALUES (2); TRUNCATE b").await;
        let (a, b) = (describe(source.as_mut(), "a").await, describe(source.as_mut(), "b").await);
        let (a, b) = (replica(a, &[], &BTreeMap::new()), replica(b, &[], &BTreeMap::new()));
        assert_eq!(rows(source.as_mut(), &a, Range::Whole).await.unwrap(), [[Value::Int(1)]]);
        let error = rows(source.as_mut(), &b, Range::Whole).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("1412"), "{error}");
        source.end().await;
        source.begin().await.unwrap();
        assert_eq!(rows(source.as_mut(), &a, Range::Keys).await.unwrap().len(), 2);
        assert!(rows(source.as_mut(), &b, Range::Keys).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_large_value_and_a_dead_connection() {
    for database in databases().await {
        let mut connection = connect(&database.url).await;
        run(&mut connection, "SET GLOBAL max_allowed_packet = 134217728").await;
        let mut connection = connect(&database.url).await;
        run(&mut connection, "CREATE TABLE t (id int PRIMARY KEY, b longblob); INSERT INTO t VALUES (1, repeat('x', 40000000)), (2, ''), (3, repeat('y', 16777215))").await;
        let mut source = source_of(&database);
        source.begin().await.unwrap();
        let replica = replica(describe(source.as_mut(), "t").await, &[], &BTreeMap::new());
        let read = rows(source.as_mut(), &replica, Range::ByKey { after: None }).await.unwrap();
        let lengths: Vec<usize> = read
            .iter()
            .map(|row| match &row[1] {
                Value::Blob(bytes) => bytes.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(lengths, [40_000_000, 0, 16_777_215]);
        source.end().await;
        let own: Vec<(u64,)> = sqlx::query_as("SELECT CAST(id AS UNSIGNED) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()").fetch_all(&mut connection).await.unwrap();
        for (id,) in own {
            run(&mut connection, &format!("KILL {id}")).await;
        }
        source.begin().await.unwrap();
        assert_eq!(rows(source.as_mut(), &replica, Range::Keys).await.unwrap().len(), 3);
    }
}

async fn refusal(config: ServerConfig, limits: Limits) -> Error {
    let mut source = Mysql.source(&SourceConfig::Mysql(config), limits).unwrap();
    source.begin().await.map(drop).unwrap_err()
}

#[tokio::test]
async fn refused_connections_say_why() {
    for database in databases().await {
        let url: url::Url = database.url.parse().unwrap();
        let parts = |port: u16, user: &str, schema: &str| ServerConfig {
            address: ServerAddress::Parts {
                host: "127.0.0.1".to_owned(),
                port,
                user: user.to_owned(),
                password: Secret("hush".to_owned()),
                database: schema.to_owned(),
            },
            schema: None,
            ssl: None,
            ca_cert: None,
        };
        let port = url.port().unwrap();
        let error = refusal(parts(port, "nobody_at_all", "x"), LIMITS).await;
        assert_eq!((error.kind(), error.is_transient()), (Kind::Auth, false), "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
        let mut nowhere = url.clone();
        nowhere.set_path("no_such_database");
        let error = refusal(config(nowhere.as_str()), LIMITS).await;
        assert_eq!((error.kind(), error.is_transient()), (Kind::Connect, false), "{error}");
        assert!(error.to_string().contains("Unknown database"), "{error}");
        let error = refusal(parts(1, "x", "x"), LIMITS).await;
        assert_eq!(error.to_string(), "Failed to connect to external database: connect ECONNREFUSED 127.0.0.1:1");
        assert!(error.is_transient());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_only_read() {
    for database in databases().await {
        let role = format!("reader_{:08x}", fastrand::u32(..));
        let mut connection = connect(&database.url).await;
        run(
            &mut connection,
            &format!(
                "CREATE TABLE open_one (id int PRIMARY KEY, updated_at datetime); INSERT INTO open_one VALUES (1, '2026-01-01');
                 CREATE TABLE closed (id int PRIMARY KEY); INSERT INTO closed VALUES (1);
                 CREATE USER {role}@'%' IDENTIFIED BY 'hush'; GRANT SELECT ON {name}.open_one TO {role}@'%';
                 GRANT INSERT ON {name}.closed TO {role}@'%'",
                name = database.name
            ),
        )
        .await;
        let mut url: url::Url = database.url.parse().unwrap();
        url.set_username(&role).unwrap();
        url.set_password(Some("hush")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("replica.sqlite");
        let options = |tables: Json| json!({ "source": { "type": "mysql", "url": url.as_str() }, "database": path, "tables": tables, "retry": { "attempts": 1 } });
        let recorder = std::sync::Arc::<super::world::Recorder>::default();
        let sync = super::world::handle(&options(json!([])), recorder);
        let stats = sync.sync(None, tokio_util::sync::CancellationToken::new()).await.unwrap();
        assert_eq!(
            (stats.tables.len(), stats.rows_inserted),
            (1, 1),
            "without the right to see transactions, or the other table"
        );
        sync.stop().await;
        let sync = super::world::handle(
            &options(json!(["open_one", "closed"])),
            std::sync::Arc::<super::world::Recorder>::default(),
        );
        let failure = sync.sync(None, tokio_util::sync::CancellationToken::new()).await.expect_err("denied");
        assert_eq!((failure.first.code, failure.first.table.as_deref()), ("SOURCE_READ", Some("closed")));
        assert!(failure.first.message.contains("GRANT SELECT ON"), "{failure:?}");
        assert!(!failure.first.message.contains("hush"));
        sync.stop().await;
        run(&mut connection, &format!("DROP USER {role}@'%'")).await;
    }
}

/// TLS by mode, with the server's certificate for `localhost` of an authority of the tests' own.
#[tokio::test]
async fn tls_is_what_the_mode_says() {
    let ca = std::env::var("DATA_SYNC_TEST_MYSQL_CA").unwrap_or_default();
    for database in databases().await {
        let mut url: url::Url = database.url.parse().unwrap();
        let mut with = |host: &str, ssl: Option<Ssl>, ca: Option<&str>| {
            url.set_host(Some(host)).unwrap();
            ServerConfig { ssl, ca_cert: ca.map(Into::into), ..config(url.as_str()) }
        };
        for (config, encrypted) in [
            (with("127.0.0.1", Some(Ssl::Disable), None), false),
            (with("127.0.0.1", None, None), true),
            (with("127.0.0.1", Some(Ssl::Prefer), None), true),
            (with("127.0.0.1", Some(Ssl::Require), None), true),
            (with("localhost", Some(Ssl::VerifyFull), Some(&ca)), true),
            (with("127.0.0.1", Some(Ssl::Require), Some(&ca)), true),
        ] {
            let mut source = Mysql.source(&SourceConfig::Mysql(config.clone()), LIMITS).unwrap();
            source.begin().await.unwrap_or_else(|error| panic!("{config:?}: {error}"));
            let mut connection = connect(&database.url).await;
            run(&mut connection, "CREATE OR REPLACE VIEW v AS SELECT 1 AS id, variable_value AS cipher FROM information_schema.session_status WHERE variable_name = 'ssl_cipher'").await;
            let replica = replica(describe(source.as_mut(), "v").await, &[], &BTreeMap::new());
            let found = rows(source.as_mut(), &replica, Range::Whole).await.unwrap();
            assert_eq!(found[0][1] != text(""), encrypted, "{config:?}: {found:?}");
        }
        // A name that the certificate is not for, and an authority that nobody trusts.
        for config in [
            with("localhost", Some(Ssl::VerifyFull), None),
            with("localtest.invalid", Some(Ssl::VerifyFull), Some(&ca)),
        ] {
            let error = refusal(config, LIMITS).await;
            assert_eq!(error.kind(), Kind::Connect, "{error}");
        }
        let error = refusal(with("localhost", Some(Ssl::VerifyFull), None), LIMITS).await;
        assert!(error.to_string().contains("check the options ssl and ca_cert") && !error.is_transient(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_is_missing() {
    for bed in beds().await {
        bed.execute(
            "CREATE TABLE big (id int PRIMARY KEY, updated_at datetime);
             INSERT INTO big SELECT seq, '2026-01-01' FROM seq_1_to_150000; ANALYZE TABLE big;
             CREATE TABLE made (id int PRIMARY KEY, created_at timestamp NULL, price decimal(30,2))",
        )
        .await;
        let mut world = World::new(bed, json!({ "batch_size": 10_000 }));
        world.run().await;
        let log = world.log(Level::Info).join("\n");
        for part in [
            "ALTER TABLE `data_sync_test_",
            "`.`big` ADD INDEX (`updated_at`, `id`)",
            "Table made has only created_at to track, which an update doesn't move",
            "Column made.price (decimal(30,2)) is kept as exact text",
        ] {
            assert!(log.contains(part), "{part} in\n{log}");
        }
        world.restart(json!({ "tables": [{ "name": "made", "track_column": "xmin" }] })).await;
        let failure = world.fail().await;
        assert_eq!(failure.first.code, "SCHEMA");
        assert!(failure.first.message.contains("this source doesn't have it"), "{failure:?}");
        world.restart(json!({ "tables": [{ "name": "made", "where": "nonsense = 'secret'" }] })).await;
        let failure = world.fail().await;
        assert!(!failure.first.message.contains("secret"), "{failure:?}");
        world.end().await;
    }
}

/// Under a collation that folds case, a key that only changes its case is another row to SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_changes_its_case() {
    for bed in beds().await {
        bed.execute("CREATE TABLE t (k varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n int, updated_at datetime); INSERT INTO t VALUES ('abc', 1, '2026-01-01'), ('B', 2, '2026-01-01'), ('ä', 3, '2026-01-01')").await;
        let world = World::new(bed, json!({ "deletes": "hard", "batch_size": 1 }));
        world.run().await;
        world.bed.execute("UPDATE t SET k = 'ABC', updated_at = '2026-01-02' WHERE k = 'abc'").await;
        world.run().await;
        assert_eq!(cell(&world, "SELECT group_concat(k) FROM (SELECT k FROM t ORDER BY k)"), some("ABC,B,ä"));
        assert_eq!(world.run().await.rows_updated, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_row_is_not_written() {
    for bed in beds().await {
        let shape = Shape::usual("t");
        bed.create(&shape).await;
        bed.insert(&shape, &(0..100).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
        let world = World::new(bed, json!({}));
        world.run().await;
        world.bed.update(&shape, &row([("id", 5.into())]), &row([("updated_at", at(5))])).await;
        let stats = world.run().await;
        assert_eq!((stats.rows_inserted, stats.rows_updated), (0, 0));
        assert!(stats.rows_read > 0, "the lookback was read");
        world.end().await;
    }
}
