//! The rows of a prepared statement, decoded from their bytes: calendars that the driver's own types refuse are kept as
//! they are.

use sqlx::Decode;
use sqlx::Row as _;
use sqlx::mysql::{MySqlRow, MySqlValueRef};

use super::kind::{ColumnType, Wire};
use crate::batch::{Batch, LARGEST_ROW};
use crate::error::{Error, Kind, Result};
use crate::mapping::SqliteType;
use crate::mapping::form::{Scalar, push_cell};
use crate::mapping::time::Parts;
use crate::schema::SourceType;
use crate::source::reading;

/// One cell of the rows that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The column's name, for messages.
    pub name: String,
    /// How its values come.
    pub read_as: ColumnType,
    /// Where they go.
    pub sqlite: SqliteType,
    /// Whether `0000-00-00` becomes NULL.
    pub null_zero_dates: bool,
}

/// The bytes are not a value of the type that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Malformed;

/// Turns rows into cells.
pub struct Decoder {
    cells: Vec<Cell>,
    outgrown: Vec<String>,
    scratch: Vec<u8>,
}

impl Decoder {
    /// A decoder for rows of `cells`.
    pub fn new(cells: Vec<Cell>) -> Self {
        Self { cells, outgrown: Vec::new(), scratch: Vec::new() }
    }

    /// The columns in which integers beyond SQLite's were met, once there are any.
    pub fn outgrown(&self) -> &[String] {
        &self.outgrown
    }

    /// Adds `row` to `batch`, and says whether it fits: what it added of a row that doesn't is to be dropped.
    pub fn row(&mut self, row: &MySqlRow, batch: &mut Batch) -> Result<bool> {
        let mut fits = true;
        for index in 0..self.cells.len() {
            let value = row.try_get_raw(index).map_err(|_| malformed(&self.cells[index]))?;
            fits &= self.cell(index, bytes(value), batch)?;
        }
        Ok(fits)
    }

    /// Adds the cell `index` of a row, and says whether it fits.
    pub fn cell(&mut self, index: usize, bytes: Option<&[u8]>, batch: &mut Batch) -> Result<bool> {
        let cell = &self.cells[index];
        let Some(bytes) = bytes else {
            batch.push_null();
            return Ok(true);
        };
        if batch.size().saturating_add(bytes.len()) > LARGEST_ROW {
            return Err(reading::too_large(&cell.name));
        }
        let scalar = scalar(&cell.read_as, bytes).map_err(|Malformed| malformed(cell))?;
        match scalar {
            Scalar::Unsigned(value) if cell.sqlite == SqliteType::Integer && i64::try_from(value).is_err() => {
                if !cell.read_as.may_outgrow() {
                    return Err(too_large(cell));
                }
                if !self.outgrown.contains(&cell.name) {
                    self.outgrown.push(cell.name.clone());
                }
                batch.push_null();
                return Ok(false);
            }
            Scalar::Parts(date) | Scalar::Moment { date, .. } if cell.null_zero_dates && date.is_zero() => {
                batch.push_null();
            }
            scalar => push_cell(scalar, cell.sqlite, batch, &mut self.scratch),
        }
        Ok(true)
    }
}

/// The bytes of a cell, however the driver would read them (it takes `0000-00-00` for NULL); `None` for NULL.
pub fn bytes(value: MySqlValueRef<'_>) -> Option<&[u8]> {
    <&[u8] as Decode<sqlx::MySql>>::decode(value).ok()
}

fn scalar<'a>(read_as: &ColumnType, bytes: &'a [u8]) -> std::result::Result<Scalar<'a>, Malformed> {
    Ok(match read_as.wire {
        Wire::Int => Scalar::Int(match *bytes {
            [a] => i64::from(i8::from_le_bytes([a])),
            [a, b] => i64::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => i64::from_le_bytes(fixed(bytes)?),
        }),
        Wire::Unsigned => Scalar::Unsigned(match *bytes {
            [a] => a.into(),
            [a, b] => u16::from_le_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
            _ => u64::from_le_bytes(fixed(bytes)?),
        }),
        Wire::Bit if bytes.len() <= 8 => {
            Scalar::Unsigned(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        }
        Wire::Bit => return Err(Malformed),
        Wire::Float => match *bytes {
            [a, b, c, d] => Scalar::Float4(f32::from_le_bytes([a, b, c, d])),
            _ => Scalar::Float8(f64::from_le_bytes(fixed(bytes)?)),
        },
        Wire::Decimal { .. } => Scalar::Digits(bytes),
        Wire::Text | Wire::Word | Wire::Geometry => Scalar::Text(bytes),
        Wire::Json => Scalar::Json(bytes),
        Wire::Bytes => Scalar::Bytes(bytes),
        Wire::Uuid => uuid(bytes).map_or(Scalar::Text(bytes), Scalar::Uuid),
        Wire::Date => Scalar::Parts(moment(bytes)?.0),
        Wire::DateTime { digits, zoned } => {
            let (date, micros) = moment(bytes)?;
            Scalar::Moment { date, micros, digits, zoned }
        }
        Wire::Time { digits } => {
            let (negative, micros) = span(bytes)?;
            Scalar::Span { negative, micros, digits }
        }
    })
}

