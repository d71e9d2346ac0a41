//! Where a source's server is, and what its network says, in the words of messages.

use std::io;

use crate::error::{Error, Kind};

/// The words that users know.
pub const CONNECT: &str = "Failed to connect to external database";

/// What decides on certificates where options do.
pub const TRUST_BY_OPTIONS: &str = "the options ssl and ca_cert";

/// What decides on certificates elsewhere.
pub const TRUST_BY_NODE: &str = "the address and, where the authority is a private one, NODE_EXTRA_CA_CERTS";

/// Where the server is, in the words of messages.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name or address; a socket's path.
    pub host: String,
    /// Its port; `None` for a socket.
    pub port: Option<u16>,
    /// The role, for advice.
    pub user: String,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Connecting took too long.
pub fn connect_timeout(peer: &Peer) -> Error {
    Error::new(Kind::Connect, CONNECT).because(format!("connect ETIMEDOUT {peer}"))
}

/// An I/O failure in Node's words, and whether it may pass; `trust` says what to check when certificates don't.
pub fn network(error: &io::Error, peer: &Peer, trust: &str) -> (String, bool) {
    let text = error.to_string();
    if text.starts_with("failed to lookup address information") {
        let passes = text.contains("Temporary failure");
        return (format!("getaddrinfo {} {}", if passes { "EAI_AGAIN" } else { "ENOTFOUND" }, peer.host), passes);
    }
    let code = match error.kind() {
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
        io::ErrorKind::TimedOut => "ETIMEDOUT",
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "ECONNRESET",
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::NotFound => "ENOENT",
        // A failed handshake comes as an I/O failure too.
        io::ErrorKind::InvalidData => {
            return (format!("TLS with {peer}: {text}; check {trust}"), false);
        }
        _ => return (format!("connect {peer}: {text}"), true),
    };
    (format!("connect {code} {peer}"), true)
}
