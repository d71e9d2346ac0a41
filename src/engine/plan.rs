//! From what the source says of a table and what the user wants to the plan for it: columns, names, key, mode.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use crate::batch::hex;
use crate::config::{Deletes, Options, SchemaDrift, TableOptions, ZeroDates};
use crate::error::{Error, Kind, Result};
use crate::event::{Level, Mode};
use crate::mapping::mask::Mask;
use crate::mapping::{self, SqliteType};
use crate::replica::{Replica, ReplicaColumn, Track};
use crate::schema::{KnownColumn, Relation, SourceType, Table};
use crate::target::{StoredColumn, TableState};

use super::drift;
use super::naming::{self, Wish};

/// PostgreSQL's hidden column that a user names to track by transaction.
pub const TRANSACTION_COLUMN: &str = "xmin";

/// The most columns that a table of any source has: SQLite's, where it is built for as many as it can be.
const MOST_SOURCE_COLUMNS: usize = 32_767;

/// What follows a masked column's declared type in the state, before the mask.
const MASKED_BY: &str = ", masked by ";

/// The column soft deletes add.
pub const DELETED_AT: &str = "_deleted_at";

/// The plan for one table, with what the log should say about it.
#[derive(Debug)]
pub struct Plan {
    /// What goes where.
    pub replica: Replica,
    /// How it is synced.
    pub mode: Mode,
    /// What happens to rows that left the source.
    pub deletes: Deletes,
    /// What the positions depend on besides columns and key.
    pub signature: String,
    /// Rows per batch.
    pub batch_size: usize,
    /// Columns (indexes into `Replica::source.columns`) whose values are masked before they go on.
    masks: Vec<(usize, Mask)>,
    /// Lines for the log, true of every run.
    pub hints: Vec<(Level, String)>,
}

/// Makes the plan for `table`, which becomes `target` in the target.
///
/// # Errors
/// `SCHEMA` when the user's wishes don't fit the table, `TYPE_MAP` when a type override is impossible.
pub fn plan(
    mut table: Table,
    target: String,
    wishes: &TableOptions,
    options: &Options,
    state: Option<&TableState>,
) -> Result<Plan> {
    check_columns(&table, &target)?;
    let mut hints = Vec::new();
    let selected = select_columns(&table, &target, wishes, options)?;
    let key_names = match &wishes.primary_key {
        Some(key) => {
            require_columns(&table, &target, "primary_key", key)?;
            key.clone()
        }
        None => table.key.clone(),
    };
    if key_names != table.key {
        // By their bytes, values differ that differ in any collation.
        table.key_collations = table.key_collations.map(|_| vec!["BINARY".to_owned(); key_names.len()]);
    }
    require_selected(&table, &target, &selected, "key", &key_names)?;
    let frozen_out = frozen_out(&table, &selected, options, state);
    let kept: Vec<usize> = selected.iter().copied().filter(|column| !frozen_out.contains(column)).collect();
    let shape = Shape { table: &table, target: &target, selected: &kept, has_key: !key_names.is_empty() };
    let (mode, track) = choose_mode(&shape, wishes, options, &mut hints)?;
    if let Track::Columns(columns) = &track {
        let names: Vec<String> = columns.iter().map(|&column| table.columns[column].name.clone()).collect();
        require_selected(&table, &target, &selected, "track", &names)?;
        if let Some(&column) = columns.iter().find(|&column| frozen_out.contains(column)) {
            let name = &table.columns[column].name;
            return Err(Error::new(Kind::Schema, format!("Table '{target}' can't be tracked by '{name}'"))
                .because("the column is new and schema_drift 'freeze' leaves it out: use 'evolve', or reset the table")
                .in_table(&target));
        }
    }
    let deletes = wishes.deletes.or(options.deletes).unwrap_or(match mode {
        Mode::Full => Deletes::Hard,
        Mode::Incremental | Mode::Append => Deletes::None,
    });
    let soft_delete = deletes == Deletes::Soft;
    let columns = map_columns(&table, &target, &selected, soft_delete, wishes, options, state)?;
    let key = key_names
        .iter()
        .filter_map(|name| columns.iter().position(|column| table.columns[column.source].name == *name))
        .collect::<Vec<_>>();
    for &part in &key {
        let column = &table.columns[columns[part].source];
        if columns[part].sqlite == mapping::SqliteType::Real
            && !matches!(column.kind, SourceType::Float32 | SourceType::Float64 | SourceType::Decimal { .. })
        {
            return Err(Error::new(
                Kind::TypeMap,
                format!("Cannot map external type '{}' to SQLite type", column.type_name),
            )
            .because(format!("'{}' is a key column, and REAL can't tell all its values apart", column.name))
            .in_table(&target));
        }
    }
    if mode == Mode::Full && key.is_empty() {
        hints.push((
            Level::Info,
            format!("Table {target} has no key: each run reads it whole and swaps it in; name one with primary_key"),
        ));
        if table.is_large() && wishes.mode.is_none() {
            let hint = format!("Table {target} is large and is read whole every run; name a key with primary_key");
            hints.push((Level::Warn, hint));
        }
    }
    if table.numbered && wishes.primary_key.is_none() {
        hints.push((
            Level::Info,
            format!(
                "Table {target} has no key: its rows are told apart by the numbers that SQLite gives them, which a VACUUM at \
                 the source may change; name a key with primary_key, or reset the table after one"
            ),
        ));
    }
    let masks = masks(&table, &target, &columns, &key, &track, wishes)?;
    let signature = signature(&table, &track, wishes, options);
    let replica = Replica {
        source: table,
        target,
        columns,
        key,
        track,
        filter: wishes.filter.clone(),
        soft_delete,
        null_zero_dates: options.zero_dates == ZeroDates::Null,
        takes_new_columns: wishes.columns.is_none(),
    };
    let batch_size = wishes.batch_size.unwrap_or(options.batch_size);
    Ok(Plan { replica, mode, deletes, signature, batch_size, masks, hints })
}

