//! Turso and other libSQL servers, over HTTP.

use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper::client::connect::{Connected, Connection};
use libsql::{Builder, Database, Rows, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;
use url::Url;

use super::http;
use super::link::{Bounds, Fault, Link};
use super::sql::{Bound, Sql};
use crate::batch::Batch;
use crate::config::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::Limits;
use crate::source::peer::{Peer, TRUST_BY_NODE, network};

/// SQLite takes more values, but nobody has to send so many. Rows come as a stream, so an answer is as large as what is
/// worth being read again after a lost connection.
const BOUNDS: Bounds = Bounds { values: 999, columns: 2_000, answer: 4 << 20 };

/// How long to stay away when the server says that it is asked too often.
const LIMITED: Duration = Duration::from_secs(30);

/// The way to a libSQL server.
pub struct TursoLink {
    url: String,
    token: String,
    peer: Peer,
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
        let parsed = Url::parse(&url).map_err(|_| unusable())?;
        let token = token.map_or("", |token| token.0.as_str());
        http::secret(token, "source.token")?;
        let peer = http::peer(&parsed);
        let dial = Dial {
            tls: TlsConnector::from(http::tls()?),
            peer: peer.clone(),
            limit: limits.connect,
            failure: Arc::default(),
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            peer,
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
        // The client panics at answers that no libSQL server gives, such as an error page in another encoding than UTF-8.
        let answer = timeout(self.silence, AssertUnwindSafe(answer).catch_unwind()).await;
        let answer = answer.map_err(|_| Fault::Silent(self.silence))?;
        let answer =
            answer.map_err(|_| Fault::Busy(format!("{} answered something that is not libSQL's", self.peer)))?;
        answer.map_err(|error| self.fault(&error))
    }

    async fn next(&self, rows: &mut Rows) -> Result<Option<libsql::Row>, Fault> {
        let mut next = Box::pin(AssertUnwindSafe(rows.next()).catch_unwind());
        // A timer for every row would cost more than the row; most are there already.
        match (&mut next).now_or_never() {
            Some(Ok(row)) => row.map_err(|error| self.fault(&error)),
            Some(Err(_)) => Err(Fault::Busy(format!("{} answered something that is not libSQL's", self.peer))),
            None => {
                let strange = || libsql::Error::ConnectionFailed("unexpected response".to_owned());
                self.wait(async move { next.await.unwrap_or_else(|_| Err(strange())) }).await
            }
        }
    }

    /// What a failure of the client's means. It tells most by the words of its message alone.
    fn fault(&self, error: &libsql::Error) -> Fault {
        if let Some(fault) = self.dial.failure.lock().ok().and_then(|mut failure| failure.take()) {
            return fault;
        }
        let text = error.to_string();
        let status = text.split_once("status=").and_then(|(_, rest)| rest.get(..3)).and_then(|code| code.parse().ok());
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match status {
            Some(401 | 403) => {
                return Fault::Denied(format!(
                    "the server refuses the token (HTTP {}); give one for this database that may read",
                    status.unwrap_or(401)
                ));
            }
            Some(429) => {
                let cause = format!("{} asks to wait {} s (HTTP 429)", self.peer, LIMITED.as_secs());
                return Fault::Limited { wait: LIMITED, cause };
            }
            Some(300..=399) => {
                return Fault::Unreachable {
                    cause: format!("{} sends us elsewhere; give the final address", self.peer),
                    passes: false,
                };
            }
            _ => {}
        }
        if has(&["STREAM_EXPIRED", "stream closed", "stream has expired", "stream not found", "baton"]) {
            return Fault::Cut("the server forgot the stream".to_owned());
        }
        if status == Some(404) {
            return Fault::Unreachable {
                cause: format!("{} has no database at this address (HTTP 404); check it", self.peer),
                passes: false,
            };
        }
        if has(&["SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "timed out", "TIMEOUT"]) || status >= Some(500) {
            return Fault::Busy(http::one_line(&text));
        }
        if has(&["json error"]) && has(&["f64"]) {
            return Fault::Refused(
                "there is an infinite number, which libSQL's protocol can't carry; leave its column out with \
                 exclude_columns, or read the table by a view that has it as text"
                    .to_owned(),
            );
        }
        if has(&["http error", "json error", "prematurely", "unexpected response", "error reading a body"]) {
            return Fault::Cut(format!("the connection to {} broke before its answer was complete", self.peer));
        }
        Fault::Refused(http::one_line(&text))
    }
}

#[async_trait]
impl Link for TursoLink {
    fn peer(&self) -> &Peer {
        &self.peer
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
        if let Ok(mut failure) = self.dial.failure.lock() {
            *failure = None;
        }
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
        while let Some(row) = self.next(&mut found).await? {
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
            return Err(Fault::Cut(format!("{} sent only a part of its answer", self.peer)));
        }
        self.stream = Some(stream);
        Ok(())
    }
}

/// Opens connections: the client brings no TLS of its own that this addon would want.
#[derive(Clone)]
struct Dial {
    tls: TlsConnector,
    peer: Peer,
    limit: Duration,
    /// Why the last connection could not be made, which the client's own message hides.
    failure: Arc<Mutex<Option<Fault>>>,
}

impl Service<Uri> for Dial {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let connected = timeout(dial.limit, dial.connect(&uri)).await;
            let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            connected.inspect_err(|error| {
                let (cause, passes) = network(error, &dial.peer, TRUST_BY_NODE);
                if let Ok(mut failure) = dial.failure.lock() {
                    *failure = Some(Fault::Unreachable { cause, passes });
                }
            })
        })
    }
}

impl Dial {
    async fn connect(&self, uri: &Uri) -> io::Result<Stream> {
        let is_plain = uri.scheme_str() == Some("http");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        // Names below localhost are this machine (RFC 6761), which not every resolver knows.
        let is_here = host.ends_with(".localhost");
        let stream = TcpStream::connect((if is_here { "127.0.0.1" } else { host.as_str() }, port)).await?;
        stream.set_nodelay(true)?;
        if is_plain {
            return Ok(Stream::Plain(stream));
        }
        let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Stream::Tls(Box::new(self.tls.connect(name, stream).await?)))
    }
}

/// A connection.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Calls a method of whichever stream it is.
macro_rules! of_either {
    ($stream:expr, $method:ident, $($argument:expr),+) => {
        match $stream.get_mut() {
            Self::Plain(stream) => Pin::new(stream).$method($($argument),+),
            Self::Tls(stream) => Pin::new(stream).$method($($argument),+),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        of_either!(self, poll_read, cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        of_either!(self, poll_write, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, poll_shutdown, cx)
    }
}
