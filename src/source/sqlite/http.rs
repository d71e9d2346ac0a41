//! One request over HTTP: sent, answered, and what its failure means.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::link::Fault;
use super::sql::{Bound, Sql};
use crate::error::{Error, Kind, Result};
use crate::source::Limits;
use crate::source::peer::{Peer, TRUST_BY_NODE, network};

/// No answer that was asked for is larger; more is somebody's mistake or malice.
const MOST_BYTES: usize = 64 << 20;

/// How long to stay away when the server says that it is asked too often, but not for how long.
const UNTOLD_WAIT: Duration = Duration::from_secs(30);

/// No longer wait is believed.
pub const LONGEST_WAIT: Duration = Duration::from_mins(15);

/// The variable by which Node.js is told of more authorities to trust, such as that of a company's proxy.
const MORE_AUTHORITIES: &str = "NODE_EXTRA_CA_CERTS";

/// How TLS connections are protected: by the authorities that browsers trust, and those that Node.js was told of.
pub fn tls() -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = std::env::var_os(MORE_AUTHORITIES).filter(|path| !path.is_empty()) {
        // As with Node.js, a file that can't be used is none.
        let found = CertificateDer::pem_file_iter(path).into_iter().flatten().flatten();
        roots.add_parsable_certificates(found);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Internal, "TLS can't be set up").because(error))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// A client that trusts whom [`tls`] says.
pub fn client() -> Result<ClientBuilder> {
    // A token is for the one who it was made for, so nobody is followed elsewhere.
    Ok(Client::builder().tls_backend_preconfigured(Arc::unwrap_or_clone(tls()?)).redirect(redirect::Policy::none()))
}

/// How many signs of a server's words are shown: they go into the log, and into the target's state.
const MOST_SIGNS: usize = 300;

