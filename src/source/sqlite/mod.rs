//! SQLite and what is made of it: a file, Turso (libSQL), Cloudflare D1 and StarbaseDB.
//!
//! All of them run the same SQL, which is asked in pages: each page is one consistent read, and the next one begins behind the
//! last row. A run as a whole is consistent only where the link has a consistent read (a file with a write-ahead log). What
//! changes between two pages is read again: an update moves its track value behind the position, and the lookback covers what
//! was on its way.

pub(crate) mod catalog;
pub(crate) mod d1;
mod dial;
mod file;
pub(crate) mod hrana;
pub mod http;
pub(crate) mod link;
mod query;
pub(crate) mod rows;
mod sql;
pub(crate) mod starbasedb;
mod track;
mod turso;
pub(crate) mod value;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use self::link::{Fault, Link};
use self::query::{Cell, Mark, Pass, Query};
use self::sql::Sql;
use super::reading::{Reading, not_computed};
use super::{BatchSink, Connect, Limits, Listed, Moment, Range, ScanPlan, Source};
use crate::batch::{Batch, Position, Value, ValueRef};
use crate::config::{Secret, SourceConfig};
use crate::error::{Error, Kind, Result};
use crate::mapping::form::{Scalar, push_cell};
use crate::replica::Replica;
use crate::schema::{KnownColumn, SourceType, Table, TableName};

/// Rows of the first page, before anything is known of their size.
const FIRST_PAGE: usize = 2_000;

/// The most rows of a page.
const LARGEST_PAGE: usize = 100_000;

/// The fewest rows that a page shrinks to where connections break before larger ones are complete.
const SMALLEST_PAGE: usize = 10;

/// How much larger than the last one a page may be.
const GROWTH: usize = 16;

/// The kind of source that reads SQLite's family.
pub struct Family;

impl Connect for Family {
    fn serves(&self, config: &SourceConfig) -> bool {
        use SourceConfig::{D1, Sqlite, Starbasedb, Turso};
        matches!(config, Turso { .. } | D1 { .. } | Starbasedb { .. } | Sqlite { .. })
    }

    fn source(&self, config: &SourceConfig, limits: Limits) -> Result<Box<dyn Source>> {
        let link: Box<dyn Link> = match config {
            SourceConfig::Turso { uri, token } => Box::new(turso::TursoLink::new(uri, token.as_ref(), limits)?),
            SourceConfig::D1 { api_key, account_id, database_id, email, url } => {
                let (email, url) = (email.as_deref(), url.as_deref());
                let database = d1::Database { api_key, account_id, id: database_id, email, url };
                Box::new(d1::D1Link::new(&database, limits)?)
            }
            SourceConfig::Starbasedb { uri, token } => Box::new(starbasedb::StarbasedbLink::new(uri, token, limits)?),
            SourceConfig::Sqlite { path } => Box::new(file::FileLink::new(path.clone(), limits)),
            _ => return Err(Error::new(Kind::Internal, "This source is none of SQLite's family")),
        };
        let secret = match config {
            SourceConfig::Turso { token: Some(secret), .. }
            | SourceConfig::Starbasedb { token: secret, .. }
            | SourceConfig::D1 { api_key: secret, .. } => secret.clone(),
            _ => Secret(String::new()),
        };
        Ok(Box::new(SqliteSource::new(link, secret)))
    }
}

struct SqliteSource {
    link: Box<dyn Link>,
    /// What the database is told of us; empty where it asks for nothing.
    secret: Secret,
    /// Whether a consistent read is open, as far as there is one.
    reading: bool,
    /// Whether the database has answered since it was begun.
    reached: bool,
    /// Rows of the next page.
    page: usize,
    /// About how many rows tables have, asked once: it is only for people.
    extents: HashMap<TableName, Option<u64>>,
}

impl SqliteSource {
    fn new(link: Box<dyn Link>, secret: Secret) -> Self {
        Self { link, secret, reading: false, reached: false, page: FIRST_PAGE, extents: HashMap::new() }
    }

    fn told(&self, fault: Fault, replica: Option<&Replica>) -> Error {
        let reading = Reading {
            table: replica.map(|replica| replica.target.as_str()),
            name: replica.map(|replica| &replica.source.name),
            peer: self.link.peer(),
        };
        fault.discreet(&self.secret.0).told(&reading, self.reached)
    }

