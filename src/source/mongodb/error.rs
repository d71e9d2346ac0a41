//! From the driver's failures to ours: which kind, whether waiting helps, and nothing that could be a document's value.

use std::io;

use mongodb::error::{CommandError, Error as Driver, ErrorKind};

use crate::error::{Error, Kind};
use crate::source::peer::{CONNECT, Peer, network};
use crate::source::reading::Reading;

/// The server refuses who we are: no such user or password, or nobody at all.
const REFUSED: [i32; 4] = [11, 13, 18, 8000];

/// The cursor is gone: it timed out, or the server dropped it.
const LOST: [i32; 3] = [43, 175, 237];

/// Failures that pass: elections, shutdowns, time limits, networks, and lost cursors.
const PASSING: [i32; 22] =
    [6, 7, 24, 43, 50, 64, 89, 91, 112, 133, 134, 175, 189, 237, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436];

/// The connection string can't be used. The driver's words are kept unless they repeat something of it that may be secret.
pub fn unusable(error: &Driver, uri: &str) -> Error {
    let message = match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. } | ErrorKind::InvalidTlsConfig { message, .. } => message.clone(),
        ErrorKind::DnsResolve { message, .. } => {
            return Error::new(Kind::Connect, CONNECT).because(format!("the name of its SRV record: {message}"));
        }
        other => other.to_string(),
    };
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let secrets = rest
        .rsplit_once('@')
        .into_iter()
        .flat_map(|(user, _)| user.split(':'))
        .chain(rest.split_once('?').into_iter().flat_map(|(_, query)| query.split(['&', '=']).skip(1).step_by(2)));
    let told = if secrets.into_iter().any(|secret| secret.len() > 2 && message.contains(secret)) {
        "a part of it is not what the driver takes".to_owned()
    } else {
        message
    };
    Error::new(Kind::Config, "The MongoDB connection string can't be used")
        .because(format!("{told}; it takes mongodb://user:password@host:port/database?options"))
}

/// Connecting, or beginning to read, failed.
pub fn connect(error: &Driver, peer: &Peer) -> Error {
    let failed = Error::new(Kind::Connect, CONNECT);
    match error.kind.as_ref() {
        ErrorKind::Authentication { message, .. } => Error::new(Kind::Auth, CONNECT).because(message),
        ErrorKind::Command(command) if REFUSED.contains(&command.code) => {
            Error::new(Kind::Auth, CONNECT).because(told(command))
        }
        ErrorKind::Command(command) => failed.because(told(command)).transient(PASSING.contains(&command.code)),
        ErrorKind::Io(error) => unreachable_by(error, peer),
        ErrorKind::ServerSelection { message, .. } => match distrust(message) {
            Some(cause) => failed.because(untrusted(peer, cause)).transient(false),
            None => failed.because(selection(message, peer)),
        },
        ErrorKind::DnsResolve { message, .. } => failed.because(format!("the name {}: {message}", peer.host)),
        ErrorKind::InvalidTlsConfig { message, .. } | ErrorKind::IncompatibleServer { message, .. } => {
            failed.because(message).transient(false)
        }
        other => failed.because(other),
    }
}

/// A network's failure before the driver had a connection.
pub fn unreachable_by(error: &io::Error, peer: &Peer) -> Error {
    let (text, passes) = match error.kind() {
        io::ErrorKind::InvalidData => (untrusted(peer, error), false),
        _ => network(error, peer, "tls and tlsCAFile in the connection string"),
    };
    Error::new(Kind::Connect, CONNECT).because(text).transient(passes)
}

fn untrusted(peer: &Peer, cause: impl std::fmt::Display) -> String {
    format!("TLS with {peer}: {cause}; check tls and tlsCAFile in the connection string")
}

/// What is wrong with a server's certificate, or that it speaks no TLS. The driver tries again until its time is over, and
/// then tells the same of this as of a server that is away.
fn distrust(message: &str) -> Option<&str> {
    let cause = message.split_once("I/O error: ")?.1;
    let cause = cause.split(", labels:").next().unwrap_or(cause);
    ["invalid peer certificate", "received corrupt message"]
        .iter()
        .any(|words| cause.starts_with(words))
        .then_some(cause)
}

/// The driver's words when its own time was over before a server said anything.
const SILENT: &str = "I/O error: timed out";

/// What kept the driver from choosing a server. It tells the state of all of them; the first failure among that is what
/// a user can do something about.
fn selection(message: &str, peer: &Peer) -> String {
    let first = message.split_once("Error: Kind: ").map(|(_, rest)| rest.split(", labels:").next().unwrap_or(rest));
    match first {
        Some(cause) if cause != SILENT => format!("{peer}: {cause}"),
        _ => format!("connect ETIMEDOUT {peer}: no server that can be read from answered in time"),
    }
}

