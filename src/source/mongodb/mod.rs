//! MongoDB, read by cursors in the order of an index, so that one that is lost is reopened where it was.
//!
//! MongoDB keeps no old state of a collection for as long as a first load may take, so a consistent read is only a
//! connection here: each document is read in a version that was committed, but two documents may be of two moments. What
//! changes while it is read is read again: an update moves its track value behind the position, and the lookback covers
//! what was on its way.

mod catalog;
mod connect;
pub(crate) mod date;
mod error;
mod form;
pub(crate) mod json;
pub(crate) mod kind;
mod order;
pub(crate) mod parse;
mod pass;
mod query;
pub(crate) mod rows;
pub(crate) mod shape;
pub(crate) mod track;
pub(crate) mod value;

use std::collections::{BTreeSet, HashMap};
use std::future::IntoFuture;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use mongodb::{Collection, Database};
use tokio::time::timeout;

use self::catalog::{Ahead, collection_name, first_batch};
use self::connect::Server;
use self::pass::ANSWER;
use self::query::{Query, Step, is_path};
use self::rows::{Cells, Decoder, Outcome};
use self::shape::{ID, Shape};
use self::track::Class;
use super::advice::unindexed_track;
use super::peer::connect_timeout;
use super::reading::Reading;
use super::{BatchSink, Connect, Limits, Listed, Moment, Range, ScanPlan, Source, TrackPart, longest_search};
use crate::batch::{Batch, Position};
use crate::config::SourceConfig;
use crate::error::{Error, Kind, Result};
use crate::replica::{Replica, Track};
use crate::schema::{KnownColumn, Relation, Table, TableName};

/// How far back the newest document is looked for first, in milliseconds: a minute, an hour, a day, a month, a year.
const RECENT: [i64; 5] = [60_000, 3_600_000, 86_400_000, 2_592_000_000, 31_536_000_000];

/// What the driver has after its time for connecting is over, to tell what was in the way: a certificate that it doesn't trust,
/// say, with which it tries again until then. Without it, whichever timer is first decides what a user reads.
const TELLING: Duration = Duration::from_secs(1);

/// The kind of source that reads MongoDB.
pub struct Mongodb;

impl Connect for Mongodb {
    fn serves(&self, config: &SourceConfig) -> bool {
        matches!(config, SourceConfig::Mongodb { .. })
    }

    fn source(&self, config: &SourceConfig, limits: Limits) -> Result<Box<dyn Source>> {
        let SourceConfig::Mongodb { uri } = config else {
            return Err(Error::new(Kind::Internal, "This source is not MongoDB"));
        };
        let server = Server::new(uri)?;
        Ok(Box::new(MongodbSource {
            server,
            limits,
            database: None,
            now: None,
            shapes: HashMap::new(),
            ahead: Mutex::default(),
            classes: HashMap::new(),
            answer: ANSWER,
        }))
    }
}

struct MongodbSource {
    server: Server,
    limits: Limits,
    /// The client's database, kept between runs.
    database: Option<Database>,
    /// The server's time when the consistent read began, in milliseconds since 1970.
    now: Option<i64>,
    /// What is known of collections' fields, for as long as the process lives.
    shapes: HashMap<String, Shape>,
    /// The collection whose fields were learnt last, and what was read of it for that.
    /// Locked by nobody: it only lets a cursor be part of what is borrowed while the server is waited for.
    ahead: Mutex<Option<(String, Ahead)>>,
    /// Which values of a track column of several types have positions in this consistent read.
    classes: HashMap<String, Class>,
    /// Documents in one answer. An answer counts only when it is complete, so it becomes smaller when connections break.
    answer: u32,
}

#[async_trait]
impl Source for MongodbSource {
    async fn begin(&mut self) -> Result<Moment> {
        self.now = None;
        self.classes.clear();
        self.ahead = Mutex::default();
        let database = match self.database.take() {
            Some(database) => database,
            None => self.server.client(self.limits.connect).await?,
        };
        let limit = self.limits.connect + TELLING;
        let answer = timeout(limit, command(&database, doc! { "hello": 1 })).await;
        let answer = answer
            .map_err(|_| connect_timeout(&self.server.peer))?
            .map_err(|fault| error::connect(&fault, &self.server.peer))?;
        let now = answer.get_datetime("localTime").map_err(|_| {
            Error::new(Kind::Connect, super::peer::CONNECT)
                .because(format!("{} doesn't answer as MongoDB does: it told no time", self.server.peer))
                .transient(false)
        })?;
        self.now = Some(now.timestamp_millis());
        self.database = Some(database);
        Ok(Moment { snapshot: None })
    }

