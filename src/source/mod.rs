//! Databases to pull from: the contract every source keeps, and the list of them.

mod advice;
mod authorities;
mod driver;
pub(crate) mod peer;
mod reading;
mod sink;
mod sql;
pub(crate) mod text_time;
pub(crate) mod uuid7;

pub mod mongodb;
pub mod mysql;
pub mod postgres;
pub mod sqlite;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use crate::batch::{Key, Position};
use crate::config::SourceConfig;
use crate::error::{Error, Kind, Result};
use crate::replica::Replica;
use crate::schema::{KnownColumn, Table, TableName};

pub use sink::{BatchSink, Incoming, channel};

/// The moment a source's consistent read stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// What the source can later be asked to compare rows with (PostgreSQL: `pg_current_snapshot()`'s text); `None`
    /// where it has no such thing. Opaque to everyone but the source.
    pub snapshot: Option<String>,
}

/// How a consistent read stands to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not before it, as far as the source can tell.
    Later,
    /// Before it, on a standby that has yet to catch up.
    Lagging,
    /// Before it for good: the server took over without the last transactions, or was restored to an earlier moment.
    Lost,
}

/// Which rows of a table to read.
///
/// A row is *changed* when the saved `snapshot` could not see its present version; where the source can't tell
/// (`Table::sees_changes` is false, or no snapshot was saved) every row counts as changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Range {
    /// Every row with a key after `after`, each followed by no hidden cell; in key order where `after` is given or the
    /// source loads so ([`Source::loads_by_key`]).
    ByKey {
        /// The last key that was committed.
        after: Option<Key>,
    },
    /// Every row, in whatever order is cheapest.
    Whole,
    /// Every changed row, in whatever order is cheapest.
    Changed {
        /// The snapshot of the last complete run.
        snapshot: Option<String>,
    },
    /// Rows by their track value, in (track value, key) order; NULL track values are left out. Each row is followed by
    /// two hidden cells: its track value, and 1 when the position may move to this row (it lies after `after`, and its
    /// track value does not lie in the source's future), else 0.
    ByTrack {
        /// The stretch behind the position that is read again.
        part: TrackPart,
        /// Where the last complete run ended: the lookback reaches back from its track value.
        floor: Option<Position>,
        /// The position; `None` reads from the beginning.
        after: Option<Position>,
        /// The snapshot of the last complete run.
        snapshot: Option<String>,
        /// How far to look back.
        lookback: Lookback,
    },
    /// Every row whose values in `columns` take more than `bytes` in all, as the source keeps them. Values that are short by
    /// their nature, such as numbers and times, need not be counted. The server gives up soon after `Limits::query`.
    Large {
        /// Bytes.
        bytes: u64,
        /// Indexes into `Replica::columns`.
        columns: Vec<usize>,
    },
    /// The keys of every row, in whatever order is cheapest; cells are the key's alone.
    Keys,
    /// The keys of the rows without a track value, each followed by one hidden cell: 1 when the row is changed, else 0.
    /// Here, unlike elsewhere, a row counts as unchanged when the source can't tell.
    KeysWithoutTrack {
        /// The snapshot of the last complete run.
        snapshot: Option<String>,
    },
    /// The rows with these keys; those that are gone are left out.
    Lookup {
        /// At most 500 keys.
        keys: Vec<Key>,
    },
}

/// Which rows of a track range to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackPart {
    /// The changed rows of the lookback and every row after the position, in one go.
    All,
    /// The rows after the position only.
    Ahead,
    /// The changed rows from the lookback up to the position only.
    Behind,
}

/// How far a track range reaches back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lookback {
    /// Seconds, for track columns that tell a time.
    pub seconds: f64,
    /// The same for numbers.
    pub values: u64,
}

/// One read.
#[derive(Debug, Clone)]
pub struct ScanPlan<'a> {
    /// The table: which columns in which form.
    pub replica: &'a Replica,
    /// Which rows.
    pub range: Range,
    /// The most rows a batch may hold.
    pub batch_size: usize,
}

/// A table as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: TableName,
    /// Whether the configured role may read it.
    pub readable: bool,
}

/// A database to pull from.
///
/// Contract: a source keeps no progress. Between [`begin`](Self::begin) and [`end`](Self::end) every read sees one
/// consistent state where the source can give one. After an error the consistent read is over: the caller calls `begin`
/// again, which opens a new connection if the old one is unusable. Dropping a future of a source in the middle is
/// allowed and counts as an error. Session settings never depend on the server's or the role's.
#[async_trait]
pub trait Source: Send {
    /// Starts a consistent read, connecting first where there is no usable connection.
    ///
    /// # Errors
    /// `CONNECT` or `AUTH`, with the real cause.
    async fn begin(&mut self) -> Result<Moment>;

