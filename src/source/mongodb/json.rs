//! JSON of any value, written straight from the wire: extended JSON in its relaxed form, except that 64-bit integers are
//! digits like all others, doubles keep a `.0`, and dates always have milliseconds.

use std::io::Write as _;

use mongodb::bson::error::{Error, Result};
use mongodb::bson::raw::{RawDbPointerRef, cstr};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{DateTime, RawBsonRef, RawDocument, RawDocumentBuf};

use serde::de::Error as _;

use super::date::push_instant;
use crate::mapping::form::{push_hex, push_json_string, push_uuid};

/// The first instant of the year 10000: from there on a date is a number.
const YEAR_10000: i64 = 253_402_300_800_000;

/// How deep a value may be nested: the server takes nothing deeper, and the stack ends somewhere.
pub const DEEPEST: usize = 200;

/// Appends `value`; what an error leaves behind is for the caller to cut off.
pub fn push_json(out: &mut Vec<u8>, value: RawBsonRef<'_>) -> Result<()> {
    push_nested(out, value, 0)
}

fn push_nested(out: &mut Vec<u8>, value: RawBsonRef<'_>, depth: usize) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::custom("it is nested too deeply"));
    }
    match value {
        RawBsonRef::Null => out.extend_from_slice(b"null"),
        RawBsonRef::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        RawBsonRef::Int32(value) => push_integer(out, value.into()),
        RawBsonRef::Int64(value) => push_integer(out, value),
        RawBsonRef::Double(value) => push_double(out, value),
        RawBsonRef::String(value) => push_json_string(value.as_bytes(), out),
        RawBsonRef::Document(value) => return push_document(out, value, depth),
        RawBsonRef::Array(value) => {
            out.push(b'[');
            for (index, element) in value.iter_elements().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_nested(out, element?.value()?, depth + 1)?;
            }
            out.push(b']');
        }
        RawBsonRef::ObjectId(value) => {
            out.extend_from_slice(b"{\"$oid\":\"");
            push_hex(&value.bytes(), out);
            out.extend_from_slice(b"\"}");
        }
        RawBsonRef::DateTime(value) => push_date(out, value),
        RawBsonRef::Decimal128(value) => {
            // Writing into a vector can't fail, here and below.
            let _ = write!(out, "{{\"$numberDecimal\":\"{value}\"}}");
        }
        RawBsonRef::Timestamp(value) => {
            let _ = write!(out, "{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", value.time, value.increment);
        }
        RawBsonRef::Binary(value) => match <&[u8; 16]>::try_from(value.bytes) {
            Ok(bytes) if value.subtype == BinarySubtype::Uuid => {
                out.extend_from_slice(b"{\"$uuid\":\"");
                push_uuid(bytes, out);
                out.extend_from_slice(b"\"}");
            }
            _ => {
                out.extend_from_slice(b"{\"$binary\":{\"base64\":\"");
                push_base64(out, value.bytes);
                let _ = write!(out, "\",\"subType\":\"{:02x}\"}}}}", u8::from(value.subtype));
            }
        },
        RawBsonRef::RegularExpression(value) => {
            out.extend_from_slice(b"{\"$regularExpression\":{\"pattern\":");
            push_json_string(value.pattern.as_str().as_bytes(), out);
            out.extend_from_slice(b",\"options\":");
            push_json_string(value.options.as_str().as_bytes(), out);
            out.extend_from_slice(b"}}");
        }
        RawBsonRef::JavaScriptCode(value) => {
            out.extend_from_slice(b"{\"$code\":");
            push_json_string(value.as_bytes(), out);
            out.push(b'}');
        }
        RawBsonRef::JavaScriptCodeWithScope(value) => {
            out.extend_from_slice(b"{\"$code\":");
            push_json_string(value.code.as_bytes(), out);
            out.extend_from_slice(b",\"$scope\":");
            push_document(out, value.scope, depth)?;
            out.push(b'}');
        }
        RawBsonRef::Symbol(value) => {
            out.extend_from_slice(b"{\"$symbol\":");
            push_json_string(value.as_bytes(), out);
            out.push(b'}');
        }
        RawBsonRef::Undefined => out.extend_from_slice(b"{\"$undefined\":true}"),
        RawBsonRef::MinKey => out.extend_from_slice(b"{\"$minKey\":1}"),
        RawBsonRef::MaxKey => out.extend_from_slice(b"{\"$maxKey\":1}"),
        RawBsonRef::DbPointer(value) => push_pointer(out, value),
    }
    Ok(())
}

