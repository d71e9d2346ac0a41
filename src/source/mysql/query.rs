//! The SELECT behind every range.

use super::catalog::Details;
use super::kind::{ColumnType, longest};
use super::sql::{Sql, quote};
use super::track::Track;
use super::value::Cell;
use crate::batch::{Key, Position, Value};
use crate::error::{Error, Kind, Result};
use crate::mapping::SqliteType;
use crate::replica::Replica;
use crate::schema::SourceType;
use crate::source::advice::unindexed_track;
use crate::source::sql::sum;
use crate::source::{Range, TrackPart};

/// A SELECT and the cells of its rows.
#[derive(Debug)]
pub struct Select {
    /// The statement.
    pub sql: Sql,
    /// What its rows hold.
    pub cells: Vec<Cell>,
}

/// A column's name in SQL, out of reach of the output's names.
pub fn column(replica: &Replica, name: &str) -> String {
    format!("{}.{}", quote(&replica.source.name.name), quote(name))
}

/// How the column called `name` is read.
pub fn details_of(replica: &Replica, details: &Details, name: &str) -> Result<ColumnType> {
    details.column(name).ok_or_else(|| {
        Error::new(Kind::SourceRead, format!("Column '{name}' left table '{}' while it was being read", replica.target))
            .transient(true)
    })
}

/// Writes the SELECTs of one table.
pub struct Query<'a> {
    replica: &'a Replica,
    details: &'a Details,
    track: Option<Track>,
    outputs: Vec<Sql>,
    cells: Vec<Cell>,
    conditions: Vec<Sql>,
}

impl<'a> Query<'a> {
    /// For `replica`.
    pub fn new(replica: &'a Replica, details: &'a Details) -> Result<Self> {
        // A line end, so that a comment at the condition's end hides nothing of ours.
        let conditions = replica.filter.iter().map(|filter| Sql::plain(format!("({filter}\n)"))).collect();
        let track = Track::new(replica, details)?;
        Ok(Self { replica, details, track, outputs: Vec::new(), cells: Vec::new(), conditions })
    }

    /// The SELECT for `range`; `None` when it holds no row.
    pub fn range(mut self, range: &Range) -> Result<Option<Select>> {
        match range {
            Range::ByKey { after } => {
                self.all_columns()?;
                if let Some(after) = after.as_ref().filter(|_| !self.replica.key.is_empty()) {
                    let condition = after_values(&self.key_values(after)?);
                    self.conditions.push(condition);
                }
                let order = self.key_order();
                let walks = self.walks_primary();
                Ok(Some(self.finish(&order, walks)))
            }
            // Without a saved snapshot to compare with, every row counts as changed.
            Range::Whole | Range::Changed { .. } => {
                self.all_columns()?;
                Ok(Some(self.finish(&[], false)))
            }
            Range::ByTrack { part, floor, after, snapshot, lookback } => {
                let Some(track) = self.track.take() else { return Err(untracked(self.replica)) };
                let compared = match after {
                    Some(after) => Some(self.track_values(&track, after)?),
                    None => None,
                };
                let within = match floor {
                    Some(floor) => track.within_lookback(floor, snapshot.as_deref(), *lookback)?,
                    None => None,
                };
                match (part, &compared) {
                    (TrackPart::Behind, None) => return Ok(None),
                    (TrackPart::Ahead, Some(values)) => self.conditions.push(after_values(values)),
                    (TrackPart::Behind, Some(values)) => {
                        self.conditions.extend(within);
                        self.conditions.push(up_to_values(values));
                    }
                    (TrackPart::All, Some(_)) if within.is_some() => self.conditions.extend(within),
                    (TrackPart::All | TrackPart::Ahead, _) => {
                        self.conditions.push(Sql::plain(format!("{} IS NOT NULL", track.expression)));
                    }
                }
                self.all_columns()?;
                self.output(Sql::plain(track.expression.clone()), "track value", &track.read_as, track.sqlite, false);
                let advance = compared.iter().map(|values| after_values(values)).chain(track.not_in_future());
                self.flag(Sql::join(advance, " AND "));
                let mut order = vec![track.expression];
                order.extend(self.key_order());
                Ok(Some(self.finish(&order, false)))
            }
            Range::Large { bytes, columns } => {
                self.all_columns()?;
                let Some(size) = self.size(columns, *bytes) else { return Ok(None) };
                self.conditions.push(Sql::plain(format!("{size} > {bytes}")));
                Ok(Some(self.finish(&[], false)))
            }
            Range::Keys => {
                self.key_columns()?;
                let walks = self.walks_primary();
                Ok(Some(self.finish(&[], walks)))
            }
            Range::KeysWithoutTrack { .. } => {
                let Some(track) = self.track.take() else { return Err(untracked(self.replica)) };
                self.key_columns()?;
                self.flag(Sql::plain("0"));
                self.conditions.push(Sql::plain(track.is_missing(self.replica.null_zero_dates)));
                Ok(Some(self.finish(&[], false)))
            }
            Range::Lookup { keys } if keys.is_empty() => Ok(None),
            Range::Lookup { keys } => {
                self.all_columns()?;
                let condition = self.is_one_of(keys)?;
                self.conditions.push(condition);
                Ok(Some(self.finish(&[], false)))
            }
        }
    }

