//! What stands in the place of a value that is not to leave the source.

use sha2::{Digest as _, Sha256};

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
            let digest = match batch.get(row, column) {
                None | Some(ValueRef::Null) => continue,
                Some(_) if mask != Mask::Hash => None,
                Some(ValueRef::Int(value)) => Some(Sha256::digest(value.to_string())),
                Some(ValueRef::Real(value)) => Some(Sha256::digest(value.to_string())),
                Some(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => Some(Sha256::digest(bytes)),
            };
            match (mask, digest) {
                (Mask::Redact, _) => batch.replace(row, column, REDACTED.as_bytes()),
                (Mask::Hash, Some(digest)) => batch.replace(row, column, &hex(digest.as_slice())),
                _ => batch.blank(row, column),
            }
        }
    }
}

fn hex(bytes: &[u8]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
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
