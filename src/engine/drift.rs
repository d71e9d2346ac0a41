//! What changed in a table's schema since the last run, and what that asks of the target.

use crate::config::SchemaDrift;
use crate::error::{Error, Kind, Result};
use crate::event::{ChangeKind, SchemaChange};
use crate::target::{Ddl, TablePhase, TableState};

use super::plan::Plan;

/// What a run has to do before it reads rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Every difference, for the event.
    pub changes: Vec<SchemaChange>,
    /// What `prepare` runs.
    pub steps: Vec<Ddl>,
    /// Rows that are there lack values: all rows are to be read anew.
    pub refill: bool,
    /// The table can't be changed into the new shape: it is to be built anew.
    pub rebuild: bool,
}

/// Compares `plan` with what the state remembers and applies the user's `policy`; with `freeze`, new columns are taken
/// out of the plan.
///
/// # Errors
/// `SCHEMA` when the policy forbids what changed.
pub fn compare(plan: &mut Plan, state: &TableState, policy: SchemaDrift) -> Result<Drift> {
    let changes = changes(plan, state);
    if changes.is_empty() {
        return Ok(Drift::default());
    }
    let retyped = |change: &SchemaChange| matches!(change.kind, ChangeKind::ColumnRetyped | ChangeKind::KeyChanged);
    let policy = policy_of(state, policy);
    let forbidden = match policy {
        SchemaDrift::Fail => true,
        SchemaDrift::Freeze => changes.iter().any(retyped),
        SchemaDrift::Evolve => false,
    };
    if forbidden {
        let told: Vec<String> = changes.iter().map(tell).collect();
        return Err(Error::new(Kind::Schema, format!("The schema of table '{}' changed", plan.replica.target))
            .because(format!("{}; schema_drift forbids it: use 'evolve', or reset the table", told.join(", ")))
            .in_table(&plan.replica.target));
    }
    let added: Vec<&str> = changes
        .iter()
        .filter(|change| change.kind == ChangeKind::ColumnAdded)
        .filter_map(|change| change.column.as_deref())
        .collect();
    if policy == SchemaDrift::Freeze {
        let table = &plan.replica.source;
        let keep = |source: usize| !added.contains(&table.columns[source].name.as_str());
        let key: Vec<String> = plan.key_names();
        plan.replica.columns.retain(|column| keep(column.source));
        plan.replica.key =
            key.iter().filter_map(|name| plan.replica.columns.iter().position(|column| column.name == *name)).collect();
        return Ok(Drift { changes, ..Drift::default() });
    }
    let rebuild = changes.iter().any(retyped);
    // A column that was dropped and is back under the same name is still in the target.
    let kept = |name: &str| state.columns.iter().any(|column| column.target == name);
    let new: Vec<usize> =
        (0..plan.replica.columns.len()).filter(|&index| !kept(&plan.replica.columns[index].name)).collect();
    let steps = if rebuild || new.is_empty() { Vec::new() } else { vec![Ddl::AddColumns(new)] };
    // What grows with its rows had no value in any of those that were read before.
    let refill = !rebuild && !added.is_empty() && !plan.replica.source.grows;
    Ok(Drift { changes, steps, refill, rebuild })
}

/// The user's `policy`, as far as it binds the table of `state`: one that was reset takes what there is.
pub fn policy_of(state: &TableState, policy: SchemaDrift) -> SchemaDrift {
    if state.phase == TablePhase::Reset { SchemaDrift::Evolve } else { policy }
}

fn changes(plan: &Plan, state: &TableState) -> Vec<SchemaChange> {
    let mut changes = Vec::new();
    for column in &plan.replica.columns {
        let now = plan.stored(column);
        let Some(before) = state.columns.iter().find(|before| before.source == now.source) else {
            changes.push(change(ChangeKind::ColumnAdded, &now.source, None, Some(now.declared)));
            continue;
        };
        if !before.has_form_of(&now) {
            let from = Some(before.declared.clone());
            changes.push(change(ChangeKind::ColumnRetyped, &now.source, from, Some(now.declared)));
        } else if !before.present {
            changes.push(change(ChangeKind::ColumnAdded, &now.source, None, Some(now.declared)));
        }
    }
    for before in state.columns.iter().filter(|before| before.present) {
        let there = |source: usize| plan.replica.source.columns[source].name == before.source;
        if !plan.replica.columns.iter().any(|column| there(column.source)) {
            changes.push(change(ChangeKind::ColumnDropped, &before.source, Some(before.declared.clone()), None));
        }
    }
    let key = plan.key_names();
    if key != state.key {
        let list = |names: &[String]| (!names.is_empty()).then(|| names.join(", "));
        changes.push(SchemaChange {
            kind: ChangeKind::KeyChanged,
            column: None,
            from: list(&state.key),
            to: list(&key),
        });
    }
    changes
}

fn change(kind: ChangeKind, column: &str, from: Option<String>, to: Option<String>) -> SchemaChange {
    SchemaChange { kind, column: Some(column.to_owned()), from, to }
}

/// A change as the log says it.
pub fn tell(change: &SchemaChange) -> String {
    let column = change.column.as_deref().unwrap_or_default();
    let from = change.from.as_deref().unwrap_or("none");
    let to = change.to.as_deref().unwrap_or("none");
    match change.kind {
        ChangeKind::ColumnAdded => format!("column {column} ({to}) was added"),
        ChangeKind::ColumnDropped => format!("column {column} was dropped (the replica keeps it)"),
        ChangeKind::ColumnRetyped => format!("column {column} changed from {from} to {to}"),
        ChangeKind::KeyChanged => format!("the key changed from ({from}) to ({to})"),
    }
}
