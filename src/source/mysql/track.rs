//! The value that tells which rows are newer: its expression, how far back to look, and where the future begins.

use super::catalog::Details;
use super::kind::{ColumnType, Wire};
use super::query::{column, details_of};
use super::sql::{Bound, Sql};
use crate::batch::{Position, Value};
use crate::error::{Error, Kind, Result};
use crate::mapping::time::is_day;
use crate::mapping::{self, SqliteType};
use crate::replica::Replica;
use crate::schema::SourceType;
use crate::source::{Lookback, text_time, uuid7};

/// Looking further back than this is looking at everything; it also keeps the arithmetic within the calendar.
const LONGEST_LOOKBACK: f64 = 100.0 * 366.0 * 86_400.0;

/// The first year from which that much can be taken away.
const FIRST_YEAR: i64 = 200;

/// A table's track value.
pub struct Track {
    /// The value as SQL, in its own type.
    pub expression: String,
    /// How it is read.
    pub read_as: ColumnType,
    /// Where it goes: the natural type, whatever the column's override.
    pub sqlite: SqliteType,
}

impl Track {
    /// The track value of `replica`; `None` when it isn't tracked by columns.
    pub fn new(replica: &Replica, details: &Details) -> Result<Option<Self>> {
        let mut parts = Vec::new();
        for index in replica.track_columns() {
            let name = &replica.source.columns[replica.columns[index].source].name;
            let read_as = details_of(replica, details, name)?;
            parts.push((read_as.ordered(&column(replica, name)), read_as));
        }
        let Some((first, mut read_as)) = parts.first().cloned() else { return Ok(None) };
        for (_, other) in &parts[1..] {
            read_as = wider(&read_as, other).ok_or_else(|| {
                Error::new(
                    Kind::Schema,
                    format!("Table '{}' can't be tracked by these columns together", replica.target),
                )
                .because("their types have no order in common; name columns of one type in track_column")
            })?;
        }
        let expression = match parts.as_slice() {
            [_] => first,
            parts => {
                let arguments: Vec<_> =
                    parts.iter().map(|(expression, own)| converted(expression, own, &read_as)).collect();
                format!("COALESCE({})", arguments.join(", "))
            }
        };
        let sqlite = mapping::map(&read_as.kind, "track value", None)?;
        Ok(Some(Self { expression, read_as, sqlite }))
    }

    /// The condition that the value does not lie in the future of the source's clock.
    pub fn not_in_future(&self) -> Option<Sql> {
        let now = match self.read_as.wire {
            Wire::DateTime { .. } => "UTC_TIMESTAMP(6)",
            Wire::Date => "UTC_DATE()",
            _ => return None,
        };
        Some(Sql::plain(format!("{} <= {now}", self.expression)))
    }

    /// The condition that the row has no track value.
    pub fn is_missing(&self, null_zero_dates: bool) -> String {
        let expression = &self.expression;
        match self.read_as.wire {
            // The replica has NULL there, so the row is of the same lane here.
            Wire::Date | Wire::DateTime { .. } if null_zero_dates => {
                format!("({expression} IS NULL OR {expression} = 0)")
            }
            _ => format!("{expression} IS NULL"),
        }
    }

    /// The condition that the value lies at most `lookback` behind `floor`'s, or behind the moment from which on some
    /// transaction was still open (`oldest`); `None` where "behind" has no measure, and every row has to be read.
    pub fn within_lookback(&self, floor: &Position, oldest: Option<&str>, lookback: Lookback) -> Result<Option<Sql>> {
        let bound = match self.read_as.wire {
            Wire::Date | Wire::DateTime { .. } => self.earlier(&floor.track, oldest, lookback),
            Wire::Int | Wire::Unsigned | Wire::Bit => {
                let floor: Option<i128> = match &floor.track {
                    Value::Int(value) => Some((*value).into()),
                    Value::Text(text) => text.parse().ok(),
                    _ => None,
                };
                floor.map(|floor| {
                    let earlier = floor - i128::from(lookback.values);
                    let least = if self.read_as.wire == Wire::Int { i64::MIN } else { 0 };
                    let bound = match i64::try_from(earlier) {
                        Ok(earlier) => Bound::Int(earlier.max(least)),
                        Err(_) => u64::try_from(earlier).map_or(Bound::Int(least), Bound::Unsigned),
                    };
                    Sql::with("?", bound)
                })
            }
            Wire::Decimal { .. } | Wire::Float => {
                let back = Sql::with("?", Bound::Unsigned(lookback.values));
                Some(self.read_as.parameter(&floor.track)?.text(" - ").then(back))
            }
            Wire::Text | Wire::Uuid => match &floor.track {
                Value::Text(text) => {
                    let earlier = uuid7::earlier(text, lookback.seconds);
                    let earlier = earlier.or_else(|| text_time::earlier(text, lookback.seconds));
                    earlier.map(|earlier| Sql::with("?", Bound::Text(earlier)))
                }
                _ => None,
            },
            _ => None,
        };
        Ok(bound.map(|bound| Sql::plain(format!("{} >= ", self.expression)).then(bound)))
    }

