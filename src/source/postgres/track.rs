//! The value that tells which rows are newer: its expression, how far back to look, and where the future begins.

use super::catalog::Details;
use super::kind::ColumnType;
use super::literal::literal;
use crate::batch::{Position, Value};
use crate::error::{Error, Kind, Result};
use crate::mapping::{self, SqliteType};
use crate::replica::Replica;
use crate::schema::SourceType;
use crate::source::{Lookback, uuid7};

use super::query::{column, details_of};
use super::wire::Wire;

/// Looking further back than this is looking at everything; it also keeps the arithmetic within the calendar.
const LONGEST_LOOKBACK: f64 = 100.0 * 366.0 * 86_400.0;

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
        let columns: Vec<_> = replica.track_columns();
        let mut parts = Vec::with_capacity(columns.len());
        for index in columns {
            let name = &replica.source.columns[replica.columns[index].source].name;
            parts.push((column(replica, name), details_of(replica, details, name)?.comparable()));
        }
        let Some((first, mut read_as)) = parts.first().cloned() else { return Ok(None) };
        for (_, other) in &parts[1..] {
            read_as = wider(&read_as, other).ok_or_else(|| {
                Error::new(
                    Kind::Schema,
                    format!("Table '{}' can't be tracked by these columns together", replica.target),
                )
                .because(format!(
                    "their types ({} and {}) have no order in common; name columns of one type in track_column",
                    bare(&read_as.literal),
                    bare(&other.literal)
                ))
            })?;
        }
        let expression = match parts.as_slice() {
            [_] => first,
            parts => {
                let arguments: Vec<_> = parts
                    .iter()
                    .map(|(expression, own)| {
                        if own.literal == read_as.literal {
                            expression.clone()
                        } else {
                            format!("{expression}::{}", read_as.literal)
                        }
                    })
                    .collect();
                format!("COALESCE({})", arguments.join(", "))
            }
        };
        let sqlite = match read_as.wire {
            // An array goes as the source's own text.
            Wire::Text => SqliteType::Text,
            _ => mapping::map(&read_as.kind, bare(&read_as.literal), None)?,
        };
        Ok(Some(Self { expression, read_as, sqlite }))
    }

    /// A track value as a constant.
    pub fn literal(&self, value: &Value) -> Result<String> {
        literal(value, &self.read_as.literal)
    }

    /// The condition that the value does not lie in the future of the source's clock.
    pub fn not_in_future(&self) -> Option<String> {
        let now = match self.read_as.wire {
            Wire::TimestampTz { .. } => "pg_catalog.now()",
            Wire::Timestamp { .. } => "(pg_catalog.now() AT TIME ZONE 'UTC')",
            Wire::Date => "(pg_catalog.now() AT TIME ZONE 'UTC')::pg_catalog.date",
            _ => return None,
        };
        Some(format!("{} <= {now}", self.expression))
    }

    /// The condition that the value lies at most `lookback` behind `floor`'s; `None` where "behind" has no measure. Text
    /// and UUIDs of the random kinds have an order, but no distance, so what a snapshot could not see is the only limit
    /// there.
    pub fn within_lookback(&self, floor: &Position, lookback: Lookback) -> Result<Option<String>> {
        let bound = match self.read_as.wire {
            Wire::TimestampTz { .. } | Wire::Timestamp { .. } | Wire::Date => self.earlier(&floor.track, lookback)?,
            Wire::Int2 | Wire::Int4 | Wire::Int8 | Wire::Oid => match floor.track {
                Value::Int(value) => {
                    let earlier = value.saturating_sub_unsigned(lookback.values);
                    Some(match self.read_as.wire {
                        Wire::Oid => format!("'{}'::pg_catalog.oid", earlier.max(0)),
                        // As a bigint, which holds what lies below a smaller type's range.
                        _ => format!("'{earlier}'::pg_catalog.int8"),
                    })
                }
                _ => None,
            },
            Wire::Numeric | Wire::Float4 | Wire::Float8 => {
                Some(format!("({} - '{}'::{})", self.literal(&floor.track)?, lookback.values, self.read_as.literal))
            }
            Wire::Uuid => match &floor.track {
                Value::Text(text) => {
                    uuid7::earlier(text, lookback.seconds).map(|uuid| format!("'{uuid}'::pg_catalog.uuid"))
                }
                _ => None,
            },
            _ => None,
        };
        Ok(bound.map(|bound| format!("{} >= {bound}", self.expression)))
    }

    fn earlier(&self, floor: &Value, lookback: Lookback) -> Result<Option<String>> {
        let in_reach =
            matches!(floor, Value::Text(text) if !text.ends_with("BC")) && lookback.seconds <= LONGEST_LOOKBACK;
        if !in_reach {
            return Ok(None);
        }
        let seconds = format!("'{:.6} seconds'::pg_catalog.interval", lookback.seconds.max(0.0));
        Ok(Some(match self.read_as.wire {
            Wire::Date => {
                format!("({} - {seconds})::pg_catalog.date", literal(floor, "pg_catalog.timestamp")?)
            }
            _ => format!("({} - {seconds})", self.literal(floor)?),
        }))
    }
}

/// A type's name without the schema that is always searched.
fn bare(sql: &str) -> &str {
    sql.strip_prefix("pg_catalog.").unwrap_or(sql)
}

/// The type that holds the values of both and orders them.
fn wider(left: &ColumnType, right: &ColumnType) -> Option<ColumnType> {
    if left.literal == right.literal {
        return Some(match (&left.kind, &right.kind) {
            (SourceType::Timestamp { digits, .. }, SourceType::Timestamp { digits: other, .. }) if other > digits => {
                right.clone()
            }
            // Decimals of another precision may go elsewhere, but one value needs one place.
            (SourceType::Decimal { precision }, SourceType::Decimal { precision: other }) if precision != other => {
                ColumnType { kind: SourceType::Decimal { precision: None }, ..left.clone() }
            }
            _ => left.clone(),
        });
    }
    let rank = |each: &ColumnType| match each.wire {
        Wire::Int2 => Some((0, 0)),
        Wire::Int4 => Some((0, 1)),
        Wire::Int8 => Some((0, 2)),
        Wire::Numeric => Some((0, 3)),
        Wire::Float4 => Some((0, 4)),
        Wire::Float8 => Some((0, 5)),
        Wire::Date => Some((1, 0)),
        Wire::Timestamp { .. } => Some((1, 1)),
        Wire::TimestampTz { .. } => Some((1, 2)),
        _ => None,
    };
    let (left_rank, right_rank) = (rank(left)?, rank(right)?);
    if left_rank.0 != right_rank.0 {
        return None;
    }
    let (narrow, wide) = if left_rank < right_rank { (left, right) } else { (right, left) };
    Some(match (&narrow.kind, &wide.kind) {
        // An integer may have more digits than the decimal's column declares.
        (_, SourceType::Decimal { .. }) => ColumnType { kind: SourceType::Decimal { precision: None }, ..wide.clone() },
        (SourceType::Timestamp { digits, .. }, SourceType::Timestamp { digits: other, zoned }) if digits > other => {
            ColumnType {
                kind: SourceType::Timestamp { digits: *digits, zoned: *zoned },
                wire: Wire::TimestampTz { digits: *digits },
                ..wide.clone()
            }
        }
        _ => wide.clone(),
    })
}
