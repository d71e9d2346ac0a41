//! Options, environment and wrangler file: what is accepted, what is refused, and in which words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{
    Deletes, OptionError, OptionErrorClass, Options, Resolved, Retry, SchemaDrift, Secret, ServerAddress, ServerConfig,
    SourceConfig, Ssl, Surroundings, TargetConfig, ZeroDates,
};
use crate::error::{Error, Kind};
use crate::event::{Level, Mode};
use crate::mapping::SqliteType;
use crate::mapping::mask::Mask;

/// Every secret of these tests has this in it.
const CANARY: &str = "s3cr3t";

fn parse(value: &Value) -> Options {
    Options::parse(value).unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn refused(value: &Value) -> OptionError {
    let error = Options::parse(value).expect_err(&value.to_string());
    assert!(!error.message.contains(CANARY), "{}", error.message);
    error
}

#[test]
fn nothing_given_is_every_default() {
    for nothing in
        [Value::Null, json!({}), json!({ "tables": null, "retry": null, "source": null, "track_column": null })]
    {
        let options = parse(&nothing);
        assert_eq!(options.sync_interval, Duration::from_mins(15));
        assert_eq!(options.tables, []);
        assert_eq!(options.batch_size, 1000);
        assert_eq!(options.track_column, None);
        assert!(options.enabled);
        assert_eq!((&options.target, &options.source), (&None, &None));
        assert_eq!((&options.config, &options.environment), (&None, &None));
        assert!(options.type_map.is_empty());
        assert_eq!(options.zero_dates, ZeroDates::Text);
        assert_eq!((options.lookback, options.lookback_values), (300.0, 10_000));
        assert_eq!((options.deletes, options.delete_limit), (None, 0.5));
        assert_eq!(options.schema_drift, SchemaDrift::Evolve);
        assert_eq!(options.slow_sync_warning, Duration::from_secs(30));
        assert_eq!(options.connect_timeout, Duration::from_secs(10));
        assert_eq!(options.query_timeout, Duration::from_mins(5));
        let retry = Retry { attempts: 5, base: Duration::from_millis(200), max: Duration::from_secs(30) };
        assert_eq!(options.retry, retry);
        assert_eq!(options.log_level, Level::Info);
    }
}

#[test]
fn every_option_is_read() {
    let options = parse(&json!({
        "sync_interval": 0.5, "batch_size": 500.0, "track_column": ["updated_at", "created_at"], "enabled": false,
        "database": "a.sqlite", "config": "w.toml", "environment": "staging", "type_map": { "Numeric": "real" },
        "zero_dates": "null", "lookback": 1.5, "lookback_values": 7, "deletes": "soft", "delete_limit": 1,
        "schema_drift": "freeze", "slow_sync_warning": 60, "connect_timeout": 0.25, "query_timeout": 5,
        "retry": { "attempts": 1 }, "log_level": "silent"
    }));
    assert_eq!(options.sync_interval, Duration::from_secs(30));
    assert_eq!(options.batch_size, 500);
    assert_eq!(options.track_column, Some(vec!["updated_at".to_owned(), "created_at".to_owned()]));
    assert!(!options.enabled);
    assert_eq!(options.target, Some(TargetConfig::Sqlite { path: "a.sqlite".into() }));
    assert_eq!(options.config.as_deref(), Some(Path::new("w.toml")));
    assert_eq!(options.environment.as_deref(), Some("staging"));
    assert_eq!(options.type_map["numeric"], SqliteType::Real);
    assert_eq!(options.zero_dates, ZeroDates::Null);
    assert_eq!((options.lookback, options.lookback_values), (1.5, 7));
    assert_eq!((options.deletes, options.delete_limit), (Some(Deletes::Soft), 1.0));
    assert_eq!(options.schema_drift, SchemaDrift::Freeze);
    assert_eq!(options.slow_sync_warning, Duration::from_mins(1));
    assert_eq!(options.connect_timeout, Duration::from_millis(250));
    assert_eq!(options.query_timeout, Duration::from_secs(5));
    assert_eq!(options.retry.attempts, 1);
    assert_eq!(options.log_level, Level::Silent);
    // The shortest interval, as a user would compute it.
    assert_eq!(parse(&json!({ "sync_interval": 1.0 / 60.0 })).sync_interval, Duration::from_secs(1));
    // One end of the waits given alone moves the other along.
    assert_eq!(parse(&json!({ "retry": { "max_ms": 100 } })).retry.base, Duration::from_millis(100));
    assert_eq!(parse(&json!({ "retry": { "base_ms": 60_000 } })).retry.max, Duration::from_mins(1));
}

#[test]
fn tables_in_every_form() {
    let options = parse(&json!({ "tables": [
        "users", "sales.orders", "audit.*",
        { "name": "sales.items" },
        { "name": "odd.name", "schema": "s", "as": "odd", "mode": "append", "track_column": "seq",
          "primary_key": ["a", "b"], "columns": ["a", "b", "c"], "where": "a > 1", "types": { "Price": "REAL" },
          "mask": { "Email": "hash" }, "select": { "domain": "lower(email)" }, "deletes": "hard", "batch_size": 10 },
        { "name": "wide", "mode": "auto", "exclude_columns": ["blob"] }
    ] }));
    let names: Vec<_> = options.tables.iter().map(|table| (table.schema.as_deref(), table.name.as_str())).collect();
    let expected = [
        (None, "users"),
        (Some("sales"), "orders"),
        (Some("audit"), "*"),
        (Some("sales"), "items"),
        (Some("s"), "odd.name"),
        (None, "wide"),
    ];
    assert_eq!(names, expected);
    let odd = &options.tables[4];
    assert_eq!(odd.target.as_deref(), Some("odd"));
    assert_eq!(odd.mode, Some(Mode::Append));
    assert_eq!(odd.track_column, Some(vec!["seq".to_owned()]));
    assert_eq!(odd.primary_key, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(odd.columns.as_ref().map(Vec::len), Some(3));
    assert_eq!(odd.filter.as_deref(), Some("a > 1"));
    assert_eq!(odd.types["Price"], SqliteType::Real);
    assert_eq!(odd.masks["Email"], Mask::Hash);
    assert_eq!(odd.select["domain"], "lower(email)");
    assert_eq!((odd.deletes, odd.batch_size), (Some(Deletes::Hard), Some(10)));
    assert_eq!(
        (options.tables[5].mode, options.tables[5].exclude_columns.as_slice()),
        (None, &["blob".to_owned()][..])
    );
}

#[test]
fn wrong_types_name_the_option() {
    let table = |option: Value| {
        let mut table = json!({ "name": "t" });
        table.as_object_mut().unwrap().extend(option.as_object().unwrap().clone());
        json!({ "tables": [table] })
    };
    let cases = [
        (json!([]), "options", "an empty list"),
        (json!("postgres://u:s3cr3t@h/d"), "options", "a string"),
        (json!({ "sync_interval": "15" }), "'sync_interval'", "a string"),
        (json!({ "tables": "users" }), "'tables'", "a string"),
        (json!({ "tables": [5] }), "'tables[0]'", "a number"),
        (json!({ "tables": ["a", null] }), "'tables[1]'", "nothing"),
        (json!({ "tables": [{}] }), "'tables[0]'", "lacks name"),
        (json!({ "batch_size": "10" }), "'batch_size'", "a string"),
        (json!({ "track_column": 5 }), "'track_column'", "a number"),
        (json!({ "track_column": ["a", 5] }), "'track_column[1]'", "a number"),
        (json!({ "enabled": "false" }), "'enabled'", "a string"),
        (json!({ "database": 1 }), "'database'", "a number"),
        (json!({ "target": "s3cr3t" }), "'target'", "a string"),
        (json!({ "target": { "path": "a" } }), "'target'", "lacks type"),
        (json!({ "target": { "type": "sqlite" } }), "'target'", "lacks path"),
        (json!({ "target": { "type": "starbasedb" } }), "'target'", "lacks url, token"),
        (json!({ "target": { "type": "starbasedb", "url": "https://h", "token": 5 } }), "'target.token'", "a number"),
        (json!({ "database": "a", "target": { "type": "sqlite", "path": "b" } }), "'database' and 'target'", ""),
        (json!({ "source": "postgres://u:s3cr3t@h/d" }), "'source'", "a string"),
        (json!({ "source": {} }), "'source'", "lacks type"),
        (json!({ "config": 1 }), "'config'", "a number"),
        (json!({ "environment": ["x"] }), "'environment'", "a list"),
        (json!({ "type_map": [] }), "'type_map'", "an empty list"),
        (json!({ "zero_dates": false }), "'zero_dates'", "a boolean"),
        (json!({ "lookback": "5m" }), "'lookback'", "a string"),
        (json!({ "lookback_values": {} }), "'lookback_values'", "an object"),
        (json!({ "deletes": true }), "'deletes'", "a boolean"),
        (json!({ "delete_limit": "half" }), "'delete_limit'", "a string"),
        (json!({ "schema_drift": 1 }), "'schema_drift'", "a number"),
        (json!({ "slow_sync_warning": true }), "'slow_sync_warning'", "a boolean"),
        (json!({ "connect_timeout": "1" }), "'connect_timeout'", "a string"),
        (json!({ "query_timeout": [] }), "'query_timeout'", "an empty list"),
        (json!({ "retry": 5 }), "'retry'", "a number"),
        (json!({ "retry": { "attempts": "5" } }), "'retry.attempts'", "a string"),
        (json!({ "log_level": 0 }), "'log_level'", "a number"),
        (table(json!({ "name": 5 })), "'tables[0].name'", "a number"),
        (table(json!({ "schema": 5 })), "'tables[0].schema'", "a number"),
        (table(json!({ "as": 5 })), "'tables[0].as'", "a number"),
        (table(json!({ "mode": 5 })), "'tables[0].mode'", "a number"),
        (table(json!({ "primary_key": "id" })), "'tables[0].primary_key'", "a string"),
        (table(json!({ "columns": "id" })), "'tables[0].columns'", "a string"),
        (table(json!({ "exclude_columns": {} })), "'tables[0].exclude_columns'", "an object"),
        (table(json!({ "columns": ["a"], "exclude_columns": [] })), "'tables[0].columns'", "together"),
        (table(json!({ "where": true })), "'tables[0].where'", "a boolean"),
        (table(json!({ "types": "TEXT" })), "'tables[0].types'", "a string"),
        (table(json!({ "mask": "hash" })), "'tables[0].mask'", "a string"),
        (table(json!({ "select": "lower(email)" })), "'tables[0].select'", "a string"),
        (table(json!({ "select": { "domain": 1 } })), "'tables[0].select.domain'", "a number"),
        (table(json!({ "mask": { "email": true } })), "'tables[0].mask.email'", "a boolean"),
        (table(json!({ "deletes": 1 })), "'tables[0].deletes'", "a number"),
        (table(json!({ "batch_size": "1" })), "'tables[0].batch_size'", "a string"),
    ];
    for (value, option, got) in cases {
        let error = refused(&value);
        assert_eq!((error.class, error.code), (OptionErrorClass::Type, "CONFIG"), "{value}");
        assert!(error.message.contains(option) && error.message.contains(got), "{value}: {}", error.message);
    }
}

#[test]
fn impossible_values_name_the_option() {
    let table = |option: &str, value: Value| json!({ "tables": [{ "name": "t", option: value }] });
    let chosen = |option: &str, value: Value| json!({ "tables": [{ "name": "t", "select": { "size": "length(a)" }, option: value }] });
    let cases = [
        (json!({ "sync_interval": 0 }), "'sync_interval' got 0"),
        (json!({ "sync_interval": 0.016 }), "'sync_interval' got 0.016"),
        (json!({ "sync_interval": 1e9 }), "'sync_interval' got 1000000000.0"),
        (json!({ "batch_size": 0 }), "'batch_size' got 0"),
        (json!({ "batch_size": 100_001 }), "'batch_size' got 100001"),
        (json!({ "batch_size": 1.5 }), "'batch_size' got 1.5"),
        (json!({ "batch_size": -1 }), "'batch_size' got -1"),
        (json!({ "track_column": "" }), "'track_column' got an empty string"),
        (json!({ "track_column": [] }), "'track_column' got an empty list"),
        (json!({ "track_column": ["a", ""] }), "'track_column[1]' got an empty string"),
        (json!({ "database": "" }), "'database' got an empty string"),
        (json!({ "database": "postgres://u:s3cr3t@h/d" }), "'database' got a URL"),
        (json!({ "database": ":memory:" }), "'database' got ':memory:'"),
        (json!({ "database": "a\0b" }), "'database' got a string with a NUL"),
        (json!({ "target": { "type": "csv" } }), "'target.type' got 'csv'"),
        (json!({ "target": { "type": "starbasedb", "url": "h", "token": "s3cr3t" } }), "'target.url' got a string"),
        (json!({ "config": " " }), "'config' got an empty string"),
        (json!({ "environment": "../x" }), "'environment' got a name with a slash"),
        (json!({ "type_map": { "": "TEXT" } }), "'type_map' got an empty key"),
        (json!({ "type_map": { "INT": "TEXT", "int": "TEXT" } }), "'type_map.int' got the type again"),
        (json!({ "zero_dates": "zero" }), "'zero_dates' got 'zero'"),
        (json!({ "lookback": -1 }), "'lookback' got -1"),
        (json!({ "lookback_values": -1 }), "'lookback_values' got -1"),
        (json!({ "deletes": "Hard" }), "'deletes' got 'Hard'; it takes 'none', 'hard' or 'soft'"),
        (json!({ "delete_limit": 1.1 }), "'delete_limit' got 1.1"),
        (json!({ "schema_drift": "" }), "'schema_drift' got an empty string"),
        (json!({ "slow_sync_warning": 0 }), "'slow_sync_warning' got 0"),
        (json!({ "connect_timeout": 1e300 }), "'connect_timeout' got 1e+300"),
        (json!({ "query_timeout": -5 }), "'query_timeout' got -5"),
        (json!({ "retry": { "attempts": 0 } }), "'retry.attempts' got 0"),
        (json!({ "retry": { "base_ms": -1 } }), "'retry.base_ms' got -1"),
        (json!({ "retry": { "base_ms": 2, "max_ms": 1 } }), "'retry.base_ms' got 2; it takes at most max_ms"),
        (json!({ "log_level": "verbose" }), "'log_level' got 'verbose'"),
        (json!({ "log_level": "https://h?token=s3cr3t" }), "'log_level' got a string"),
        (json!({ "tables": [""] }), "'tables[0]' got an empty name"),
        (json!({ "tables": ["a."] }), "'tables[0]' got an empty name"),
        (json!({ "tables": ["a\0"] }), "'tables[0]' got a name with a NUL"),
        (json!({ "tables": ["a.b.c"] }), "'tables[0]' got a name with several dots"),
        (json!({ "tables": ["a", "b", "a"] }), "'tables[2]' got the table of tables[0] again"),
        (json!({ "tables": ["s.a", { "name": "a", "schema": "s" }] }), "'tables[1]' got the table of tables[0] again"),
        (json!({ "tables": [{ "name": "a", "as": "x" }, { "name": "b", "as": "X" }] }), "'tables[1]' got the 'as'"),
        (json!({ "tables": [{ "name": "a*", "as": "x" }] }), "'tables[0].as' got one name for a pattern"),
        (table("schema", json!("")), "'tables[0].schema' got an empty string"),
        (table("mode", json!("fast")), "'tables[0].mode' got 'fast'"),
        (table("select", json!({ "domain": "" })), "'tables[0].select.domain' got an empty string"),
        (table("select", json!({ " ": "1" })), "'tables[0].select' got an empty key"),
        (table("select", json!({ "Size": "1", "size": "2" })), "'tables[0].select' got 'Size' and 'size'"),
        (chosen("primary_key", json!(["id", "size"])), "'tables[0].primary_key' got 'size', which select computes"),
        (chosen("track_column", json!("size")), "'tables[0].track_column' got 'size', which select computes"),
        (table("mask", json!({ "email": "blur" })), "'tables[0].mask.email' got 'blur'"),
        (table("primary_key", json!([])), "'tables[0].primary_key' got an empty list"),
        (table("primary_key", json!(["a", "a"])), "'tables[0].primary_key[1]' got 'a' again"),
        (table("columns", json!([])), "'tables[0].columns' got an empty list"),
        (table("exclude_columns", json!([""])), "'tables[0].exclude_columns[0]' got an empty string"),
        (table("where", json!("  ")), "'tables[0].where' got an empty string"),
        (table("deletes", json!("all")), "'tables[0].deletes' got 'all'"),
        (table("batch_size", json!(0)), "'tables[0].batch_size' got 0"),
    ];
    for (value, words) in cases {
        let error = refused(&value);
        assert_eq!((error.class, error.code), (OptionErrorClass::Range, "CONFIG"), "{value}: {}", error.message);
        assert!(error.message.contains(words) && error.message.contains("take"), "{value}: {}", error.message);
    }
}

#[test]
fn unknown_options_are_named_and_guessed() {
    let cases = [
        (json!({ "syncInterval": 5 }), "Unknown option 'syncInterval'; did you mean 'sync_interval'?"),
        (json!({ "bach_size": 5 }), "did you mean 'batch_size'?"),
        (json!({ "retry": { "attempt": 5 } }), "Unknown option 'retry.attempt'; did you mean 'attempts'?"),
        (json!({ "tables": [{ "name": "t", "primaryKey": ["a"] }] }), "Unknown option 'tables[0].primaryKey'"),
        (json!({ "source": { "type": "mongodb", "uri": "mongodb://h", "url": 1 } }), "Unknown option 'source.url'"),
        (json!({ "target": { "type": "sqlite", "path": "a", "token": 1 } }), "Unknown option 'target.token'"),
    ];
    for (value, words) in cases {
        let error = refused(&value);
        assert_eq!(error.class, OptionErrorClass::Type);
        assert!(error.message.contains(words), "{}", error.message);
        assert!(error.message.contains("accepted"), "{}", error.message);
    }
    let message = refused(&json!({ "quux": 1 })).message;
    assert!(!message.contains("did you mean") && message.contains("log_level"), "{message}");
}

#[test]
fn impossible_sqlite_types_have_a_code_of_their_own() {
    let cases = [
        (
            json!({ "type_map": { "Money": "VARCHAR" } }),
            OptionErrorClass::Range,
            "Money",
            "'type_map.Money' got 'VARCHAR'",
        ),
        (json!({ "type_map": { "money": 5 } }), OptionErrorClass::Type, "money", "'type_map.money' got a number"),
        (
            json!({ "tables": [{ "name": "t", "types": { "price": "DECIMAL" } }] }),
            OptionErrorClass::Range,
            "price",
            "'tables[0].types.price' got 'DECIMAL'",
        ),
    ];
    for (value, class, external, words) in cases {
        let error = refused(&value);
        assert_eq!((error.class, error.code), (class, "TYPE_MAP"));
        let begin = format!("Cannot map external type '{external}' to SQLite type");
        assert!(error.message.starts_with(&begin) && error.message.contains(words), "{}", error.message);
        assert!(error.message.ends_with("'INTEGER', 'REAL', 'TEXT' or 'BLOB'"), "{}", error.message);
    }
}

fn secret(text: &str) -> Secret {
    Secret(text.to_owned())
}

fn parts(port: u16) -> ServerConfig {
    ServerConfig {
        address: ServerAddress::Parts {
            host: "Db.example.com".to_owned(),
            port,
            user: "u".to_owned(),
            password: secret("s3cr3t"),
            database: "app".to_owned(),
        },
        schema: None,
        ssl: None,
        ca_cert: None,
    }
}

#[test]
fn every_source_is_read() {
    let with = |kind: &str, extra: Value| {
        let mut source =
            json!({ "type": kind, "host": "Db.example.com", "user": "u", "password": "s3cr3t", "database": "app" });
        source.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        source
    };
    let url =
        |text: &str| ServerConfig { address: ServerAddress::Url(secret(text)), schema: None, ssl: None, ca_cert: None };
    let cases = [
        (with("postgresql", json!({})), SourceConfig::Postgresql(parts(5432))),
        (with("postgres", json!({ "port": "6543" })), SourceConfig::Postgresql(parts(6543))),
        (with("mysql", json!({})), SourceConfig::Mysql(parts(3306))),
        (
            with("mariadb", json!({ "port": 3307, "ssl": "verify-full", "schema": "s", "ca_cert": "/ca.pem" })),
            SourceConfig::Mysql(ServerConfig {
                schema: Some("s".to_owned()),
                ssl: Some(Ssl::VerifyFull),
                ca_cert: Some("/ca.pem".into()),
                ..parts(3307)
            }),
        ),
        (
            json!({ "type": "postgresql", "url": "postgres://u:s3cr3t@h/d?sslmode=require" }),
            SourceConfig::Postgresql(url("postgres://u:s3cr3t@h/d?sslmode=require")),
        ),
        (
            json!({ "type": "mongodb", "uri": "mongodb://u:s3cr3t@a:1,b:2/d?replicaSet=r" }),
            SourceConfig::Mongodb { uri: secret("mongodb://u:s3cr3t@a:1,b:2/d?replicaSet=r") },
        ),
        (
            json!({ "type": "turso", "uri": "libsql://d.turso.io", "token": "s3cr3t" }),
            SourceConfig::Turso { uri: "libsql://d.turso.io".to_owned(), token: Some(secret("s3cr3t")) },
        ),
        (
            json!({ "type": "turso", "uri": "http://127.0.0.1:8080" }),
            SourceConfig::Turso { uri: "http://127.0.0.1:8080".to_owned(), token: None },
        ),
        (
            json!({ "type": "starbasedb", "uri": "https://a.workers.dev", "token": "s3cr3t" }),
            SourceConfig::Starbasedb { uri: "https://a.workers.dev".to_owned(), token: secret("s3cr3t") },
        ),
        (
            json!({ "type": "d1", "api_key": "s3cr3t", "account_id": "a", "database_id": "d", "email": "e@f" }),
            SourceConfig::D1 {
                api_key: secret("s3cr3t"),
                account_id: "a".to_owned(),
                database_id: "d".to_owned(),
                email: Some("e@f".to_owned()),
                url: None,
            },
        ),
        (json!({ "type": "sqlite", "path": "/a.sqlite" }), SourceConfig::Sqlite { path: "/a.sqlite".into() }),
    ];
    for (value, expected) in cases {
        let options = parse(&json!({ "source": value }));
        assert_eq!(options.source, Some(expected));
        let debug = format!("{options:?}");
        assert!(!debug.contains(CANARY), "{debug}");
    }
    let empty = parse(&json!({ "source": with("postgresql", json!({ "password": "" })) }));
    assert!(matches!(
        empty.source,
        Some(SourceConfig::Postgresql(ServerConfig { address: ServerAddress::Parts { password, .. }, .. })) if password.0.is_empty()
    ));
}

#[test]
fn faulty_sources_are_refused() {
    let pg = |extra: Value| {
        let mut source = json!({ "type": "postgresql" });
        source.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        source
    };
    let full = json!({ "host": "h", "user": "u", "password": "s3cr3t", "database": "d" });
    let but = |name: &str, value: Value| {
        let mut source = pg(full.clone());
        source[name] = value;
        source
    };
    let cases = [
        (json!({ "type": "oracle" }), "'source.type' got 'oracle'"),
        (json!({ "type": "postgres://u:s3cr3t@h/d" }), "'source.type' got a string"),
        (pg(json!({})), "'source' lacks host, user, password, database"),
        (pg(json!({ "host": "h", "database": "d" })), "'source' lacks user, password;"),
        (pg(json!({ "url": "postgres://u:s3cr3t@h/d", "host": "h" })), "'source.url' and 'source.host'"),
        (pg(json!({ "url": "mysql://u:s3cr3t@h/d" })), "'source.url' got a URL that begins with mysql://"),
        (pg(json!({ "url": "s3cr3t" })), "'source.url' got a string that is no URL"),
        (pg(json!({ "url": "postgres://u:s3cr3t@h:x/d" })), "'source.url' got a URL that can't be read (invalid port"),
        (pg(json!({ "url": "postgres://u:1/s3cr3t@h/d" })), "percent-encoded"),
        (pg(json!({ "url": "postgres://u:1#s3cr3t@h/d" })), "percent-encoded"),
        (pg(json!({ "url": 5 })), "'source.url' got a number"),
        (but("password", json!(5)), "'source.password' got a number"),
        (but("password", json!("s3cr3t\0")), "'source.password' got a string with a NUL"),
        (but("host", json!("postgres://u:s3cr3t@h")), "'source.host' got a URL"),
        (but("port", json!(0)), "'source.port' got 0"),
        (but("port", json!(65536)), "'source.port' got 65536"),
        (but("port", json!("x")), "'source.port' got 'x'"),
        (but("port", json!(true)), "'source.port' got a boolean"),
        (but("ssl", json!(true)), "'source.ssl' got a boolean"),
        (but("ssl", json!("on")), "'source.ssl' got 'on'"),
        (but("schema", json!("")), "'source.schema' got an empty string"),
        (but("ca_cert", json!("")), "'source.ca_cert' got an empty string"),
        (json!({ "type": "mongodb" }), "'source' lacks uri"),
        (json!({ "type": "mongodb", "uri": "http://s3cr3t" }), "'source.uri' got a URL that begins with http://"),
        (json!({ "type": "mongodb", "uri": "mongodb://u:a/s3cr3t@h/d" }), "'source.uri' got a URL whose user"),
        (json!({ "type": "mongodb", "uri": "mongodb://u:a@s3cr3t@h/d" }), "'source.uri' got a URL whose user"),
        (json!({ "type": "mongodb", "uri": "mongodb://u:s3cr3t@" }), "'source.uri' got a URL without a proper list"),
        (json!({ "type": "turso", "token": "s3cr3t" }), "'source' lacks uri"),
        (json!({ "type": "turso", "uri": "libsql://h?authToken=s3cr3t" }), "'source.uri' got a URL with credentials"),
        (json!({ "type": "starbasedb" }), "'source' lacks uri, token"),
        (json!({ "type": "starbasedb", "uri": "s3cr3t", "token": "x" }), "'source.uri' got a string that is no URL"),
        (json!({ "type": "d1", "account_id": "a" }), "'source' lacks api_key, database_id"),
        (
            json!({ "type": "d1", "api_key": "s3cr3t", "account_id": "a", "database_id": "d", "url": "https://u:s3cr3t@h" }),
            "'source.url' got a URL with credentials",
        ),
        (json!({ "type": "sqlite" }), "'source' lacks path"),
    ];
    for (value, words) in cases {
        let message = refused(&json!({ "source": value })).message;
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn fingerprints_tell_places_apart_and_nothing_else() {
    let source = |value: Value| parse(&json!({ "source": value })).source.unwrap();
    let pg = |url: &str| source(json!({ "type": "postgresql", "url": url }));
    let base = SourceConfig::Postgresql(parts(5432));
    assert_eq!(base.fingerprint().len(), 16);
    assert_eq!(base.fingerprint(), "ac134b9d1aacb823", "stored in every target: it must never change");
    for same in [
        "postgres://u:s3cr3t@db.example.com/app",
        "postgresql://other:x@DB.EXAMPLE.COM:5432/app?sslmode=require",
        "postgres:///app?host=db.example.com&user=u",
        "postgres://app@db.example.com",
        "postgres://u@db.example.com/%61pp",
    ] {
        assert_eq!(pg(same).fingerprint(), base.fingerprint(), "{same}");
    }
    for other in
        ["postgres://u@db.example.com:5433/app", "postgres://u@db2.example.com/app", "postgres://u@db.example.com/b"]
    {
        assert_ne!(pg(other).fingerprint(), base.fingerprint(), "{other}");
    }
    assert_ne!(SourceConfig::Mysql(parts(5432)).fingerprint(), base.fingerprint());
    let turso = |uri: &str, token: &str| source(json!({ "type": "turso", "uri": uri, "token": token })).fingerprint();
    assert_eq!(turso("libsql://D.turso.io", "a"), turso("https://d.turso.io/", "b"));
    let mongo = |uri: &str| source(json!({ "type": "mongodb", "uri": uri })).fingerprint();
    assert_eq!(mongo("mongodb://u:p@A:1,b/d?w=1"), mongo("mongodb://a:1,b/d"));
    assert_ne!(mongo("mongodb://a/d"), mongo("mongodb://a/e"));
}

#[test]
fn sources_are_described_without_secrets() {
    let cases = [
        (
            json!({ "type": "postgresql", "host": "db.example.com", "user": "u", "password": "s3cr3t", "database": "app" }),
            "postgresql at db.example.com:5432, database app",
        ),
        (
            json!({ "type": "postgresql", "url": "postgres://u:s3cr3t@[::1]/a?password=s3cr3t" }),
            "postgresql at [::1]:5432, database a",
        ),
        (json!({ "type": "mysql", "url": "mysql://u:s3cr3t@h" }), "mysql at h:3306"),
        (
            json!({ "type": "mongodb", "uri": "mongodb+srv://u:s3cr3t@c.example.net/?w=s3cr3t" }),
            "mongodb at c.example.net, database test",
        ),
        (json!({ "type": "turso", "uri": "libsql://d.turso.io", "token": "s3cr3t" }), "turso at d.turso.io"),
        (json!({ "type": "starbasedb", "uri": "http://h:8787/", "token": "s3cr3t" }), "starbasedb at h:8787"),
        (
            json!({ "type": "d1", "api_key": "s3cr3t", "account_id": "a", "database_id": "d" }),
            "d1 database d of account a",
        ),
        (json!({ "type": "sqlite", "path": "/a.sqlite" }), "sqlite file /a.sqlite"),
    ];
    for (value, expected) in cases {
        let source = parse(&json!({ "source": value })).source.unwrap();
        assert_eq!(source.describe(), expected);
        assert!(expected.starts_with(source.kind()));
    }
}

/// A directory with files, and an environment.
struct Place {
    directory: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { directory, env: Vec::new() }
    }

    /// Sets `EXTERNAL_DB_*`, given as `NAME=value` words.
    fn env(mut self, words: &str) -> Self {
        for word in words.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap();
            self.env.push((format!("EXTERNAL_DB_{name}"), value.to_owned()));
        }
        self
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings { env: self.env.iter().cloned().collect(), directory: self.directory.path().to_owned() }
    }

    fn found(&self, options: &Value) -> Resolved {
        parse(options).source(&self.surroundings()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refused(&self, options: &Value) -> String {
        let error: Error = parse(options).source(&self.surroundings()).expect_err("an error");
        assert_eq!(error.kind(), Kind::Config);
        let message = error.to_string();
        assert!(!message.contains(CANARY), "{message}");
        message
    }
}

const PG: &str = "TYPE=postgresql HOST=Db.example.com USER=u PASS=s3cr3t DATABASE=app";

const PG_TOML: &str = "EXTERNAL_DB_TYPE = 'postgresql'\nEXTERNAL_DB_HOST = 'Db.example.com'\nEXTERNAL_DB_PORT = 5432\n\
                       EXTERNAL_DB_USER = 'u'\nEXTERNAL_DB_PASS = 's3cr3t'\nEXTERNAL_DB_DATABASE = 'app'\n";

#[test]
fn the_environment_names_every_source() {
    let pg = SourceConfig::Postgresql(parts(5432));
    let turso = SourceConfig::Turso { uri: "libsql://h".to_owned(), token: Some(secret("s3cr3t")) };
    let starbase = SourceConfig::Starbasedb { uri: "https://h".to_owned(), token: secret("s3cr3t") };
    let d1 = SourceConfig::D1 {
        api_key: secret("s3cr3t"),
        account_id: "a".to_owned(),
        database_id: "d".to_owned(),
        email: None,
        url: None,
    };
    let (turso_words, starbase_words, d1_words) = (
        "TURSO_URI=libsql://h TURSO_TOKEN=s3cr3t",
        "STARBASEDB_URI=https://h STARBASEDB_TOKEN=s3cr3t",
        "CLOUDFLARE_API_KEY=s3cr3t CLOUDFLARE_ACCOUNT_ID=a CLOUDFLARE_DATABASE_ID=d",
    );
    let cases = [
        (PG.to_owned(), pg.clone()),
        (PG.replace("postgresql", "Postgres"), pg),
        (PG.replace("postgresql", "mysql") + " PORT=3307", SourceConfig::Mysql(parts(3307))),
        (
            PG.to_owned() + " PORT=6543 SSL=require DEFAULT_SCHEMA=s CA_CERT=/ca.pem",
            SourceConfig::Postgresql(ServerConfig {
                schema: Some("s".to_owned()),
                ssl: Some(Ssl::Require),
                ca_cert: Some("/ca.pem".into()),
                ..parts(6543)
            }),
        ),
        (
            "TYPE=mongodb MONGODB_URI=mongodb://u:s3cr3t@h/d".to_owned(),
            SourceConfig::Mongodb { uri: secret("mongodb://u:s3cr3t@h/d") },
        ),
        (format!("TYPE=turso {turso_words}"), turso.clone()),
        (format!("TYPE=starbasedb {starbase_words}"), starbase.clone()),
        (format!("TYPE=d1 {d1_words}"), d1.clone()),
        (format!("TYPE=sqlite {turso_words} {starbase_words} {d1_words}"), turso),
        (format!("TYPE=sqlite {starbase_words} {d1_words}"), starbase),
        (format!("TYPE=sqlite {d1_words}"), d1),
    ];
    for (words, expected) in cases {
        let found = Place::new(&[]).env(&words).found(&Value::Null);
        assert_eq!((found.source, found.origin.as_str()), (expected, "environment"), "{words}");
        assert_eq!(found.warnings, [""; 0]);
    }
}

#[test]
fn faulty_variables_are_named() {
    let cases = [
        (
            "",
            &["No external database is configured", "option 'source'", "EXTERNAL_DB_TYPE", ".dev.vars", "wrangler"][..],
        ),
        ("HOST=h", &["EXTERNAL_DB_HOST is set, but EXTERNAL_DB_TYPE is not"]),
        (
            "TYPE=oracle",
            &["EXTERNAL_DB_TYPE got 'oracle'", "'postgresql', 'mysql', 'mongodb', 'turso', 'starbasedb', 'd1'"],
        ),
        ("TYPE=postgres://u:s3cr3t@h", &["EXTERNAL_DB_TYPE got a string"]),
        ("TYPE=postgresql USER=u", &["missing: EXTERNAL_DB_HOST, EXTERNAL_DB_PASS, EXTERNAL_DB_DATABASE;"]),
        ("TYPE=mysql HOST= USER=u PASS= DATABASE=d", &["missing: EXTERNAL_DB_HOST;"]),
        ("TYPE=mongodb", &["missing: EXTERNAL_DB_MONGODB_URI;"]),
        ("TYPE=mongodb MONGODB_URI=s3cr3t", &["EXTERNAL_DB_MONGODB_URI got a string that is no URL"]),
        ("TYPE=turso TURSO_TOKEN=s3cr3t", &["missing: EXTERNAL_DB_TURSO_URI;"]),
        ("TYPE=turso TURSO_URI=s3cr3t", &["EXTERNAL_DB_TURSO_URI got a string"]),
        ("TYPE=starbasedb", &["missing: EXTERNAL_DB_STARBASEDB_URI, EXTERNAL_DB_STARBASEDB_TOKEN;"]),
        ("TYPE=starbasedb STARBASEDB_URI=s3cr3t STARBASEDB_TOKEN=s3cr3t", &["EXTERNAL_DB_STARBASEDB_URI got a string"]),
        (
            "TYPE=d1 CLOUDFLARE_ACCOUNT_ID=a",
            &["missing: EXTERNAL_DB_CLOUDFLARE_API_KEY, EXTERNAL_DB_CLOUDFLARE_DATABASE_ID;"],
        ),
        ("TYPE=sqlite", &["EXTERNAL_DB_TURSO_URI", "EXTERNAL_DB_STARBASEDB_URI", "EXTERNAL_DB_CLOUDFLARE_API_KEY"]),
        (&format!("{PG} PORT=NaN"), &["EXTERNAL_DB_PORT got 'NaN'; it takes a port from 1 to 65535"]),
        (&format!("{PG} PORT=0"), &["EXTERNAL_DB_PORT got '0'"]),
        (&format!("{PG} SSL=true"), &["EXTERNAL_DB_SSL got 'true'", "'verify-full'"]),
        (&format!("{PG} HOST=postgres://u:s3cr3t@h"), &["EXTERNAL_DB_HOST got a URL"]),
    ];
    for (words, expected) in cases {
        let message = Place::new(&[]).env(words).refused(&Value::Null);
        for part in expected {
            assert!(message.contains(part), "{words}: {message}");
        }
    }
}

#[test]
fn swapped_uri_and_token_are_put_right() {
    let found =
        Place::new(&[]).env("TYPE=starbasedb STARBASEDB_URI=s3cr3t STARBASEDB_TOKEN=https://h").found(&Value::Null);
    assert_eq!(found.source, SourceConfig::Starbasedb { uri: "https://h".to_owned(), token: secret("s3cr3t") });
    assert_eq!(found.warnings.len(), 1);
    assert!(found.warnings[0].contains("EXTERNAL_DB_STARBASEDB_URI") && !found.warnings[0].contains(CANARY));
}

#[test]
fn options_stand_above_everything() {
    let source = json!({ "type": "sqlite", "path": "a.sqlite" });
    let place = Place::new(&[("wrangler.toml", "broken [")]).env(PG);
    let found = place.found(&json!({ "source": source, "config": "gone.toml" }));
    assert_eq!((found.origin.as_str(), found.variables.len()), ("options.source", 0));
    assert_eq!(found.source, SourceConfig::Sqlite { path: place.directory.path().join("a.sqlite") });
    assert!(found.warnings.len() == 1 && found.warnings[0].contains("'config'"));
}

#[test]
fn layers_complete_each_other() {
    let files = [
        (".dev.vars", "EXTERNAL_DB_PASS=\"s3cr3t\"\nEXTERNAL_DB_HOST=Db.example.com\n"),
        (
            "wrangler.toml",
            "EXTERNAL_DB_DATABASE = 'app'\nEXTERNAL_DB_USER = 'top'\n[vars]\nEXTERNAL_DB_TYPE = 'postgresql'\n\
             EXTERNAL_DB_HOST = 'wrangler'\nEXTERNAL_DB_PORT = 5432\nEXTERNAL_DB_USER = 'u'\nOTHER = { a = [1] }\n\
             [env.staging.vars]\nEXTERNAL_DB_DATABASE = 'staging'\n[env.bare]\nname = 'x'\n",
        ),
    ];
    let place = Place::new(&files);
    let found = place.found(&Value::Null);
    assert_eq!(found.source, SourceConfig::Postgresql(parts(5432)));
    assert_eq!(found.origin, place.directory.path().join("wrangler.toml").display().to_string());
    let stands = |found: &Resolved, expected: &[(&str, &str)]| {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, place)| (format!("EXTERNAL_DB_{name}"), (*place).to_owned())).collect();
        assert_eq!(found.variables, expected);
    };
    let top = found.origin.clone();
    let vars = format!("{top} [vars]");
    let usual = [("TYPE", vars.as_str()), ("USER", &vars), ("HOST", ".dev.vars"), ("PASS", ".dev.vars")];
    stands(&found, &[&usual[..], &[("PORT", &vars), ("DATABASE", &top)]].concat());
    let staging = place.found(&json!({ "environment": "staging" }));
    assert_eq!(staging.source.describe(), "postgresql at db.example.com:5432, database staging");
    let own = format!("{top} [env.staging.vars]");
    stands(&staging, &[&usual[..], &[("PORT", &vars), ("DATABASE", &own)]].concat());
    assert_eq!(place.found(&json!({ "environment": "bare" })).source, SourceConfig::Postgresql(parts(5432)));
    let overridden = Place::new(&files).env("PORT=6543").found(&Value::Null);
    assert_eq!(overridden.source, SourceConfig::Postgresql(parts(6543)));
    assert_eq!(overridden.variables["EXTERNAL_DB_PORT"], "environment");
    let message = place.refused(&json!({ "environment": "prod" }));
    assert!(message.contains("'prod'") && message.ends_with("there: bare, staging"), "{message}");
}

#[test]
fn an_environments_own_dev_vars_replace_the_general_ones() {
    let own = format!("EXTERNAL_DB_DATABASE=own\n{}", PG_TOML.replace(" = ", "="));
    let files = [
        (".dev.vars", "EXTERNAL_DB_PORT=1\nEXTERNAL_DB_TYPE=mongodb"),
        (".dev.vars.staging", own.as_str()),
        ("wrangler.toml", "[env.staging]\n[env.other]\n"),
    ];
    let place = Place::new(&files);
    let found = place.found(&json!({ "environment": "staging" }));
    assert_eq!((found.source, found.origin.as_str()), (SourceConfig::Postgresql(parts(5432)), ".dev.vars.staging"));
    let message = place.refused(&json!({ "environment": "other" }));
    assert!(message.contains("EXTERNAL_DB_MONGODB_URI"), "{message}");
    let found = Place::new(&[(".dev.vars.staging", own.as_str())]).found(&json!({ "environment": "staging" }));
    assert_eq!(found.origin, ".dev.vars.staging");
    let message = Place::new(&[]).refused(&json!({ "environment": "staging" }));
    assert!(message.contains("'environment' got 'staging'"), "{message}");
}

#[test]
fn dev_vars_are_read_as_wrangler_reads_them() {
    let text = "\u{feff}# comment\r\nexport EXTERNAL_DB_TYPE = postgresql # why\r\nGREETING=Hello big world\nDON=don't\n\
                EXTERNAL_DB_HOST='Db.example.com' # quoted\nEXTERNAL_DB_USER=old\nEXTERNAL_DB_USER=u\nnonsense\n\
                KEY=\"-----BEGIN\nEXTERNAL_DB_DATABASE=not this\n-----END\"\n\
                EXTERNAL_DB_PASS=\"s3cr3t $HOME\\nx#y=z\"\nEXTERNAL_DB_DATABASE=`app`";
    let found = Place::new(&[(".dev.vars", text)]).found(&Value::Null);
    let SourceConfig::Postgresql(ServerConfig { address, .. }) = found.source else { panic!("{found:?}") };
    let expected = ServerAddress::Parts {
        host: "Db.example.com".to_owned(),
        port: 5432,
        user: "u".to_owned(),
        password: secret("s3cr3t $HOME\nx#y=z"),
        database: "app".to_owned(),
    };
    assert_eq!(address, expected);
}

#[test]
fn wrangler_files_in_every_format() {
    let json_text = "// comment\n{ \"vars\": { \"EXTERNAL_DB_TYPE\": \"postgresql\", \"EXTERNAL_DB_HOST\": \"Db.example.com\",\n\
                     \"EXTERNAL_DB_PORT\": \"5432\", \"EXTERNAL_DB_USER\": \"u\", \"EXTERNAL_DB_PASS\": \"s3cr3t\",\n\
                     \"EXTERNAL_DB_DATABASE\": \"app\", }, }";
    let broken = "broken";
    let cases = [
        (vec![("wrangler.toml", PG_TOML), ("wrangler.json", broken)], Value::Null, "wrangler.toml"),
        (vec![("wrangler.json", json_text), ("wrangler.jsonc", broken)], Value::Null, "wrangler.json"),
        (vec![("wrangler.jsonc", json_text)], Value::Null, "wrangler.jsonc"),
        (vec![("wrangler.toml", broken), ("sub/w.toml", PG_TOML)], json!({ "config": "sub/w.toml" }), "sub/w.toml"),
    ];
    for (files, options, origin) in cases {
        let place = Place::new(&files);
        let found = place.found(&options);
        assert_eq!(found.source, SourceConfig::Postgresql(parts(5432)));
        assert_eq!(found.origin, place.directory.path().join(origin).display().to_string());
    }
    // .dev.vars belongs to the wrangler file it lies beside.
    let files =
        [("sub/w.toml", PG_TOML), ("sub/.dev.vars", "EXTERNAL_DB_PORT=6543"), (".dev.vars", "EXTERNAL_DB_PORT=1")];
    let found = Place::new(&files).found(&json!({ "config": "sub/w.toml" }));
    assert_eq!(found.source, SourceConfig::Postgresql(parts(6543)));
}

#[test]
fn faulty_wrangler_files_are_named_with_the_place() {
    let named = json!({ "config": "w.toml" });
    let cases = [
        (vec![], named.clone(), &["w.toml named by option 'config' doesn't exist"][..]),
        (
            vec![("w.toml", "a = 1\n[vars]\n  EXTERNAL_DB_PASS = s3cr3t\n")],
            named.clone(),
            &["w.toml can't be read", "line 3, column"],
        ),
        (vec![("wrangler.toml", "a = \"s3cr3t")], Value::Null, &["wrangler.toml can't be read", "line 1, column"]),
        (
            vec![("wrangler.json", "{\n \"a\": s3cr3t }")],
            Value::Null,
            &["wrangler.json can't be read", "line 2, column 7"],
        ),
        (vec![("wrangler.json", "[]")], Value::Null, &["wrangler.json holds an empty list"]),
        (vec![("wrangler.toml", "vars = 's3cr3t'")], Value::Null, &["vars in ", "is a string; it takes a table"]),
        (
            vec![("wrangler.toml", "[vars]\nEXTERNAL_DB_PASS = ['s3cr3t']")],
            Value::Null,
            &["EXTERNAL_DB_PASS in ", "is a list"],
        ),
        (vec![("w.yaml", "")], json!({ "config": "w.yaml" }), &["must end in .toml, .json or .jsonc"]),
        (vec![("w.toml/x", "")], named, &["w.toml can't be read"]),
        (vec![("wrangler.toml", "")], json!({ "environment": "x" }), &["'environment' got 'x'", "there: none"]),
        (vec![("wrangler.json", "")], Value::Null, &["No external database is configured"]),
    ];
    for (files, options, expected) in cases {
        let message = Place::new(&files).refused(&options);
        for part in expected {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn targets() {
    let place = Place::new(&[]);
    let mut surroundings = place.surroundings();
    let path = |name: &str| TargetConfig::Sqlite { path: place.directory.path().join(name) };
    assert_eq!(parse(&Value::Null).target(&surroundings).unwrap(), path("starbasedb.sqlite"));
    surroundings.env.insert("STARBASEDB_DATABASE".to_owned(), "env.sqlite".to_owned());
    assert_eq!(parse(&Value::Null).target(&surroundings).unwrap(), path("env.sqlite"));
    assert_eq!(parse(&json!({ "database": "a.sqlite" })).target(&surroundings).unwrap(), path("a.sqlite"));
    let target = json!({ "target": { "type": "sqlite", "path": "/b.sqlite" } });
    assert_eq!(parse(&target).target(&surroundings).unwrap(), TargetConfig::Sqlite { path: "/b.sqlite".into() });
    let target = json!({ "target": { "type": "starbasedb", "url": "https://h", "token": "s3cr3t" } });
    let expected = TargetConfig::Starbasedb { url: "https://h".to_owned(), token: secret("s3cr3t") };
    assert_eq!(parse(&target).target(&surroundings).unwrap(), expected);
    assert_eq!(json!(expected.place()), json!({ "type": "starbasedb", "url": "https://h" }));
    let file = path("a.sqlite").place();
    assert_eq!(json!(file), json!({ "type": "sqlite", "path": place.directory.path().join("a.sqlite") }));
    assert_eq!(TargetConfig::Local.place(), None);
}

#[test]
fn a_local_starbasedb() {
    let local = json!({ "database": "auto" });
    let refused = |place: &Place, options: &Value| {
        let error = parse(options).target(&place.surroundings()).unwrap_err();
        assert_eq!(error.code(), "CONFIG");
        error.to_string()
    };
    let place = Place::new(&[]);
    assert!(refused(&place, &local).contains("found no StarbaseDB below"));
    let folder = ".wrangler/state/v3/do/starbasedb-StarbaseDBDurableObject";
    let others = ".wrangler/state/v3/do/app-Counter";
    let files = [format!("{folder}/metadata.sqlite"), format!("{others}/ff.sqlite"), format!("{folder}/aa.sqlite-wal")];
    let path = |name: &str| place.directory.path().join(name);
    for folder in [folder, others] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    for file in &files {
        std::fs::write(path(file), "").unwrap();
    }
    assert!(refused(&place, &local).contains("wrangler dev"));
    let first = format!("{folder}/aa.sqlite");
    std::fs::write(path(&first), "").unwrap();
    let found = TargetConfig::Sqlite { path: path(&first) };
    assert_eq!(parse(&local).target(&place.surroundings()).unwrap(), found);
    let target = json!({ "target": { "type": "sqlite", "path": "auto" } });
    assert_eq!(parse(&target).target(&place.surroundings()).unwrap(), found);
    let mut surroundings = place.surroundings();
    surroundings.env.insert("STARBASEDB_DATABASE".to_owned(), "auto".to_owned());
    assert_eq!(parse(&Value::Null).target(&surroundings).unwrap(), found);
    // Beside the wrangler file, wherever that is.
    let elsewhere = Place::new(&[]);
    let config = json!({ "database": "auto", "config": place.directory.path().join("wrangler.toml") });
    assert_eq!(parse(&config).target(&elsewhere.surroundings()).unwrap(), found);
    let second = format!("{folder}/bb.sqlite");
    std::fs::write(path(&second), "").unwrap();
    let message = refused(&place, &local);
    assert!(message.contains("2 StarbaseDBs") && message.contains(&first) && message.contains(&second), "{message}");
    let named = parse(&json!({ "database": "./auto" })).target(&place.surroundings()).unwrap();
    assert_eq!(named, TargetConfig::Sqlite { path: path("./auto") });
}

#[test]
fn surroundings_print_no_values() {
    let surroundings = Place::new(&[]).env(PG).surroundings();
    let debug = format!("{surroundings:?}");
    assert!(debug.contains("EXTERNAL_DB_PASS") && !debug.contains(CANARY), "{debug}");
    assert!(Surroundings::of_process().directory.is_absolute());
}