/// Whether a cursor is lost, so that another can take its place.
pub fn is_lost_cursor(error: &Driver) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if LOST.contains(&command.code))
}

/// Whether the connection broke, so that asking on makes no sense.
pub fn is_cut(error: &Driver) -> bool {
    matches!(
        error.kind.as_ref(),
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::ServerSelection { .. }
    )
}

/// Whether the server says that there is no such collection.
pub fn is_unknown_collection(error: &Driver) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == 26)
}

/// The driver reported `error` while reading from `database`.
pub fn read(reading: &Reading<'_>, error: &Driver, database: &str) -> Error {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => refused(reading, command, database),
        ErrorKind::Authentication { message, .. } => Error::new(Kind::Auth, CONNECT).because(message),
        ErrorKind::Io(error) => reading.cut(error),
        ErrorKind::ServerSelection { message, .. } => {
            reading.failed().because(selection(message, reading.peer)).transient(true)
        }
        ErrorKind::ConnectionPoolCleared { .. } => {
            reading.failed().because(format!("the connection to {} broke", reading.peer)).transient(true)
        }
        // The driver's words for what it can't read may hold a piece of it.
        ErrorKind::Bson(_) | ErrorKind::BsonDeserialization(_) | ErrorKind::InvalidResponse { .. } => {
            reading.failed().because("the server's answer can't be read").transient(true)
        }
        other => reading.failed().because(other).transient(true),
    }
}

fn refused(reading: &Reading<'_>, command: &CommandError, database: &str) -> Error {
    match command.code {
        13 if reading.peer.user.is_empty() => Error::new(Kind::Auth, CONNECT)
            .because("the server asks for a user and a password; add them to the connection string"),
        13 => reading.failed().because(format!(
            "{}; run db.getSiblingDB({database}).grantRolesToUser({user}, [{{ role: \"read\", db: {database} }}]), or, \
             where the user is of another database, the same there",
            told(command),
            database = serde_json::Value::from(database),
            user = serde_json::Value::from(reading.peer.user.as_str()),
        )),
        code if REFUSED.contains(&code) => Error::new(Kind::Auth, CONNECT).because(told(command)),
        code => reading.failed().because(told(command)).transient(PASSING.contains(&code)),
    }
}

/// What the server said, as far as it speaks of commands and states: failures of computing may hold a document's values.
fn told(command: &CommandError) -> String {
    const SPEAKING: [i32; 9] = [2, 9, 13, 18, 26, 59, 73, 166, 292];
    let CommandError { code, code_name, message, .. } = command;
    if SPEAKING.contains(code) || PASSING.contains(code) || REFUSED.contains(code) {
        format!("{message} (code {code})")
    } else {
        format!("the server refused it: {code_name} (code {code})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { host: "db.example".to_owned(), port: Some(27_017), user: "reader".to_owned() }
    }

    #[test]
    fn network_failures_are_spelled_as_node_spells_them() {
        let refused = connect(&Driver::from(io::Error::from(io::ErrorKind::ConnectionRefused)), &peer());
        assert_eq!(
            refused.to_string(),
            "Failed to connect to external database: connect ECONNREFUSED db.example:27017"
        );
        assert!(refused.is_transient());
    }

    #[test]
    fn a_silent_server_is_told_alike_by_whichever_timer() {
        let silent = Driver::from(io::Error::from(io::ErrorKind::TimedOut));
        let told = selection(&format!("Server selection timeout: Topology: {{ Error: {silent} }}"), &peer());
        assert!(told.starts_with("connect ETIMEDOUT db.example:27017"), "{told}");
    }

    #[tokio::test]
    async fn no_secret_of_a_connection_string_is_told() {
        for uri in [
            "mongodb://user:sesame@host/db?tlsCertificateKeyFilePassword=sesame&tls=maybe",
            "mongodb://user:sesame@host/db?authMechanism=sesame",
            "mongodb://us%ZZer:sesame@host/db",
            "mongodb://user:sesame@host/db?authSource=sesame&nonsense=sesame",
        ] {
            if let Err(error) = mongodb::options::ClientOptions::parse(uri).await {
                let told = unusable(&error, uri);
                assert_eq!(told.kind(), Kind::Config, "{told}");
                assert!(!told.to_string().contains("sesame"), "{told}");
            }
        }
    }
}
