//! Names and values in SQL that every SQLite takes, however its parameters travel.

use crate::batch::{Value, hex};

/// A value for a parameter. Only these two arrive everywhere as they were sent: over HTTP, an integer would arrive as a
/// double.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// Text.
    Text(String),
    /// A finite double.
    Real(f64),
}

/// A piece of a statement with the values of its parameters, in their order.
pub type Sql = crate::source::sql::Sql<Bound>;

/// A name, quoted.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text as a parameter.
pub fn text(text: &str) -> Sql {
    Sql::with("?", Bound::Text(text.to_owned()))
}

/// A value as a parameter with its storage class. The expression has no affinity, so that a comparison changes neither
/// side more than one with a value of another row would: hence the `+` before `CAST`.
pub fn parameter(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::plain("NULL"),
        Value::Int(value) => Sql::with("+CAST(? AS INTEGER)", Bound::Text(value.to_string())),
        Value::Real(value) if value.is_finite() => Sql::with("?", Bound::Real(*value)),
        Value::Real(value) => Sql::plain(if *value > 0.0 { "9e999" } else { "-9e999" }),
        Value::Text(value) => text(value),
        Value::Blob(value) => Sql::with("unhex(?)", Bound::Text(hex(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quote("a\"b; --"), "\"a\"\"b; --\"");
    }

    #[test]
    fn parameters_keep_their_storage_class() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for value in [
            Value::Null,
            Value::Int(i64::MIN),
            Value::Int(9_007_199_254_740_993),
            Value::Real(0.1 + 0.2),
            Value::Real(f64::INFINITY),
            Value::Real(f64::NEG_INFINITY),
            Value::Text("it's \" 12".to_owned()),
            Value::Blob(vec![0, 255, 16]),
        ] {
            let Sql { text, values } = parameter(&value);
            let values: Vec<rusqlite::types::Value> = values
                .into_iter()
                .map(|bound| match bound {
                    Bound::Text(text) => text.into(),
                    Bound::Real(real) => real.into(),
                })
                .collect();
            let sql = format!("SELECT {text}");
            let found = connection
                .query_row(&sql, rusqlite::params_from_iter(values), |row| row.get::<_, rusqlite::types::Value>(0))
                .unwrap();
            let expected = match value {
                Value::Null => rusqlite::types::Value::Null,
                Value::Int(value) => value.into(),
                Value::Real(value) => value.into(),
                Value::Text(value) => value.into(),
                Value::Blob(value) => value.into(),
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
