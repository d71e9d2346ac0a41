//! What the server is asked for behind every range: conditions, order, and where to go on when a cursor is lost.

use std::time::Duration;

use mongodb::Collection;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::Hint;
use mongodb::raw_batch_cursor::RawBatchCursor;

use super::kind::Pin;
use super::order::{after, all, up_to};
use super::parse::parse;
use super::rows::{Cells, Hidden};
use super::shape::{ID, ReadAs};
use super::track::Class;
use super::value::{bson_of, check_key, foreign_position};
use crate::batch::{Key, Position};
use crate::error::{Error, Kind, Result};
use crate::replica::{Replica, Track};
use crate::source::{Lookback, Range, TrackPart, longest_search};

/// Where the first of several track columns that has a value is put while documents are sorted by it.
const COMPUTED: &str = "__data_sync_track";

/// One pass over documents, in an order that it can be taken up again in.
#[derive(Debug, Clone)]
pub struct Step {
    conditions: Vec<Document>,
    /// Whether the track value comes first in the order.
    pub by_track: bool,
    /// The fields that decide the order after it; with none and without the track value there is no order.
    pub ties: Vec<String>,
    /// Whether the order is turned round.
    newest_first: bool,
    /// What follows the cells.
    pub hidden: Hidden,
    /// Whether few documents are looked for among all, which takes the server long.
    pub is_search: bool,
}

impl Step {
    /// Whether the pass can be taken up again after a document.
    pub fn has_order(&self) -> bool {
        self.by_track || !self.ties.is_empty()
    }
}

/// Writes the questions for one table.
pub struct Query<'a> {
    replica: &'a Replica,
    filter: Option<Document>,
    key: Vec<String>,
    key_pins: Vec<Pin>,
    track: Vec<String>,
    /// How track values are spelled in positions.
    pub track_pin: Pin,
    /// The class of values that have a position, once it is known.
    pub class: Option<Class>,
}

impl<'a> Query<'a> {
    /// For `replica`. The class is known unless a track column holds JSON.
    pub fn new(replica: &'a Replica) -> Result<Self> {
        let columns = &replica.source.columns;
        let mut query = Self {
            replica,
            filter: replica.filter.as_deref().map(|text| filter(text, replica)).transpose()?,
            key: Vec::new(),
            key_pins: Vec::new(),
            track: Vec::new(),
            track_pin: Pin::Json,
            class: None,
        };
        for &index in &replica.key {
            let column = &columns[replica.columns[index].source];
            // Of a key that no document had yet there is no position either.
            if let ReadAs::Field(pin) = ReadAs::of(column) {
                check_key(replica, index, pin)?;
                query.key_pins.push(pin);
                query.key.push(path(&column.name, replica, "primary_key")?);
            }
        }
        let Track::Columns(tracked) = &replica.track else { return Ok(query) };
        let mut pins = Vec::with_capacity(tracked.len());
        for &source in tracked {
            let column = &columns[source];
            if let ReadAs::Field(pin) = ReadAs::of(column) {
                pins.push(pin);
                query.track.push(path(&column.name, replica, "track_column")?);
            }
        }
        query.track_pin = match pins.split_first() {
            Some((first, others)) if others.iter().all(|pin| pin == first) => *first,
            _ => Pin::Json,
        };
        let classes: Vec<_> = pins.iter().filter_map(|pin| Class::of_pin(*pin)).collect();
        if let Some((first, others)) = classes.split_first() {
            if let Some(other) = others.iter().find(|class| *class != first) {
                return Err(Error::new(
                    Kind::Schema,
                    format!("Table '{}' can't be tracked by these columns together", replica.target),
                )
                .because(format!(
                    "their types ({first:?} and {other:?}) have no order in common; name columns of one type in track_column"
                ))
                .in_table(&replica.target));
            }
            // Where one of them is JSON, values of other classes may be among them.
            query.class = (classes.len() == pins.len()).then_some(*first);
        }
        Ok(query)
    }

    /// Whether the class has to be found out by looking.
    pub fn lacks_class(&self) -> bool {
        self.class.is_none() && !self.track.is_empty() && self.track_pin == Pin::Json
    }

    /// The class of a position's track value.
    pub fn class_of(&self, position: &Position) -> Option<Class> {
        bson_of(&position.track, self.track_pin).as_ref().and_then(Class::of_bson)
    }

    /// Whether an index begins with the track value.
    pub fn is_indexed(&self) -> bool {
        let indexes = &self.replica.source.indexes;
        matches!(self.track.as_slice(), [field] if indexes.iter().any(|index| index.first() == Some(field)))
    }

