//! Rows as JSON, in which every value keeps its storage class and all its digits.
//!
//! A row is an array. What JSON has is written as it is; what it has not is an array of a letter and what SQL makes the value
//! of. In a column declared as BLOB, text is the digits of a blob, because nearly everything there is one.

use std::io::Write as _;

use crate::batch::{Batch, Cell, Key, ValueRef};
use crate::error::{Error, Kind, Result};
use crate::mapping::SqliteType;
use crate::mapping::form::push_hex;
use crate::replica::Replica;

/// How much JSON of several rows goes into one statement: a parameter takes 2 MB.
const SEVERAL: usize = 1_600_000;

/// The most that one row may take: it has to go through a parameter, and into a row of a Durable Object, and both take 2 MB
/// (<https://developers.cloudflare.com/durable-objects/platform/limits/>).
pub(super) const MOST: usize = 1_990_000;

/// What is said of that where it is about blobs.
pub(super) const MOST_OF_A_BLOB: &str = "2 MB, which is about 1 MB of a blob, because it goes as its digits";

/// The doubles between these, and zero, are read back from their decimal digits to the last bit; of larger and smaller ones
/// some are not. [ran] 200,000 random ones on workerd for each range.
const EXACT: std::ops::RangeInclusive<f64> = 1e-22..=1e22;

/// Which columns hold values that JSON has no form for, as far as was seen.
pub(super) type Special = Vec<bool>;

/// Those of which it is known from the start.
pub(super) fn special(replica: &Replica) -> Special {
    replica.columns.iter().map(|column| column.sqlite == SqliteType::Blob).collect()
}

/// The expression of column `index` of the row `value`, a column declared as `sqlite`.
pub(super) fn expression(index: usize, sqlite: SqliteType, special: bool) -> String {
    if !special {
        return format!("value->>{index}");
    }
    let text =
        if sqlite == SqliteType::Blob { format!("WHEN 'text' THEN unhex(value->>{index})") } else { String::new() };
    format!(
        "CASE json_type(value,'$[{index}]') {text} WHEN 'array' THEN CASE value->>'$[{index}][0]' \
         WHEN 'b' THEN unhex(value->>'$[{index}][1]') WHEN 't' THEN CAST(unhex(value->>'$[{index}][1]') AS TEXT) \
         WHEN 'r' THEN (value->>'$[{index}][1]')*pow(2.0,value->>'$[{index}][2]') \
         WHEN '+' THEN 9e999 WHEN '-' THEN -9e999 END ELSE value->>{index} END"
    )
}

/// Rows on their way into statements.
pub(super) struct Encoder<'a> {
    replica: &'a Replica,
    json: Vec<u8>,
    rows: usize,
    /// Which columns need the longer expression.
    pub(super) special: Special,
}

/// Rows for one statement.
pub(super) struct Chunk {
    /// An array of rows.
    pub(super) json: String,
    /// How many.
    pub(super) rows: usize,
}

impl Chunk {
    /// No rows.
    pub(super) fn none() -> Self {
        Self { json: "[]".to_owned(), rows: 0 }
    }
}

impl<'a> Encoder<'a> {
    pub(super) fn new(replica: &'a Replica, special: Special) -> Self {
        Self { replica, json: Vec::new(), rows: 0, special }
    }

    /// Adds row `row` of `batch`; gives the rows before it when the statement is full with them.
    pub(super) fn push(&mut self, batch: &Batch, row: usize) -> Result<Option<Chunk>> {
        let start = self.json.len();
        self.json.push(if start == 0 { b'[' } else { b',' });
        self.json.push(b'[');
        let width = self.replica.columns.len();
        for (column, cell) in batch.row(row)[..width].iter().enumerate() {
            if column > 0 {
                self.json.push(b',');
            }
            let before = self.json.len();
            let blob = self.replica.columns[column].sqlite == SqliteType::Blob;
            self.special[column] |= write(batch.resolve(*cell), blob, &mut self.json);
            if self.json.len() - before > MOST {
                return Err(too_large(self.replica, column, self.json.len() - before, cell));
            }
        }
        self.json.push(b']');
        if self.json.len() - start > MOST {
            return Err(row_too_large(self.replica, self.json.len() - start));
        }
        if start > 0 && self.json.len() > SEVERAL {
            let rest = self.json.split_off(start);
            let chunk = self.take()?;
            self.json.extend_from_slice(&rest);
            self.json[0] = b'[';
            self.rows = 1;
            return Ok(chunk);
        }
        self.rows += 1;
        Ok(None)
    }

