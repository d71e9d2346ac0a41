//! Values that keep their storage class and all their digits on their way through JSON.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use super::rows::Form;
use super::sql::Sql;
use crate::batch::Batch;

/// `expression` in a form that JSON keeps: integers that a double holds and doubles that are no integers as numbers, everything
/// else as text that begins with a letter for its storage class. A blob goes as its digits. Doubles go as numbers because
/// JavaScript writes all their digits, which SQLite does not.
fn tagged(expression: &str) -> String {
    format!(
        "CASE typeof({expression}) WHEN 'text' THEN 't'||{expression} \
         WHEN 'integer' THEN CASE WHEN {expression} BETWEEN -9007199254740991 AND 9007199254740991 THEN {expression} \
         ELSE 'i'||{expression} END \
         WHEN 'real' THEN CASE WHEN abs({expression}) < 9007199254740992 AND {expression} = CAST({expression} AS INTEGER) \
         THEN 'r'||CAST({expression} AS INTEGER) WHEN {expression} > 1.7976931348623157e308 THEN 'rinf' \
         WHEN {expression} < -1.7976931348623157e308 THEN 'r-inf' ELSE {expression} END \
         WHEN 'blob' THEN 'b'||hex({expression}) END"
    )
}

/// `sql`, whose `width` columns are called `c0` and so on, with its values as [`tagged`] writes them. They are named shortly,
/// because each name is written many times and statements have a limit too. One SELECT from another with an order keeps that
/// order.
pub fn kept(sql: &Sql, width: usize) -> Sql {
    let outputs: Vec<String> =
        (0..width).map(|index| format!("{} AS c{index}", tagged(&format!("c{index}")))).collect();
    Sql::plain(format!("SELECT {} FROM (", outputs.join(", "))).then(sql.clone()).text(")")
}

/// The integers that [`tagged`] sends as numbers lie between this and its negative; larger numbers are doubles.
const LARGEST_PLAIN: u64 = 9_007_199_254_740_991;

/// Values as [`tagged`] writes them.
pub struct Tagged;

impl Form for Tagged {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, rows: &mut Batch) -> Result<(), D::Error> {
        deserializer.deserialize_any(Cell(rows))
    }
}

struct Cell<'a>(&'a mut Batch);

impl Visitor<'_> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, an integer, or text that begins with t, i, r or b")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.push_null();
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "its digits are those of a double, which is the nearest one to them"
    )]
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        if value.unsigned_abs() <= LARGEST_PLAIN {
            self.0.push_int(value);
        } else {
            self.0.push_real(value as f64);
        }
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "its digits are those of a double, which is the nearest one to them"
    )]
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        if let Ok(value) = i64::try_from(value) {
            return self.visit_i64(value);
        }
        self.0.push_real(value as f64);
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.push_real(value);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        // The words of an error may be shown, so they hold nothing of the value.
        let unreadable = || E::custom("a value that can't be read");
        let (tag, rest) = text.split_at_checked(1).ok_or_else(unreadable)?;
        match tag {
            "t" => self.0.push_text(rest.as_bytes()),
            "i" => self.0.push_int(rest.parse().map_err(|_| unreadable())?),
            "r" => self.0.push_real(rest.parse().map_err(|_| unreadable())?),
            "b" => {
                let bytes = bytes_of(rest).ok_or_else(unreadable)?;
                self.0.push_blob(&bytes);
            }
            _ => return Err(unreadable()),
        }
        Ok(())
    }
}

/// The bytes of hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::parsed;
    use super::*;
    use crate::batch::Value;

    /// A value as JavaScript writes it.
    fn json(value: rusqlite::types::Value) -> String {
        match value {
            rusqlite::types::Value::Null => "null".to_owned(),
            rusqlite::types::Value::Integer(value) => value.to_string(),
            rusqlite::types::Value::Real(value) => {
                let digits = format!("{value}");
                if digits.len() > 21 { format!("{value:e}") } else { digits }
            }
            rusqlite::types::Value::Text(text) => serde_json::Value::from(text).to_string(),
            rusqlite::types::Value::Blob(_) => panic!("a blob says nothing in JSON"),
        }
    }

    #[test]
    fn every_value_keeps_its_storage_class_and_digits() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for (expression, expected) in [
            ("NULL", Value::Null),
            ("0", Value::Int(0)),
            ("-9007199254740991", Value::Int(-9_007_199_254_740_991)),
            ("9007199254740993", Value::Int(9_007_199_254_740_993)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("(-9223372036854775807 - 1)", Value::Int(i64::MIN)),
            ("2.0", Value::Real(2.0)),
            ("0.1 + 0.2", Value::Real(0.1 + 0.2)),
            ("1.7976931348623157e308", Value::Real(f64::MAX)),
            ("5e-324", Value::Real(5e-324)),
            ("2.2250738585072014e-308", Value::Real(f64::MIN_POSITIVE)),
            ("123456789.12345679", Value::Real(123_456_789.123_456_79)),
            ("12345678901234567890.0", Value::Real(12_345_678_901_234_567_890.0)),
            ("1e18", Value::Real(1e18)),
            ("-1e21", Value::Real(-1e21)),
            ("9e999", Value::Real(f64::INFINITY)),
            ("-9e999", Value::Real(f64::NEG_INFINITY)),
            ("''", Value::Text(String::new())),
            ("'i12'", Value::Text("i12".to_owned())),
            ("'käse \"🧀\" \\ ' || char(10)", Value::Text("käse \"🧀\" \\ \n".to_owned())),
            ("x''", Value::Blob(Vec::new())),
            ("x'00ff10'", Value::Blob(vec![0, 255, 16])),
        ] {
            let sql = format!("SELECT {}", tagged(&format!("({expression})")));
            let sent = json(connection.query_row(&sql, [], |row| row.get(0)).unwrap());
            let batch = parsed::<Tagged>(&format!("[[{sent}]]"), 1).unwrap();
            assert_eq!(batch.value(0, 0), expected, "{expression} as {sent}");
        }
    }

    #[test]
    fn doubles_survive_to_the_last_bit() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare(&format!("SELECT {} FROM (SELECT ?1 AS x)", tagged("x"))).unwrap();
        for _ in 0..20_000 {
            let value = f64::from_bits(fastrand::u64(..));
            if !value.is_finite() || value == 0.0 {
                continue;
            }
            let sent = json(statement.query_row([value], |row| row.get(0)).unwrap());
            let batch = parsed::<Tagged>(&format!("[[{sent}]]"), 1).unwrap();
            assert_eq!(batch.value(0, 0), Value::Real(value), "{value:e} as {sent}");
        }
    }

    #[test]
    fn what_is_no_row_is_refused_without_its_values() {
        for text in
            ["[[1]]", "[[1,2,3]]", "[[1,\"secret\"]]", "[[1,\"\"]]", "[[1,{}]]", "[1]", "{}", "[[1,\"bxy\"]]", "[[1,2"]
        {
            let error = parsed::<Tagged>(text, 2).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