/// Which columns are masked. A position and the keys that rows are found by are what the source says, so those columns can't be.
fn masks(
    table: &Table,
    target: &str,
    columns: &[ReplicaColumn],
    key: &[usize],
    track: &Track,
    wishes: &TableOptions,
) -> Result<Vec<(usize, Mask)>> {
    // What grows with its rows may get the column yet.
    if !wishes.name.contains('*') && !table.grows {
        let names: Vec<String> = wishes.masks.keys().cloned().collect();
        require_columns(table, target, "mask", &names)?;
    }
    let whole = columns.iter().map(|column| &table.columns[column.source]).find(|column| column.on_request);
    if let Some(column) = whole.filter(|_| !wishes.masks.is_empty()) {
        let refused = format!("The column '{}' of table '{target}' would show what mask hides", column.name);
        return Err(Error::new(Kind::Schema, refused)
            .because("it holds whole rows: leave it out of columns, or leave mask out")
            .in_table(target));
    }
    let mut masks = Vec::new();
    for (name, &mask) in &wishes.masks {
        let Some(index) = columns.iter().position(|column| table.columns[column.source].name == *name) else {
            continue;
        };
        let tracked = matches!(track, Track::Columns(tracked) if tracked.contains(&columns[index].source));
        if key.contains(&index) || tracked {
            let what = if tracked { "track" } else { "key" };
            return Err(Error::new(Kind::Schema, format!("The {what} column '{name}' of table '{target}' can't be masked"))
                .because("its values are what rows are found by: leave it out of mask, or name another with track_column or primary_key")
                .in_table(target));
        }
        masks.push((columns[index].source, mask));
    }
    Ok(masks)
}

/// What the rows and positions of a table depend on besides its columns and key.
fn signature(table: &Table, track: &Track, wishes: &TableOptions, options: &Options) -> String {
    let mut signature = serde_json::json!({
        "track": match track {
            Track::Whole => Vec::new(),
            Track::Transaction => vec![TRANSACTION_COLUMN.to_owned()],
            Track::Columns(columns) => columns.iter().map(|&column| table.columns[column].name.clone()).collect(),
        },
        "where": wishes.filter,
    });
    // A column that joins a growing table is taken for new in every row, which is wrong of one that was left out before.
    if table.grows {
        signature["left_out"] = serde_json::json!({
            "columns": wishes.columns,
            "exclude_columns": wishes.exclude_columns,
            "frozen": options.schema_drift == SchemaDrift::Freeze,
        });
    }
    // Rows that were read with another wish have the other form.
    if options.zero_dates == ZeroDates::Null {
        signature["zero_dates"] = "null".into();
    }
    signature.to_string()
}

