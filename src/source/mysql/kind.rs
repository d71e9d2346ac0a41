//! What MySQL and MariaDB call a type, and how its values are read, compared and given back.

use super::sql::{Bound, Sql};
use crate::batch::Value;
use crate::error::{Error, Kind, Result};
use crate::mapping::decimal::integer_of_text;
use crate::schema::SourceType;

/// How a column's values come over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// An integer of one to eight bytes.
    Int,
    /// The same without a sign.
    Unsigned,
    /// `bit(n)`: up to eight bytes, the highest first.
    Bit,
    /// 32 or 64 bits.
    Float,
    /// Digits.
    Decimal {
        /// Declared digits in all.
        precision: u32,
        /// Declared digits behind the point.
        scale: u32,
    },
    /// Characters, as UTF-8.
    Text,
    /// Characters that are ordered by something else, as of an enum.
    Word,
    /// A JSON document.
    Json,
    /// A UUID in its text form.
    Uuid,
    /// Bytes.
    Bytes,
    /// A geometry, which the server is asked to write as text.
    Geometry,
    /// A date by its parts.
    Date,
    /// A date and a time of day.
    DateTime {
        /// Fraction digits.
        digits: u8,
        /// Whether it is an instant, given in the session's zone, UTC.
        zoned: bool,
    },
    /// A length of time.
    Time {
        /// Fraction digits.
        digits: u8,
    },
}

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// What its values are.
    pub kind: SourceType,
    /// How they come.
    pub wire: Wire,
}

/// What the catalog says of a column's type.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    /// The bare name, such as `bigint`.
    pub data_type: &'a str,
    /// As written in `CREATE TABLE`, such as `bigint(20) unsigned`.
    pub column_type: &'a str,
    /// Digits of a number.
    pub precision: Option<u32>,
    /// Digits behind the point.
    pub scale: Option<u32>,
    /// Digits of a second's fraction.
    pub fraction: Option<u8>,
}

impl Declared<'_> {
    fn is_unsigned(&self) -> bool {
        self.column_type.contains(" unsigned") || self.column_type.contains(" zerofill")
    }

    /// The name as `type_map` takes it.
    pub fn type_name(&self) -> String {
        if self.is_unsigned() { format!("{} unsigned", self.data_type) } else { self.data_type.to_owned() }
    }
}

/// What `declared` adds to a type once a value beyond SQLite's integers was seen in the column.
pub const WIDE: &str = " beyond 2^63-1";

