//! UUIDs of version 7, which begin with the millisecond they were made in.

/// The smallest UUID of version 7 that is `seconds` older than `floor`, in the case of its letters, by which text is ordered;
/// `None` when `floor` is none of version 7.
pub fn earlier(floor: &str, seconds: f64) -> Option<String> {
    let digits: String = floor.chars().filter(|character| *character != '-').collect();
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex || digits.len() != 32 || digits.as_bytes()[12] != b'7' {
        return None;
    }
    let milliseconds = u64::from_str_radix(digits.get(..12)?, 16).ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float's cast saturates")]
    let behind = (seconds * 1000.0) as u64;
    let mut earlier = format!("{:012x}", milliseconds.saturating_sub(behind));
    if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        earlier.make_ascii_uppercase();
    }
    let earlier = format!("{}-{}-0000-0000-000000000000", &earlier[..8], &earlier[8..]);
    // Of a spelling of its own, another one may be the smaller text.
    (*earlier <= *floor).then_some(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_of_version_7_have_a_time() {
        assert_eq!(
            earlier("01890a5d-ac96-774b-bcce-b302099a8057", 300.0).as_deref(),
            Some("01890a59-18b6-0000-0000-000000000000")
        );
        assert_eq!(
            earlier("00000000-0001-7000-8000-000000000000", 300.0).as_deref(),
            Some("00000000-0000-0000-0000-000000000000")
        );
        assert_eq!(
            earlier("01890A5D-AC96-774B-BCCE-B302099A8057", 300.0).as_deref(),
            Some("01890A59-18B6-0000-0000-000000000000")
        );
        assert_eq!(earlier("-01890a5dac96774bbcceb302099a8057", 300.0), None);
        assert_eq!(earlier("+1890a5d-ac96-774b-bcce-b302099a8057", 300.0), None);
        assert_eq!(earlier("f47ac10b-58cc-4372-a567-0e02b2c3d479", 300.0), None);
        assert_eq!(earlier("no uuid", 300.0), None);
    }
}