/// Those of the chosen columns that a frozen schema leaves out, because they came later.
fn frozen_out(table: &Table, selected: &[usize], options: &Options, state: Option<&TableState>) -> Vec<usize> {
    let is_frozen = |state: &&TableState| drift::policy_of(state, options.schema_drift) == SchemaDrift::Freeze;
    let Some(state) = state.filter(is_frozen) else { return Vec::new() };
    let is_known =
        |column: usize| state.columns.iter().any(|known| known.present && known.source == table.columns[column].name);
    selected.iter().copied().filter(|&column| !is_known(column)).collect()
}

/// What earlier runs were told of a table's columns.
pub fn known_columns(state: Option<&TableState>) -> Vec<KnownColumn> {
    let columns = state.into_iter().flat_map(|state| &state.columns);
    let told = |declared: &str| declared.split(MASKED_BY).next().unwrap_or(declared).to_owned();
    columns.map(|column| KnownColumn { name: column.source.clone(), declared: told(&column.declared) }).collect()
}

impl Plan {
    /// The columns as the state remembers them, dropped ones of earlier runs included.
    pub fn stored_columns(&self, state: Option<&TableState>) -> Vec<StoredColumn> {
        let mut stored: Vec<StoredColumn> = self.replica.columns.iter().map(|column| self.stored(column)).collect();
        let gone = state
            .into_iter()
            .flat_map(|state| &state.columns)
            .filter(|old| stored.iter().all(|column| column.source != old.source));
        let gone: Vec<StoredColumn> = gone.map(|old| StoredColumn { present: false, ..old.clone() }).collect();
        stored.extend(gone);
        stored
    }

    /// One column as the state remembers it.
    pub fn stored(&self, column: &ReplicaColumn) -> StoredColumn {
        let source = &self.replica.source.columns[column.source];
        let mut declared = source.declared.clone();
        let mut spelling = mapping::spelling(&source.kind, column.sqlite, &source.declared);
        // Another mask or expression is another form: the rows of before are built anew.
        if let Some(mask) = self.mask_of(column) {
            declared = format!("{declared}{MASKED_BY}{}", mask.name());
            spelling = format!("masked by {}", mask.name());
        }
        if let Some(expression) = &source.expression {
            // Its text may hold what is not to be told, such as a salt.
            let told = hex(&Sha256::digest(expression)[..6]);
            let comma = if declared.is_empty() { "" } else { ", " };
            declared = format!("{declared}{comma}computed by {told}");
            spelling = format!("{spelling}, computed by {told}");
        }
        StoredColumn {
            source: source.name.clone(),
            target: column.name.clone(),
            declared,
            sqlite: column.sqlite,
            spelling,
            present: true,
        }
    }

    /// Whether its values are made of the source's: masked, or computed by an expression of the user's.
    pub fn is_made(&self, column: &ReplicaColumn) -> bool {
        self.mask_of(column).is_some() || self.replica.source.columns[column.source].expression.is_some()
    }

    fn mask_of(&self, column: &ReplicaColumn) -> Option<Mask> {
        self.masks.iter().find(|(source, _)| *source == column.source).map(|(_, mask)| *mask)
    }

    /// The places in a row that are masked.
    pub fn masked(&self) -> Vec<(usize, Mask)> {
        let columns = self.replica.columns.iter().enumerate();
        columns.filter_map(|(place, column)| Some((place, self.mask_of(column)?))).collect()
    }

