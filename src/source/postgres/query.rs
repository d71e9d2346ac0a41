//! The SELECT behind every range.

use super::catalog::{Details, Storage};
use super::copy::Cell;
use super::kind::{ColumnType, longest};
use super::literal::{literal, quote};
use super::snapshot::Snapshot;
use super::track::Track;
use super::wire::Wire;
use crate::batch::{Key, Position};
use crate::error::{Error, Kind, Result};
use crate::mapping::SqliteType;
use crate::replica::Replica;
use crate::schema::SourceType;
use crate::source::{Range, TrackPart, sql};

/// A SELECT and the cells of its rows.
#[derive(Debug)]
pub struct Select {
    /// The statement.
    pub sql: String,
    /// What its rows hold.
    pub cells: Vec<Cell>,
    /// Whether an index of the key gives the order.
    pub by_key: bool,
}

/// A column's name in SQL, out of reach of the output's names.
pub fn column(replica: &Replica, name: &str) -> String {
    format!("{}.{}", quote(&replica.source.name.name), quote(name))
}

/// How the column called `name` is read.
pub fn details_of<'a>(replica: &Replica, details: &'a Details, name: &str) -> Result<&'a ColumnType> {
    details.column(name).ok_or_else(|| {
        Error::new(Kind::SourceRead, format!("Column '{name}' left table '{}' while it was being read", replica.target))
            .transient(true)
    })
}

/// Writes the SELECTs of one table.
pub struct Query<'a> {
    replica: &'a Replica,
    details: &'a Details,
    now: Option<Snapshot>,
    track: Option<Track>,
    outputs: Vec<String>,
    cells: Vec<Cell>,
    conditions: Vec<String>,
}

impl<'a> Query<'a> {
    /// For `replica`, in the consistent read whose snapshot is `now`.
    pub fn new(replica: &'a Replica, details: &'a Details, now: Option<Snapshot>) -> Result<Self> {
        // A line end, so that a comment at the condition's end hides nothing of ours.
        let conditions = replica.filter.iter().map(|filter| format!("({filter}\n)")).collect();
        let track = Track::new(replica, details)?;
        Ok(Self { replica, details, now, track, outputs: Vec::new(), cells: Vec::new(), conditions })
    }

    /// The SELECT for `range`; `None` when it holds no row.
    pub fn range(mut self, range: &Range) -> Result<Option<Select>> {
        match range {
            Range::ByKey { after } => {
                self.all_columns()?;
                if let Some(after) = after.as_ref().filter(|_| !self.replica.key.is_empty()) {
                    let condition = self.key_compared(">", after)?;
                    self.conditions.push(condition);
                }
                let order = self.key_expressions();
                Ok(Some(self.finish(&order, true)))
            }
            Range::Whole => {
                self.all_columns()?;
                Ok(Some(self.finish(&[], false)))
            }
            Range::Changed { snapshot } => {
                self.all_columns()?;
                let changed = self.changed(snapshot.as_deref());
                self.conditions.extend(changed);
                Ok(Some(self.finish(&[], false)))
            }
            Range::ByTrack { part, floor, after, snapshot, lookback } => {
                let Some(track) = self.track.take() else { return Err(untracked(self.replica)) };
                let changed = self.changed(snapshot.as_deref());
                let ahead = after.as_ref().map(|after| self.track_compared(&track, ">", after)).transpose()?;
                let within = match floor {
                    Some(floor) => track.within_lookback(floor, *lookback)?,
                    None => None,
                };
                match (part, after) {
                    (TrackPart::Behind, None) => return Ok(None),
                    (TrackPart::All | TrackPart::Ahead, None) => {
                        self.conditions.push(format!("{} IS NOT NULL", track.expression));
                    }
                    (TrackPart::Ahead, Some(_)) => self.conditions.extend(ahead.clone()),
                    (TrackPart::Behind, Some(after)) => {
                        self.conditions.extend(within);
                        self.conditions.extend(changed);
                        let behind = self.track_compared(&track, "<=", after)?;
                        self.conditions.push(behind);
                    }
                    (TrackPart::All, Some(_)) => {
                        self.conditions.push(within.unwrap_or_else(|| format!("{} IS NOT NULL", track.expression)));
                        if let (Some(changed), Some(ahead)) = (changed, &ahead) {
                            self.conditions.push(format!("({changed} OR {ahead})"));
                        }
                    }
                }
                self.all_columns()?;
                self.output(&track.expression, "track value", &track.read_as, track.sqlite);
                let advance: Vec<_> = ahead.into_iter().chain(track.not_in_future()).collect();
                self.flag(
                    if advance.is_empty() { None } else { Some(advance.join(" AND ")) }.as_deref().unwrap_or("true"),
                );
                let order: Vec<_> = std::iter::once(track.expression).chain(self.key_expressions()).collect();
                Ok(Some(self.finish(&order, false)))
            }
            Range::Large { bytes, columns } => {
                self.all_columns()?;
                let Some(size) = self.size(columns, *bytes)? else { return Ok(None) };
                self.conditions.push(format!("{size} > {bytes}"));
                Ok(Some(self.finish(&[], false)))
            }
            Range::Keys => {
                self.key_columns()?;
                Ok(Some(self.finish(&[], false)))
            }
            Range::KeysWithoutTrack { snapshot } => {
                let Some(track) = self.track.take() else { return Err(untracked(self.replica)) };
                self.key_columns()?;
                let changed = self.changed(snapshot.as_deref());
                self.flag(changed.as_deref().unwrap_or("false"));
                self.conditions.push(format!("{} IS NULL", track.expression));
                Ok(Some(self.finish(&[], false)))
            }
            Range::Lookup { keys } if keys.is_empty() => Ok(None),
            Range::Lookup { keys } => {
                self.all_columns()?;
                let keys = keys.iter().map(|key| self.key_literal(key)).collect::<Result<Vec<_>>>()?;
                let condition = format!("{} IN ({})", row(&self.key_expressions()), keys.join(", "));
                self.conditions.push(condition);
                Ok(Some(self.finish(&[], false)))
            }
        }
    }

