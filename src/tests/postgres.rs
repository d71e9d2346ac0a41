//! The PostgreSQL source against real servers.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Connection as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::support::{self, LIMITS, TestDatabase, describe, replica, rows};
use crate::batch::{Batch, Position, Value};
use crate::config::{Secret, ServerAddress, ServerConfig, SourceConfig};
use crate::error::{Error, Kind};
use crate::replica::Replica;
use crate::schema::{Relation, SourceType, TableName};
use crate::source::{Connect as _, Limits, Lookback, Range, ScanPlan, Source, TrackPart, channel, postgres::Postgres};

const LOOKBACK: Lookback = Lookback { seconds: 300.0, values: 10 };

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn ints(rows: &[Vec<Value>]) -> Vec<i64> {
    rows.iter()
        .map(|row| match row[0] {
            Value::Int(value) => value,
            ref other => panic!("{other:?}"),
        })
        .collect()
}

fn by_track(part: TrackPart, floor: Option<&Position>, after: Option<&Position>, snapshot: Option<&str>) -> Range {
    Range::ByTrack {
        part,
        floor: floor.cloned(),
        after: after.cloned(),
        snapshot: snapshot.map(str::to_owned),
        lookback: LOOKBACK,
    }
}

fn server(address: ServerAddress) -> SourceConfig {
    SourceConfig::Postgresql(ServerConfig { address, schema: None, ssl: None, ca_cert: None })
}

async fn refusal(config: &SourceConfig, limits: Limits) -> Error {
    Postgres.source(config, limits).unwrap().begin().await.map(drop).unwrap_err()
}

/// A source that has begun, and the plan for `t`.
async fn begun(database: &TestDatabase, track: &[&str]) -> (Box<dyn Source>, Replica, String) {
    let mut source = database.source();
    let snapshot = source.begin().await.unwrap().snapshot.unwrap();
    let table = describe(source.as_mut(), "t").await;
    (source, replica(table, track, &BTreeMap::new()), snapshot)
}

#[tokio::test]
async fn tables_are_listed_once_and_with_rights() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE TABLE plain (id int PRIMARY KEY); CREATE TABLE \"Odd \"\"name\" (id int); \
                 CREATE TABLE parted (id int) PARTITION BY RANGE (id); \
                 CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10); \
                 CREATE VIEW seen AS SELECT 1 AS one; CREATE SCHEMA hidden; CREATE TABLE hidden.secret (id int); \
                 CREATE TEMP TABLE gone (id int); \
                 DROP ROLE IF EXISTS data_sync_reader; CREATE ROLE data_sync_reader LOGIN PASSWORD 'reader'; \
                 GRANT SELECT ON plain, parted TO data_sync_reader; GRANT SELECT ON hidden.secret TO data_sync_reader",
            )
            .await;
        let config = database.config_as("data_sync_reader", "reader");
        let mut source = Postgres.source(&config, LIMITS).unwrap();
        source.begin().await.unwrap();
        let listed: Vec<_> =
            source.tables().await.unwrap().into_iter().map(|each| (each.name.to_string(), each.readable)).collect();
        let expected =
            [("hidden.secret", false), ("public.Odd \"name", false), ("public.parted", true), ("public.plain", true)];
        assert_eq!(listed, expected.map(|(name, readable)| (name.to_owned(), readable)));

        let table = describe(source.as_mut(), "Odd \"name").await;
        let unreadable = replica(table, &[], &BTreeMap::new());
        let error = rows(source.as_mut(), &unreadable, Range::Whole).await.unwrap_err();
        assert_eq!(error.kind(), Kind::SourceRead);
        assert!(!error.is_transient());
        let message = error.to_string();
        assert!(message.contains("permission denied"), "{message}");
        assert!(message.contains("GRANT SELECT ON \"public\".\"Odd \"\"name\" TO \"data_sync_reader\""), "{message}");

        // A role that may only select can do everything.
        source.begin().await.unwrap();
        let table = describe(source.as_mut(), "plain").await;
        let readable = replica(table, &[], &BTreeMap::new());
        assert_eq!(rows(source.as_mut(), &readable, Range::ByKey { after: None }).await.unwrap(), Vec::<Vec<_>>::new());
        source.close().await;
        database.execute("DROP OWNED BY data_sync_reader; DROP ROLE data_sync_reader").await;
    }
}

