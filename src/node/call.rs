//! The calls JavaScript makes, by name and with a JSON argument.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::message::failure;
use crate::engine::DataSync;
use crate::error::{Error, Kind};
use crate::event::Failure;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trigger {
    tables: Option<Vec<String>>,
    dry_run: bool,
}

#[derive(Deserialize)]
struct Verify {
    tables: Option<Vec<String>>,
    repair: bool,
}

#[derive(Deserialize)]
struct Reset {
    table: Option<String>,
}

/// Makes the call `method` on `core`.
pub async fn make(core: DataSync, method: &str, argument: &str, cancel: CancellationToken) -> Result<Value, Failure> {
    match method {
        "triggerSync" => {
            let Trigger { tables, dry_run } = read(argument)?;
            if dry_run {
                // A plan writes nothing, so it can be left at any point.
                tokio::select! {
                    plan = core.plan(tables) => write(plan?),
                    () = cancel.cancelled() => {
                        Err(failure(&Error::new(Kind::Aborted, "The sync was aborted")))
                    }
                }
            } else {
                write(core.sync(tables, cancel).await?)
            }
        }
        "verify" => {
            let Verify { tables, repair } = read(argument)?;
            write(core.verify(tables, repair, cancel).await?)
        }
        "getSyncStatus" => write(core.status().await.map_err(|error| failure(&error))?),
        "resetSyncState" => {
            let Reset { table } = read(argument)?;
            core.reset(table).await.map_err(|error| failure(&error))?;
            Ok(Value::Null)
        }
        "stop" => {
            core.stop().await;
            Ok(Value::Null)
        }
        other => Err(internal(format!("There is no method '{other}'"))),
    }
}

fn read<T: DeserializeOwned>(argument: &str) -> Result<T, Failure> {
    serde_json::from_str(argument).map_err(internal)
}

fn write(value: impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(internal)
}

/// A defect of ours, told as a failure.
pub fn internal(cause: impl std::fmt::Display) -> Failure {
    failure(&Error::new(Kind::Internal, "Internal error").because(cause))
}