    /// Asks for `expressions` over `table`, of no row.
    async fn try_computing(&mut self, table: &Table, expressions: &[&str]) -> Result<(), Fault> {
        let sql = catalog::computed(&table.name.name, expressions);
        self.link.ask(&sql, &mut Batch::new(expressions.len())).await
    }

    /// Asks for rows of `width` cells.
    async fn ask(&mut self, sql: &Sql, width: usize, replica: Option<&Replica>) -> Result<Batch> {
        if !self.reading {
            return Err(self.told(Fault::Cut("the consistent read is over".to_owned()), replica));
        }
        let mut rows = Batch::new(width);
        self.link.ask(sql, &mut rows).await.map_err(|fault| self.told(fault, replica))?;
        self.reached = true;
        Ok(rows)
    }

    /// Reads `pass` into `sink`, page after page; the database is asked for the next one while this one is taken.
    async fn pass(&mut self, replica: &Replica, pass: &Pass, sink: &mut BatchSink) -> Result<()> {
        let bytes = self.link.bounds().answer;
        let width = pass.cells.len();
        let mut read = 0;
        // Rows of the table before this one may have been smaller.
        let usual = self.page.min(FIRST_PAGE);
        self.page = usual.min((bytes / pass.least).max(1));
        let mut spare = Batch::new(width);
        let mut rows = Batch::new(width);
        let mut mark = Mark::Start;
        let mut fault = page(&mut *self.link, pass, &mark, &mut self.page, &mut rows).await.err();
        loop {
            if let Some(fault) = fault {
                if fault.shrinks() {
                    self.page = (self.page / 4).max(SMALLEST_PAGE);
                }
                return Err(self.told(fault, Some(replica)));
            }
            self.reached = true;
            let count = rows.rows();
            read += count;
            let Some(last) = (count == self.page).then(|| count - 1) else { break };
            let next_mark = if pass.has_order() {
                Mark::After(pass.marks().map(|cell| rows.value(last, cell)).collect())
            } else {
                Mark::Rows(read)
            };
            if next_mark == mark {
                // Asked for what lies behind a row, it ended with that row: it would do so for ever.
                let again = "it sent the same rows again when it was asked for those behind them";
                return Err(self.told(Fault::Refused(again.to_owned()), Some(replica)));
            }
            mark = next_mark;
            let each = rows.size().div_ceil(count).max(1);
            self.page = (bytes / each).clamp(1, LARGEST_PAGE).min(self.page.saturating_mul(GROWTH));
            let mut next = std::mem::take(&mut spare);
            next.reset(width);
            let asked = page(&mut *self.link, pass, &mark, &mut self.page, &mut next);
            let (asked, taken) = tokio::join!(asked, take(replica, &pass.cells, &rows, sink));
            taken?;
            fault = asked.err();
            spare = std::mem::replace(&mut rows, next);
        }
        if pass.least > 1 {
            // The rows of other passes need not be as large.
            self.page = usual;
        }
        take(replica, &pass.cells, &rows, sink).await
    }
}

/// Asks for a page of at most `limit` rows, and lowers `limit` as long as an answer of so many would be too large.
async fn page(link: &mut dyn Link, pass: &Pass, mark: &Mark, limit: &mut usize, rows: &mut Batch) -> Result<(), Fault> {
    loop {
        let sql = pass.page(mark, *limit);
        match link.page(&sql, rows).await {
            Err(Fault::TooLarge(_)) => rows.reset(pass.cells.len()),
            answer => return answer,
        }
        if *limit == 1 {
            return link.ask(&sql, rows).await;
        }
        *limit = (*limit / 4).max(1);
    }
}