#[tokio::test]
async fn tables_are_described() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE DOMAIN strict AS int NOT NULL; \
                 CREATE TABLE t (b numeric(12,2), a int, dropped int, at timestamptz(3), \"G\" int GENERATED ALWAYS AS (a + 1) STORED, \
                    PRIMARY KEY (a, b)); \
                 ALTER TABLE t DROP COLUMN dropped; \
                 CREATE INDEX ON t (at, a); CREATE INDEX ON t (a) WHERE a > 1; CREATE INDEX ON t (\"G\", (a + 1), b); \
                 CREATE TABLE uniq (n int UNIQUE, s strict, w text NOT NULL, UNIQUE (s, w), UNIQUE (w)); \
                 CREATE TABLE keyless (n int UNIQUE); \
                 CREATE TABLE parted (id int, at date, PRIMARY KEY (id)) PARTITION BY RANGE (id); \
                 CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000); \
                 INSERT INTO parted SELECT i FROM generate_series(1, 100) i; ANALYZE parted; ANALYZE parted_1; \
                 CREATE VIEW seen AS SELECT * FROM t; CREATE SCHEMA other; CREATE TABLE other.t (id int PRIMARY KEY)",
            )
            .await;
        let mut source = database.source();
        source.begin().await.unwrap();
        let table = describe(source.as_mut(), "t").await;
        assert_eq!(table.name.to_string(), "public.t");
        let columns: Vec<_> = table
            .columns
            .iter()
            .map(|c| (c.name.as_str(), c.declared.as_str(), c.type_name.as_str(), c.nullable))
            .collect();
        assert_eq!(
            columns,
            [
                ("b", "numeric(12,2)", "numeric", false),
                ("a", "integer", "int4", false),
                ("at", "timestamp(3) with time zone", "timestamptz", true),
                ("G", "integer", "int4", true),
            ]
        );
        assert_eq!(table.columns[2].kind, SourceType::Timestamp { digits: 3, zoned: true });
        assert_eq!(table.key, ["a", "b"]);
        assert_eq!(table.relation, Relation::Table);
        assert!(table.sees_changes);
        assert_eq!(table.estimated_rows, None);
        let mut indexes = table.indexes.clone();
        indexes.sort();
        assert_eq!(indexes, [vec!["G"], vec!["a", "b"], vec!["at", "a"]]);

        assert_eq!(describe(source.as_mut(), "uniq").await.key, ["w"]);
        assert_eq!(describe(source.as_mut(), "keyless").await.key, Vec::<String>::new());
        let parted = describe(source.as_mut(), "parted").await;
        assert_eq!((parted.estimated_rows, parted.sees_changes), (Some(100), true));
        let view = describe(source.as_mut(), "seen").await;
        assert_eq!((view.relation, view.sees_changes, view.key.len()), (Relation::View, false, 0));
        let other = TableName { schema: Some("other".to_owned()), name: "t".to_owned() };
        assert_eq!(source.describe(&other, &[]).await.unwrap().unwrap().key, ["id"]);
        for hostile in ["T", "no such table", "'; DROP TABLE t; --", "$name"] {
            let name = TableName { schema: None, name: hostile.to_owned() };
            assert_eq!(source.describe(&name, &[]).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn one_read_sees_one_state() {
    for database in support::databases().await {
        database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)").await;
        let (mut source, replica, _) = begun(&database, &[]).await;
        assert_eq!(source.high_water(&replica).await.unwrap(), None);
        database.execute("INSERT INTO t VALUES (11); DELETE FROM t WHERE id = 1").await;
        for range in [Range::ByKey { after: None }, Range::Whole, Range::Keys, Range::Changed { snapshot: None }] {
            let mut seen = ints(&rows(source.as_mut(), &replica, range).await.unwrap());
            seen.sort_unstable();
            assert_eq!(seen, (1..=10).collect::<Vec<_>>());
        }
        source.end().await;
        source.begin().await.unwrap();
        let after = Range::ByKey { after: Some(vec![Value::Int(9)]) };
        assert_eq!(ints(&rows(source.as_mut(), &replica, after).await.unwrap()), [10, 11]);
        let lookup = Range::Lookup { keys: vec![vec![Value::Int(1)], vec![Value::Int(2)], vec![Value::Int(11)]] };
        let mut found = ints(&rows(source.as_mut(), &replica, lookup).await.unwrap());
        found.sort_unstable();
        assert_eq!(found, [2, 11]);
        let nothing = Range::Lookup { keys: Vec::new() };
        assert_eq!(rows(source.as_mut(), &replica, nothing).await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn ties_and_composite_keys_page_in_order() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE TABLE t (b text, a int, at timestamptz, PRIMARY KEY (a, b)); \
                 INSERT INTO t SELECT i % 5 || '''', i / 5, '2020-01-01Z'::timestamptz + (i / 20) * interval '1 s' \
                 FROM generate_series(0, 59) i",
            )
            .await;
        let (mut source, replica, _) = begun(&database, &["at"]).await;
        let all = rows(source.as_mut(), &replica, by_track(TrackPart::Ahead, None, None, None)).await.unwrap();
        assert_eq!(all.len(), 60);
        assert!(all.iter().all(|row| row[4] == Value::Int(1) && row[3] == row[2]));
        let position = |row: &Vec<Value>| Position { track: row[3].clone(), key: vec![row[1].clone(), row[0].clone()] };
        for index in [0, 1, 19, 20, 58, 59] {
            let after = position(&all[index]);
            let ahead = by_track(TrackPart::Ahead, Some(&after), Some(&after), None);
            assert_eq!(rows(source.as_mut(), &replica, ahead).await.unwrap(), all[index + 1..]);
            let behind = by_track(TrackPart::Behind, Some(&after), Some(&after), None);
            let behind = rows(source.as_mut(), &replica, behind).await.unwrap();
            assert_eq!(behind.len(), index + 1);
            assert!(behind.iter().all(|row| row[4] == Value::Int(0)));
        }
        let last = position(&all[59]);
        assert_eq!(source.high_water(&replica).await.unwrap(), Some(last));
        let wrong = Range::ByKey { after: Some(vec![Value::Int(1)]) };
        assert_eq!(rows(source.as_mut(), &replica, wrong).await.unwrap_err().kind(), Kind::SourceRead);
    }
}

#[tokio::test]
async fn a_late_commit_is_seen_even_from_a_subtransaction() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); \
                 INSERT INTO t SELECT i, now() - interval '1 min' FROM generate_series(1, 5) i",
            )
            .await;
        database.settle().await;
        let mut late = database.connect().await;
        sqlx::raw_sql(
            "BEGIN; SAVEPOINT one; INSERT INTO t VALUES (100, now() - interval '30 s'); SAVEPOINT two; \
             INSERT INTO t VALUES (101, now() - interval '30 s'); RELEASE two",
        )
        .execute(&mut late)
        .await
        .unwrap();
        // Ids beyond the late transaction's are over before the snapshot is taken.
        database.execute("INSERT INTO t VALUES (6, now())").await;

        let (mut source, replica, snapshot) = begun(&database, &["at"]).await;
        let position = source.high_water(&replica).await.unwrap().unwrap();
        assert_eq!(position.key, [Value::Int(6)]);
        source.end().await;

        sqlx::raw_sql("SAVEPOINT three; UPDATE t SET at = at WHERE id = 1; COMMIT").execute(&mut late).await.unwrap();
        database.execute("INSERT INTO t VALUES (7, now())").await;
        source.begin().await.unwrap();
        let mut read = async |part| {
            let range = by_track(part, Some(&position), Some(&position), Some(&snapshot));
            let mut ids = ints(&rows(source.as_mut(), &replica, range).await.unwrap());
            ids.sort_unstable();
            ids
        };
        // 6 is read again, harmlessly: it is younger than the oldest transaction that was running.
        assert_eq!(read(TrackPart::Behind).await, [1, 6, 100, 101]);
        assert_eq!(read(TrackPart::Ahead).await, [7]);
        assert_eq!(read(TrackPart::All).await, [1, 6, 7, 100, 101]);
        let mut ids =
            ints(&rows(source.as_mut(), &replica, Range::Changed { snapshot: Some(snapshot) }).await.unwrap());
        ids.sort_unstable();
        assert_eq!(ids, [1, 6, 7, 100, 101]);
        // A snapshot of another server tells nothing.
        let foreign = Range::Changed { snapshot: Some("99999999999:99999999999:".to_owned()) };
        assert_eq!(rows(source.as_mut(), &replica, foreign).await.unwrap().len(), 9);
    }
}

#[tokio::test]
async fn frozen_and_vacuumed_rows_do_not_come_back() {
    for database in support::databases().await {
        database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)").await;
        database.execute("VACUUM (FREEZE) t").await;
        database.settle().await;
        let (mut source, replica, snapshot) = begun(&database, &["xmin"]).await;
        source.end().await;
        database.execute("UPDATE t SET id = 1000 WHERE id = 7").await;
        source.begin().await.unwrap();
        let changed = Range::Changed { snapshot: Some(snapshot) };
        assert_eq!(ints(&rows(source.as_mut(), &replica, changed).await.unwrap()), [1000]);
    }
}

#[tokio::test]
async fn the_future_does_not_move_the_position() {
    for database in support::databases().await {
        for (kind, past, future) in [
            ("timestamptz", "now() - interval '1 h'", "'infinity'"),
            ("timestamp", "(now() AT TIME ZONE 'UTC') - interval '1 h'", "'9999-01-01'"),
            ("date", "'2020-01-01'", "'9999-01-01'"),
        ] {
            database
                .execute(&format!(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, at {kind}); \
                     INSERT INTO t VALUES (1, {past}), (2, {future}), (3, NULL)"
                ))
                .await;
            let (mut source, replica, _) = begun(&database, &["at"]).await;
            let position = source.high_water(&replica).await.unwrap().unwrap();
            assert_eq!(position.key, [Value::Int(1)], "{kind}");
            let all = rows(source.as_mut(), &replica, by_track(TrackPart::All, None, None, None)).await.unwrap();
            let flags: Vec<_> = all.iter().map(|row| (row[0].clone(), row[3].clone())).collect();
            assert_eq!(flags, [(Value::Int(1), Value::Int(1)), (Value::Int(2), Value::Int(0))], "{kind}");
            let again = by_track(TrackPart::All, Some(&position), Some(&position), None);
            let flags: Vec<_> =
                rows(source.as_mut(), &replica, again).await.unwrap().iter().map(|row| row[3].clone()).collect();
            assert_eq!(flags, [Value::Int(0), Value::Int(0)], "{kind}");
        }
    }
}

#[tokio::test]
async fn every_ordered_type_can_be_tracked() {
    for database in support::databases().await {
        for (kind, values, again) in [
            ("smallint", ["-32768", "-32767", "-32766"], 3),
            ("int", ["1", "20", "25"], 2),
            ("bigint", ["-9223372036854775808", "9223372036854775800", "9223372036854775807"], 2),
            ("oid", ["1", "2", "3"], 3),
            ("numeric(8,2)", ["1", "20.5", "25"], 2),
            ("numeric", ["1", "20.5", "25"], 2),
            ("real", ["1", "20.5", "25"], 2),
            ("double precision", ["1", "20.5", "25"], 2),
            ("date", ["'2020-01-01'", "'2020-02-01'", "'2020-02-01'"], 2),
            ("timestamp", ["'2020-01-01'", "'2020-02-01'", "'2020-02-01 00:04'"], 2),
            ("timestamptz(2)", ["'2020-01-01'", "'2020-02-01'", "'2020-02-01 00:04'"], 2),
            ("timestamptz", ["'0044-01-01 BC'", "'0044-01-02 BC'", "'0044-01-03 BC'"], 3),
            ("time", ["'01:00'", "'02:00'", "'03:00'"], 3),
            ("text", ["'a'", "'it''s'", "'z\\'"], 3),
            ("bytea", ["'\\x00'", "'\\x01'", "'\\xff'"], 3),
            (
                "uuid",
                [
                    "'01890a5d-ac96-774b-bcce-b302099a8057'",
                    "'01990a5d-ac96-774b-bcce-b302099a8057'",
                    "'01990a5d-ac97-774b-bcce-b302099a8057'",
                ],
                2,
            ),
            ("interval", ["'1 s'", "'1 min'", "'1 h'"], 3),
        ] {
            let values: Vec<_> = values.iter().enumerate().map(|(id, value)| format!("({id}, {value})")).collect();
            database
                .execute(&format!(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, c {kind}); INSERT INTO t VALUES {}",
                    values.join(", ")
                ))
                .await;
            let (mut source, replica, _) = begun(&database, &["c"]).await;
            let position = source.high_water(&replica).await.unwrap().unwrap();
            assert_eq!(position.key, [Value::Int(2)], "{kind}");
            let ahead = by_track(TrackPart::Ahead, Some(&position), Some(&position), None);
            assert_eq!(rows(source.as_mut(), &replica, ahead).await.unwrap().len(), 0, "{kind}");
            let all = by_track(TrackPart::All, Some(&position), Some(&position), None);
            assert_eq!(rows(source.as_mut(), &replica, all).await.unwrap().len(), again, "{kind}");
        }
    }
}

#[tokio::test]
async fn several_track_columns_and_the_lane_of_none() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE TABLE t (id int PRIMARY KEY, updated timestamptz(3), made date, n int); \
                 INSERT INTO t VALUES (1, '2020-01-02 03:04:05.678Z', '2020-01-01'), (2, NULL, '2020-01-03'), (3, NULL, NULL)",
            )
            .await;
        database.settle().await;
        let (mut source, mut replica, snapshot) = begun(&database, &["updated", "made"]).await;
        let position = source.high_water(&replica).await.unwrap().unwrap();
        assert_eq!(position, Position { track: text("2020-01-03T00:00:00.000Z"), key: vec![Value::Int(2)] });
        let read = rows(source.as_mut(), &replica, by_track(TrackPart::All, None, None, None)).await.unwrap();
        assert_eq!(ints(&read), [1, 2]);
        let lane = |snapshot: Option<&str>| Range::KeysWithoutTrack { snapshot: snapshot.map(str::to_owned) };
        assert_eq!(rows(source.as_mut(), &replica, lane(None)).await.unwrap(), [[Value::Int(3), Value::Int(0)]]);
        source.end().await;
        database.execute("INSERT INTO t VALUES (4)").await;
        source.begin().await.unwrap();
        let mut keys = rows(source.as_mut(), &replica, lane(Some(&snapshot))).await.unwrap();
        keys.sort_by_key(|row| row[0].render());
        assert_eq!(keys, [[Value::Int(3), Value::Int(0)], [Value::Int(4), Value::Int(1)]]);

        replica.filter = Some("id <> 1 AND t.id <> 4 -- not these".to_owned());
        let read = rows(source.as_mut(), &replica, by_track(TrackPart::All, None, None, None)).await.unwrap();
        assert_eq!(ints(&read), [2]);
        let table = replica.source.clone();
        let mixed = support::replica(table, &["updated", "n"], &BTreeMap::new());
        let error = source.high_water(&mixed).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Schema, "{error}");
    }
}

#[tokio::test]
async fn inheritance_partitions_and_views_are_read() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE child () INHERITS (t); \
                 INSERT INTO t VALUES (1); INSERT INTO child VALUES (2); \
                 CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id); \
                 CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (5); \
                 CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (5) TO (10); \
                 INSERT INTO parted SELECT generate_series(0, 9); \
                 CREATE VIEW seen AS SELECT id FROM parted WHERE id > 7; \
                 CREATE MATERIALIZED VIEW kept AS SELECT id FROM parted WHERE id > 8",
            )
            .await;
        database.settle().await;
        let (mut source, own, snapshot) = begun(&database, &[]).await;
        assert_eq!(ints(&rows(source.as_mut(), &own, Range::Whole).await.unwrap()), [1]);
        for (name, count) in [("parted", 10), ("seen", 2), ("kept", 1)] {
            let replica = replica(describe(source.as_mut(), name).await, &[], &BTreeMap::new());
            assert_eq!(rows(source.as_mut(), &replica, Range::Whole).await.unwrap().len(), count, "{name}");
            // Where the source can't tell, every row counts as changed.
            let changed = Range::Changed { snapshot: Some(snapshot.clone()) };
            let expected = if name == "parted" { 0 } else { count };
            assert_eq!(rows(source.as_mut(), &replica, changed).await.unwrap().len(), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_rewritten_table_never_looks_empty() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); \
                 CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id); \
                 CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10); INSERT INTO parted VALUES (1)",
            )
            .await;
        let (mut source, t, _) = begun(&database, &[]).await;
        let parted = replica(describe(source.as_mut(), "parted").await, &[], &BTreeMap::new());
        database.execute("TRUNCATE t; TRUNCATE parted_1").await;
        let error = rows(source.as_mut(), &parted, Range::Keys).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        let error = rows(source.as_mut(), &t, Range::Whole).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("rewritten"), "{error}");
    }
}

#[tokio::test]
async fn failures_are_told_without_values() {
    for database in support::databases().await {
        database.execute("CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'hush')").await;
        let (mut source, mut replica, _) = begun(&database, &[]).await;
        replica.filter = Some("s::int > 0".to_owned());
        let error = rows(source.as_mut(), &replica, Range::Whole).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (Kind::SourceRead, false));
        assert!(error.to_string().contains("22P02") && !error.to_string().contains("hush"), "{error}");

        replica.filter = None;
        let error = rows(source.as_mut(), &replica, Range::Whole).await.unwrap_err();
        assert!(error.is_transient(), "the consistent read is over: {error}");
        source.begin().await.unwrap();
        database.execute("DROP TABLE t").await;
        let error = rows(source.as_mut(), &replica, Range::Whole).await.unwrap_err();
        assert_eq!(error.to_string().split(':').next(), Some("Table 't' not found in external database"));
        assert_eq!(error.kind(), Kind::TableNotFound);
    }
}

#[tokio::test]
async fn a_dead_connection_is_replaced() {
    for database in support::databases().await {
        database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let (mut source, replica, _) = begun(&database, &[]).await;
        source.end().await;
        database.execute(kill).await;
        source.begin().await.unwrap();
        assert_eq!(ints(&rows(source.as_mut(), &replica, Range::Whole).await.unwrap()), [1]);
        database.execute(kill).await;
        let error = rows(source.as_mut(), &replica, Range::Whole).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient()), (Kind::SourceRead, true), "{error}");
        source.begin().await.unwrap();
        assert_eq!(ints(&rows(source.as_mut(), &replica, Range::Whole).await.unwrap()), [1]);
        source.close().await;
    }
}

#[tokio::test]
async fn a_read_that_is_given_up_leaves_a_source_that_works() {
    for database in support::databases().await {
        database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 20000)").await;
        let (mut source, replica, _) = begun(&database, &[]).await;
        let plan = ScanPlan { replica: &replica, range: Range::Whole, batch_size: 10 };
        let (mut sink, mut incoming) = channel(1, 10);
        {
            let scan = source.scan(&plan, &mut sink);
            tokio::select! {
                _ = scan => panic!("nobody took the rows"),
                batches = incoming.next() => assert_eq!(batches.unwrap()[0].rows(), 10),
            }
        }
        drop(incoming);
        source.begin().await.unwrap();
        assert_eq!(rows(source.as_mut(), &replica, Range::Whole).await.unwrap().len(), 20000);
        let (mut sink, incoming) = channel(1, 10);
        drop(incoming);
        assert_eq!(source.scan(&plan, &mut sink).await.unwrap_err().kind(), Kind::Aborted);
    }
}

#[tokio::test]
async fn a_slow_answer_ends_and_a_slow_reader_does_not() {
    for database in support::databases().await {
        database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)").await;
        let limits = Limits { connect: Duration::from_secs(10), query: Duration::from_millis(300) };
        let mut source = Postgres.source(&database.config, limits).unwrap();
        source.begin().await.unwrap();
        let mut replica = replica(describe(source.as_mut(), "t").await, &[], &BTreeMap::new());
        let plan = ScanPlan { replica: &replica, range: Range::Whole, batch_size: 10 };
        let (mut sink, mut incoming) = channel(1, 10);
        let slow = async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            let mut count = 0;
            while let Some(batches) = incoming.next().await {
                count += batches.iter().map(Batch::rows).sum::<usize>();
            }
            count
        };
        let read = async {
            source.scan(&plan, &mut sink).await.unwrap();
            drop(sink);
        };
        assert_eq!(tokio::join!(slow, read).0, 100);

        replica.filter = Some("pg_sleep(5) IS NOT NULL".to_owned());
        let error = rows(source.as_mut(), &replica, Range::Whole).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().contains("no answer for 0.3 s"), "{error}");
    }
}

#[tokio::test]
async fn text_of_no_encoding_is_told() {
    for database in support::databases_with("ENCODING 'SQL_ASCII' LOCALE 'C'").await {
        database
            .execute("CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'ok'), (2, E'\\xff')")
            .await;
        let (mut source, replica, _) = begun(&database, &[]).await;
        let error = rows(source.as_mut(), &replica, Range::Whole).await.unwrap_err();
        assert_eq!((error.kind(), error.is_transient(), error.table()), (Kind::SourceRead, false, Some("t")));
        assert!(error.to_string().contains("types: { s: 'BLOB' }"), "{error}");
        source.begin().await.unwrap();
        let types = BTreeMap::from([("s", crate::mapping::SqliteType::Blob)]);
        let replica = support::replica(replica.source.clone(), &[], &types);
        let read = rows(source.as_mut(), &replica, Range::ByKey { after: None }).await.unwrap();
        assert_eq!(read[1][1], Value::Blob(vec![255]));
    }
}

#[tokio::test]
async fn estimates_and_advice() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE TABLE t (id int PRIMARY KEY, at timestamptz); \
                 INSERT INTO t SELECT i, now() FROM generate_series(1, 100001) i",
            )
            .await;
        database.execute("VACUUM ANALYZE t").await;
        let (mut source, replica, _) = begun(&database, &["at"]).await;
        let plan = ScanPlan { replica: &replica, range: Range::ByKey { after: None }, batch_size: 10 };
        assert_eq!(source.estimate(&plan).await.unwrap(), Some(100_001));
        let advice = source.advice(&replica);
        assert_eq!(advice.as_deref(), Some("CREATE INDEX CONCURRENTLY ON \"public\".\"t\" (\"at\", \"id\")"));
        source.end().await;
        database.execute(&advice.unwrap()).await;
        let (source, replica, _) = begun(&database, &["at"]).await;
        assert_eq!(source.advice(&replica), None);
    }
}

#[tokio::test]
async fn the_key_is_walked_not_sorted() {
    for database in support::databases().await {
        database
            .execute(
                "CREATE TABLE t (id uuid PRIMARY KEY, s text); \
                 INSERT INTO t SELECT gen_random_uuid(), repeat('x', 100) FROM generate_series(1, 20000)",
            )
            .await;
        database.execute("VACUUM ANALYZE t").await;
        let (mut source, replica, _) = begun(&database, &[]).await;
        let all = rows(source.as_mut(), &replica, Range::ByKey { after: None }).await.unwrap();
        assert_eq!(all.len(), 20000);
        assert!(all.is_sorted_by_key(|row| row[0].render()));
    }
}

#[tokio::test]
async fn refused_connections_say_why() {
    for database in support::databases().await {
        let parts = |host: &str, port: u16| {
            server(ServerAddress::Parts {
                host: host.to_owned(),
                port,
                user: "nobody".to_owned(),
                password: Secret("hush".to_owned()),
                database: "nothing".to_owned(),
            })
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = Limits { connect: Duration::from_millis(200), query: LIMITS.query };
        let error = refusal(&parts("127.0.0.1", port), silent).await;
        let expected = format!("Failed to connect to external database: connect ETIMEDOUT 127.0.0.1:{port}");
        assert_eq!((error.to_string(), error.kind(), error.is_transient()), (expected, Kind::Connect, true));

        let closing = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 8]).await;
        });
        let error = refusal(&parts("127.0.0.1", port), LIMITS).await;
        assert_eq!((error.kind(), error.is_transient()), (Kind::Connect, true), "{error}");
        closing.await.unwrap();

        let error = refusal(&parts("127.0.0.1", port), LIMITS).await;
        let expected = format!("Failed to connect to external database: connect ECONNREFUSED 127.0.0.1:{port}");
        assert_eq!((error.to_string(), error.kind(), error.is_transient()), (expected, Kind::Connect, true));

        let error = refusal(&parts("/nowhere", 5432), LIMITS).await;
        assert!(error.to_string().ends_with("connect ENOENT /nowhere/.s.PGSQL.5432"), "{error}");
        let error = refusal(&parts("no-such-host.invalid", 5432), LIMITS).await;
        assert!(error.to_string().contains("getaddrinfo E"), "{error}");

        let error = refusal(&database.config_as("nobody_at_all", "hush"), LIMITS).await;
        assert_eq!((error.kind(), error.is_transient()), (Kind::Auth, false), "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
        let SourceConfig::Postgresql(mut config) = database.config.clone() else { unreachable!() };
        config.address = ServerAddress::Url(Secret(format!("{}_none", database.url)));
        let error = refusal(&SourceConfig::Postgresql(config), LIMITS).await;
        assert_eq!((error.kind(), error.is_transient()), (Kind::Connect, false), "{error}");
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
}

#[tokio::test]
async fn the_session_does_not_depend_on_the_role() {
    for database in support::databases().await {
        let name = database.url.rsplit('/').next().unwrap().to_owned();
        database
            .execute(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, i interval, b bytea[], f float8[]); \
                 INSERT INTO t VALUES (1, '2020-06-01 12:00Z', '1 day 2 h', ARRAY['\\x00'::bytea], ARRAY[0.1::float8]); \
                 ALTER DATABASE {name} SET TimeZone = 'Asia/Kolkata'; ALTER DATABASE {name} SET DateStyle = 'German'; \
                 ALTER DATABASE {name} SET IntervalStyle = 'iso_8601'; ALTER DATABASE {name} SET bytea_output = 'escape'; \
                 ALTER DATABASE {name} SET standard_conforming_strings = off; ALTER DATABASE {name} SET statement_timeout = 50; \
                 ALTER DATABASE {name} SET default_transaction_isolation = 'read committed'; \
                 ALTER DATABASE {name} SET extra_float_digits = -5; \
                 DO $$ BEGIN IF current_setting('transaction_timeout', true) IS NOT NULL THEN \
                 EXECUTE 'ALTER DATABASE {name} SET transaction_timeout = 90'; END IF; END $$"
            ))
            .await;
        let (mut source, mut replica, _) = begun(&database, &[]).await;
        replica.filter = Some("pg_sleep(0.1) IS NOT NULL".to_owned());
        let read = rows(source.as_mut(), &replica, Range::Whole).await.unwrap();
        assert_eq!(
            read[0][1..],
            [text("2020-06-01T12:00:00.000000Z"), text("1 day 02:00:00"), text("[\"\\\\x00\"]"), text("[0.1]")]
        );
        let mut plain = database.connect().await;
        plain.ping().await.unwrap();
    }
}
