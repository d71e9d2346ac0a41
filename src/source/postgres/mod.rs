//! PostgreSQL, read by `COPY … (FORMAT binary)` within one repeatable-read transaction a run.

mod array;
mod catalog;
mod connect;
pub(crate) mod copy;
mod error;
mod kind;
mod literal;
mod query;
mod snapshot;
mod track;
pub(crate) mod wire;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use tokio::time::timeout;

use self::catalog::{Details, Storage};
use self::copy::{Decoder, Step};
use self::query::{Query, Select};
use self::snapshot::Snapshot;
use super::peer::{Peer, connect_timeout};
use super::reading::Reading;
use super::{
    BatchSink, Connect, Limits, Listed, Moment, Range, ScanPlan, Source, Standing, channel, driver, longest_search,
};
use crate::batch::Position;
use crate::config::SourceConfig;
use crate::error::{Error, Kind, Result};
use crate::replica::Replica;
use crate::schema::{KnownColumn, Table, TableName};

/// Where a name without a schema is looked for unless the configuration says otherwise.
const DEFAULT_SCHEMA: &str = "public";

/// One round trip. Everything that values and comparisons depend on is pinned within the transaction, so that poolers
/// may give it any session; limits of the role's are lifted, because a first load may take long. A database without an
/// encoding sends its bytes as they are: asked for UTF-8 it would refuse whole tables for one cell. Compiling the catalog's
/// queries to machine code would take a hundred times what it saves.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
    SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; \
    SET LOCAL IntervalStyle = 'postgres'; SET LOCAL standard_conforming_strings = on; SET LOCAL bytea_output = 'hex'; \
    SET LOCAL extra_float_digits = 1; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off; SET LOCAL synchronize_seqscans = off; \
    SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.set_config('client_encoding', \
    CASE pg_catalog.current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END, true), \
    pg_catalog.pg_is_in_recovery()::text, \
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL \
    THEN pg_catalog.set_config('transaction_timeout', '0', true) END";

/// The correlation of a key with the place of its rows from which on a table counts as stored in the key's order.
const IN_ORDER: f32 = 0.95;

/// The kind of source that reads PostgreSQL.
pub struct Postgres;

impl Connect for Postgres {
    fn serves(&self, config: &SourceConfig) -> bool {
        matches!(config, SourceConfig::Postgresql(_))
    }

    fn source(&self, config: &SourceConfig, limits: Limits) -> Result<Box<dyn Source>> {
        let SourceConfig::Postgresql(server) = config else {
            return Err(Error::new(Kind::Internal, "This source is not PostgreSQL"));
        };
        let (options, peer) = connect::options(server)?;
        Ok(Box::new(PostgresSource {
            options,
            peer,
            limits,
            schema: server.schema.clone().unwrap_or_else(|| DEFAULT_SCHEMA.to_owned()),
            connection: None,
            moment: None,
            details: HashMap::new(),
            described: HashMap::new(),
        }))
    }
}

/// What holds for one consistent read.
#[derive(Debug, Clone, Copy, Default)]
struct Session {
    now: Option<Snapshot>,
    /// Whether the database's encoding is none, so that text may be anything.
    check_text: bool,
    /// Whether the planner was told to walk indexes instead of sorting.
    avoids_sort: bool,
    /// Whether the server follows another one.
    is_standby: bool,
}

struct PostgresSource {
    options: PgConnectOptions,
    peer: Peer,
    limits: Limits,
    schema: String,
    /// Taken out while it is used and put back when all went well: an error, or a future dropped in the middle of an
    /// answer, drops the connection too.
    connection: Option<PgConnection>,
    moment: Option<Session>,
    details: HashMap<TableName, Details>,
    described: HashMap<TableName, Described>,
}

/// A table as it was described, and what tells whether it still is.
struct Described {
    version: String,
    table: Table,
}

#[async_trait]
impl Source for PostgresSource {
    async fn begin(&mut self) -> Result<Moment> {
        self.moment = None;
        // The server, or a pooler, may have closed an idle connection since the last run.
        if let Some(connection) = self.connection.take()
            && let Ok(moment) = self.start(connection).await
        {
            return Ok(moment);
        }
        let connection = driver::wait(self.limits.connect, self.options.connect())
            .await
            .map_err(|_| connect_timeout(&self.peer))?
            .map_err(|error| error::connect(&error, &self.peer))?;
        self.start(connection).await
    }

    fn standing(&self, saved: &str) -> Standing {
        match self.moment {
            Some(Session { now: Some(now), is_standby, .. }) if now.is_before(saved) => {
                if is_standby {
                    Standing::Lagging
                } else {
                    Standing::Lost
                }
            }
            _ => Standing::Later,
        }
    }

