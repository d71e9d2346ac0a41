//! What the contract suite needs of a source's real server, in terms every source has: tables, rows and a clock.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use url::Url;

use crate::mapping::time::instant_text;

use super::deployed::Deployed;

/// A value as tests write it and compare it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Datum {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// Text.
    Text(String),
    /// Microseconds since 1970 in UTC.
    Instant(i64),
}

impl From<i64> for Datum {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Datum {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// 64-bit integers.
    Int,
    /// Text.
    Text,
    /// Instants with microseconds.
    Instant,
}

/// A table as tests describe it.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: Vec<(&'static str, Holds)>,
    /// Its key; may be empty.
    pub key: Vec<&'static str>,
}

impl Shape {
    /// id, n, name, updated_at.
    pub fn usual(name: &'static str) -> Self {
        Self {
            name,
            columns: vec![("id", Holds::Int), ("n", Holds::Int), ("name", Holds::Text), ("updated_at", Holds::Instant)],
            key: vec!["id"],
        }
    }
}

impl Shape {
    /// The statement that creates it, with names in `quote`s; `kind` names the type of a column.
    pub fn ddl(&self, quote: char, kind: impl Fn(&str, Holds) -> &'static str) -> String {
        let name = |name: &str| format!("{quote}{name}{quote}");
        let columns = self.columns.iter().map(|(column, holds)| format!("{} {}", name(column), kind(column, *holds)));
        let mut parts: Vec<String> = columns.collect();
        if !self.key.is_empty() {
            let key: Vec<String> = self.key.iter().map(|column| name(column)).collect();
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        format!("CREATE TABLE {} ({})", name(self.name), parts.join(", "))
    }
}

/// A row by its columns' names.
pub type Row = BTreeMap<&'static str, Datum>;

/// A source's real server, with an empty database of the test's own.
#[async_trait]
pub trait Bed: Send + Sync {
    /// The option `source` that reaches it.
    fn source(&self) -> Value;

    /// The StarbaseDB that rows go to; `None` for a file.
    fn deployed(&self) -> Option<&Deployed> {
        None
    }

    /// What the key column `id` of a table is called in the replica.
    fn id(&self) -> &'static str {
        "id"
    }

    /// Whether the source gives every row a key of its own, so that a table without one is one to be read whole by choice.
    fn always_keyed(&self) -> bool {
        false
    }

    /// Whether the replica has a column only once a row with a value for it was read.
    fn grows(&self) -> bool {
        false
    }

    /// A column of `shape` as an expression on the replica.
    fn cell(&self, _shape: &Shape, column: &str) -> String {
        format!("\"{column}\"")
    }

    /// The option `where` that lets rows through whose `column` compares with `value` by `operator` (`=`, `<`, `>=`).
    fn filter(&self, column: &str, operator: &str, value: i64) -> String {
        format!("{column} {operator} {value}")
    }

    /// The source's address, and `source` with another port of this machine in its place.
    fn through(&self, port: u16) -> (String, Value) {
        let mut source = self.source();
        let option = if source["uri"].is_string() { "uri" } else { "url" };
        let mut url: Url = source[option].as_str().unwrap().parse().unwrap();
        let mut upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        if url.host_str().unwrap().ends_with(".localhost") {
            // This machine, and the name says which database.
            upstream = format!("127.0.0.1:{}", url.port().unwrap());
        } else {
            url.set_host(Some("127.0.0.1")).unwrap();
        }
        url.set_port(Some(port)).unwrap();
        source[option] = Value::from(url.as_str());
        (upstream, source)
    }

    /// Whether it stays the same source at another address.
    fn moves(&self) -> bool {
        false
    }

    /// How many bytes of answers a connection lets through so that a load of small rows gets somewhere in each, but to
    /// its end in none.
    fn cut_after(&self) -> i64 {
        60_000
    }

    /// Whether the server takes so long for everything that a test with many rows or rounds has to do with fewer.
    fn is_slow(&self) -> bool {
        false
    }

    /// Whether the source can tell that a row changed which had no track value and still has none.
    fn sees_changes(&self) -> bool {
        true
    }

    /// The shortest time that two instants of the source can differ by, in microseconds.
    fn resolution(&self) -> i64 {
        1
    }

    /// An instant as the replica has it.
    fn instant(&self, micros: i64) -> String {
        instant_text(micros, 6)
    }

    /// Creates a table.
    async fn create(&self, shape: &Shape);

    /// Inserts rows, all in one transaction.
    async fn insert(&self, shape: &Shape, rows: &[Row]);

    /// Changes the rows that have `key`.
    async fn update(&self, shape: &Shape, key: &Row, change: &Row);

    /// Deletes the rows that have `key`.
    async fn delete(&self, shape: &Shape, key: &Row);

    /// Begins a transaction, inserts rows in it, and gives it back open.
    async fn insert_late(&self, shape: &Shape, rows: &[Row]) -> Box<dyn Open>;

    /// Every row as the replica must have it: cells rendered as SQLite would print them, NULL as `None`, sorted.
    async fn dump(&self, shape: &Shape) -> Vec<Vec<Option<String>>>;

    /// Gives a table a column that is NULL in every row; `shape` is without it.
    async fn add_column(&self, shape: &Shape, column: &str, holds: Holds);

    /// Takes a column away from a table; says whether the source can.
    async fn drop_column(&self, shape: &Shape, column: &str) -> bool {
        self.execute(&format!("ALTER TABLE {} DROP COLUMN {column}", shape.name)).await;
        true
    }

    /// Makes texts of a column's integers; says whether the source can.
    async fn make_text(&self, _shape: &Shape, _column: &str) -> bool {
        false
    }

    /// Runs statements in the source's own language; for tests of one source.
    async fn execute(&self, sql: &str);

    /// Drops the database.
    async fn drop_all(self: Box<Self>);
}

/// A transaction that is still open.
#[async_trait]
pub trait Open: Send {
    /// Runs statements within it.
    async fn execute(&mut self, sql: &str);

    /// Commits it.
    async fn commit(self: Box<Self>);
}
