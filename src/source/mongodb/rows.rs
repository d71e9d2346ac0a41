//! Documents to rows: which field goes into which cell, and whether all of a document has a place.

use std::collections::HashMap;

use mongodb::bson::error::Result as BsonResult;
use mongodb::bson::{Bson, RawBsonRef, RawDocument};

use super::form::push_cell;
use super::kind::Pin;
use super::shape::{ID, MOST_FIELDS, ReadAs};
use super::track::Class;
use crate::batch::Batch;
use crate::error::{Error, Kind, Result};
use crate::mapping::{self, SqliteType};
use crate::replica::Replica;

/// What follows a row's own cells, and which documents are rows of the range at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// Nothing; every document.
    Nothing,
    /// The track value and whether the position may move to the row; documents with a track value of the class.
    Track {
        /// The class of values that have a position.
        class: Class,
        /// Whether the rows lie after the position.
        advances: bool,
        /// The server's time, in milliseconds since 1970.
        now: i64,
    },
    /// Whether the row counts as changed; documents without a track value of the class. Those that do have a value, of
    /// another class, always do: it is in the target, which therefore doesn't take them for rows without one.
    WithoutTrack {
        /// The class of values that have a position; `None` when no value has.
        class: Option<Class>,
    },
}

/// Which of a replica's columns make a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cells {
    /// All of them.
    All,
    /// Those of the key.
    Key,
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is a row of the batch.
    Row,
    /// It is no row of this range.
    Skipped,
    /// The table has no place for one of its values.
    Misfit,
}

/// A field that is known of.
struct Field<'a> {
    name: &'a str,
    read_as: ReadAs,
    /// Whether its values matter to this range.
    is_read: bool,
    is_key: bool,
}

/// One cell of a row.
enum Output {
    Field {
        field: usize,
        pin: Pin,
        sqlite: SqliteType,
        is_key: bool,
    },
    /// The whole document, which is text whatever the column's type says.
    Document,
    Null,
}

/// Turns documents into rows.
pub struct Decoder<'a> {
    replica: &'a Replica,
    fields: Vec<Field<'a>>,
    by_name: HashMap<&'a str, usize>,
    /// The fields of the last document in its order: most documents are like the one before.
    expected: Vec<Option<usize>>,
    outputs: Vec<Output>,
    takes_new: bool,
    track: Vec<usize>,
    track_pin: Pin,
}

impl<'a> Decoder<'a> {
    /// A decoder for rows of `cells`, in which a track value is spelled as `track_pin` says.
    pub fn new(replica: &'a Replica, cells: Cells, track_pin: Pin) -> Self {
        let columns = &replica.source.columns;
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(columns.len());
        let mut by_name = HashMap::with_capacity(columns.len());
        for column in columns {
            let read_as = ReadAs::of(column);
            if read_as != ReadAs::Document {
                by_name.insert(column.name.as_str(), fields.len());
                fields.push(Field { name: &column.name, read_as, is_read: false, is_key: false });
            }
        }
        let field_of = |column: usize| by_name.get(columns[replica.columns[column].source].name.as_str()).copied();
        let copied: Vec<usize> = match cells {
            Cells::All => (0..replica.columns.len()).collect(),
            Cells::Key => replica.key.clone(),
        };
        let mut outputs = Vec::with_capacity(copied.len());
        for &column in &copied {
            let sqlite = replica.columns[column].sqlite;
            let is_key = replica.key.contains(&column);
            outputs.push(match (ReadAs::of(&columns[replica.columns[column].source]), field_of(column)) {
                (ReadAs::Document, _) => Output::Document,
                (ReadAs::Field(pin), Some(field)) => Output::Field { field, pin, sqlite, is_key },
                _ => Output::Null,
            });
            if let Some(field) = field_of(column) {
                fields[field].is_read = true;
                // Nothing else has to stay apart, and the key of a user's choice may hold what it likes.
                fields[field].is_key = is_key && fields[field].name == ID;
            }
        }
        let track: Vec<usize> = replica.track_columns().into_iter().filter_map(field_of).collect();
        for &field in &track {
            fields[field].is_read = true;
        }
        // Beyond what a table has room for nothing is learnt of.
        let takes_new = cells == Cells::All && replica.takes_new_columns && columns.len() <= MOST_FIELDS;
        Self { replica, fields, by_name, expected: Vec::new(), outputs, takes_new, track, track_pin }
    }

    /// How many cells a row has with what is hidden.
    pub fn width(&self, hidden: Hidden) -> usize {
        self.outputs.len()
            + match hidden {
                Hidden::Nothing => 0,
                Hidden::Track { .. } => 2,
                Hidden::WithoutTrack { .. } => 1,
            }
    }

    /// Room for the values of one document's fields.
    pub fn slots<'d>(&self) -> Vec<Option<RawBsonRef<'d>>> {
        vec![None; self.fields.len()]
    }

