//! Names, constants and statements with their values.

use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments as _, Error as Driver};

/// A name, quoted.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string constant, for statements that take no parameters. The session pins an `sql_mode` in which a backslash
/// escapes.
pub fn string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A value for a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A double.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A piece of a statement with the values of its parameters, in their order.
pub type Sql = crate::source::sql::Sql<Bound>;

/// The values of `sql` as the driver takes them.
pub fn arguments(sql: &Sql) -> Result<MySqlArguments, Driver> {
    let mut arguments = MySqlArguments::default();
    for value in &sql.values {
        let added = match value {
            Bound::Int(value) => arguments.add(value),
            Bound::Unsigned(value) => arguments.add(value),
            Bound::Real(value) => arguments.add(value),
            Bound::Text(value) => arguments.add(value.as_str()),
            Bound::Bytes(value) => arguments.add(value.as_slice()),
        };
        added.map_err(Driver::Encode)?;
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_constants_are_quoted() {
        assert_eq!(quote("a`b; --"), "`a``b; --`");
        assert_eq!(string("it's \\ \""), "'it''s \\\\ \"'");
    }
}