    fn earlier(&self, floor: &Value, oldest: Option<&str>, lookback: Lookback) -> Option<Sql> {
        let Value::Text(text) = floor else { return None };
        // From a date that is none of the calendar's nothing can be taken away.
        let parts: Vec<i64> = text.get(..10)?.split('-').filter_map(|part| part.parse().ok()).collect();
        let &[year, month, day] = parts.as_slice() else { return None };
        if year < FIRST_YEAR || !is_day(year, month, day) || lookback.seconds > LONGEST_LOOKBACK {
            return None;
        }
        let moment = text.replace('T', " ").replace('Z', "");
        #[allow(clippy::cast_possible_truncation, reason = "a float's cast saturates, and it is below a century")]
        let micros = (lookback.seconds.max(0.0) * 1e6) as i64;
        let behind = Sql::with("CAST(? AS DATETIME(6)) - INTERVAL ? MICROSECOND", Bound::Text(moment))
            .then(Sql { text: String::new(), values: vec![Bound::Int(micros)] });
        let bound = match oldest.filter(|oldest| is_moment(oldest)) {
            Some(oldest) => Sql::plain("LEAST(")
                .then(behind)
                .then(Sql::with(", CAST(? AS DATETIME(6)))", Bound::Text(oldest.to_owned()))),
            None => behind,
        };
        Some(match self.read_as.wire {
            Wire::Date => Sql::plain("CAST(").then(bound).text(" AS DATE)"),
            _ => bound,
        })
    }
}

/// Whether `text` is a moment as the server writes it.
pub fn is_moment(text: &str) -> bool {
    text.len() == 26
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b' ',
            13 | 16 => byte == b':',
            19 => byte == b'.',
            _ => byte.is_ascii_digit(),
        })
}

/// `expression` in the type that several columns share.
fn converted(expression: &str, own: &ColumnType, shared: &ColumnType) -> String {
    match (own.wire, shared.wire) {
        (Wire::Date, Wire::DateTime { .. }) => format!("CAST({expression} AS DATETIME(6))"),
        (own, Wire::Decimal { precision, scale }) if own != shared.wire => {
            format!("CAST({expression} AS DECIMAL({precision},{scale}))")
        }
        _ => expression.to_owned(),
    }
}

/// The type that holds the values of both and orders them.
fn wider(left: &ColumnType, right: &ColumnType) -> Option<ColumnType> {
    let decimal = |precision, scale| ColumnType {
        kind: SourceType::Decimal { precision: None },
        wire: Wire::Decimal { precision, scale },
    };
    Some(match (left.wire, right.wire) {
        (Wire::DateTime { digits: a, zoned: x }, Wire::DateTime { digits: b, zoned: y }) => moment(a.max(b), x && y),
        (Wire::DateTime { .. }, Wire::Date) | (Wire::Date, Wire::DateTime { .. }) => moment(6, false),
        (Wire::Int, Wire::Unsigned) | (Wire::Unsigned, Wire::Int) => decimal(20, 0),
        (Wire::Decimal { .. }, Wire::Decimal { .. } | Wire::Int | Wire::Unsigned)
        | (Wire::Int | Wire::Unsigned, Wire::Decimal { .. })
            if left.wire != right.wire =>
        {
            decimal(65, 30)
        }
        (a, b) if a == b && left.kind == right.kind => left.clone(),
        (a, b) if a == b && matches!(a, Wire::Unsigned) => decimal(20, 0),
        (Wire::Float, Wire::Float) => ColumnType { kind: SourceType::Float64, wire: Wire::Float },
        _ => return None,
    })
}

fn moment(digits: u8, zoned: bool) -> ColumnType {
    ColumnType { kind: SourceType::Timestamp { digits, zoned }, wire: Wire::DateTime { digits, zoned } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(wire: Wire) -> Track {
        let read_as = ColumnType { kind: SourceType::Int, wire };
        Track { expression: "c".to_owned(), read_as, sqlite: SqliteType::Text }
    }

    fn bound(wire: Wire, floor: Value, oldest: Option<&str>) -> Option<Sql> {
        let floor = Position { track: floor, key: Vec::new() };
        track(wire).within_lookback(&floor, oldest, Lookback { seconds: 300.0, values: 10 }).unwrap()
    }

    #[test]
    fn the_bound_lies_behind_the_floor() {
        let moment = Wire::DateTime { digits: 6, zoned: false };
        let text = |text: &str| Value::Text(text.to_owned());
        let found = bound(moment, text("2026-01-01T00:00:00.000000"), None).unwrap();
        assert_eq!(found.text, "c >= CAST(? AS DATETIME(6)) - INTERVAL ? MICROSECOND");
        assert_eq!(found.values, [Bound::Text("2026-01-01 00:00:00.000000".to_owned()), Bound::Int(300_000_000)]);
        let found = bound(moment, text("2026-01-01T00:00:00.000000Z"), Some("2025-12-31 12:00:00.000000")).unwrap();
        assert!(found.text.contains("LEAST("), "{found:?}");
        for none in ["0000-00-00 00:00:00.000000", "2024-00-15T00:00:00.000000", "2023-02-29T00:00:00.000000", "x"] {
            assert_eq!(bound(moment, text(none), None), None, "{none}");
        }
        assert_eq!(bound(Wire::Unsigned, Value::Int(3), None).unwrap().values, [Bound::Int(0)]);
        assert_eq!(
            bound(Wire::Unsigned, text("18446744073709551615"), None).unwrap().values,
            [Bound::Unsigned(u64::MAX - 10)]
        );
        assert_eq!(bound(Wire::Int, Value::Int(i64::MIN), None).unwrap().values, [Bound::Int(i64::MIN)]);
    }

    #[test]
    fn a_moment_is_told_from_anything_else() {
        assert!(is_moment("2026-01-01 00:00:00.000000"));
        for text in ["", "2026-01-01 00:00:00", "2026-01-01T00:00:00.000000", "2026-01-01 00:00:00.00000'"] {
            assert!(!is_moment(text), "{text}");
        }
    }
}
