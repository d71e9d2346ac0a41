//! How dates and times are spelled: ISO 8601 with a fraction of fixed width, so that text sorts as time does.
//!
//! Inputs are neutral (days since 1970-01-01, microseconds of a day), so that every source spells alike. Years beyond
//! 9999 are written in full and years before the common era end in ` BC`, which PostgreSQL reads back as written.

/// Microseconds of a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Every number below 100 in two digits.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

fn pair(value: u32) -> [u8; 2] {
    let at = (value % 100) as usize * 2;
    [PAIRS[at], PAIRS[at + 1]]
}

/// Appends a date.
pub fn push_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    push_civil(out, year, month, day);
    push_era(out, year);
}

/// Appends a date with a time of day of `micros` microseconds, and `Z` when it is an instant.
pub fn push_timestamp(out: &mut Vec<u8>, days: i64, micros: i64, digits: u8, zoned: bool) {
    let (year, month, day) = civil(days);
    if let Some(date) = date_text(year, month, day) {
        // Most of all are like this: put together first, for one look at the room that is left.
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        text[..10].copy_from_slice(&date);
        text[11..26].copy_from_slice(&time_text(micros));
        let end = 11 + time_length(digits);
        text[end] = b'Z';
        out.extend_from_slice(&text[..end + usize::from(zoned)]);
        return;
    }
    push_civil(out, year, month, day);
    out.push(b'T');
    push_time(out, micros, digits);
    if zoned {
        out.push(b'Z');
    }
    push_era(out, year);
}

/// Appends a time of day with exactly `digits` (0–6) digits of a second's fraction.
///
/// 24:00:00 is a time of day; anything beyond 99 hours wraps.
pub fn push_time(out: &mut Vec<u8>, micros: i64, digits: u8) {
    out.extend_from_slice(&time_text(micros)[..time_length(digits)]);
}

/// The length of a time of day with so many digits of a second's fraction.
fn time_length(digits: u8) -> usize {
    if digits == 0 { 8 } else { 9 + usize::from(digits.min(6)) }
}

fn time_text(micros: i64) -> [u8; 15] {
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    // Both fit: a remainder below a million, and what is left of a day's seconds after the wrap.
    let fraction = u32::try_from(micros % 1_000_000).unwrap_or(0);
    let seconds = u32::try_from(seconds % 360_000).unwrap_or(0);
    let mut text = *b"00:00:00.000000";
    for (at, value) in [
        (0, seconds / 3600),
        (3, seconds / 60 % 60),
        (6, seconds % 60),
        (9, fraction / 10_000),
        (11, fraction / 100),
        (13, fraction),
    ] {
        text[at..at + 2].copy_from_slice(&pair(value));
    }
    text
}

/// A date as a source spells it: MySQL keeps `2024-00-15` and `0000-00-00`, which are no days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// 0–9999.
    pub year: u16,
    /// 0–12.
    pub month: u8,
    /// 0–31.
    pub day: u8,
}

impl Parts {
    /// Whether it is `0000-00-00`.
    pub const fn is_zero(self) -> bool {
        self.year == 0 && self.month == 0 && self.day == 0
    }
}

/// Appends a date by its parts.
pub fn push_parts(out: &mut Vec<u8>, Parts { year, month, day }: Parts) {
    let [[y3, y2], [y1, y0]] = [pair(u32::from(year / 100)), pair(year.into())];
    let [[m1, m0], [d1, d0]] = [pair(month.into()), pair(day.into())];
    out.extend_from_slice(&[y3, y2, y1, y0, b'-', m1, m0, b'-', d1, d0]);
}

/// Appends a date by its parts with a time of day, as [`push_timestamp`] does; the zero of a source that has one keeps the
/// source's own spelling, with a space.
pub fn push_moment(out: &mut Vec<u8>, date: Parts, micros: i64, digits: u8, zoned: bool) {
    push_parts(out, date);
    let zero = date.is_zero() && micros == 0;
    out.push(if zero { b' ' } else { b'T' });
    push_time(out, micros, digits);
    if zoned && !zero {
        out.push(b'Z');
    }
}

/// Appends a length of time: hours of two digits or more, and a sign only below zero.
pub fn push_span(out: &mut Vec<u8>, negative: bool, micros: u64, digits: u8) {
    const HOUR: u64 = 3_600_000_000;
    if negative {
        out.push(b'-');
    }
    let hours = micros / HOUR;
    if hours > 99 {
        out.extend_from_slice(itoa::Buffer::new().format(hours).as_bytes());
        let mut rest = Vec::with_capacity(15);
        push_time(&mut rest, i64::try_from(micros % HOUR).unwrap_or(0), digits);
        out.extend_from_slice(&rest[2..]);
    } else {
        push_time(out, i64::try_from(micros).unwrap_or(0), digits);
    }
}