    fn default_schema(&self) -> Option<&str> {
        Some(&self.schema)
    }

    async fn tables(&mut self) -> Result<Vec<Listed>> {
        let rows = self.ask(catalog::TABLES, None).await?;
        rows.iter()
            .map(|row| {
                let text = |index: usize| self.text(row, index);
                let name = TableName { schema: Some(text(0)?), name: text(1)? };
                Ok(Listed { name, readable: row.try_get::<&str, _>(2).is_ok_and(|answer| answer == "true") })
            })
            .collect()
    }

    async fn describe(&mut self, name: &TableName, _: &[KnownColumn]) -> Result<Option<Table>> {
        let schema = name.schema.as_ref().unwrap_or(&self.schema);
        let name = TableName { schema: Some(schema.clone()), name: name.name.clone() };
        let (version, describe) = (catalog::version(schema, &name.name), catalog::describe(schema, &name.name));
        let rows = self.ask(&version, None).await?;
        let version = rows.first().map(|row| self.text(row, 0)).transpose()?;
        if let (Some(version), Some(known)) = (&version, self.described.get(&name))
            && *version == known.version
        {
            return Ok(Some(known.table.clone()));
        }
        let rows = self.ask(&describe, None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let answer = self.text(row, 0)?;
        let (table, details) = catalog::table(name, &answer).map_err(|error| self.reading(None).because(error))?;
        let version = version.filter(|_| details.settled);
        self.details.insert(table.name.clone(), details);
        if let Some(version) = version {
            self.described.insert(table.name.clone(), Described { version, table: table.clone() });
        }
        Ok(Some(table))
    }

    async fn compute(&mut self, table: &mut Table, select: &BTreeMap<String, String>) -> Result<()> {
        for (name, expression) in select {
            let Some(from) = self.details.get(&table.name).map(|details| details.from.clone()) else { break };
            let asked = self.ask(&catalog::computed(expression, &from), None).await;
            let rows = asked.map_err(|error| super::reading::not_computed(table, name, &error))?;
            let answer = rows.first().map(|row| self.text(row, 0)).transpose()?.unwrap_or_default();
            let (declared, type_name, read_as) =
                catalog::computed_type(&answer).map_err(|error| self.reading(None).because(error))?;
            table.compute(name, expression, declared, type_name, read_as.kind.clone());
            if let Some(details) = self.details.get_mut(&table.name) {
                details.compute(name, read_as);
            }
        }
        Ok(())
    }

    async fn high_water(&mut self, replica: &Replica) -> Result<Option<Position>> {
        self.know(replica).await?;
        let Some(select) = self.query(replica)?.high_water()? else { return Ok(None) };
        let width = select.cells.len();
        // One row never fills a batch of two, so nobody has to take it.
        let (mut sink, _incoming) = channel(width, 2);
        self.copy(replica, select, &mut sink).await?;
        let batch = sink.batch();
        let keys: Vec<_> = (1..width).collect();
        Ok((!batch.is_empty()).then(|| Position { track: batch.value(0, 0), key: batch.key(0, &keys) }))
    }

    async fn clock(&mut self) -> Result<Option<i64>> {
        let rows = self.ask("SELECT trunc(extract(epoch FROM clock_timestamp()) * 1000)::bigint::text", None).await?;
        let text = rows.first().map(|row| self.text(row, 0)).transpose()?;
        Ok(text.and_then(|millis| millis.parse().ok()))
    }

    async fn estimate(&mut self, plan: &ScanPlan<'_>) -> Result<Option<u64>> {
        self.know(plan.replica).await?;
        let Some(select) = self.query(plan.replica)?.range(&plan.range)? else { return Ok(Some(0)) };
        let rows = self.ask(&format!("EXPLAIN (FORMAT JSON) {}", select.sql), Some(plan.replica)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        // It comes as json, which is text too.
        let answer: &str =
            row.try_get_unchecked(0).map_err(|error| error::read(&self.reading(Some(plan.replica)), &error))?;
        let explained: serde_json::Value =
            serde_json::from_str(answer).map_err(|error| self.reading(Some(plan.replica)).because(error))?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float's cast saturates")]
        Ok(explained.pointer("/0/Plan/Plan Rows").and_then(serde_json::Value::as_f64).map(|rows| rows as u64))
    }

    async fn scan(&mut self, plan: &ScanPlan<'_>, sink: &mut BatchSink) -> Result<()> {
        self.know(plan.replica).await?;
        let in_place = Range::Whole;
        let range = if self.is_stored_in_order(plan).await? { &in_place } else { &plan.range };
        let Some(select) = self.query(plan.replica)?.range(range)? else { return Ok(()) };
        self.prefer_indexes(select.by_key, plan.replica).await?;
        let is_search = matches!(plan.range, Range::Large { .. });
        if is_search {
            let millis = longest_search(self.limits.query).as_millis();
            self.ask(&format!("SET LOCAL statement_timeout = {millis}"), Some(plan.replica)).await?;
        }
        self.copy(plan.replica, select, sink).await?;
        if is_search {
            self.ask("SET LOCAL statement_timeout = 0", Some(plan.replica)).await?;
        }
        // What a lookup doesn't find is looked at again in the next run; elsewhere, rows that seem gone may be deleted.
        if !matches!(plan.range, Range::Lookup { .. }) {
            self.check_not_rewritten(plan.replica).await?;
        }
        sink.flush().await
    }

    fn loads_by_key(&self) -> bool {
        false
    }

    fn advice(&self, replica: &Replica) -> Option<String> {
        query::missing_index(replica, self.details.get(&replica.source.name))
    }

    async fn end(&mut self) {
        self.moment = None;
        // Whatever fails here leaves no connection, and the next `begin` makes one.
        if let Some(mut connection) = self.connection.take() {
            let rolled_back = simple(&mut connection, "ROLLBACK", self.limits.query).await;
            if matches!(rolled_back, Ok(Ok(_))) {
                self.connection = Some(connection);
            }
        }
    }

    async fn close(mut self: Box<Self>) {
        if let Some(connection) = self.connection.take() {
            // The server notices either way.
            let _ = timeout(self.limits.connect, connection.close()).await;
        }
    }
}

/// Sends `sql` as a simple query and collects its rows.
async fn simple(
    connection: &mut PgConnection,
    sql: &str,
    limit: Duration,
) -> Result<sqlx::Result<Vec<PgRow>>, tokio::time::error::Elapsed> {
    driver::wait(limit, sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection)).await
}

impl PostgresSource {
    /// Starts the consistent read on `connection` and keeps it.
    async fn start(&mut self, mut connection: PgConnection) -> Result<Moment> {
        let rows = simple(&mut connection, BEGIN, self.limits.connect)
            .await
            .map_err(|_| connect_timeout(&self.peer))?
            .map_err(|error| error::connect(&error, &self.peer))?;
        let Some(row) = rows.first() else {
            return Err(Error::new(Kind::Connect, "Failed to connect to external database")
                .because(format!("{} gave no snapshot", self.peer)));
        };
        let snapshot = self.text(row, 0)?;
        let check_text = self.text(row, 1)? == "SQL_ASCII";
        let is_standby = self.text(row, 2)? == "true";
        self.moment = Some(Session { now: Snapshot::parse(&snapshot), check_text, avoids_sort: false, is_standby });
        self.connection = Some(connection);
        Ok(Moment { snapshot: Some(snapshot) })
    }

