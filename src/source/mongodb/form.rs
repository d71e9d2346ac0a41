//! From a value to a cell: one spelling per pinned type and target type (see [`crate::mapping`]).

use std::io::Write as _;

use mongodb::bson::RawBsonRef;
use mongodb::bson::error::Result;

use super::date::push_instant;
use super::json::push_json;
use super::kind::{Pin, integer_of};
use crate::batch::Batch;
use crate::mapping::SqliteType;
use crate::mapping::decimal::{integer_of_text, real_of_text};
use crate::mapping::form::{push_float, push_hex, push_uuid};

/// Adds `value`, which fits `pin`, as a cell for a column of type `sqlite`. Adds nothing when it fails.
pub fn push_cell(value: RawBsonRef<'_>, pin: Pin, sqlite: SqliteType, is_key: bool, batch: &mut Batch) -> Result<()> {
    if matches!(value, RawBsonRef::Null | RawBsonRef::Undefined) && !is_key {
        batch.push_null();
        return Ok(());
    }
    match (sqlite, value) {
        (SqliteType::Integer, RawBsonRef::Int32(value)) => batch.push_int(value.into()),
        (SqliteType::Integer, RawBsonRef::Int64(value)) => batch.push_int(value),
        (SqliteType::Integer, RawBsonRef::Boolean(value)) => batch.push_int(value.into()),
        (SqliteType::Integer, RawBsonRef::Double(value)) if value.is_finite() => match integer_of(value) {
            Some(value) => batch.push_int(value),
            None => batch.push_real(value),
        },
        (SqliteType::Real, RawBsonRef::Double(value)) if value.is_finite() => batch.push_real(value),
        (SqliteType::Real, RawBsonRef::Int32(value)) => batch.push_real(value.into()),
        #[expect(clippy::cast_precision_loss, reason = "it fits a double, or the user asked for one")]
        (SqliteType::Real, RawBsonRef::Int64(value)) => batch.push_real(value as f64),
        (SqliteType::Real, RawBsonRef::Boolean(value)) => batch.push_real(f64::from(u8::from(value))),
        (SqliteType::Integer | SqliteType::Real, RawBsonRef::Decimal128(_) | RawBsonRef::String(_))
            if !pin.is_json() =>
        {
            let mut text = Vec::new();
            push_text(value, pin, &mut text)?;
            let whole = if sqlite == SqliteType::Integer { integer_of_text(&text) } else { None };
            let real = if sqlite == SqliteType::Real { real_of_text(&text) } else { None };
            match (whole, real) {
                (Some(value), _) => batch.push_int(value),
                (_, Some(value)) => batch.push_real(value),
                _ => batch.push_text(&text),
            }
        }
        (SqliteType::Text, RawBsonRef::String(value)) if !pin.is_json() => batch.push_text(value.as_bytes()),
        (SqliteType::Blob, RawBsonRef::Binary(value)) if !pin.is_json() => batch.push_blob(value.bytes),
        (SqliteType::Blob, RawBsonRef::ObjectId(value)) if !pin.is_json() => batch.push_blob(&value.bytes()),
        (SqliteType::Blob, RawBsonRef::String(value)) if !pin.is_json() => batch.push_blob(value.as_bytes()),
        (SqliteType::Blob, _) => {
            let mut text = Vec::new();
            push_text(value, pin, &mut text)?;
            batch.push_blob(&text);
        }
        _ => return push_text_cell(value, pin, batch),
    }
    Ok(())
}

/// Adds the text of a value.
fn push_text_cell(value: RawBsonRef<'_>, pin: Pin, batch: &mut Batch) -> Result<()> {
    batch.try_push_text_with(|out| push_text(value, pin, out))
}

/// Appends the text of a value as a column of `pin` spells it.
pub fn push_text(value: RawBsonRef<'_>, pin: Pin, out: &mut Vec<u8>) -> Result<()> {
    if pin.is_json() {
        return push_json(out, value);
    }
    match value {
        RawBsonRef::ObjectId(value) => push_hex(&value.bytes(), out),
        RawBsonRef::Int32(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        RawBsonRef::Int64(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        RawBsonRef::Double(value) => push_float(value, value, out),
        RawBsonRef::Decimal128(value) => {
            // Writing into a vector can't fail.
            let _ = write!(out, "{value}");
        }
        RawBsonRef::String(value) => out.extend_from_slice(value.as_bytes()),
        RawBsonRef::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        RawBsonRef::DateTime(value) => push_instant(out, value.timestamp_millis()),
        RawBsonRef::Binary(value) => match <&[u8; 16]>::try_from(value.bytes) {
            Ok(bytes) if matches!(pin, Pin::Uuid | Pin::LegacyUuid) => push_uuid(bytes, out),
            _ => {
                out.extend_from_slice(b"\\x");
                push_hex(value.bytes, out);
            }
        },
        value => push_json(out, value)?,
    }
    Ok(())
}
