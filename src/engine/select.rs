//! Which tables a run is about, and what each is called in the target.

use std::collections::{BTreeSet, HashMap, HashSet};

use wildmatch::WildMatch;

use crate::config::{Options, TableOptions};
use crate::error::{Error, Kind, Result};
use crate::event::Level;
use crate::mapping::SqliteType;
use crate::schema::{KnownColumn, SourceType, Table, TableName};
use crate::source::{Listed, Source};
use crate::target::{State, TablePhase, TableState};

use super::naming::{self, Wish};
use super::report::Reporter;

/// The tables of a run.
pub struct Selection {
    /// Each of them.
    pub tables: Vec<Selected>,
    /// What the log was told of those that are none.
    pub warnings: Vec<String>,
}

/// One table to sync.
#[derive(Debug, Clone)]
pub struct Selected {
    /// Its name at the source, with its schema where the source has schemas.
    pub name: TableName,
    /// Its name in the target.
    pub target: String,
    /// What the user wants of it.
    pub wishes: TableOptions,
}

impl Selected {
    /// Its full name at the source: the key of its state.
    pub fn full_name(&self) -> String {
        self.name.to_string()
    }

    fn is_called(&self, name: &str) -> bool {
        name == self.target || name == self.full_name() || name == self.name.name
    }
}

/// The columns that a table's options need; a pattern's are not looked for in each table that it finds.
fn named_columns(wishes: &TableOptions) -> impl Iterator<Item = &str> {
    let lists = [wishes.track_column.as_ref(), wishes.primary_key.as_ref(), wishes.columns.as_ref()];
    let names = lists.into_iter().flatten().flatten().chain(wishes.types.keys());
    names.filter(|_| !wishes.name.contains('*')).map(String::as_str)
}

/// What the source knows of a table, with the columns that its `select` adds.
///
/// # Errors
/// `TABLE_NOT_FOUND`; `SCHEMA` when a column of the table's own is called like one of `select`.
pub async fn described(source: &mut dyn Source, table: &Selected, known: &[KnownColumn]) -> Result<Table> {
    let described = source.describe(&table.name, known).await?;
    let mut described = described.ok_or_else(|| super::table::not_found(table))?;
    let named = named_columns(&table.wishes);
    let missing: BTreeSet<&str> = named.filter(|name| described.column(name).is_none()).collect();
    if described.grows && !missing.is_empty() {
        source.find_columns(&mut described, &missing).await?;
    }
    let select = &table.wishes.select;
    if select.is_empty() {
        return Ok(described);
    }
    let taken = select.keys().find(|name| {
        described.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name))
            || name.eq_ignore_ascii_case(super::plan::DELETED_AT)
    });
    if let Some(name) = taken {
        return Err(Error::new(Kind::Schema, format!("Table '{}' has a column '{name}' already", table.target))
            .because("select names it: give the computed column another name")
            .in_table(&table.target));
    }
    source.compute(&mut described, select).await.map_err(|error| error.in_table(&table.target))?;
    for column in described.columns.iter_mut().filter(|column| column.expression.is_some()) {
        let wanted = table.wishes.types.get(&column.name);
        // Where the source tells no type, the user may say that these are numbers.
        if column.declared.is_empty() && matches!(wanted, Some(SqliteType::Integer | SqliteType::Real)) {
            column.kind = SourceType::Opaque { known: true };
        }
    }
    Ok(described)
}

/// The tables that the options name, or every base table of the default schema when they name none. Names that a
/// pattern finds but the role may not read are said in the log and left out. In `state` a table that another source left may
/// come under the full name of the one that takes its place.
pub async fn select(
    source: &mut dyn Source,
    options: &Options,
    fingerprint: &str,
    state: &mut State,
    reporter: &Reporter,
) -> Result<Selection> {
    let default = source.default_schema().map(str::to_owned);
    let everything = [TableOptions { name: "*".to_owned(), ..TableOptions::default() }];
    let wanted: &[TableOptions] = if options.tables.is_empty() { &everything } else { &options.tables };
    let dotted: Vec<TableOptions>;
    let wanted = if source.has_schemas() {
        wanted
    } else {
        dotted = wanted.iter().map(with_dotted_name).collect();
        dotted.as_slice()
    };
    let is_pattern = |wishes: &TableOptions| {
        wishes.name.contains('*') || wishes.schema.as_deref().is_some_and(|schema| schema.contains('*'))
    };
    let listing = if wanted.iter().any(is_pattern) { source.tables().await? } else { Vec::new() };

    let mut found: Vec<(TableName, TableOptions)> = Vec::new();
    let mut names: HashSet<TableName> = HashSet::new();
    let mut warnings = Vec::new();
    // A table that is named wins over a pattern that finds it too, wherever it stands.
    for wishes in wanted.iter().filter(|wishes| !is_pattern(wishes)) {
        let name = TableName { schema: wishes.schema.clone().or_else(|| default.clone()), name: wishes.name.clone() };
        if names.insert(name.clone()) {
            found.push((name, wishes.clone()));
        }
    }
    for wishes in wanted.iter().filter(|wishes| is_pattern(wishes)) {
        let before = found.len();
        for listed in listing.iter().filter(|listed| matches(wishes, default.as_deref(), listed)) {
            if !listed.readable {
                let warning =
                    format!("Table {} is left out: the role may not read it (GRANT SELECT lets it)", listed.name);
                reporter.log_once(Level::Warn, &warning);
                warnings.push(warning);
            } else if names.insert(listed.name.clone()) {
                found.push((listed.name.clone(), wishes.clone()));
            }
        }
        if found.len() == before && !options.tables.is_empty() {
            let warning = format!("No further table matches '{}'", wishes.name);
            reporter.log(Level::Warn, &warning);
            warnings.push(warning);
        }
    }
    Ok(Selection { tables: name_all(found, default.as_deref(), fingerprint, state)?, warnings })
}

