//! One level of the options: a JSON object read name by name, and the words for what is wrong with it.
//!
//! Nothing of a string is repeated in a message unless it reads like a keyword, so that a connection string put into
//! the wrong option never reaches a log.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::Secret;

/// Which of JavaScript's errors an option's fault becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionErrorClass {
    /// `TypeError`: an unknown option, one that is missing, or a value of the wrong type.
    Type,
    /// `RangeError`: the right type, but an impossible value.
    Range,
}

/// Why the options can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// Which of JavaScript's errors it becomes.
    pub class: OptionErrorClass,
    /// The public code: `CONFIG` or `TYPE_MAP`.
    pub code: &'static str,
    /// The option, what it got and what it takes; never a secret.
    pub message: String,
}

impl OptionError {
    /// A fault in the options' names or types.
    pub(super) fn of_type(message: String) -> Self {
        Self { class: OptionErrorClass::Type, code: "CONFIG", message }
    }

    /// A value that can't be.
    pub(super) fn of_range(message: String) -> Self {
        Self { class: OptionErrorClass::Range, code: "CONFIG", message }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OptionError {}

/// `Result` with an [`OptionError`].
pub(super) type Result<T> = std::result::Result<T, OptionError>;

/// A value's type, as a message names it.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(text) if text.is_empty() => "an empty string",
        Value::String(_) => "a string",
        Value::Array(list) if list.is_empty() => "an empty list",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value as a message may show it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Bool(flag) => format!("{flag}"),
        Value::Number(number) => format!("{number}"),
        Value::String(text) => quoted(text),
        other => type_of(other).to_owned(),
    }
}

/// A text in quotes when it reads like a keyword, else only that it is a string.
pub(super) fn quoted(text: &str) -> String {
    let keyword = !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' '));
    if keyword {
        format!("'{text}'")
    } else {
        (if text.is_empty() { "an empty string" } else { "a string" }).to_owned()
    }
}

/// `'a', 'b' or 'c'`.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("'{word}'")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// A port as text.
pub(super) fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port != 0)
}

/// What a port takes.
pub(super) const PORT: &str = "a port from 1 to 65535";

/// One level of the options.
pub(super) struct Section<'a> {
    path: String,
    entries: Option<&'a Map<String, Value>>,
}

impl<'a> Section<'a> {
    /// The options themselves, whose names stand alone in messages. Nothing at all is an empty level.
    pub(super) fn root(value: &'a Value) -> Result<Self> {
        match value {
            Value::Null => Ok(Self { path: String::new(), entries: None }),
            Value::Object(entries) => Ok(Self { path: String::new(), entries: Some(entries) }),
            other => Err(OptionError::of_type(format!("The options got {}; they take an object", type_of(other)))),
        }
    }

    /// The level found at `path`.
    pub(super) fn at(path: String, value: &'a Value, takes: &str) -> Result<Self> {
        match value {
            Value::Object(entries) => Ok(Self { path, entries: Some(entries) }),
            other => Err(OptionError::of_type(format!("Option '{path}' got {}; it takes {takes}", type_of(other)))),
        }
    }

    /// Refuses every name but these.
    pub(super) fn accept(&self, names: &[&str]) -> Result<()> {
        let Some(unknown) = self.names().find(|name| !names.contains(name)) else { return Ok(()) };
        let hint = closest(unknown, names).map_or_else(String::new, |name| format!(" did you mean '{name}'?"));
        let place = if self.path.is_empty() { "accepted".to_owned() } else { format!("accepted in {}", self.path) };
        Err(OptionError::of_type(format!(
            "Unknown option '{}';{hint} {place}: {}",
            self.name(unknown),
            names.join(", ")
        )))
    }

    /// The names that are there, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// An option's name with the path to it.
    pub(super) fn name(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The path of the level itself.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The value, unless it is missing or null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.entries?.get(name).filter(|value| !value.is_null())
    }

    /// The fault of a value that has the wrong type.
    pub(super) fn wrong_type(&self, name: &str, value: &Value, takes: &str) -> OptionError {
        OptionError::of_type(format!("Option '{}' got {}; it takes {takes}", self.name(name), type_of(value)))
    }

    /// The fault of a value that can't be; `got` must be free of secrets.
    pub(super) fn impossible(&self, name: &str, got: &str, takes: &str) -> OptionError {
        OptionError::of_range(format!("Option '{}' got {got}; it takes {takes}", self.name(name)))
    }

    /// The fault of options that had to be there: one for all of them.
    pub(super) fn lacks(&self, required: &[(&str, bool)], takes: &str) -> OptionError {
        let missing: Vec<&str> = required.iter().filter(|(_, given)| !given).map(|(name, _)| *name).collect();
        OptionError::of_type(format!("Option '{}' lacks {}; it takes {takes}", self.path, missing.join(", ")))
    }

