//! How decimal numbers are spelled, and what they are as SQLite's numbers.

use std::io::Write as _;

/// A decimal number in groups of four digits, as PostgreSQL sends it.
#[derive(Debug, Clone, Copy)]
pub struct Grouped<'a> {
    /// Whether it is below zero.
    negative: bool,
    /// The power of 10,000 of the first group.
    weight: i32,
    /// How many digits follow the decimal point.
    scale: u32,
    /// The groups, two bytes each, big endian.
    groups: &'a [u8],
}

/// The largest integer up to which every integer is a double.
const EXACT_MANTISSA: u64 = 1 << 53;

/// The powers of ten that are doubles.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

impl<'a> Grouped<'a> {
    /// A number of `groups` (pairs of bytes, big endian, each below 10,000), the first of which counts 10,000 to the
    /// power of `weight`; `None` when a group is out of range.
    pub fn new(negative: bool, weight: i16, scale: u16, groups: &'a [u8]) -> Option<Self> {
        let valid = groups.len().is_multiple_of(2)
            && groups.chunks_exact(2).all(|group| u16::from_be_bytes([group[0], group[1]]) < 10_000);
        valid.then_some(Self { negative, weight: i32::from(weight), scale: u32::from(scale), groups })
    }

    fn count(&self) -> i32 {
        // A message's length limits the groups to far below this.
        i32::try_from(self.groups.len() / 2).unwrap_or(i32::MAX)
    }

    fn group(&self, index: i32) -> u16 {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.groups.get(index * 2..index * 2 + 2))
            .map_or(0, |group| u16::from_be_bytes([group[0], group[1]]))
    }

    /// Appends every digit, with as many behind the point as the number declares.
    pub fn push(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        if self.weight < 0 {
            out.push(b'0');
        } else {
            out.extend_from_slice(itoa::Buffer::new().format(self.group(0)).as_bytes());
            for index in 1..=self.weight {
                out.extend_from_slice(&four_digits(self.group(index)));
            }
        }
        if self.scale > 0 {
            out.push(b'.');
            let end = out.len() + self.scale as usize;
            let mut index = self.weight + 1;
            if index < 0 {
                // Groups of zeros before the first one sent.
                let zeros = usize::try_from(-index).unwrap_or(0) * 4;
                out.resize((out.len() + zeros).min(end), b'0');
                index = 0;
            }
            while out.len() < end {
                out.extend_from_slice(&four_digits(self.group(index)));
                index += 1;
            }
            out.truncate(end);
        }
    }

    /// The number as an integer, when it is one that fits.
    pub fn integer(&self) -> Option<i64> {
        if (self.weight.max(-1) + 1..self.count()).any(|index| self.group(index) != 0) {
            return None;
        }
        if self.weight < 0 {
            return (0..self.count()).all(|index| self.group(index) == 0).then_some(0);
        }
        // Counted below zero, so that the smallest integer fits too.
        let below = (0..=self.weight)
            .try_fold(0_i64, |sum, index| sum.checked_mul(10_000)?.checked_sub(i64::from(self.group(index))))?;
        if self.negative { Some(below) } else { below.checked_neg() }
    }

    /// The double nearest to the number; `scratch` is overwritten where digits have to be written out.
    pub fn real(&self, scratch: &mut Vec<u8>) -> f64 {
        if let Some(real) = self.exact_quotient() {
            return real;
        }
        scratch.clear();
        self.push(scratch);
        std::str::from_utf8(scratch).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }

    /// Mantissa and power of ten both being exact doubles, one division rounds correctly.
    fn exact_quotient(&self) -> Option<f64> {
        const MOST: i32 = 9;
        if self.weight >= MOST || self.count() > MOST || self.weight < -6 {
            return None;
        }
        let groups = self.count().max(self.weight + 1);
        // What doesn't fit has more digits than a double.
        let mut mantissa = (0..groups)
            .try_fold(0_u64, |sum, index| sum.checked_mul(10_000)?.checked_add(u64::from(self.group(index))))?;
        let mut places = u32::try_from((groups - 1 - self.weight) * 4).ok()?;
        // The last group is padded with zeros up to four digits.
        while places > self.scale && mantissa.is_multiple_of(10) {
            mantissa /= 10;
            places -= 1;
        }
        if mantissa > EXACT_MANTISSA {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "checked: at most 2^53")]
        let real = mantissa.cast_signed() as f64 / EXACT_POWERS.get(places as usize)?;
        Some(if self.negative { -real } else { real })
    }
}

fn four_digits(group: u16) -> [u8; 4] {
    let digit = |place: u16| b'0' + u8::try_from(group / place % 10).unwrap_or(0);
    [digit(1000), digit(100), digit(10), digit(1)]
}

/// The integer that `text` spells exactly as we would; anything else (`007`, `1.0`, ` 1`) stays text.
pub fn integer_of_text(text: &[u8]) -> Option<i64> {
    let value: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(value).as_bytes() == text).then_some(value)
}

/// The finite number that `text` spells in digits.
pub fn real_of_text(text: &[u8]) -> Option<f64> {
    // Rust also reads words such as `inf`.
    let digits = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let value: f64 = digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()?;
    value.is_finite().then_some(value)
}

/// The double nearest to the shortest decimal text of `value`, which is what people and the source see: a plain
/// widening turns 0.1 into 0.10000000149011612. `scratch` is overwritten.
pub fn widen(value: f32, scratch: &mut Vec<u8>) -> f64 {
    const EXACT_INTEGER: f32 = 16_777_216.0;
    if value.fract() == 0.0 && value.abs() < EXACT_INTEGER {
        return f64::from(value);
    }
    scratch.clear();
    // Writing into a vector can't fail.
    let _ = write!(scratch, "{value:e}");
    std::str::from_utf8(scratch).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| f64::from(value))
}

