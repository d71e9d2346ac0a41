//! The statements that put a table aside in another one's place, whatever runs them.

use super::sql::{self, DELETED_AT, Shape, differ, join, quote};
use super::{Changes, Leftover, TableState};
use crate::mapping::SqliteType;
use crate::replica::Replica;

/// What the user put on the table `?1`: kind, name and statement.
pub(super) const USER_OBJECTS: &str = "SELECT type AS c0, name AS c1, sql AS c2 FROM main.sqlite_schema
  WHERE tbl_name = ?1 COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL
  AND substr(name, 1, 14) <> 'tmp_data_sync_'";

/// What is said of one of them that doesn't fit the new table.
pub(super) fn lost(kind: &str, name: &str, cause: &str) -> String {
    format!("the {kind} '{name}': {cause}")
}

/// A swap, as both tables are just before it.
pub(super) struct Swap<'a> {
    replica: &'a Replica,
    /// The two tables as SQL names them.
    old: String,
    new: String,
    /// The old table's columns; empty when there is no old table.
    old_shape: Vec<Shape>,
    /// The new table's columns.
    new_shape: Vec<Shape>,
    /// Whether rows of both can be told to be the same row.
    same_key: bool,
    /// Whether the old table marks rows as deleted.
    old_marks: bool,
    /// Whether rows that only the old table has stay and are marked, and which columns take nothing over; `None` when they go.
    stays: Option<(bool, &'a [String])>,
    /// The most columns of an answer.
    most_columns: usize,
}

impl<'a> Swap<'a> {
    pub(super) fn new(
        replica: &'a Replica,
        old_shape: Vec<Shape>,
        new_shape: Vec<Shape>,
        leftover: &'a Leftover,
        most_columns: usize,
    ) -> Self {
        let mut old_key: Vec<&Shape> = old_shape.iter().filter(|column| column.key > 0).collect();
        old_key.sort_by_key(|column| column.key);
        let same_key = !replica.key.is_empty()
            && *leftover != Leftover::Unknown
            && old_key.iter().map(|column| column.name.as_str()).eq(sql::key(replica));
        let stays = match leftover {
            Leftover::Stays { marked, cleared } if same_key => Some((*marked, cleared.as_slice())),
            _ => None,
        };
        Self {
            old: format!("main.{}", quote(&replica.target)),
            new: format!("main.{}", quote(&sql::aside(replica))),
            old_marks: sql::has_marks(replica, &old_shape),
            stays,
            same_key,
            old_shape,
            new_shape,
            replica,
            most_columns,
        }
    }

