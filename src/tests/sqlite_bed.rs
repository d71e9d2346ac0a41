//! SQLite's family for the contract suite: a file, Turso, D1 and StarbaseDB.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{HOST, HeaderValue};
use serde_json::{Value, json};
use url::Url;

use crate::mapping::time::instant_text;

use super::bed::{Bed, Datum, Holds, Open, Row, Shape};
use super::deployed::Deployed;

/// The variables that name the servers: URLs, separated by whitespace.
pub const TURSO: &str = "DATA_SYNC_TEST_TURSO";
const TURSO_ADMIN: &str = "DATA_SYNC_TEST_TURSO_ADMIN";
pub const D1: &str = "DATA_SYNC_TEST_D1";
pub const STARBASEDB: &str = "DATA_SYNC_TEST_STARBASEDB";

/// Rows that go in with one statement.
const ROWS: usize = 5_000;

/// The addresses in a variable.
pub fn servers(variable: &str) -> Vec<Url> {
    let addresses = std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: this test needs a server, run it by `npm test`"));
    addresses.split_whitespace().map(|address| address.parse().unwrap()).collect()
}

/// An address without user and password.
pub fn bare(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    url
}

/// A database of a test's own, and the way to it.
#[derive(Clone)]
pub enum Place {
    /// A file.
    File { path: PathBuf, _directory: Arc<tempfile::TempDir> },
    /// A namespace of sqld.
    Turso { url: Url, name: String, admin: Url },
    /// A database behind Cloudflare's interface.
    D1 { url: Url, account: String, token: String, id: String },
    /// A Durable Object behind StarbaseDB's interface.
    Starbasedb { url: Url, token: String, name: String },
}

/// What a server of our own is told about the requests to come.
pub enum Told {
    /// The next requests go wrong.
    Faults(Value),
    /// So many requests are allowed.
    Limit(Value),
}

fn client() -> reqwest::Client {
    crate::source::sqlite::http::client().unwrap().build().unwrap()
}