    fn has_schemas(&self) -> bool {
        false
    }

    async fn tables(&mut self) -> Result<Vec<Listed>> {
        let question = doc! { "listCollections": 1, "nameOnly": true, "authorizedCollections": true };
        let mut names = Vec::new();
        let database = self.database(None)?;
        let listing = database.run_cursor_command(question).batch();
        let mut cursor = self.ask(None, listing).await?;
        while let Some(batch) = self.next(None, &mut cursor).await? {
            for each in batch.doc_slices().map_err(|fault| self.failed(None, &fault))?.iter_elements() {
                let Some(name) = each.ok().and_then(|each| collection_name(each.value().ok()?.as_document()?)) else {
                    continue;
                };
                names.push(name);
            }
        }
        names.sort();
        Ok(names.into_iter().map(|name| Listed { name: TableName { schema: None, name }, readable: true }).collect())
    }

    async fn describe(&mut self, name: &TableName, known: &[KnownColumn]) -> Result<Option<Table>> {
        // A name with a dot may have been taken for one with a schema.
        let name = name.to_string();
        let database = self.database(None)?;
        let question = doc! { "listCollections": 1, "filter": { "name": &name } };
        let answer = self.ask(None, command(&database, question)).await?;
        let Some(listed) = first_batch(&answer).into_iter().next() else { return Ok(None) };
        let is_a = |kind: &str| listed.get_str("type").is_ok_and(|listed| listed == kind);
        let is_view = is_a("view");
        let is_measured = is_a("timeseries")
            || listed.get_document("options").is_ok_and(|options| options.contains_key("timeseries"));
        // Neither promises that an `_id` is there but once.
        let has_key = !is_view && !is_measured;
        let mut shape = self.shapes.remove(&name).unwrap_or_default();
        shape.recall(known);
        let indexes = if is_view { Vec::new() } else { self.indexes(&database, &name).await? };
        let mut is_quick = true;
        self.ahead = Mutex::default();
        if shape.pin(ID).is_none() {
            let by_id = has_key && indexes.iter().any(|index| index == &[ID]);
            let (ahead, quick) = self.sample(&database, &name, by_id, &mut shape).await?;
            self.ahead = Mutex::new(ahead.map(|ahead| (name.clone(), ahead)));
            is_quick = quick;
        }
        let columns = shape.columns(has_key);
        self.shapes.insert(name.clone(), shape);
        let estimated_rows = if is_view || !is_quick { None } else { self.count(&database, &name, None).await? };
        Ok(Some(Table {
            name: TableName { schema: None, name },
            relation: if is_view { Relation::View } else { Relation::Table },
            columns,
            key: if has_key { vec![ID.to_owned()] } else { Vec::new() },
            key_collations: None,
            estimated_rows,
            indexes,
            sees_changes: false,
            grows: true,
            numbered: false,
        }))
    }

    async fn find_columns(&mut self, table: &mut Table, names: &BTreeSet<&str>) -> Result<()> {
        let name = table.name.name.clone();
        let collection: Collection<RawDocumentBuf> = self.database(None)?.collection(&name);
        let limit = self.limits.query;
        let mut shape = self.shapes.remove(&name).unwrap_or_default();
        for field in names.iter().copied().filter(|field| is_path(field)) {
            // Of a field whose values are none there is no column.
            let condition = doc! { field: { "$ne": Bson::Null } };
            let found = collection.find(condition).limit(1).max_time(longest_search(limit));
            let first = async { found.batch().await?.next().await.transpose() };
            let answer = timeout(limit, first).await.map_err(|_| self.not_found(&name, field))?;
            let Some(answer) = answer.map_err(|fault| self.failed(None, &fault))? else { continue };
            for document in documents(&answer).map_err(|fault| self.failed(None, &fault))? {
                let document = document?;
                // A document that can't be read is the scan's to complain of.
                let _ = shape.learn(document);
                shape.learn_field(document, field);
            }
        }
        table.columns = shape.columns(!table.key.is_empty());
        self.shapes.insert(name, shape);
        Ok(())
    }