/// Appends the shortest text that reads back as the same finite number, without an idle `.0`.
pub fn push_shortest(out: &mut Vec<u8>, value: impl Into<Shortest>) {
    // Writing into a vector can't fail.
    let _ = match value.into() {
        Shortest::Single(value) if plain(f64::from(value)) => write!(out, "{value}"),
        Shortest::Single(value) => write!(out, "{value:e}"),
        Shortest::Double(value) if plain(value) => write!(out, "{value}"),
        Shortest::Double(value) => write!(out, "{value:e}"),
    };
}

/// A float, which knows how many digits tell it apart from its neighbours.
#[derive(Debug, Clone, Copy)]
pub enum Shortest {
    /// 32 bits.
    Single(f32),
    /// 64 bits.
    Double(f64),
}

impl From<f32> for Shortest {
    fn from(value: f32) -> Self {
        Self::Single(value)
    }
}

impl From<f64> for Shortest {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

/// Whether a number is read more easily without an exponent.
fn plain(value: f64) -> bool {
    value == 0.0 || (1e-4..1e15).contains(&value.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped<R>(negative: bool, weight: i16, scale: u16, groups: &[u16], use_it: impl FnOnce(Grouped<'_>) -> R) -> R {
        let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_be_bytes()).collect();
        use_it(Grouped::new(negative, weight, scale, &bytes).unwrap())
    }

    fn text(number: Grouped<'_>) -> String {
        let mut out = Vec::new();
        number.push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn digits_are_written_as_declared() {
        assert_eq!(grouped(false, 0, 2, &[1, 5000], text), "1.50");
        assert_eq!(grouped(true, 1, 0, &[12, 3], text), "-120003");
        assert_eq!(grouped(false, 2, 0, &[1], text), "100000000");
        assert_eq!(grouped(false, -3, 12, &[7], text), "0.000000000007");
        assert_eq!(grouped(false, -3, 3, &[7], text), "0.000");
        assert_eq!(grouped(false, 0, 3, &[], text), "0.000");
    }

    #[test]
    fn hostile_groups_are_refused() {
        assert!(Grouped::new(false, 0, 0, &[0x27, 0x10]).is_none());
        assert!(Grouped::new(false, 0, 0, &[0]).is_none());
    }

    #[test]
    fn integers() {
        assert_eq!(grouped(false, 0, 2, &[42], |number| number.integer()), Some(42));
        assert_eq!(grouped(false, 0, 2, &[42, 1], |number| number.integer()), None);
        assert_eq!(grouped(false, -1, 2, &[1], |number| number.integer()), None);
        assert_eq!(grouped(false, -2, 2, &[], |number| number.integer()), Some(0));
        let smallest = [922, 3372, 368, 5477, 5808];
        assert_eq!(grouped(true, 4, 0, &smallest, |number| number.integer()), Some(i64::MIN));
        assert_eq!(grouped(false, 4, 0, &smallest, |number| number.integer()), None);
    }

    #[test]
    fn reals_are_the_nearest() {
        let mut scratch = Vec::new();
        let mut real = |weight, scale, groups: &[u16]| grouped(false, weight, scale, groups, |n| n.real(&mut scratch));
        let same = |left: f64, right: f64| assert_eq!(left.to_bits(), right.to_bits(), "{left} {right}");
        same(real(0, 2, &[1, 5000]), 1.5);
        same(real(3, 2, &[9, 9999, 9999, 9999, 9900]), 9_999_999_999_999.99);
        same(real(-1, 4, &[1]), 0.0001);
        same(real(0, 2, &[]), 0.0);
        same(real(200, 0, &[1]), f64::INFINITY);
        same(real(-4, 16, &[1]), 1e-16);
        same(real(0, 16, &[1, 1000]), 1.1);
        same(real(3, 4, &[1844, 6744, 737, 955, 1616]), 1_844_674_407_370_955.3);
        same(real(4, 0, &[9999, 9999, 9999, 9999, 9999]), 99_999_999_999_999_999_999.0);
    }

    #[test]
    fn text_that_is_a_number() {
        assert_eq!(integer_of_text(b"-42"), Some(-42));
        for text in ["007", "-0", "+1", "1.0", " 1", "", "9223372036854775808"] {
            assert_eq!(integer_of_text(text.as_bytes()), None, "{text}");
        }
        assert_eq!(real_of_text(b"-1.5e3"), Some(-1500.0));
        for text in ["inf", "nan", "infinity", "", "1e999", "1,5", "-"] {
            assert_eq!(real_of_text(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn floats() {
        let mut scratch = Vec::new();
        for (single, double) in
            [(0.1_f32, 0.1_f64), (1.5, 1.5), (3.402_823_5e38, 3.402_823_5e38), (-16_777_216.0, -16_777_216.0)]
        {
            assert_eq!(widen(single, &mut scratch).to_bits(), double.to_bits());
        }
        for (value, expected) in [(0.1, "0.1"), (1.0, "1"), (1e300, "1e300"), (-2.5e-7, "-2.5e-7"), (0.0, "0")] {
            let mut out = Vec::new();
            push_shortest(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        push_shortest(&mut out, 0.1_f32);
        assert_eq!(out, b"0.1");
    }
}
