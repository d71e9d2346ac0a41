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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sql {
    /// The text.
    pub text: String,
    /// The values.
    pub values: Vec<Bound>,
}

impl Sql {
    /// A piece without parameters.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// A piece with one parameter.
    pub fn with(text: impl Into<String>, value: Bound) -> Self {
        Self { text: text.into(), values: vec![value] }
    }

    /// Adds text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds another piece.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.text.push_str(&other.text);
        self.values.extend(other.values);
        self
    }

    /// All of `pieces` with `between` them.
    pub fn join(pieces: impl IntoIterator<Item = Self>, between: &str) -> Self {
        let mut all = Self::default();
        for (index, piece) in pieces.into_iter().enumerate() {
            if index > 0 {
                all.text.push_str(between);
            }
            all = all.then(piece);
        }
        all
    }

    /// The values as the driver takes them.
    pub fn arguments(&self) -> Result<MySqlArguments, Driver> {
        let mut arguments = MySqlArguments::default();
        for value in &self.values {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_constants_are_quoted() {
        assert_eq!(quote("a`b; --"), "`a``b; --`");
        assert_eq!(string("it's \\ \""), "'it''s \\\\ \"'");
    }

    #[test]
    fn pieces_keep_their_values_in_order() {
        let one = Sql::with("a > ?", Bound::Int(1));
        let two = Sql::with("b = ?", Bound::Text("x".to_owned()));
        let both = Sql::plain("(").then(Sql::join([one, two], " AND ")).text(")");
        assert_eq!(both.text, "(a > ? AND b = ?)");
        assert_eq!(both.values, [Bound::Int(1), Bound::Text("x".to_owned())]);
    }
}