impl ColumnType {
    /// Reads the catalog's words; `wide` once the column was seen to hold an integer beyond SQLite's.
    pub fn new(declared: Declared<'_>, wide: bool) -> Self {
        let digits = declared.fraction.unwrap_or(0).min(6);
        let (kind, wire) = match declared.data_type {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" if !declared.is_unsigned() => {
                (SourceType::Int, Wire::Int)
            }
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => (integer(wide), Wire::Unsigned),
            "year" => (SourceType::Int, Wire::Unsigned),
            "bit" => (integer(wide), Wire::Bit),
            "float" => (SourceType::Float32, Wire::Float),
            "double" => (SourceType::Float64, Wire::Float),
            "decimal" => {
                let precision = declared.precision.unwrap_or(65);
                let wire = Wire::Decimal { precision, scale: declared.scale.unwrap_or(0) };
                (SourceType::Decimal { precision: declared.precision }, wire)
            }
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => (SourceType::Text, Wire::Text),
            "enum" | "set" => (SourceType::Text, Wire::Word),
            "json" => (SourceType::Json, Wire::Json),
            "uuid" => (SourceType::Uuid, Wire::Uuid),
            "inet4" | "inet6" => (SourceType::Opaque { known: true }, Wire::Text),
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                (SourceType::Bytes, Wire::Bytes)
            }
            "date" => (SourceType::Date, Wire::Date),
            "datetime" => (SourceType::Timestamp { digits, zoned: false }, Wire::DateTime { digits, zoned: false }),
            "timestamp" => (SourceType::Timestamp { digits, zoned: true }, Wire::DateTime { digits, zoned: true }),
            "time" => (SourceType::Time { digits, zoned: false }, Wire::Time { digits }),
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => (SourceType::Opaque { known: true }, Wire::Geometry),
            _ => (SourceType::Opaque { known: false }, Wire::Word),
        };
        Self { kind, wire }
    }

    /// The type of a condition's answer.
    pub const fn flag() -> Self {
        Self { kind: SourceType::Int, wire: Wire::Int }
    }

    /// Whether a value may be larger than SQLite's integers, in a column that keeps integers.
    pub fn may_outgrow(&self) -> bool {
        self.kind == SourceType::Int && matches!(self.wire, Wire::Unsigned | Wire::Bit)
    }

    /// `column` as the server is asked to send it.
    pub fn read(&self, column: &str) -> String {
        match self.wire {
            Wire::Geometry => format!(
                "CASE WHEN ST_SRID({column}) = 0 THEN ST_AsText({column}) \
                 ELSE CONCAT('SRID=', ST_SRID({column}), ';', ST_AsText({column})) END"
            ),
            Wire::Word => text_of(column),
            _ => column.to_owned(),
        }
    }

    /// `column` as it is ordered by. An enum is ordered by its number but compared with its text, so here both go by the
    /// text.
    pub fn ordered(&self, column: &str) -> String {
        match self.wire {
            Wire::Word => format!("{} COLLATE utf8mb4_bin", text_of(column)),
            _ => column.to_owned(),
        }
    }

    /// A value of the column as a parameter; undoes what a type override did to it.
    ///
    /// # Errors
    /// `SOURCE_READ` when the value can't have come from the source.
    pub fn parameter(&self, value: &Value) -> Result<Sql> {
        let plain = |bound| Sql::with("?", bound);
        match self.wire {
            Wire::Int | Wire::Unsigned | Wire::Bit => Ok(plain(integer_parameter(value)?)),
            Wire::Float => {
                let real = match value {
                    Value::Real(value) => *value,
                    #[allow(
                        clippy::cast_precision_loss,
                        reason = "it was a double before an override made it an integer"
                    )]
                    Value::Int(value) => *value as f64,
                    value => text_parameter(value)?.parse().map_err(|_| unusable("it is not a number"))?,
                };
                // A 32-bit value is kept as its shortest decimal, which lies beside it.
                #[allow(clippy::cast_possible_truncation, reason = "it was one before")]
                let single = f64::from(real as f32);
                Ok(plain(Bound::Real(if self.kind == SourceType::Float32 { single } else { real })))
            }
            // Compared with bare text, a decimal would become a double.
            Wire::Decimal { precision, scale } => {
                let digits = text_parameter(value)?;
                if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
                    return Err(unusable("it is not a number"));
                }
                Ok(Sql::with(format!("CAST(? AS DECIMAL({precision},{scale}))"), Bound::Text(digits)))
            }
            Wire::Bytes => Ok(plain(Bound::Bytes(match value {
                Value::Blob(bytes) => bytes.clone(),
                value => unhex(&text_parameter(value)?).ok_or_else(|| unusable("it is not in hex digits"))?,
            }))),
            Wire::Date | Wire::DateTime { .. } | Wire::Time { .. } => {
                Ok(plain(Bound::Text(text_parameter(value)?.replace('T', " ").replace('Z', ""))))
            }
            Wire::Uuid => Ok(plain(Bound::Text(match value {
                Value::Blob(bytes) => crate::batch::hex(bytes),
                value => text_parameter(value)?,
            }))),
            Wire::Text | Wire::Word | Wire::Json | Wire::Geometry => Ok(plain(Bound::Text(text_parameter(value)?))),
        }
    }
}

/// The most bytes that a value of a type may take, as `declared` in `CREATE TABLE`; `None` where that is more than some
/// hundred thousand, or unknown (<https://dev.mysql.com/doc/refman/8.4/en/storage-requirements.html>).
pub fn longest(declared: &str) -> Option<u64> {
    let (name, rest) = declared.split_once('(').unwrap_or((declared, ""));
    let length = || rest.split_once(')')?.0.parse::<u64>().ok();
    match name.trim_end() {
        // A character takes up to four bytes.
        "char" | "varchar" => Some(length()? * 4),
        "binary" | "varbinary" => length(),
        "tinytext" | "tinyblob" | "inet4" | "inet6" => Some(255),
        "text" | "blob" => Some(65_535),
        // A member of an enum has up to 255 characters, a set up to 64 members.
        "enum" => Some(255 * 4),
        "set" => Some(64 * 256 * 4),
        _ => None,
    }
}

