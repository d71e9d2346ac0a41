//! The rows of `COPY … (FORMAT binary)`, decoded from pieces of any size.

use super::array::{Fault, push_array};
use super::wire::{Malformed, Reader, Wire};
use crate::batch::{Batch, LARGEST_ROW};
use crate::error::{Error, Kind, Result};
use crate::mapping::SqliteType;
use crate::mapping::form::{Scalar, push_cell};
use crate::source::reading::too_large;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// A message of PostgreSQL's is never longer; more than that is no row.
const LONGEST_ROW: usize = 1 << 30;

/// One cell of the rows that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The column's name, for messages.
    pub name: String,
    /// How its values come.
    pub wire: Wire,
    /// Where they go.
    pub sqlite: SqliteType,
}

/// What a piece of the stream held.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Something without a row, so many bytes long.
    Passed(usize),
    /// A row, so many bytes long; it was added to the batch.
    Row(usize),
    /// Not yet a whole row.
    More,
}

/// Turns the stream into rows.
pub struct Decoder {
    cells: Vec<Cell>,
    check_text: bool,
    place: Place,
    scratch: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Header,
    Rows,
    End,
}

impl Decoder {
    /// A decoder for rows of `cells`; `check_text` where the server does not vouch for UTF-8.
    pub fn new(cells: Vec<Cell>, check_text: bool) -> Self {
        Self { cells, check_text, place: Place::Header, scratch: Vec::new() }
    }

    /// Whether the stream has said that it is complete.
    pub fn is_complete(&self) -> bool {
        self.place == Place::End
    }

    /// Takes what begins `input`. Adds nothing to `batch` unless the answer is a row.
    pub fn step(&mut self, input: &[u8], batch: &mut Batch) -> Result<Step> {
        match self.place {
            Place::Header => self.header(input),
            Place::Rows => self.row(input, batch),
            Place::End if input.is_empty() => Ok(Step::More),
            Place::End => Err(garbled("data after its end")),
        }
    }

    fn header(&mut self, input: &[u8]) -> Result<Step> {
        let known = input.len().min(SIGNATURE.len());
        if input[..known] != SIGNATURE[..known] {
            return Err(garbled("no COPY header"));
        }
        let mut reader = Reader(input);
        let mut length = || {
            reader.take(SIGNATURE.len())?;
            let flags = reader.int4()?;
            let extension = usize::try_from(reader.int4()?).map_err(|_| Malformed)?;
            Ok::<_, Malformed>((flags, SIGNATURE.len() + 8 + extension))
        };
        match length() {
            Ok((flags, _)) if flags != 0 => Err(garbled("a COPY header of another version")),
            Ok((_, length)) if length <= input.len() => {
                self.place = Place::Rows;
                Ok(Step::Passed(length))
            }
            Ok((_, length)) if length > LONGEST_ROW => Err(garbled("a COPY header without an end")),
            _ => Ok(Step::More),
        }
    }

    fn row(&mut self, input: &[u8], batch: &mut Batch) -> Result<Step> {
        let Ok(fields) = Reader(input).int2() else { return Ok(Step::More) };
        if fields == -1 {
            self.place = Place::End;
            return Ok(Step::Passed(2));
        }
        if usize::try_from(fields) != Ok(self.cells.len()) {
            return Err(garbled("a row with another number of fields"));
        }
        // Measured first, so that a row in pieces is never decoded twice.
        let Some(length) = measure(input, self.cells.len())? else { return Ok(Step::More) };
        if let Err(error) = self.fields(&input[2..length], batch) {
            batch.drop_partial_row();
            return Err(error);
        }
        Ok(Step::Row(length))
    }

    fn fields(&mut self, input: &[u8], batch: &mut Batch) -> Result<()> {
        let mut reader = Reader(input);
        for cell in &self.cells {
            let value = reader.value().map_err(|_| garbled("a field without an end"))?;
            match value {
                None => batch.push_null(),
                // A few bytes may be many digits.
                Some(_) if batch.size() > LARGEST_ROW => return Err(too_large(&cell.name)),
                Some(bytes) => push(cell, bytes, self.check_text, batch, &mut self.scratch)?,
            }
        }
        Ok(())
    }
}

