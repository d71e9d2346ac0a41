//! Statements about a replica's table in SQLite's SQL, whatever runs them.

use super::{Ddl, Lane};
use crate::error::{Error, Kind, Result};
use crate::mapping::SqliteType;
use crate::replica::Replica;

/// The column that says when a row left the source.
pub(super) const DELETED_AT: &str = "_deleted_at";

/// `name` as SQL spells it, whatever characters it has.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The expressions that `write` makes for each of `items`, with `separator` between them.
pub(super) fn join<T>(items: impl IntoIterator<Item = T>, separator: &str, write: impl Fn(T) -> String) -> String {
    items.into_iter().map(write).collect::<Vec<_>>().join(separator)
}

/// `columns` as a list of quoted names, each behind `prefix` (such as `t.`).
pub(super) fn names<'a>(prefix: &str, columns: impl IntoIterator<Item = &'a str>) -> String {
    join(columns, ", ", |name| format!("{prefix}{}", quote(name)))
}

/// The names of the replica's columns.
pub(super) fn columns(replica: &Replica) -> impl Iterator<Item = &str> + Clone {
    replica.columns.iter().map(|column| column.name.as_str())
}

/// The names of the replica's key columns.
pub(super) fn key(replica: &Replica) -> impl Iterator<Item = &str> + Clone {
    replica.key.iter().map(|&column| replica.columns[column].name.as_str())
}

/// The name of the table that `begin_aside` makes.
pub(super) fn aside(replica: &Replica) -> String {
    format!("tmp_data_sync_new_{}", replica.target)
}

/// The moment now, as marks say it.
pub(super) const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

/// The statements of one step.
pub(super) fn statements(replica: &Replica, step: &Ddl) -> Vec<String> {
    let table = quote(&replica.target);
    let add = |name: &str, kind: &str| format!("ALTER TABLE {table} ADD COLUMN {} {kind}", quote(name));
    match step {
        Ddl::Create => vec![create(replica, &replica.target)],
        Ddl::AddColumns(added) => added
            .iter()
            .map(|&column| add(&replica.columns[column].name, replica.columns[column].sqlite.name()))
            .collect(),
        Ddl::AddDeletedAt => vec![add(DELETED_AT, "TEXT")],
        // The index is for comparing keys.
        Ddl::IndexMissingTrack if replica.key.is_empty() => Vec::new(),
        Ddl::IndexMissingTrack => {
            let index = quote(&format!("tmp_data_sync_null_{}", replica.target));
            let keys = names("", key(replica));
            vec![format!(
                "CREATE INDEX IF NOT EXISTS {index} ON {table} ({keys}) WHERE {}",
                lacks_track(replica, "").unwrap_or_else(|| "0".to_owned())
            )]
        }
    }
}

/// The statement that creates the replica's table under the name `table`.
pub(super) fn create(replica: &Replica, table: &str) -> String {
    let mut parts: Vec<String> = replica
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let required = if replica.key.contains(&index) { " NOT NULL" } else { "" };
            format!("{} {}{required}", quote(&column.name), column.sqlite.name())
        })
        .collect();
    if replica.soft_delete {
        parts.push(format!("{} TEXT", quote(DELETED_AT)));
    }
    if !replica.key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", names("", key(replica))));
    }
    format!("CREATE TABLE {} ({})", quote(table), parts.join(", "))
}

/// Refuses what has no room in `place`, whose tables have at most `most` columns, before anything is done.
pub(super) fn check_width(replica: &Replica, most: usize, place: &str) -> Result<()> {
    let width = replica.columns.len() + usize::from(replica.soft_delete);
    if width <= most {
        return Ok(());
    }
    Err(Error::new(Kind::Schema, format!("Failed to create table '{}'", replica.target)).because(format!(
        "it has {width} columns and {place} takes at most {most}: leave some out with exclude_columns"
    )))
}

