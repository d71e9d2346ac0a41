//! Names and values as SQL text. COPY takes no parameters, so this is the one place where values become SQL.

use crate::batch::{Value, hex};
use crate::error::{Error, Kind, Result};

/// A name, quoted.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant. The session pins `standard_conforming_strings`, so a quote is all that needs care.
pub fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `value` as a constant of the type that SQL calls `sql_type`; undoes what a type override did to it.
///
/// # Errors
/// `SOURCE_READ` when the value can't have come from the source.
pub fn literal(value: &Value, sql_type: &str) -> Result<String> {
    let text = match value {
        Value::Null => return Ok(format!("NULL::{sql_type}")),
        Value::Int(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) if sql_type == "pg_catalog.bytea" => format!("\\x{}", hex(bytes)),
        Value::Blob(bytes) if sql_type == "pg_catalog.uuid" => hex(bytes),
        Value::Blob(bytes) => String::from_utf8(bytes.clone()).map_err(|_| unusable("its bytes are not UTF-8"))?,
    };
    if text.contains('\0') {
        return Err(unusable("it holds a NUL, which PostgreSQL's text can't"));
    }
    Ok(format!("{}::{sql_type}", string(&text)))
}

fn unusable(why: &str) -> Error {
    Error::new(Kind::SourceRead, "A saved position can't be given back to the source")
        .because(format!("{why}; reset the table's sync state"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quote(r#"a"b; --"#), r#""a""b; --""#);
    }

    #[test]
    fn values_are_constants() {
        for (value, sql_type, expected) in [
            (Value::Int(-5), "pg_catalog.int4", "'-5'::pg_catalog.int4"),
            (Value::Real(0.1), "pg_catalog.float8", "'0.1'::pg_catalog.float8"),
            (Value::Text("it's \\ E''".to_owned()), "pg_catalog.text", "'it''s \\ E'''''::pg_catalog.text"),
            (Value::Blob(vec![0, 255]), "pg_catalog.bytea", "'\\x00ff'::pg_catalog.bytea"),
            (Value::Blob(vec![1; 2]), "pg_catalog.uuid", "'0101'::pg_catalog.uuid"),
            (Value::Blob(b"hi".to_vec()), "pg_catalog.text", "'hi'::pg_catalog.text"),
            (Value::Null, "pg_catalog.text", "NULL::pg_catalog.text"),
        ] {
            assert_eq!(literal(&value, sql_type).unwrap(), expected);
        }
    }

    #[test]
    fn values_that_no_text_can_hold_are_refused() {
        assert!(literal(&Value::Text("a\0b".to_owned()), "pg_catalog.text").is_err());
        assert!(literal(&Value::Blob(vec![255]), "pg_catalog.text").is_err());
    }
}
