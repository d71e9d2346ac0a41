//! PostgreSQL for the contract suite.

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};

use crate::mapping::time::instant_text;

use super::bed::{Bed, Datum, Holds, Open, Row, Shape};
use super::deployed::Deployed;
use super::support::{self, TestDatabase};

struct PostgresBed {
    database: TestDatabase,
    pool: PgPool,
    /// The same database as the source is told of it.
    source: String,
    deployed: Option<Deployed>,
}

/// The variable that names a pooler in front of the first server.
const POOLER: &str = "DATA_SYNC_TEST_PGBOUNCER";

/// A database of the first server, to be read through a pooler that gives each transaction another connection; none where
/// no pooler is installed.
pub async fn pooled_beds() -> Vec<Box<dyn Bed>> {
    let Ok(pooler) = std::env::var(POOLER) else { return Vec::new() };
    let database = support::databases().await.remove(0);
    let path = database.url.rsplit('/').next().unwrap();
    let source = format!("{pooler}/{path}");
    vec![bed(database, source).await]
}

/// An empty database of another encoding on every server.
pub async fn beds_with(options: &str) -> Vec<Box<dyn Bed>> {
    make(support::databases_with(options).await).await
}

/// An empty database on every server.
pub async fn beds() -> Vec<Box<dyn Bed>> {
    make(support::databases().await).await
}

async fn make(databases: Vec<TestDatabase>) -> Vec<Box<dyn Bed>> {
    let mut beds: Vec<Box<dyn Bed>> = Vec::new();
    for database in databases {
        let source = database.url.clone();
        beds.push(bed(database, source).await);
    }
    beds
}

async fn bed(database: TestDatabase, source: String) -> Box<dyn Bed> {
    Box::new(filled(database, source, None).await)
}

async fn filled(database: TestDatabase, source: String, deployed: Option<Deployed>) -> PostgresBed {
    let pool = PgPoolOptions::new().max_connections(4).connect(&database.url).await.unwrap();
    PostgresBed { database, pool, source, deployed }
}

/// An empty database of the first server, whose rows go to a StarbaseDB.
pub async fn deployed_beds() -> Vec<Box<dyn Bed>> {
    let database = support::databases().await.remove(0);
    let source = database.url.clone();
    vec![Box::new(filled(database, source, Some(Deployed::new().await)).await)]
}

fn literal(datum: &Datum) -> String {
    match datum {
        Datum::Null => "NULL".to_owned(),
        Datum::Int(value) => format!("({value})"),
        Datum::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Datum::Instant(micros) => format!("'{}'::timestamptz", instant_text(*micros, 6)),
    }
}

fn equals(row: &Row, between: &str) -> String {
    let parts: Vec<String> = row.iter().map(|(name, datum)| format!("\"{name}\" = {}", literal(datum))).collect();
    parts.join(between)
}

async fn insert(connection: &mut PgConnection, shape: &Shape, rows: &[Row]) {
    let names: Vec<String> = shape.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    for chunk in rows.chunks(500) {
        let values: Vec<String> = chunk
            .iter()
            .map(|row| {
                let cells: Vec<String> =
                    shape.columns.iter().map(|(name, _)| row.get(name).map_or("NULL".to_owned(), literal)).collect();
                format!("({})", cells.join(","))
            })
            .collect();
        let sql = format!("INSERT INTO \"{}\" ({}) VALUES {}", shape.name, names.join(","), values.join(","));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.unwrap();
    }
}

fn kind(holds: Holds) -> &'static str {
    match holds {
        Holds::Int => "bigint",
        Holds::Text => "text",
        Holds::Instant => "timestamptz",
    }
}

#[async_trait]
impl Bed for PostgresBed {
    fn source(&self) -> Value {
        json!({ "type": "postgresql", "url": self.source })
    }

    fn deployed(&self) -> Option<&Deployed> {
        self.deployed.as_ref()
    }

    async fn create(&self, shape: &Shape) {
        self.execute(&shape.ddl('"', |_, holds| kind(holds))).await;
    }

    async fn add_column(&self, shape: &Shape, column: &str, holds: Holds) {
        self.execute(&format!("ALTER TABLE {} ADD COLUMN {column} {}", shape.name, kind(holds))).await;
    }

    async fn make_text(&self, shape: &Shape, column: &str) -> bool {
        self.execute(&format!("ALTER TABLE {} ALTER COLUMN {column} TYPE text", shape.name)).await;
        true
    }

    async fn insert(&self, shape: &Shape, rows: &[Row]) {
        let mut transaction = self.pool.begin().await.unwrap();
        insert(&mut transaction, shape, rows).await;
        transaction.commit().await.unwrap();
    }

    async fn update(&self, shape: &Shape, key: &Row, change: &Row) {
        self.execute(&format!("UPDATE \"{}\" SET {} WHERE {}", shape.name, equals(change, ", "), equals(key, " AND ")))
            .await;
    }

    async fn delete(&self, shape: &Shape, key: &Row) {
        self.execute(&format!("DELETE FROM \"{}\" WHERE {}", shape.name, equals(key, " AND "))).await;
    }

    async fn insert_late(&self, shape: &Shape, rows: &[Row]) -> Box<dyn Open> {
        let mut transaction = self.pool.begin().await.unwrap();
        insert(&mut transaction, shape, rows).await;
        Box::new(PostgresOpen(transaction))
    }

    async fn dump(&self, shape: &Shape) -> Vec<Vec<Option<String>>> {
        let cells: Vec<String> = shape
            .columns
            .iter()
            .map(|(name, holds)| match holds {
                Holds::Int => format!("\"{name}\"::text"),
                Holds::Text => format!("\"{name}\""),
                Holds::Instant => {
                    format!("to_char(\"{name}\" AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
                }
            })
            .collect();
        let sql = format!("SELECT {} FROM \"{}\"", cells.join(", "), shape.name);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap();
        let mut dump: Vec<Vec<Option<String>>> =
            rows.iter().map(|row| (0..shape.columns.len()).map(|column| row.get(column)).collect()).collect();
        dump.sort();
        dump
    }

    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    async fn drop_all(self: Box<Self>) {
        self.pool.close().await;
        drop(self.database);
    }
}

struct PostgresOpen(sqlx::Transaction<'static, sqlx::Postgres>);

#[async_trait]
impl Open for PostgresOpen {
    async fn execute(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *self.0).await.unwrap();
    }

    async fn commit(self: Box<Self>) {
        self.0.commit().await.unwrap();
    }
}
