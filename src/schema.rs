//! What a source says about its tables, in terms that are neutral between systems.

use std::fmt;

/// A table's name at the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The schema (PostgreSQL) or database (MySQL) it is in; `None` where the source has no such thing.
    pub schema: Option<String>,
    /// Its name there, exactly as the source spells it.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What a value is at the source, as far as the mapping has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceType {
    /// True or false.
    Bool,
    /// A signed integer of at most 64 bits.
    Int,
    /// An IEEE number of 32 bits.
    Float32,
    /// An IEEE number of 64 bits.
    Float64,
    /// A decimal number; `precision` is the declared number of significant digits, `None` when undeclared.
    Decimal {
        /// Declared significant digits.
        precision: Option<u32>,
    },
    /// Characters.
    Text,
    /// A UUID.
    Uuid,
    /// A MongoDB ObjectId: twelve bytes that begin with the second it was made in.
    ObjectId,
    /// Bytes.
    Bytes,
    /// A JSON document.
    Json,
    /// An array of any number of dimensions.
    Array(Box<SourceType>),
    /// A date with a time of day; `digits` of a second's fraction (0–6); `zoned` when it is an instant.
    Timestamp {
        /// Fraction digits, 0–6.
        digits: u8,
        /// Whether it is an instant (kept in UTC), not a wall clock's reading.
        zoned: bool,
    },
    /// A calendar date.
    Date,
    /// A time of day; `digits` and `zoned` as for a timestamp.
    Time {
        /// Fraction digits, 0–6.
        digits: u8,
        /// Whether it carries an offset.
        zoned: bool,
    },
    /// Anything else: the source is asked to write it as text.
    Opaque {
        /// Whether that is the form the README names for the type (as for an interval); the log says so of any other.
        known: bool,
    },
}

impl SourceType {
    /// Whether a value may take as many bytes as its writer liked.
    pub const fn is_long(&self) -> bool {
        matches!(self, Self::Text | Self::Bytes | Self::Json | Self::Array(_) | Self::Opaque { .. })
    }
}

/// One column of a table at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, exactly as the source spells it.
    pub name: String,
    /// Its type as the source prints it, such as `numeric(12,2)`; for messages and drift.
    pub declared: String,
    /// The type's bare name as `type_map` takes it, such as `numeric`.
    pub type_name: String,
    /// What its values are.
    pub kind: SourceType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether it is copied only when the option `columns` names it, as MongoDB's `_doc`.
    pub on_request: bool,
    /// What it is computed from, in the source's own SQL, when it is none of the table's own (the option `select`).
    pub expression: Option<String>,
}

/// A column as an earlier run left it, for sources that have no schema of their own to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownColumn {
    /// Its name at the source.
    pub name: String,
    /// Its type as [`Column::declared`] said.
    pub declared: String,
}

/// What a relation is at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// A table with rows of its own, or a partitioned parent.
    Table,
    /// A view, a foreign table: rows without a history of their own.
    View,
}

/// A table of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Table or view.
    pub relation: Relation,
    /// Its columns in the source's order.
    pub columns: Vec<Column>,
    /// The names of its key's columns in the key's order; empty when it has none.
    pub key: Vec<String>,
    /// Where the source may take values for equal that differ, as SQLite does where a collation says so: the collations in which
    /// the key tells rows apart, one for each of its columns; empty where it does so in any. `None` elsewhere.
    pub key_collations: Option<Vec<String>>,
    /// Roughly how many rows it has, where the source keeps such a figure.
    pub estimated_rows: Option<u64>,
    /// The leading columns of its indexes, one list an index.
    pub indexes: Vec<Vec<String>>,
    /// Whether the source can tell which rows changed since a saved snapshot (see `source::Range`).
    pub sees_changes: bool,
    /// Whether the source has no schema and learns of columns from rows. A column that such a table gets is in none of the
    /// rows that were read before, because a scan ends at the first row with an unknown one (`Error::reshaped`).
    pub grows: bool,
    /// Whether its key is the number that the source gives each row, for want of anything else that tells rows apart.
    pub numbered: bool,
}

/// A table of more rows is large: reading it whole every run, or without an index, is worth a hint.
const LARGE: u64 = 100_000;

impl Table {
    /// Adds the column `name`, which the source computes by `expression`; its values are of `kind`.
    pub fn compute(&mut self, name: &str, expression: &str, declared: String, type_name: String, kind: SourceType) {
        self.columns.push(Column {
            name: name.to_owned(),
            declared,
            type_name,
            kind,
            nullable: true,
            on_request: false,
            expression: Some(expression.to_owned()),
        });
    }

    /// Whether it is known to be large.
    pub fn is_large(&self) -> bool {
        self.estimated_rows.is_some_and(|rows| rows > LARGE)
    }

    /// The index of the column called `name`, exactly.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}
