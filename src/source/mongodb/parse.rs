//! Extended JSON to values: the user's filters, and what the cells of keys and positions hold.

use std::str::FromStr as _;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocument, Regex, Timestamp, Uuid,
};

use super::date::parse_instant;
use super::json::DEEPEST;

/// Reads one value.
///
/// # Errors
/// What is wrong with the text, in words that repeat none of it.
pub fn parse(text: &str) -> Result<Bson, String> {
    let mut reader = Reader { bytes: text.as_bytes(), text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.fault("the end"));
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fault(&self, expected: &str) -> String {
        format!("{expected} is expected at character {}", self.text[..self.at].chars().count() + 1)
    }

    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes `byte`, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Result<Bson, String> {
        if depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        self.skip_space();
        match self.bytes.get(self.at) {
            Some(b'{') => {
                let start = self.at;
                let document = self.document(depth)?;
                typed(document).map_err(|name| {
                    let character = self.text[..start].chars().count() + 1;
                    format!("the {name} at character {character} doesn't have the form of extended JSON")
                })
            }
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Bson::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in
                    [("true", Bson::Boolean(true)), ("false", Bson::Boolean(false)), ("null", Bson::Null)]
                {
                    if self.text[self.at..].starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.fault("a value"))
            }
        }
    }

    fn document(&mut self, depth: usize) -> Result<Document, String> {
        let mut document = Document::new();
        self.at += 1;
        if self.take(b'}') {
            return Ok(document);
        }
        loop {
            self.skip_space();
            if self.bytes.get(self.at) != Some(&b'"') {
                return Err(self.fault("a name in quotes"));
            }
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.fault("a colon"));
            }
            let value = self.value(depth + 1)?;
            document.insert(name, value);
            if self.take(b'}') {
                return Ok(document);
            }
            if !self.take(b',') {
                return Err(self.fault("a comma or }"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Bson, String> {
        let mut array = Vec::new();
        self.at += 1;
        if self.take(b']') {
            return Ok(Bson::Array(array));
        }
        loop {
            array.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Bson::Array(array));
            }
            if !self.take(b',') {
                return Err(self.fault("a comma or ]"));
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let start = self.at;
        let mut end = self.at + 1;
        loop {
            match self.bytes.get(end) {
                None => return Err("a string has no end".to_owned()),
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        // Escapes are what everybody's JSON has.
        serde_json::from_str(&self.text[start..=end]).map_err(|_| {
            self.at = start;
            self.fault("a proper string")
        })
    }

    /// A number, read exactly: what the state keeps of a position must not move it.
    fn number(&mut self) -> Result<Bson, String> {
        let rest = &self.text[self.at..];
        let length = rest
            .bytes()
            .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
            .unwrap_or(rest.len());
        let digits = &rest[..length];
        let number = digits.parse::<i32>().map(Bson::Int32).or_else(|_| digits.parse::<i64>().map(Bson::Int64)).ok();
        let number = number.or_else(|| digits.parse::<f64>().ok().map(Bson::Double));
        let number = number.ok_or_else(|| self.fault("a number"))?;
        self.at += length;
        Ok(number)
    }
}

/// What a document in the form of extended JSON stands for; any other is itself.
///
/// # Errors
/// The `$name` of a value that isn't in the form.
fn typed(document: Document) -> Result<Bson, String> {
    let Some(first) = document.keys().next().filter(|name| name.starts_with('$')).cloned() else {
        return Ok(Bson::Document(document));
    };
    let value = &document[&first];
    let alone = document.len() == 1;
    let read = match first.as_str() {
        "$oid" if alone => value.as_str().and_then(|hex| ObjectId::parse_str(hex).ok()).map(Bson::ObjectId),
        "$numberInt" if alone => value.as_str().and_then(|digits| digits.parse().ok()).map(Bson::Int32),
        "$numberLong" if alone => value.as_str().and_then(|digits| digits.parse().ok()).map(Bson::Int64),
        "$numberDouble" if alone => value.as_str().and_then(double).map(Bson::Double),
        "$numberDecimal" if alone => {
            value.as_str().and_then(|digits| Decimal128::from_str(digits).ok()).map(Bson::Decimal128)
        }
        "$date" if alone => date(value).map(Bson::DateTime),
        "$uuid" if alone => value
            .as_str()
            .and_then(|text| Uuid::parse_str(text).ok())
            .map(|uuid| Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: uuid.bytes().to_vec() })),
        "$binary" if alone => binary(value),
        "$timestamp" if alone => timestamp(value),
        "$regularExpression" if alone => regular_expression(value),
        "$symbol" if alone => value.as_str().map(|text| Bson::Symbol(text.to_owned())),
        "$undefined" if alone => Some(Bson::Undefined),
        "$minKey" if alone => Some(Bson::MinKey),
        "$maxKey" if alone => Some(Bson::MaxKey),
        "$dbPointer" if alone => pointer(value),
        "$code" if alone => value.as_str().map(|code| Bson::JavaScriptCode(code.to_owned())),
        "$code" => match (value, document.get("$scope")) {
            (Bson::String(code), Some(Bson::Document(scope))) => {
                Some(Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
                    code: code.clone(),
                    scope: scope.clone(),
                }))
            }
            _ => None,
        },
        _ => return Ok(Bson::Document(document)),
    };
    read.ok_or(first)
}

