//! The way to a deployed StarbaseDB: statements there, and what their failures mean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::config::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::Limits;
use crate::source::sqlite::http::Endpoint;
use crate::source::sqlite::link::Fault;
use crate::source::sqlite::starbasedb;

/// The words for a StarbaseDB that can't be talked to.
const CONNECT: &str = "Failed to connect to target StarbaseDB";

/// The words for one that asks to be left alone for a while.
const LIMITED: &str = "The target StarbaseDB limits how often it is asked";

/// How often a request is sent again whose answer did not come.
const RESENDS: u32 = 4;

/// The wait before the first of them; it doubles from there.
const RESEND_AFTER: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 200 });

/// What our own triggers say, see `lease`.
pub(super) const LOST: &str = "data-sync: lease lost";
pub(super) const DONE: &str = "data-sync: done before";

/// A change: whose it is, and its number among all of them. One that comes late or twice is refused there.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) owner: String,
    pub(super) number: u64,
}

/// The way to one StarbaseDB.
pub(super) struct Remote {
    endpoint: Endpoint,
    token: Secret,
    /// Our name in the lease: random hexadecimal digits.
    pub(super) owner: String,
    /// The number of the last change.
    number: AtomicU64,
}

#[derive(Serialize)]
struct Request<'a> {
    sql: &'a str,
    params: &'a [Option<&'a str>],
}

/// The rows of an answer.
pub(super) type Rows = Vec<Vec<Value>>;

impl Remote {
    pub(super) fn new(url: &str, token: Secret, limits: Limits) -> Result<Self> {
        let endpoint = starbasedb::endpoint(url, &token, limits, ["target.url", "target.token"])?;
        Ok(Self { endpoint, token, owner: format!("{:032x}", fastrand::u128(..)), number: AtomicU64::new(0) })
    }

    /// Goes on with numbers after `number`, and says whether some of ours after it are still on their way.
    pub(super) fn number_after(&self, number: u64) -> bool {
        self.number.fetch_max(number, Ordering::Relaxed) > number
    }

