//! From the driver's failures to ours: which kind, whether waiting helps, and nothing that could be a row's value.

use std::io;
use std::time::Duration;

use sqlx::Error as Driver;
use sqlx::error::DatabaseError;

use crate::error::{Error, Kind};
use crate::schema::TableName;

use super::literal::quote;

/// The words that users know.
const CONNECT: &str = "Failed to connect to external database";

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

/// Connecting, or starting the consistent read, failed.
pub fn connect(error: &Driver, peer: &Peer) -> Error {
    match error {
        Driver::Database(error) => {
            let code = error.code().unwrap_or_default();
            let refused = matches!(&*code, "28P01" | "28000" | "42501");
            Error::new(if refused { Kind::Auth } else { Kind::Connect }, CONNECT)
                .because(cause(error.as_ref()))
                .transient(!refused && code != "3D000" && !code.starts_with("0A"))
        }
        Driver::Io(error) => {
            let (text, transient) = network(error, peer);
            Error::new(Kind::Connect, CONNECT).because(text).transient(transient)
        }
        Driver::Tls(error) => Error::new(Kind::Connect, CONNECT)
            .because(format!("TLS with {peer}: {error}; check the options ssl and ca_cert"))
            .transient(false),
        Driver::Protocol(text) => Error::new(Kind::Connect, CONNECT)
            .because(format!("{peer} doesn't answer as PostgreSQL does: {text}"))
            .transient(false),
        // The driver's other failures (a certificate that can't be read, a password that can't be sent) stay as they are.
        error => Error::new(Kind::Connect, CONNECT).because(error).transient(false),
    }
}

/// An I/O failure in Node's words, and whether it may pass.
fn network(error: &io::Error, peer: &Peer) -> (String, bool) {
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
            return (format!("TLS with {peer}: {text}; check the options ssl and ca_cert"), false);
        }
        _ => return (format!("connect {peer}: {text}"), true),
    };
    (format!("connect {code} {peer}"), true)
}

/// What was being read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The table as users name it; `None` for the catalog.
    pub table: Option<&'a str>,
    /// The table at the source.
    pub name: Option<&'a TableName>,
    /// Who we are.
    pub peer: &'a Peer,
}

impl Reading<'_> {
    fn context(&self) -> String {
        match self.table {
            Some(table) => format!("Failed to read table '{table}' from external database"),
            None => "Failed to read the catalog of external database".to_owned(),
        }
    }

    fn failed(&self) -> Error {
        let error = Error::new(Kind::SourceRead, self.context());
        match self.table {
            Some(table) => error.in_table(table),
            None => error,
        }
    }

    /// The server was silent for too long.
    pub fn timeout(&self, limit: Duration) -> Error {
        self.failed()
            .because(format!("no answer for {} s; the option query_timeout sets this limit", limit.as_secs_f64()))
            .transient(true)
    }

    /// A defect in what came, or in what we expected.
    pub fn because(&self, cause: impl std::fmt::Display) -> Error {
        self.failed().because(cause)
    }

    /// The driver reported `error`.
    pub fn error(&self, error: &Driver) -> Error {
        match error {
            Driver::Database(error) => self.refused(error.as_ref()),
            Driver::Io(error) => {
                let failed = self.failed().transient(true);
                match error.kind() {
                    io::ErrorKind::UnexpectedEof => failed.because("the server closed the connection"),
                    _ => failed.because(format!("{error} ({})", self.peer)),
                }
            }
            error => self.failed().because(error).transient(true),
        }
    }

    fn refused(&self, error: &dyn DatabaseError) -> Error {
        let code = error.code().unwrap_or_default();
        match (&*code, self.table) {
            ("42P01", Some(table)) => {
                Error::new(Kind::TableNotFound, format!("Table '{table}' not found in external database"))
                    .because(cause(error))
                    .in_table(table)
            }
            ("42501", _) => {
                let advice = self.name.map_or_else(String::new, |name| {
                    let schema = name.schema.as_deref().unwrap_or("public");
                    format!(
                        "; run GRANT USAGE ON SCHEMA {schema} TO {user} and GRANT SELECT ON {schema}.{table} TO {user}",
                        schema = quote(schema),
                        table = quote(&name.name),
                        user = quote(&self.peer.user),
                    )
                });
                self.failed().because(format!("{}{advice}", cause(error)))
            }
            (code, _) => {
                let passes =
                    matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "40001" | "40P01" | "25P03")
                        || code.starts_with("08");
                self.failed().because(cause(error)).transient(passes)
            }
        }
    }
}

/// What the server said, as far as it can't hold a row's value: no detail, and the message itself only of classes that
/// speak of names and states, not of data.
fn cause(error: &dyn DatabaseError) -> String {
    const SPEAKING: [&str; 13] = ["08", "0A", "25", "28", "3D", "40", "42", "53", "54", "55", "57", "58", "XX"];
    let code = error.code().unwrap_or_default();
    if SPEAKING.iter().any(|class| code.starts_with(class)) {
        format!("{} (SQLSTATE {code})", error.message())
    } else {
        format!("the server refused a value, in the table's filter or in a view (SQLSTATE {code})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { host: "db.example".to_owned(), port: Some(5432), user: "reader".to_owned() }
    }

    #[test]
    fn network_failures_are_spelled_as_node_spells_them() {
        let refused = connect(&Driver::Io(io::ErrorKind::ConnectionRefused.into()), &peer());
        assert_eq!(refused.to_string(), "Failed to connect to external database: connect ECONNREFUSED db.example:5432");
        assert!(refused.is_transient());
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        let unknown = connect(&Driver::Io(unknown), &peer());
        assert!(unknown.to_string().ends_with("getaddrinfo ENOTFOUND db.example"), "{unknown}");
        assert!(!unknown.is_transient());
    }

    #[test]
    fn a_cut_connection_may_pass() {
        let peer = peer();
        let reading = Reading { table: Some("users"), name: None, peer: &peer };
        let error = reading.error(&Driver::Io(io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(
            error.to_string(),
            "Failed to read table 'users' from external database: the server closed the connection"
        );
        assert!(error.is_transient());
        assert_eq!(error.table(), Some("users"));
    }
}
