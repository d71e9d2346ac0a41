//! Turso and other libSQL servers, over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use libsql::{Builder, Database, Value};
use reqwest::header::AUTHORIZATION;
use url::Url;

use super::dial::Dial;
use super::hrana;
use super::http::{self, Endpoint};
use super::link::{Bounds, Fault, Link};
use super::sql::{Bound, Sql};
use crate::batch::Batch;
use crate::config::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::Limits;
use crate::source::driver::answered;
use crate::source::peer::Peer;

/// SQLite takes more values, but nobody has to send so many. Servers send no answer above 10 MB, and as JSON one takes up to
/// three times as much.
const BOUNDS: Bounds = Bounds { values: 999, columns: 2_000, answer: 2 << 20 };

/// How long to stay away when the server says that it is asked too often.
const LIMITED: Duration = Duration::from_secs(30);

/// The way to a libSQL server: by its own client, and by requests of our own where there are many rows. That client reads
/// them from a stream that has one piece of HTTP per row, which takes three times as long as all at once.
pub struct TursoLink {
    url: String,
    token: String,
    endpoint: Endpoint,
    dial: Dial,
    silence: Duration,
    database: Option<Database>,
    /// A stream of statements at the server, which forgets it when it is idle for too long. Taken out while it is used.
    stream: Option<libsql::Connection>,
}

impl TursoLink {
    /// To the database at `uri`, which is asked when it is needed.
    pub fn new(uri: &str, token: Option<&Secret>, limits: Limits) -> Result<Self> {
        let unusable = || Error::new(Kind::Config, "source.uri can't be used: it has no host");
        // The scheme of this system only says that it is spoken over TLS.
        let url = uri.strip_prefix("libsql://").map_or_else(|| uri.to_owned(), |rest| format!("https://{rest}"));
        let mut pipeline = Url::parse(&url).map_err(|_| unusable())?;
        pipeline.path_segments_mut().map_err(|()| unusable())?.pop_if_empty().extend(["v3", "pipeline"]);
        let token = token.map_or("", |token| token.0.as_str());
        let header =
            (!token.is_empty()).then(|| http::secret(&format!("Bearer {token}"), "source.token")).transpose()?;
        let endpoint = Endpoint::new(pipeline, header.map(|header| (AUTHORIZATION, header)), limits)?;
        let dial = Dial::new(endpoint.peer.clone(), limits)?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            endpoint,
            dial,
            silence: limits.query,
            database: None,
            stream: None,
        })
    }

    async fn open(&mut self) -> Result<libsql::Connection, Fault> {
        if let Some(stream) = self.stream.take() {
            return Ok(stream);
        }
        if self.database.is_none() {
            let builder = Builder::new_remote(self.url.clone(), self.token.clone()).connector(self.dial.clone());
            self.database = Some(builder.build().await.map_err(|error| self.fault(&error))?);
        }
        let database = self.database.as_ref().ok_or_else(|| Fault::Cut("there is no client".to_owned()))?;
        database.connect().map_err(|error| self.fault(&error))
    }

    /// Waits for the server as long as it may take.
    async fn wait<T>(&self, answer: impl Future<Output = libsql::Result<T>>) -> Result<T, Fault> {
        let answer = answered(self.silence, answer).await.map_err(|_| Fault::Silent(self.silence))?;
        // The client panics at answers that no libSQL server gives, such as an error page in another encoding than UTF-8.
        let answer = answer
            .map_err(|_| Fault::Busy(format!("{} answered something that is not libSQL's", self.endpoint.peer)))?;
        answer.map_err(|error| self.fault(&error))
    }

    /// What a failure of the client's means. It tells most by the words of its message alone.
    fn fault(&self, error: &libsql::Error) -> Fault {
        if let Some(fault) = self.dial.failure() {
            return fault;
        }
        let text = error.to_string();
        let status = text.split_once("status=").and_then(|(_, rest)| rest.get(..3)).and_then(|code| code.parse().ok());
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match status {
            Some(429) => {
                let cause = format!("{} asks to wait {} s (HTTP 429)", self.endpoint.peer, LIMITED.as_secs());
                return Fault::Limited { wait: LIMITED, cause };
            }
            Some(status @ 300..=399) => return http::elsewhere(&self.endpoint.peer, status, None),
            _ => {}
        }
        if has(&["STREAM_EXPIRED", "stream closed", "stream has expired", "stream not found", "baton"]) {
            return Fault::Cut("the server forgot the stream".to_owned());
        }
        if status == Some(404) {
            return Fault::Unreachable {
                cause: format!("{} has no database at this address (HTTP 404); check it", self.endpoint.peer),
                passes: false,
            };
        }
        if let Some(fault) = hrana::refusal(status, &text) {
            return fault;
        }
        if has(&["json error"]) && has(&["f64"]) {
            return Fault::Refused(hrana::INFINITE.to_owned());
        }
        if has(&["http error", "json error", "prematurely", "unexpected response", "error reading a body"]) {
            return Fault::Cut(format!(
                "the connection to {} broke before its answer was complete",
                self.endpoint.peer
            ));
        }
        Fault::Refused(http::one_line(&text))
    }
}

#[async_trait]
impl Link for TursoLink {
    fn peer(&self) -> &Peer {
        &self.endpoint.peer
    }

    fn bounds(&self) -> Bounds {
        BOUNDS
    }

    async fn ask(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault> {
        let was_idle = self.stream.is_some();
        let width = rows.width();
        match self.ask_once(sql, rows).await {
            // The server forgets a stream that was idle for too long.
            Err(Fault::Cut(_)) if was_idle => {
                rows.reset(width);
                self.ask_once(sql, rows).await
            }
            answer => answer,
        }
    }

    async fn page(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault> {
        let answer = self.endpoint.post(hrana::body(sql)).await?;
        hrana::read(&answer, &self.endpoint.peer, rows)
    }

    async fn end(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.reset().await;
        }
    }

    async fn close(mut self: Box<Self>) {
        self.end().await;
    }
}

impl TursoLink {
    async fn ask_once(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault> {
        // Of a connection that was given up.
        self.dial.failure();
        let stream = self.open().await?;
        let values: Vec<Value> = sql
            .values
            .iter()
            .map(|value| match value {
                Bound::Text(text) => Value::Text(text.clone()),
                Bound::Real(real) => Value::Real(*real),
            })
            .collect();
        // The client takes a stream of rows that breaks off for one that is complete, so a last row says that it is.
        let end = format!("end {:016x}", fastrand::u64(..));
        let nulls = ", NULL".repeat(rows.width().saturating_sub(1));
        let text = format!("SELECT * FROM ({}) UNION ALL SELECT '{end}'{nulls}", sql.text);
        let mut found = self.wait(stream.query(&text, values)).await?;
        let width = i32::try_from(rows.width()).unwrap_or(i32::MAX);
        let mut complete = false;
        while let Some(row) = self.wait(found.next()).await? {
            if row.get_str(0).is_ok_and(|cell| cell == end) {
                complete = true;
                continue;
            }
            for index in 0..width {
                match row.get_value(index).map_err(|error| self.fault(&error))? {
                    Value::Null => rows.push_null(),
                    Value::Integer(value) => rows.push_int(value),
                    Value::Real(value) => rows.push_real(value),
                    Value::Text(text) => rows.push_text(text.as_bytes()),
                    Value::Blob(blob) => rows.push_blob(&blob),
                }
            }
        }
        drop(found);
        if !complete {
            return Err(Fault::Cut(format!("{} sent only a part of its answer", self.endpoint.peer)));
        }
        self.stream = Some(stream);
        Ok(())
    }
}