    async fn high_water(&mut self, replica: &Replica) -> Result<Option<Position>> {
        let now = self.now(replica)?;
        let query = self.query(replica, None).await?;
        let Some(class) = query.class.filter(|_| matches!(replica.track, Track::Columns(_))) else { return Ok(None) };
        let row = self.newest(replica, &query, class, Some(now)).await?;
        let keys: Vec<_> = (0..replica.key.len()).collect();
        Ok(row.map(|row| Position { track: row.value(0, keys.len()), key: row.key(0, &keys) }))
    }

    async fn clock(&mut self) -> Result<Option<i64>> {
        let question = command(&self.database(None)?, doc! { "hello": 1 });
        let answer = self.ask(None, question).await?;
        Ok(answer.get_datetime("localTime").ok().map(|now| now.timestamp_millis()))
    }

    async fn estimate(&mut self, plan: &ScanPlan<'_>) -> Result<Option<u64>> {
        let everything = matches!(plan.range, Range::Whole | Range::ByKey { after: None });
        if everything && plan.replica.filter.is_none() {
            return Ok(plan.replica.source.estimated_rows);
        }
        let query = self.query(plan.replica, Some(&plan.range)).await?;
        let (_, steps) = query.range(&plan.range, self.now(plan.replica)?)?;
        let database = self.database(Some(plan.replica))?;
        let name = &plan.replica.source.name.name;
        let mut sum = Some(0);
        for step in &steps {
            let Some(condition) = query.condition(step) else { return Ok(None) };
            let counted = self.count(&database, name, Some(condition)).await?;
            sum = sum.zip(counted).map(|(sum, counted)| sum + counted);
        }
        Ok(sum)
    }

    async fn scan(&mut self, plan: &ScanPlan<'_>, sink: &mut BatchSink) -> Result<()> {
        let replica = plan.replica;
        let query = self.query(replica, Some(&plan.range)).await?;
        let (cells, steps) = query.range(&plan.range, self.now(replica)?)?;
        if let Range::ByTrack { part: TrackPart::All | TrackPart::Ahead, .. } = plan.range
            && let Some(step) = query.strangers()
        {
            self.pass(replica, &query, &step, Cells::Key, None).await?;
        }
        for step in &steps {
            self.pass(replica, &query, step, cells, Some(sink)).await?;
        }
        sink.flush().await
    }

    fn advice(&self, replica: &Replica) -> Option<String> {
        // Of `_id` there is an index, whoever may see it.
        let field = unindexed_track(replica).filter(|field| *field != ID)?;
        let (name, field) =
            (serde_json::Value::from(replica.source.name.name.as_str()), serde_json::Value::from(field));
        Some(format!("db.getCollection({name}).createIndex({{ {field}: 1, _id: 1 }})"))
    }

    async fn end(&mut self) {
        self.now = None;
        self.ahead = Mutex::default();
    }

    async fn close(mut self: Box<Self>) {
        if let Some(database) = self.database.take() {
            // The server notices either way.
            let _ = timeout(self.limits.connect, database.client().clone().shutdown().immediate(true)).await;
        }
    }
}

/// Runs a command where the connection string says that reads go.
fn command(
    database: &Database,
    question: Document,
) -> impl Future<Output = mongodb::error::Result<Document>> + Send + 'static {
    let database = database.clone();
    async move {
        let asked = database.run_command(question);
        match database.selection_criteria().cloned() {
            Some(criteria) => asked.selection_criteria(criteria).await,
            None => asked.await,
        }
    }
}

/// The documents of one answer.
fn documents(batch: &RawBatch) -> mongodb::error::Result<impl Iterator<Item = Result<&RawDocument>>> {
    let unreadable = || {
        Error::new(Kind::SourceRead, "The server's answer can't be read")
            .because("it holds something that is no document")
    };
    Ok(batch.doc_slices()?.iter_elements().map(move |element| {
        let value = element.ok().and_then(|element| element.value().ok());
        value.and_then(mongodb::bson::RawBsonRef::as_document).ok_or_else(unreadable)
    }))
}

impl MongodbSource {
    fn reading<'a>(&'a self, replica: Option<&'a Replica>) -> Reading<'a> {
        Reading {
            table: replica.map(|replica| replica.target.as_str()),
            name: replica.map(|replica| &replica.source.name),
            peer: &self.server.peer,
        }
    }

    fn failed(&self, replica: Option<&Replica>, fault: &mongodb::error::Error) -> Error {
        error::read(&self.reading(replica), fault, &self.server.database)
    }

