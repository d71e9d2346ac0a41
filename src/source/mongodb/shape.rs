//! What is known of a collection's fields. It only ever grows: a field stays, and a type only widens.

use std::collections::HashMap;

use mongodb::bson::RawDocument;
use mongodb::bson::error::Result;

use super::kind::Pin;
use crate::schema::{Column, KnownColumn, SourceType};

/// The field that every document of a collection is known by.
pub const ID: &str = "_id";

/// The column that stands for the whole document.
pub const DOCUMENT: &str = "_doc";

/// The declared type of that column.
const DOCUMENT_TYPE: &str = "document";

/// The declared type of an `_id` that nothing is known of, as in an empty collection.
const UNSEEN: &str = "unseen";

/// More fields than this are values that are used as names: SQLite has room for 2,000 columns, and some of them are the
/// target's own.
pub const MOST_FIELDS: usize = 1_900;

/// Fields that documents are followed by unless the user says otherwise. They are known however many others there are, for
/// those who take whole documents.
const FOLLOWED: [&str; 2] = ["updated_at", "created_at"];

/// The fields of one collection in the order they were met.
#[derive(Debug, Default, Clone)]
pub struct Shape {
    fields: Vec<(String, Pin)>,
    by_name: HashMap<String, usize>,
}

impl Shape {
    /// What is known of the field `name`.
    pub fn pin(&self, name: &str) -> Option<Pin> {
        self.by_name.get(name).map(|&index| self.fields[index].1)
    }

    /// Whether there are more fields than a table can have, so that it is no use to learn of more.
    pub fn is_full(&self) -> bool {
        self.fields.len() > MOST_FIELDS
    }

    fn set(&mut self, name: &str, pin: Pin) {
        if let Some(&index) = self.by_name.get(name) {
            self.fields[index].1 = pin;
        } else if !self.is_full() || FOLLOWED.contains(&name) {
            self.add(name, pin);
        }
    }

    fn add(&mut self, name: &str, pin: Pin) {
        self.by_name.insert(name.to_owned(), self.fields.len());
        self.fields.push((name.to_owned(), pin));
    }

    /// Takes what earlier runs were told.
    pub fn recall(&mut self, known: &[KnownColumn]) {
        for column in known {
            let Some(pin) = Pin::parse(&column.declared) else { continue };
            let pin = self.pin(&column.name).map_or(pin, |learnt| pin.merged(learnt));
            self.set(&column.name, pin);
        }
    }

    /// Learns of a document's fields; says whether one that was known has other values than it was known to have.
    pub fn learn(&mut self, document: &RawDocument) -> Result<bool> {
        let mut widened = false;
        for element in document.iter_elements() {
            let element = element?;
            let (name, value) = (element.key().as_str(), element.value()?);
            let is_key = name == ID;
            match self.pin(name) {
                Some(pin) if pin.fits(value, is_key) => {}
                Some(_) => {
                    widened = true;
                    self.set(name, Pin::Json);
                }
                None => {
                    // Of keys, null is a value like others.
                    if let Some(pin) = Pin::of(value).or(is_key.then_some(Pin::Json)) {
                        self.set(name, pin);
                    }
                }
            }
        }
        Ok(widened)
    }

    /// Learns of the field `name`, which somebody asks for, however many others there are.
    pub fn learn_field(&mut self, document: &RawDocument, name: &str) {
        let value = document.get(name).ok().flatten();
        if let (None, Some(pin)) = (self.pin(name), value.and_then(Pin::of)) {
            self.add(name, pin);
        }
    }

    /// The columns: the key first, then the fields as they were met, then what stands for the whole document. `has_key`
    /// says whether every document has an `_id` of its own.
    pub fn columns(&self, has_key: bool) -> Vec<Column> {
        let column = |name: &str, pin: Pin| Column {
            name: name.to_owned(),
            declared: pin.declared(),
            type_name: pin.type_name().to_owned(),
            kind: pin.source_type(),
            // Ids of several types have no order in common to track them by, so some are followed as if they had none.
            nullable: !(has_key && name == ID && pin != Pin::Json),
            on_request: false,
            expression: None,
        };
        let virtual_column = |name: &str, declared: &str, on_request: bool| Column {
            name: name.to_owned(),
            declared: declared.to_owned(),
            type_name: declared.to_owned(),
            kind: SourceType::Opaque { known: true },
            nullable: false,
            on_request,
            expression: None,
        };
        let mut columns = Vec::with_capacity(self.fields.len() + 2);
        match self.pin(ID) {
            Some(pin) => columns.push(column(ID, pin)),
            None if has_key => columns.push(virtual_column(ID, UNSEEN, false)),
            None => {}
        }
        columns.extend(self.fields.iter().filter(|(name, _)| name != ID).map(|(name, pin)| column(name, *pin)));
        // A field that is really called so is a field.
        if self.pin(DOCUMENT).is_none() {
            columns.push(virtual_column(DOCUMENT, DOCUMENT_TYPE, true));
        }
        columns
    }
}

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAs {
    /// A field of this type.
    Field(Pin),
    /// A field that no document had yet.
    Unseen,
    /// The whole document.
    Document,
}

impl ReadAs {
    /// What [`Shape::columns`] said of `column`.
    pub fn of(column: &Column) -> Self {
        match Pin::parse(&column.declared) {
            Some(pin) => Self::Field(pin),
            None if column.declared == DOCUMENT_TYPE => Self::Document,
            None => Self::Unseen,
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Bson, RawDocumentBuf, doc};

    use super::*;

    fn learnt(documents: &[mongodb::bson::Document]) -> Shape {
        let mut shape = Shape::default();
        for document in documents {
            shape.learn(&RawDocumentBuf::try_from(document).unwrap()).unwrap();
        }
        shape
    }

    fn declared(shape: &Shape) -> Vec<(String, String)> {
        shape.columns(true).into_iter().map(|column| (column.name, column.declared)).collect()
    }

    #[test]
    fn types_are_pinned_and_widen() {
        let shape = learnt(&[
            doc! { "a": 1, "_id": 1, "none": Bson::Null },
            doc! { "_id": 2, "a": 1.5, "b": "x", "c": [1] },
            doc! { "_id": "3", "b": 1, "c": "text" },
        ]);
        let expected = [("_id", "json"), ("a", "int"), ("b", "json"), ("c", "json"), ("_doc", "document")];
        assert_eq!(declared(&shape), expected.map(|(name, declared)| (name.to_owned(), declared.to_owned())));
    }

    #[test]
    fn what_was_known_stays() {
        let mut shape = learnt(&[doc! { "_id": 1, "n": 1.5, "s": "x" }]);
        let known = |name: &str, declared: &str| KnownColumn { name: name.to_owned(), declared: declared.to_owned() };
        shape.recall(&[known("gone", "date"), known("n", "int"), known("s", "int"), known("_doc", "document")]);
        assert_eq!(shape.pin("gone"), Some(Pin::Date));
        assert_eq!(shape.pin("n"), Some(Pin::Int));
        assert_eq!(shape.pin("s"), Some(Pin::Json));
        assert_eq!(shape.pin("_doc"), None);
    }

    #[test]
    fn values_as_names_have_an_end() {
        let many: mongodb::bson::Document = (0..5_000).map(|i| (format!("f{i}"), Bson::Int32(i))).collect();
        let shape = learnt(&[many]);
        assert!(shape.is_full());
        assert_eq!(shape.columns(false).len(), MOST_FIELDS + 2);
    }
}
