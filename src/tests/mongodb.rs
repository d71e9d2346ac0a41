//! The MongoDB source against real servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Binary, Bson, DateTime, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc};
use mongodb::{Client, Collection, Database};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::bed::{Bed, Shape};
use super::mongodb_bed::{TestDatabase, beds, servers};
use super::world::{World, at, usual};
use crate::event::{ChangeKind, Event, Level, Mode};

/// The database of a bed, by a client of the test's own.
async fn database(bed: &dyn Bed) -> Database {
    let uri = bed.source()["uri"].as_str().unwrap().to_owned();
    Client::with_uri_str(uri).await.unwrap().default_database().unwrap()
}

/// A world with these options on every server.
async fn worlds(options: Value) -> Vec<(World, Database)> {
    let mut worlds = Vec::new();
    for bed in beds().await {
        let database = database(bed.as_ref()).await;
        worlds.push((World::new(bed, options.clone()), database));
    }
    worlds
}

async fn insert(database: &Database, name: &str, documents: impl IntoIterator<Item = Document>) {
    let collection: Collection<Document> = database.collection(name);
    collection.insert_many(documents).await.unwrap();
}

async fn update(database: &Database, name: &str, id: impl Into<Bson>, change: Document) {
    let collection: Collection<Document> = database.collection(name);
    collection.update_one(doc! { "_id": id.into() }, change).await.unwrap();
}

fn date(seconds: i64) -> Bson {
    Bson::DateTime(DateTime::from_millis((1_767_225_600 + seconds) * 1_000))
}

fn binary(subtype: u8, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: subtype.into(), bytes: bytes.to_vec() })
}

/// The answer's rows with their cells joined by `|`.
fn rows(world: &World, sql: &str) -> Vec<String> {
    let text = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    world.query(sql).into_iter().map(|row| row.into_iter().map(text).collect::<Vec<_>>().join("|")).collect()
}

