//! Statements with the values of their parameters.

/// A piece of a statement with the values of its parameters, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sql<B> {
    /// The text.
    pub text: String,
    /// The values.
    pub values: Vec<B>,
}

impl<B> Default for Sql<B> {
    fn default() -> Self {
        Self { text: String::new(), values: Vec::new() }
    }
}

impl<B> Sql<B> {
    /// A piece without parameters.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// A piece with one parameter.
    pub fn with(text: impl Into<String>, value: B) -> Self {
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

    /// Several values as a row; one value by itself.
    pub fn row(mut values: Vec<Self>) -> Self {
        match values.len() {
            1 => values.remove(0),
            _ => Self::plain("(").then(Self::join(values, ", ")).text(")"),
        }
    }
}

/// The sum of these expressions; `None` of none. In pairs of pairs, because some servers take only so many levels.
pub fn sum(mut parts: Vec<String>) -> Option<String> {
    while parts.len() > 1 {
        let pairs = parts.chunks(2).map(|pair| match pair {
            [one, other] => format!("({one} + {other})"),
            pair => pair.concat(),
        });
        parts = pairs.collect();
    }
    parts.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_shallow() {
        let parts = |count: usize| (0..count).map(|part| part.to_string()).collect();
        assert_eq!(sum(parts(0)), None);
        assert_eq!(sum(parts(1)).as_deref(), Some("0"));
        assert_eq!(sum(parts(5)).as_deref(), Some("(((0 + 1) + (2 + 3)) + 4)"));
    }

    #[test]
    fn pieces_keep_their_values_in_order() {
        let one = Sql::with("a > ?", 1);
        let two = Sql::with("b = ?", 2);
        let both = Sql::plain("(").then(Sql::join([one, two], " AND ")).text(")");
        assert_eq!(both.text, "(a > ? AND b = ?)");
        assert_eq!(both.values, [1, 2]);
    }
}
