//! The things that flow: rows in an arena ([`Batch`]), single values ([`Value`]) and positions ([`Position`]).
//!
//! A batch is one buffer for the bytes of all its rows and one flat list of small cells that point into it, so a row
//! costs no allocation. Batches are recycled: [`Batch::reset`] keeps both buffers.

use serde::{Deserialize, Serialize};

/// How much memory one row may take: SQLite takes no row above 1 GB.
pub const LARGEST_ROW: usize = 1 << 30;

/// One value of a row, in SQLite's five storage classes. Text and blobs point into the batch's bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A signed 64-bit integer.
    Int(i64),
    /// An IEEE double.
    Real(f64),
    /// UTF-8 text at `at`, `len` bytes long.
    Text {
        /// Offset into the batch's bytes.
        at: u32,
        /// Length in bytes.
        len: u32,
    },
    /// Bytes at `at`, `len` bytes long.
    Blob {
        /// Offset into the batch's bytes.
        at: u32,
        /// Length in bytes.
        len: u32,
    },
}

/// One value of a row, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// NULL.
    Null,
    /// A signed 64-bit integer.
    Int(i64),
    /// An IEEE double.
    Real(f64),
    /// UTF-8 text.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// One value on its own: a part of a key or a position.
///
/// Its serialised form, kept in the target's state, is tagged, such as `{"i":42}`, so that 1 and "1" stay apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// NULL.
    #[serde(rename = "n")]
    Null,
    /// A signed 64-bit integer.
    #[serde(rename = "i")]
    Int(i64),
    /// An IEEE double, kept as its shortest exact text.
    #[serde(rename = "r", with = "exact_real")]
    Real(f64),
    /// Text.
    #[serde(rename = "t")]
    Text(String),
    /// Bytes.
    #[serde(rename = "b")]
    Blob(Vec<u8>),
}

mod exact_real {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:?}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Value {
    /// The value, borrowed.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Int(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Blob(value) => ValueRef::Blob(value),
        }
    }

    /// The value as a person reads it: text as it is, numbers in digits, bytes in hex.
    pub fn render(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Real(value) => value.to_string(),
            Self::Text(value) => value.clone(),
            Self::Blob(value) => hex(value),
        }
    }
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A key: the values of a table's key columns, in the key's order.
pub type Key = Vec<Value>;

/// Where an incremental table stands: the last row's track value and, as tie-breaker, its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The track column's value.
    pub track: Value,
    /// The row's key.
    pub key: Key,
}

/// Rows of one width in an arena.
#[derive(Debug, Default)]
pub struct Batch {
    width: usize,
    cells: Vec<Cell>,
    bytes: Vec<u8>,
}

impl Batch {
    /// An empty batch for rows of `width` cells.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Empties the batch for rows of `width` cells and keeps its buffers.
    pub fn reset(&mut self, width: usize) {
        self.width = width;
        self.cells.clear();
        self.bytes.clear();
    }

    /// How many cells a row has.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// How many whole rows there are.
    pub fn rows(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is a whole row `row`; told without a division, for loops over all of them.
    pub fn has_row(&self, row: usize) -> bool {
        self.width > 0 && (row + 1) * self.width <= self.cells.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// How much memory its rows take.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.cells.len() * size_of::<Cell>()
    }

    /// How many bytes of values it carries: text and blobs by their length, anything else as eight.
    pub fn payload(&self) -> u64 {
        let numbers = self.cells.iter().filter(|cell| matches!(cell, Cell::Int(_) | Cell::Real(_))).count();
        (self.bytes.len() + numbers * 8) as u64
    }

    /// Drops the cells of a last row that is not whole.
    pub fn drop_partial_row(&mut self) {
        let whole = self.rows() * self.width;
        self.cells.truncate(whole);
    }

    /// Drops the last row, and the memory of its values.
    pub fn drop_last_row(&mut self) {
        let before = self.rows().saturating_sub(1) * self.width;
        let starts = self.cells[before..].iter().filter_map(|cell| match cell {
            Cell::Text { at, .. } | Cell::Blob { at, .. } => Some(*at as usize),
            Cell::Null | Cell::Int(_) | Cell::Real(_) => None,
        });
        if let Some(start) = starts.min() {
            self.bytes.truncate(start);
        }
        self.cells.truncate(before);
    }

    /// Adds a NULL.
    pub fn push_null(&mut self) {
        self.cells.push(Cell::Null);
    }

    /// Adds an integer.
    pub fn push_int(&mut self, value: i64) {
        self.cells.push(Cell::Int(value));
    }

    /// Adds a double.
    pub fn push_real(&mut self, value: f64) {
        self.cells.push(Cell::Real(value));
    }

    /// Adds text; the caller vouches for UTF-8.
    pub fn push_text(&mut self, text: &[u8]) {
        let at = self.offset();
        self.bytes.extend_from_slice(text);
        self.cells.push(Cell::Text { at, len: self.offset() - at });
    }

    /// Adds text that `write` appends to the buffer it is given; it must only append, and only UTF-8.
    pub fn push_text_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.offset();
        write(&mut self.bytes);
        self.cells.push(Cell::Text { at, len: self.offset() - at });
    }

