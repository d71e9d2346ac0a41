//! The plan for one table: which columns of the source go where in the target, and how its changes are found.

use crate::mapping::SqliteType;
use crate::schema::{SourceType, Table};

/// One column of the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaColumn {
    /// Its index in `Replica::source.columns`.
    pub source: usize,
    /// Its name in the target.
    pub name: String,
    /// Its type in the target.
    pub sqlite: SqliteType,
}

/// How changes of a table are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Track {
    /// They are not: every run reads the whole table.
    Whole,
    /// By the first of these columns (indexes into `Replica::source.columns`) that is not NULL.
    Columns(Vec<usize>),
    /// By the source's own record of which transaction wrote a row (PostgreSQL's `xmin`).
    Transaction,
}

/// The plan for one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The table at the source.
    pub source: Table,
    /// The name users know it by in options, logs, events and status: the target's table.
    pub target: String,
    /// The columns that are copied, in the target's order.
    pub columns: Vec<ReplicaColumn>,
    /// The key: indexes into `columns`, in the key's order; empty when the table has none.
    pub key: Vec<usize>,
    /// How changes are found.
    pub track: Track,
    /// The user's condition on the source's rows, as SQL of the source.
    pub filter: Option<String>,
    /// Whether deleted rows stay and get a `_deleted_at`.
    pub soft_delete: bool,
    /// Whether `0000-00-00` becomes NULL; never in a key.
    pub null_zero_dates: bool,
    /// Whether columns that the source's table gets later are copied too.
    pub takes_new_columns: bool,
}

impl Replica {
    /// What the values of column `column` (an index into `columns`) are at the source.
    pub fn kind(&self, column: usize) -> &SourceType {
        &self.source.columns[self.columns[column].source].kind
    }

    /// Column `column` (an index into `columns`) as the source computes it, in parentheses; `None` for one of the table's own.
    pub fn computed(&self, column: usize) -> Option<String> {
        let expression = self.source.columns[self.columns[column].source].expression.as_ref()?;
        // A line end, so that a comment at its end hides nothing of ours.
        Some(format!("({expression}\n)"))
    }

    /// Those of `columns` (indexes into `columns`) whose values may be long; none when all of them together take at most `most`
    /// bytes, by what `longest` says of a declared type.
    pub fn long_columns(&self, columns: &[usize], most: u64, longest: impl Fn(&str) -> Option<u64>) -> Vec<usize> {
        let long: Vec<_> = columns.iter().copied().filter(|index| self.kind(*index).is_long()).collect();
        let sizes = long.iter().map(|index| {
            let column = &self.source.columns[self.columns[*index].source];
            if column.expression.is_some() { None } else { longest(&column.declared) }
        });
        if sizes.sum::<Option<u64>>().is_some_and(|together| together <= most) { Vec::new() } else { long }
    }

    /// The columns of the replica that hold the track value, in the order of precedence; empty unless tracked by
    /// columns. Validation makes sure that tracked columns are copied.
    pub fn track_columns(&self) -> Vec<usize> {
        match &self.track {
            Track::Columns(sources) => sources
                .iter()
                .filter_map(|source| self.columns.iter().position(|column| column.source == *source))
                .collect(),
            Track::Whole | Track::Transaction => Vec::new(),
        }
    }

    /// Whether the track value tells a time.
    pub fn tracks_time(&self) -> bool {
        let tells_time = |source: &usize| {
            matches!(self.source.columns[*source].kind, SourceType::Timestamp { .. } | SourceType::Date)
        };
        matches!(&self.track, Track::Columns(sources) if sources.iter().all(tells_time))
    }

    /// Whether some row may have no track value at all, so that the NULL lane has to look.
    pub fn may_lack_track(&self) -> bool {
        match &self.track {
            Track::Columns(sources) => sources.iter().all(|source| self.source.columns[*source].nullable),
            Track::Whole | Track::Transaction => false,
        }
    }
}