fn fixed<const N: usize>(bytes: &[u8]) -> std::result::Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed)
}

/// A date and the microseconds of its day. The first byte says how many follow; what is left out is zero.
fn moment(bytes: &[u8]) -> std::result::Result<(Parts, i64), Malformed> {
    let (&length, parts) = bytes.split_first().ok_or(Malformed)?;
    if usize::from(length) != parts.len() || !matches!(length, 0 | 4 | 7 | 11) {
        return Err(Malformed);
    }
    let at = |index: usize| parts.get(index).copied().unwrap_or(0);
    let date = Parts { year: u16::from_le_bytes([at(0), at(1)]), month: at(2), day: at(3) };
    let seconds = i64::from(at(4)) * 3600 + i64::from(at(5)) * 60 + i64::from(at(6));
    let fraction = u32::from_le_bytes([at(7), at(8), at(9), at(10)]);
    Ok((date, seconds * 1_000_000 + i64::from(fraction)))
}

/// Whether it lies below zero, and its microseconds.
fn span(bytes: &[u8]) -> std::result::Result<(bool, u64), Malformed> {
    let (&length, parts) = bytes.split_first().ok_or(Malformed)?;
    if usize::from(length) != parts.len() || !matches!(length, 0 | 8 | 12) {
        return Err(Malformed);
    }
    let at = |index: usize| parts.get(index).copied().unwrap_or(0);
    let days = u64::from(u32::from_le_bytes([at(1), at(2), at(3), at(4)]));
    let seconds = ((days * 24 + u64::from(at(5))) * 60 + u64::from(at(6))) * 60 + u64::from(at(7));
    let fraction = u32::from_le_bytes([at(8), at(9), at(10), at(11)]);
    Ok((at(0) != 0, seconds.saturating_mul(1_000_000).saturating_add(fraction.into())))
}

fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut uuid = [0; 16];
    let mut digits = text.iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte).to_digit(16));
    for byte in &mut uuid {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(uuid)
}

fn malformed(cell: &Cell) -> Error {
    Error::new(Kind::SourceRead, format!("Column '{}' came in a form that can't be read", cell.name))
        .because("the server sent another type than it declares; it may have changed meanwhile")
        .transient(true)
}

fn too_large(cell: &Cell) -> Error {
    let name = &cell.name;
    let wide = matches!(cell.read_as.kind, SourceType::Decimal { .. });
    Error::new(Kind::SourceRead, format!("Column '{name}' holds an integer beyond 2^63-1")).because(if wide {
        format!("an INTEGER of SQLite can't; leave {name} out of types and type_map, or use TEXT")
    } else {
        "its type doesn't allow that; it may have changed meanwhile".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: u16, month: u8, day: u8) -> Parts {
        Parts { year, month, day }
    }

    #[test]
    fn dates_that_are_none_are_read() {
        assert_eq!(moment(&[0]), Ok((date(0, 0, 0), 0)));
        assert_eq!(moment(&[4, 0xe8, 7, 0, 15]), Ok((date(2024, 0, 15), 0)));
        assert_eq!(moment(&[7, 0xe8, 7, 2, 31, 1, 2, 3]), Ok((date(2024, 2, 31), 3_723_000_000)));
        assert_eq!(moment(&[11, 0, 0, 12, 19, 0, 0, 0, 1, 0, 0, 0]), Ok((date(0, 12, 19), 1)));
    }

    #[test]
    fn lengths_of_time_are_read() {
        assert_eq!(span(&[0]), Ok((false, 0)));
        assert_eq!(span(&[8, 1, 34, 0, 0, 0, 22, 59, 59]), Ok((true, 3_020_399_000_000)));
    }

    #[test]
    fn hostile_bytes_are_errors_not_panics() {
        let wires = [
            Wire::Int,
            Wire::Unsigned,
            Wire::Bit,
            Wire::Float,
            Wire::Uuid,
            Wire::Date,
            Wire::DateTime { digits: 6, zoned: true },
            Wire::Time { digits: 6 },
        ];
        let mut random = fastrand::Rng::with_seed(1);
        let (mut batch, mut scratch) = (Batch::new(1), Vec::new());
        for wire in wires {
            let read_as = ColumnType { kind: SourceType::Int, wire };
            for _ in 0..3000 {
                let bytes: Vec<u8> = (0..random.usize(..40))
                    .map(|_| if random.bool() { random.u8(..14) } else { random.u8(..) })
                    .collect();
                if let Ok(scalar) = scalar(&read_as, &bytes) {
                    push_cell(scalar, SqliteType::Text, &mut batch, &mut scratch);
                }
            }
        }
    }

    #[test]
    fn uuids_are_read_in_any_case() {
        assert_eq!(uuid(b"01890A5D-ac96-774b-bcce-b302099a8057").map(|uuid| uuid[0]), Some(1));
        assert_eq!(uuid(b"01890A5D-ac96-774b-bcce-b302099a805"), None);
        assert_eq!(uuid(b"x1890A5D-ac96-774b-bcce-b302099a8057"), None);
    }
}
