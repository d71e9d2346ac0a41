//! The value that tells which documents are newer: which values compare, how far back to look, and where the future
//! begins.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawBsonRef, Timestamp, doc};

use super::kind::Pin;
use super::order::all_types;
use crate::source::{Lookback, text_time};

/// Values that compare with each other; documents whose track value is of another class have no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Instants.
    Date,
    /// Numbers of any type, without NaN.
    Number,
    /// ObjectIds.
    ObjectId,
    /// Strings.
    String,
    /// The server's internal timestamps.
    Timestamp,
    /// UUIDs (binary subtype 4).
    Uuid,
}

impl Class {
    /// In which order they are tried where a column holds several.
    pub const ALL: [Self; 6] = [Self::Date, Self::Number, Self::ObjectId, Self::String, Self::Timestamp, Self::Uuid];

    /// The class of every value of a column; `None` where the column may hold values of several classes, or of none.
    pub const fn of_pin(pin: Pin) -> Option<Self> {
        Some(match pin {
            Pin::Date => Self::Date,
            Pin::Int | Pin::Double | Pin::Decimal => Self::Number,
            Pin::ObjectId => Self::ObjectId,
            Pin::String => Self::String,
            Pin::Timestamp => Self::Timestamp,
            Pin::Uuid => Self::Uuid,
            _ => return None,
        })
    }

    /// The class of a value.
    pub fn of(value: RawBsonRef<'_>) -> Option<Self> {
        Some(match value {
            RawBsonRef::DateTime(_) => Self::Date,
            RawBsonRef::Int32(_) | RawBsonRef::Int64(_) => Self::Number,
            RawBsonRef::Double(value) if !value.is_nan() => Self::Number,
            // The bits that say that it is none.
            RawBsonRef::Decimal128(value) if value.bytes()[15] & 0x7c != 0x7c => Self::Number,
            RawBsonRef::ObjectId(_) => Self::ObjectId,
            RawBsonRef::String(_) => Self::String,
            RawBsonRef::Timestamp(_) => Self::Timestamp,
            RawBsonRef::Binary(value) if value.subtype == BinarySubtype::Uuid && value.bytes.len() == 16 => Self::Uuid,
            _ => return None,
        })
    }

    /// The class of a position's value.
    pub fn of_bson(value: &Bson) -> Option<Self> {
        Some(match value {
            Bson::DateTime(_) => Self::Date,
            Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_) => Self::Number,
            Bson::ObjectId(_) => Self::ObjectId,
            Bson::String(_) => Self::String,
            Bson::Timestamp(_) => Self::Timestamp,
            Bson::Binary(value) if value.subtype == BinarySubtype::Uuid => Self::Uuid,
            _ => return None,
        })
    }

    /// The types of its values, as the server names them. What they let through too (NaN, arrays that hold such a value,
    /// other binaries) is told apart when it is read.
    const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Date => &["date"],
            Self::Number => &["double", "int", "long", "decimal"],
            Self::ObjectId => &["objectId"],
            Self::String => &["string"],
            Self::Timestamp => &["timestamp"],
            Self::Uuid => &["binData"],
        }
    }

    /// The condition that `field` is of the class, as far as the server can say it.
    pub fn within(self, field: &str) -> Document {
        doc! { field: { "$type": self.types() } }
    }

    /// The condition that `field` is not of the class, null and missing fields included, as far as the server can say it.
    pub fn without(self, field: &str) -> Document {
        // Among binaries only the length and the subtype tell UUIDs.
        let own = if self == Self::Uuid { &[] } else { self.types() };
        let types: Vec<&str> = all_types().filter(|name| !own.contains(name)).collect();
        let mut conditions = vec![doc! { field: Bson::Null }, doc! { field: { "$type": types } }];
        if self == Self::Number {
            conditions.push(doc! { field: f64::NAN });
        }
        doc! { "$or": conditions }
    }

    /// Where the lookback from `floor` begins; `None` when its class has nothing to count back by.
    pub fn earlier(floor: &Bson, lookback: Lookback) -> Option<Bson> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float's cast saturates")]
        let (millis, seconds) = ((lookback.seconds * 1000.0) as i64, lookback.seconds.ceil() as u32);
        match floor {
            Bson::DateTime(floor) => {
                Some(Bson::DateTime(DateTime::from_millis(floor.timestamp_millis().saturating_sub(millis))))
            }
            Bson::Int32(floor) => Some(Bson::Int64(i64::from(*floor).saturating_sub_unsigned(lookback.values))),
            Bson::Int64(floor) => Some(Bson::Int64(floor.saturating_sub_unsigned(lookback.values))),
            Bson::Double(floor) => Some(Bson::Double(below(*floor, lookback.values))),
            // How far back is no exact matter, so a double will do.
            Bson::Decimal128(floor) => {
                Some(Bson::Double(below(floor.to_string().parse().unwrap_or(f64::NEG_INFINITY), lookback.values)))
            }
            Bson::ObjectId(floor) => {
                let [a, b, c, d, ..] = floor.bytes();
                let made = u32::from_be_bytes([a, b, c, d]).saturating_sub(seconds);
                Some(Bson::ObjectId(ObjectId::from_parts(made, [0; 5], [0; 3])))
            }
            Bson::Timestamp(floor) => {
                Some(Bson::Timestamp(Timestamp { time: floor.time.saturating_sub(seconds), increment: 0 }))
            }
            Bson::String(floor) => text_time::earlier(floor, lookback.seconds).map(Bson::String),
            Bson::Binary(floor) => earlier_uuid(&floor.bytes, millis),
            _ => None,
        }
    }

    /// The first value of the class that is of the instant `millis` since 1970 or later; `None` when the class tells no time.
    pub fn since(self, millis: i64) -> Option<Bson> {
        match self {
            Self::Date => Some(Bson::DateTime(DateTime::from_millis(millis))),
            _ => None,
        }
    }

    /// The first value of the class that lies after the server's `now`, in milliseconds since 1970; `None` when the class
    /// knows no future.
    pub fn future(self, now: i64) -> Option<Bson> {
        let second = u32::try_from(now.div_euclid(1000) + 1).ok();
        match self {
            Self::Date => Some(Bson::DateTime(DateTime::from_millis(now.saturating_add(1)))),
            Self::ObjectId => Some(Bson::ObjectId(ObjectId::from_parts(second?, [0; 5], [0; 3]))),
            Self::Timestamp => Some(Bson::Timestamp(Timestamp { time: second?, increment: 0 })),
            Self::Number | Self::String | Self::Uuid => None,
        }
    }

    /// Whether `value` lies after the server's `now`.
    pub fn is_future(value: RawBsonRef<'_>, now: i64) -> bool {
        match value {
            RawBsonRef::DateTime(value) => value.timestamp_millis() > now,
            RawBsonRef::ObjectId(value) => value.timestamp().timestamp_millis() > now,
            RawBsonRef::Timestamp(value) => i64::from(value.time) * 1000 > now,
            _ => false,
        }
    }
}