    /// The fault of two options of which only one may be there.
    pub(super) fn either(&self, one: &str, other: &str, advice: &str) -> OptionError {
        OptionError::of_type(format!(
            "Options '{}' and '{}' can't be given together; {advice}",
            self.name(one),
            self.name(other)
        ))
    }

    /// True or false.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong_type(name, value, "true or false"))
    }

    /// A number within `range`.
    pub(super) fn number(&self, name: &str, range: &RangeInclusive<f64>, takes: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| self.wrong_type(name, value, takes))?;
        if range.contains(&number) { Ok(Some(number)) } else { Err(self.impossible(name, &shown(value), takes)) }
    }

    /// An integer within `range`.
    pub(super) fn integer(&self, name: &str, range: &RangeInclusive<u64>, takes: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if !value.is_number() {
            return Err(self.wrong_type(name, value, takes));
        }
        // JavaScript has one kind of number: 1000 may arrive as 1000.0, and prints the same.
        let integer = value.as_u64().or_else(|| value.as_f64()?.to_string().parse().ok());
        match integer.filter(|integer| range.contains(integer)) {
            Some(integer) => Ok(Some(integer)),
            None => Err(self.impossible(name, &shown(value), takes)),
        }
    }

    /// One of a few words.
    pub(super) fn keyword<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let takes = || one_of(words.iter().map(|(word, _)| *word));
        let given = value.as_str().ok_or_else(|| self.wrong_type(name, value, &takes()))?;
        match words.iter().find(|(word, _)| *word == given) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => Err(self.impossible(name, &shown(value), &takes())),
        }
    }

    /// A text that is not empty and has no NUL.
    pub(super) fn text(&self, name: &str, takes: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.wrong_type(name, value, takes))?;
        match fault_of_text(text) {
            Some(fault) => Err(self.impossible(name, fault, takes)),
            None => Ok(Some(text)),
        }
    }

    /// The same, owned.
    pub(super) fn string(&self, name: &str, takes: &str) -> Result<Option<String>> {
        Ok(self.text(name, takes)?.map(str::to_owned))
    }

    /// A text that must never be shown. It may be empty only where `may_be_empty`.
    pub(super) fn secret(&self, name: &str, may_be_empty: bool) -> Result<Option<Secret>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.wrong_type(name, value, "a string"))?;
        match fault_of_text(text).filter(|_| !(may_be_empty && text.is_empty())) {
            Some(fault) => Err(self.impossible(name, fault, "a string that is not empty and has no NUL")),
            None => Ok(Some(Secret(text.to_owned()))),
        }
    }

    /// A path to a file.
    pub(super) fn path_to(&self, name: &str, takes: &str) -> Result<Option<PathBuf>> {
        let Some(text) = self.text(name, takes)? else { return Ok(None) };
        if text.contains("://") {
            return Err(self.impossible(name, "a URL", takes));
        }
        if text == ":memory:" {
            return Err(self.impossible(name, "':memory:', which nothing outlives", takes));
        }
        Ok(Some(PathBuf::from(text)))
    }

    /// A port: a number, or a string of digits.
    pub(super) fn port(&self, name: &str) -> Result<Option<u16>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        if let Some(text) = value.as_str() {
            return port(text).map(Some).ok_or_else(|| self.impossible(name, &shown(value), PORT));
        }
        Ok(self.integer(name, &(1..=65535), PORT)?.and_then(|port| u16::try_from(port).ok()))
    }

    /// A list of names, each once.
    pub(super) fn list(&self, name: &str, may_be_empty: bool, takes: &str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let items = value.as_array().ok_or_else(|| self.wrong_type(name, value, takes))?;
        if items.is_empty() && !may_be_empty {
            return Err(self.impossible(name, type_of(value), takes));
        }
        let mut names: Vec<String> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = format!("{name}[{index}]");
            let text = item.as_str().ok_or_else(|| self.wrong_type(&place, item, "a name"))?;
            if let Some(fault) = fault_of_text(text) {
                return Err(self.impossible(&place, fault, "a name"));
            }
            if names.iter().any(|earlier| earlier == text) {
                return Err(self.impossible(&place, &format!("{} again", quoted(text)), "each name once"));
            }
            names.push(text.to_owned());
        }
        Ok(Some(names))
    }
}

/// What no name, path or token may be.
fn fault_of_text(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        Some("an empty string")
    } else if text.contains('\0') {
        Some("a string with a NUL")
    } else {
        None
    }
}

/// The accepted name that `given` was probably meant to be.
fn closest<'a>(given: &str, names: &[&'a str]) -> Option<&'a str> {
    // JavaScript's habit is camelCase; ours are the names of a configuration file.
    let plain = |name: &str| name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let given = plain(given);
    names
        .iter()
        .map(|name| (distance(&given, &plain(name)), *name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1 + name.len() / 6)
        .map(|(_, name)| name)
}

/// How many letters have to be inserted, deleted or replaced (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