/// A double in digits, or one of the words that JSON has no number for.
pub fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        digits => digits.parse().ok(),
    }
}

fn date(value: &Bson) -> Option<DateTime> {
    match value {
        Bson::Int64(millis) => Some(DateTime::from_millis(*millis)),
        Bson::Int32(millis) => Some(DateTime::from_millis((*millis).into())),
        Bson::String(text) => {
            parse_instant(text).map(DateTime::from_millis).or_else(|| DateTime::parse_rfc3339_str(text).ok())
        }
        _ => None,
    }
}

fn binary(value: &Bson) -> Option<Bson> {
    let parts = value.as_document()?;
    let subtype = u8::from_str_radix(parts.get_str("subType").ok()?, 16).ok()?;
    let bytes = base64(parts.get_str("base64").ok()?)?;
    Some(Bson::Binary(Binary { subtype: subtype.into(), bytes }))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 255).unwrap_or(0));
        }
    }
    Some(bytes)
}

fn timestamp(value: &Bson) -> Option<Bson> {
    let parts = value.as_document()?;
    let part = |name| match parts.get(name)? {
        Bson::Int32(value) => u32::try_from(*value).ok(),
        Bson::Int64(value) => u32::try_from(*value).ok(),
        _ => None,
    };
    Some(Bson::Timestamp(Timestamp { time: part("t")?, increment: part("i")? }))
}

fn regular_expression(value: &Bson) -> Option<Bson> {
    let parts = value.as_document()?;
    let pattern = parts.get_str("pattern").ok()?.to_owned().try_into().ok()?;
    let options = parts.get_str("options").ok()?.to_owned().try_into().ok()?;
    Some(Bson::RegularExpression(Regex { pattern, options }))
}