    /// Whether `step` reads whole documents, all of them, in the order of their `_id`s, as it was done to learn of fields.
    /// Where values are tracked that may be of the future, what was read before the watermark was taken may be too old.
    pub fn is_everything(&self, step: &Step, cells: Cells, now: i64) -> bool {
        step.conditions.is_empty()
            && step.hidden == Hidden::Nothing
            && cells == Cells::All
            && self.walks_ids()
            && self.projection(cells, false).is_none()
            && (self.track.is_empty() || self.class.is_some_and(|class| class.future(now).is_some()))
    }

    /// The field that documents are sorted by.
    fn tracked(&self) -> &str {
        match self.track.as_slice() {
            [field] => field,
            _ => COMPUTED,
        }
    }

    /// Whether the order of the key is that of the index of `_id`, and nothing makes another index the better one.
    fn walks_ids(&self) -> bool {
        let source = &self.replica.source;
        self.filter.is_none()
            && self.key == [ID]
            && source.key == [ID]
            && source.indexes.iter().any(|index| index == &[ID])
    }

    fn is_computed(&self) -> bool {
        self.track.len() > 1
    }

    /// The key's fields, without the one that the track value decides already.
    fn ties(&self) -> Vec<String> {
        let tracked = self.tracked();
        self.key.iter().filter(|name| *name != tracked).cloned().collect()
    }

    /// The passes that make up `range`, and which cells they give.
    pub fn range(&self, range: &Range, now: i64) -> Result<(Cells, Vec<Step>)> {
        let by_key = |conditions, hidden| Step {
            conditions,
            by_track: false,
            ties: self.key.clone(),
            newest_first: false,
            hidden,
            is_search: false,
        };
        Ok(match range {
            Range::ByKey { after: None } | Range::Whole | Range::Changed { .. } => {
                (Cells::All, vec![by_key(Vec::new(), Hidden::Nothing)])
            }
            Range::ByKey { after: Some(key) } => {
                (Cells::All, vec![by_key(vec![after(&self.key, &self.key_values(key)?)], Hidden::Nothing)])
            }
            Range::ByTrack { part, floor, after, lookback, .. } => {
                (Cells::All, self.by_track(*part, floor.as_ref(), after.as_ref(), *lookback, now)?)
            }
            Range::Large { bytes, .. } => {
                let bytes = i64::try_from(*bytes).unwrap_or(i64::MAX);
                let condition = doc! { "$expr": { "$gt": [{ "$bsonSize": "$$ROOT" }, bytes] } };
                let step = by_key(vec![condition], Hidden::Nothing);
                (Cells::All, vec![Step { is_search: true, ..step }])
            }
            Range::Keys => (Cells::Key, vec![by_key(Vec::new(), Hidden::Nothing)]),
            Range::KeysWithoutTrack { .. } => {
                let conditions = self.class.map(|class| class.without(self.tracked())).into_iter().collect();
                (Cells::Key, vec![by_key(conditions, Hidden::WithoutTrack { class: self.class })])
            }
            Range::Lookup { keys } => {
                let one_of = match (self.key.as_slice(), keys.len()) {
                    (_, 0) | ([], _) => return Ok((Cells::All, Vec::new())),
                    ([field], _) => {
                        let keys = keys.iter().map(|key| Ok(self.key_values(key)?.remove(0)));
                        doc! { field: { "$in": keys.collect::<Result<Vec<_>>>()? } }
                    }
                    (fields, _) => {
                        let keys = keys.iter().map(|key| {
                            let values = self.key_values(key)?;
                            Ok(all(fields
                                .iter()
                                .zip(values)
                                .map(|(field, value)| doc! { field: { "$eq": value } })
                                .collect()))
                        });
                        doc! { "$or": keys.collect::<Result<Vec<_>>>()? }
                    }
                };
                (Cells::All, vec![by_key(vec![one_of], Hidden::Nothing)])
            }
        })
    }