    /// The rows that are left.
    pub(super) fn take(&mut self) -> Result<Option<Chunk>> {
        if self.json.is_empty() {
            return Ok(None);
        }
        self.json.push(b']');
        let json = std::mem::take(&mut self.json);
        let json =
            String::from_utf8(json).map_err(|_| Error::new(Kind::Internal, "A batch holds text that is not UTF-8"))?;
        Ok(Some(Chunk { json, rows: std::mem::take(&mut self.rows) }))
    }
}

/// Keys as an array of rows, as many as fit into one statement, and how many those are.
pub(super) fn keys(keys: &[Key]) -> Result<Chunk> {
    let mut json = vec![b'['];
    let mut rows = 0;
    for key in keys {
        let start = json.len();
        if start > 1 {
            json.push(b',');
        }
        json.push(b'[');
        for (index, value) in key.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            // Keys are compared by the longer expression in any case, as values of any column.
            write(value.as_ref(), false, &mut json);
        }
        json.push(b']');
        if rows > 0 && json.len() > SEVERAL {
            json.truncate(start);
            break;
        }
        rows += 1;
    }
    json.push(b']');
    let json = String::from_utf8(json).map_err(|_| Error::new(Kind::Internal, "A key holds text that is not UTF-8"))?;
    Ok(Chunk { json, rows })
}

/// Adds a value, and says whether it is one that JSON has no form for.
pub(super) fn write(value: ValueRef<'_>, blob: bool, out: &mut Vec<u8>) -> bool {
    match value {
        ValueRef::Null => out.extend_from_slice(b"null"),
        ValueRef::Int(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        ValueRef::Real(value) => return write_real(value, out),
        ValueRef::Text(text) if blob || text.contains(&0) => {
            out.extend_from_slice(b"[\"t\",\"");
            push_hex(text, out);
            out.extend_from_slice(b"\"]");
            return true;
        }
        ValueRef::Text(text) => write_text(text, out),
        ValueRef::Blob(bytes) if blob => {
            out.push(b'"');
            push_hex(bytes, out);
            out.push(b'"');
        }
        ValueRef::Blob(bytes) => {
            out.extend_from_slice(b"[\"b\",\"");
            push_hex(bytes, out);
            out.extend_from_slice(b"\"]");
            return true;
        }
    }
    false
}

fn write_real(value: f64, out: &mut Vec<u8>) -> bool {
    if value == 0.0 || EXACT.contains(&value.abs()) {
        // A vector takes everything, and a finite double is always written.
        let _ = serde_json::to_writer(&mut *out, &value);
        return false;
    }
    if value.is_nan() {
        // As SQLite keeps it.
        out.extend_from_slice(b"null");
        return false;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"[\"+\"]" } else { b"[\"-\"]" });
        return true;
    }
    let bits = value.to_bits();
    let (raw_exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    // The least numbers have no leading bit.
    let (mantissa, exponent) =
        if raw_exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, raw_exponent.cast_signed() - 1075) };
    let sign = if value < 0.0 { "-" } else { "" };
    let _ = write!(out, "[\"r\",{sign}{mantissa},{exponent}]");
    true
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    // Whoever made the batch vouches for UTF-8.
    let text = String::from_utf8_lossy(text);
    // A vector takes everything, and text is always written.
    let _ = serde_json::to_writer(out, text.as_ref());
}

fn too_large(replica: &Replica, column: usize, size: usize, cell: &Cell) -> Error {
    let name = &replica.columns[column].name;
    let most = if matches!(cell, Cell::Blob { .. }) { MOST_OF_A_BLOB } else { "2 MB" };
    limit(replica, &format!("Column '{name}' has a value that takes {} of JSON", megabytes(size)), most)
}

fn row_too_large(replica: &Replica, size: usize) -> Error {
    limit(replica, &format!("A row takes {} of JSON", megabytes(size)), "2 MB")
}

/// The error of what there is no room for, and how much there is.
pub(super) fn limit(replica: &Replica, what: &str, most: &str) -> Error {
    Error::new(Kind::TargetWrite, format!("Failed to write to table '{}'", replica.target)).because(format!(
        "{what}, and a StarbaseDB in a Durable Object takes {most}; leave large columns out with exclude_columns, or large \
         rows with where"
    ))
}

/// A number of bytes for people.
pub(super) fn megabytes(size: usize) -> String {
    format!("{}.{} MB", size / 1_000_000, size % 1_000_000 / 100_000)
}
