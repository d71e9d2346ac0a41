//! Dates as cells, and back: `_id`s and positions are read from the cells they were written to.

use crate::mapping::time::{days_of, push_timestamp};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Appends an instant of `millis` milliseconds since 1970.
pub fn push_instant(out: &mut Vec<u8>, millis: i64) {
    push_timestamp(out, millis.div_euclid(MILLIS_PER_DAY), millis.rem_euclid(MILLIS_PER_DAY) * 1000, 3, true);
}

/// Reads what [`push_instant`] wrote.
pub fn parse_instant(text: &str) -> Option<i64> {
    let (text, before_christ) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.splitn(3, '-');
    let mut number = || parts.next().filter(|part| all_digits(part))?.parse::<i64>().ok();
    let (year, month, day) = (number()?, number()?, number()?);
    let (clock, millis) = time.split_once('.')?;
    let mut parts = clock.splitn(3, ':').chain(std::iter::once(millis));
    let mut number = || parts.next().filter(|part| all_digits(part))?.parse::<i64>().ok();
    let (hour, minute, second, millis) = (number()?, number()?, number()?, number()?);
    if hour > 23 || minute > 59 || second > 59 || millis > 999 {
        return None;
    }
    let days = days_of(if before_christ { 1 - year } else { year }, month, day)?;
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + millis;
    // Wider than the result, because the first day of all begins before the first instant.
    i64::try_from(i128::from(days) * i128::from(MILLIS_PER_DAY) + i128::from(of_day)).ok()
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(millis: i64) -> String {
        let mut out = Vec::new();
        push_instant(&mut out, millis);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_instant_survives() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut instants = vec![i64::MIN, i64::MAX, 0, -1, 253_402_300_800_000, -62_135_596_800_001];
        instants.extend((0..20_000).map(|_| random.i64(..) >> random.u32(..40)));
        for millis in instants {
            assert_eq!(parse_instant(&text(millis)), Some(millis), "{}", text(millis));
        }
    }

    #[test]
    fn other_text_is_no_instant() {
        for text in [
            "",
            "2026",
            "2026-01-01",
            "2026-13-01T00:00:00.000Z",
            "-5-01-01T00:00:00.000Z",
            "T.Z",
            "é",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T9000000000000000000:00:00.000Z",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
        assert_eq!(text(-62_135_596_800_001), "0001-12-31T23:59:59.999Z BC");
    }
}