/// The SELECT of how many rows have no track value; `None` where all have one.
pub(super) fn null_tracked(replica: &Replica) -> Option<String> {
    let lacks = lacks_track(replica, "").filter(|_| replica.may_lack_track())?;
    let live = if replica.soft_delete { format!(" AND {} IS NULL", quote(DELETED_AT)) } else { String::new() };
    Some(format!("SELECT count(*) FROM main.{} WHERE {lacks}{live}", quote(&replica.target)))
}

/// The condition for a row without a track value; `None` when rows aren't tracked by columns.
pub(super) fn lacks_track(replica: &Replica, prefix: &str) -> Option<String> {
    let columns = replica.track_columns();
    (!columns.is_empty())
        .then(|| join(columns, " AND ", |column| format!("{prefix}{} IS NULL", quote(&replica.columns[column].name))))
}

/// One column as SQLite describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    /// Its name.
    pub(super) name: String,
    /// Its declared type.
    pub(super) declared: String,
    /// Its place in the key from 1 on; 0 outside.
    pub(super) key: i64,
}

/// Whether a table of this shape has a column of ours for marks; a column that the source calls so is none.
pub(super) fn has_marks(replica: &Replica, shape: &[Shape]) -> bool {
    let ours = |name: &str| name.eq_ignore_ascii_case(DELETED_AT);
    !columns(replica).any(ours) && shape.iter().any(|column| ours(&column.name))
}

/// What happens to a row that is there; `None` when there is nothing about it that could change. With `marks` it loses
/// its mark as deleted. Its columns stand behind `stored`.
pub(super) fn on_conflict(replica: &Replica, marks: bool, stored: &str) -> Option<String> {
    let mark = quote(DELETED_AT);
    let rest: Vec<(&str, SqliteType)> = (0..replica.columns.len())
        .filter(|column| !replica.key.contains(column))
        .map(|column| (replica.columns[column].name.as_str(), replica.columns[column].sqlite))
        .collect();
    let mut sets: Vec<String> = rest.iter().map(|(name, _)| format!("{0} = excluded.{0}", quote(name))).collect();
    let mut differs = Vec::new();
    if !rest.is_empty() {
        differs.push(differ(&rest, stored, "excluded."));
    }
    if marks {
        sets.push(format!("{mark} = NULL"));
        differs.push(format!("{stored}{mark} IS NOT NULL"));
    }
    (!sets.is_empty()).then(|| format!("SET {} WHERE {}", sets.join(", "), differs.join(" OR ")))
}

/// The condition that two rows differ in any of `columns`. Compared as one row value: an `OR` of each would be deeper
/// than SQLite takes in a wide table. In a column without affinity, 1 and 1.0 are different values that compare as equal.
pub(super) fn differ(columns: &[(&str, SqliteType)], left: &str, right: &str) -> String {
    let list = |prefix: &str| {
        let values = columns.iter().map(|(name, _)| format!("{prefix}{}", quote(name)));
        let classes = columns.iter().filter(|(_, sqlite)| *sqlite == SqliteType::Blob);
        let classes = classes.map(|(name, _)| format!("typeof({prefix}{})", quote(name)));
        values.chain(classes).collect::<Vec<_>>().join(", ")
    };
    format!("({}) IS NOT ({})", list(left), list(right))
}

/// The condition that the row of the target whose columns stand behind `prefix` (such as `t.`) is in `lane`.
pub(super) fn in_lane(replica: &Replica, lane: Lane, prefix: &str) -> String {
    let mut terms = Vec::new();
    if lane == Lane::WithoutTrack {
        terms.push(lacks_track(replica, prefix).unwrap_or_else(|| "0".to_owned()));
    }
    if replica.soft_delete {
        terms.push(format!("{prefix}{} IS NULL", quote(DELETED_AT)));
    }
    if terms.is_empty() { "1".to_owned() } else { terms.join(" AND ") }
}
