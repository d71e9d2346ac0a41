//! What stands in the place of a value that is not to leave the source.

use sha2::{Digest as _, Sha256};

use super::form;
use crate::batch::{Batch, ValueRef};

/// How a column is masked. A NULL stays one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Every value becomes NULL.
    Null,
    /// Every value becomes the SHA-256 of the text or bytes that it would have had, as 64 hexadecimal digits: equal values stay
    /// equal, and who can guess a value can check the guess.
    Hash,
    /// Every value becomes [`REDACTED`].
    Redact,
}

/// What a redacted value says.
pub const REDACTED: &str = "[redacted]";

impl Mask {
    /// The names that users know, and what each means.
    pub const NAMES: [(&'static str, Self); 3] = [("null", Self::Null), ("hash", Self::Hash), ("redact", Self::Redact)];

    /// The name that users know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Hash => "hash",
            Self::Redact => "redact",
        }
    }
}

/// Masks columns of all rows; `masks` names them by their place in a row.
pub fn apply(batch: &mut Batch, masks: &[(usize, Mask)]) {
    for row in 0..batch.rows() {
        for &(column, mask) in masks {
            let value = match batch.get(row, column) {
                None | Some(ValueRef::Null) => continue,
                Some(value) => value,
            };
            match mask {
                Mask::Null => batch.blank(row, column),
                Mask::Redact => batch.replace(row, column, |out| out.extend_from_slice(REDACTED.as_bytes())),
                Mask::Hash => {
                    let digest = digest(value);
                    batch.replace(row, column, |out| form::push_hex(&digest, out));
                }
            }
        }
    }
}

fn digest(value: ValueRef<'_>) -> [u8; 32] {
    match value {
        ValueRef::Null => Sha256::digest(b""),
        ValueRef::Int(value) => Sha256::digest(value.to_string()),
        ValueRef::Real(value) => Sha256::digest(value.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Sha256::digest(bytes),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Value;

    #[test]
    fn values_become_what_the_mask_says_and_nulls_stay() {
        let mut batch = Batch::new(4);
        for value in [Some("abc"), None] {
            for _ in 0..4 {
                match value {
                    Some(value) => batch.push_text(value.as_bytes()),
                    None => batch.push_null(),
                }
            }
        }
        apply(&mut batch, &[(0, Mask::Null), (1, Mask::Hash), (2, Mask::Redact)]);
        // FIPS 180-2, appendix B.1.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let text = |text: &str| Value::Text(text.to_owned());
        let first: Vec<Value> = (0..4).map(|column| batch.value(0, column)).collect();
        assert_eq!(first, [Value::Null, text(digest), text(REDACTED), text("abc")]);
        assert!((0..4).all(|column| batch.value(1, column) == Value::Null));
    }

    #[test]
    fn a_blob_and_a_number_are_hashed_by_their_bytes_and_their_text() {
        let mut batch = Batch::new(3);
        batch.push_int(7);
        batch.push_text(b"7");
        batch.push_blob(b"7");
        apply(&mut batch, &[(0, Mask::Hash), (1, Mask::Hash), (2, Mask::Hash)]);
        assert!(matches!(batch.value(0, 0), Value::Text(_)));
        assert_eq!(batch.value(0, 0), batch.value(0, 1));
        assert_eq!(batch.value(0, 0), batch.value(0, 2));
    }
}