    /// The SELECT of the greatest (track value, key) that doesn't lie in the future; `None` when nothing is tracked.
    pub fn high_water(mut self) -> Result<Option<Select>> {
        let Some(track) = self.track.take() else { return Ok(None) };
        self.output(&track.expression, "track value", &track.read_as, track.sqlite);
        self.key_columns()?;
        self.conditions.push(format!("{} IS NOT NULL", track.expression));
        self.conditions.extend(track.not_in_future());
        let order: Vec<_> = std::iter::once(track.expression)
            .chain(self.key_expressions())
            .map(|expression| format!("{expression} DESC"))
            .collect();
        let mut select = self.finish(&order, false);
        select.sql.push_str(" LIMIT 1");
        Ok(Some(select))
    }

    fn finish(self, order: &[String], by_key: bool) -> Select {
        let mut sql = format!("SELECT {} {}", self.outputs.join(", "), self.details.from);
        if !self.conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&self.conditions.join(" AND "));
        }
        if !order.is_empty() {
            sql.push_str(" ORDER BY ");
            sql.push_str(&order.join(", "));
        }
        Select { sql, cells: self.cells, by_key }
    }

    fn output(&mut self, expression: &str, name: &str, read_as: &ColumnType, sqlite: SqliteType) {
        self.outputs.push(read_as.cast.of(expression));
        self.cells.push(Cell { name: name.to_owned(), wire: read_as.wire.clone(), sqlite });
    }

    fn flag(&mut self, condition: &str) {
        self.outputs.push(format!("({condition})"));
        self.cells.push(Cell { name: "flag".to_owned(), wire: Wire::Bool, sqlite: SqliteType::Integer });
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
        let read_as = match sqlite {
            _ if replica.key.contains(&index) && matches!(read_as.kind, SourceType::Array(_)) => read_as.comparable(),
            SqliteType::Text => read_as.as_text(),
            _ => read_as.clone(),
        };
        let expression = replica.computed(index).unwrap_or_else(|| column(replica, name));
        self.output(&expression, name, &read_as, sqlite);
        Ok(())
    }

    /// The bytes of a row's values in `columns` that may be long; `None` when they can't be more than `most`. Of text and bytes
    /// the server knows the length without reading them (<https://www.postgresql.org/docs/current/storage-toast.html>).
    fn size(&self, columns: &[usize], most: u64) -> Result<Option<String>> {
        let replica = self.replica;
        let sizes = replica.long_columns(columns, most, longest).into_iter().map(|index| {
            let value = replica.computed(index).unwrap_or_else(|| column(replica, self.name(index)));
            let cast = match details_of(replica, self.details, self.name(index))?.literal.as_str() {
                "pg_catalog.bytea" => "pg_catalog.bytea",
                // As text it would lose its padding.
                "pg_catalog.bpchar" => "pg_catalog.bpchar",
                _ => "pg_catalog.text",
            };
            Ok(format!("COALESCE(pg_catalog.octet_length({value}::{cast}), 0)::pg_catalog.int8"))
        });
        Ok(sql::sum(sizes.collect::<Result<_>>()?))
    }

    fn name(&self, index: usize) -> &'a str {
        &self.replica.source.columns[self.replica.columns[index].source].name
    }

    fn key_expressions(&self) -> Vec<String> {
        self.replica.key.iter().map(|index| column(self.replica, self.name(*index))).collect()
    }

    fn key_literals(&self, key: &Key) -> Result<Vec<String>> {
        if key.len() != self.replica.key.len() {
            return Err(Error::new(
                Kind::SourceRead,
                format!("The saved position of table '{}' has another key", self.replica.target),
            )
            .because("reset the table's sync state"));
        }
        let columns = self.replica.key.iter().map(|index| details_of(self.replica, self.details, self.name(*index)));
        columns.zip(key).map(|(read_as, value)| literal(value, &read_as?.literal)).collect()
    }

    fn key_literal(&self, key: &Key) -> Result<String> {
        Ok(row(&self.key_literals(key)?))
    }

    fn key_compared(&self, operator: &str, key: &Key) -> Result<String> {
        Ok(format!("{} {operator} {}", row(&self.key_expressions()), self.key_literal(key)?))
    }

    fn track_compared(&self, track: &Track, operator: &str, position: &Position) -> Result<String> {
        let expressions: Vec<_> = std::iter::once(track.expression.clone()).chain(self.key_expressions()).collect();
        let mut literals = vec![track.literal(&position.track)?];
        literals.extend(self.key_literals(&position.key)?);
        Ok(format!("{} {operator} {}", row(&expressions), row(&literals)))
    }

    fn changed(&self, saved: Option<&str>) -> Option<String> {
        if !self.replica.source.sees_changes {
            return None;
        }
        self.now?.changed_since(saved?, &format!("{}.xmin", quote(&self.replica.source.name.name)))
    }
}

