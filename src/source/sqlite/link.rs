//! The way to a database of SQLite's family: statements there, rows back.

use std::time::Duration;

use async_trait::async_trait;

use super::sql::Sql;
use crate::batch::Batch;
use crate::error::{Error, Kind};
use crate::source::peer::{CONNECT, Peer};
use crate::source::reading::Reading;

/// Why a statement brought no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The credentials are refused.
    Denied(String),
    /// There is nobody to talk to; `passes` when that may be different soon.
    Unreachable {
        /// In the network's words.
        cause: String,
        /// Whether trying again may help.
        passes: bool,
    },
    /// The connection broke, or what came was not complete.
    Cut(String),
    /// Nothing came for too long.
    Silent(Duration),
    /// The server can't answer now.
    Busy(String),
    /// The answer would be larger than anyone may send or take; one with fewer rows may be possible.
    TooLarge(String),
    /// The server asks to be left alone for a while.
    Limited {
        /// How long.
        wait: Duration,
        /// In the server's words.
        cause: String,
    },
    /// The statement is refused.
    Refused(String),
}

impl Fault {
    /// Whether an answer of fewer rows is more likely to arrive.
    pub const fn shrinks(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::Silent(_) | Self::Busy(_) | Self::TooLarge(_))
    }

    /// The fault in words that may be shown. A server's may repeat the secret it was sent (some show the whole request), and
    /// SQLite's quote what a filter or a view made of a row.
    #[must_use]
    pub fn discreet(self, secret: &str) -> Self {
        let discreet = |words| without_values(without_secret(words, secret));
        match self {
            Self::Denied(words) => Self::Denied(discreet(words)),
            Self::Unreachable { cause, passes } => Self::Unreachable { cause: discreet(cause), passes },
            Self::Cut(words) => Self::Cut(discreet(words)),
            Self::Silent(limit) => Self::Silent(limit),
            Self::Busy(words) => Self::Busy(discreet(words)),
            Self::TooLarge(words) => Self::TooLarge(discreet(words)),
            Self::Limited { wait, cause } => Self::Limited { wait, cause: discreet(cause) },
            Self::Refused(words) => Self::Refused(discreet(words)),
        }
    }

    /// The fault as users are told. `reached` says whether the server has answered before in this run: until it has, it
    /// is the connection that failed.
    pub fn told(self, reading: &Reading<'_>, reached: bool) -> Error {
        let failed = if reached { reading.failed() } else { Error::new(Kind::Connect, CONNECT) };
        match self {
            Self::Denied(cause) => Error::new(Kind::Auth, CONNECT).because(cause),
            Self::Unreachable { cause, passes } => Error::new(Kind::Connect, CONNECT).because(cause).transient(passes),
            Self::Cut(cause) | Self::Busy(cause) | Self::TooLarge(cause) => failed.because(cause).transient(true),
            Self::Silent(limit) if reached => reading.timeout(limit),
            Self::Silent(_) => crate::source::peer::connect_timeout(reading.peer),
            Self::Limited { wait, cause } => {
                let limited = Error::new(Kind::RateLimited, "The external database limits how often it is asked");
                limited.because(cause).after(wait)
            }
            Self::Refused(cause) => reading.because(cause),
        }
    }
}

/// The shortest text that is looked for: anything shorter is no secret, and is in the middle of many a word.
const LEAST_SECRET: usize = 4;

fn without_secret(words: String, secret: &str) -> String {
    if secret.len() < LEAST_SECRET {
        return words;
    }
    let mut words = words.replace(secret, "[secret]");
    // Long words were cut, maybe in the middle of it.
    let begun =
        (LEAST_SECRET..secret.len()).rev().find(|end| secret.get(..*end).is_some_and(|begun| words.ends_with(begun)));
    if let Some(length) = begun {
        words.truncate(words.len() - length);
    }
    words
}

fn without_values(words: String) -> String {
    /// What SQLite says before it quotes: a path into JSON, or a search.
    const QUOTING: [&str; 4] = ["bad JSON path", "JSON path error", "malformed MATCH expression", "fts5:"];
    let quote = QUOTING.iter().find_map(|phrase| words.find(phrase).map(|at| at + phrase.len()));
    match quote {
        Some(end) => format!("{} (what it quotes may be a value, and is left out)", &words[..end]),
        None => words,
    }
}

/// What a statement and its answer may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most values of a statement.
    pub values: usize,
    /// The most columns of an answer.
    pub columns: usize,
    /// How large an answer should become, in bytes.
    pub answer: usize,
}

impl Bounds {
    /// Those of D1 and of Durable Objects (<https://developers.cloudflare.com/d1/platform/limits/>). Requests are few and
    /// slow, so answers are large; two of them are held at a time, here and there.
    pub const CLOUDFLARE: Self = Self { values: 100, columns: 100, answer: 4 << 20 };
}

/// The way to one database. A link keeps no progress, and after any fault it is as good as a new one.
#[async_trait]
pub trait Link: Send {
    /// Where the database is.
    fn peer(&self) -> &Peer;

    /// What a statement and its answer may be.
    fn bounds(&self) -> Bounds;

    /// Prepares to be asked, and begins a consistent read where the database has one that hinders nobody.
    async fn begin(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Asks for the rows of one statement, whose `rows.width()` columns are called `c0` and so on, and adds them to `rows`.
    /// Every value arrives with its storage class and all its digits.
    async fn ask(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault>;

    /// Asks as [`ask`](Self::ask) does, where there is a faster way for many rows. If that one can't carry as many, the fault
    /// is `TooLarge`.
    async fn page(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault> {
        self.ask(sql, rows).await
    }

    /// Ends the consistent read.
    async fn end(&mut self) {}

    /// Ends everything.
    async fn close(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_without_what_they_repeat() {
        for (words, shown) in [
            ("Bearer hush-hush-hush: no", "Bearer [secret]: no"),
            ("hush-hush-hushhush-hush-hush", "[secret][secret]"),
            // Cut in the middle of it.
            ("you sent hush-hush-hu", "you sent "),
            ("no such table: hu", "no such table: hu"),
            (
                "bad JSON path: 'a value': SQLITE_ERROR",
                "bad JSON path (what it quotes may be a value, and is left out)",
            ),
        ] {
            let fault = Fault::Refused(words.to_owned()).discreet("hush-hush-hush");
            assert_eq!(fault, Fault::Refused(shown.to_owned()));
        }
        let fault = Fault::Denied("bad token".to_owned());
        assert_eq!(fault.clone().discreet(""), fault);
    }
}
