//! The SELECTs behind every range: pages that follow one another in the order of an index.

use super::link::Bounds;
use super::sql::{Sql, parameter, quote};
use super::track::Track;
use crate::batch::{Key, Position, Value};
use crate::error::{Error, Kind, Result};
use crate::mapping::{self, SqliteType};
use crate::replica::Replica;
use crate::schema::SourceType;
use crate::source::advice::unindexed_track;
use crate::source::sql::sum;
use crate::source::{Range, TrackPart};

/// What becomes of a value that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// The type that the user chose for it; otherwise it is copied with its storage class.
    pub converted: Option<SqliteType>,
    /// The name of its column where that is one of the key's, which can't do without it.
    pub key: Option<String>,
}

/// Rows that are read in one order, page after page.
pub struct Pass {
    /// What becomes of the values of a row.
    pub cells: Vec<Cell>,
    outputs: Vec<Sql>,
    relation: String,
    /// Where the first page begins; where the others begin lies behind it.
    start: Option<Sql>,
    conditions: Vec<Sql>,
    /// Terms, and the cells that hold them; empty when there is nothing to go on after.
    order: Vec<(Term, usize)>,
    /// The bytes that each row takes at least, as far as is known.
    pub least: usize,
}

/// What rows are ordered by.
#[derive(Debug, Clone)]
struct Term {
    expression: String,
    /// ` COLLATE …` where it may not be the expression's own.
    collation: String,
}

impl Term {
    fn sql(&self) -> String {
        format!("{}{}", self.expression, self.collation)
    }
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// At the beginning.
    Start,
    /// Behind the row that has these values in the order's cells.
    After(Vec<Value>),
    /// After this many rows.
    Rows(usize),
}

impl Pass {
    /// The SELECT of at most `limit` rows from `mark` on.
    pub fn page(&self, mark: &Mark, limit: usize) -> Sql {
        let outputs = self.outputs.iter().enumerate();
        let outputs = outputs.map(|(index, output)| output.clone().text(&format!(" AS c{index}")));
        let start = match mark {
            Mark::After(values) => {
                let order = self.order.iter().map(|(term, _)| term).zip(values).collect::<Vec<_>>();
                Some(compared(&order, ">"))
            }
            _ => self.start.clone(),
        };
        let conditions: Vec<Sql> = start.into_iter().chain(self.conditions.iter().cloned()).collect();
        let mut sql = Sql::plain("SELECT ").then(Sql::join(outputs, ", ")).text(&format!(" FROM {}", self.relation));
        if !conditions.is_empty() {
            sql = sql.text(" WHERE ").then(Sql::join(conditions, " AND "));
        }
        let order: Vec<String> = match self.order.as_slice() {
            [] => (1..=self.outputs.len()).map(|place| place.to_string()).collect(),
            order => order.iter().map(|(term, _)| term.sql()).collect(),
        };
        let offset = if let Mark::Rows(rows) = mark { format!(" OFFSET {rows}") } else { String::new() };
        sql.text(&format!(" ORDER BY {} LIMIT {limit}{offset}", order.join(", ")))
    }

    /// The cells that say where the page after a row begins; none when pages are counted.
    pub fn marks(&self) -> impl Iterator<Item = usize> {
        self.order.iter().map(|(_, cell)| *cell)
    }

    /// Whether a page begins behind a row, and not after a number of them.
    pub fn has_order(&self) -> bool {
        !self.order.is_empty()
    }
}

/// A column's name in SQL. Qualified, it is never taken for a text, and never for an output's name.
pub fn column(replica: &Replica, name: &str) -> String {
    format!("{}.{}", quote(&replica.source.name.name), quote(name))
}

/// Writes the passes over one table.
pub struct Query<'a> {
    replica: &'a Replica,
    track: Option<Track>,
}

impl<'a> Query<'a> {
    /// For `replica`.
    ///
    /// # Errors
    /// `SCHEMA` when rows could not be found again by the key as the user wants it to be stored, or when they have more
    /// columns than an answer may have.
    pub fn new(replica: &'a Replica, bounds: Bounds) -> Result<Self> {
        let tracking = if replica.track_columns().is_empty() { 0 } else { 2 };
        if replica.columns.len() + tracking > bounds.columns {
            return Err(Error::new(
                Kind::Schema,
                format!("Table '{}' has too many columns to be read", replica.target),
            )
            .because(format!(
                "an answer has at most {} columns, and following changes takes two of them; name those to copy with \
                     columns, or use mode 'full'",
                bounds.columns
            ))
            .in_table(&replica.target));
        }
        for &index in &replica.key {
            let column = &replica.source.columns[replica.columns[index].source];
            if column.kind == SourceType::Bytes && replica.columns[index].sqlite != SqliteType::Blob {
                return Err(Error::new(
                    Kind::Schema,
                    format!("Table '{}' can't be read by its key column '{}'", replica.target, column.name),
                )
                .because(
                    "it is declared without a type, so its values are found by what they are; leave it out of types",
                )
                .in_table(&replica.target));
            }
        }
        Ok(Self { replica, track: Track::new(replica) })
    }

