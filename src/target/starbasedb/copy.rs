//! A copy, on this machine, of what there is to compare in the target: keys, or whole rows.
//!
//! It is read page by page as a source would be read, so it is bounded by the disk and not by memory, and what compares it
//! with the source's rows is what compares those of a file.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::remote::Remote;
use crate::config::{Secret, SourceConfig};
use crate::error::{Error, Kind, Result};
use crate::event::Mode;
use crate::mapping::{self, SqliteType};
use crate::replica::{Replica, ReplicaColumn, Track};
use crate::schema::{Relation, Table, TableName};
use crate::source::sqlite::Family;
use crate::source::{BatchSink, Connect as _, Incoming, Limits, Range, ScanPlan, Source, channel};
use crate::target::sql::{self, DELETED_AT};
use crate::target::sqlite::SqliteTarget;
use crate::target::{Lane, TablePhase, TableState, Target as _, Write};

/// Rows of a batch on their way into the copy.
const BATCH: usize = 2_000;

/// What the copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    /// The keys of a table's lane.
    Keys(String, Lane),
    /// A table's rows.
    Rows(String),
}

/// The copy, and the way to what it is one of.
pub(super) struct Copy {
    config: SourceConfig,
    limits: Limits,
    /// Where it is.
    pub(super) scratch: SqliteTarget,
    held: Mutex<Option<Held>>,
}

impl Copy {
    pub(super) fn new(url: &str, token: Secret, limits: Limits) -> Self {
        let config = SourceConfig::Starbasedb { uri: url.to_owned(), token };
        Self { config, limits, scratch: SqliteTarget::scratch(), held: Mutex::default() }
    }

    /// Forgets what was copied.
    pub(super) async fn forget(&self) {
        *self.held.lock().await = None;
    }

    /// Has the keys of `lane`; with `anew`, as they are now.
    pub(super) async fn keys(&self, replica: &Arc<Replica>, lane: Lane, anew: bool) -> Result<()> {
        let mut held = self.held.lock().await;
        let wanted = Held::Keys(replica.target.clone(), lane);
        let holds_rows = *held == Some(Held::Rows(replica.target.clone()));
        if holds_rows || (!anew && *held == Some(wanted.clone())) {
            return Ok(());
        }
        *held = None;
        let mut columns: Vec<&str> = sql::key(replica).collect();
        if lane == Lane::WithoutTrack {
            columns.extend(replica.track_columns().into_iter().map(|column| replica.columns[column].name.as_str()));
        }
        if replica.soft_delete {
            columns.push(DELETED_AT);
        }
        let filter = sql::in_lane(replica, lane, "");
        self.fill(replica, &columns, Some(filter), format!("Failed to compare the keys of table '{}'", replica.target))
            .await?;
        *held = Some(wanted);
        Ok(())
    }

    /// Has all rows.
    pub(super) async fn rows(&self, replica: &Arc<Replica>) -> Result<()> {
        let mut held = self.held.lock().await;
        let wanted = Held::Rows(replica.target.clone());
        if *held == Some(wanted.clone()) {
            return Ok(());
        }
        *held = None;
        let mut columns: Vec<&str> = sql::columns(replica).collect();
        if replica.soft_delete {
            columns.push(DELETED_AT);
        }
        self.fill(replica, &columns, None, format!("Failed to compare the rows of table '{}'", replica.target)).await?;
        *held = Some(wanted);
        Ok(())
    }

    async fn fill(
        &self,
        replica: &Arc<Replica>,
        columns: &[&str],
        filter: Option<String>,
        context: String,
    ) -> Result<()> {
        let told = |error: Error| Remote::of_target(&error, &context);
        let mut source = Family.source(&self.config, self.limits)?;
        let filled = async {
            source.begin().await?;
            let name = TableName { schema: None, name: replica.target.clone() };
            let table = source.describe(&name, &[]).await?.filter(|table| table.relation == Relation::Table);
            let table = table
                .ok_or_else(|| Error::new(Kind::SourceRead, &context).because("the table is gone").transient(true))?;
            let theirs = Arc::new(theirs(replica, table, columns, filter));
            // A copy has no position, but whatever writes rows writes a state too.
            let name = || theirs.target.clone();
            let state = TableState::new(name(), name(), Mode::Full, TablePhase::Snapshot);
            self.scratch.begin_copy(&theirs).await?;
            let (sink, incoming) = channel(theirs.columns.len(), BATCH);
            let read = read(source.as_mut(), &theirs, sink);
            let write = self.take(&theirs, &state, incoming);
            tokio::try_join!(read, write).map(drop)
        };
        let outcome = filled.await.map_err(told);
        source.close().await;
        outcome
    }

    async fn take(&self, theirs: &Arc<Replica>, state: &TableState, mut incoming: Incoming) -> Result<()> {
        while let Some(batches) = incoming.next().await {
            incoming.recycle(self.scratch.write(theirs, Write::Upsert, false, batches, state).await?.1);
        }
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.forget().await;
        self.scratch.close().await;
    }
}

async fn read(source: &mut dyn Source, theirs: &Replica, mut sink: BatchSink) -> Result<()> {
    source.scan(&ScanPlan { replica: theirs, range: Range::Whole, batch_size: BATCH }, &mut sink).await?;
    sink.flush().await
}

/// `columns` of the target's table as a source's, and of the rows those that `filter` lets through.
fn theirs(replica: &Replica, table: Table, columns: &[&str], filter: Option<String>) -> Replica {
    // A table without a key is read by its rows' numbers.
    let numbered = if table.numbered { table.key.clone() } else { Vec::new() };
    let names = numbered.iter().map(String::as_str).chain(columns.iter().copied());
    let columns: Vec<ReplicaColumn> = names
        .filter_map(|name| {
            let source = table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))?;
            let column = &table.columns[source];
            let sqlite = mapping::map(&column.kind, &column.declared, None).unwrap_or(SqliteType::Blob);
            Some(ReplicaColumn { source, name: name.to_owned(), sqlite })
        })
        .collect();
    let place = |name: &String| columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let key = table.key.iter().filter_map(place).collect();
    Replica {
        source: table,
        target: replica.target.clone(),
        columns,
        key,
        track: Track::Whole,
        filter,
        soft_delete: false,
        null_zero_dates: false,
        takes_new_columns: false,
    }
}
