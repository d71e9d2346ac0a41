//! MySQL and MariaDB, read by prepared statements within one consistent snapshot a run.

mod catalog;
mod connect;
mod error;
pub(crate) mod kind;
mod query;
mod sql;
mod track;
pub(crate) mod value;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlStatement};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _,
    Statement as _, TypeInfo as _,
};
use tokio::time::timeout;

use self::catalog::{Answer, Details};
use self::query::{Query, Select};
use self::sql::{Sql, arguments};
use self::value::Decoder;
use super::peer::{Peer, connect_timeout};
use super::reading::Reading;
use super::{BatchSink, Connect, Limits, Listed, Moment, Range, ScanPlan, Source, channel, driver, longest_search};
use crate::batch::Position;
use crate::config::SourceConfig;
use crate::error::{Error, Kind, Result};
use crate::replica::Replica;
use crate::schema::{KnownColumn, Table, TableName};

/// Everything that values and comparisons depend on, then the consistent read. The mode lets constants be any date that
/// a table may hold, and a backslash escape in them. Limits that a first load would meet are lifted: the server ends a
/// statement whose reader is slow, and some end it whatever it does (each brand takes its own variable for that).
const START: &str = "SET NAMES utf8mb4; \
    SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES', sql_auto_is_null = 0, \
    sql_select_limit = 18446744073709551615, sql_big_selects = 1, net_write_timeout = 3600 \
    /*!50708 , max_execution_time = 0 */ /*M!100101 , max_statement_time = 0 */; \
    SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
    START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// From when on rows may have been written that are not committed yet: the beginning of the oldest transaction that
/// writes, or is in the middle of a statement and may. Asked before the consistent read begins; the server's figures may
/// be a tenth of a second old, and its times are in whole seconds of its own zone.
const OLDEST: &str = "SET SESSION time_zone = 'SYSTEM'; \
    SELECT DATE_FORMAT(UTC_TIMESTAMP(6) - INTERVAL \
    2 + COALESCE(MAX(GREATEST(UNIX_TIMESTAMP() - UNIX_TIMESTAMP(trx_started), 0)), 0) SECOND, \
    '%Y-%m-%d %H:%i:%s.%f') FROM information_schema.innodb_trx \
    WHERE trx_mysql_thread_id <> CONNECTION_ID() AND (trx_rows_modified > 0 OR trx_state = 'LOCK WAIT' \
    OR trx_query IS NOT NULL AND trx_autocommit_non_locking = 0)";

/// Has the server end statements that take longer than `limit`; with none, it ends no statement. One of the settings is there
/// in any case, because without any the statement would be none.
fn limit_statements(limit: Duration) -> String {
    format!(
        "SET SESSION sql_auto_is_null = 0 /*!50708 , max_execution_time = {} */ /*M!100101 , max_statement_time = {} */",
        limit.as_millis(),
        limit.as_secs_f64()
    )
}

/// The kind of source that reads MySQL and MariaDB.
pub struct Mysql;

impl Connect for Mysql {
    fn serves(&self, config: &SourceConfig) -> bool {
        matches!(config, SourceConfig::Mysql(_))
    }

    fn source(&self, config: &SourceConfig, limits: Limits) -> Result<Box<dyn Source>> {
        let SourceConfig::Mysql(server) = config else {
            return Err(Error::new(Kind::Internal, "This source is not MySQL"));
        };
        let server = connect::server(server)?;
        Ok(Box::new(MysqlSource {
            options: server.options,
            peer: server.peer,
            schema: server.schema,
            limits,
            connection: None,
            reading: false,
            sees_transactions: true,
            details: HashMap::new(),
            wide: HashSet::new(),
        }))
    }
}

struct MysqlSource {
    options: MySqlConnectOptions,
    peer: Peer,
    schema: String,
    limits: Limits,
    /// Taken out while it is used and put back when all went well: an error, or a future dropped in the middle of an
    /// answer, drops the connection too.
    connection: Option<MySqlConnection>,
    /// Whether a consistent read is open.
    reading: bool,
    /// Whether the role may see which transactions are open; assumed until the server says no.
    sees_transactions: bool,
    details: HashMap<TableName, Details>,
    /// The columns that were seen to hold integers beyond SQLite's.
    wide: HashSet<(TableName, String)>,
}