fn push_document(out: &mut Vec<u8>, document: &RawDocument, depth: usize) -> Result<()> {
    out.push(b'{');
    for (index, element) in document.iter_elements().enumerate() {
        let element = element?;
        if index > 0 {
            out.push(b',');
        }
        push_json_string(element.key().as_str().as_bytes(), out);
        out.push(b':');
        push_nested(out, element.value()?, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

/// The driver keeps a pointer's parts to itself, so they are read from its wire form: a string with its length, and the
/// twelve bytes of an ObjectId.
fn push_pointer(out: &mut Vec<u8>, value: RawDbPointerRef<'_>) {
    let mut wire = RawDocumentBuf::new();
    wire.append(cstr!("p"), RawBsonRef::DbPointer(value));
    let bytes = wire.as_bytes();
    // The document's length, the type, the name "p" and the string's length come before; a NUL, the id and the
    // document's end after.
    let (namespace, id) = (bytes.get(11..bytes.len() - 14), bytes.get(bytes.len() - 13..bytes.len() - 1));
    out.extend_from_slice(b"{\"$dbPointer\":{\"$ref\":");
    push_json_string(namespace.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default().as_bytes(), out);
    out.extend_from_slice(b",\"$id\":{\"$oid\":\"");
    push_hex(id.unwrap_or_default(), out);
    out.extend_from_slice(b"\"}}}");
}

fn push_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn push_double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        let _ = write!(out, "{value:?}");
    } else {
        let word = if value.is_nan() { "NaN" } else { ["-Infinity", "Infinity"][usize::from(value > 0.0)] };
        let _ = write!(out, "{{\"$numberDouble\":\"{word}\"}}");
    }
}

fn push_date(out: &mut Vec<u8>, value: DateTime) {
    let millis = value.timestamp_millis();
    if (0..YEAR_10000).contains(&millis) {
        out.extend_from_slice(b"{\"$date\":\"");
        push_instant(out, millis);
        out.extend_from_slice(b"\"}");
    } else {
        let _ = write!(out, "{{\"$date\":{{\"$numberLong\":\"{millis}\"}}}}");
    }
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > group.len() { b'=' } else { digit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document in a document, so many times.
    fn nested(levels: usize) -> RawDocumentBuf {
        let innermost = RawDocumentBuf::new().into_bytes();
        let length = innermost.len() + 8 * levels;
        let mut bytes = Vec::with_capacity(length);
        for level in 0..levels {
            bytes.extend_from_slice(&i32::try_from(length - 8 * level).unwrap().to_le_bytes());
            bytes.extend_from_slice(&[3, b'a', 0]);
        }
        bytes.extend_from_slice(&innermost);
        bytes.resize(length, 0);
        RawDocumentBuf::from_bytes(bytes).unwrap()
    }

    #[test]
    fn the_stack_bears_what_a_hostile_server_sends() {
        let json = |levels: usize| {
            let mut out = Vec::new();
            push_json(&mut out, RawBsonRef::Document(&nested(levels))).map(|()| out)
        };
        assert_eq!(json(2).unwrap(), br#"{"a":{"a":{}}}"#);
        assert!(json(DEEPEST).is_ok());
        assert!(json(500_000).is_err());
        // What is written can be read.
        let text = String::from_utf8(json(DEEPEST).unwrap()).unwrap();
        assert!(super::super::parse::parse(&text).is_ok());
    }
}
