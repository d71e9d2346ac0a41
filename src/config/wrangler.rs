//! The wrangler file: `EXTERNAL_DB_*` in `[env.NAME.vars]`, in `[vars]` and at the top level.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::environment::PREFIX;
use super::section::{quoted, type_of};
use crate::error::{Error, Kind, Result};

/// Where Wrangler itself looks, in our order.
const NAMES: [&str; 3] = ["wrangler.toml", "wrangler.json", "wrangler.jsonc"];

/// What a part of the file is called, and its values.
pub(super) type Section = (Option<String>, BTreeMap<String, String>);

/// A wrangler file.
pub(super) struct Wrangler {
    path: PathBuf,
    root: Map<String, Value>,
}

impl Wrangler {
    /// Reads the file the user named, else the first one present; `None` when there is none.
    pub(super) fn find(named: Option<&Path>, directory: &Path) -> Result<Option<Self>> {
        if let Some(named) = named {
            let path = directory.join(named);
            return match read(&path)? {
                Some(text) => Self::parse(path, &text).map(Some),
                None => Err(Error::new(
                    Kind::Config,
                    format!("The wrangler file {} named by option 'config' doesn't exist", path.display()),
                )),
            };
        }
        for name in NAMES {
            let path = directory.join(name);
            if let Some(text) = read(&path)? {
                return Self::parse(path, &text).map(Some);
            }
        }
        Ok(None)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The values in it by their section, the most particular first, and those of none.
    pub(super) fn layers(&self, environment: Option<&str>) -> Result<Vec<Section>> {
        let mut layers = Vec::new();
        if let Some(name) = environment {
            let environments = self.table(&self.root, "env")?;
            let Some(found) = environments.and_then(|environments| environments.get(name)) else {
                let there: Vec<&str> = environments.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                return Err(Error::new(
                    Kind::Config,
                    format!(
                        "Option 'environment' got {}, which is not in {}; there: {there}",
                        quoted(name),
                        self.path.display()
                    ),
                ));
            };
            let found = found.as_object().ok_or_else(|| self.no_table(&format!("env.{name}"), found))?;
            if let Some(vars) = self.table(found, "vars")? {
                layers.push((Some(format!("env.{name}.vars")), self.values(vars)?));
            }
        }
        if let Some(vars) = self.table(&self.root, "vars")? {
            layers.push((Some("vars".to_owned()), self.values(vars)?));
        }
        layers.push((None, self.values(&self.root)?));
        Ok(layers)
    }

    /// Reads the text of the file that is at `path`.
    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        // Only the place and the parser's own words: what stands there may be a password.
        let broken = |line: usize, column: usize, words: &str| {
            Error::new(Kind::Config, format!("The wrangler file {} can't be read", path.display()))
                .because(format!("line {line}, column {column}: {}", words.lines().next().unwrap_or_default()))
        };
        let value = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => toml::from_str(text).map_err(|error| {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let line_start = before.rfind('\n').map_or(0, |end| end + 1);
                let column = before[line_start..].chars().count() + 1;
                broken(before.matches('\n').count() + 1, column, error.message())
            })?,
            Some("json" | "jsonc") => jsonc_parser::parse_to_serde_value(text, &jsonc())
                .map_err(|error| broken(error.line_display(), error.column_display(), &error.kind().to_string()))?,
            _ => {
                return Err(Error::new(
                    Kind::Config,
                    format!("The wrangler file {} must end in .toml, .json or .jsonc", path.display()),
                ));
            }
        };
        match value {
            Value::Object(root) => Ok(Self { path, root }),
            Value::Null => Ok(Self { path, root: Map::new() }),
            other => Err(Error::new(
                Kind::Config,
                format!("The wrangler file {} holds {}; it takes an object", path.display(), type_of(&other)),
            )),
        }
    }

    fn table<'a>(&self, parent: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>> {
        match parent.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(table)) => Ok(Some(table)),
            Some(other) => Err(self.no_table(name, other)),
        }
    }

    fn no_table(&self, name: &str, value: &Value) -> Error {
        Error::new(Kind::Config, format!("{name} in {} is {}; it takes a table", self.path.display(), type_of(value)))
    }

    fn values(&self, table: &Map<String, Value>) -> Result<BTreeMap<String, String>> {
        let mut values = BTreeMap::new();
        for (name, value) in table.iter().filter(|(name, _)| is_variable(name)) {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => {
                    let (path, got) = (self.path.display(), type_of(other));
                    return Err(Error::new(
                        Kind::Config,
                        format!("{name} in {path} is {got}; it takes a string or number"),
                    ));
                }
            };
            values.insert(name.clone(), text);
        }
        Ok(values)
    }
}

/// Whether a name is one of a variable of ours. Messages repeat such names, so one with a secret behind it, as in
/// `"EXTERNAL_DB_PASS=…"`, is none.
fn is_variable(name: &str) -> bool {
    name.starts_with(PREFIX) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Reads a file whole; `None` when it isn't there.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(Kind::Config, format!("{} can't be read", path.display())).because(error)),
    }
}

/// Comments and trailing commas, as Wrangler allows them, and nothing else beyond JSON.
fn jsonc() -> jsonc_parser::ParseOptions {
    jsonc_parser::ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}
