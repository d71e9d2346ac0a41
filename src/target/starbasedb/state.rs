//! The state's tables, as single statements.

use serde_json::Value;

use super::remote::{Remote, Rows, strange};
use crate::error::{Error, Kind, Result};
use crate::replica::Replica;
use crate::source::sqlite::link::Fault;
use crate::target::sql::{self, quote};
use crate::target::state::{self, Record};
use crate::target::{State, TableState};

/// The columns of the state's table, in its order, without the counts.
const COLUMNS: [&str; 14] = [
    "source_table",
    "target_table",
    "source_fingerprint",
    "mode",
    "phase",
    "signature",
    "columns",
    "key",
    "key_position",
    "position",
    "floor",
    "snapshot",
    "last_sync_time",
    "last_error",
];

/// How a table's count of rows goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// By what the lease says came and went.
    Changed,
    /// As it is.
    Same,
    /// Anew.
    Anew,
    /// From nothing, because the table is not there yet.
    Zero,
}

/// `state` as the JSON that [`put`] reads.
pub(super) fn document(state: &TableState) -> Result<String> {
    serde_json::to_string(&Record::of(state)?)
        .map_err(|_| Error::new(Kind::Internal, "A table's state can't be written as JSON"))
}

/// The statement that stores the state in the JSON `document` (an expression), if there is one; `nulls` counts the rows
/// without a track value, where that is asked for.
pub(super) fn put(document: &str, table: &str, count: Count, nulls: Option<&str>) -> String {
    let field = |name: &str| format!("{document} ->> '$.{name}'");
    let values = sql::join(COLUMNS, ", ", field);
    let names = COLUMNS.join(", ");
    let source = field("source_table");
    let known = |count: &str| format!("(SELECT {count} FROM tmp_data_sync_state WHERE source_table = {source})");
    let all = format!("(SELECT count(*) FROM {})", quote(table));
    let rows = match count {
        Count::Changed => format!(
            "max(0, coalesce({} + (SELECT inserted - deleted FROM tmp_data_sync_lease), {all}))",
            known("record_count")
        ),
        Count::Same => format!("coalesce({}, {all})", known("record_count")),
        Count::Anew => all,
        Count::Zero => "0".to_owned(),
    };
    let nulls = format!("coalesce(({}), {}, 0)", nulls.unwrap_or("NULL"), known("null_tracked"));
    let sets = sql::join(COLUMNS.iter().skip(1), ", ", |name| format!("{name} = excluded.{name}"));
    format!(
        "INSERT INTO tmp_data_sync_state ({names}, record_count, null_tracked)
         SELECT {values}, {rows}, {nulls} WHERE {document} IS NOT NULL
         ON CONFLICT (source_table) DO UPDATE SET {sets}, record_count = excluded.record_count,
           null_tracked = excluded.null_tracked"
    )
}

/// Stores `state` alone and gives it back with the target's own counts filled in.
pub(super) async fn save(remote: &Remote, replica: &Replica, state: &TableState, count: Count) -> Result<TableState> {
    let context = format!("Failed to save the sync state of table '{}'", state.target);
    let nulls = sql::null_tracked(replica).unwrap_or_else(|| "0".to_owned());
    let sql = format!(
        "{} RETURNING json_array(record_count, null_tracked) AS c0",
        put("?1", &replica.target, count, Some(&nulls))
    );
    let rows = remote.change(&sql, &[Some(&document(state)?)], &context).await?;
    let [record_count, null_tracked] = super::remote::numbers(&rows).ok_or_else(|| strange(&context))?;
    Ok(TableState { record_count, null_tracked, ..state.clone() })
}

const READING: &str = "Failed to read the sync state in target StarbaseDB";

/// Everything earlier runs left.
pub(super) async fn load(remote: &Remote) -> Result<State> {
    let sql = format!(
        "SELECT NULL AS c0, json_array(key, value) AS c1 FROM tmp_data_sync_meta UNION ALL
         SELECT record_count || ' ' || null_tracked, json_array({}) FROM tmp_data_sync_state",
        COLUMNS.join(", ")
    );
    match remote.ask_again(&sql, &[]).await {
        Ok(rows) => read(&rows),
        Err(Fault::Refused(words)) if words.contains("no such table: tmp_data_sync_") => Ok(State::default()),
        Err(fault) => Err(Remote::told(fault, READING)),
    }
}

/// Refuses a state that a later version left.
pub(super) async fn check_version(remote: &Remote, context: &str) -> Result<()> {
    let sql = "SELECT value AS c0 FROM tmp_data_sync_meta WHERE key = 'schema_version'";
    let rows = remote.ask(sql, &[], context).await?;
    state::check_version(rows.first().and_then(|row| row.first()).and_then(Value::as_str))
}

fn read(rows: &Rows) -> Result<State> {
    let mut found = State::default();
    let mut version = None;
    for row in rows {
        let [counts, Value::String(cells)] = row.as_slice() else { return Err(strange(READING)) };
        let cells: Vec<Option<String>> = serde_json::from_str(cells).map_err(|_| strange(READING))?;
        let Some(counts) = counts.as_str() else {
            let [Some(key), value] = cells.as_slice() else { continue };
            match key.as_str() {
                "fingerprint" => found.fingerprint.clone_from(value),
                "last_sync_time" => found.last_sync_time.clone_from(value),
                "schema_version" => version.clone_from(value),
                _ => {}
            }
            continue;
        };
        let table = record(counts, cells).ok_or_else(|| strange(READING))?.state()?;
        found.tables.insert(table.source.clone(), table);
    }
    state::check_version(version.as_deref())?;
    Ok(found)
}

fn record(counts: &str, cells: Vec<Option<String>>) -> Option<Record> {
    let (record_count, null_tracked) = counts.split_once(' ')?;
    let named = COLUMNS.iter().map(|name| (*name).to_owned());
    let mut fields: serde_json::Map<String, Value> =
        named.zip(cells.into_iter().map(|cell| cell.map_or(Value::Null, Value::String))).collect();
    fields.insert("record_count".to_owned(), record_count.parse::<i64>().ok()?.into());
    fields.insert("null_tracked".to_owned(), null_tracked.parse::<i64>().ok()?.into());
    serde_json::from_value(Value::Object(fields)).ok()
}