/// Several values compare as a row, of which an index serves the whole; one value compares by itself.
fn row(values: &[String]) -> String {
    match values {
        [value] => value.clone(),
        values => format!("({})", values.join(", ")),
    }
}

fn untracked(replica: &Replica) -> Error {
    Error::new(Kind::Internal, format!("Table '{}' isn't tracked by columns", replica.target))
}

/// The index that makes finding `replica`'s changes fast, when it lacks one and is large.
pub fn missing_index(replica: &Replica, details: Option<&Details>) -> Option<String> {
    let source = &replica.source;
    let columns: Vec<_> =
        replica.track_columns().into_iter().map(|index| &source.columns[replica.columns[index].source].name).collect();
    let first = *columns.first()?;
    let indexed = match columns.as_slice() {
        [_] => source.indexes.iter().any(|index| index.first() == Some(first)),
        // The catalog shows expressions only as such.
        _ => details.is_some_and(|details| details.indexed_expression),
    };
    if indexed || !source.is_large() || source.relation == crate::schema::Relation::View {
        return None;
    }
    let tracked = match columns.as_slice() {
        [column] => quote(column),
        columns => format!("COALESCE({})", columns.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")),
    };
    let key = replica.key.iter().map(|index| &source.columns[replica.columns[*index].source].name);
    let parts: Vec<_> =
        std::iter::once(tracked).chain(key.filter(|name| *name != first).map(|name| quote(name))).collect();
    // PostgreSQL builds an index on a partitioned table only at once.
    let concurrently =
        if details.is_some_and(|details| details.storage == Storage::Partitions) { "" } else { " CONCURRENTLY" };
    let schema = source.name.schema.as_deref().map_or_else(String::new, |schema| format!("{}.", quote(schema)));
    Some(format!("CREATE INDEX{concurrently} ON {schema}{} ({})", quote(&source.name.name), parts.join(", ")))
}