    fn reading<'a>(&'a self, replica: Option<&'a Replica>) -> Reading<'a> {
        Reading {
            table: replica.map(|replica| replica.target.as_str()),
            name: replica.map(|replica| &replica.source.name),
            peer: &self.peer,
        }
    }

    fn text(&self, row: &PgRow, index: usize) -> Result<String> {
        row.try_get(index).map_err(|error| error::read(&self.reading(None), &error))
    }

    /// The connection, within a consistent read.
    fn take_connection(&mut self, replica: Option<&Replica>) -> Result<PgConnection> {
        let connection = self.moment.and_then(|_| self.connection.take());
        connection.ok_or_else(|| self.reading(replica).because("the consistent read is over").transient(true))
    }

    async fn ask(&mut self, sql: &str, replica: Option<&Replica>) -> Result<Vec<PgRow>> {
        let mut connection = self.take_connection(replica)?;
        let rows = simple(&mut connection, sql, self.limits.query)
            .await
            .map_err(|_| self.reading(replica).timeout(self.limits.query))?
            .map_err(|error| error::read(&self.reading(replica), &error))?;
        self.connection = Some(connection);
        Ok(rows)
    }

    /// Makes sure that the details of `replica`'s table are known.
    async fn know(&mut self, replica: &Replica) -> Result<()> {
        let name = &replica.source.name;
        if self.details.contains_key(name) || self.describe(name, &[]).await?.is_some() {
            return Ok(());
        }
        let message = format!("Table '{}' not found in external database", replica.target);
        Err(Error::new(Kind::TableNotFound, message).in_table(&replica.target))
    }

