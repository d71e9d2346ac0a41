//! Another StarbaseDB, over its own interface.

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::http::{Answer, Endpoint, body, one_line, secret};
use super::link::{Bounds, Fault, Link};
use super::rows;
use super::sql::Sql;
use super::value;
use crate::batch::Batch;
use crate::config::Secret;
use crate::error::{Error, Kind, Result};
use crate::source::Limits;
use crate::source::peer::Peer;

/// The way to a StarbaseDB.
pub struct StarbasedbLink {
    endpoint: Endpoint,
}

impl StarbasedbLink {
    /// To the instance at `uri`, which is asked when it is needed.
    pub fn new(uri: &str, token: &Secret, limits: Limits) -> Result<Self> {
        Ok(Self { endpoint: endpoint(uri, token, limits, ["source.uri", "source.token"])? })
    }
}

/// The StarbaseDB at `uri`; `options` are what the address and the token are called.
pub fn endpoint(uri: &str, token: &Secret, limits: Limits, options: [&str; 2]) -> Result<Endpoint> {
    let unusable = || Error::new(Kind::Config, format!("{} can't be used: it has no host", options[0]));
    let mut url = Url::parse(uri).map_err(|_| unusable())?;
    url.path_segments_mut().map_err(|()| unusable())?.pop_if_empty().extend(["query", "raw"]);
    let headers = [
        (AUTHORIZATION, secret(&format!("Bearer {}", token.0), options[1])?),
        // Its own rows, not those of a database that it is itself configured to pass questions on to.
        (HeaderName::from_static("x-starbase-source"), HeaderValue::from_static("internal")),
    ];
    Endpoint::new(url, headers, limits)
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    result: Option<Table<'a>>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Table<'a> {
    #[serde(borrow)]
    rows: &'a RawValue,
}

/// Adds the rows of an answer to `rows`.
pub fn read(answer: &Answer, peer: &Peer, rows: &mut Batch) -> Result<(), Fault> {
    rows::read::<value::Tagged>(raw_rows(answer, peer)?, rows, "StarbaseDB")
}

/// The rows of an answer as they came.
pub fn raw_rows<'a>(answer: &'a Answer, peer: &Peer) -> Result<&'a RawValue, Fault> {
    let said = serde_json::from_slice::<Said<'_>>(&answer.body).ok();
    if let (200, Some(Said { result: Some(table), .. })) = (answer.status, &said) {
        return Ok(table.rows);
    }
    let told = said.and_then(|said| said.error).unwrap_or_default();
    let refused = matches!(answer.status, 401 | 403) || told.contains("Unauthorized");
    Err(if refused {
        Fault::Denied(format!("StarbaseDB refuses the token (HTTP {})", answer.status))
    } else if told.contains("SQLITE_BUSY") || told.contains("SQLITE_LOCKED") {
        Fault::Busy(one_line(&told))
    } else if told.contains("string or blob too big") {
        Fault::Refused(format!(
            "{}; a Durable Object sends no value above 2 MB, and blobs count twice: leave the column out with \
             exclude_columns",
            one_line(&told)
        ))
    } else if told.contains("SQLITE_") {
        Fault::Refused(one_line(&told))
    } else if let Some(fault) = answer.fault(peer) {
        fault
    } else if answer.status == 200 {
        Fault::Cut(format!("{peer} answered something that is not StarbaseDB's, or not all of it"))
    } else if told.is_empty() || answer.status >= 500 {
        answer.strange(peer)
    } else {
        Fault::Refused(format!("{} (HTTP {})", answer.text(), answer.status))
    })
}

#[async_trait]
impl Link for StarbasedbLink {
    fn peer(&self) -> &Peer {
        &self.endpoint.peer
    }

    fn bounds(&self) -> Bounds {
        Bounds::CLOUDFLARE
    }

    async fn ask(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault> {
        let answer = self.endpoint.post(body(&value::kept(sql, rows.width()))).await?;
        read(&answer, &self.endpoint.peer, rows)
    }
}
