//! Waiting for drivers, and what sqlx's failures come to that are none of a server's own words.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use sqlx::Error as Driver;
use sqlx::error::DatabaseError;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::peer::{CONNECT, Peer, TRUST_BY_OPTIONS, network};
use super::reading::Reading;
use crate::error::{Error, Kind};

/// Waits for `answer` as long as `limit`. A driver's panic, at what no server of its kind says, is an answer like any other.
pub async fn answered<T>(limit: Duration, answer: impl Future<Output = T>) -> Result<std::thread::Result<T>, Elapsed> {
    let mut answer = pin!(AssertUnwindSafe(answer).catch_unwind());
    // A timer for every row would cost more than the row; most are there already.
    match answer.as_mut().now_or_never() {
        Some(answer) => Ok(answer),
        None => timeout(limit, answer).await,
    }
}

/// Waits for sqlx's answer. It panics at messages shorter than their type needs, as a server of another kind, a proxy or a
/// garbled connection sends them; that is an error like any other answer that can't be read.
pub async fn wait<T>(
    limit: Duration,
    answer: impl Future<Output = sqlx::Result<T>>,
) -> Result<sqlx::Result<T>, Elapsed> {
    answered(limit, answer).await.map(|answer| answer.unwrap_or_else(|_| Err(strange())))
}

/// Waits for the next of `items` as [`wait`] does; none are left after a failure.
pub async fn next<T>(
    limit: Duration,
    items: &mut Pin<Box<dyn Stream<Item = sqlx::Result<T>> + Send + '_>>,
) -> Result<sqlx::Result<Option<T>>, Elapsed> {
    wait(limit, async { items.next().await.transpose() }).await
}

fn strange() -> Driver {
    Driver::Protocol("a message was too short for its type".to_owned())
}

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