fn below(floor: f64, values: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "how far back is no exact matter")]
    let values = values as f64;
    (floor - values).next_down()
}

/// The smallest UUID of version 7 that is `millis` older than `floor`.
fn earlier_uuid(floor: &[u8], millis: i64) -> Option<Bson> {
    if floor.len() != 16 || floor[6] >> 4 != 7 {
        return None;
    }
    let made = floor[..6].iter().fold(0_i64, |made, byte| made << 8 | i64::from(*byte));
    let earlier = made.saturating_sub(millis).max(0).to_be_bytes();
    let mut bytes = vec![0; 16];
    bytes[..6].copy_from_slice(&earlier[2..]);
    Some(Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOKBACK: Lookback = Lookback { seconds: 300.0, values: 10 };

    #[test]
    fn every_class_looks_back_by_its_own_measure() {
        let earlier = |floor: Bson| Class::earlier(&floor, LOOKBACK);
        let date = |millis| Bson::DateTime(DateTime::from_millis(millis));
        assert_eq!(earlier(date(1_000_000)), Some(date(700_000)));
        assert_eq!(earlier(date(i64::MIN)), Some(date(i64::MIN)));
        assert_eq!(earlier(Bson::Int64(5)), Some(Bson::Int64(-5)));
        assert_eq!(earlier(Bson::String("x".to_owned())), None);
        let Some(Bson::Double(bound)) = earlier(Bson::Decimal128("100.5".parse().unwrap())) else { panic!("a bound") };
        assert!(bound < 90.5 && bound > 90.4);
        let id = ObjectId::from_parts(1_000, [1; 5], [1; 3]);
        assert_eq!(earlier(Bson::ObjectId(id)), Some(Bson::ObjectId(ObjectId::from_parts(700, [0; 5], [0; 3]))));
        let uuid = |text: &str| {
            let bytes = mongodb::bson::Uuid::parse_str(text).unwrap().bytes().to_vec();
            Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes })
        };
        assert_eq!(
            earlier(uuid("01890a5d-ac96-774b-bcce-b302099a8057")),
            Some(uuid("01890a59-18b6-0000-0000-000000000000"))
        );
        assert_eq!(earlier(uuid("f47ac10b-58cc-4372-a567-0e02b2c3d479")), None);
    }

    #[test]
    fn numbers_that_are_none_have_no_class() {
        assert_eq!(Class::of(RawBsonRef::Double(f64::NAN)), None);
        assert_eq!(Class::of(RawBsonRef::Decimal128("NaN".parse().unwrap())), None);
        assert_eq!(Class::of(RawBsonRef::Decimal128("-Infinity".parse().unwrap())), Some(Class::Number));
        assert_eq!(Class::of(RawBsonRef::Decimal128("0".parse().unwrap())), Some(Class::Number));
    }

    #[test]
    fn the_future_begins_after_now() {
        assert!(!Class::is_future(RawBsonRef::DateTime(DateTime::from_millis(5)), 5));
        assert!(Class::is_future(RawBsonRef::DateTime(DateTime::from_millis(6)), 5));
        assert_eq!(Class::Date.future(5), Some(Bson::DateTime(DateTime::from_millis(6))));
        let id = ObjectId::from_parts(10, [0; 5], [0; 3]);
        assert!(
            !Class::is_future(RawBsonRef::ObjectId(id), 10_000) && Class::is_future(RawBsonRef::ObjectId(id), 9_999)
        );
    }
}