    fn by_track(
        &self,
        part: TrackPart,
        floor: Option<&Position>,
        after: Option<&Position>,
        lookback: Lookback,
        now: i64,
    ) -> Result<Vec<Step>> {
        let Some(class) = self.class else { return Ok(Vec::new()) };
        let field = self.tracked();
        let step = |conditions, advances| Step {
            conditions,
            by_track: true,
            ties: self.ties(),
            newest_first: false,
            hidden: Hidden::Track { class, advances, now },
            is_search: false,
        };
        let Some(position) = after.map(|after| self.mark_of(after)).transpose()? else {
            return Ok(match part {
                TrackPart::Behind => Vec::new(),
                TrackPart::All | TrackPart::Ahead => vec![step(vec![class.within(field)], true)],
            });
        };
        let mut steps = Vec::new();
        let floor = floor.map(|floor| self.mark_of(floor)).transpose()?;
        let earliest = floor.and_then(|floor| Class::earlier(&floor[0], lookback));
        if part != TrackPart::Ahead {
            // Where nothing can be counted back by, every document may have come late.
            let mut bounds = doc! { "$lte": &position[0] };
            bounds.extend(earliest.map(|earliest| ("$gte".to_owned(), earliest)));
            let mut conditions = vec![doc! { field: bounds }];
            if position.len() > 1 {
                let tied = up_to(&self.ties(), &position[1..]);
                conditions.push(doc! { "$or": [{ field: { "$lt": &position[0] } }, tied] });
            }
            steps.push(step(conditions, false));
        }
        if part != TrackPart::Behind {
            steps.push(step(self.track_after(&position), true));
        }
        Ok(steps)
    }

    /// The condition that a document comes after `mark`, its track value and its key.
    fn track_after(&self, mark: &[Bson]) -> Vec<Document> {
        let field = self.tracked();
        if mark.len() == 1 {
            return vec![doc! { field: { "$gt": &mark[0] } }];
        }
        let tied = after(&self.ties(), &mark[1..]);
        vec![doc! { field: { "$gte": &mark[0] } }, doc! { "$or": [{ field: { "$gt": &mark[0] } }, tied] }]
    }

    /// A position as the values that documents are ordered by.
    fn mark_of(&self, position: &Position) -> Result<Vec<Bson>> {
        let track = bson_of(&position.track, self.track_pin).ok_or_else(|| foreign_position(self.replica))?;
        let keys = self.key_values(&position.key)?;
        let tracked = self.tracked();
        let ties = self.key.iter().zip(keys).filter(|(name, _)| *name != tracked).map(|(_, value)| value);
        Ok(std::iter::once(track).chain(ties).collect())
    }

    fn key_values(&self, key: &Key) -> Result<Vec<Bson>> {
        let values = key.iter().zip(&self.key_pins).map(|(cell, pin)| bson_of(cell, *pin)).collect::<Option<Vec<_>>>();
        values.filter(|values| values.len() == key.len()).ok_or_else(|| foreign_position(self.replica))
    }

    /// The pass over documents that have a track value of `class`, from the greatest on; with `now`, from the greatest that
    /// doesn't lie after it, and down to `least` if it is given.
    pub fn newest(&self, class: Class, now: Option<i64>, least: Option<Bson>) -> Step {
        let field = self.tracked();
        // In one condition, which an index serves without any thought.
        let mut bounds = match least {
            Some(least) => doc! { "$gte": least },
            None => class.within(field).get_document(field).cloned().unwrap_or_default(),
        };
        bounds.extend(now.and_then(|now| class.future(now)).map(|future| ("$lt".to_owned(), future)));
        let conditions = vec![doc! { field: bounds }];
        let hidden = Hidden::Track { class, advances: true, now: now.unwrap_or(i64::MAX) };
        Step { conditions, by_track: true, ties: self.ties(), newest_first: true, hidden, is_search: false }
    }

    /// The pass over documents whose key is of another class than the one they are tracked by; `None` unless they are
    /// tracked by their key, which has no lane for documents without a track value.
    pub fn strangers(&self) -> Option<Step> {
        let is_key = self.track == self.key && !self.replica.may_lack_track();
        let class = self.class.filter(|_| is_key)?;
        let conditions = vec![class.without(self.tracked())];
        let hidden = Hidden::WithoutTrack { class: Some(class) };
        let ties = self.key.clone();
        Some(Step { conditions, by_track: false, ties, newest_first: false, hidden, is_search: false })
    }

    /// What the documents of a pass have in common, for counting them; `None` when that is no plain condition.
    pub fn condition(&self, step: &Step) -> Option<Document> {
        if self.is_computed() && step.by_track {
            return None;
        }
        Some(all(self.filter.iter().chain(&step.conditions).cloned().collect()))
    }