/// The length of the row that begins `input`, when all of it is there.
fn measure(input: &[u8], fields: usize) -> Result<Option<usize>> {
    let mut at = 2;
    for _ in 0..fields {
        let Some(&length) = input.get(at..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
        at += 4;
        match i32::from_be_bytes(length) {
            -1 => {}
            length => at += usize::try_from(length).map_err(|_| garbled("a field with a negative length"))?,
        }
        if at > LONGEST_ROW {
            return Err(garbled("a row without an end"));
        }
    }
    Ok((at <= input.len()).then_some(at))
}

fn push(cell: &Cell, bytes: &[u8], check_text: bool, batch: &mut Batch, scratch: &mut Vec<u8>) -> Result<()> {
    // Most values of most tables are kept as they come, and reading them takes less than telling what they are.
    match cell.sqlite {
        SqliteType::Text if !check_text => {
            if let Some(text) = cell.wire.text(bytes) {
                batch.push_text(text);
                return Ok(());
            }
        }
        SqliteType::Integer => {
            if let Some(value) = cell.wire.integer(bytes) {
                batch.push_int(value);
                return Ok(());
            }
        }
        _ => {}
    }
    if let Wire::Array(element) = &cell.wire {
        let pushed = batch.try_push_text_with(|out| push_array(bytes, element, check_text, LARGEST_ROW, out));
        return pushed.map_err(|fault| match fault {
            Fault::TooLarge => too_large(&cell.name),
            Fault::Malformed => malformed(cell, check_text),
        });
    }
    let scalar = cell.wire.read(bytes).map_err(|Malformed| malformed(cell, false))?;
    if let (true, Scalar::Text(text) | Scalar::Json(text)) = (check_text && cell.sqlite != SqliteType::Blob, scalar) {
        std::str::from_utf8(text).map_err(|_| malformed(cell, true))?;
    }
    push_cell(scalar, cell.sqlite, batch, scratch);
    Ok(())
}

fn malformed(cell: &Cell, text: bool) -> Error {
    let name = &cell.name;
    if text {
        Error::new(Kind::SourceRead, format!("Column '{name}' holds text that is not UTF-8")).because(format!(
            "the database's encoding is SQL_ASCII, which checks nothing; give types: {{ {name}: 'BLOB' }} to copy the bytes"
        ))
    } else {
        Error::new(Kind::SourceRead, format!("Column '{name}' came in a form that can't be read"))
            .because("the server sent another type than it declares; it may have changed meanwhile")
            .transient(true)
    }
}

fn garbled(what: &str) -> Error {
    Error::new(Kind::SourceRead, "The server's answer can't be read").because(format!("it sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Value;

    fn cell(wire: Wire, sqlite: SqliteType) -> Cell {
        Cell { name: "c".to_owned(), wire, sqlite }
    }

    fn stream(rows: &[&[Option<&[u8]>]]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend_from_slice(&[0; 8]);
        for row in rows {
            out.extend_from_slice(&i16::try_from(row.len()).unwrap().to_be_bytes());
            for field in *row {
                match field {
                    None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                    Some(bytes) => {
                        out.extend_from_slice(&i32::try_from(bytes.len()).unwrap().to_be_bytes());
                        out.extend_from_slice(bytes);
                    }
                }
            }
        }
        out.extend_from_slice(&(-1_i16).to_be_bytes());
        out
    }

    /// Feeds `data` in pieces of `size` bytes, keeping what a piece leaves over.
    fn decode(cells: &[Cell], data: &[u8], size: usize, check_text: bool) -> Result<(Batch, bool)> {
        let mut decoder = Decoder::new(cells.to_vec(), check_text);
        let mut batch = Batch::new(cells.len());
        let mut carry = Vec::new();
        for piece in data.chunks(size) {
            carry.extend_from_slice(piece);
            let mut at = 0;
            loop {
                match decoder.step(&carry[at..], &mut batch)? {
                    Step::More => break,
                    Step::Passed(length) | Step::Row(length) => at += length,
                }
            }
            carry.drain(..at);
        }
        Ok((batch, decoder.is_complete()))
    }

    #[test]
    fn any_piece_size_gives_the_same_rows() {
        let cells = [cell(Wire::Int4, SqliteType::Integer), cell(Wire::Text, SqliteType::Text)];
        let data =
            stream(&[&[Some(&7_i32.to_be_bytes()), Some(b"seven")], &[None, Some(b"")], &[Some(&[255; 4]), None]]);
        for size in 1..=data.len() {
            let (batch, complete) = decode(&cells, &data, size, false).unwrap();
            assert!(complete);
            let rows: Vec<_> = (0..batch.rows()).map(|row| batch.key(row, &[0, 1])).collect();
            assert_eq!(
                rows,
                [
                    vec![Value::Int(7), Value::Text("seven".to_owned())],
                    vec![Value::Null, Value::Text(String::new())],
                    vec![Value::Int(-1), Value::Null],
                ]
            );
        }
    }

    #[test]
    fn an_end_that_is_missing_shows() {
        let cells = [cell(Wire::Bool, SqliteType::Integer)];
        let data = stream(&[&[Some(&[1])]]);
        let (batch, complete) = decode(&cells, &data[..data.len() - 2], 1024, false).unwrap();
        assert_eq!((batch.rows(), complete), (1, false));
    }

    #[test]
    fn hostile_streams_are_errors() {
        let cells = [cell(Wire::Int4, SqliteType::Integer)];
        for data in [
            b"HTTP/1.1 400 Bad Request".to_vec(),
            stream(&[&[Some(&[1, 2, 3])]]),
            stream(&[&[Some(&[0; 4]), None]]),
            [stream(&[]), vec![0]].concat(),
            [&stream(&[])[..19], &[0, 1, 0x80, 0, 0, 0]].concat(),
            [&stream(&[])[..19], &[0, 1, 0x7f, 255, 255, 255]].concat(),
        ] {
            let error = decode(&cells, &data, 5, false).map(drop).unwrap_err();
            assert_eq!(error.kind(), Kind::SourceRead);
        }
    }

    #[test]
    fn hostile_values_are_errors_not_panics() {
        let wires = [
            Wire::Bool,
            Wire::Int8,
            Wire::Numeric,
            Wire::Jsonb,
            Wire::Uuid,
            Wire::Date,
            Wire::Time { digits: 6 },
            Wire::TimeTz { digits: 6 },
            Wire::TimestampTz { digits: 6 },
            Wire::Array(Box::new(Wire::Text)),
            Wire::Array(Box::new(Wire::Numeric)),
        ];
        let mut random = fastrand::Rng::with_seed(1);
        for wire in wires {
            let cells = [cell(wire, SqliteType::Text)];
            for _ in 0..3000 {
                // Small numbers are likelier to be taken for lengths and counts.
                let bytes: Vec<u8> =
                    (0..random.usize(..40)).map(|_| if random.bool() { 0 } else { random.u8(..6) }).collect();
                let _ = decode(&cells, &stream(&[&[Some(&bytes)]]), 4096, true);
            }
        }
    }

    #[test]
    fn arrays_become_json() {
        let header = |sizes: &[i32]| {
            let mut out = i32::try_from(sizes.len()).unwrap().to_be_bytes().to_vec();
            out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 25]);
            for size in sizes {
                out.extend_from_slice(&size.to_be_bytes());
                out.extend_from_slice(&1_i32.to_be_bytes());
            }
            out
        };
        let mut data = header(&[2, 2]);
        for text in [Some("a\"\\"), None, Some("\u{1}\n"), Some("ü")] {
            match text {
                None => data.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(text) => {
                    data.extend_from_slice(&i32::try_from(text.len()).unwrap().to_be_bytes());
                    data.extend_from_slice(text.as_bytes());
                }
            }
        }
        let cells = [cell(Wire::Array(Box::new(Wire::Text)), SqliteType::Text)];
        let empty = header(&[]);
        let (batch, _) = decode(&cells, &stream(&[&[Some(&data)], &[Some(&empty)]]), 4096, false).unwrap();
        assert_eq!(batch.value(0, 0), Value::Text("[[\"a\\\"\\\\\",null],[\"\\u0001\\n\",\"ü\"]]".to_owned()));
        assert_eq!(batch.value(1, 0), Value::Text("[]".to_owned()));
    }

    #[test]
    fn text_is_checked_where_the_server_does_not() {
        let data = stream(&[&[Some(b"\xff")]]);
        let error = decode(&[cell(Wire::Text, SqliteType::Text)], &data, 4096, true).map(drop).unwrap_err();
        assert!(error.to_string().contains("types: { c: 'BLOB' }"), "{error}");
        let (batch, _) = decode(&[cell(Wire::Text, SqliteType::Blob)], &data, 4096, true).unwrap();
        assert_eq!(batch.value(0, 0), Value::Blob(vec![255]));
    }
}