/// The driver lets nobody make a pointer from its parts, so it is read from the wire form of one.
fn pointer(value: &Bson) -> Option<Bson> {
    let parts = value.as_document()?;
    let (namespace, id) = (parts.get_str("$ref").ok()?, parts.get_object_id("$id").ok()?);
    let mut wire = vec![0, 0, 0, 0, 0x0c, b'p', 0];
    wire.extend_from_slice(&i32::try_from(namespace.len() + 1).ok()?.to_le_bytes());
    wire.extend_from_slice(namespace.as_bytes());
    wire.push(0);
    wire.extend_from_slice(&id.bytes());
    wire.push(0);
    let length = i32::try_from(wire.len()).ok()?.to_le_bytes();
    wire[..4].copy_from_slice(&length);
    RawDocument::from_bytes(&wire).ok()?.get("p").ok()??.try_into().ok()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::raw::cstr;
    use mongodb::bson::{RawDocumentBuf, doc};

    use super::*;
    use crate::source::mongodb::json::push_json;

    fn text_of(value: &Bson) -> String {
        let raw = RawDocumentBuf::try_from(&doc! { "v": value.clone() }).unwrap();
        let mut out = Vec::new();
        push_json(&mut out, raw.get("v").unwrap().unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn regex(pattern: &str) -> Bson {
        Bson::RegularExpression(Regex {
            pattern: pattern.to_owned().try_into().unwrap(),
            options: "im".to_owned().try_into().unwrap(),
        })
    }

    /// A value of every type, with the text it has.
    fn values() -> Vec<(Bson, &'static str)> {
        let id = ObjectId::parse_str("64b7f0c2a1d3e4f5061728ab").unwrap();
        let binary =
            |subtype: u8, bytes: &[u8]| Bson::Binary(Binary { subtype: subtype.into(), bytes: bytes.to_vec() });
        vec![
            (Bson::Null, "null"),
            (Bson::Boolean(true), "true"),
            (Bson::Int32(-7), "-7"),
            (Bson::Int64(i64::MIN), "-9223372036854775808"),
            (Bson::Double(1.0), "1.0"),
            (Bson::Double(-0.0), "-0.0"),
            (Bson::Double(0.1), "0.1"),
            (Bson::Double(5e-324), "5e-324"),
            (Bson::Double(f64::INFINITY), r#"{"$numberDouble":"Infinity"}"#),
            (Bson::Double(f64::NEG_INFINITY), r#"{"$numberDouble":"-Infinity"}"#),
            (
                Bson::String("\u{0}\u{1f}\n\r\t\"\\/ ä 🧀 \u{2028}".to_owned()),
                "\"\\u0000\\u001f\\n\\r\\t\\\"\\\\/ ä 🧀 \u{2028}\"",
            ),
            (Bson::ObjectId(id), r#"{"$oid":"64b7f0c2a1d3e4f5061728ab"}"#),
            (Bson::DateTime(DateTime::from_millis(0)), r#"{"$date":"1970-01-01T00:00:00.000Z"}"#),
            (Bson::DateTime(DateTime::from_millis(253_402_300_799_999)), r#"{"$date":"9999-12-31T23:59:59.999Z"}"#),
            (Bson::DateTime(DateTime::from_millis(-1)), r#"{"$date":{"$numberLong":"-1"}}"#),
            (Bson::DateTime(DateTime::MAX), r#"{"$date":{"$numberLong":"9223372036854775807"}}"#),
            (Bson::Decimal128("-12.3400".parse().unwrap()), r#"{"$numberDecimal":"-12.3400"}"#),
            (Bson::Decimal128("Infinity".parse().unwrap()), r#"{"$numberDecimal":"Infinity"}"#),
            (Bson::Timestamp(Timestamp { time: u32::MAX, increment: 2 }), r#"{"$timestamp":{"t":4294967295,"i":2}}"#),
            (binary(0, b""), r#"{"$binary":{"base64":"","subType":"00"}}"#),
            (binary(0, b"a"), r#"{"$binary":{"base64":"YQ==","subType":"00"}}"#),
            (binary(5, &[255, 254]), r#"{"$binary":{"base64":"//4=","subType":"05"}}"#),
            (binary(3, &[7; 16]), r#"{"$binary":{"base64":"BwcHBwcHBwcHBwcHBwcHBw==","subType":"03"}}"#),
            (binary(4, &[7; 16]), r#"{"$uuid":"07070707-0707-0707-0707-070707070707"}"#),
            (
                regex("^a\"/"),
                r#"{"$regularExpression":{"pattern":"^a\"/","options":"im"}}"#.replace("a\"/", "a\\\"/").leak(),
            ),
            (Bson::JavaScriptCode("f()".to_owned()), r#"{"$code":"f()"}"#),
            (
                Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "g".to_owned(), scope: doc! { "x": 1 } }),
                r#"{"$code":"g","$scope":{"x":1}}"#,
            ),
            (Bson::Symbol("s".to_owned()), r#"{"$symbol":"s"}"#),
            (Bson::Undefined, r#"{"$undefined":true}"#),
            (Bson::MinKey, r#"{"$minKey":1}"#),
            (Bson::MaxKey, r#"{"$maxKey":1}"#),
            (
                Bson::Document(doc! { "b": 1, "a": { "": [1, 2.5, { "é": null }] }, "a.b": {}, "$x": [] }),
                r#"{"b":1,"a":{"":[1,2.5,{"é":null}]},"a.b":{},"$x":[]}"#,
            ),
            (Bson::Array(vec![]), "[]"),
        ]
    }

    #[test]
    fn every_type_has_its_text_and_is_read_back() {
        for (value, expected) in values() {
            let text = text_of(&value);
            assert_eq!(text, expected);
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(!json.is_null() || value == Bson::Null);
            assert_eq!(parse(&text).unwrap(), value, "{text}");
        }
        assert_eq!(text_of(&Bson::Double(f64::NAN)), r#"{"$numberDouble":"NaN"}"#);
        assert!(matches!(parse(r#"{"$numberDouble":"NaN"}"#), Ok(Bson::Double(value)) if value.is_nan()));
    }

    #[test]
    fn a_pointer_is_read_back() {
        let text = r#"{"$dbPointer":{"$ref":"db.ü","$id":{"$oid":"64b7f0c2a1d3e4f5061728ab"}}}"#;
        let pointer = parse(text).unwrap();
        assert!(matches!(pointer, Bson::DbPointer(_)));
        assert_eq!(text_of(&pointer), text);
        let mut raw = RawDocumentBuf::new();
        raw.append(cstr!("v"), mongodb::bson::RawBson::try_from(pointer).unwrap());
        assert!(raw.get("v").unwrap().is_some());
    }

    #[test]
    fn any_nesting_and_any_double_survives() {
        let mut random = fastrand::Rng::with_seed(3);
        let all: Vec<Bson> = values().into_iter().map(|(value, _)| value).collect();
        for _ in 0..2_000 {
            let mut value = all[random.usize(..all.len())].clone();
            for _ in 0..random.usize(..6) {
                let other = all[random.usize(..all.len())].clone();
                value = if random.bool() {
                    Bson::Array(vec![other, value])
                } else {
                    Bson::Document(doc! { "k": value, "\u{1}\"": other })
                };
            }
            assert_eq!(parse(&text_of(&value)).unwrap(), value);
            let double = f64::from_bits(random.u64(..));
            if double.is_finite() {
                assert_eq!(parse(&text_of(&Bson::Double(double))).unwrap(), Bson::Double(double));
            }
        }
    }

    #[test]
    fn filters_stay_filters() {
        let filter = r#" { "n" : { "$gte" : 3 , "$type": "number" }, "$or": [ {"s": {"$regex": "^a", "$options": "i"}},
            {"at": {"$lt": {"$date": "2026-01-01T00:00:00Z"}}} ] } "#;
        let expected = doc! {
            "n": { "$gte": 3, "$type": "number" },
            "$or": [
                { "s": { "$regex": "^a", "$options": "i" } },
                { "at": { "$lt": DateTime::from_millis(1_767_225_600_000) } },
            ],
        };
        assert_eq!(parse(filter).unwrap(), Bson::Document(expected));
    }

    #[test]
    fn hostile_text_is_an_error() {
        for (text, fault) in [
            ("", "a value is expected at character 1"),
            ("{n: 1}", "a name in quotes is expected at character 2"),
            ("{\"n\" 1}", "a colon is expected at character 6"),
            ("{\"n\": 1", "a comma or } is expected at character 8"),
            ("[1 2]", "a comma or ] is expected at character 4"),
            ("\"ä\\", "a string has no end"),
            ("\"\\q\"", "a proper string is expected at character 1"),
            ("1-1", "a number is expected at character 1"),
            ("1 1", "the end is expected at character 3"),
            ("{\"é\": {\"$oid\": \"x\"}}", "the $oid at character 7 doesn't have the form of extended JSON"),
        ] {
            assert_eq!(parse(text).unwrap_err(), fault, "{text}");
        }
        assert_eq!(parse(&"[".repeat(5_000)).unwrap_err(), "it is nested too deeply");
    }
}