/// Appends an offset from UTC: `+02:00`, with seconds only where there are any.
pub fn push_offset(out: &mut Vec<u8>, seconds_east: i32) {
    let distance = seconds_east.unsigned_abs();
    let [h1, h0] = pair(distance / 3600);
    let [m1, m0] = pair(distance / 60 % 60);
    out.extend_from_slice(&[if seconds_east < 0 { b'-' } else { b'+' }, h1, h0, b':', m1, m0]);
    if !distance.is_multiple_of(60) {
        let [s1, s0] = pair(distance % 60);
        out.extend_from_slice(&[b':', s1, s0]);
    }
}

/// An instant of `micros` microseconds since 1970-01-01T00:00:00Z.
pub fn instant_text(micros: i64, digits: u8) -> String {
    let mut out = Vec::with_capacity(27);
    push_timestamp(&mut out, micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY), digits, true);
    out.iter().copied().map(char::from).collect()
}

/// The days from 1970-01-01 to a day of the proleptic Gregorian calendar.
pub fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year.abs() > 300_000_000 {
        return None;
    }
    // Years are counted from March, so that the leap day is a year's last and months have a regular length.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// Whether a date is one of the proleptic Gregorian calendar.
pub fn is_day(year: i64, month: i64, day: i64) -> bool {
    days_of(year, month, day)
        .is_some_and(|days| civil(days) == (year, u32::try_from(month).unwrap_or(0), u32::try_from(day).unwrap_or(0)))
}

/// Year (0 is 1 BC), month and day of the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u32, u32) {
    // Years are counted from March, so that the leap day is a year's last and months have a regular length.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = u32::try_from(shifted.rem_euclid(146_097)).unwrap_or(0);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = i64::from(year_of_era) + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn push_civil(out: &mut Vec<u8>, year: i64, month: u32, day: u32) {
    let shown = if year > 0 { year } else { 1 - year };
    if let Some(date) = date_text(shown, month, day) {
        out.extend_from_slice(&date);
        return;
    }
    out.extend_from_slice(itoa::Buffer::new().format(shown).as_bytes());
    let [[m1, m0], [d1, d0]] = [pair(month), pair(day)];
    out.extend_from_slice(&[b'-', m1, m0, b'-', d1, d0]);
}

/// A date whose year has four digits.
fn date_text(year: i64, month: u32, day: u32) -> Option<[u8; 10]> {
    let year = u32::try_from(year).ok().filter(|year| (1..=9999).contains(year))?;
    let [[y3, y2], [y1, y0]] = [pair(year / 100), pair(year)];
    let [[m1, m0], [d1, d0]] = [pair(month), pair(day)];
    Some([y3, y2, y1, y0, b'-', m1, m0, b'-', d1, d0])
}

fn push_era(out: &mut Vec<u8>, year: i64) {
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (10_957, "2000-01-01"),
            (19_782, "2024-02-29"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (-719_528, "0001-01-01 BC"),
            (-719_529, "0002-12-31 BC"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "10000-01-01"),
        ] {
            assert_eq!(text(|out| push_date(out, days)), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil(-800_000);
        for days in -799_999..3_000_000 {
            let today = civil(days);
            let next = today.2 == before.2 + 1 && (today.0, today.1) == (before.0, before.1)
                || today.2 == 1 && today.1 == before.1 + 1 && today.0 == before.0
                || (today.1, today.2) == (1, 1) && (before.1, before.2) == (12, 31) && today.0 == before.0 + 1;
            assert!(next, "{before:?} then {today:?}");
            before = today;
        }
    }

    #[test]
    fn timestamps_have_a_fixed_fraction() {
        let micros = 52_245_006_789;
        assert_eq!(text(|out| push_timestamp(out, 0, micros, 6, true)), "1970-01-01T14:30:45.006789Z");
        assert_eq!(text(|out| push_timestamp(out, 0, micros, 3, false)), "1970-01-01T14:30:45.006");
        assert_eq!(text(|out| push_timestamp(out, 0, micros, 0, true)), "1970-01-01T14:30:45Z");
        assert_eq!(text(|out| push_timestamp(out, -735_160, 0, 0, true)), "0044-03-15T00:00:00Z BC");
        assert_eq!(text(|out| push_timestamp(out, 2_932_896, 0, 1, false)), "9999-12-31T00:00:00.0");
        assert_eq!(text(|out| push_timestamp(out, 2_932_897, 0, 1, true)), "10000-01-01T00:00:00.0Z");
        assert_eq!(text(|out| push_timestamp(out, -719_162, MICROS_PER_DAY, 6, true)), "0001-01-01T24:00:00.000000Z");
    }

    #[test]
    fn instants() {
        assert_eq!(instant_text(0, 3), "1970-01-01T00:00:00.000Z");
        assert_eq!(instant_text(-1, 6), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn times_and_offsets() {
        assert_eq!(text(|out| push_time(out, MICROS_PER_DAY, 6)), "24:00:00.000000");
        assert_eq!(text(|out| push_offset(out, 7200)), "+02:00");
        assert_eq!(text(|out| push_offset(out, -19_800)), "-05:30");
        assert_eq!(text(|out| push_offset(out, -3_661)), "-01:01:01");
    }
}
