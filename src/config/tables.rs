//! The options of single tables, and what they share with the options of all.

use std::collections::BTreeMap;

use serde_json::Value;

use super::options::DELETES;
use super::section::{OptionError, OptionErrorClass, Result, Section, one_of, shown, type_of};
use super::{ModeWish, TableOptions};
use crate::event::Mode;
use crate::mapping::SqliteType;
use crate::mapping::mask::Mask;

const NAMES: &[&str] = &[
    "name",
    "schema",
    "as",
    "mode",
    "track_column",
    "primary_key",
    "columns",
    "exclude_columns",
    "where",
    "types",
    "mask",
    "select",
    "deletes",
    "batch_size",
];

const MODES: [(&str, ModeWish); 4] = [
    ("auto", None),
    ("incremental", Some(Mode::Incremental)),
    ("append", Some(Mode::Append)),
    ("full", Some(Mode::Full)),
];

const TABLE: &str = "a table's name, 'schema.table', a pattern with *, or an object with a name";

/// Reads `tables`.
pub(super) fn tables(root: &Section<'_>) -> Result<Vec<TableOptions>> {
    let Some(value) = root.get("tables") else { return Ok(Vec::new()) };
    let items = value.as_array().ok_or_else(|| root.wrong_type("tables", value, "a list of tables"))?;
    let mut tables: Vec<TableOptions> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let table = table(root, &format!("tables[{index}]"), item)?;
        let fault = |what: &str| OptionError::of_range(format!("Option 'tables[{index}]' got {what}"));
        for (earlier, other) in tables.iter().enumerate() {
            if (&other.schema, &other.name) == (&table.schema, &table.name) {
                return Err(fault(&format!("the table of tables[{earlier}] again; each table takes one entry")));
            }
            if let (Some(ours), Some(theirs)) = (&table.target, &other.target)
                && ours.eq_ignore_ascii_case(theirs)
            {
                return Err(fault(&format!("the 'as' of tables[{earlier}] again; it takes a name of its own")));
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn table(root: &Section<'_>, place: &str, value: &Value) -> Result<TableOptions> {
    if let Some(text) = value.as_str() {
        let (schema, name) = split(text).map_err(|got| root.impossible(place, got, TABLE))?;
        return Ok(TableOptions { name, schema, ..TableOptions::default() });
    }
    let section = Section::at(root.name(place), value, TABLE)?;
    section.accept(NAMES)?;
    let Some(name) = section.text("name", TABLE)? else { return Err(section.lacks(&[("name", false)], TABLE)) };
    let schema = section.string("schema", "a schema's name, or a pattern with *")?;
    let (schema, name) = match schema {
        Some(schema) => (Some(schema), name.to_owned()),
        None => split(name).map_err(|got| section.impossible("name", got, TABLE))?,
    };
    let target = section.string("as", "the target table's name")?;
    if target.is_some() && (name.contains('*') || schema.as_ref().is_some_and(|schema| schema.contains('*'))) {
        return Err(section.impossible("as", "one name for a pattern", "a name only where 'name' is one table"));
    }
    let columns = section.list("columns", false, "a non-empty list of column names")?;
    let exclude_columns = section.list("exclude_columns", true, "a list of column names")?;
    if columns.is_some() && exclude_columns.is_some() {
        return Err(section.either("columns", "exclude_columns", "name the columns to take or those to leave out"));
    }
    let select = select(&section)?;
    let track_column = track_column(&section)?;
    let primary_key = section.list("primary_key", false, "a non-empty list of column names")?;
    for (option, names) in [("track_column", &track_column), ("primary_key", &primary_key)] {
        if let Some(name) = names.iter().flatten().find(|name| select.contains_key(*name)) {
            let got = format!("'{name}', which select computes");
            return Err(section.impossible(option, &got, "columns of the table's own"));
        }
    }
    Ok(TableOptions {
        name,
        schema,
        target,
        mode: section.keyword("mode", &MODES)?.flatten(),
        track_column,
        primary_key,
        columns,
        exclude_columns: exclude_columns.unwrap_or_default(),
        filter: section.string("where", "a condition in the source's SQL")?,
        types: sqlite_types(&section, "types")?,
        masks: masks(&section)?,
        select,
        deletes: section.keyword("deletes", &DELETES)?,
        batch_size: batch_size(&section)?,
    })
}

/// Reads `mask`.
fn masks(section: &Section<'_>) -> Result<BTreeMap<String, Mask>> {
    let mut masks = BTreeMap::new();
    let Some(value) = section.get("mask") else { return Ok(masks) };
    let accepted = one_of(Mask::NAMES.iter().map(|(name, _)| *name));
    let section = Section::at(section.name("mask"), value, &format!("an object of column to {accepted}"))?;
    for column in section.names() {
        if let Some(mask) = section.keyword(column, &Mask::NAMES)? {
            masks.insert(column.to_owned(), mask);
        }
    }
    Ok(masks)
}

/// Reads `select`.
fn select(section: &Section<'_>) -> Result<BTreeMap<String, String>> {
    let mut select = BTreeMap::new();
    let Some(value) = section.get("select") else { return Ok(select) };
    let takes = "an expression in the source's SQL";
    let section = Section::at(section.name("select"), value, &format!("an object of column to {takes}"))?;
    for column in section.names() {
        if column.trim().is_empty() || column.contains('\0') {
            return Err(OptionError::of_range(format!(
                "Option '{}' got an empty key; it takes a name for the column",
                section.path()
            )));
        }
        if let Some(before) = select.keys().find(|before: &&String| before.eq_ignore_ascii_case(column)) {
            return Err(OptionError::of_range(format!(
                "Option '{}' got '{before}' and '{column}'; it takes names that differ in more than case",
                section.path()
            )));
        }
        if let Some(expression) = section.string(column, takes)? {
            select.insert(column.to_owned(), expression);
        }
    }
    Ok(select)
}

/// Splits `schema.table`; the fault is what was given.
fn split(text: &str) -> std::result::Result<(Option<String>, String), &'static str> {
    if text.contains('\0') {
        return Err("a name with a NUL");
    }
    let parts: Vec<&str> = text.split('.').collect();
    if parts.iter().any(|part| part.trim().is_empty()) {
        return Err("an empty name");
    }
    match parts[..] {
        [name] => Ok((None, name.to_owned())),
        [schema, name] => Ok((Some(schema.to_owned()), name.to_owned())),
        _ => Err("a name with several dots, which only an object with name and schema can tell apart"),
    }
}

/// Reads `batch_size`.
pub(super) fn batch_size(section: &Section<'_>) -> Result<Option<usize>> {
    let given = section.integer("batch_size", &(1..=100_000), "an integer from 1 to 100000")?;
    Ok(given.and_then(|given| usize::try_from(given).ok()))
}

/// Reads `track_column`.
pub(super) fn track_column(section: &Section<'_>) -> Result<Option<Vec<String>>> {
    let takes = "a column's name or a non-empty list of them";
    match section.get("track_column") {
        Some(Value::String(_)) => Ok(section.string("track_column", takes)?.map(|name| vec![name])),
        _ => section.list("track_column", false, takes),
    }
}

/// Reads `type_map` (keys are types, which know no case) or `types` (keys are columns, which do).
pub(super) fn sqlite_types(section: &Section<'_>, name: &str) -> Result<BTreeMap<String, SqliteType>> {
    let mut types = BTreeMap::new();
    let Some(value) = section.get(name) else { return Ok(types) };
    let by_type = name == "type_map";
    let accepted = one_of(SqliteType::NAMES);
    let key = if by_type { "source type" } else { "column" };
    let section = Section::at(section.name(name), value, &format!("an object of {key} to {accepted}"))?;
    for given in section.names() {
        let Some(value) = section.get(given) else { continue };
        let external = if by_type { given.trim().to_lowercase() } else { given.to_owned() };
        if external.trim().is_empty() || external.contains('\0') {
            return Err(OptionError::of_range(format!(
                "Option '{}' got an empty key; it takes a {key}'s name",
                section.path()
            )));
        }
        let Some(sqlite) = value.as_str().and_then(SqliteType::parse) else {
            let (class, got) = match value {
                Value::String(_) => (OptionErrorClass::Range, shown(value)),
                other => (OptionErrorClass::Type, type_of(other).to_owned()),
            };
            return Err(OptionError {
                class,
                code: "TYPE_MAP",
                message: format!(
                    "Cannot map external type '{given}' to SQLite type: option '{}' got {got}; it takes {accepted}",
                    section.name(given)
                ),
            });
        };
        if types.insert(external, sqlite).is_some() {
            return Err(OptionError::of_range(format!(
                "Option '{}' got the type again in another case; it takes each type once",
                section.name(given)
            )));
        }
    }
    Ok(types)
}
