//! Arrays of any dimension as JSON arrays.

use super::wire::{Malformed, Reader, Wire};
use crate::mapping::form::{Scalar, push_json};

/// PostgreSQL's own limit on dimensions.
const MOST_DIMENSIONS: usize = 6;

/// Why there is no JSON of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are no array of such elements.
    Malformed,
    /// It would be larger than it may be: a few bytes of a number may be many digits.
    TooLarge,
}

impl From<Malformed> for Fault {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Appends the array in `bytes`, whose elements are `element`, as JSON of about `most` bytes or less. What was appended is not
/// JSON when it fails.
pub fn push_array(bytes: &[u8], element: &Wire, check_text: bool, most: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut reader = Reader(bytes);
    let dimensions = usize::try_from(reader.int4()?).map_err(|_| Malformed)?;
    let _has_nulls = reader.int4()?;
    let _element_oid = reader.int4()?;
    if dimensions > MOST_DIMENSIONS {
        return Err(Fault::Malformed);
    }
    if dimensions == 0 {
        out.extend_from_slice(b"[]");
        return Ok(());
    }
    let mut sizes = [0_usize; MOST_DIMENSIONS];
    for size in &mut sizes[..dimensions] {
        *size = usize::try_from(reader.int4()?).map_err(|_| Malformed)?;
        let _lower_bound = reader.int4()?;
    }
    let end = out.len() + most;
    push_level(&mut reader, &sizes[..dimensions], element, check_text, end, out)?;
    if reader.0.is_empty() { Ok(()) } else { Err(Fault::Malformed) }
}

fn push_level(
    reader: &mut Reader<'_>,
    sizes: &[usize],
    element: &Wire,
    check_text: bool,
    end: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let Some((&size, inner)) = sizes.split_first() else {
        return match reader.value()? {
            None => {
                out.extend_from_slice(b"null");
                Ok(())
            }
            Some(bytes) => {
                let scalar = element.read(bytes)?;
                if let (true, Scalar::Text(text) | Scalar::Json(text)) = (check_text, scalar) {
                    std::str::from_utf8(text).map_err(|_| Malformed)?;
                }
                push_json(scalar, out);
                if out.len() > end { Err(Fault::TooLarge) } else { Ok(()) }
            }
        };
    };
    // An element takes at least its length, so a size that a hostile server made up ends here.
    if size == 0 || size > reader.0.len() / 4 {
        return Err(Fault::Malformed);
    }
    out.push(b'[');
    for index in 0..size {
        if index > 0 {
            out.push(b',');
        }
        push_level(reader, inner, element, check_text, end, out)?;
    }
    out.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_that_are_many_digits_end_somewhere() {
        // A dimension of 1,000 elements, each of which is a 1 and 131,071 zeros in 14 bytes.
        let number = [0, 0, 0, 10, 0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1];
        let mut bytes = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6, 0xa4, 0, 0, 3, 0xe8, 0, 0, 0, 1].to_vec();
        bytes.extend(number.repeat(1000));
        let mut out = Vec::new();
        assert_eq!(push_array(&bytes, &Wire::Numeric, false, 1 << 20, &mut out), Err(Fault::TooLarge));
        assert!(out.len() < 2 << 20, "{} bytes", out.len());
    }
}
