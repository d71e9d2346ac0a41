//! libSQL's protocol, Hrana, as JSON over HTTP: a whole answer at once, for which its stream of rows has one piece per row.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;

use super::http::{Answer, one_line};
use super::link::Fault;
use super::rows::{self, Form};
use super::sql::{Bound, Sql};
use crate::batch::Batch;
use crate::source::peer::Peer;

/// Why an infinity is refused: JSON has none, so the server writes null in its place.
pub const INFINITE: &str = "there is an infinite number, which libSQL's protocol can't carry; leave its column out with \
                            exclude_columns, or read the table by a view that has it as text";

/// What is said of a value of another form. It may be shown, so it holds nothing of the value.
const UNREADABLE: &str = "a value that can't be read";

/// The protocol pads nothing; one that does means the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One statement as the request that is sent. The stream that it is run in ends with it, so the server keeps nothing for us
/// that could expire.
pub fn body(sql: &Sql) -> String {
    let args = sql.values.iter().map(|value| match value {
        Bound::Text(text) => json!({ "type": "text", "value": text }),
        Bound::Real(real) => json!({ "type": "float", "value": real }),
    });
    let stmt = json!({ "sql": sql.text, "args": args.collect::<Vec<_>>(), "want_rows": true });
    json!({ "requests": [{ "type": "execute", "stmt": stmt }, { "type": "close" }] }).to_string()
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    results: First<Outcome<'a>>,
}

/// The first of a list. What follows is passed over: it takes a few bytes of an answer, but many more of memory.
struct First<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListOf(PhantomData))
    }
}

struct ListOf<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListOf<T> {
    type Value = First<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
        let first = list.next_element()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(First(first))
    }
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow, default)]
    response: Option<Response<'a>>,
    #[serde(default)]
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    result: Option<Found<'a>>,
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    rows: &'a RawValue,
}

#[derive(Deserialize)]
struct Complaint {
    message: String,
    #[serde(default)]
    code: Option<String>,
}

/// Adds the rows of an answer to [`body`]'s statement to `rows`.
pub fn read(answer: &Answer, peer: &Peer, rows: &mut Batch) -> Result<(), Fault> {
    if answer.status != 200 {
        let text = answer.text();
        let told = answer.fault(peer).or_else(|| refusal(Some(answer.status), &text));
        return Err(told.unwrap_or(Fault::Refused(text)));
    }
    let said = serde_json::from_slice::<Said<'_>>(&answer.body).ok();
    match said.and_then(|said| said.results.0) {
        Some(Outcome { response: Some(Response { result: Some(found) }), .. }) => {
            rows::read::<Hrana>(found.rows, rows, "libSQL")
        }
        Some(Outcome { error: Some(complaint), .. }) => Err(complaint.fault()),
        _ => Err(Fault::Cut(format!("{peer} answered something that is not libSQL's, or not all of it"))),
    }
}

impl Complaint {
    fn fault(self) -> Fault {
        let Self { message, code } = self;
        let code = code.unwrap_or_default();
        let told = one_line(&if code.is_empty() { message } else { format!("{message} ({code})") });
        if code == "RESPONSE_TOO_LARGE" {
            return Fault::TooLarge(told);
        }
        refusal(None, &told).unwrap_or(Fault::Refused(told))
    }
}