    /// Refuses a table with more columns than the target has room for. One that grows stops being learnt of there, which is
    /// right only where new columns are not taken.
    ///
    /// # Errors
    /// `SCHEMA`.
    pub fn check_width(&self, policy: SchemaDrift, most: usize) -> Result<()> {
        let Replica { source, target, columns, takes_new_columns, soft_delete, .. } = &self.replica;
        let follows = source.grows && *takes_new_columns && policy != SchemaDrift::Freeze;
        let width = if follows { source.columns.len() } else { columns.len() };
        if width + usize::from(*soft_delete) <= most {
            return Ok(());
        }
        let whole = source.columns.iter().find(|column| column.on_request);
        let advice = whole.map_or_else(String::new, |column| {
            format!(", or whole rows in one column with columns: ['{}']", column.name)
        });
        Err(Error::new(Kind::Schema, format!("Table '{target}' has more than {most} columns"))
            .because(format!("the target has no room for them; name those to copy with columns{advice}"))
            .in_table(target))
    }

    /// The key's columns by their names in the target.
    pub fn key_names(&self) -> Vec<String> {
        self.replica.key.iter().map(|&column| self.replica.columns[column].name.clone()).collect()
    }
}

/// Refuses what no database says of its columns: what follows looks them up by their names, again and again.
fn check_columns(table: &Table, target: &str) -> Result<()> {
    let strange = |what: String| {
        Error::new(Kind::Schema, format!("Table '{target}' can't be described")).because(what).in_table(target)
    };
    if table.columns.len() > MOST_SOURCE_COLUMNS {
        return Err(strange(format!("the source says that it has {} columns", table.columns.len())));
    }
    let mut names = HashSet::with_capacity(table.columns.len());
    match table.columns.iter().find(|column| !names.insert(column.name.as_str())) {
        Some(column) => Err(strange(format!("the source says that it has two columns called '{}'", column.name))),
        None => Ok(()),
    }
}

fn require_columns(table: &Table, target: &str, option: &str, names: &[String]) -> Result<()> {
    let missing: Vec<&str> = names.iter().filter(|name| table.column(name).is_none()).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let there: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    Err(Error::new(Kind::Schema, format!("Table '{target}' has no column '{}'", missing.join("', '")))
        .because(format!("{option} names it; the columns are {}", there.join(", ")))
        .in_table(target))
}

fn require_selected(table: &Table, target: &str, selected: &[usize], what: &str, names: &[String]) -> Result<()> {
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| table.column(name).is_none_or(|column| !selected.contains(&column)))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Schema,
        format!("The columns chosen for table '{target}' leave out its {what} column '{}'", missing.join("', '")),
    )
    .because("add it to columns, or take it out of exclude_columns")
    .in_table(target))
}

fn select_columns(table: &Table, target: &str, wishes: &TableOptions, options: &Options) -> Result<Vec<usize>> {
    let is_pattern = wishes.name.contains('*');
    if let Some(columns) = &wishes.columns {
        require_columns(table, target, "columns", columns)?;
        // A column that stands for whole rows is asked for alone; what finds the rows again comes with it.
        let whole_rows = columns.iter().any(|name| table.column(name).is_some_and(|at| table.columns[at].on_request));
        let tracked = wishes.track_column.as_ref().or(options.track_column.as_ref());
        let found_by = |name: &String| match tracked {
            Some(names) => names.contains(name),
            None => name == "updated_at" || name == "created_at",
        };
        let chosen = |index: &usize| {
            let name = &table.columns[*index].name;
            table.columns[*index].expression.is_some()
                || columns.contains(name)
                || whole_rows && (table.key.contains(name) || found_by(name))
        };
        return Ok((0..table.columns.len()).filter(chosen).collect());
    }
    // What grows with its rows may get the column yet.
    if !is_pattern && !table.grows {
        require_columns(table, target, "exclude_columns", &wishes.exclude_columns)?;
    }
    let kept = |index: &usize| {
        let column = &table.columns[*index];
        column.expression.is_some() || !column.on_request && !wishes.exclude_columns.contains(&column.name)
    };
    Ok((0..table.columns.len()).filter(kept).collect())
}