async fn sent(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

impl Place {
    /// A new file.
    pub fn file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("source.sqlite");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = wal").unwrap();
        Self::File { path, _directory: Arc::new(directory) }
    }

    /// A new namespace.
    pub async fn turso() -> Self {
        let admin = servers(TURSO_ADMIN).remove(0);
        let name = format!("t{:016x}", fastrand::u64(..));
        let request = client().post(admin.join(&format!("v1/namespaces/{name}/create")).unwrap());
        let (status, answer) = sent(request.json_text(&json!({}))).await;
        assert_eq!(status, 200, "{answer}");
        Self::Turso { url: servers(TURSO).remove(0), name, admin }
    }

    /// A new database.
    pub async fn d1() -> Self {
        let server = servers(D1).remove(0);
        let url = bare(&server);
        let (status, answer) = sent(client().post(url.join("control/databases").unwrap())).await;
        assert_eq!(status, 200, "{answer}");
        Self::D1 {
            url,
            account: server.username().to_owned(),
            token: server.password().unwrap().to_owned(),
            id: answer["id"].as_str().unwrap().to_owned(),
        }
    }

    /// A new instance.
    pub fn starbasedb() -> Self {
        let server = servers(STARBASEDB).remove(0);
        let name = format!("t{:016x}", fastrand::u64(..));
        Self::Starbasedb { url: bare(&server), token: server.username().to_owned(), name }
    }

    /// The option `source` that reaches it.
    pub fn source(&self) -> Value {
        match self {
            Self::File { path, .. } => json!({ "type": "sqlite", "path": path }),
            Self::Turso { url, name, .. } => {
                json!({ "type": "turso", "uri": format!("http://{name}.localhost:{}/", url.port().unwrap()) })
            }
            Self::D1 { url, account, token, id } => {
                json!({ "type": "d1", "url": url.as_str(), "account_id": account, "api_key": token, "database_id": id })
            }
            Self::Starbasedb { url, token, name } => {
                json!({ "type": "starbasedb", "uri": url.join(name).unwrap().as_str(), "token": token })
            }
        }
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::File { path, .. } => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
                connection.execute_batch(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
            }
            Self::Turso { .. } => drop(self.pipeline(json!({ "type": "sequence", "sql": sql })).await),
            Self::D1 { .. } | Self::Starbasedb { .. } => drop(self.ask(sql, &[]).await),
        }
    }

    async fn pipeline(&self, request: Value) -> Value {
        let Self::Turso { url, name, .. } = self else { panic!("no libSQL") };
        let body = json!({ "requests": [request, { "type": "close" }] });
        let host = HeaderValue::from_str(&format!("{name}.localhost")).unwrap();
        let mut tries = 0;
        loop {
            let request = client().post(url.join("v3/pipeline").unwrap()).header(HOST, host.clone()).json_text(&body);
            let (status, mut answer) = sent(request).await;
            if status == 200 && answer["results"][0]["type"] == "ok" {
                return answer["results"][0]["response"]["result"].take();
            }
            // On a busy machine sqld may take too long to open a database; then nothing was done.
            tries += 1;
            assert!(status == 429 && tries < 20, "{status} {answer}: {body}");
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    }

    /// Runs one statement with parameters of text; the rows, every cell as text.
    pub async fn ask(&self, sql: &str, params: &[String]) -> Vec<Vec<Option<String>>> {
        let text = |cell: &Value| match cell {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let lists = |rows: &Value| -> Vec<Vec<Option<String>>> {
            let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
            rows.iter().map(|row| row.as_array().unwrap().iter().map(text).collect()).collect()
        };
        let body = json!({ "sql": sql, "params": params });
        match self {
            Self::File { path, .. } => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
                let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
                let width = statement.column_count();
                if width == 0 {
                    statement.execute(rusqlite::params_from_iter(params)).unwrap();
                    return Vec::new();
                }
                let rows = statement.query_map(rusqlite::params_from_iter(params), |row| {
                    (0..width).map(|column| row.get::<_, Option<String>>(column)).collect()
                });
                rows.unwrap().map(Result::unwrap).collect()
            }
            Self::Turso { .. } => {
                let args: Vec<_> = params.iter().map(|value| json!({ "type": "text", "value": value })).collect();
                let stmt = json!({ "sql": sql, "args": args, "want_rows": true });
                let result = self.pipeline(json!({ "type": "execute", "stmt": stmt })).await;
                let cells = |row: &Value| row.as_array().unwrap().iter().map(|cell| text(&cell["value"])).collect();
                result["rows"].as_array().unwrap().iter().map(cells).collect()
            }
            Self::D1 { url, account, token, id } => {
                let path = format!("client/v4/accounts/{account}/d1/database/{id}/raw");
                let request = client().post(url.join(&path).unwrap()).bearer_auth(token).json_text(&body);
                let (status, answer) = sent(request).await;
                assert_eq!(status, 200, "{answer}: {sql}");
                lists(&answer["result"][0]["results"]["rows"])
            }
            Self::Starbasedb { url, token, name } => {
                let path = url.join(&format!("{name}/query/raw")).unwrap();
                let (status, answer) = sent(client().post(path).bearer_auth(token).json_text(&body)).await;
                assert_eq!(status, 200, "{answer}: {sql}");
                lists(&answer["result"]["rows"])
            }
        }
    }

    fn control(&self, what: &str) -> Url {
        match self {
            Self::D1 { url, id, .. } => url.join(&format!("control/databases/{id}{what}")).unwrap(),
            Self::Starbasedb { url, name, .. } => url.join(&format!("control/{name}{what}")).unwrap(),
            Self::File { .. } | Self::Turso { .. } => panic!("nobody to tell"),
        }
    }

    /// Tells the server about the requests to come.
    pub async fn tell(&self, told: Told) {
        let (what, value) = match told {
            Told::Faults(value) => ("/faults", value),
            Told::Limit(value) => ("/limit", value),
        };
        let (status, answer) = sent(client().put(self.control(what)).json_text(&value)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// The file that a Durable Object keeps its rows in.
    pub async fn file_below(&self) -> PathBuf {
        let answer = sent(client().get(self.control("/file"))).await.1;
        PathBuf::from(answer["path"].as_str().unwrap_or_else(|| panic!("{answer}")))
    }

    /// What the server counted since the database is there: requests, refused ones, bytes, rows.
    pub async fn counted(&self) -> Value {
        sent(client().get(self.control("/requests"))).await.1
    }

    pub async fn drop_all(self) {
        let gone = match &self {
            Self::File { .. } => return,
            Self::Turso { admin, name, .. } => admin.join(&format!("v1/namespaces/{name}")).unwrap(),
            Self::D1 { .. } | Self::Starbasedb { .. } => self.control(""),
        };
        let (status, answer) = sent(client().delete(gone)).await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// A body of JSON.
trait JsonText {
    fn json_text(self, value: &Value) -> Self;
}

impl JsonText for reqwest::RequestBuilder {
    fn json_text(self, value: &Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }
}

/// A database as a bed.
pub struct SqliteBed {
    /// The database.
    pub place: Place,
    /// Where its rows go, when it is no file.
    pub deployed: Option<Deployed>,
}

fn bed(place: Place) -> Vec<Box<dyn Bed>> {
    vec![Box::new(SqliteBed { place, deployed: None })]
}

/// An empty file whose rows go to a StarbaseDB.
pub async fn deployed_beds() -> Vec<Box<dyn Bed>> {
    vec![Box::new(SqliteBed { place: Place::file(), deployed: Some(Deployed::new().await) })]
}

/// An empty file.
pub async fn file_beds() -> Vec<Box<dyn Bed>> {
    bed(Place::file())
}

/// An empty database of sqld's.
pub async fn turso_beds() -> Vec<Box<dyn Bed>> {
    bed(Place::turso().await)
}

/// An empty database of D1's.
pub async fn d1_beds() -> Vec<Box<dyn Bed>> {
    bed(Place::d1().await)
}

/// An empty StarbaseDB.
pub async fn starbasedb_beds() -> Vec<Box<dyn Bed>> {
    bed(Place::starbasedb())
}

/// An instant as `CURRENT_TIMESTAMP` writes it: in whole seconds.
fn moment(micros: i64) -> String {
    instant_text(micros, 0).replace('T', " ").replace('Z', "")
}

fn json_of(datum: &Datum) -> Value {
    match datum {
        Datum::Null => Value::Null,
        Datum::Int(value) => json!(value),
        Datum::Text(text) => json!(text),
        Datum::Instant(micros) => json!(moment(*micros)),
    }
}

fn literal(datum: &Datum) -> String {
    match datum {
        Datum::Null => "NULL".to_owned(),
        Datum::Int(value) => value.to_string(),
        Datum::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Datum::Instant(micros) => format!("'{}'", moment(*micros)),
    }
}

fn equals(row: &Row, between: &str) -> String {
    let parts: Vec<String> = row.iter().map(|(name, datum)| format!("\"{name}\" = {}", literal(datum))).collect();
    parts.join(between)
}

/// The statement that inserts rows, and its parameter.
fn insertion(shape: &Shape, rows: &[Row]) -> (String, String) {
    let names: Vec<String> = shape.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let values: Vec<String> = (0..names.len()).map(|index| format!("value->>{index}")).collect();
    let sql =
        format!("INSERT INTO \"{}\" ({}) SELECT {} FROM json_each(?)", shape.name, names.join(", "), values.join(", "));
    let cells = |row: &Row| -> Value {
        shape.columns.iter().map(|(name, _)| row.get(name).map_or(Value::Null, json_of)).collect()
    };
    (sql, rows.iter().map(cells).collect::<Value>().to_string())
}

fn kind(holds: Holds) -> &'static str {
    match holds {
        Holds::Int => "INTEGER",
        Holds::Text => "TEXT",
        Holds::Instant => "DATETIME",
    }
}

#[async_trait]
impl Bed for SqliteBed {
    fn source(&self) -> Value {
        self.place.source()
    }

    fn deployed(&self) -> Option<&Deployed> {
        self.deployed.as_ref()
    }

    fn always_keyed(&self) -> bool {
        true
    }

    fn moves(&self) -> bool {
        matches!(self.place, Place::D1 { .. })
    }

    fn sees_changes(&self) -> bool {
        false
    }

    fn resolution(&self) -> i64 {
        1_000_000
    }

    fn instant(&self, micros: i64) -> String {
        moment(micros)
    }

    async fn create(&self, shape: &Shape) {
        self.execute(&shape.ddl('"', |_, holds| kind(holds))).await;
    }

    async fn add_column(&self, shape: &Shape, column: &str, holds: Holds) {
        self.execute(&format!("ALTER TABLE {} ADD COLUMN {column} {}", shape.name, kind(holds))).await;
    }

    async fn insert(&self, shape: &Shape, rows: &[Row]) {
        for chunk in rows.chunks(ROWS) {
            let (sql, rows) = insertion(shape, chunk);
            self.place.ask(&sql, &[rows]).await;
        }
    }

    async fn update(&self, shape: &Shape, key: &Row, change: &Row) {
        let (change, key) = (equals(change, ", "), equals(key, " AND "));
        self.execute(&format!("UPDATE \"{}\" SET {change} WHERE {key}", shape.name)).await;
    }

    async fn delete(&self, shape: &Shape, key: &Row) {
        self.execute(&format!("DELETE FROM \"{}\" WHERE {}", shape.name, equals(key, " AND "))).await;
    }

    async fn insert_late(&self, shape: &Shape, rows: &[Row]) -> Box<dyn Open> {
        // One writer at a time: a transaction that is open keeps all others from writing. What commits late is what somebody
        // gave a time to and wrote later.
        let (sql, rows) = insertion(shape, rows);
        Box::new(SqliteOpen { place: self.place.clone(), sql, rows, more: Vec::new() })
    }

    async fn dump(&self, shape: &Shape) -> Vec<Vec<Option<String>>> {
        let cells: Vec<String> =
            shape.columns.iter().map(|(name, _)| format!("CAST(\"{name}\" AS TEXT) AS \"{name}\"")).collect();
        let sql = format!("SELECT {} FROM \"{}\"", cells.join(", "), shape.name);
        let mut dump = self.place.ask(&sql, &[]).await;
        dump.sort();
        dump
    }

    async fn execute(&self, sql: &str) {
        self.place.execute(sql).await;
    }

    async fn drop_all(self: Box<Self>) {
        self.place.drop_all().await;
    }
}

struct SqliteOpen {
    place: Place,
    sql: String,
    rows: String,
    more: Vec<String>,
}

#[async_trait]
impl Open for SqliteOpen {
    async fn execute(&mut self, sql: &str) {
        self.more.push(sql.to_owned());
    }

    async fn commit(self: Box<Self>) {
        self.place.ask(&self.sql, std::slice::from_ref(&self.rows)).await;
        for sql in &self.more {
            self.place.execute(sql).await;
        }
    }
}