    /// Adds `document` to `batch` if it is a row of the range; adds nothing otherwise. `slots` is overwritten.
    pub fn decode<'d>(
        &mut self,
        document: &'d RawDocument,
        hidden: Hidden,
        slots: &mut [Option<RawBsonRef<'d>>],
        batch: &mut Batch,
    ) -> Result<Outcome> {
        slots.fill(None);
        if !self.fill(document, slots).map_err(|error| self.unreadable(document, &error))? {
            return Ok(Outcome::Misfit);
        }
        let track = self.track.iter().find_map(|&field| slots[field].filter(|value| !is_none(*value)));
        let class = track.and_then(Class::of);
        let is_row = match hidden {
            Hidden::Nothing => true,
            Hidden::Track { class: tracked, .. } => class == Some(tracked),
            Hidden::WithoutTrack { class: tracked } => tracked.is_none() || class != tracked,
        };
        if !is_row {
            return Ok(Outcome::Skipped);
        }
        if let Err(error) = self.push(document, hidden, slots, track, batch) {
            batch.drop_partial_row();
            return Err(self.unreadable(document, &error));
        }
        Ok(Outcome::Row)
    }

    /// Puts the values that matter into their slots; `false` when one has no place in the table.
    fn fill<'d>(&mut self, document: &'d RawDocument, slots: &mut [Option<RawBsonRef<'d>>]) -> BsonResult<bool> {
        for (at, element) in document.iter_elements().enumerate() {
            let element = element?;
            let name = element.key().as_str();
            let guess = self.expected.get(at).copied().flatten().filter(|&field| self.fields[field].name == name);
            let field = guess.or_else(|| {
                let found = self.by_name.get(name).copied();
                if self.expected.len() <= at {
                    self.expected.resize(at + 1, None);
                }
                self.expected[at] = found;
                found
            });
            let Some(index) = field else {
                if self.takes_new && !is_none(element.value()?) {
                    return Ok(false);
                }
                continue;
            };
            let field = &self.fields[index];
            // Of a field that is there twice the server sees the first.
            if !field.is_read || slots[index].is_some() {
                continue;
            }
            let value = element.value()?;
            let fits = match field.read_as {
                ReadAs::Field(pin) => pin.fits(value, field.is_key),
                ReadAs::Unseen | ReadAs::Document => is_none(value) && !field.is_key,
            };
            if !fits {
                return Ok(false);
            }
            slots[index] = Some(value);
        }
        Ok(true)
    }

    fn push(
        &self,
        document: &RawDocument,
        hidden: Hidden,
        slots: &[Option<RawBsonRef<'_>>],
        track: Option<RawBsonRef<'_>>,
        batch: &mut Batch,
    ) -> BsonResult<()> {
        for output in &self.outputs {
            match *output {
                Output::Null => batch.push_null(),
                Output::Field { field, pin, sqlite, is_key } => match slots[field] {
                    None => batch.push_null(),
                    Some(value) => push_cell(value, pin, sqlite, is_key && pin == Pin::Json, batch)?,
                },
                Output::Document => {
                    push_cell(RawBsonRef::Document(document), Pin::Json, SqliteType::Text, false, batch)?;
                }
            }
        }
        match hidden {
            Hidden::Nothing => {}
            Hidden::Track { advances, now, .. } => {
                let value = track.unwrap_or(RawBsonRef::Null);
                push_cell(value, self.track_pin, natural(self.track_pin), false, batch)?;
                batch.push_int((advances && !Class::is_future(value, now)).into());
            }
            Hidden::WithoutTrack { .. } => batch.push_int(track.is_some().into()),
        }
        Ok(())
    }

    /// The values of `document` that it is ordered by: its track value, when the range is ordered by it, and its key.
    pub fn mark(&self, document: &RawDocument, by_track: bool, ties: &[String]) -> BsonResult<Vec<Bson>> {
        let mut mark = Vec::with_capacity(ties.len() + 1);
        if by_track {
            let mut value = Bson::Null;
            for &field in &self.track {
                match document.get(self.fields[field].name)? {
                    Some(found) if !is_none(found) => {
                        value = found.try_into()?;
                        break;
                    }
                    _ => {}
                }
            }
            mark.push(value);
        }
        for name in ties {
            mark.push(document.get(name)?.map_or(Ok(Bson::Null), TryInto::try_into)?);
        }
        Ok(mark)
    }

    /// The driver's message may hold what it could not read, so only the field is named.
    fn unreadable(&self, document: &RawDocument, _: &mongodb::bson::error::Error) -> Error {
        let failed = |what: String| {
            Error::new(
                Kind::SourceRead,
                format!("Failed to read table '{}' from external database", self.replica.target),
            )
            .because(what)
            .in_table(&self.replica.target)
        };
        for element in document.iter_elements().map_while(Result::ok) {
            let mut text = Vec::new();
            let is_broken = match element.value() {
                Ok(value) => super::json::push_json(&mut text, value).is_err(),
                Err(_) => true,
            };
            if is_broken {
                let name = element.key().as_str();
                return failed(format!(
                    "a document's field '{name}' holds text that is not UTF-8, or a value that is not BSON or is nested \
                     too deeply; mend it at the source, or leave it out with exclude_columns"
                ));
            }
        }
        failed("a document is not valid BSON".to_owned())
    }
}

/// Whether a value is none: null, or the deprecated `undefined`.
fn is_none(value: RawBsonRef<'_>) -> bool {
    matches!(value, RawBsonRef::Null | RawBsonRef::Undefined)
}

/// Where values of `pin` go when nobody says otherwise.
fn natural(pin: Pin) -> SqliteType {
    mapping::map(&pin.source_type(), pin.type_name(), None).unwrap_or(SqliteType::Text)
}
