//! Times that are kept as text, as `2026-01-02T03:04:05.678Z`: they sort as time does, so one can look back from them.

use crate::mapping::time::{days_of, instant_text};

/// The beginning of the smallest text that is `seconds` older than `floor`; `None` when `floor` doesn't begin with a date of
/// the form `YYYY-MM-DD`, followed by nothing or by `T` or a space and `HH:MM:SS`, or isn't of a calendar.
pub fn earlier(floor: &str, seconds: f64) -> Option<String> {
    let number = |at: usize, length: usize| -> Option<i64> {
        let digits = floor.get(at..at + length)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let sign = |at: usize, signs: &[u8]| floor.as_bytes().get(at).is_some_and(|byte| signs.contains(byte));
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    if !(sign(4, b"-") && sign(7, b"-")) {
        return None;
    }
    let mut moment = days_of(year, month, day)? * 86_400;
    let separator = floor.as_bytes().get(10).copied();
    if separator.is_some() {
        if !(sign(10, b"T ") && sign(13, b":") && sign(16, b":")) {
            return None;
        }
        moment += number(11, 2)? * 3600 + number(14, 2)? * 60 + number(17, 2)?;
    }
    #[allow(clippy::cast_possible_truncation, reason = "a float's cast saturates")]
    let moment = moment.checked_sub(seconds.ceil() as i64)?;
    let text = instant_text(moment.checked_mul(1_000_000)?, 0);
    // Beyond these years text doesn't sort as time does.
    if text.len() != 20 {
        return None;
    }
    let text = match separator {
        Some(b' ') => text[..19].replace('T', " "),
        Some(_) => text[..19].to_owned(),
        None => text[..10].to_owned(),
    };
    // A time that no clock shows, such as `2026-02-31`, is of a later day than it says.
    (*text <= *floor).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_begins_with_a_time_has_an_earlier_one() {
        for (floor, expected) in [
            ("2026-01-01T00:00:00.123Z", Some("2025-12-31T23:55:00")),
            ("2026-01-01 00:10:00", Some("2026-01-01 00:05:00")),
            ("2024-03-01", Some("2024-02-29")),
            ("1970-01-01T00:05:00+02:00", Some("1970-01-01T00:00:00")),
            ("0001-01-01", None),
            ("2026-13-01", None),
            ("2026-02-31T00:00:00", None),
            ("2026-01-01T99:00:00", None),
            ("2026-01-01X00:00:00", None),
            ("20260101", None),
            ("ä026-01-01", None),
            ("release 7", None),
            ("", None),
        ] {
            assert_eq!(earlier(floor, 300.0).as_deref(), expected, "{floor}");
        }
    }
}
