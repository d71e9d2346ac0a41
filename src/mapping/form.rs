//! From a value to a cell: one spelling per target type (see [`crate::mapping`]), whatever source it came from.

use super::SqliteType;
use super::decimal::{self, Grouped, integer_of_text, push_shortest, real_of_text, widen};
use super::time::{self, Parts, push_date, push_offset, push_time, push_timestamp};
use crate::batch::Batch;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// One value, read but not yet spelled.
#[derive(Debug, Clone, Copy)]
pub enum Scalar<'a> {
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An integer that may be larger than SQLite's.
    Unsigned(u64),
    /// A 32-bit float.
    Float4(f32),
    /// A 64-bit float.
    Float8(f64),
    /// A decimal number in groups of digits.
    Decimal(Grouped<'a>),
    /// A decimal number in its digits.
    Digits(&'a [u8]),
    /// A number or a time that is none, in the source's word for it.
    Word(&'static str),
    /// UTF-8.
    Text(&'a [u8]),
    /// A JSON document in UTF-8.
    Json(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A UUID's bytes, the highest first.
    Uuid([u8; 16]),
    /// A day of the proleptic Gregorian calendar.
    Date {
        /// Counted from 1970-01-01.
        days: i64,
    },
    /// A date by its parts, which may be none of the calendar's.
    Parts(Parts),
    /// A time of day.
    Time {
        /// Since midnight.
        micros: i64,
        /// Fraction digits.
        digits: u8,
    },
    /// A length of time, which may be below zero or longer than a day.
    Span {
        /// Whether it is below zero.
        negative: bool,
        /// How long it is.
        micros: u64,
        /// Fraction digits.
        digits: u8,
    },
    /// A time of day with an offset.
    TimeTz {
        /// Since midnight.
        micros: i64,
        /// Seconds east of UTC.
        east: i32,
        /// Fraction digits.
        digits: u8,
    },
    /// A day with a time of day.
    Timestamp {
        /// Counted from 1970-01-01.
        days: i64,
        /// Since midnight.
        micros: i64,
        /// Fraction digits.
        digits: u8,
        /// Whether it is an instant, in UTC.
        zoned: bool,
    },
    /// The same by the parts of its date.
    Moment {
        /// The date.
        date: Parts,
        /// Since midnight.
        micros: i64,
        /// Fraction digits.
        digits: u8,
        /// Whether it is an instant, in UTC.
        zoned: bool,
    },
}

/// Adds `scalar` to `batch` as a cell for a column of type `sqlite`; `scratch` is overwritten.
pub fn push_cell(scalar: Scalar<'_>, sqlite: SqliteType, batch: &mut Batch, scratch: &mut Vec<u8>) {
    match sqlite {
        SqliteType::Integer => push_integer(scalar, batch, scratch),
        SqliteType::Real => push_real(scalar, batch, scratch),
        SqliteType::Text => match scalar {
            Scalar::Text(text) | Scalar::Json(text) | Scalar::Digits(text) => batch.push_text(text),
            scalar => batch.push_text_with(|out| push_text(scalar, out)),
        },
        SqliteType::Blob => match scalar {
            Scalar::Bytes(bytes) | Scalar::Text(bytes) | Scalar::Json(bytes) => batch.push_blob(bytes),
            Scalar::Uuid(bytes) => batch.push_blob(&bytes),
            scalar => batch.push_text_with(|out| push_text(scalar, out)),
        },
    }
}

fn push_integer(scalar: Scalar<'_>, batch: &mut Batch, scratch: &mut Vec<u8>) {
    let integer = match scalar {
        Scalar::Int(value) => Some(value),
        Scalar::Unsigned(value) => i64::try_from(value).ok(),
        Scalar::Bool(value) => Some(value.into()),
        Scalar::Decimal(number) => number.integer(),
        Scalar::Digits(text) => integer_of_digits(text),
        Scalar::Text(text) => integer_of_text(text),
        Scalar::Float4(_) | Scalar::Float8(_) => return push_real(scalar, batch, scratch),
        _ => None,
    };
    match integer {
        Some(value) => batch.push_int(value),
        None => batch.push_text_with(|out| push_text(scalar, out)),
    }
}

/// The integer that a decimal number is, when its fraction is zero and it fits.
fn integer_of_digits(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok()).flatten()
}

fn push_real(scalar: Scalar<'_>, batch: &mut Batch, scratch: &mut Vec<u8>) {
    let real = match scalar {
        Scalar::Float8(value) => Some(value),
        Scalar::Float4(value) => Some(widen(value, scratch)),
        Scalar::Decimal(number) => Some(number.real(scratch)),
        #[allow(clippy::cast_precision_loss, reason = "the user asked for a double")]
        Scalar::Int(value) => Some(value as f64),
        #[allow(clippy::cast_precision_loss, reason = "the user asked for a double")]
        Scalar::Unsigned(value) => Some(value as f64),
        Scalar::Bool(value) => Some(f64::from(u8::from(value))),
        Scalar::Text(text) | Scalar::Digits(text) => real_of_text(text),
        _ => None,
    };
    match real {
        // SQLite stores NaN as NULL, and arithmetic on infinities surprises: they stay the source's words.
        Some(value) if value.is_finite() => batch.push_real(value),
        _ => batch.push_text_with(|out| push_text(scalar, out)),
    }
}

/// Appends the text of a value.
pub fn push_text(scalar: Scalar<'_>, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Scalar::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Scalar::Unsigned(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Scalar::Float4(value) => push_float(f64::from(value), value, out),
        Scalar::Float8(value) => push_float(value, value, out),
        Scalar::Decimal(number) => number.push(out),
        Scalar::Word(word) => out.extend_from_slice(word.as_bytes()),
        Scalar::Text(text) | Scalar::Json(text) | Scalar::Digits(text) => out.extend_from_slice(text),
        Scalar::Bytes(bytes) => {
            out.extend_from_slice(b"\\x");
            push_hex(bytes, out);
        }
        Scalar::Uuid(bytes) => push_uuid(&bytes, out),
        Scalar::Date { days } => push_date(out, days),
        Scalar::Parts(date) => time::push_parts(out, date),
        Scalar::Time { micros, digits } => push_time(out, micros, digits),
        Scalar::Span { negative, micros, digits } => time::push_span(out, negative, micros, digits),
        Scalar::TimeTz { micros, east, digits } => {
            push_time(out, micros, digits);
            push_offset(out, east);
        }
        Scalar::Timestamp { days, micros, digits, zoned } => push_timestamp(out, days, micros, digits, zoned),
        Scalar::Moment { date, micros, digits, zoned } => time::push_moment(out, date, micros, digits, zoned),
    }
}

/// Appends a float: the shortest text that reads back as the same, or the word for what is no number.
pub fn push_float(value: f64, shortest: impl Into<decimal::Shortest>, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        push_shortest(out, shortest);
    }
}

/// Appends bytes as lower-case digits.
pub fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Appends a UUID in its canonical form.
pub fn push_uuid(bytes: &[u8; 16], out: &mut Vec<u8>) {
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut text = [b'-'; 36];
    for (byte, at) in bytes.iter().zip(PLACES) {
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

/// Appends a value as an element of a JSON array.
pub fn push_json(scalar: Scalar<'_>, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Json(json) => out.extend_from_slice(json),
        Scalar::Bool(_) | Scalar::Int(_) | Scalar::Unsigned(_) | Scalar::Decimal(_) | Scalar::Digits(_) => {
            push_text(scalar, out);
        }
        Scalar::Float4(value) if value.is_finite() => push_text(scalar, out),
        Scalar::Float8(value) if value.is_finite() => push_text(scalar, out),
        Scalar::Text(text) => push_json_string(text, out),
        Scalar::Bytes(bytes) => {
            out.extend_from_slice(b"\"\\\\x");
            push_hex(bytes, out);
            out.push(b'"');
        }
        scalar => {
            // Words, times and UUIDs hold nothing that JSON escapes.
            out.push(b'"');
            push_text(scalar, out);
            out.push(b'"');
        }
    }
}

/// Appends text in quotes, as JSON escapes it.
pub fn push_json_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    // Without a way out of the loop, which lets the compiler look at many bytes at once.
    if text.iter().fold(true, |plain, &byte| plain & is_plain(byte)) {
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    let mut done = 0;
    for (at, &byte) in text.iter().enumerate() {
        if is_plain(byte) {
            continue;
        }
        out.extend_from_slice(&text[done..at]);
        done = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                push_hex(&[byte], out);
            }
        }
    }
    out.extend_from_slice(&text[done..]);
    out.push(b'"');
}
