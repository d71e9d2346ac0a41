//! Fresh databases on real servers, and reading their tables.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use url::Url;

use crate::batch::Value;
use crate::config::{Secret, ServerAddress, ServerConfig, SourceConfig};
use crate::mapping::{self, SqliteType};
use crate::replica::{Replica, ReplicaColumn, Track};
use crate::schema::{Table, TableName};
use crate::source::{Connect as _, Incoming, Limits, Range, ScanPlan, Source, channel, postgres::Postgres};

/// The variable that names the servers: URLs of a superuser, separated by whitespace.
const SERVERS: &str = "DATA_SYNC_TEST_POSTGRES";

/// Limits that a test never reaches by itself.
pub const LIMITS: Limits = Limits { connect: Duration::from_secs(10), query: Duration::from_mins(1) };

/// A database of a test's own; it is dropped with this.
pub struct TestDatabase {
    /// The server's maintenance database, as superuser.
    admin: String,
    name: String,
    /// The database, as superuser.
    pub url: String,
    /// The same as the source to read.
    pub config: SourceConfig,
}

/// A new database on every server.
pub async fn databases() -> Vec<TestDatabase> {
    databases_with("ENCODING 'UTF8'").await
}

/// The same with other options of `CREATE DATABASE`.
pub async fn databases_with(options: &str) -> Vec<TestDatabase> {
    let servers = std::env::var(SERVERS)
        .unwrap_or_else(|_| panic!("{SERVERS} is not set: this test needs PostgreSQL, run it by `npm test`"));
    let mut databases = Vec::new();
    for admin in servers.split_whitespace() {
        let name = format!("data_sync_test_{:016x}", fastrand::u64(..));
        let mut connection = connect(admin).await;
        run(&mut connection, &format!("CREATE DATABASE {name} TEMPLATE template0 {options}")).await;
        connection.close().await.expect("the connection closes");
        let mut url: Url = admin.parse().expect("a URL");
        url.set_path(&name);
        let url = url.to_string();
        let config = source_config(&url);
        databases.push(TestDatabase { admin: admin.to_owned(), name, url, config });
    }
    databases
}

fn source_config(url: &str) -> SourceConfig {
    SourceConfig::Postgresql(ServerConfig {
        address: ServerAddress::Url(Secret(url.to_owned())),
        schema: None,
        ssl: None,
        ca_cert: None,
    })
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("the server answers")
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
}

impl TestDatabase {
    /// A connection of its own.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }

    /// Runs statements in a session of their own.
    pub async fn execute(&self, sql: &str) {
        let mut connection = self.connect().await;
        run(&mut connection, sql).await;
        connection.close().await.expect("the connection closes");
    }

    /// Waits until every transaction that began before is over, in other tests' databases too: they share the server's
    /// snapshots.
    pub async fn settle(&self) {
        let mut connection = self.connect().await;
        let now: i64 = sqlx::query_scalar("SELECT pg_current_xact_id()::text::int8")
            .fetch_one(&mut connection)
            .await
            .expect("a transaction's id");
        for _ in 0..600 {
            let over: bool = sqlx::query_scalar("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8 > $1")
                .bind(now)
                .fetch_one(&mut connection)
                .await
                .expect("a snapshot");
            if over {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a transaction doesn't end");
    }

    /// The source, not connected yet.
    pub fn source(&self) -> Box<dyn Source> {
        Postgres.source(&self.config, LIMITS).expect("a valid configuration")
    }

    /// The same source for another role.
    pub fn config_as(&self, user: &str, password: &str) -> SourceConfig {
        let mut url: Url = self.url.parse().expect("a URL");
        url.set_username(user).expect("a user");
        url.set_password(Some(password)).expect("a password");
        source_config(url.as_str())
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // A thread, because a destructor can't wait within the test's runtime. What fails here only leaves a database.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let options: PgConnectOptions = admin.parse().map_err(std::io::Error::other)?;
                let mut connection = options.connect().await.map_err(std::io::Error::other)?;
                let sql = format!("DROP DATABASE {name} WITH (FORCE)");
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(())
            })
        });
        let _ = dropped.join();
    }
}

/// The plan that copies every column, tracked by `track`.
pub fn replica(table: Table, track: &[&str], types: &BTreeMap<&str, SqliteType>) -> Replica {
    let columns: Vec<_> = table
        .columns
        .iter()
        .enumerate()
        .map(|(source, column)| ReplicaColumn {
            source,
            name: column.name.clone(),
            sqlite: mapping::map(&column.kind, &column.type_name, types.get(&*column.name).copied()).unwrap(),
        })
        .collect();
    let index = |name: &str| table.column(name).unwrap_or_else(|| panic!("no column {name}"));
    let key = table.key.iter().map(|name| index(name)).collect();
    let track = match track {
        [] => Track::Whole,
        ["xmin"] => Track::Transaction,
        names => Track::Columns(names.iter().map(|name| index(name)).collect()),
    };
    Replica {
        target: table.name.name.clone(),
        source: table,
        columns,
        key,
        track,
        filter: None,
        soft_delete: false,
        null_zero_dates: false,
        takes_new_columns: true,
    }
}

/// What `source` says of a table in the default schema.
pub async fn describe(source: &mut dyn Source, name: &str) -> Table {
    let name = TableName { schema: None, name: name.to_owned() };
    source.describe(&name, &[]).await.unwrap().unwrap_or_else(|| panic!("no table {name}"))
}

async fn drain(mut incoming: Incoming) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    while let Some(batches) = incoming.next().await {
        for batch in &batches {
            let all: Vec<_> = (0..batch.width()).collect();
            rows.extend((0..batch.rows()).map(|row| batch.key(row, &all)));
        }
        incoming.recycle(batches);
    }
    rows
}

/// The rows of `range`.
pub async fn rows(source: &mut dyn Source, replica: &Replica, range: Range) -> crate::error::Result<Vec<Vec<Value>>> {
    let hidden = match range {
        Range::ByTrack { .. } => replica.columns.len() + 2,
        Range::Keys => replica.key.len(),
        Range::KeysWithoutTrack { .. } => replica.key.len() + 1,
        _ => replica.columns.len(),
    };
    let (mut sink, incoming) = channel(hidden, 3);
    let plan = ScanPlan { replica, range, batch_size: 3 };
    let read = async {
        let outcome = source.scan(&plan, &mut sink).await;
        drop(sink);
        outcome
    };
    let (outcome, rows) = tokio::join!(read, drain(incoming));
    outcome.map(|()| rows)
}