    /// The passes that make up `range`; a statement takes at most `most` values.
    pub fn range(&self, range: &Range, most: usize) -> Result<Vec<Pass>> {
        Ok(match range {
            Range::ByKey { after } => {
                let mut pass = self.all();
                pass.start = after
                    .as_ref()
                    .filter(|_| !self.replica.key.is_empty())
                    .map(|key| self.after_key(key))
                    .transpose()?;
                vec![pass]
            }
            // Nothing tells which rows changed, so all of them did.
            Range::Whole | Range::Changed { .. } => vec![self.all()],
            Range::ByTrack { part, floor, after, lookback, .. } => {
                let track = self.tracked()?;
                let within = floor.as_ref().and_then(|floor| track.within_lookback(&floor.track, *lookback));
                let present = Sql::plain(format!("{} IS NOT NULL", track.expression));
                let position = |operator| after.as_ref().map(|after| self.beside(track, after, operator)).transpose();
                let ahead = position(">")?;
                let mut pass = self.all();
                let advance: Vec<Sql> = ahead.clone().into_iter().chain([Sql::plain(track.not_in_future())]).collect();
                let width = pass.outputs.len();
                pass.output(Sql::plain(track.expression.clone()), Cell::default());
                pass.output(Sql::plain("((").then(Sql::join(advance, ") AND (")).text(")) IS TRUE"), Cell::default());
                pass.order.insert(0, (self.tracked_term(track), width));
                match (part, ahead) {
                    (TrackPart::Behind, None) => return Ok(Vec::new()),
                    (TrackPart::Behind, Some(_)) => {
                        pass.start = Some(within.unwrap_or(present));
                        pass.conditions.extend(position("<=")?);
                    }
                    (TrackPart::Ahead, Some(ahead)) => pass.start = Some(ahead),
                    (TrackPart::All, Some(_)) => pass.start = Some(within.unwrap_or(present)),
                    (TrackPart::All | TrackPart::Ahead, None) => pass.start = Some(present),
                }
                vec![pass]
            }
            Range::Large { bytes, columns } => {
                let mut pass = self.all();
                // Whatever a column is declared as, any value may be in it. Nothing of it is read to know its length.
                let sizes =
                    columns.iter().map(|index| format!("COALESCE(octet_length({}), 0)", self.expression(*index)));
                let Some(size) = sum(sizes.collect()) else { return Ok(Vec::new()) };
                pass.conditions.push(Sql::plain(format!("{size} > {bytes}")));
                pass.least = usize::try_from(*bytes).unwrap_or(usize::MAX);
                vec![pass]
            }
            Range::Keys => vec![self.keys()],
            Range::KeysWithoutTrack { .. } => {
                let mut pass = self.keys();
                pass.output(Sql::plain("0"), Cell::default());
                pass.conditions.push(Sql::plain(format!("{} IS NULL", self.tracked()?.expression)));
                vec![pass]
            }
            Range::Lookup { keys } => {
                let many = (most / self.replica.key.len().max(1)).max(1);
                keys.chunks(many).map(|keys| self.lookup(keys)).collect::<Result<_>>()?
            }
        })
    }

    /// The SELECT of the greatest (track value, key) that doesn't lie in the future, and its width; `None` when nothing is
    /// tracked.
    pub fn high_water(&self) -> Option<(Sql, usize)> {
        let track = self.track.as_ref()?;
        let mut pass = self.keys();
        let width = pass.outputs.len();
        pass.output(Sql::plain(track.expression.clone()), Cell::default());
        pass.conditions.push(Sql::plain(format!("{} IS NOT NULL", track.expression)));
        pass.conditions.push(Sql::plain(track.not_in_future()));
        pass.order.insert(0, (self.tracked_term(track), width));
        for (term, _) in &mut pass.order {
            term.collation.push_str(" DESC");
        }
        Some((pass.page(&Mark::Start, 1), width + 1))
    }

    fn tracked(&self) -> Result<&Track> {
        self.track.as_ref().ok_or_else(|| {
            Error::new(Kind::Internal, format!("Table '{}' isn't tracked by columns", self.replica.target))
        })
    }

    fn pass(&self) -> Pass {
        // A line end, so that a comment at the condition's end hides nothing of ours.
        let conditions = self.replica.filter.iter().map(|filter| Sql::plain(format!("({filter}\n)"))).collect();
        let relation = quote(&self.replica.source.name.name);
        Pass { cells: Vec::new(), outputs: Vec::new(), relation, start: None, conditions, order: Vec::new(), least: 1 }
    }

    /// The pass over every row, in the order of the key.
    fn all(&self) -> Pass {
        let mut pass = self.pass();
        for index in 0..self.replica.columns.len() {
            pass.output(Sql::plain(self.expression(index)), self.cell(index));
        }
        pass.order = self.terms().into_iter().zip(self.replica.key.iter().copied()).collect();
        pass
    }