    /// The SELECT of the greatest (track value, key) that doesn't lie in the future; `None` when nothing is tracked.
    pub fn high_water(mut self) -> Result<Option<Select>> {
        let Some(track) = self.track.take() else { return Ok(None) };
        self.output(Sql::plain(track.expression.clone()), "track value", &track.read_as, track.sqlite, false);
        self.key_columns()?;
        self.conditions.push(Sql::plain(format!("{} IS NOT NULL", track.expression)));
        self.conditions.extend(track.not_in_future());
        let mut order = vec![format!("{} DESC", track.expression)];
        order.extend(self.key_order().iter().map(|expression| format!("{expression} DESC")));
        let mut select = self.finish(&order, false);
        select.sql = select.sql.text(" LIMIT 1");
        for cell in &mut select.cells {
            // A position is no cell of the replica: an integer beyond SQLite's goes as its digits.
            if cell.read_as.may_outgrow() && cell.sqlite == SqliteType::Integer {
                cell.read_as.kind = SourceType::Decimal { precision: None };
                cell.sqlite = SqliteType::Text;
            }
        }
        Ok(Some(select))
    }

    fn finish(self, order: &[String], walks_primary: bool) -> Select {
        let hint = if walks_primary { " FORCE INDEX (PRIMARY)" } else { "" };
        let mut sql = Sql::plain("SELECT ")
            .then(Sql::join(self.outputs, ", "))
            .text(&format!(" FROM {}{hint}", self.details.relation));
        if !self.conditions.is_empty() {
            sql = sql.text(" WHERE ").then(Sql::join(self.conditions, " AND "));
        }
        if !order.is_empty() {
            sql = sql.text(" ORDER BY ").text(&order.join(", "));
        }
        Select { sql, cells: self.cells }
    }

    /// Whether the order of the key is that of the table itself, so that walking it costs no sort.
    fn walks_primary(&self) -> bool {
        let key = self.replica.key.iter().map(|index| self.name(*index));
        !self.details.primary.is_empty() && self.replica.filter.is_none() && key.eq(&self.details.primary)
    }

    fn output(&mut self, sql: Sql, name: &str, read_as: &ColumnType, sqlite: SqliteType, null_zero_dates: bool) {
        self.outputs.push(sql);
        self.cells.push(Cell { name: name.to_owned(), read_as: read_as.clone(), sqlite, null_zero_dates });
    }

    fn flag(&mut self, condition: Sql) {
        let condition = if condition.text.is_empty() { Sql::plain("1") } else { condition };
        let read_as = ColumnType::flag();
        let condition = Sql::plain("CAST((").then(condition).text(") AS SIGNED)");
        self.output(condition, "flag", &read_as, SqliteType::Integer, false);
    }

    fn all_columns(&mut self) -> Result<()> {
        (0..self.replica.columns.len()).try_for_each(|index| self.copied(index))
    }

    fn key_columns(&mut self) -> Result<()> {
        self.replica.key.iter().try_for_each(|index| self.copied(*index))
    }

    /// Adds column `index` of the replica.
    fn copied(&mut self, index: usize) -> Result<()> {
        let (replica, sqlite) = (self.replica, self.replica.columns[index].sqlite);
        let name = self.name(index);
        let read_as = details_of(replica, self.details, name)?;
        let nulls = replica.null_zero_dates && !replica.key.contains(&index);
        let expression = replica.computed(index).unwrap_or_else(|| column(replica, name));
        self.output(Sql::plain(read_as.read(&expression)), name, &read_as, sqlite, nulls);
        Ok(())
    }

    /// The bytes of a row's values in `columns` that may be long; `None` when they can't be more than `most`.
    fn size(&self, columns: &[usize], most: u64) -> Option<String> {
        let replica = self.replica;
        let sizes = replica.long_columns(columns, most, longest).into_iter().map(|index| {
            let value = replica.computed(index).unwrap_or_else(|| column(replica, self.name(index)));
            format!("COALESCE(OCTET_LENGTH({value}), 0)")
        });
        sum(sizes.collect())
    }