    fn has(shape: &[Shape], name: &str) -> bool {
        shape.iter().any(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether the old table can stay, `changes` being what differs.
    pub(super) fn is_needless(&self, changes: Changes) -> bool {
        let clears = self.stays.is_some_and(|(_, cleared)| !cleared.is_empty());
        self.same_columns() && changes == Changes::default() && !clears
    }

    /// Whether both tables have the same columns.
    fn same_columns(&self) -> bool {
        let sorted = |shape: &[Shape]| {
            let mut shape = shape.to_vec();
            shape.sort();
            shape
        };
        sorted(&self.old_shape) == sorted(&self.new_shape)
    }

    /// The condition that `o` of the old and `n` of the new table have one key.
    fn on_key(&self) -> String {
        join(sql::key(self.replica), " AND ", |name| format!("o.{0} = n.{0}", quote(name)))
    }

    /// Columns of both tables, without the key and our mark.
    fn common(&self) -> Vec<&str> {
        self.new_shape
            .iter()
            .filter(|column| column.key == 0 && Self::has(&self.old_shape, &column.name))
            .map(|column| column.name.as_str())
            .filter(|name| !(self.old_marks && name.eq_ignore_ascii_case(DELETED_AT)))
            .collect()
    }

    /// Give the new table those columns of the old one that the source dropped earlier.
    pub(super) fn keep_dropped_columns(&self, state: &TableState) -> Vec<String> {
        let mut statements = Vec::new();
        for column in self.old_shape.iter().filter(|column| !Self::has(&self.new_shape, &column.name)) {
            if !state.columns.iter().any(|stored| !stored.present && stored.target == column.name) {
                continue;
            }
            let name = quote(&column.name);
            statements.push(format!("ALTER TABLE {} ADD COLUMN {name} {}", self.new, column.declared));
            if self.same_key {
                statements.push(format!(
                    "UPDATE {} AS n SET {name} = o.{name} FROM {} AS o WHERE {}",
                    self.new,
                    self.old,
                    self.on_key()
                ));
            }
        }
        statements
    }

    /// The SELECT of how many rows would be inserted, updated and deleted.
    pub(super) fn differences(&self) -> String {
        let (old, new) = (&self.old, &self.new);
        let [inserted, updated, deleted] = if self.old_shape.is_empty() {
            [format!("SELECT count(*) FROM {new}"), "0".to_owned(), "0".to_owned()]
        } else if self.same_key {
            let on_key = self.on_key();
            let deleted = if matches!(self.stays, Some((false, _))) { "0".to_owned() } else { self.missing() };
            [
                format!("SELECT count(*) FROM {new} AS n WHERE NOT EXISTS (SELECT 1 FROM {old} AS o WHERE {on_key})"),
                format!("SELECT count(*) FROM {new} AS n JOIN {old} AS o ON {on_key} WHERE {}", self.changed()),
                deleted,
            ]
        } else if self.same_columns() && self.new_shape.len() < self.most_columns {
            return self.difference_without_key();
        } else {
            [format!("SELECT count(*) FROM {new}"), "0".to_owned(), format!("SELECT count(*) FROM {old}")]
        };
        format!("SELECT ({inserted}) AS c0, ({updated}) AS c1, ({deleted}) AS c2")
    }

    /// The condition that a row of the old table is not marked as deleted.
    fn live(&self) -> String {
        if self.old_marks { format!("o.{} IS NULL", quote(DELETED_AT)) } else { "true".to_owned() }
    }

    /// The SELECT of how many rows only the old table has.
    fn missing(&self) -> String {
        let (old, new, live, on_key) = (&self.old, &self.new, self.live(), self.on_key());
        format!("SELECT count(*) FROM {old} AS o WHERE {live} AND NOT EXISTS (SELECT 1 FROM {new} AS n WHERE {on_key})")
    }

    /// The SELECT of how many rows the old table would lose, and how many it has.
    pub(super) fn losses(&self) -> String {
        let present = format!("SELECT count(*) FROM {} AS o WHERE {}", self.old, self.live());
        let lost = match self.stays {
            Some((false, _)) => "0".to_owned(),
            _ if self.same_key => self.missing(),
            // One for one, as far as anybody can tell.
            _ => format!("SELECT max(0, ({present}) - (SELECT count(*) FROM {}))", self.new),
        };
        format!("SELECT ({lost}) AS c0, ({present}) AS c1")
    }

    /// The condition that a row with the same key differs.
    fn changed(&self) -> String {
        let typed = |name: &str| {
            let shape = self.new_shape.iter().find(|column| column.name == name);
            shape.and_then(|column| SqliteType::parse(&column.declared)).unwrap_or(SqliteType::Blob)
        };
        let common: Vec<_> = self.common().into_iter().map(|name| (name, typed(name))).collect();
        let mut terms = Vec::new();
        if !common.is_empty() {
            terms.push(differ(&common, "n.", "o."));
        }
        if self.old_marks {
            terms.push(format!("o.{} IS NOT NULL", quote(DELETED_AT)));
        }
        let added: Vec<&str> = self
            .new_shape
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !Self::has(&self.old_shape, name) && *name != DELETED_AT)
            .collect();
        if !added.is_empty() {
            let nulls = vec!["NULL"; added.len()].join(", ");
            terms.push(format!("({}) IS NOT ({nulls})", sql::names("n.", added)));
        }
        if terms.is_empty() { "0".to_owned() } else { terms.join(" OR ") }
    }

    /// Rows of tables without a key can only be counted: a row that is there twice must be there twice again.
    fn difference_without_key(&self) -> String {
        let columns = sql::names("", self.new_shape.iter().map(|column| column.name.as_str()));
        let labels = join(0..self.new_shape.len(), ", ", |index| format!("c{index}"));
        format!(
            "WITH sides({labels}, side) AS (SELECT {columns}, 1 FROM {} UNION ALL SELECT {columns}, -1 FROM {})
             SELECT coalesce(sum(max(surplus, 0)), 0) AS c0, 0 AS c1, coalesce(sum(max(-surplus, 0)), 0) AS c2
             FROM (SELECT sum(side) AS surplus FROM sides GROUP BY {labels})",
            self.new, self.old
        )
    }

    /// Rows that left the source stay; those that are to be marked with the mark they have, or one of now. `None` where they go.
    pub(super) fn take_over(&self) -> Option<String> {
        let (marked, cleared) = self.stays?;
        let kept = |name: &&str| !cleared.iter().any(|cleared| cleared == name);
        let columns: Vec<&str> = sql::key(self.replica).chain(self.common().into_iter().filter(kept)).collect();
        let (mark, now) = (quote(DELETED_AT), sql::NOW);
        // Where nothing is marked any more, a row that was comes back to nobody.
        let live = if marked { "true".to_owned() } else { self.live() };
        let (mark, marked) = match (marked, self.old_marks) {
            (false, _) => (String::new(), String::new()),
            (true, true) => (format!(", {mark}"), format!(", coalesce(o.{mark}, {now})")),
            (true, false) => (format!(", {mark}"), format!(", {now}")),
        };
        Some(format!(
            "INSERT INTO {new} ({}{mark}) SELECT {}{marked} FROM {} AS o
             WHERE {live} AND NOT EXISTS (SELECT 1 FROM {new} AS n WHERE {})",
            sql::names("", columns.iter().copied()),
            sql::names("o.", columns.iter().copied()),
            self.old,
            self.on_key(),
            new = self.new
        ))
    }

    /// Drops the new table.
    pub(super) fn give_up(&self) -> String {
        format!("DROP TABLE IF EXISTS {}", self.new)
    }

    /// Gives the new table the old one's name, which must be free.
    pub(super) fn rename(&self) -> String {
        format!("ALTER TABLE {} RENAME TO {}", self.new, quote(&self.replica.target))
    }
}