/// What the words of a server mean that refuses a question, whichever way it was asked: `None` where they are only told.
pub fn refusal(status: Option<u16>, text: &str) -> Option<Fault> {
    let passes = ["SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "timed out", "TIMEOUT"];
    match status {
        Some(status @ (401 | 403)) => Some(Fault::Denied(format!(
            "the server refuses the token (HTTP {status}); give one for this database that may read"
        ))),
        _ if status >= Some(500) || passes.iter().any(|word| text.contains(word)) => Some(Fault::Busy(one_line(text))),
        _ => None,
    }
}

/// Values as objects: `{"type":"integer","value":"7"}`.
struct Hrana;

impl Form for Hrana {
    const REASON: Option<&'static str> = Some(INFINITE);

    fn read<'de, D: Deserializer<'de>>(deserializer: D, rows: &mut Batch) -> Result<(), D::Error> {
        deserializer.deserialize_map(Cell(rows))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Type,
    Value,
    Base64,
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Class {
    Null,
    Integer,
    Float,
    Text,
    Blob,
}

struct Cell<'a>(&'a mut Batch);

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a type and a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut class = None;
        // The value where it comes before its type.
        let mut early: Option<&'de RawValue> = None;
        let mut is_read = false;
        while let Some(field) = map.next_key()? {
            match (field, class) {
                (Field::Type, _) => class = Some(map.next_value()?),
                (Field::Value | Field::Base64, _) if is_read => return Err(Error::custom(UNREADABLE)),
                (Field::Value | Field::Base64, Some(class)) => {
                    map.next_value_seed(Content { class, rows: self.0 })?;
                    is_read = true;
                }
                (Field::Value | Field::Base64, None) => early = Some(map.next_value()?),
                (Field::Other, _) => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (class, early) {
            _ if is_read => {}
            (Some(class), Some(json)) => {
                let content = Content { class, rows: self.0 };
                content.deserialize(&mut serde_json::Deserializer::from_str(json.get())).map_err(Error::custom)?;
            }
            (Some(Class::Null), None) => self.0.push_null(),
            _ => return Err(Error::custom(UNREADABLE)),
        }
        Ok(())
    }
}

/// What a cell holds besides its type.
struct Content<'a> {
    class: Class,
    rows: &'a mut Batch,
}

impl Content<'_> {
    fn real<E: Error>(self, value: f64) -> Result<(), E> {
        if self.class != Class::Float {
            return Err(E::custom(UNREADABLE));
        }
        self.rows.push_real(value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Content<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of its type")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.class {
            Class::Null => self.rows.push_null(),
            Class::Float => return Err(E::custom(INFINITE)),
            _ => return Err(E::custom(UNREADABLE)),
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.real(value)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "its digits are those of a double, which is the nearest one to them"
    )]
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.real(value as f64)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "its digits are those of a double, which is the nearest one to them"
    )]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.real(value as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let unreadable = || E::custom(UNREADABLE);
        match self.class {
            Class::Text => self.rows.push_text(text.as_bytes()),
            Class::Integer => self.rows.push_int(text.parse().map_err(|_| unreadable())?),
            Class::Blob => self.rows.push_blob(&BASE64.decode(text).map_err(|_| unreadable())?),
            Class::Null | Class::Float => return Err(unreadable()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::parsed;
    use super::*;
    use crate::batch::Value;

    #[test]
    fn every_value_keeps_its_storage_class_and_digits() {
        for (sent, expected) in [
            (r#"{"type":"null"}"#, Value::Null),
            (r#"{"type":"null","value":null}"#, Value::Null),
            (r#"{"type":"integer","value":"9223372036854775807"}"#, Value::Int(i64::MAX)),
            (r#"{"type":"integer","value":"-9223372036854775808"}"#, Value::Int(i64::MIN)),
            (r#"{"type":"float","value":0.30000000000000004}"#, Value::Real(0.1 + 0.2)),
            (r#"{"type":"float","value":5e-324}"#, Value::Real(5e-324)),
            (r#"{"type":"float","value":1.7976931348623157e308}"#, Value::Real(f64::MAX)),
            (r#"{"type":"float","value":2}"#, Value::Real(2.0)),
            (r#"{"type":"float","value":-2}"#, Value::Real(-2.0)),
            (r#"{"type":"text","value":""}"#, Value::Text(String::new())),
            (r#"{"type":"text","value":"a\u0000b \ud83e\uddc0 \"}],[{"}"#, Value::Text("a\0b 🧀 \"}],[{".to_owned())),
            (r#"{"type":"blob","base64":"AP8Q"}"#, Value::Blob(vec![0, 255, 16])),
            (r#"{"type":"blob","base64":"AP8"}"#, Value::Blob(vec![0, 255])),
            (r#"{"type":"blob","base64":"AP8="}"#, Value::Blob(vec![0, 255])),
            (r#"{"type":"blob","base64":""}"#, Value::Blob(Vec::new())),
            // In another order, and with what may be added one day.
            (r#"{"value":"7","more":[{}],"type":"integer"}"#, Value::Int(7)),
            (r#"{"base64":"AP8Q","type":"blob"}"#, Value::Blob(vec![0, 255, 16])),
        ] {
            let batch = parsed::<Hrana>(&format!("[[{sent}]]"), 1).unwrap();
            assert_eq!(batch.value(0, 0), expected, "{sent}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused_without_it() {
        for cell in [
            r#"{"type":"integer","value":"secret"}"#,
            r#"{"type":"integer","value":1234567}"#,
            r#"{"type":"float","value":"secret"}"#,
            r#"{"type":"blob","base64":"secret?"}"#,
            r#"{"type":"null","value":"secret"}"#,
            r#"{"type":"text"}"#,
            r#"{"type":"text","value":null}"#,
            r#"{"type":"text","value":"secret","value":"secret"}"#,
            r#"{"value":"secret","type":"integer"}"#,
            r#"{"value":"secret"}"#,
            r#"{"type":"text","value":"secr"#,
            "{}",
            "7",
        ] {
            let error = parsed::<Hrana>(&format!("[[{cell}]]"), 1).expect_err(cell).to_string();
            assert!(!error.contains("secr") && !error.contains("1234567"), "{error}");
        }
        let infinite = parsed::<Hrana>(r#"[[{"type":"float","value":null}]]"#, 1).expect_err("infinite").to_string();
        assert!(infinite.contains(INFINITE), "{infinite}");
    }

    #[test]
    fn of_many_results_the_first_is_kept() {
        let said: First<u8> = serde_json::from_str(r#"[7, {}, [[]], "x"]"#).unwrap();
        assert_eq!(said.0, Some(7));
        assert!(serde_json::from_str::<First<u8>>("[]").unwrap().0.is_none());
        assert!(serde_json::from_str::<First<u8>>("[7, ").is_err());
    }

    #[test]
    fn a_complaint_is_what_its_code_says() {
        let fault = |message: &str, code: Option<&str>| {
            Complaint { message: message.to_owned(), code: code.map(str::to_owned) }.fault()
        };
        assert!(matches!(fault("Response is too large", Some("RESPONSE_TOO_LARGE")), Fault::TooLarge(_)));
        assert!(matches!(fault("database is locked", Some("SQLITE_BUSY")), Fault::Busy(_)));
        let expected = Fault::Refused("SQLite error: no such table: t (SQLITE_UNKNOWN)".to_owned());
        assert_eq!(fault("SQLite error: no such table: t", Some("SQLITE_UNKNOWN")), expected);
        assert_eq!(fault("no", None), Fault::Refused("no".to_owned()));
    }
}