fn map_columns(
    table: &Table,
    target: &str,
    selected: &[usize],
    soft_delete: bool,
    wishes: &TableOptions,
    options: &Options,
    state: Option<&TableState>,
) -> Result<Vec<ReplicaColumn>> {
    if !wishes.name.contains('*') {
        let names: Vec<String> = wishes.types.keys().cloned().collect();
        require_columns(table, target, "types", &names)?;
    }
    let stored: &[StoredColumn] = state.map_or(&[], |state| &state.columns);
    let known = |source: &str| stored.iter().find(|column| column.source == source);
    let column_wishes: Vec<Wish> = selected
        .iter()
        .map(|&index| {
            let name = &table.columns[index].name;
            Wish { full: name.clone(), plain: name.clone(), fixed: known(name).map(|column| column.target.clone()) }
        })
        .collect();
    let gone = stored.iter().filter(|column| selected.iter().all(|&index| table.columns[index].name != column.source));
    let taken = gone.map(|column| column.target.clone()).chain(soft_delete.then(|| DELETED_AT.to_owned()));
    let names = naming::assign_columns(&column_wishes, taken);
    selected
        .iter()
        .zip(names)
        .map(|(&source, name)| {
            let column = &table.columns[source];
            let wanted = wishes
                .types
                .get(&column.name)
                .or_else(|| options.type_map.get(&column.type_name.to_ascii_lowercase()))
                .or_else(|| options.type_map.get(&column.declared.to_ascii_lowercase()))
                .or_else(|| options.type_map.get(&without_modifier(&column.declared)));
            let masked = wishes.masks.get(&column.name).is_some_and(|mask| *mask != Mask::Null);
            let sqlite = match wanted {
                // What stands in a value's place is text.
                None if masked => mapping::map(&column.kind, &column.declared, Some(SqliteType::Text))
                    .or_else(|_| mapping::map(&column.kind, &column.declared, None)),
                wanted => mapping::map(&column.kind, &column.declared, wanted.copied()),
            };
            let sqlite = sqlite.map_err(|error| error.in_table(target))?;
            Ok(ReplicaColumn { source, name, sqlite })
        })
        .collect()
}

/// A declared type without what is declared of its size: `timestamp(3) with time zone` is a `timestamp with time zone`.
fn without_modifier(declared: &str) -> String {
    let declared = declared.to_ascii_lowercase();
    match (declared.find('('), declared.find(')')) {
        (Some(open), Some(close)) if open < close => format!("{}{}", &declared[..open], &declared[close + 1..]),
        _ => declared,
    }
}

/// What the choice of a mode looks at.
struct Shape<'a> {
    table: &'a Table,
    target: &'a str,
    selected: &'a [usize],
    has_key: bool,
}

impl Shape<'_> {
    /// The column called `name`, if it is copied: changes can't be followed by one that isn't.
    fn copied(&self, name: &str) -> Option<usize> {
        let own = |column: &usize| self.table.columns[*column].expression.is_none();
        self.table.column(name).filter(|column| self.selected.contains(column) && own(column))
    }

    /// Whether every column of `track` is copied.
    fn has(&self, track: &Track) -> bool {
        match track {
            Track::Columns(columns) => columns
                .iter()
                .all(|column| self.selected.contains(column) && self.table.columns[*column].expression.is_none()),
            Track::Whole | Track::Transaction => true,
        }
    }
}

