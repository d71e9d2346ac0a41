//! Source type → SQLite type and form: pure functions and one table to read.
//!
//! [`map`] decides once per column; a source's decoder then writes cells of that type in one pass from the wire into the
//! batch:
//!
//! - `INTEGER`: integers; booleans as 0 and 1; decimals when integral and in range, else as their text.
//! - `REAL`: doubles; NaN and infinities as text.
//! - `TEXT`: the canonical text of the type, by the table in the README. How dates and decimals are spelled is in
//!   [`time`] and [`decimal`], so that every source spells them alike.
//! - `BLOB`: a byte string's own bytes, a UUID's 16, an ObjectId's 12, a text's UTF-8.

pub mod decimal;
pub mod form;
pub mod mask;
pub mod time;

use crate::error::{Error, Kind, Result};
use crate::schema::SourceType;

/// A column type that SQLite applies no surprising affinity to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SqliteType {
    /// 64-bit integers.
    #[serde(rename = "INTEGER")]
    Integer,
    /// IEEE doubles.
    #[serde(rename = "REAL")]
    Real,
    /// UTF-8 text.
    #[serde(rename = "TEXT")]
    Text,
    /// Bytes.
    #[serde(rename = "BLOB")]
    Blob,
}

impl SqliteType {
    /// All of them, as users write them.
    pub const NAMES: [&str; 4] = ["INTEGER", "REAL", "TEXT", "BLOB"];

    /// The type as SQL spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Text => "TEXT",
            Self::Blob => "BLOB",
        }
    }

    /// Reads a type as users write it, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Integer, Self::Real, Self::Text, Self::Blob]
            .into_iter()
            .find(|each| each.name().eq_ignore_ascii_case(name))
    }
}

/// The built-in table: what each source type becomes when the user says nothing.
fn built_in(kind: &SourceType) -> SqliteType {
    match kind {
        SourceType::Bool | SourceType::Int => SqliteType::Integer,
        // Fifteen significant digits are what a double keeps whatever they are.
        SourceType::Float32 | SourceType::Float64 | SourceType::Decimal { precision: Some(1..=15) } => SqliteType::Real,
        SourceType::Decimal { .. }
        | SourceType::Text
        | SourceType::Uuid
        | SourceType::ObjectId
        | SourceType::Json
        | SourceType::Array(_)
        | SourceType::Timestamp { .. }
        | SourceType::Date
        | SourceType::Time { .. }
        | SourceType::Opaque { .. } => SqliteType::Text,
        SourceType::Bytes => SqliteType::Blob,
    }
}

/// Whether values of `kind` can be written as `sqlite` at all.
fn possible(kind: &SourceType, sqlite: SqliteType) -> bool {
    match sqlite {
        SqliteType::Text => true,
        SqliteType::Integer | SqliteType::Real => matches!(
            kind,
            SourceType::Bool
                | SourceType::Int
                | SourceType::Float32
                | SourceType::Float64
                | SourceType::Decimal { .. }
                | SourceType::Text
                | SourceType::Opaque { .. }
        ),
        SqliteType::Blob => {
            matches!(
                kind,
                SourceType::Bytes
                    | SourceType::Uuid
                    | SourceType::ObjectId
                    | SourceType::Text
                    | SourceType::Json
                    | SourceType::Opaque { .. }
            )
        }
    }
}

/// Decides where values of `kind` go. `wanted` is the user's choice for the column or its type; `type_name` is the
/// type's name for the message.
///
/// # Errors
/// `TYPE_MAP` when the user's choice is impossible for the type.
pub fn map(kind: &SourceType, type_name: &str, wanted: Option<SqliteType>) -> Result<SqliteType> {
    let sqlite = wanted.unwrap_or_else(|| built_in(kind));
    if !possible(kind, sqlite) {
        return Err(Error::new(Kind::TypeMap, format!("Cannot map external type '{type_name}' to SQLite type"))
            .because(format!(
                "{} can't hold its values; leave it out of type_map and types, or use TEXT",
                sqlite.name()
            )));
    }
    Ok(sqlite)
}

/// How values of `kind`, `declared` so at the source, are spelled in a column of type `sqlite`: a change between two columns
/// with the same spelling changes no cell, so it needs no rewrite of the rows. Where the source itself rewrites its values
/// by such a change, as with another scale, the spelling is another one.
pub fn spelling(kind: &SourceType, sqlite: SqliteType, declared: &str) -> String {
    let fraction = |digits: u8, zoned: bool| format!("({digits}){}", if zoned { "z" } else { "" });
    match (kind, sqlite) {
        (SourceType::Timestamp { digits, zoned }, _) => format!("timestamp{}", fraction(*digits, *zoned)),
        (SourceType::Time { digits, zoned }, _) => format!("time{}", fraction(*digits, *zoned)),
        (SourceType::Array(element), _) => {
            format!("{}[]", spelling(element, built_in(element), declared.trim_end_matches("[]")))
        }
        (SourceType::Date, _) => "date".to_owned(),
        (SourceType::Uuid, _) => "uuid".to_owned(),
        (SourceType::ObjectId, _) => "objectid".to_owned(),
        (SourceType::Bytes, _) => "bytes".to_owned(),
        // The source's text may be spelled in any way, so it never equals the text of a text column.
        (SourceType::Opaque { .. }, _) => "opaque".to_owned(),
        (SourceType::Bool | SourceType::Int, SqliteType::Integer) => "integer".to_owned(),
        (SourceType::Decimal { .. }, SqliteType::Real) => format!("real{}", scale(declared)),
        (SourceType::Decimal { .. }, _) => format!("{kind:?}{} as {}", scale(declared), sqlite.name()),
        (SourceType::Float64, SqliteType::Real) => "real".to_owned(),
        (SourceType::Json, SqliteType::Text) if declared.starts_with("json") => declared.to_owned(),
        // PostgreSQL fills these with spaces.
        (SourceType::Text, SqliteType::Text) if declared.starts_with("character(") => declared.to_owned(),
        (SourceType::Text | SourceType::Json, SqliteType::Text) => "text".to_owned(),
        (kind, sqlite) => format!("{kind:?} as {}", sqlite.name()),
    }
}

/// To how many digits behind the point the source rounds, as in `numeric(20,2)`: `.2`; nothing where it doesn't.
fn scale(declared: &str) -> String {
    let modifier = declared.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    modifier.map_or_else(String::new, |(digits, _)| {
        format!(".{}", digits.split_once(',').map_or("0", |(_, scale)| scale.trim()))
    })
}
