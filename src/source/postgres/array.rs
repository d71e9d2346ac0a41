//! Arrays of any dimension as JSON arrays.

use super::wire::{Malformed, Reader, Wire};
use crate::mapping::form::{Scalar, push_json};

/// PostgreSQL's own limit on dimensions.
const MOST_DIMENSIONS: usize = 6;

/// Appends the array in `bytes`, whose elements are `element`, as JSON. What was appended is not JSON when it fails.
pub fn push_array(bytes: &[u8], element: &Wire, check_text: bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    let dimensions = usize::try_from(reader.int4()?).map_err(|_| Malformed)?;
    let _has_nulls = reader.int4()?;
    let _element_oid = reader.int4()?;
    if dimensions > MOST_DIMENSIONS {
        return Err(Malformed);
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
    push_level(&mut reader, &sizes[..dimensions], element, check_text, out)?;
    if reader.0.is_empty() { Ok(()) } else { Err(Malformed) }
}

fn push_level(
    reader: &mut Reader<'_>,
    sizes: &[usize],
    element: &Wire,
    check_text: bool,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
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
                Ok(())
            }
        };
    };
    // An element takes at least its length, so a size that a hostile server made up ends here.
    if size == 0 || size > reader.0.len() / 4 {
        return Err(Malformed);
    }
    out.push(b'[');
    for index in 0..size {
        if index > 0 {
            out.push(b',');
        }
        push_level(reader, inner, element, check_text, out)?;
    }
    out.push(b']');
    Ok(())
}