    /// The pass over every key, in its order.
    fn keys(&self) -> Pass {
        let mut pass = self.pass();
        for (place, (index, term)) in self.replica.key.iter().zip(self.terms()).enumerate() {
            pass.output(Sql::plain(self.expression(*index)), self.cell(*index));
            pass.order.push((term, place));
        }
        pass
    }

    fn lookup(&self, keys: &[Key]) -> Result<Pass> {
        let mut pass = self.all();
        let names = match self.terms().as_slice() {
            [term] => vec![Sql::plain(term.sql())],
            // In a row it would keep SQLite from the index. What is found beyond the keys does no harm.
            terms => terms.iter().map(|term| Sql::plain(term.expression.clone())).collect(),
        };
        let rows = keys.iter().map(|key| Ok(Sql::row(self.checked(key)?.iter().map(parameter).collect())));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let list = if self.replica.key.len() == 1 { " IN (" } else { " IN (VALUES " };
        pass.conditions.push(Sql::row(names).text(list).then(Sql::join(rows, ", ")).text(")"));
        Ok(pass)
    }

    fn expression(&self, index: usize) -> String {
        if let Some(computed) = self.replica.computed(index) {
            return computed;
        }
        column(self.replica, &self.replica.source.columns[self.replica.columns[index].source].name)
    }

    /// The track value as rows are ordered by it. Where the key's collations are named, so is this one's: some versions take a
    /// row's first value by the collation of a later one.
    fn tracked_term(&self, track: &Track) -> Term {
        let is_named = self.replica.source.key_collations.as_ref().is_some_and(|names| !names.is_empty());
        let collation = if is_named { " COLLATE BINARY" } else { "" };
        Term { expression: track.expression.clone(), collation: collation.to_owned() }
    }

    /// The key's columns as rows are ordered by them.
    fn terms(&self) -> Vec<Term> {
        let mut collations = self.replica.source.key_collations.iter().flatten();
        let terms = self.replica.key.iter().map(|index| {
            let collation = collations.next().map_or_else(String::new, |name| format!(" COLLATE {name}"));
            Term { expression: self.expression(*index), collation }
        });
        terms.collect()
    }

    fn cell(&self, index: usize) -> Cell {
        let column = &self.replica.source.columns[self.replica.columns[index].source];
        let sqlite = self.replica.columns[index].sqlite;
        let natural = mapping::map(&column.kind, &column.declared, None).is_ok_and(|natural| natural == sqlite);
        Cell {
            converted: (!natural).then_some(sqlite),
            key: self.replica.key.contains(&index).then(|| column.name.clone()),
        }
    }

    fn checked<'k>(&self, key: &'k Key) -> Result<&'k Key> {
        if key.len() == self.replica.key.len() {
            return Ok(key);
        }
        Err(Error::new(
            Kind::SourceRead,
            format!("The saved position of table '{}' has another key", self.replica.target),
        )
        .because("reset the table's sync state"))
    }

    fn after_key(&self, key: &Key) -> Result<Sql> {
        Ok(compared(&self.terms().iter().zip(self.checked(key)?).collect::<Vec<_>>(), ">"))
    }

    /// The condition that a row lies on one side of `position`.
    fn beside(&self, track: &Track, position: &Position, operator: &str) -> Result<Sql> {
        let terms: Vec<Term> = std::iter::once(self.tracked_term(track)).chain(self.terms()).collect();
        let values = std::iter::once(&position.track).chain(self.checked(&position.key)?);
        Ok(compared(&terms.iter().zip(values).collect::<Vec<_>>(), operator))
    }
}

impl Pass {
    fn output(&mut self, expression: Sql, cell: Cell) {
        self.outputs.push(expression);
        self.cells.push(cell);
    }
}

/// Rows compare as SQLite's row values, which range over an index.
fn compared(values: &[(&Term, &Value)], operator: &str) -> Sql {
    let names = values.iter().map(|(term, _)| Sql::plain(term.expression.clone())).collect();
    // Beside the value: beside the column, a row would find no place in the index.
    let values = values.iter().map(|(term, value)| parameter(value).text(&term.collation)).collect();
    Sql::row(names).text(&format!(" {operator} ")).then(Sql::row(values))
}

/// The index that makes finding `replica`'s changes fast, when it lacks one and is large.
pub fn missing_index(replica: &Replica) -> Option<String> {
    let source = &replica.source;
    let tracked = unindexed_track(replica)?;
    let mut collations = source.key_collations.iter().flatten();
    let key = replica.key.iter().map(|index| {
        let collation = collations.next().map_or_else(String::new, |name| format!(" COLLATE {name}"));
        (&source.columns[replica.columns[*index].source], collation)
    });
    // The number of a row is part of every index.
    let key = key.filter(|(column, _)| column.name != *tracked && column.declared != "INTEGER");
    let key = key.map(|(column, collation)| format!("{}{collation}", quote(&column.name)));
    let parts: Vec<_> = std::iter::once(quote(tracked)).chain(key).collect();
    let name = format!("{}_{tracked}", source.name.name);
    Some(format!("CREATE INDEX {} ON {} ({})", quote(&name), quote(&source.name.name), parts.join(", ")))
}