#[async_trait]
impl Source for MysqlSource {
    async fn begin(&mut self) -> Result<Moment> {
        self.reading = false;
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

    fn default_schema(&self) -> Option<&str> {
        Some(&self.schema)
    }

    async fn tables(&mut self) -> Result<Vec<Listed>> {
        let rows = self.ask(catalog::TABLES, None).await?;
        let listed = rows.into_iter().filter_map(|row| match row.as_slice() {
            [Some(schema), Some(name), readable] => Some(Listed {
                name: TableName { schema: Some(schema.clone()), name: name.clone() },
                readable: readable.as_deref() == Some("1"),
            }),
            _ => None,
        });
        Ok(listed.collect())
    }

    async fn describe(&mut self, name: &TableName, known: &[KnownColumn]) -> Result<Option<Table>> {
        let schema = name.schema.as_ref().unwrap_or(&self.schema).clone();
        let answer = self.ask(&catalog::describe(&schema, &name.name), None).await?;
        let name = TableName { schema: Some(schema), name: name.name.clone() };
        let wide = |column: &str| self.wide.contains(&(name.clone(), column.to_owned()));
        let Some((table, details)) = catalog::table(name.clone(), &answer, known, wide) else { return Ok(None) };
        self.details.insert(name, details);
        Ok(Some(table))
    }

    async fn compute(&mut self, table: &mut Table, select: &BTreeMap<String, String>) -> Result<()> {
        for (name, expression) in select {
            let Some(relation) = self.details.get(&table.name).map(|details| details.relation.clone()) else { break };
            // A line end, so that a comment at its end hides nothing of ours. As a condition, too: there the server refuses
            // what says nothing of a row by itself; one aggregate would make one row of all.
            let sql = format!("SELECT ({expression}\n) FROM {relation} WHERE ({expression}\n) IS NULL");
            let mut connection = self.take_connection(None)?;
            let prepared = driver::wait(self.limits.query, connection.prepare(AssertSqlSafe(sql).into_sql_str()))
                .await
                .map_err(|_| self.reading(None).timeout(self.limits.query))?;
            let name_of = |statement: &MySqlStatement| statement.columns()[0].type_info().name().to_owned();
            let kind = prepared.map(|statement| name_of(&statement)).map_err(|error| {
                super::reading::not_computed(table, name, &error::read(&self.reading(None), &error))
            })?;
            self.connection = Some(connection);
            // A statement that is only prepared doesn't tell text from bytes; of no row, a value is NULL and still has its
            // character set.
            let charset = format!("SELECT CHARSET((SELECT ({expression}\n) FROM {relation} LIMIT 0))");
            let answer = self.ask(&charset, None).await?;
            let is_text = answer.first().and_then(|row| row.first()?.as_deref()).is_some_and(|name| name != "binary");
            let (declared, type_name, read_as) = catalog::computed_type(&kind, is_text);
            table.compute(name, expression, declared, type_name, read_as.kind.clone());
            if let Some(details) = self.details.get_mut(&table.name) {
                details.compute(name, read_as);
            }
        }
        Ok(())
    }

    async fn high_water(&mut self, replica: &Replica) -> Result<Option<Position>> {
        let Some(select) = self.query(replica)?.high_water()? else { return Ok(None) };
        let width = select.cells.len();
        // One row never fills a batch of two, so nobody has to take it.
        let (mut sink, _incoming) = channel(width, 2);
        self.read(replica, select, &mut sink).await?;
        let batch = sink.batch();
        let keys: Vec<_> = (1..width).collect();
        Ok((!batch.is_empty()).then(|| Position { track: batch.value(0, 0), key: batch.key(0, &keys) }))
    }

    async fn clock(&mut self) -> Result<Option<i64>> {
        let rows = self.ask("SELECT FLOOR(UNIX_TIMESTAMP(SYSDATE(3)) * 1000)", None).await?;
        let text = rows.first().and_then(|row| row.first()?.as_deref());
        Ok(text.and_then(|millis| millis.parse().ok()))
    }

    async fn estimate(&mut self, plan: &ScanPlan<'_>) -> Result<Option<u64>> {
        if matches!(plan.range, Range::Whole | Range::ByKey { after: None }) && plan.replica.filter.is_none() {
            return Ok(plan.replica.source.estimated_rows);
        }
        let Some(mut select) = self.query(plan.replica)?.range(&plan.range)? else { return Ok(Some(0)) };
        select.sql = Sql::plain("EXPLAIN ").then(select.sql);
        let rows = self.fetch(plan.replica, &select.sql).await?;
        // One row a table of a view; the largest figure tells the most.
        Ok(rows.iter().filter_map(explained_rows).max())
    }

    async fn scan(&mut self, plan: &ScanPlan<'_>, sink: &mut BatchSink) -> Result<()> {
        let Some(select) = self.query(plan.replica)?.range(&plan.range)? else { return Ok(()) };
        let is_search = matches!(plan.range, Range::Large { .. });
        if is_search {
            self.ask(&limit_statements(longest_search(self.limits.query)), Some(plan.replica)).await?;
        }
        let outgrown = self.read(plan.replica, select, sink).await?;
        if is_search {
            self.ask(&limit_statements(Duration::ZERO), Some(plan.replica)).await?;
        }
        sink.flush().await?;
        if outgrown.is_empty() {
            return Ok(());
        }
        let table = &plan.replica.source.name;
        self.wide.extend(outgrown.into_iter().map(|column| (table.clone(), column)));
        Err(Error::reshaped(&plan.replica.target))
    }

    fn advice(&self, replica: &Replica) -> Option<String> {
        query::missing_index(replica)
    }

    async fn end(&mut self) {
        self.reading = false;
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

/// Sends `sql` as text and collects the rows of all its statements, every cell as text.
async fn simple(
    connection: &mut MySqlConnection,
    sql: &str,
    limit: Duration,
) -> Result<sqlx::Result<Vec<Answer>>, tokio::time::error::Elapsed> {
    let rows = driver::wait(limit, sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection)).await?;
    Ok(rows.map(|rows| rows.iter().map(answer).collect()))
}

fn answer(row: &MySqlRow) -> Answer {
    let cell = |index: usize| {
        let bytes = value::bytes(row.try_get_raw(index).ok()?)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    (0..row.len()).map(cell).collect()
}

/// The figure in the column `rows` of EXPLAIN, which is a number or its digits.
fn explained_rows(row: &MySqlRow) -> Option<u64> {
    let bytes = value::bytes(row.try_get_raw("rows").ok()?)?;
    match std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()) {
        Some(rows) => Some(rows),
        None => Some(u64::from_le_bytes(bytes.try_into().ok()?)),
    }
}

impl MysqlSource {
    /// Starts the consistent read on `connection` and keeps it.
    async fn start(&mut self, mut connection: MySqlConnection) -> Result<Moment> {
        let limit = self.limits.connect;
        let mut oldest = None;
        if self.sees_transactions {
            match simple(&mut connection, OLDEST, limit).await.map_err(|_| connect_timeout(&self.peer))? {
                Ok(rows) => oldest = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()),
                Err(error) if error::is_denied(&error) => self.sees_transactions = false,
                Err(error) => return Err(error::connect(&error, &self.peer)),
            }
        }
        let started = simple(&mut connection, START, limit).await;
        started.map_err(|_| connect_timeout(&self.peer))?.map_err(|error| error::connect(&error, &self.peer))?;
        self.connection = Some(connection);
        self.reading = true;
        Ok(Moment { snapshot: oldest })
    }

    fn reading<'a>(&'a self, replica: Option<&'a Replica>) -> Reading<'a> {
        Reading {
            table: replica.map(|replica| replica.target.as_str()),
            name: replica.map(|replica| &replica.source.name),
            peer: &self.peer,
        }
    }

    /// The connection, within a consistent read.
    fn take_connection(&mut self, replica: Option<&Replica>) -> Result<MySqlConnection> {
        let connection = if self.reading { self.connection.take() } else { None };
        connection.ok_or_else(|| self.reading(replica).because("the consistent read is over").transient(true))
    }

    async fn ask(&mut self, sql: &str, replica: Option<&Replica>) -> Result<Vec<Answer>> {
        let mut connection = self.take_connection(replica)?;
        let rows = simple(&mut connection, sql, self.limits.query)
            .await
            .map_err(|_| self.reading(replica).timeout(self.limits.query))?
            .map_err(|error| error::read(&self.reading(replica), &error))?;
        self.connection = Some(connection);
        Ok(rows)
    }

    /// Collects the rows of a statement with parameters.
    async fn fetch(&mut self, replica: &Replica, sql: &Sql) -> Result<Vec<MySqlRow>> {
        let mut connection = self.take_connection(Some(replica))?;
        let reading = self.reading(Some(replica));
        let arguments = arguments(sql).map_err(|error| error::read(&reading, &error))?;
        let query = sqlx::query_with(AssertSqlSafe(sql.text.as_str()), arguments).persistent(false);
        let rows = driver::wait(self.limits.query, query.fetch_all(&mut connection))
            .await
            .map_err(|_| reading.timeout(self.limits.query))?
            .map_err(|error| error::read(&reading, &error))?;
        self.connection = Some(connection);
        Ok(rows)
    }

    fn query<'a>(&'a self, replica: &'a Replica) -> Result<Query<'a>> {
        let Some(details) = self.details.get(&replica.source.name) else {
            return Err(self.reading(Some(replica)).because("nothing is known of it"));
        };
        Query::new(replica, details)
    }

    /// Reads the rows of `select` into `sink` and leaves the last batch in it. From the first row that doesn't fit on,
    /// rows are only looked at; gives the columns that didn't hold them.
    async fn read(&mut self, replica: &Replica, select: Select, sink: &mut BatchSink) -> Result<Vec<String>> {
        let mut connection = self.take_connection(Some(replica))?;
        let (limit, reading) = (self.limits.query, self.reading(Some(replica)));
        let mut decoder = Decoder::new(select.cells);
        let arguments = arguments(&select.sql).map_err(|error| error::read(&reading, &error))?;
        let query = sqlx::query_with(AssertSqlSafe(select.sql.text.as_str()), arguments).persistent(false);
        let mut rows = query.fetch(&mut connection);
        loop {
            let row = driver::next(limit, &mut rows).await.map_err(|_| reading.timeout(limit))?;
            let Some(row) = row.map_err(|error| error::read(&reading, &error))? else { break };
            let fits = decoder.row(&row, sink.batch()).map_err(|error| error.in_table(&replica.target))?;
            if fits && decoder.outgrown().is_empty() {
                sink.row_done().await?;
            } else {
                sink.batch().drop_last_row();
            }
        }
        drop(rows);
        self.connection = Some(connection);
        Ok(decoder.outgrown().to_vec())
    }
}
