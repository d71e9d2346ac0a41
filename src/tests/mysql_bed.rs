//! MySQL and MariaDB for the contract suite.

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use url::Url;

use crate::mapping::time::instant_text;

use super::bed::{Bed, Datum, Holds, Open, Row, Shape};

/// The variable that names the servers: URLs of a superuser, separated by whitespace.
const SERVERS: &str = "DATA_SYNC_TEST_MYSQL";

/// A database of a test's own; it is dropped with this.
pub struct MysqlDatabase {
    admin: String,
    /// Its name.
    pub name: String,
    /// Its address, as superuser.
    pub url: String,
}

/// A new database on every server.
pub async fn databases() -> Vec<MysqlDatabase> {
    let servers = std::env::var(SERVERS)
        .unwrap_or_else(|_| panic!("{SERVERS} is not set: this test needs MariaDB or MySQL, run it by `npm test`"));
    let mut databases = Vec::new();
    for admin in servers.split_whitespace() {
        let name = format!("data_sync_test_{:016x}", fastrand::u64(..));
        let mut connection = connect(admin).await;
        run(&mut connection, &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")).await;
        connection.close().await.unwrap();
        let mut url: Url = admin.parse().unwrap();
        url.set_path(&name);
        databases.push(MysqlDatabase { admin: admin.to_owned(), name, url: url.to_string() });
    }
    databases
}

/// A connection whose session is as the tests write: instants in UTC, any date.
pub async fn connect(url: &str) -> MySqlConnection {
    let options: MySqlConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    run(&mut connection, "SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'").await;
    connection
}

/// Runs statements; panics when one fails.
pub async fn run(connection: &mut MySqlConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
}

impl Drop for MysqlDatabase {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // A thread of its own: there may be no runtime any more, or one that must not be blocked.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = connect(&admin).await;
                run(&mut connection, &format!("DROP DATABASE {name}")).await;
            });
        });
        // A test that failed already says why.
        let _ = dropped.join();
    }
}

struct MysqlBed {
    pool: MySqlPool,
    database: MysqlDatabase,
}

/// An empty database on every server.
pub async fn beds() -> Vec<Box<dyn Bed>> {
    let mut beds: Vec<Box<dyn Bed>> = Vec::new();
    for database in databases().await {
        let options = MySqlPoolOptions::new().max_connections(4).after_connect(|connection, _| {
            Box::pin(async move {
                run(connection, "SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'").await;
                Ok(())
            })
        });
        let pool = options.connect(&database.url).await.unwrap();
        beds.push(Box::new(MysqlBed { pool, database }));
    }
    beds
}

fn literal(datum: &Datum) -> String {
    match datum {
        Datum::Null => "NULL".to_owned(),
        Datum::Int(value) => format!("({value})"),
        Datum::Text(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        Datum::Instant(micros) => format!("'{}'", instant_text(*micros, 6).replace('T', " ").replace('Z', "")),
    }
}

fn equals(row: &Row, between: &str) -> String {
    let parts: Vec<String> = row.iter().map(|(name, datum)| format!("`{name}` = {}", literal(datum))).collect();
    parts.join(between)
}

async fn insert(connection: &mut MySqlConnection, shape: &Shape, rows: &[Row]) {
    let names: Vec<String> = shape.columns.iter().map(|(name, _)| format!("`{name}`")).collect();
    for chunk in rows.chunks(500) {
        let values: Vec<String> = chunk
            .iter()
            .map(|row| {
                let cells: Vec<String> =
                    shape.columns.iter().map(|(name, _)| row.get(name).map_or("NULL".to_owned(), literal)).collect();
                format!("({})", cells.join(","))
            })
            .collect();
        let sql = format!("INSERT INTO `{}` ({}) VALUES {}", shape.name, names.join(","), values.join(","));
        run(connection, &sql).await;
    }
}

fn kind(holds: Holds) -> &'static str {
    match holds {
        Holds::Int => "bigint",
        Holds::Text => "text",
        Holds::Instant => "datetime(6)",
    }
}

#[async_trait]
impl Bed for MysqlBed {
    fn source(&self) -> Value {
        json!({ "type": "mysql", "url": self.database.url })
    }

    fn sees_changes(&self) -> bool {
        false
    }

    // A datetime, which unlike a timestamp reaches the year 9999; it has no zone.
    fn instant(&self, micros: i64) -> String {
        instant_text(micros, 6).replace('Z', "")
    }

    async fn create(&self, shape: &Shape) {
        let ddl = shape.ddl('`', |name, holds| match holds {
            Holds::Text if shape.key.contains(&name) => "varchar(100)",
            holds => kind(holds),
        });
        self.execute(&ddl).await;
    }

    async fn add_column(&self, shape: &Shape, column: &str, holds: Holds) {
        self.execute(&format!("ALTER TABLE {} ADD COLUMN {column} {}", shape.name, kind(holds))).await;
    }

    async fn make_text(&self, shape: &Shape, column: &str) -> bool {
        self.execute(&format!("ALTER TABLE {} MODIFY {column} text", shape.name)).await;
        true
    }

    async fn insert(&self, shape: &Shape, rows: &[Row]) {
        let mut transaction = self.pool.begin().await.unwrap();
        insert(&mut transaction, shape, rows).await;
        transaction.commit().await.unwrap();
    }

    async fn update(&self, shape: &Shape, key: &Row, change: &Row) {
        self.execute(&format!("UPDATE `{}` SET {} WHERE {}", shape.name, equals(change, ", "), equals(key, " AND ")))
            .await;
    }

    async fn delete(&self, shape: &Shape, key: &Row) {
        self.execute(&format!("DELETE FROM `{}` WHERE {}", shape.name, equals(key, " AND "))).await;
    }

    async fn insert_late(&self, shape: &Shape, rows: &[Row]) -> Box<dyn Open> {
        let mut transaction = self.pool.begin().await.unwrap();
        insert(&mut transaction, shape, rows).await;
        Box::new(MysqlOpen(transaction))
    }

    async fn dump(&self, shape: &Shape) -> Vec<Vec<Option<String>>> {
        let cells: Vec<String> = shape
            .columns
            .iter()
            .map(|(name, holds)| match holds {
                Holds::Int => format!("CAST(`{name}` AS CHAR)"),
                Holds::Text => format!("`{name}`"),
                Holds::Instant => format!("DATE_FORMAT(`{name}`, '%Y-%m-%dT%H:%i:%s.%f')"),
            })
            .collect();
        let sql = format!("SELECT {} FROM `{}`", cells.join(", "), shape.name);
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

struct MysqlOpen(sqlx::Transaction<'static, sqlx::MySql>);

#[async_trait]
impl Open for MysqlOpen {
    async fn execute(&mut self, sql: &str) {
        run(&mut self.0, sql).await;
    }

    async fn commit(self: Box<Self>) {
        self.0.commit().await.unwrap();
    }
}
