//! The options a user gives, read without I/O: names, types and ranges.

use std::time::Duration;

use serde_json::Value;

use super::section::{Result, Section};
use super::{Deletes, Options, Retry, SchemaDrift, ZeroDates, endpoints, tables};
use crate::event::Level;

/// Every option, in the order of the documentation.
const NAMES: &[&str] = &[
    "sync_interval",
    "tables",
    "batch_size",
    "track_column",
    "enabled",
    "database",
    "target",
    "source",
    "config",
    "environment",
    "type_map",
    "zero_dates",
    "lookback",
    "lookback_values",
    "deletes",
    "delete_limit",
    "schema_drift",
    "slow_sync_warning",
    "connect_timeout",
    "query_timeout",
    "retry",
    "log_level",
];

/// The words of `deletes`.
pub(super) const DELETES: [(&str, Deletes); 3] =
    [("none", Deletes::None), ("hard", Deletes::Hard), ("soft", Deletes::Soft)];

const DRIFT: [(&str, SchemaDrift); 3] =
    [("evolve", SchemaDrift::Evolve), ("freeze", SchemaDrift::Freeze), ("fail", SchemaDrift::Fail)];

const LEVELS: [(&str, Level); 5] = [
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("warn", Level::Warn),
    ("error", Level::Error),
    ("silent", Level::Silent),
];

/// Longer than anybody waits on purpose, and far from where a clock's arithmetic ends.
const YEAR: f64 = 365.0 * 24.0 * 60.0 * 60.0;

impl Options {
    /// Reads the options as JSON. What is missing or `null` gets its default; nothing is ignored.
    pub fn parse(value: &Value) -> Result<Self> {
        let root = Section::root(value)?;
        root.accept(NAMES)?;
        // One second, as the minutes a user would write for it.
        let interval = root
            .number("sync_interval", &(1.0 / 60.0..=YEAR / 60.0), "minutes: at least 1/60 (a second), at most 525600")?
            .map_or(Duration::from_mins(15), |minutes| Duration::from_secs_f64(minutes * 60.0));
        Ok(Self {
            sync_interval: interval,
            tables: tables::tables(&root)?,
            batch_size: tables::batch_size(&root)?.unwrap_or(1000),
            track_column: tables::track_column(&root)?,
            enabled: root.flag("enabled")?.unwrap_or(true),
            target: endpoints::target(&root)?,
            source: root.get("source").map(|value| endpoints::source(root.name("source"), value)).transpose()?,
            config: root.path_to("config", "the path of a wrangler file")?,
            environment: environment(&root)?,
            type_map: tables::sqlite_types(&root, "type_map")?,
            zero_dates: root
                .keyword("zero_dates", &[("text", ZeroDates::Text), ("null", ZeroDates::Null)])?
                .unwrap_or(ZeroDates::Text),
            lookback: root.number("lookback", &(0.0..=100.0 * YEAR), "seconds from 0 to 3153600000")?.unwrap_or(300.0),
            lookback_values: root
                .integer("lookback_values", &(0..=(1 << 53) - 1), "an integer from 0 to 9007199254740991")?
                .unwrap_or(10_000),
            deletes: root.keyword("deletes", &DELETES)?,
            delete_limit: root.number("delete_limit", &(0.0..=1.0), "a share from 0 to 1")?.unwrap_or(0.5),
            schema_drift: root.keyword("schema_drift", &DRIFT)?.unwrap_or(SchemaDrift::Evolve),
            slow_sync_warning: seconds(&root, "slow_sync_warning", 30)?,
            connect_timeout: seconds(&root, "connect_timeout", 10)?,
            query_timeout: seconds(&root, "query_timeout", 300)?,
            retry: retry(&root)?,
            log_level: root.keyword("log_level", &LEVELS)?.unwrap_or(Level::Info),
        })
    }
}

fn seconds(root: &Section<'_>, name: &str, default: u64) -> Result<Duration> {
    let given = root.number(name, &(0.001..=YEAR), "seconds from 0.001 to 31536000")?;
    Ok(given.map_or(Duration::from_secs(default), Duration::from_secs_f64))
}

fn environment(root: &Section<'_>) -> Result<Option<String>> {
    let takes = "the name of an environment in the wrangler file";
    let name = root.string("environment", takes)?;
    match name {
        // The name becomes a part of a file's name, `.dev.vars.NAME`.
        Some(name) if name.contains(['/', '\\']) => Err(root.impossible("environment", "a name with a slash", takes)),
        name => Ok(name),
    }
}

fn retry(root: &Section<'_>) -> Result<Retry> {
    let takes = "an object such as { attempts: 5, base_ms: 200, max_ms: 30000 }";
    let day = 24 * 60 * 60 * 1000;
    let (mut attempts, mut base, mut max) = (None, None, None);
    if let Some(value) = root.get("retry") {
        let section = Section::at(root.name("retry"), value, takes)?;
        section.accept(&["attempts", "base_ms", "max_ms"])?;
        attempts = section.integer("attempts", &(1..=1000), "an integer from 1 to 1000")?;
        base = section.integer("base_ms", &(0..=day), "milliseconds from 0 to 86400000")?;
        max = section.integer("max_ms", &(0..=day), "milliseconds from 0 to 86400000")?;
        if let (Some(base), Some(max)) = (base, max)
            && base > max
        {
            return Err(section.impossible("base_ms", &base.to_string(), &format!("at most max_ms, which is {max}")));
        }
    }
    // One given alone moves the other's default along.
    let base_ms = base.unwrap_or(200).min(max.unwrap_or(u64::MAX));
    Ok(Retry {
        attempts: attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(5),
        base: Duration::from_millis(base_ms),
        max: Duration::from_millis(max.unwrap_or(30_000).max(base_ms)),
    })
}