    /// Nobody knows whether a collection has a field, and to ask again would take as long.
    fn not_found(&self, name: &str, field: &str) -> Error {
        self.reading(None).because(format!(
            "none of the first documents of '{name}' has the field '{field}' that the options name, and to look for it takes \
             longer than query_timeout: make an index of it"
        ))
    }

    /// Waits for the server as long as it may take.
    async fn ask<T>(
        &self,
        replica: Option<&Replica>,
        question: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T> {
        let limit: Duration = self.limits.query;
        let answer = timeout(limit, question.into_future()).await;
        answer.map_err(|_| self.reading(replica).timeout(limit))?.map_err(|fault| self.failed(replica, &fault))
    }

    /// The next documents of a cursor; `None` at its end.
    async fn next(&self, replica: Option<&Replica>, cursor: &mut RawBatchCursor) -> Result<Option<RawBatch>> {
        self.ask(replica, async { cursor.next().await.transpose() }).await
    }

    /// The database, within a consistent read.
    fn database(&self, replica: Option<&Replica>) -> Result<Database> {
        let database = self.now.and(self.database.clone());
        database.ok_or_else(|| self.reading(replica).because("the consistent read is over").transient(true))
    }

    fn collection(&self, replica: &Replica) -> Result<Collection<RawDocumentBuf>> {
        Ok(self.database(Some(replica))?.collection(&replica.source.name.name))
    }

    fn now(&self, replica: &Replica) -> Result<i64> {
        self.now.ok_or_else(|| self.reading(Some(replica)).because("the consistent read is over").transient(true))
    }

    /// The questions for `replica`, with the class of its track values known where there is one.
    async fn query<'a>(&mut self, replica: &'a Replica, range: Option<&Range>) -> Result<Query<'a>> {
        let mut query = Query::new(replica)?;
        let needs_class =
            matches!(range, None | Some(Range::ByTrack { .. } | Range::KeysWithoutTrack { .. })) && query.lacks_class();
        if !needs_class {
            return Ok(query);
        }
        let name = &replica.source.name.name;
        let position = match range {
            Some(Range::ByTrack { after, .. }) => after.as_ref(),
            _ => None,
        };
        // Rows with a position and rows without one must be the same ones throughout.
        query.class = position.and_then(|position| query.class_of(position)).or(self.classes.get(name).copied());
        if query.class.is_none() {
            for class in Class::ALL {
                if self.newest(replica, &query, class, None).await?.is_some() {
                    query.class = Some(class);
                    break;
                }
            }
        }
        if let Some(class) = query.class {
            self.classes.insert(name.clone(), class);
        }
        Ok(query)
    }

    /// The key and the track value of the document with the greatest one of `class`, of those up to `now` if it is given.
    async fn newest(
        &mut self,
        replica: &Replica,
        query: &Query<'_>,
        class: Class,
        now: Option<i64>,
    ) -> Result<Option<Batch>> {
        // Among few documents the greatest is found soon, whatever the server makes of the index.
        let recent = now.filter(|_| query.is_indexed()).into_iter();
        for least in recent.flat_map(|now| RECENT.map(|back| class.since(now.saturating_sub(back)))) {
            let Some(least) = least else { break };
            if let Some(row) = self.first(replica, query, &query.newest(class, now, Some(least))).await? {
                return Ok(Some(row));
            }
        }
        self.first(replica, query, &query.newest(class, now, None)).await
    }

    /// The first document of `step` that has a track value of its class.
    async fn first(&mut self, replica: &Replica, query: &Query<'_>, step: &Step) -> Result<Option<Batch>> {
        let mut decoder = Decoder::new(replica, Cells::Key, query.track_pin);
        let mut row = Batch::new(decoder.width(step.hidden));
        let collection = self.collection(replica)?;
        // One at a time: the first is it, unless the server took an array or NaN for a value of the class.
        let mut cursor =
            self.ask(Some(replica), query.open(&collection, step, Cells::Key, None, 1, self.limits.query)).await?;
        while let Some(batch) = self.next(Some(replica), &mut cursor).await? {
            let mut slots = decoder.slots();
            for document in documents(&batch).map_err(|fault| self.failed(Some(replica), &fault))? {
                let document = document?;
                match decoder.decode(document, step.hidden, &mut slots, &mut row)? {
                    Outcome::Skipped => {}
                    Outcome::Row => return Ok(Some(row)),
                    Outcome::Misfit => {
                        self.learn(replica, document);
                        return Err(Error::reshaped(&replica.target));
                    }
                }
            }
        }
        Ok(None)
    }
}
