//! The connections of libSQL's client.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper::client::connect::{Connected, Connection};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::http;
use super::link::Fault;
use crate::error::Result;
use crate::source::Limits;
use crate::source::peer::{Peer, TRUST_BY_NODE, network};

/// Opens connections: the client brings no TLS of its own that this addon would want.
#[derive(Clone)]
pub struct Dial {
    tls: TlsConnector,
    peer: Peer,
    limit: Duration,
    /// Why the last connection could not be made, which the client's own message hides.
    failure: Arc<Mutex<Option<Fault>>>,
}

impl Dial {
    /// To `peer`, for at most as long as `limits` say.
    pub fn new(peer: Peer, limits: Limits) -> Result<Self> {
        Ok(Self { tls: TlsConnector::from(http::tls()?), peer, limit: limits.connect, failure: Arc::default() })
    }

    /// Why the last connection could not be made, if it could not; told once.
    pub fn failure(&self) -> Option<Fault> {
        self.failure.lock().ok().and_then(|mut failure| failure.take())
    }
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
        let address = if http::is_here(&host) { http::HERE.to_string() } else { host.clone() };
        let stream = TcpStream::connect((address.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        if is_plain {
            return Ok(Stream::Plain(stream));
        }
        let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Stream::Tls(Box::new(self.tls.connect(name, stream).await?)))
    }
}

/// A connection.
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
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