    /// Which fields the server has to send; `None` for all of them.
    fn projection(&self, cells: Cells, uses_track: bool) -> Option<Document> {
        let columns = &self.replica.source.columns;
        if cells == Cells::All && self.replica.takes_new_columns {
            return None;
        }
        let mut names: Vec<&str> = match cells {
            Cells::All => self.replica.columns.iter().map(|column| columns[column.source].name.as_str()).collect(),
            Cells::Key => {
                let track: &[String] = if uses_track { &self.track } else { &[] };
                self.key.iter().chain(track).map(String::as_str).collect()
            }
        };
        let whole = cells == Cells::All
            && self.replica.columns.iter().any(|column| ReadAs::of(&columns[column.source]) == ReadAs::Document);
        if whole || !names.iter().all(|name| is_path(name)) {
            return None;
        }
        names.dedup();
        let mut projection = doc! { ID: i32::from(names.contains(&ID)) };
        for name in names.into_iter().filter(|name| *name != ID) {
            projection.insert(name, 1);
        }
        Some(projection)
    }

    /// Asks for the documents of `step` in answers of `answer` documents, those after `mark` if there is one. The server is
    /// waited for as long as `limit`.
    pub async fn open(
        &self,
        collection: &Collection<RawDocumentBuf>,
        step: &Step,
        cells: Cells,
        mark: Option<&[Bson]>,
        answer: u32,
        limit: Duration,
    ) -> mongodb::error::Result<RawBatchCursor> {
        let mut conditions = step.conditions.clone();
        if let Some(mark) = mark {
            if step.by_track {
                conditions.extend(self.track_after(mark));
            } else {
                conditions.push(after(&step.ties, mark));
            }
        }
        let direction = Bson::Int32(if step.newest_first { -1 } else { 1 });
        let tracked = step.by_track.then(|| self.tracked().to_owned());
        let order: Document =
            tracked.into_iter().chain(step.ties.iter().cloned()).map(|name| (name, direction.clone())).collect();
        let uses_track = step.hidden != Hidden::Nothing;
        let projection = self.projection(cells, uses_track);
        if self.is_computed() && uses_track {
            let mut stages: Vec<Document> = self.filter.iter().map(|filter| doc! { "$match": filter }).collect();
            stages.push(doc! { "$addFields": { COMPUTED: first_of(&self.track) } });
            stages.push(doc! { "$match": all(conditions) });
            if !order.is_empty() {
                stages.push(doc! { "$sort": order });
            }
            stages.push(doc! { "$project": projection.unwrap_or_else(|| doc! { COMPUTED: 0 }) });
            return collection.aggregate(stages).batch_size(answer).allow_disk_use(true).batch().await;
        }
        conditions.extend(self.filter.clone());
        let mut find = collection.find(all(conditions)).batch_size(answer);
        if !order.is_empty() {
            find = find.sort(order);
        }
        // Without an index of the track column the server has to sort, and may not have room for it in memory.
        if step.by_track {
            find = find.allow_disk_use(true);
        }
        if step.hidden == Hidden::Nothing && self.walks_ids() {
            // The order is that of an index that is there; some servers sort all the same unless they are told.
            find = find.hint(Hint::Keys(doc! { ID: 1 }));
        }
        if let Some(projection) = projection {
            find = find.projection(projection);
        }
        if step.is_search {
            find = find.max_time(longest_search(limit));
        }
        find.batch().await
    }
}

/// The first of `fields` that is neither missing nor null.
fn first_of(fields: &[String]) -> Bson {
    let mut values = fields.iter().rev().map(|field| Bson::String(format!("${field}")));
    let last = values.next().unwrap_or(Bson::Null);
    values.fold(last, |others, value| Bson::Document(doc! { "$ifNull": [value, others] }))
}

/// Whether the server takes `name` for the name of a field, and not for a way into one or for an operator.
pub fn is_path(name: &str) -> bool {
    !name.is_empty() && !name.contains('.') && !name.starts_with('$')
}

fn path(name: &str, replica: &Replica, option: &str) -> Result<String> {
    if is_path(name) {
        return Ok(name.to_owned());
    }
    Err(Error::new(Kind::Schema, format!("Table '{}' can't be read by its field '{name}'", replica.target))
        .because(format!(
            "{option} takes fields whose names are not empty, have no dot and don't begin with $, because MongoDB can't \
             sort by others"
        ))
        .in_table(&replica.target))
}

/// The option `where` as a condition.
fn filter(text: &str, replica: &Replica) -> Result<Document> {
    let fault = |what: &str| {
        Error::new(Kind::Schema, format!("The option where of table '{}' is not a filter", replica.target))
            .because(format!("{what}; it takes a MongoDB filter as JSON, such as {{\"status\": \"open\"}}"))
            .in_table(&replica.target)
    };
    match parse(text) {
        Ok(Bson::Document(filter)) => Ok(filter),
        Ok(_) => Err(fault("it is no JSON object")),
        Err(what) => Err(fault(&what)),
    }
}
