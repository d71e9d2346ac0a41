//! Cloudflare D1 over its REST interface.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::http::{Answer, Endpoint, LONGEST_WAIT, body, one_line, secret};
use super::link::{Bounds, Fault, Link};
use super::rows;
use super::sql::Sql;
use super::value;
use crate::batch::Batch;
use crate::config::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::Limits;
use crate::source::peer::Peer;

/// Where Cloudflare is asked unless told otherwise.
const BASE: &str = "https://api.cloudflare.com";

/// The code of D1's own failures, whatever their cause.
const FAILED: i64 = 7500;

/// Which database of which account, and who asks.
pub struct Database<'a> {
    /// The API token, or the global key of the account with `email`.
    pub api_key: &'a Secret,
    /// The account.
    pub account_id: &'a str,
    /// The database's id.
    pub id: &'a str,
    /// The account's e-mail address.
    pub email: Option<&'a str>,
    /// Where Cloudflare is asked.
    pub url: Option<&'a str>,
}

/// The way to a database of D1.
pub struct D1Link {
    endpoint: Endpoint,
    /// Until when there is nothing left of what may be asked.
    spent: Option<Instant>,
}

impl D1Link {
    /// To a database, which is asked when it is needed.
    pub fn new(database: &Database<'_>, limits: Limits) -> Result<Self> {
        let unusable = || Error::new(Kind::Config, "source.url can't be used: it has no host");
        let mut url = Url::parse(database.url.unwrap_or(BASE)).map_err(|_| unusable())?;
        url.path_segments_mut().map_err(|()| unusable())?.pop_if_empty().extend([
            "client",
            "v4",
            "accounts",
            database.account_id,
            "d1",
            "database",
            database.id,
            "raw",
        ]);
        let key = &database.api_key.0;
        let headers = match database.email {
            Some(email) => vec![
                (HeaderName::from_static("x-auth-email"), secret(email, "source.email")?),
                (HeaderName::from_static("x-auth-key"), secret(key, "source.api_key")?),
            ],
            None => vec![(AUTHORIZATION, secret(&format!("Bearer {key}"), "source.api_key")?)],
        };
        Ok(Self { endpoint: Endpoint::new(url, headers, limits)?, spent: None })
    }
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(default)]
    success: bool,
    #[serde(default)]
    errors: Vec<Complaint>,
    #[serde(borrow, default)]
    result: Option<Vec<Outcome<'a>>>,
}

#[derive(Deserialize)]
struct Complaint {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow)]
    results: Table<'a>,
}

#[derive(Deserialize)]
struct Table<'a> {
    #[serde(borrow)]
    rows: &'a RawValue,
}

/// Adds the rows of an answer to `rows`.
pub fn read(answer: &Answer, peer: &Peer, rows: &mut Batch) -> Result<(), Fault> {
    if let Some(fault) = answer.fault(peer)
        && answer.status != 404
    {
        return Err(fault);
    }
    let Ok(said) = serde_json::from_slice::<Said<'_>>(&answer.body) else {
        return Err(if answer.status == 200 {
            Fault::Cut(format!("{peer} answered something that is not D1's, or not all of it"))
        } else {
            answer.strange(peer)
        });
    };
    if let (200, true, Some([outcome])) = (answer.status, said.success, said.result.as_deref()) {
        return rows::read::<value::Tagged>(outcome.results.rows, rows, "D1");
    }
    Err(complaint(answer, &said.errors, peer))
}

fn complaint(answer: &Answer, errors: &[Complaint], peer: &Peer) -> Fault {
    let Some(first) = errors.first() else { return answer.strange(peer) };
    let told = format!("{} (code {}, HTTP {})", one_line(&first.message), first.code, answer.status);
    match (answer.status, first.code) {
        (401 | 403, _) | (_, 10000 | 10001 | 9106 | 9109) => Fault::Denied(format!(
            "Cloudflare refuses the API key: {told}; it needs the right D1:Read for this account, and with source.email it \
             has to be the global key"
        )),
        (404, _) | (_, 7404) => {
            Fault::Unreachable { cause: format!("{told}; check the account's and the database's id"), passes: false }
        }
        (_, FAILED) if first.message.contains("string or blob too big") => Fault::Refused(format!(
            "{told}; D1 sends no value above 2 MB, and blobs count twice: leave the column out with exclude_columns"
        )),
        // What D1 itself says to try again: it was reset, is overloaded, or took longer than 30 s.
        (500.., _) => Fault::Busy(told),
        _ => Fault::Refused(told),
    }
}

/// How long there is nothing left of what may be asked, as the header says: `"default";r=50;t=30`.
fn spent(header: &str) -> Option<Duration> {
    let part = |name: &str| {
        let part = header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        part.and_then(|number| number.trim().parse::<u64>().ok())
    };
    (part("r")? == 0).then(|| part("t")).flatten().map(|wait| Duration::from_secs(wait).min(LONGEST_WAIT))
}

/// Until when nothing may be asked any more, as an answer says.
pub fn spent_until(answer: &Answer) -> Option<Instant> {
    answer.header("ratelimit").and_then(spent).map(|wait| Instant::now() + wait)
}

#[async_trait]
impl Link for D1Link {
    fn peer(&self) -> &Peer {
        &self.endpoint.peer
    }

    fn bounds(&self) -> Bounds {
        Bounds::CLOUDFLARE
    }

    async fn ask(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault> {
        // One question more, and D1 answers none for five minutes.
        if let Some(wait) = self.spent.and_then(|until| until.checked_duration_since(Instant::now())) {
            let cause =
                format!("all questions of this time are asked; the next one is free in {} s", wait.as_secs() + 1);
            return Err(Fault::Limited { wait, cause });
        }
        let answer = self.endpoint.post(body(&value::kept(sql, rows.width()))).await?;
        self.spent = spent_until(&answer);
        read(&answer, &self.endpoint.peer, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_from_the_header() {
        assert_eq!(spent("\"default\";r=50;t=30"), None);
        assert_eq!(spent("\"default\";r=0;t=30"), Some(Duration::from_secs(30)));
        assert_eq!(spent("\"default\"; r=0 ; t=7"), Some(Duration::from_secs(7)));
        // Later than any clock shows.
        assert_eq!(spent("\"default\";r=0;t=18446744073709551615"), Some(LONGEST_WAIT));
        assert_eq!(spent("limit=1200, remaining=0"), None);
    }
}