    /// The next change.
    pub(super) fn next(&self) -> Turn {
        Turn { owner: self.owner.clone(), number: self.number.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// Runs the statements of `sql`; the parameters are the last one's, and so are the rows. A fault is in words that may be
    /// shown.
    pub(super) async fn try_ask(&self, sql: &str, params: &[Option<&str>]) -> Result<Rows, Fault> {
        self.send(sql, params).await.map_err(|fault| fault.discreet(&self.token.0))
    }

    async fn send(&self, sql: &str, params: &[Option<&str>]) -> Result<Rows, Fault> {
        let body = serde_json::to_string(&Request { sql, params })
            .map_err(|error| Fault::Refused(format!("a request can't be written as JSON: {error}")))?;
        let answer = self.endpoint.post(body).await?;
        let rows = starbasedb::raw_rows(&answer, &self.endpoint.peer)?;
        serde_json::from_str(rows.get()).map_err(|_| Fault::Cut(format!("{} answered no rows", self.endpoint.peer)))
    }

    /// Runs a statement that may run twice.
    pub(super) async fn ask(&self, sql: &str, params: &[Option<&str>], context: &str) -> Result<Rows> {
        self.ask_again(sql, params).await.map_err(|fault| Self::told(fault, context))
    }

    /// The same, and leaves it to the caller what the fault means.
    pub(super) async fn ask_again(&self, sql: &str, params: &[Option<&str>]) -> Result<Rows, Fault> {
        let mut resends = Resends::default();
        loop {
            match self.try_ask(sql, params).await {
                Err(fault) if resends.wait_after(&fault).await => {}
                outcome => return outcome,
            }
        }
    }

    /// The same as our turn, so that it is refused when somebody else's has come. Only for statements that do no harm when
    /// they run twice.
    pub(super) async fn change(&self, sql: &str, params: &[Option<&str>], context: &str) -> Result<Rows> {
        let mut resends = Resends::default();
        loop {
            match self.try_change(sql, params).await {
                Err(fault) if resends.wait_after(&fault).await => {}
                outcome => return outcome.map_err(|fault| Self::told(fault, context)),
            }
        }
    }

    /// Changes a table's shape, once. A statement that can't be accepted is a matter of the schema.
    pub(super) async fn change_shape(&self, sql: &str, context: &str) -> Result<()> {
        match self.try_change(sql, &[]).await {
            Ok(_) => Ok(()),
            Err(Fault::Refused(words)) if is_unfit(&words) => {
                Err(Error::new(Kind::Schema, context).because(plain(&words)))
            }
            Err(fault) => Err(Self::told(fault, context)),
        }
    }

    /// Runs statements as our turn. Each try has a number of its own: what comes late of an earlier one is refused.
    async fn try_change(&self, sql: &str, params: &[Option<&str>]) -> Result<Rows, Fault> {
        self.try_ask(&format!("{};{sql}", super::lease::guard(&self.next())), params).await
    }

    /// The fault as users are told; `context` says what was tried.
    pub(super) fn told(fault: Fault, context: &str) -> Error {
        let failed = || Error::new(Kind::TargetWrite, context);
        match fault {
            Fault::Denied(cause) => Error::new(Kind::Auth, CONNECT).because(cause),
            Fault::Unreachable { cause, passes } => Error::new(Kind::Connect, CONNECT).because(cause).transient(passes),
            Fault::Silent(limit) => failed()
                .because(format!("no answer for {} s; the option query_timeout sets this limit", limit.as_secs_f64()))
                .transient(true),
            Fault::Limited { wait, cause } => Error::new(Kind::RateLimited, LIMITED).because(cause).after(wait),
            Fault::Busy(cause) if cause.contains("SQLITE_BUSY") || cause.contains("SQLITE_LOCKED") => {
                Error::new(Kind::TargetBusy, context).because(cause)
            }
            Fault::Cut(cause) | Fault::Busy(cause) | Fault::TooLarge(cause) => failed().because(cause).transient(true),
            Fault::Refused(words) => refused(&words, context),
        }
    }

    /// A failure of a read through the source that reads StarbaseDB, in the words of a target.
    pub(super) fn of_target(error: &Error, context: &str) -> Error {
        let told = match error.kind() {
            Kind::Connect => Error::new(Kind::Connect, CONNECT),
            Kind::Auth => Error::new(Kind::Auth, CONNECT),
            Kind::RateLimited => Error::new(Kind::RateLimited, LIMITED),
            _ => Error::new(Kind::TargetWrite, context),
        };
        let told = told.transient(error.is_transient());
        let told = if let Some(wait) = error.wait() { told.after(wait) } else { told };
        if let Some(cause) = error.cause() { told.because(cause) } else { told }
    }
}

/// SQLite's words without the codes that follow them there.
pub(super) fn plain(words: &str) -> &str {
    words.split_once(": SQLITE_").map_or(words, |(words, _)| words)
}

/// Whether a refused statement is one that can't be accepted as such.
pub(super) fn is_unfit(words: &str) -> bool {
    words.contains("SQLITE_ERROR") && !words.contains(LOST)
}

fn refused(words: &str, context: &str) -> Error {
    if words.contains(LOST) {
        return Error::new(Kind::TargetBusy, "Another sync has taken over this StarbaseDB")
            .because(
                "this one was not heard of for too long; what it wrote is whole, and the next run goes on from there",
            )
            .transient(false);
    }
    let failed = Error::new(Kind::TargetWrite, context);
    // A trigger words its own message, which may quote the row.
    if words.contains("SQLITE_CONSTRAINT_TRIGGER") {
        return failed.because("a trigger on the table refused a row");
    }
    // Somebody dropped what this run made for itself; the next try makes it anew.
    failed.because(plain(words)).transient(words.contains("no such table: tmp_data_sync_"))
}

/// Sends again what got no answer, a few times.
#[derive(Default)]
struct Resends(u32);

impl Resends {
    /// Waits, and says whether to send again.
    async fn wait_after(&mut self, fault: &Fault) -> bool {
        if !fault.shrinks() || self.0 >= RESENDS {
            return false;
        }
        tokio::time::sleep(RESEND_AFTER * 2_u32.pow(self.0)).await;
        self.0 += 1;
        true
    }
}

/// The numbers in a JSON array that is the one cell of an answer's one row.
pub(super) fn numbers<const N: usize>(rows: &Rows) -> Option<[u64; N]> {
    let text = rows.first()?.first()?.as_str()?;
    let numbers: Vec<i64> = serde_json::from_str(text).ok()?;
    let numbers: Vec<u64> = numbers.into_iter().map(crate::target::state::unsigned).collect();
    numbers.try_into().ok()
}

/// The error for an answer that says something else than what was asked.
pub(super) fn strange(context: &str) -> Error {
    Error::new(Kind::TargetWrite, context)
        .because("StarbaseDB answered something else than what was asked")
        .transient(true)
}