fn choose_mode(
    shape: &Shape<'_>,
    wishes: &TableOptions,
    options: &Options,
    hints: &mut Vec<(Level, String)>,
) -> Result<(Mode, Track)> {
    let Shape { table, target, .. } = *shape;
    if wishes.mode == Some(Mode::Full) {
        return Ok((Mode::Full, Track::Whole));
    }
    if !shape.has_key {
        return match wishes.mode {
            None => Ok((Mode::Full, Track::Whole)),
            Some(_) => {
                Err(Error::new(Kind::Schema, format!("Table '{target}' has no key, so only mode 'full' can serve it"))
                    .because(
                        "it has no primary key and no unique index on NOT NULL columns; name a key with primary_key",
                    )
                    .in_table(target))
            }
        };
    }
    let tracked = match (&wishes.track_column, &options.track_column) {
        (Some(columns), _) => Some(configured_track(table, target, columns)?),
        (None, Some(columns)) => {
            configured_track(table, target, columns).ok().filter(|track| shape.has(track)).or_else(|| {
                hints.push((
                    Level::Warn,
                    format!("Table {target} can't be tracked by '{}' as track_column says", columns.join("', '")),
                ));
                default_track(shape, wishes, hints)
            })
        }
        (None, None) => default_track(shape, wishes, hints),
    };
    match (wishes.mode, tracked) {
        (Some(Mode::Append), Some(track)) => Ok((Mode::Append, track)),
        (_, Some(track)) => {
            if let Track::Columns(columns) = &track {
                let names: Vec<&str> = columns.iter().map(|&column| table.columns[column].name.as_str()).collect();
                hints.push((Level::Info, format!("Table {target} is tracked by {}", names.join(", else "))));
            }
            Ok((Mode::Incremental, track))
        }
        (Some(mode), None) => Err(Error::new(
            Kind::Schema,
            format!("Table '{target}' has no column to track, which mode '{}' needs", mode_name(mode)),
        )
        .because("it has no updated_at and no created_at; name a column with track_column, or use mode 'full'")
        .in_table(target)),
        (None, None) => {
            hints.push((Level::Info, format!("Table {target} has no column to track: each run reads it whole")));
            if table.is_large() {
                hints.push((
                    Level::Warn,
                    format!("Table {target} is large and is read whole every run; name a column with track_column"),
                ));
            }
            Ok((Mode::Full, Track::Whole))
        }
    }
}

fn configured_track(table: &Table, target: &str, names: &[String]) -> Result<Track> {
    if names == [TRANSACTION_COLUMN] && table.column(TRANSACTION_COLUMN).is_none() {
        if table.sees_changes {
            return Ok(Track::Transaction);
        }
        let what = if table.relation == Relation::View { "a view" } else { "this source" };
        return Err(Error::new(Kind::Schema, format!("Table '{target}' can't be tracked by xmin"))
            .because(format!("{what} doesn't have it; name a column with track_column, or use mode 'full'"))
            .in_table(target));
    }
    require_columns(table, target, "track_column", names)?;
    let columns: Vec<usize> = names.iter().filter_map(|name| table.column(name)).collect();
    Ok(Track::Columns(columns))
}

fn default_track(shape: &Shape<'_>, wishes: &TableOptions, hints: &mut Vec<(Level, String)>) -> Option<Track> {
    let Shape { table, target, .. } = *shape;
    let append = wishes.mode == Some(Mode::Append);
    let preferred = if append { ["created_at", "updated_at"] } else { ["updated_at", "created_at"] };
    if let Some((name, column)) = preferred.iter().find_map(|name| Some((*name, shape.copied(name)?))) {
        if name == "created_at" && !append {
            hints.push((
                Level::Warn,
                format!(
                    "Table {target} has only created_at to track, which an update doesn't move: updates are missed; \
                     name a column that they do move with track_column{}",
                    if table.sees_changes { ", or track_column: 'xmin'" } else { "" }
                ),
            ));
        }
        return Some(Track::Columns(vec![column]));
    }
    let column = (table.key.len() == 1).then(|| shape.copied(&table.key[0])).flatten()?;
    match table.columns[column].kind {
        // Rows that are only ever added can be followed by an ascending key as well.
        SourceType::Int if append => Some(Track::Columns(vec![column])),
        SourceType::ObjectId => {
            if !append {
                hints.push((
                    Level::Warn,
                    format!(
                        "Table {target} has no updated_at and no created_at and is tracked by its ObjectIds: new rows are \
                         seen, updates are not; name a column that they move with track_column, or use mode 'full'"
                    ),
                ));
            }
            Some(Track::Columns(vec![column]))
        }
        _ => None,
    }
}

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Incremental => "incremental",
        Mode::Append => "append",
        Mode::Full => "full",
    }
}

#[cfg(test)]
mod tests {
    use super::without_modifier;

    #[test]
    fn a_type_is_found_without_its_size() {
        assert_eq!(without_modifier("character varying(10)"), "character varying");
        assert_eq!(without_modifier("timestamp(3) with time zone"), "timestamp with time zone");
        assert_eq!(without_modifier("NUMERIC(12,2)[]"), "numeric[]");
        assert_eq!(without_modifier("text"), "text");
    }
}