/// The beginning of a server's words, on one line.
pub fn one_line(text: &str) -> String {
    text.chars().take(MOST_SIGNS).map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

/// Where the server of `url` is.
pub fn peer(url: &Url) -> Peer {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    Peer { host, port: url.port_or_known_default(), user: String::new() }
}

/// Where the names are that [`is_here`] knows.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whether `host` is a name below localhost: this machine (RFC 6761), which not every resolver knows.
pub fn is_here(host: &str) -> bool {
    host.ends_with(".localhost")
}

/// A header whose value is a secret.
pub fn secret(value: &str, option: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(value).map_err(|_| {
        Error::new(Kind::Config, format!("{option} has signs that no token has"))
            .because("it goes into a header of HTTP; check that it was copied whole and without line breaks")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// A statement as the JSON that is sent.
pub fn body(sql: &Sql) -> String {
    let values = sql.values.iter().map(|value| match value {
        Bound::Text(text) => serde_json::Value::from(text.as_str()),
        Bound::Real(real) => serde_json::Value::from(*real),
    });
    serde_json::json!({ "sql": sql.text, "params": values.collect::<Vec<_>>() }).to_string()
}

/// A server says that somebody else is to be asked, at `location` if it tells where.
pub fn elsewhere(peer: &Peer, status: u16, location: Option<&str>) -> Fault {
    // Who is there and no more: an address may have credentials in it, in its query too.
    let place = location.and_then(|location| Url::parse(location).ok()).map(|url| url.origin().ascii_serialization());
    let to = place.map_or_else(|| "elsewhere".to_owned(), |place| format!("to {place}"));
    Fault::Unreachable {
        cause: format!(
            "{peer} sends us {to} (HTTP {status}), and a token is not sent to other addresses; give the final one"
        ),
        passes: false,
    }
}

/// A server that is asked over HTTP at one address.
pub struct Endpoint {
    client: Client,
    url: Url,
    /// Where it is.
    pub peer: Peer,
    silence: Duration,
}

/// What the server said.
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: HeaderMap,
    /// What came with it.
    pub body: Vec<u8>,
}

impl Endpoint {
    /// The server at `url`, which is asked with `headers`.
    pub fn new(url: Url, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>, limits: Limits) -> Result<Self> {
        let mut all: HeaderMap = headers.into_iter().collect();
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let peer = peer(&url);
        let mut client = client()?;
        if is_here(&peer.host) {
            client = client.resolve(&peer.host, SocketAddr::new(HERE, 0));
        }
        let client = client
            .connect_timeout(limits.connect)
            .read_timeout(limits.query)
            .default_headers(all)
            .user_agent(concat!("starbasedb-data-sync/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::new(Kind::Internal, "HTTP can't be set up").because(error))?;
        Ok(Self { client, url, peer, silence: limits.query })
    }

    /// Sends `body` and waits for the whole answer.
    pub async fn post(&self, body: String) -> Result<Answer, Fault> {
        let request = self.client.post(self.url.clone()).body(body);
        let mut response = request.send().await.map_err(|error| self.fault(&error))?;
        let mut answer =
            Answer { status: response.status().as_u16(), headers: response.headers().clone(), body: Vec::new() };
        while let Some(piece) = response.chunk().await.map_err(|error| self.fault(&error))? {
            if answer.body.len() + piece.len() > MOST_BYTES {
                return Err(Fault::TooLarge(format!("{} sent more than {} MB", self.peer, MOST_BYTES >> 20)));
            }
            answer.body.extend_from_slice(&piece);
        }
        Ok(answer)
    }

    fn fault(&self, error: &reqwest::Error) -> Fault {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if error.is_connect()
                && let Some(mut found) = inner.downcast_ref::<io::Error>()
            {
                // One that wraps another one says less.
                while let Some(inner) = found.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
                    found = inner;
                }
                let (cause, passes) = network(found, &self.peer, TRUST_BY_NODE);
                return Fault::Unreachable { cause, passes };
            }
            cause = inner.source();
        }
        if error.is_connect() && error.is_timeout() {
            return Fault::Unreachable { cause: format!("connect ETIMEDOUT {}", self.peer), passes: true };
        }
        if error.is_timeout() {
            return Fault::Silent(self.silence);
        }
        Fault::Cut(format!("the connection to {} broke before its answer was complete", self.peer))
    }
}

impl Answer {
    /// What a server would have said.
    #[cfg(any(test, feature = "fuzz"))]
    pub fn of(status: u16, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { status, headers, body }
    }

    /// The header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What an answer means that no server gives who got the question: `None` for all others.
    pub fn fault(&self, peer: &Peer) -> Option<Fault> {
        let status = self.status;
        Some(match status {
            429 => {
                let told = self.header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
                let wait = told.map_or(UNTOLD_WAIT, Duration::from_secs).min(LONGEST_WAIT);
                Fault::Limited { wait, cause: format!("{peer} asks to wait {} s (HTTP 429)", wait.as_secs()) }
            }
            408 | 502 | 503 | 504 | 520..=530 => Fault::Busy(format!("{peer} can't answer now (HTTP {status})")),
            300..=399 => elsewhere(peer, status, self.header("location")),
            404 | 405 | 410 => Fault::Unreachable {
                cause: format!("{peer} has nothing at this address (HTTP {status}); check it"),
                passes: false,
            },
            _ => return None,
        })
    }

    /// The fault of an answer that nothing else explains.
    pub fn strange(&self, peer: &Peer) -> Fault {
        let status = self.status;
        if status >= 500 {
            return Fault::Busy(format!("{peer} failed (HTTP {status})"));
        }
        Fault::Unreachable {
            cause: format!("{peer} gave an answer that no such server gives (HTTP {status})"),
            passes: false,
        }
    }

    /// The body as text for people.
    pub fn text(&self) -> String {
        // What is left of a last sign that is cut lies behind what is shown.
        let beginning = &self.body[..self.body.len().min(4 * MOST_SIGNS)];
        one_line(&String::from_utf8_lossy(beginning))
    }
}