    fn query<'a>(&'a self, replica: &'a Replica) -> Result<Query<'a>> {
        let Some(details) = self.details.get(&replica.source.name) else {
            return Err(self.reading(Some(replica)).because("nothing is known of it"));
        };
        Query::new(replica, details, self.moment.and_then(|session| session.now))
    }

    /// Whether a load may read the table as it is stored, because that is in the key's order or nearly so: it takes the
    /// server a third less than walking the key's index. Where the key says nothing of a row's place, the target would
    /// pay for it: its own index would grow all over.
    async fn is_stored_in_order(&mut self, plan: &ScanPlan<'_>) -> Result<bool> {
        let (Range::ByKey { after: None }, Some(first)) = (&plan.range, plan.replica.key.first()) else {
            return Ok(false);
        };
        let table = &plan.replica.source;
        let schema = table.name.schema.as_ref().unwrap_or(&self.schema);
        let column = &table.columns[plan.replica.columns[*first].source].name;
        let rows = self.ask(&catalog::correlation(schema, &table.name.name, column), Some(plan.replica)).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        Ok(self.text(row, 0)?.parse().is_ok_and(|correlation: f32| correlation >= IN_ORDER))
    }

    /// Walking the key's index gives the first rows at once; sorting a large table first would need its size on the
    /// source's disk.
    async fn prefer_indexes(&mut self, avoid_sort: bool, replica: &Replica) -> Result<()> {
        if self.moment.is_some_and(|session| session.avoids_sort != avoid_sort) {
            let sql = if avoid_sort { "SET LOCAL enable_sort = off" } else { "SET LOCAL enable_sort TO DEFAULT" };
            self.ask(sql, Some(replica)).await?;
            if let Some(session) = &mut self.moment {
                session.avoids_sort = avoid_sort;
            }
        }
        Ok(())
    }

    /// Reads the rows of `select` into `sink`; leaves the last batch in it.
    async fn copy(&mut self, replica: &Replica, select: Select, sink: &mut BatchSink) -> Result<()> {
        let mut connection = self.take_connection(Some(replica))?;
        let (limit, reading) = (self.limits.query, self.reading(Some(replica)));
        let mut decoder = Decoder::new(select.cells, self.moment.is_some_and(|session| session.check_text));
        let sql = format!("COPY ({}) TO STDOUT (FORMAT binary)", select.sql);
        let mut pieces = driver::wait(limit, connection.copy_out_raw(&sql))
            .await
            .map_err(|_| reading.timeout(limit))?
            .map_err(|error| error::read(&reading, &error))?;
        let mut carry = Vec::new();
        loop {
            let piece = driver::next(limit, &mut pieces).await.map_err(|_| reading.timeout(limit))?;
            let Some(piece) = piece.map_err(|error| error::read(&reading, &error))? else { break };
            let split = !carry.is_empty();
            if split {
                carry.extend_from_slice(&piece);
            }
            let input: &[u8] = if split { &carry } else { &piece };
            let mut at = 0;
            loop {
                match decoder.step(&input[at..], sink.batch()).map_err(|error| error.in_table(&replica.target))? {
                    Step::More => break,
                    Step::Passed(length) => at += length,
                    Step::Row(length) => {
                        at += length;
                        sink.row_done().await?;
                    }
                }
            }
            if split {
                carry.drain(..at);
            } else {
                carry.extend_from_slice(&piece[at..]);
            }
        }
        drop(pieces);
        if !decoder.is_complete() || !carry.is_empty() {
            return Err(reading.because("the answer ended early").transient(true));
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// A table that was truncated or rewritten after the consistent read began looks empty to it. Reading holds a lock
    /// that keeps such statements out, so it is enough to look once, afterwards.
    async fn check_not_rewritten(&mut self, replica: &Replica) -> Result<()> {
        let Some(details) =
            self.details.get(&replica.source.name).filter(|details| details.storage != Storage::Elsewhere)
        else {
            return Ok(());
        };
        let oid = details.oid;
        let sql = format!(
            "SELECT FROM pg_catalog.pg_class c \
             WHERE (c.oid = {oid} OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree({oid}))) \
             AND c.relkind IN ('r', 'm') AND c.relfilenode <> 0 \
             AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid) LIMIT 1"
        );
        if self.ask(&sql, Some(replica)).await?.is_empty() {
            return Ok(());
        }
        Err(self.reading(Some(replica)).because("it was rewritten while it was being read").transient(true))
    }
}
