//! What the failures of sqlx come to that are none of a server's own words.

use sqlx::Error as Driver;
use sqlx::error::DatabaseError;

use super::peer::{CONNECT, Peer, TRUST_BY_OPTIONS, network};
use super::reading::Reading;
use crate::error::{Error, Kind};

/// Connecting to `system`, or starting the consistent read, failed; `refused` reads what the server said.
pub fn connect(error: &Driver, peer: &Peer, system: &str, refused: impl FnOnce(&dyn DatabaseError) -> Error) -> Error {
    let failed = Error::new(Kind::Connect, CONNECT).transient(false);
    match error {
        Driver::Database(error) => refused(error.as_ref()),
        Driver::Io(error) => {
            let (text, transient) = network(error, peer, TRUST_BY_OPTIONS);
            failed.because(text).transient(transient)
        }
        Driver::Tls(error) => failed.because(format!("TLS with {peer}: {error}; check {TRUST_BY_OPTIONS}")),
        Driver::Protocol(text) => failed.because(format!("{peer} doesn't answer as {system} does: {text}")),
        // The driver's other failures (a certificate that can't be read, a password that can't be sent) stay as they are.
        error => failed.because(error),
    }
}

/// The driver reported `error` while reading; `refused` reads what the server said.
pub fn read(
    reading: &Reading<'_>,
    error: &Driver,
    refused: impl FnOnce(&Reading<'_>, &dyn DatabaseError) -> Error,
) -> Error {
    match error {
        Driver::Database(error) => refused(reading, error.as_ref()),
        Driver::Io(error) => reading.cut(error),
        error => reading.failed().because(error).transient(true),
    }
}