fn retyped(world: &World) -> Vec<String> {
    let changes = world.events().into_iter().filter_map(|event| match event {
        Event::SchemaChange { changes, .. } => Some(changes),
        _ => None,
    });
    let retyped = changes.flatten().filter(|change| change.kind == ChangeKind::ColumnRetyped);
    retyped.filter_map(|change| change.column).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_has_its_form() {
    let id = ObjectId::parse_str("64b7f0c2a1d3e4f5061728ab").unwrap();
    let regex = Regex { pattern: "^a".to_owned().try_into().unwrap(), options: "i".to_owned().try_into().unwrap() };
    let scoped = JavaScriptCodeWithScope { code: "g".to_owned(), scope: doc! { "x": 1 } };
    let types = [
        ("oid", Bson::ObjectId(id), "text|64b7f0c2a1d3e4f5061728ab"),
        ("i32", Bson::Int32(-5), "integer|-5"),
        ("i64", Bson::Int64(i64::MAX), "integer|9223372036854775807"),
        ("f64", Bson::Double(0.1), "real|0.1"),
        ("whole", Bson::Double(3.0), "real|3.0"),
        ("nan", Bson::Double(f64::NAN), "text|NaN"),
        ("inf", Bson::Double(f64::NEG_INFINITY), "text|-Infinity"),
        (
            "dec",
            Bson::Decimal128("1234567890123456789.0123456789".parse().unwrap()),
            "text|1234567890123456789.0123456789",
        ),
        ("str", Bson::String("käse 🧀\u{0}'\"\\".to_owned()), "text|käse 🧀\u{0}'\"\\"),
        ("yes", Bson::Boolean(true), "integer|1"),
        ("at", Bson::DateTime(DateTime::from_millis(-1)), "text|1969-12-31T23:59:59.999Z"),
        ("early", Bson::DateTime(DateTime::from_millis(-62_135_596_800_000)), "text|0001-01-01T00:00:00.000Z"),
        ("late", Bson::DateTime(DateTime::from_millis(253_402_300_799_999)), "text|9999-12-31T23:59:59.999Z"),
        ("ts", Bson::Timestamp(Timestamp { time: 5, increment: 7 }), r#"text|{"$timestamp":{"t":5,"i":7}}"#),
        ("bin", binary(0, &[0, 255]), "blob|00ff"),
        ("md5", binary(5, &[1]), "blob|01"),
        ("uuid", binary(4, &[0xab; 16]), "text|abababab-abab-abab-abab-abababababab"),
        ("old", binary(3, &[0xab; 16]), "text|abababab-abab-abab-abab-abababababab"),
        ("re", Bson::RegularExpression(regex), r#"text|{"$regularExpression":{"pattern":"^a","options":"i"}}"#),
        ("js", Bson::JavaScriptCode("f()".to_owned()), r#"text|{"$code":"f()"}"#),
        ("scoped", Bson::JavaScriptCodeWithScope(scoped), r#"text|{"$code":"g","$scope":{"x":1}}"#),
        ("min", Bson::MinKey, r#"text|{"$minKey":1}"#),
        ("max", Bson::MaxKey, r#"text|{"$maxKey":1}"#),
        (
            "ref",
            doc! { "$ref": "users", "$id": id }.into(),
            r#"text|{"$ref":"users","$id":{"$oid":"64b7f0c2a1d3e4f5061728ab"}}"#,
        ),
        (
            "doc",
            doc! { "b": 1_i64, "a": [date(0), 2.0, "x"] }.into(),
            r#"text|{"b":1,"a":[{"$date":"2026-01-01T00:00:00.000Z"},2.0,"x"]}"#,
        ),
        ("list", Bson::Array(vec![]), "text|[]"),
        ("none", Bson::Null, "null|NULL"),
        ("undefined", Bson::Undefined, "null|NULL"),
    ];
    for (world, database) in worlds(json!({ "type_map": { "timestamp": "BLOB" } })).await {
        let first: Document = types.iter().map(|(name, value, _)| ((*name).to_owned(), value.clone())).collect();
        insert(&database, "t", [first]).await;
        // What is none has no column until it has a value somewhere.
        insert(&database, "t", [doc! { "_id": "none", "none": 1, "undefined": 1 }]).await;
        world.run().await;
        for (name, value, expected) in &types {
            let sql = format!("SELECT typeof(\"{name}\"), \"{name}\" FROM t WHERE oid IS NOT NULL");
            let expected = match *name {
                "ts" => format!("blob|{}", crate::batch::hex(br#"{"$timestamp":{"t":5,"i":7}}"#)),
                _ => (*expected).to_owned(),
            };
            assert_eq!(rows(&world, &sql), [expected], "{name}: {value:?}");
        }
        assert_eq!(world.run().await.rows_updated, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_of_the_users_choice() {
    let types = json!({ "_id": "BLOB", "at": "TEXT", "n": "TEXT", "price": "REAL", "flag": "TEXT", "bytes": "TEXT", "code": "INTEGER" });
    let table = json!({ "name": "t", "types": types, "track_column": "at" });
    for (world, database) in worlds(json!({ "tables": [table], "batch_size": 1, "deletes": "hard" })).await {
        let document = |id: u8, code: &str| {
            doc! { "_id": ObjectId::from_bytes([id; 12]), "at": date(0), "n": 5, "flag": false,
            "price": Bson::Decimal128("9.90".parse().unwrap()), "bytes": binary(0, &[1]), "code": code }
        };
        insert(&database, "t", [document(1, "7"), document(2, "007")]).await;
        world.run().await;
        insert(&database, "t", [document(3, "8")]).await;
        assert_eq!(world.run().await.rows_inserted, 1);
        let got = rows(&world, "SELECT _id, at, n, price, flag, bytes, typeof(code), code FROM t ORDER BY _id");
        let row = |id: &str, code: &str| format!("{id}|2026-01-01T00:00:00.000Z|5|9.9|false|\\x01|{code}");
        let ids = ["01", "02", "03"].map(|id| id.repeat(12));
        assert_eq!(got, [row(&ids[0], "integer|7"), row(&ids[1], "integer|7"), row(&ids[2], "integer|8")]);
        world.end().await;
    }
    for (world, database) in worlds(json!({ "tables": [{ "name": "t", "types": { "_id": "INTEGER" } }] })).await {
        insert(&database, "t", [doc! { "_id": "007" }]).await;
        let failure = world.fail().await;
        assert_eq!(failure.first.code, "TYPE_MAP", "{failure:?}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_any_type_stay_apart() {
    let ids = [
        Bson::MinKey,
        Bson::Null,
        Bson::Int32(1),
        Bson::Double(2.5),
        Bson::Decimal128("3.7".parse().unwrap()),
        Bson::String("1".to_owned()),
        Bson::String("true".to_owned()),
        doc! { "a": 1, "b": "x" }.into(),
        doc! { "a": 1, "b": "y" }.into(),
        binary(0, b"1"),
        binary(4, &[7; 16]),
        Bson::ObjectId(ObjectId::from_bytes([b'1'; 12])),
        Bson::Boolean(false),
        Bson::Boolean(true),
        date(0),
        Bson::Timestamp(Timestamp { time: 1, increment: 1 }),
        Bson::MaxKey,
    ];
    for (mut world, database) in worlds(json!({ "batch_size": 1, "deletes": "hard" })).await {
        insert(&database, "t", ids.iter().map(|id| doc! { "_id": id, "updated_at": date(0) })).await;
        // Cut on its way, so that it goes on after an id of any type.
        for cut in 0..6 {
            let mut left = cut;
            let cut = world.run_until(move |event| {
                left -= i32::from(matches!(event, Event::Progress { .. } | Event::TableStart { .. }));
                std::thread::sleep(std::time::Duration::from_millis(20));
                left < 0
            });
            let _ = cut.await;
        }
        world.run().await;
        assert_eq!(rows(&world, "SELECT count(*), count(DISTINCT _id) FROM t"), ["17|17"]);
        for text in [
            "1",
            "\"1\"",
            "true",
            "\"true\"",
            "null",
            r#"{"a":1,"b":"y"}"#,
            r#"{"$uuid":"07070707-0707-0707-0707-070707070707"}"#,
        ] {
            assert_eq!(rows(&world, &format!("SELECT _id FROM t WHERE _id = '{text}'")), [text]);
        }
        // Equal track values: what comes next is found by the ids alone.
        insert(
            &database,
            "t",
            [doc! { "_id": "2", "updated_at": date(0) }, doc! { "_id": 2_i64, "updated_at": date(0) }],
        )
        .await;
        world.restart(json!({ "lookback": 0 })).await;
        let collection: Collection<Document> = database.collection("t");
        collection.delete_one(doc! { "_id": { "a": 1, "b": "x" } }).await.unwrap();
        let stats = world.run().await;
        assert_eq!((stats.rows_inserted, stats.rows_updated, stats.rows_deleted), (2, 0, 1));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_changes_its_type() {
    for (world, database) in worlds(json!({ "batch_size": 50 })).await {
        let document = |id: i32| doc! { "_id": id, "updated_at": date(id.into()), "n": id, "f": 0.5, "list": [id] };
        insert(&database, "t", (0..200).map(document)).await;
        world.run().await;
        // Integers take doubles, doubles take integers that are doubles too, JSON takes all.
        insert(
            &database,
            "t",
            [doc! { "_id": 200, "updated_at": date(200), "n": 0.25, "f": 1_i64 << 53, "list": "text" }],
        )
        .await;
        world.run().await;
        assert_eq!(retyped(&world), Vec::<String>::new());
        assert_eq!(
            rows(&world, "SELECT n, f, list FROM t WHERE _id >= 199"),
            ["199|0.5|[199]", "0.25|9007199254740992.0|\"text\""]
        );
        insert(
            &database,
            "t",
            [doc! { "_id": 201, "updated_at": date(201), "n": "x", "f": (1_i64 << 53) + 1, "list": 1 }],
        )
        .await;
        world.run().await;
        let mut columns = retyped(&world);
        columns.sort();
        columns.dedup();
        assert_eq!(columns, ["f", "n"]);
        assert_eq!(
            rows(&world, "SELECT typeof(n), n, f, list FROM t WHERE _id >= 199"),
            ["text|199|0.5|[199]", "text|0.25|9007199254740992|\"text\"", "text|\"x\"|9007199254740993|1"]
        );
        assert_eq!(rows(&world, "SELECT count(*) FROM t"), ["202"]);
        assert_eq!(world.run().await.rows_updated, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_fields_become_columns() {
    for (mut world, database) in worlds(json!({ "batch_size": 100 })).await {
        // The fields in the middle are out of sight of both ends.
        let document = |id: i32| {
            let mut document = doc! { "_id": id, "updated_at": date(id.into()) };
            if (1_000..1_010).contains(&id) {
                document.insert(format!("extra {id}"), id);
            }
            document
        };
        insert(&database, "t", (0..2_000).map(document)).await;
        world.run().await;
        assert_eq!(rows(&world, "SELECT count(*), sum(\"extra 1003\"), count(\"extra 1009\") FROM t"), ["2000|1003|1"]);
        assert_eq!(rows(&world, "SELECT count(*) FROM pragma_table_info('t')"), ["12"]);
        // One that comes later, one that is only ever null, and one with a name of the hostile sort.
        let hostile = "x\" INTEGER); DROP TABLE t; --";
        let late = doc! { "_id": 3_000, "updated_at": date(3_000), "late": "x", "none": Bson::Null, hostile: 1, "a.b": 2, "$c": 3, "": 4, "_DOC": 5 };
        insert(&database, "t", [late]).await;
        world.run().await;
        assert_eq!(
            rows(
                &world,
                &format!(
                    "SELECT late, \"{}\", \"a.b\", \"$c\", _id FROM t WHERE late = 'x'",
                    hostile.replace('"', "\"\"")
                )
            ),
            ["x|1|2|3|3000"]
        );
        assert_eq!(rows(&world, "SELECT count(*) FROM pragma_table_info('t') WHERE name = 'none'"), ["0"]);
        assert_eq!(world.run().await.rows_updated, 0);
        for (policy, fails) in [("fail", true), ("freeze", false)] {
            world.restart(json!({ "schema_drift": policy })).await;
            world.run().await;
            let id = if fails { 4_000 } else { 5_000 };
            insert(&database, "t", [doc! { "_id": id, "updated_at": date(id.into()), policy: 1 }]).await;
            if fails {
                let failure = world.fail().await;
                assert_eq!(failure.first.code, "SCHEMA", "{failure:?}");
            } else {
                world.run().await;
                assert_eq!(rows(&world, "SELECT count(*) FROM t WHERE _id = 5000"), ["1"]);
                assert_eq!(rows(&world, "SELECT count(*) FROM pragma_table_info('t') WHERE name = 'freeze'"), ["0"]);
            }
        }
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_documents_in_one_column() {
    for (mut world, database) in worlds(json!({ "tables": [{ "name": "t", "columns": ["_doc"] }] })).await {
        // Values as names: more than a table has room for.
        let many = (0..3_000).map(|i| (format!("f{i}"), Bson::Int32(i)));
        insert(&database, "t", [many.chain([("updated_at".to_owned(), date(0))]).collect::<Document>()]).await;
        insert(&database, "t", [doc! { "_id": 7, "updated_at": date(1), "b": [1.0, { "c": Bson::Null }], "a": "ä\"" }])
            .await;
        world.run().await;
        assert_eq!(rows(&world, "SELECT name FROM pragma_table_info('t')"), ["_id", "updated_at", "_doc"]);
        let text = r#"{"_id":7,"updated_at":{"$date":"2026-01-01T00:00:01.000Z"},"b":[1.0,{"c":null}],"a":"ä\""}"#;
        assert_eq!(rows(&world, "SELECT _doc FROM t WHERE _id = '7'"), [text]);
        assert_eq!(rows(&world, "SELECT json_extract(_doc, '$.f2999') FROM t WHERE _id <> '7'"), ["2999"]);
        update(&database, "t", 7, doc! { "$set": { "a": "b", "updated_at": date(2) } }).await;
        let stats = world.run().await;
        assert_eq!((stats.rows_inserted, stats.rows_updated), (0, 1));
        world.restart(json!({ "tables": ["t"] })).await;
        let failure = world.fail().await;
        assert_eq!(failure.first.code, "SCHEMA", "{failure:?}");
        assert!(failure.first.message.contains("columns: ['_doc']"), "{failure:?}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn track_values_of_odd_types() {
    for (world, database) in worlds(json!({ "batch_size": 3, "lookback": 0, "deletes": "hard" })).await {
        let odd = [
            Bson::Null,
            Bson::String("2026-01-01".to_owned()),
            Bson::Array(vec![date(5), date(900)]),
            Bson::Double(f64::NAN),
            Bson::Int32(5),
            doc! { "at": date(1) }.into(),
            Bson::Boolean(true),
        ];
        let odd = odd
            .into_iter()
            .enumerate()
            .map(|(index, value)| doc! { "_id": format!("odd {index}"), "n": 0, "updated_at": value });
        insert(&database, "t", odd).await;
        insert(&database, "t", (0..20).map(|id| doc! { "_id": format!("{id}"), "n": 0, "updated_at": date(id) })).await;
        insert(&database, "t", [doc! { "_id": "missing", "n": 0 }]).await;
        world.run().await;
        let all = "SELECT count(*), sum(n) FROM t";
        assert_eq!(rows(&world, all), ["28|0"]);
        assert_eq!(world.status().await.table_map["t"].null_tracked, 2);
        // Changes of rows that no date follows are seen all the same.
        for index in 0..7 {
            update(
                &database,
                "t",
                format!("odd {index}"),
                doc! { "$set": { "n": 1, "updated_at": format!("{index}") } },
            )
            .await;
        }
        update(&database, "t", "missing", doc! { "$set": { "n": 1, "updated_at": "now a text" } }).await;
        update(&database, "t", "3", doc! { "$set": { "n": 1, "updated_at": date(100) } }).await;
        insert(
            &database,
            "t",
            [
                doc! { "_id": "new", "n": 1, "updated_at": 7 },
                doc! { "_id": "list", "n": 1, "updated_at": [date(1000)] },
            ],
        )
        .await;
        world.run().await;
        assert_eq!(rows(&world, all), ["30|11"]);
        update(&database, "t", "odd 1", doc! { "$set": { "updated_at": date(200), "n": 5 } }).await;
        world.run().await;
        assert_eq!(rows(&world, all), ["30|15"]);
        assert_eq!(
            world.status().await.table_map["t"].last_value.as_deref(),
            Some(r#"{"$date":"2026-01-01T00:03:20.000Z"}"#)
        );
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_and_texts_are_followed_too() {
    for (field, first, next) in [
        ("double", Bson::Double(1.5), Bson::Int32(2)),
        ("decimal", Bson::Decimal128("1.5".parse().unwrap()), Bson::Decimal128("10".parse().unwrap())),
        ("text", Bson::String("a".to_owned()), Bson::String("b".to_owned())),
        (
            "stamp",
            Bson::Timestamp(Timestamp { time: 9, increment: 1 }),
            Bson::Timestamp(Timestamp { time: 9, increment: 2 }),
        ),
        ("uuid", binary(4, &[1; 16]), binary(4, &[2; 16])),
        ("id", Bson::ObjectId(ObjectId::from_bytes([1; 12])), Bson::ObjectId(ObjectId::from_bytes([2; 12]))),
    ] {
        let options = json!({ "track_column": field, "lookback": 0, "lookback_values": 0, "batch_size": 2 });
        for (world, database) in worlds(options).await {
            insert(&database, "t", (0..5).map(|id| doc! { "_id": id, field: &first })).await;
            world.run().await;
            insert(&database, "t", (5..9).map(|id| doc! { "_id": id, field: &next })).await;
            let stats = world.run().await;
            assert_eq!(stats.rows_inserted, 4, "{field}");
            // What has the position's own value is read again as far as a lookback of nothing reaches: to that value.
            assert!(stats.rows_read <= 9, "{field}: {stats:?}");
            let stats = world.run().await;
            assert_eq!((stats.rows_inserted, stats.rows_updated), (0, 0), "{field}");
            assert_eq!(world.status().await.table_map["t"].mode, Mode::Incremental, "{field}");
            world.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followed_by_object_ids() {
    for (world, database) in worlds(json!({ "batch_size": 10 })).await {
        let id = |seconds: u32, n: u8| ObjectId::from_parts(1_700_000_000 + seconds, [1; 5], [0, 0, n]);
        insert(&database, "t", (0..50).map(|n| doc! { "_id": id(0, n), "n": i32::from(n) })).await;
        world.run().await;
        let status = world.status().await.table_map["t"].clone();
        assert_eq!((status.mode, status.last_value), (Mode::Incremental, Some(id(0, 49).to_hex())));
        assert!(world.log(Level::Warn).iter().any(|line| line.contains("is tracked by its ObjectIds")));
        // One ahead, one of a client whose counter lags, and one whose clock is ahead of the server's by years.
        insert(
            &database,
            "t",
            [doc! { "_id": id(10, 0) }, doc! { "_id": id(0, 200) }, doc! { "_id": ObjectId::from_bytes([255; 12]) }],
        )
        .await;
        assert_eq!(world.run().await.rows_inserted, 3);
        insert(&database, "t", [doc! { "_id": id(20, 0) }]).await;
        assert_eq!(world.run().await.rows_inserted, 1);
        // An id of another type is in no order with them: from then on the collection is read whole.
        insert(&database, "t", [doc! { "_id": "text" }]).await;
        world.run().await;
        assert_eq!(rows(&world, "SELECT count(*) FROM t"), ["55"]);
        assert_eq!(rows(&world, "SELECT _id FROM t WHERE _id LIKE '\"%'"), ["\"text\""]);
        assert_eq!(world.status().await.table_map["t"].mode, Mode::Full);
        assert_eq!(world.run().await.rows_updated, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_names_with_dots_and_empty_collections() {
    for (mut world, database) in worlds(json!({})).await {
        insert(&database, "app.users", (0..10).map(|id| doc! { "_id": id, "updated_at": date(id.into()) })).await;
        database.create_collection("empty").await.unwrap();
        let pipeline = [doc! { "$project": { "_id": 0, "updated_at": 1 } }];
        database.create_collection("seen").view_on("app.users".to_owned()).pipeline(pipeline).await.unwrap();
        world.run().await;
        let mut tables: Vec<_> = world.status().await.table_map.into_keys().collect();
        tables.sort();
        assert_eq!(tables, ["app.users", "empty"]);
        // Both spellings are the same collection.
        world.restart(json!({ "tables": ["app.users", "empty", "seen"] })).await;
        insert(&database, "app.users", [doc! { "_id": 10, "updated_at": date(10) }]).await;
        insert(&database, "empty", [doc! { "_id": "not empty any more", "n": 1 }]).await;
        world.run().await;
        assert_eq!(rows(&world, "SELECT count(*) FROM \"app.users\""), ["11"]);
        assert_eq!(rows(&world, "SELECT _id, n FROM empty"), ["not empty any more|1"]);
        assert_eq!(rows(&world, "SELECT count(*), max(updated_at) FROM seen"), ["11|2026-01-01T00:00:10.000Z"]);
        world.restart(json!({ "tables": ["app.*"] })).await;
        assert_eq!(world.run().await.rows_inserted, 0);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_users_choice() {
    let table = json!({ "name": "t", "primary_key": ["country", "town"] });
    for (world, database) in
        worlds(json!({ "tables": [table], "batch_size": 3, "lookback": 0, "deletes": "hard" })).await
    {
        let place = |country: &str, town: i32| doc! { "country": country, "town": town, "updated_at": date(0) };
        insert(&database, "t", ["de", "dk"].iter().flat_map(|country| (0..10).map(move |town| place(country, town))))
            .await;
        let cut = world.run_until(|event| matches!(event, Event::Progress { .. }));
        let _ = cut.await;
        world.run().await;
        insert(&database, "t", [place("de", 10), place("fr", 0)]).await;
        let collection: Collection<Document> = database.collection("t");
        collection.delete_one(doc! { "town": 5 }).await.unwrap();
        let stats = world.run().await;
        assert_eq!((stats.rows_inserted, stats.rows_deleted), (2, 1));
        assert_eq!(rows(&world, "SELECT count(*), count(DISTINCT country) FROM t"), ["21|3"]);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_is_none() {
    for (condition, says) in [
        ("n = 3", "a value is expected at character 1"),
        ("[1]", "it is no JSON object"),
        ("{\"at\": {\"$date\": \"yesterday\"}}", "the $date at character 8"),
        ("{\"n\": {\"$foo\": 1}}", "$foo"),
    ] {
        let tables = json!([{ "name": "t", "where": condition }, "other"]);
        for (world, database) in worlds(json!({ "tables": tables })).await {
            insert(&database, "t", [doc! { "n": 1 }]).await;
            insert(&database, "other", [doc! { "n": 1 }]).await;
            let failure = world.fail().await;
            assert_eq!(failure.errors.len(), 1, "{failure:?}");
            assert_eq!(failure.first.table.as_deref(), Some("t"));
            assert!(failure.first.message.contains(says), "{failure:?}");
            assert_eq!(rows(&world, "SELECT count(*) FROM other"), ["1"]);
            world.end().await;
        }
    }
}

/// Where a connection string leads.
fn upstream(uri: &str) -> String {
    let rest = uri.split_once("://").unwrap().1;
    let authority = rest.split('/').next().unwrap();
    authority.rsplit('@').next().unwrap().to_owned()
}

/// The options of `world`'s source, through `port` of this machine.
fn through(world: &World, port: u16) -> Value {
    let uri = world.bed.source()["uri"].as_str().unwrap().to_owned();
    let uri = uri.replacen(&upstream(&uri), &format!("127.0.0.1:{port}"), 1);
    json!({ "source": { "type": "mongodb", "uri": uri } })
}

/// A proxy that gives some of the questions for more documents the number of a cursor that there is none of.
async fn losing_proxy(upstream: String, losses: Arc<AtomicUsize>) -> u16 {
    const QUESTION: &[u8] = b"\x12getMore\0";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&upstream).await.unwrap();
            let losses = Arc::clone(&losses);
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    let question = &mut buffer[..count];
                    let found = question.windows(QUESTION.len()).position(|window| window == QUESTION);
                    let take = |left: usize| left.checked_sub(1);
                    if let Some(at) = found
                        && losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
                    {
                        question[at + QUESTION.len()] ^= 0x55;
                    }
                    if to_server.write_all(question).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_that_are_lost() {
    for bed in beds().await {
        let shape = Shape::usual("t");
        bed.create(&shape).await;
        bed.insert(&shape, &(0..9_000).map(|i| usual(i, i, "x", at(i % 7))).collect::<Vec<_>>()).await;
        let losses = Arc::new(AtomicUsize::new(0));
        let port = losing_proxy(upstream(bed.source()["uri"].as_str().unwrap()), Arc::clone(&losses)).await;
        let mut world = World::new(bed, json!({ "deletes": "hard", "retry": { "attempts": 1 } }));
        world.restart(through(&world, port)).await;
        losses.store(3, Ordering::SeqCst);
        assert_eq!(world.run().await.rows_inserted, 9_000);
        world.assert_equal(&shape).await;
        assert_eq!(losses.load(Ordering::SeqCst), 0, "no cursor was lost");
        let more: Vec<_> = (10_000..17_000).map(|i| usual(i, i, "more", at(10 + i % 5))).collect();
        world.bed.insert(&shape, &more).await;
        losses.store(4, Ordering::SeqCst);
        assert_eq!(world.run().await.rows_inserted, 7_000);
        world.assert_equal(&shape).await;
        assert_eq!(losses.load(Ordering::SeqCst), 0, "no cursor was lost");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent() {
    for bed in beds().await {
        let shape = Shape::usual("t");
        bed.create(&shape).await;
        bed.insert(&shape, &(0..100).map(|i| usual(i, i, "x", at(i))).collect::<Vec<_>>()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                open.push(client);
            }
        });
        let mut world = World::new(bed, json!({ "connect_timeout": 1, "retry": { "attempts": 1 } }));
        world.restart(through(&world, port)).await;
        let failure = world.fail().await;
        assert_eq!((failure.first.code, failure.first.retryable), ("CONNECT", true), "{failure:?}");
        assert!(failure.first.message.contains("ETIMEDOUT"), "{failure:?}");
        silent.abort();
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_read() {
    for server in servers().into_iter().filter(|server| server.contains('@')) {
        let test = TestDatabase::new(&server).await;
        insert(&test.database, "t", [doc! { "n": 1 }]).await;
        let (user, rest) = test.uri.split_once('@').unwrap();
        let wrong = format!("{}sesame@{rest}", user.rsplit_once(':').map(|(user, _)| format!("{user}:")).unwrap());
        let nobody = format!("mongodb://{}", rest.replace("&authSource=admin", ""));
        let run = async |uri: &str| {
            let directory = tempfile::tempdir().unwrap();
            let options = json!({
                "source": { "type": "mongodb", "uri": uri },
                "database": directory.path().join("replica.sqlite"),
            });
            let sync = super::world::handle(&options, Arc::<super::world::Recorder>::default());
            let outcome = sync.sync(None, tokio_util::sync::CancellationToken::new()).await;
            sync.stop().await;
            outcome
        };
        assert_eq!(run(&test.uri).await.unwrap().rows_inserted, 1);
        for (uri, says) in [(wrong, ""), (nobody, "add them to the connection string")] {
            let failure = run(&uri).await.unwrap_err();
            assert_eq!((failure.first.code, failure.first.retryable), ("AUTH", false), "{failure:?}");
            assert!(failure.first.message.contains(says), "{failure:?}");
            assert!(!format!("{failure:?}").contains("sesame"), "{failure:?}");
        }
        test.database.drop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_strings_that_cannot_be_used() {
    for (uri, code, says) in [
        ("mongodb://127.0.0.1:1/db", "CONNECT", "connect ECONNREFUSED 127.0.0.1:1"),
        ("mongodb://nowhere.invalid/db", "CONNECT", "getaddrinfo"),
        ("mongodb://user:sesame@127.0.0.1:1", "CONFIG", "names no database"),
        ("mongodb://user:sesame@127.0.0.1:1/db?nonsense=sesame", "CONFIG", "nonsense"),
        ("mongodb://user:sesame@127.0.0.1:1/db?authMechanism=sesame", "CONFIG", "connection string can't be used"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let options = json!({
            "source": { "type": "mongodb", "uri": uri },
            "database": directory.path().join("replica.sqlite"),
            "retry": { "attempts": 1 },
        });
        let sync = super::world::handle(&options, Arc::<super::world::Recorder>::default());
        let failure = sync.sync(None, tokio_util::sync::CancellationToken::new()).await.unwrap_err();
        assert_eq!(failure.first.code, code, "{failure:?}");
        assert!(failure.first.message.contains(says), "{failure:?}");
        assert!(!format!("{failure:?}").contains("sesame"), "{failure:?}");
        sync.stop().await;
    }
}

/// A field that none of the first documents has is found when the options name it; one that no document has is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_comes_late_can_be_named() {
    let table =
        json!({ "name": "t", "track_column": "changed", "types": { "price": "REAL" }, "exclude_columns": ["secret"] });
    for (mut world, database) in worlds(json!({ "tables": [table.clone()] })).await {
        // More than are looked at to learn of fields.
        insert(&database, "t", (0..2_500).map(|id| doc! { "_id": id, "name": "x" })).await;
        let failure = world.fail().await;
        assert!(failure.first.message.contains("has no column 'changed'"), "{failure:?}");
        insert(&database, "t", [doc! { "_id": 3_000, "changed": date(0), "price": "9.90" }]).await;
        insert(&database, "t", [doc! { "_id": 3_001, "changed": date(1), "secret": "s" }]).await;
        world.run().await;
        assert_eq!(rows(&world, "SELECT count(*), count(changed), total(price) FROM t"), ["2502|2|9.9"]);
        assert_eq!(world.status().await.table_map["t"].mode, Mode::Incremental);
        assert_eq!(rows(&world, "SELECT count(*) FROM pragma_table_info('t') WHERE name = 'secret'"), ["0"]);
        insert(&database, "t", [doc! { "_id": 3_002, "changed": date(2) }]).await;
        assert_eq!(world.run().await.rows_inserted, 1);
        // A table that is there already may be followed by a field that came since.
        update(&database, "t", 5, doc! { "$set": { "since": date(3) } }).await;
        let mut other = table.clone();
        other["track_column"] = json!("since");
        world.restart(json!({ "tables": [other] })).await;
        world.run().await;
        assert_eq!(rows(&world, "SELECT _id FROM t WHERE since IS NOT NULL"), ["5"]);
        assert_eq!(world.status().await.table_map["t"].last_value.as_deref(), Some("2026-01-01T00:00:03.000Z"));
        world.end().await;
    }
}
