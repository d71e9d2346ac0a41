//! Fresh databases on real servers.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use url::Url;

use crate::config::{Secret, ServerAddress, ServerConfig, SourceConfig};
use crate::source::{Connect as _, Limits, Source, postgres::Postgres};

/// The variable that names the servers: URLs of a superuser, separated by whitespace.
const SERVERS: &str = "DATA_SYNC_TEST_POSTGRES";

/// Limits that a test never reaches by itself.
pub const LIMITS: Limits = Limits { connect: Duration::from_secs(10), query: Duration::from_secs(60) };

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