    /// The same for text that may turn out to be none: then nothing is added.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn try_push_text_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let at = self.offset();
        if let Err(error) = write(&mut self.bytes) {
            self.bytes.truncate(at as usize);
            return Err(error);
        }
        self.cells.push(Cell::Text { at, len: self.offset() - at });
        Ok(())
    }

    /// Adds bytes.
    pub fn push_blob(&mut self, blob: &[u8]) {
        let at = self.offset();
        self.bytes.extend_from_slice(blob);
        self.cells.push(Cell::Blob { at, len: self.offset() - at });
    }

    /// Adds a value on its own.
    pub fn push_value(&mut self, value: &Value) {
        match value {
            Value::Null => self.push_null(),
            Value::Int(value) => self.push_int(*value),
            Value::Real(value) => self.push_real(*value),
            Value::Text(value) => self.push_text(value.as_bytes()),
            Value::Blob(value) => self.push_blob(value),
        }
    }

    /// Puts a text in a cell's place, as [`push_text_with`](Self::push_text_with) adds one. The bytes of before stay in the arena,
    /// where no cell names them any more.
    pub fn replace(&mut self, row: usize, column: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.offset();
        write(&mut self.bytes);
        self.cells[row * self.width + column] = Cell::Text { at, len: self.offset() - at };
    }

    /// Puts a NULL in a cell's place.
    pub fn blank(&mut self, row: usize, column: usize) {
        self.cells[row * self.width + column] = Cell::Null;
    }

    /// The cells of row `row`.
    pub fn row(&self, row: usize) -> &[Cell] {
        &self.cells[row * self.width..(row + 1) * self.width]
    }

    /// What `cell` of this batch holds.
    pub fn resolve(&self, cell: Cell) -> ValueRef<'_> {
        let slice = |at: u32, len: u32| &self.bytes[at as usize..at as usize + len as usize];
        match cell {
            Cell::Null => ValueRef::Null,
            Cell::Int(value) => ValueRef::Int(value),
            Cell::Real(value) => ValueRef::Real(value),
            Cell::Text { at, len } => ValueRef::Text(slice(at, len)),
            Cell::Blob { at, len } => ValueRef::Blob(slice(at, len)),
        }
    }

    /// What row `row` holds in column `column`; `None` where there is no such row or column.
    pub fn get(&self, row: usize, column: usize) -> Option<ValueRef<'_>> {
        let cell = self.cells.get(row * self.width..(row + 1) * self.width)?.get(column)?;
        Some(self.resolve(*cell))
    }

    /// A copy of the value in row `row`, column `column`.
    pub fn value(&self, row: usize, column: usize) -> Value {
        match self.resolve(self.row(row)[column]) {
            ValueRef::Null => Value::Null,
            ValueRef::Int(value) => Value::Int(value),
            ValueRef::Real(value) => Value::Real(value),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(blob) => Value::Blob(blob.to_vec()),
        }
    }

    /// Whether row `row`, column `column` is `value`.
    pub fn holds(&self, row: usize, column: usize, value: &Value) -> bool {
        match (self.resolve(self.row(row)[column]), value) {
            (ValueRef::Null, Value::Null) => true,
            (ValueRef::Int(cell), Value::Int(value)) => cell == *value,
            (ValueRef::Real(cell), Value::Real(value)) => cell.total_cmp(value).is_eq(),
            (ValueRef::Text(cell), Value::Text(value)) => cell == value.as_bytes(),
            (ValueRef::Blob(cell), Value::Blob(value)) => cell == value,
            _ => false,
        }
    }

    /// A copy of the values in row `row` at `columns`.
    pub fn key(&self, row: usize, columns: &[usize]) -> Key {
        columns.iter().map(|&column| self.value(row, column)).collect()
    }

    /// The end of the bytes as an offset. Sources end a batch long before 4 GiB, and look at [`LARGEST_ROW`] where a value may
    /// be large.
    fn offset(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a batch stays below 4 GiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_dropped_takes_no_memory() {
        let mut batch = Batch::new(3);
        let row = |batch: &mut Batch, text: &[u8]| {
            batch.push_int(1);
            batch.push_text(text);
            batch.push_blob(text);
        };
        row(&mut batch, b"kept");
        let size = batch.size();
        for _ in 0..10 {
            row(&mut batch, &[b'x'; 1_000]);
            batch.drop_last_row();
        }
        assert_eq!((batch.rows(), batch.size()), (1, size));
        assert_eq!(batch.value(0, 1), Value::Text("kept".to_owned()));
    }
}
