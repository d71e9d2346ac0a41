//! The connections of libSQL's client.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
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

/// More than this is no answer: the client keeps an answer that has no end, and one row with a blob of SQLite's largest ones may
/// be as large as this.
const MOST_BYTES: u64 = 1536 << 20;

/// Opens connections: the client brings no TLS of its own that this addon would want.
#[derive(Clone)]
pub struct Dial {
    tls: TlsConnector,
    peer: Peer,
    limit: Duration,
    /// How many bytes an answer may have.
    most: u64,
    /// Why the last connection could not be made or used, which the client's own message hides.
    failure: Arc<Mutex<Option<Fault>>>,
}

impl Dial {
    /// To `peer`, for at most as long as `limits` say.
    pub fn new(peer: Peer, limits: Limits) -> Result<Self> {
        let tls = TlsConnector::from(http::tls()?);
        Ok(Self { tls, peer, limit: limits.connect, most: MOST_BYTES, failure: Arc::default() })
    }

    /// Why the last connection could not be made or used, if it could not; told once.
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
                dial.failed(Fault::Unreachable { cause, passes });
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
        let stream_by = |way| Stream { way, dial: self.clone(), answered: 0 };
        if is_plain {
            return Ok(stream_by(Way::Plain(stream)));
        }
        let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(stream_by(Way::Tls(Box::new(self.tls.connect(name, stream).await?))))
    }

    fn failed(&self, fault: Fault) {
        if let Ok(mut failure) = self.failure.lock() {
            *failure = Some(fault);
        }
    }
}

/// A connection.
pub struct Stream {
    way: Way,
    dial: Dial,
    /// How many bytes came since something was sent.
    answered: u64,
}

enum Way {
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
        match &mut $stream.get_mut().way {
            Way::Plain(stream) => Pin::new(stream).$method($($argument),+),
            Way::Tls(stream) => Pin::new(stream).$method($($argument),+),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(of_either!(self.as_mut(), poll_read, cx, buffer))?;
        self.answered += (buffer.filled().len() - before) as u64;
        let Dial { peer, most, .. } = &self.dial;
        if self.answered > *most {
            self.dial.failed(Fault::TooLarge(format!("{peer} sent more than {} MB", most >> 20)));
            // A read that fails has read nothing.
            buffer.set_filled(before);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.answered = 0;
        of_either!(self, poll_write, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, poll_shutdown, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_without_an_end_is_given_up() {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let second = Duration::from_secs(1);
        let peer = Peer { host: "127.0.0.1".to_owned(), port: Some(port), user: String::new() };
        let mut dial = Dial::new(peer, Limits { connect: second, query: second }).unwrap();
        dial.most = 1 << 20;
        let uri = format!("http://127.0.0.1:{port}").parse().unwrap();
        let (stream, accepted) = tokio::join!(dial.connect(&uri), server.accept());
        let (mut stream, mut socket) = (stream.unwrap(), accepted.unwrap().0);
        // Each answer counts by itself.
        let (mut piece, sent) = (vec![0; 1 << 19], vec![7; 1 << 19]);
        for _ in 0..4 {
            stream.write_all(b"?").await.unwrap();
            tokio::try_join!(socket.write_all(&sent), stream.read_exact(&mut piece)).unwrap();
        }
        assert!(dial.failure().is_none());
        let endless = async { while socket.write_all(&sent).await.is_ok() {} };
        let taken = async {
            let failed = stream.read_to_end(&mut piece).await;
            drop(stream);
            failed
        };
        assert!(tokio::join!(endless, taken).1.is_err());
        assert!(matches!(dial.failure(), Some(Fault::TooLarge(_))));
        assert!(piece.len() < 3 << 20, "{} bytes", piece.len());
    }
}
