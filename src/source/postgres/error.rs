//! From the driver's failures to ours: which kind, whether waiting helps, and nothing that could be a row's value.

use sqlx::Error as Driver;
use sqlx::error::DatabaseError;

use crate::error::{Error, Kind};
use crate::source::driver;
use crate::source::peer::{CONNECT, Peer};
use crate::source::reading::Reading;

use super::literal::quote;

/// Connecting, or starting the consistent read, failed.
pub fn connect(error: &Driver, peer: &Peer) -> Error {
    driver::connect(error, peer, "PostgreSQL", |error| {
        let code = error.code().unwrap_or_default();
        let refused = matches!(&*code, "28P01" | "28000" | "42501");
        Error::new(if refused { Kind::Auth } else { Kind::Connect }, CONNECT)
            .because(cause(error))
            .transient(!refused && code != "3D000" && !code.starts_with("0A"))
    })
}

/// The driver reported `error` while reading.
pub fn read(reading: &Reading<'_>, error: &Driver) -> Error {
    driver::read(reading, error, refused)
}

fn refused(reading: &Reading<'_>, error: &dyn DatabaseError) -> Error {
    let code = error.code().unwrap_or_default();
    match (&*code, reading.table) {
        ("42P01", Some(table)) => {
            Error::new(Kind::TableNotFound, format!("Table '{table}' not found in external database"))
                .because(cause(error))
                .in_table(table)
        }
        ("42501", _) => {
            let advice = reading.name.map_or_else(String::new, |name| {
                let schema = name.schema.as_deref().unwrap_or("public");
                format!(
                    "; run GRANT USAGE ON SCHEMA {schema} TO {user} and GRANT SELECT ON {schema}.{table} TO {user}",
                    schema = quote(schema),
                    table = quote(&name.name),
                    user = quote(&reading.peer.user),
                )
            });
            reading.failed().because(format!("{}{advice}", cause(error)))
        }
        (code, _) => {
            let passes =
                matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "40001" | "40P01" | "25P03" | "25P04")
                    || code.starts_with("08");
            reading.failed().because(cause(error)).transient(passes)
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
        format!("the server refused a value, in where, in select or in a view (SQLSTATE {code})")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

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
        let error = read(&reading, &Driver::Io(io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(
            error.to_string(),
            "Failed to read table 'users' from external database: the server closed the connection"
        );
        assert!(error.is_transient());
        assert_eq!(error.table(), Some("users"));
    }
}