/// A column of words as characters of the session's own set, whatever the column's.
fn text_of(column: &str) -> String {
    format!("CAST({column} AS CHAR CHARACTER SET utf8mb4)")
}

const fn integer(wide: bool) -> SourceType {
    // The digits of 2^64-1.
    if wide { SourceType::Decimal { precision: Some(20) } } else { SourceType::Int }
}

fn integer_parameter(value: &Value) -> Result<Bound> {
    match value {
        Value::Int(value) => Ok(Bound::Int(*value)),
        value => {
            let text = text_parameter(value)?;
            match integer_of_text(text.as_bytes()) {
                Some(value) => Ok(Bound::Int(value)),
                None => text.parse().map(Bound::Unsigned).map_err(|_| unusable("it is not an integer")),
            }
        }
    }
}

fn text_parameter(value: &Value) -> Result<String> {
    match value {
        Value::Null => Err(unusable("it is NULL")),
        Value::Int(value) => Ok(value.to_string()),
        Value::Real(value) => Ok(value.to_string()),
        Value::Text(text) => Ok(text.clone()),
        Value::Blob(bytes) => String::from_utf8(bytes.clone()).map_err(|_| unusable("its bytes are not UTF-8")),
    }
}

/// The bytes of `\x` and hex digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn unusable(why: &str) -> Error {
    Error::new(Kind::SourceRead, "A saved position can't be given back to the source")
        .because(format!("{why}; reset the table's sync state"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: &str, column_type: &str) -> ColumnType {
        let declared = Declared { data_type, column_type, precision: Some(40), scale: Some(10), fraction: Some(6) };
        ColumnType::new(declared, false)
    }

    #[test]
    fn values_go_back_as_they_came() {
        for (data_type, value, expected) in [
            ("bigint", Value::Int(-5), Sql::with("?", Bound::Int(-5))),
            ("bigint", Value::Text("18446744073709551615".to_owned()), Sql::with("?", Bound::Unsigned(u64::MAX))),
            ("float", Value::Real(0.1), Sql::with("?", Bound::Real(f64::from(0.1_f32)))),
            (
                "decimal",
                Value::Text("1.5".to_owned()),
                Sql::with("CAST(? AS DECIMAL(40,10))", Bound::Text("1.5".to_owned())),
            ),
            ("blob", Value::Text("\\x00fF".to_owned()), Sql::with("?", Bound::Bytes(vec![0, 255]))),
            ("varchar", Value::Blob(b"hi".to_vec()), Sql::with("?", Bound::Text("hi".to_owned()))),
            (
                "timestamp",
                Value::Text("2026-01-02T03:04:05.000006Z".to_owned()),
                Sql::with("?", Bound::Text("2026-01-02 03:04:05.000006".to_owned())),
            ),
        ] {
            assert_eq!(column(data_type, data_type).parameter(&value).unwrap(), expected);
        }
    }

    #[test]
    fn values_that_never_came_are_refused() {
        for (data_type, value) in [
            ("bigint", Value::Text("abc".to_owned())),
            ("decimal", Value::Text("1); DROP".to_owned())),
            ("blob", Value::Text("00".to_owned())),
            ("varchar", Value::Null),
        ] {
            assert!(column(data_type, data_type).parameter(&value).is_err(), "{data_type}");
        }
    }

    #[test]
    fn the_longest_value_of_a_type() {
        for (declared, most) in [
            ("varchar(255)", Some(1_020)),
            ("varbinary(16)", Some(16)),
            ("text", Some(65_535)),
            ("mediumtext", None),
            ("longblob", None),
            ("json", None),
            ("geometry", None),
            ("enum('a','b')", Some(1_020)),
            ("varchar", None),
        ] {
            assert_eq!(longest(declared), most, "{declared}");
        }
    }

    #[test]
    fn types_are_named_as_users_map_them() {
        let declared = Declared {
            data_type: "int",
            column_type: "int(10) unsigned",
            precision: None,
            scale: None,
            fraction: None,
        };
        assert_eq!(declared.type_name(), "int unsigned");
        assert!(column("bigint", "bigint(20) unsigned").may_outgrow());
        assert!(!column("bigint", "bigint(20)").may_outgrow());
    }
}
