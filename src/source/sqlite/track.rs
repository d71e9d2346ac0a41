//! The value that tells which rows are newer: its expression, how far back to look, and where the future begins.
//!
//! SQLite orders all values of all storage classes (numbers, then text, then blobs), so a position is good whatever the
//! column holds.

use super::query::column;
use super::sql::{Sql, parameter, quote};
use crate::batch::Value;
use crate::replica::Replica;
use crate::source::{Lookback, text_time, uuid7};

/// A table's track value.
pub struct Track {
    /// The value as SQL.
    pub expression: String,
    /// The source's columns that it is the first value of.
    columns: Vec<String>,
    /// Whether numbers in it tell a time.
    tells_time: bool,
    relation: String,
}

/// Words in the types of columns of times.
const TYPES: [&str; 2] = ["date", "time"];

/// Ends of the names of columns of times.
const ENDINGS: [&str; 9] = ["_at", "_ts", "_on", "At", "date", "Date", "time", "Time", "timestamp"];

/// Seconds since 1970 that no counter is taken for: in 1973.
const EARLIEST: &str = "1e8";

impl Track {
    /// The track value of `replica`; `None` when it isn't tracked by columns.
    pub fn new(replica: &Replica) -> Option<Self> {
        let columns: Vec<_> = replica
            .track_columns()
            .into_iter()
            .map(|index| &replica.source.columns[replica.columns[index].source])
            .collect();
        let names: Vec<String> = columns.iter().map(|each| column(replica, &each.name)).collect();
        let expression = match names.as_slice() {
            [] => return None,
            [name] => name.clone(),
            names => format!("COALESCE({})", names.join(", ")),
        };
        let tells_time = columns.iter().any(|column| {
            let declared = column.declared.to_lowercase();
            TYPES.iter().any(|word| declared.contains(word))
                || ENDINGS.iter().any(|ending| column.name.ends_with(ending))
        });
        Some(Self { expression, columns: names, tells_time, relation: quote(&replica.source.name.name) })
    }

    /// The condition that the value does not lie in the future of the source's clock: of text that begins with a date, and of
    /// numbers in a column of times, whose smallest one tells their unit.
    pub fn not_in_future(&self) -> String {
        let value = &self.expression;
        let day = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*";
        let text = format!("NOT ({value} GLOB '{day}' AND COALESCE(julianday({value}) > julianday('now'), 0))");
        let numbers = match self.columns.as_slice() {
            [column] if self.tells_time => {
                let least = format!("(SELECT min({column}) FROM {} WHERE {column} > 0)", self.relation);
                let units = format!(
                    "CASE WHEN {least} < 1e11 THEN 1 WHEN {least} < 1e14 THEN 1e3 WHEN {least} < 1e17 THEN 1e6 ELSE 1e9 END"
                );
                format!("({least} < {EARLIEST} OR {value} <= (julianday('now') - 2440587.5) * 86400.0 * {units})")
            }
            _ => "1".to_owned(),
        };
        format!("CASE typeof({value}) WHEN 'text' THEN {text} WHEN 'blob' THEN 1 ELSE {numbers} END")
    }

    /// The condition that the value lies at most `lookback` behind `floor`; `None` where "behind" has no measure, and every row
    /// has to be read.
    pub fn within_lookback(&self, floor: &Value, lookback: Lookback) -> Option<Sql> {
        let bound = match floor {
            Value::Int(floor) => {
                #[expect(clippy::cast_precision_loss, reason = "only its magnitude counts")]
                let seconds = self.seconds(*floor as f64, lookback);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float's cast saturates")]
                let back = lookback.values.max(seconds as u64);
                Value::Int(floor.saturating_sub_unsigned(back))
            }
            Value::Real(floor) => {
                #[expect(clippy::cast_precision_loss, reason = "how far back is no exact matter")]
                let back = (lookback.values as f64).max(self.seconds(*floor, lookback));
                Value::Real(floor - back)
            }
            Value::Text(floor) => {
                let earlier = uuid7::earlier(floor, lookback.seconds);
                Value::Text(earlier.or_else(|| text_time::earlier(floor, lookback.seconds))?)
            }
            Value::Null | Value::Blob(_) => return None,
        };
        Some(Sql::plain(format!("{} >= ", self.expression)).then(parameter(&bound)))
    }

    /// The lookback's time in the unit that `floor` counts seconds since 1970 in; none where it doesn't tell a time.
    fn seconds(&self, floor: f64, lookback: Lookback) -> f64 {
        let unit = match floor {
            1e8..1e11 => 1.0,
            1e11..1e14 => 1e3,
            1e14..1e17 => 1e6,
            1e17.. => 1e9,
            _ => 0.0,
        };
        if self.tells_time { (lookback.seconds * unit).ceil() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(tells_time: bool) -> Track {
        let column = "\"t\".\"c\"".to_owned();
        Track { expression: column.clone(), columns: vec![column], tells_time, relation: "\"t\"".to_owned() }
    }

    fn passes(values: &[&str], tells_time: bool) -> Vec<bool> {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let rows = values.join("), (");
        connection.execute_batch(&format!("CREATE TABLE t (c); INSERT INTO t VALUES ({rows})")).unwrap();
        let sql = format!("SELECT {} FROM t ORDER BY rowid", track(tells_time).not_in_future());
        let mut statement = connection.prepare(&sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_future_is_told_from_the_past() {
        let texts = [
            "'2026-01-01 00:00:00'",
            "'9999-12-31 00:00:00'",
            "'9999-12-31T00:00:00.000Z'",
            "'2026-01-01T00:00:00.123456Z'",
            "'9999-99-99'",
            "'99991231'",
            "x'ff'",
            "'abc'",
        ];
        assert_eq!(passes(&texts, false), [true, false, false, true, true, true, true, true]);
        assert_eq!(passes(&["1767225600", "253402300799"], true), [true, false], "seconds");
        assert_eq!(passes(&["1767225600", "253402300799"], false), [true, true], "no times");
        assert_eq!(passes(&["1", "1767225600", "253402300799"], true), [true, true, true], "a counter");
        assert_eq!(passes(&["1767225600123", "253402300799000", "-5", "0"], true), [true, false, true, true], "ms");
        assert_eq!(passes(&["1767225600.5", "253402300799.5"], true), [true, false], "seconds with a fraction");
    }

    #[test]
    fn the_bound_lies_behind_the_floor() {
        let lookback = Lookback { seconds: 300.0, values: 10 };
        let bound =
            |tells_time, floor: Value| track(tells_time).within_lookback(&floor, lookback).map(|sql| sql.values);
        let text = |text: &str| Some(vec![super::super::sql::Bound::Text(text.to_owned())]);
        assert_eq!(bound(false, Value::Int(1_767_225_600)), text("1767225590"));
        assert_eq!(bound(true, Value::Int(1_767_225_600)), text("1767225300"));
        assert_eq!(bound(true, Value::Int(1_767_225_600_000)), text("1767225300000"));
        assert_eq!(bound(true, Value::Int(7)), text("-3"));
        assert_eq!(bound(false, Value::Int(i64::MIN)), text("-9223372036854775808"));
        assert_eq!(bound(false, Value::Text("2026-01-01 00:10:00".to_owned())), text("2026-01-01 00:05:00"));
        assert_eq!(bound(false, Value::Text("release 7".to_owned())), None);
        assert_eq!(bound(false, Value::Blob(vec![1])), None);
    }
}
