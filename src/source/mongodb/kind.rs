//! What a field's values are: the type that a column is pinned to on first sight, and what fits it later.

use mongodb::bson::RawBsonRef;
use mongodb::bson::spec::BinarySubtype;

use crate::schema::SourceType;

/// Integers up to this one are all doubles too.
const EXACT_INTEGER: u64 = 1 << 53;

/// 2^63: the first double that is no 64-bit integer any more.
const INTEGER_END: f64 = 9_223_372_036_854_775_808.0;

/// What a column holds, pinned on first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// ObjectIds.
    ObjectId,
    /// Integers of 32 and 64 bits; doubles that came later are kept as they are.
    Int,
    /// Doubles, and integers that are doubles too.
    Double,
    /// Decimal128.
    Decimal,
    /// Strings.
    String,
    /// True or false.
    Bool,
    /// Instants with milliseconds.
    Date,
    /// The server's internal timestamps, kept as JSON.
    Timestamp,
    /// Bytes of one subtype: of two subtypes the same bytes would be two values.
    Binary(u8),
    /// UUIDs (binary subtype 4).
    Uuid,
    /// UUIDs of drivers from before the standard (binary subtype 3).
    LegacyUuid,
    /// Regular expressions, kept as JSON.
    Regex,
    /// Documents, arrays, rare types, and values of several types: JSON, which tells all of them apart.
    Json,
}

impl Pin {
    /// What a column is pinned to whose first value is `value`; a value that is none pins nothing.
    pub fn of(value: RawBsonRef<'_>) -> Option<Self> {
        Some(match value {
            RawBsonRef::Null | RawBsonRef::Undefined => return None,
            RawBsonRef::ObjectId(_) => Self::ObjectId,
            RawBsonRef::Int32(_) | RawBsonRef::Int64(_) => Self::Int,
            RawBsonRef::Double(_) => Self::Double,
            RawBsonRef::Decimal128(_) => Self::Decimal,
            RawBsonRef::String(_) => Self::String,
            RawBsonRef::Boolean(_) => Self::Bool,
            RawBsonRef::DateTime(_) => Self::Date,
            RawBsonRef::Timestamp(_) => Self::Timestamp,
            RawBsonRef::Binary(binary) => match (binary.subtype, binary.bytes.len()) {
                (BinarySubtype::Uuid, 16) => Self::Uuid,
                (BinarySubtype::UuidOld, 16) => Self::LegacyUuid,
                (subtype, _) => Self::Binary(subtype.into()),
            },
            RawBsonRef::RegularExpression(_) => Self::Regex,
            _ => Self::Json,
        })
    }

    /// Whether `value` has a place in such a column. A key's values must stay apart, so it takes less.
    pub fn fits(self, value: RawBsonRef<'_>, is_key: bool) -> bool {
        let Some(other) = Self::of(value) else { return !is_key || self == Self::Json };
        match (self, value) {
            (Self::Json, _) | (Self::Double, RawBsonRef::Int32(_)) => true,
            (Self::Int, RawBsonRef::Double(value)) => !is_key || integer_of(value).is_some(),
            (Self::Double, RawBsonRef::Int64(value)) => value.unsigned_abs() <= EXACT_INTEGER,
            _ => self == other,
        }
    }

    /// What a column is that an earlier run pinned to `self` and this process to `other`.
    pub fn merged(self, other: Self) -> Self {
        match (self, other) {
            // Which values there are decides; those that don't fit are met by a scan.
            (Self::Int, Self::Double) | (Self::Double, Self::Int) => self,
            _ if self == other => self,
            _ => Self::Json,
        }
    }

    /// Whether the cells are JSON.
    pub const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Timestamp | Self::Regex)
    }

    /// The type's name as messages and the state have it.
    pub fn declared(self) -> String {
        match self {
            Self::Binary(subtype @ 1..) => format!("binData({subtype})"),
            _ => self.type_name().to_owned(),
        }
    }

    /// The type's name as `type_map` takes it.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::ObjectId => "objectId",
            Self::Int => "int",
            Self::Double => "double",
            Self::Decimal => "decimal",
            Self::String => "string",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Binary(_) => "binData",
            Self::Uuid => "uuid",
            Self::LegacyUuid => "legacyUuid",
            Self::Regex => "regex",
            Self::Json => "json",
        }
    }

    /// Reads what [`declared`](Self::declared) wrote.
    pub fn parse(declared: &str) -> Option<Self> {
        const NAMED: [Pin; 13] = [
            Pin::ObjectId,
            Pin::Int,
            Pin::Double,
            Pin::Decimal,
            Pin::String,
            Pin::Bool,
            Pin::Date,
            Pin::Timestamp,
            Pin::Binary(0),
            Pin::Uuid,
            Pin::LegacyUuid,
            Pin::Regex,
            Pin::Json,
        ];
        let named = NAMED.into_iter().find(|pin| pin.type_name() == declared);
        named.or_else(|| {
            let subtype = declared.strip_prefix("binData(")?.strip_suffix(')')?;
            subtype.parse().ok().map(Pin::Binary)
        })
    }

    /// What the mapping has to know.
    pub const fn source_type(self) -> SourceType {
        match self {
            Self::ObjectId => SourceType::ObjectId,
            Self::Int => SourceType::Int,
            Self::Double => SourceType::Float64,
            Self::Decimal => SourceType::Decimal { precision: None },
            Self::String => SourceType::Text,
            Self::Bool => SourceType::Bool,
            Self::Date => SourceType::Timestamp { digits: 3, zoned: true },
            Self::Binary(_) => SourceType::Bytes,
            Self::Uuid | Self::LegacyUuid => SourceType::Uuid,
            Self::Timestamp | Self::Regex | Self::Json => SourceType::Opaque { known: true },
        }
    }
}

/// The integer that `value` is, when it is one of 64 bits.
pub fn integer_of(value: f64) -> Option<i64> {
    let fits = value.fract() == 0.0 && (-INTEGER_END..INTEGER_END).contains(&value);
    #[expect(clippy::cast_possible_truncation, reason = "the range and the fraction were looked at")]
    fits.then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_read_back() {
        for pin in [Pin::ObjectId, Pin::Date, Pin::Binary(0), Pin::Binary(5), Pin::Binary(128), Pin::LegacyUuid] {
            assert_eq!(Pin::parse(&pin.declared()), Some(pin));
        }
        assert_eq!(Pin::parse("unseen"), None);
    }

    #[test]
    fn numbers_share_a_column_while_none_is_changed() {
        let (small, large) = (RawBsonRef::Int64(1 << 53), RawBsonRef::Int64((1 << 53) + 1));
        assert!(Pin::Double.fits(small, false) && !Pin::Double.fits(large, false));
        assert!(Pin::Int.fits(RawBsonRef::Double(0.5), false) && !Pin::Int.fits(RawBsonRef::Double(0.5), true));
        assert!(Pin::Int.fits(RawBsonRef::Double(-2.0), true));
        assert!(!Pin::Int.fits(RawBsonRef::String("1"), false));
        assert!(Pin::String.fits(RawBsonRef::Null, false) && !Pin::String.fits(RawBsonRef::Null, true));
        assert_eq!(integer_of(9.3e18), None);
        assert_eq!(integer_of(-9_223_372_036_854_775_808.0), Some(i64::MIN));
        assert_eq!(integer_of(f64::NAN), None);
    }
}
