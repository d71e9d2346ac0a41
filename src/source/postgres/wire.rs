//! PostgreSQL's binary spelling of values, read without copying.

use crate::mapping::decimal::Grouped;
use crate::mapping::form::Scalar;
use crate::mapping::time::MICROS_PER_DAY;

/// How a column's values come over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Json,
    Jsonb,
    Bytes,
    Uuid,
    Date,
    Time { digits: u8 },
    TimeTz { digits: u8 },
    Timestamp { digits: u8 },
    TimestampTz { digits: u8 },
    Array(Box<Self>),
}

/// The bytes are not a value of the type that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH: i64 = 10_957;

/// The most digits that a numeric has behind its point.
const LARGEST_SCALE: u16 = 16_383;

/// A cursor over a message that may hold anything.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn int2(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn int4(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// A value with its length in front; `None` for NULL.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.int4()? {
            -1 => Ok(None),
            length => self.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some),
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed)
}

impl Wire {
    /// The text in a value that is text and comes as it is kept.
    pub fn text<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Text | Self::Json => Some(bytes),
            Self::Jsonb => bytes.strip_prefix(&[1]),
            _ => None,
        }
    }

    /// The integer in a value that is one.
    pub fn integer(&self, bytes: &[u8]) -> Option<i64> {
        match self {
            Self::Int2 => fixed(bytes).ok().map(|bytes| i16::from_be_bytes(bytes).into()),
            Self::Int4 => fixed(bytes).ok().map(|bytes| i32::from_be_bytes(bytes).into()),
            Self::Int8 => fixed(bytes).ok().map(i64::from_be_bytes),
            _ => None,
        }
    }

    /// Reads one value. Arrays are read by [`super::array`].
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Result<Scalar<'a>, Malformed> {
        Ok(match *self {
            Self::Bool => Scalar::Bool(fixed::<1>(bytes)? != [0]),
            Self::Int2 | Self::Int4 | Self::Int8 => Scalar::Int(self.integer(bytes).ok_or(Malformed)?),
            Self::Oid => Scalar::Int(u32::from_be_bytes(fixed(bytes)?).into()),
            Self::Float4 => Scalar::Float4(f32::from_be_bytes(fixed(bytes)?)),
            Self::Float8 => Scalar::Float8(f64::from_be_bytes(fixed(bytes)?)),
            Self::Numeric => numeric(bytes)?,
            Self::Text => Scalar::Text(bytes),
            Self::Json => Scalar::Json(bytes),
            Self::Jsonb => match bytes {
                [1, json @ ..] => Scalar::Json(json),
                _ => return Err(Malformed),
            },
            Self::Bytes => Scalar::Bytes(bytes),
            Self::Uuid => Scalar::Uuid(fixed(bytes)?),
            Self::Date => match i32::from_be_bytes(fixed(bytes)?) {
                i32::MAX => Scalar::Word("infinity"),
                i32::MIN => Scalar::Word("-infinity"),
                days => Scalar::Date { days: i64::from(days) + EPOCH },
            },
            Self::Time { digits } => Scalar::Time { micros: time_of_day(fixed(bytes)?)?, digits },
            Self::TimeTz { digits } => {
                let mut reader = Reader(bytes);
                let micros = time_of_day(reader.array()?)?;
                // The wire counts westwards.
                let east = i32::from_be_bytes(fixed(reader.0)?).checked_neg().ok_or(Malformed)?;
                if east.abs() >= 86_400 {
                    return Err(Malformed);
                }
                Scalar::TimeTz { micros, east, digits }
            }
            Self::Timestamp { digits } => timestamp(fixed(bytes)?, digits, false),
            Self::TimestampTz { digits } => timestamp(fixed(bytes)?, digits, true),
            Self::Array(_) => return Err(Malformed),
        })
    }
}

fn time_of_day(bytes: [u8; 8]) -> Result<i64, Malformed> {
    let micros = i64::from_be_bytes(bytes);
    // 24:00:00 is a time of day.
    (0..=MICROS_PER_DAY).contains(&micros).then_some(micros).ok_or(Malformed)
}

fn timestamp<'a>(bytes: [u8; 8], digits: u8, zoned: bool) -> Scalar<'a> {
    match i64::from_be_bytes(bytes) {
        i64::MAX => Scalar::Word("infinity"),
        i64::MIN => Scalar::Word("-infinity"),
        micros => Scalar::Timestamp {
            days: micros.div_euclid(MICROS_PER_DAY) + EPOCH,
            micros: micros.rem_euclid(MICROS_PER_DAY),
            digits,
            zoned,
        },
    }
}

fn numeric(bytes: &[u8]) -> Result<Scalar<'_>, Malformed> {
    let mut reader = Reader(bytes);
    let groups = usize::try_from(reader.int2()?).map_err(|_| Malformed)?;
    let weight = reader.int2()?;
    let sign: [u8; 2] = reader.array()?;
    let scale: [u8; 2] = reader.array()?;
    let negative = match sign {
        [0x00, 0x00] => false,
        [0x40, 0x00] => true,
        [0xC0, 0x00] => return Ok(Scalar::Word("NaN")),
        [0xD0, 0x00] => return Ok(Scalar::Word("Infinity")),
        [0xF0, 0x00] => return Ok(Scalar::Word("-Infinity")),
        _ => return Err(Malformed),
    };
    let scale = u16::from_be_bytes(scale);
    if reader.0.len() != groups * 2 || scale > LARGEST_SCALE {
        return Err(Malformed);
    }
    Grouped::new(negative, weight, scale, reader.0).map(Scalar::Decimal).ok_or(Malformed)
}