/// Puts rows as they came into `sink`.
async fn take(replica: &Replica, cells: &[Cell], rows: &Batch, sink: &mut BatchSink) -> Result<()> {
    let mut scratch = Vec::new();
    for row in 0..rows.rows() {
        let batch = sink.batch();
        for (cell, value) in cells.iter().zip(rows.row(row)) {
            let value = rows.resolve(*value);
            match (cell, value) {
                (Cell { key: Some(name), .. }, ValueRef::Null) => {
                    batch.drop_partial_row();
                    return Err(Error::new(
                        Kind::SourceRead,
                        format!("Table '{}' has a row whose key column '{name}' is NULL", replica.target),
                    )
                    .because(
                        "SQLite lets a key be NULL that isn't declared NOT NULL, and such rows can't be told apart; fill \
                         it, or name another key with primary_key",
                    )
                    .in_table(&replica.target));
                }
                (_, ValueRef::Null) => batch.push_null(),
                (Cell { converted: Some(sqlite), .. }, value) => {
                    let scalar = match value {
                        ValueRef::Int(value) => Scalar::Int(value),
                        ValueRef::Real(value) => Scalar::Float8(value),
                        ValueRef::Blob(blob) => Scalar::Bytes(blob),
                        ValueRef::Text(text) => Scalar::Text(text),
                        ValueRef::Null => Scalar::Text(b""),
                    };
                    push_cell(scalar, *sqlite, batch, &mut scratch);
                }
                (_, ValueRef::Int(value)) => batch.push_int(value),
                (_, ValueRef::Real(value)) => batch.push_real(value),
                (_, ValueRef::Text(text)) => batch.push_text(text),
                (_, ValueRef::Blob(blob)) => batch.push_blob(blob),
            }
        }
        sink.row_done().await?;
    }
    Ok(())
}

#[async_trait]
impl Source for SqliteSource {
    async fn begin(&mut self) -> Result<Moment> {
        self.reading = false;
        self.reached = false;
        self.link.begin().await.map_err(|fault| self.told(fault, None))?;
        self.reading = true;
        Ok(Moment { snapshot: None })
    }

    fn has_schemas(&self) -> bool {
        false
    }

    async fn tables(&mut self) -> Result<Vec<Listed>> {
        let rows = self.ask(&catalog::tables(), catalog::TABLES_WIDTH, None).await?;
        let names = (0..rows.rows()).filter_map(|row| match rows.value(row, 0) {
            Value::Text(name) => Some(Listed { name: TableName { schema: None, name }, readable: true }),
            _ => None,
        });
        Ok(names.collect())
    }

    async fn describe(&mut self, name: &TableName, _: &[KnownColumn]) -> Result<Option<Table>> {
        // A name with a dot may have been taken for one with a schema.
        let name = TableName { schema: None, name: name.to_string() };
        let rows = self.ask(&catalog::describe(&name.name), catalog::DESCRIBED_WIDTH, None).await?;
        let Some((mut table, has_rowid)) = catalog::table(&name.name, &rows) else { return Ok(None) };
        if has_rowid && !self.extents.contains_key(&name) {
            let rows = self.ask(&catalog::extent(&name.name), catalog::EXTENT_WIDTH, None).await?;
            let extent = (!rows.is_empty()).then(|| rows.value(0, 0));
            let extent = if let Some(Value::Int(rows)) = extent { u64::try_from(rows).ok() } else { Some(0) };
            self.extents.insert(name.clone(), extent);
        }
        table.estimated_rows = self.extents.get(&name).copied().flatten();
        Ok(Some(table))
    }

    async fn compute(&mut self, table: &mut Table, select: &BTreeMap<String, String>) -> Result<()> {
        // In one request, because some of these databases count them; one by one only to find out which is refused.
        let all: Vec<&str> = select.values().map(String::as_str).collect();
        match self.try_computing(table, &all).await {
            Err(Fault::Refused(words)) => {
                for (name, expression) in select {
                    if let Err(fault) = self.try_computing(table, &[expression]).await {
                        return Err(not_computed(table, name, &self.told(fault, None)));
                    }
                }
                return Err(self.told(Fault::Refused(words), None));
            }
            Err(fault) => return Err(self.told(fault, None)),
            Ok(()) => {}
        }
        for (name, expression) in select {
            // An expression has no type: each value keeps its own.
            table.compute(name, expression, String::new(), String::new(), SourceType::Bytes);
        }
        Ok(())
    }

    async fn high_water(&mut self, replica: &Replica) -> Result<Option<Position>> {
        let Some((sql, width)) = Query::new(replica, self.link.bounds())?.high_water() else { return Ok(None) };
        let rows = self.ask(&sql, width, Some(replica)).await?;
        let keys: Vec<usize> = (0..width - 1).collect();
        Ok((!rows.is_empty()).then(|| Position { track: rows.value(0, width - 1), key: rows.key(0, &keys) }))
    }

    async fn clock(&mut self) -> Result<Option<i64>> {
        let sql = Sql::plain("SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) AS c0");
        let rows = self.ask(&sql, 1, None).await?;
        let now = (!rows.is_empty()).then(|| rows.value(0, 0));
        Ok(if let Some(Value::Int(millis)) = now { Some(millis) } else { None })
    }