    /// How this consistent read stands to the one whose [`Moment::snapshot`] was `saved`.
    fn standing(&self, _saved: &str) -> Standing {
        Standing::Later
    }

    /// Where a name without a schema is looked for; `None` where the source has no schemas.
    fn default_schema(&self) -> Option<&str> {
        None
    }

    /// Whether tables are named with a schema; where they aren't, a dot belongs to the name.
    fn has_schemas(&self) -> bool {
        true
    }

    /// The base tables in every schema the user may see, system schemas left out, each once (no partitions).
    async fn tables(&mut self) -> Result<Vec<Listed>>;

    /// What the source knows of a table or view; `None` when there is none of that name. A name without a schema means
    /// the default schema. `known` is what earlier runs were told: a shape that was learnt from rows never shrinks.
    async fn describe(&mut self, name: &TableName, known: &[KnownColumn]) -> Result<Option<Table>>;

    /// Adds to `table`, which `describe` gave, those of `names` that it has all the same: a table that grows is described by
    /// some of its rows. To be called before [`compute`](Self::compute).
    async fn find_columns(&mut self, table: &mut Table, names: &BTreeSet<&str>) -> Result<()> {
        let _ = (table, names);
        Ok(())
    }

    /// Adds the columns of `select`, name and expression in the source's own SQL, to `table`, which `describe` gave.
    ///
    /// # Errors
    /// `CONFIG` where the source knows no such expressions, `SOURCE_READ` when one of them can't be computed.
    async fn compute(&mut self, table: &mut Table, select: &BTreeMap<String, String>) -> Result<()> {
        let _ = select;
        Err(Error::new(Kind::Config, format!("Table '{}' can't have columns by select", table.name))
            .because("this source has no expressions of SQL: leave select out"))
    }

    /// The greatest (track value, key) that doesn't lie in the source's future; `None` when no row has a track value,
    /// or when the table isn't tracked by columns.
    async fn high_water(&mut self, replica: &Replica) -> Result<Option<Position>>;

    /// The source's clock now, in milliseconds since 1970; `None` where it tells no time.
    async fn clock(&mut self) -> Result<Option<i64>>;

    /// Roughly how many rows `plan` would read, where the source can say so without reading them.
    async fn estimate(&mut self, plan: &ScanPlan<'_>) -> Result<Option<u64>>;

    /// Reads what `plan` asks for into `sink`, in batches of at most `plan.batch_size` rows, each row being the cells of
    /// `plan.replica.columns` (or of its key alone, as the range says) and then the range's hidden cells.
    ///
    /// # Errors
    /// `Error::reshaped` when a value doesn't fit the table as it was described; the rows before it are in the sink, and
    /// the consistent read goes on.
    async fn scan(&mut self, plan: &ScanPlan<'_>, sink: &mut BatchSink) -> Result<()>;

    /// Whether a load gives its rows in the key's order. Where it doesn't, a load that goes on where another one was cut
    /// compares keys at its end: rows before the position may be missing.
    fn loads_by_key(&self) -> bool {
        true
    }

    /// What would make reading this table's changes fast, as a statement the user can run; `None` when nothing is
    /// missing.
    fn advice(&self, replica: &Replica) -> Option<String>;

    /// Ends the consistent read and keeps the connection for the next run.
    async fn end(&mut self);

    /// Closes the connection.
    async fn close(self: Box<Self>);
}

/// A kind of source that can be connected to.
pub trait Connect: Sync {
    /// Whether this kind serves `config`.
    fn serves(&self, config: &SourceConfig) -> bool;

    /// A source for `config`, not connected yet.
    ///
    /// # Errors
    /// `CONFIG` when something in it can't be used, such as a CA file that isn't there.
    fn source(&self, config: &SourceConfig, limits: Limits) -> Result<Box<dyn Source>>;
}

/// How long a source may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To connect.
    pub connect: std::time::Duration,
    /// To answer: between a request and its first byte, and between two pieces of an answer.
    pub query: std::time::Duration,
}

/// How long a server may search ([`Range::Large`]), so that it does not go on when nobody waits any more: a little longer than
/// `limit`, and no longer than the settings for it take, which is 24 days.
pub fn longest_search(limit: std::time::Duration) -> std::time::Duration {
    let most = std::time::Duration::from_hours(24 * 24);
    (limit + std::time::Duration::from_secs(1)).min(most)
}

/// Every kind of source there is.
pub static ALL: &[&dyn Connect] = &[&postgres::Postgres, &mysql::Mysql, &mongodb::Mongodb, &sqlite::Family];