    fn name(&self, index: usize) -> &'a str {
        &self.replica.source.columns[self.replica.columns[index].source].name
    }

    /// The key's columns by what they are ordered by.
    fn key_order(&self) -> Vec<String> {
        let expressions = self.replica.key.iter().map(|index| {
            let name = self.name(*index);
            let expression = column(self.replica, name);
            self.details.column(name).map_or(expression.clone(), |read_as| read_as.ordered(&expression))
        });
        expressions.collect()
    }

    /// The key's columns with the values they are compared with.
    fn key_values(&self, key: &Key) -> Result<Vec<(String, Sql)>> {
        if key.len() != self.replica.key.len() {
            return Err(Error::new(
                Kind::SourceRead,
                format!("The saved position of table '{}' has another key", self.replica.target),
            )
            .because("reset the table's sync state"));
        }
        let values = self.replica.key.iter().zip(key).map(|(index, value)| self.parameter(*index, value));
        self.key_order().into_iter().zip(values).map(|(expression, value)| Ok((expression, value?))).collect()
    }

    fn parameter(&self, index: usize, value: &Value) -> Result<Sql> {
        details_of(self.replica, self.details, self.name(index))?.parameter(value)
    }

    fn track_values(&self, track: &Track, position: &Position) -> Result<Vec<(String, Sql)>> {
        let mut values = vec![(track.expression.clone(), track.read_as.parameter(&position.track)?)];
        values.extend(self.key_values(&position.key)?);
        Ok(values)
    }

    fn is_one_of(&self, keys: &[Key]) -> Result<Sql> {
        let names: Vec<String> = self.replica.key.iter().map(|index| column(self.replica, self.name(*index))).collect();
        let rows = keys.iter().map(|key| {
            let values = self.replica.key.iter().zip(key).map(|(index, value)| self.parameter(*index, value));
            Ok(Sql::row(values.collect::<Result<Vec<_>>>()?))
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let names = Sql::row(names.into_iter().map(Sql::plain).collect());
        Ok(names.text(" IN (").then(Sql::join(rows, ", ")).text(")"))
    }
}

/// The condition that a row comes after these values, in the form that ranges over an index: `(a, b) > (?, ?)` would walk
/// the whole of it.
fn after_values(values: &[(String, Sql)]) -> Sql {
    compared(values, ">=", ">", ">")
}

/// The condition that a row comes before these values or has them.
fn up_to_values(values: &[(String, Sql)]) -> Sql {
    compared(values, "<=", "<", "<=")
}

fn compared(values: &[(String, Sql)], or_equal: &str, beyond: &str, last: &str) -> Sql {
    let one = |expression: &str, operator: &str, value: &Sql| {
        Sql::plain(format!("{expression} {operator} ")).then(value.clone())
    };
    match values {
        [] => Sql::plain("1"),
        [(expression, value)] => one(expression, last, value),
        [(expression, value), rest @ ..] => Sql::plain("(")
            .then(one(expression, or_equal, value))
            .text(" AND (")
            .then(one(expression, beyond, value))
            .text(" OR ")
            .then(compared(rest, or_equal, beyond, last))
            .text("))"),
    }
}

fn untracked(replica: &Replica) -> Error {
    Error::new(Kind::Internal, format!("Table '{}' isn't tracked by columns", replica.target))
}

/// The index that makes finding `replica`'s changes fast, when it lacks one and is large.
pub fn missing_index(replica: &Replica) -> Option<String> {
    let source = &replica.source;
    let tracked = unindexed_track(replica)?;
    let key = replica.key.iter().map(|index| source.columns[replica.columns[*index].source].name.as_str());
    let parts: Vec<_> = std::iter::once(tracked).chain(key.filter(|name| *name != tracked)).map(quote).collect();
    let schema = source.name.schema.as_deref().map_or_else(String::new, |schema| format!("{}.", quote(schema)));
    Some(format!("ALTER TABLE {schema}{} ADD INDEX ({})", quote(&source.name.name), parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::sql::Bound;

    fn values(names: &[&str]) -> Vec<(String, Sql)> {
        (1..).zip(names).map(|(value, name)| ((*name).to_owned(), Sql::with("?", Bound::Int(value)))).collect()
    }

    #[test]
    fn keyset_conditions_range_over_an_index() {
        assert_eq!(after_values(&values(&["k"])).text, "k > ?");
        assert_eq!(after_values(&values(&["c", "k"])).text, "(c >= ? AND (c > ? OR k > ?))");
        let three = after_values(&values(&["c", "a", "b"]));
        assert_eq!(three.text, "(c >= ? AND (c > ? OR (a >= ? AND (a > ? OR b > ?))))");
        assert_eq!(three.values, [1, 1, 2, 2, 3].map(Bound::Int));
        assert_eq!(up_to_values(&values(&["c", "k"])).text, "(c <= ? AND (c < ? OR k <= ?))");
    }
}