    async fn estimate(&mut self, plan: &ScanPlan<'_>) -> Result<Option<u64>> {
        let everything = matches!(plan.range, Range::Whole | Range::ByKey { after: None });
        Ok(plan.replica.source.estimated_rows.filter(|_| everything && plan.replica.filter.is_none()))
    }

    async fn scan(&mut self, plan: &ScanPlan<'_>, sink: &mut BatchSink) -> Result<()> {
        if !self.reading {
            return Err(self.told(Fault::Cut("the consistent read is over".to_owned()), Some(plan.replica)));
        }
        // What the rest of a statement may need, next to the keys that are looked up.
        let bounds = self.link.bounds();
        for pass in Query::new(plan.replica, bounds)?.range(&plan.range, bounds.values - 8)? {
            self.pass(plan.replica, &pass, sink).await?;
        }
        sink.flush().await
    }

    fn advice(&self, replica: &Replica) -> Option<String> {
        query::missing_index(replica)
    }

    async fn end(&mut self) {
        self.reading = false;
        self.link.end().await;
    }

    async fn close(self: Box<Self>) {
        self.link.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::schema::{Column, Relation, SourceType};
    use crate::source::channel;
    use crate::source::peer::Peer;

    /// Answers every question for a page with none or with a full one of the same row, and remembers how many it was asked for.
    struct Scripted {
        peer: Peer,
        is_full: bool,
        asked: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl Link for Scripted {
        fn peer(&self) -> &Peer {
            &self.peer
        }

        fn bounds(&self) -> link::Bounds {
            link::Bounds::CLOUDFLARE
        }

        async fn ask(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault> {
            let limit = sql.text.rsplit("LIMIT ").next().and_then(|limit| limit.parse().ok()).expect("a limit");
            self.asked.store(limit, Ordering::Relaxed);
            for _ in 0..if self.is_full { limit } else { 0 } {
                rows.push_int(7);
            }
            Ok(())
        }
    }

    fn scripted(is_full: bool) -> (SqliteSource, Arc<AtomicUsize>) {
        let peer = Peer { host: "127.0.0.1".to_owned(), port: None, user: String::new() };
        let asked = Arc::default();
        let link = Scripted { peer, is_full, asked: Arc::clone(&asked) };
        let source = SqliteSource::new(Box::new(link), Secret(String::new()));
        (SqliteSource { reading: true, ..source }, asked)
    }

    fn ids() -> Replica {
        let column = Column {
            name: "id".to_owned(),
            declared: "INTEGER".to_owned(),
            type_name: "integer".to_owned(),
            kind: SourceType::Int,
            nullable: false,
            on_request: false,
            expression: None,
        };
        let table = Table {
            name: TableName { schema: None, name: "t".to_owned() },
            relation: Relation::Table,
            columns: vec![column],
            key: vec!["id".to_owned()],
            key_collations: None,
            estimated_rows: None,
            indexes: Vec::new(),
            sees_changes: false,
            grows: false,
            numbered: false,
        };
        crate::tests::support::replica(table, &[], &BTreeMap::new())
    }

    #[tokio::test]
    async fn a_search_for_large_rows_asks_for_few() {
        let (mut source, asked) = scripted(false);
        let replica = ids();
        let (mut sink, _incoming) = channel(1, 500);
        for (range, limit) in [(Range::Large { bytes: 250_000, columns: vec![0] }, 16), (Range::Whole, FIRST_PAGE)] {
            let plan = ScanPlan { replica: &replica, range, batch_size: 500 };
            source.scan(&plan, &mut sink).await.expect("nothing is in the way");
            assert_eq!(asked.load(Ordering::Relaxed), limit);
        }
    }

    #[tokio::test]
    async fn pages_that_never_end_are_told() {
        let (mut source, _) = scripted(true);
        let replica = ids();
        let (mut sink, mut incoming) = channel(1, 500);
        let taker = tokio::spawn(async move { while incoming.next().await.is_some() {} });
        let plan = ScanPlan { replica: &replica, range: Range::ByKey { after: None }, batch_size: 500 };
        let error = source.scan(&plan, &mut sink).await.expect_err("it would go on for ever");
        assert!(error.to_string().contains("it sent the same rows again"), "{error}");
        assert!(!error.is_transient());
        drop(sink);
        taker.await.expect("the rows are taken");
    }
}