/// The wishes for a table of a source without schemas: what looks like one is the beginning of a name with dots.
fn with_dotted_name(wishes: &TableOptions) -> TableOptions {
    let name = match &wishes.schema {
        Some(schema) => format!("{schema}.{}", wishes.name),
        None => wishes.name.clone(),
    };
    TableOptions { name, schema: None, ..wishes.clone() }
}

fn matches(wishes: &TableOptions, default: Option<&str>, listed: &Listed) -> bool {
    let schema = match (&wishes.schema, &listed.name.schema) {
        (Some(pattern), Some(schema)) => WildMatch::new(pattern).matches(schema),
        (None, schema) => schema.as_deref() == default,
        (Some(_), None) => false,
    };
    schema && WildMatch::new(&wishes.name).matches(&listed.name.name)
}

fn name_all(
    found: Vec<(TableName, TableOptions)>,
    default: Option<&str>,
    fingerprint: &str,
    state: &mut State,
) -> Result<Vec<Selected>> {
    let wishes: Vec<Wish> = found
        .iter()
        .map(|(name, wishes)| {
            let full = name.to_string();
            let plain = match &name.schema {
                Some(schema) if Some(schema.as_str()) != default => format!("{schema}_{}", name.name),
                _ => name.name.clone(),
            };
            let known = state.tables.get(&full).map(|table| table.target.clone());
            Wish { full, plain, fixed: wishes.target.clone().or(known) }
        })
        .collect();
    if let Some(reserved) =
        found.iter().find_map(|(_, wishes)| wishes.target.as_ref().filter(|name| naming::is_reserved(name)))
    {
        return Err(Error::new(Kind::Config, format!("as: '{reserved}' can't be the name of a table in the target"))
            .because("names that begin with sqlite_ or tmp_ are kept for SQLite and StarbaseDB"));
    }
    let here: HashSet<&str> = wishes.iter().map(|wish| wish.full.as_str()).collect();
    // What was reset and came from another source is there for the table that takes its place under another full name: a
    // database that moved may have another schema's name, or none.
    let is_left = |table: &TableState| table.phase == TablePhase::Reset && table.fingerprint != fingerprint;
    let (mut left, mut taken) = (HashMap::new(), Vec::new());
    for (full, table) in state.tables.iter().filter(|(full, _)| !here.contains(full.as_str())) {
        if is_left(table) {
            left.insert(naming::fold(&table.target), full.clone());
        } else {
            taken.push(table.target.clone());
        }
    }
    let mut names = naming::assign_tables(&wishes, taken);
    for (wish, name) in wishes.iter().zip(&mut names) {
        if state.tables.contains_key(&wish.full) {
            continue;
        }
        let Some(table) = left.get(&naming::fold(name)).and_then(|full| state.tables.remove(full)) else { continue };
        name.clone_from(&table.target);
        state.tables.insert(wish.full.clone(), table);
    }
    let mut selected: Vec<Selected> = Vec::with_capacity(names.len());
    let mut places = HashMap::with_capacity(names.len());
    for ((name, wishes), target) in found.into_iter().zip(names) {
        if let Some(other) = places.insert(naming::fold(&target), selected.len()) {
            return Err(Error::new(Kind::Config, format!("Two tables would be called '{target}' in the target"))
                .because(format!("{} and {name}: give one of them another name with as", selected[other].name)));
        }
        selected.push(Selected { name, target, wishes });
    }
    Ok(selected)
}

/// Those of `all` that the caller named; all of them when none were named.
///
/// # Errors
/// `TABLE_NOT_FOUND` for a name that none of them has.
pub fn narrow(all: Vec<Selected>, named: Option<&[String]>) -> (Vec<Selected>, Vec<Error>) {
    let Some(named) = named else { return (all, Vec::new()) };
    let missing = named.iter().filter(|name| !all.iter().any(|table| table.is_called(name)));
    let errors = missing
        .map(|name| {
            Error::new(Kind::TableNotFound, format!("Table '{name}' not found in external database"))
                .because("it is not among the tables to sync")
                .in_table(name)
        })
        .collect();
    let chosen = all.into_iter().filter(|table| named.iter().any(|name| table.is_called(name))).collect();
    (chosen, errors)
}
