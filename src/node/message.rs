//! What goes to JavaScript: one ordered stream of JSON texts over one thread-safe function.
//!
//! Events and results share the stream, so the events of a run always arrive before its promise settles.

use napi::bindgen_prelude::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::event::{Event, Failure, Fault, Observer};

/// The JavaScript function that takes the messages. It is weak: waiting for a message keeps no process alive.
pub type Listener = ThreadsafeFunction<String, (), String, Status, false, true>;

/// What [`Outlet`] sends.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Message<'a> {
    Event { event: &'static str, payload: Value },
    Result(Settled<'a>),
}

#[derive(Serialize)]
struct Settled<'a> {
    id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Failure>,
}

/// The native end of the stream.
pub struct Outlet(Listener);

impl Outlet {
    /// An outlet to `listener`.
    pub fn new(listener: Listener) -> Self {
        Self(listener)
    }

    /// Settles the promise of call `id`.
    pub fn settle(&self, id: u32, outcome: &Result<Value, Failure>) {
        let (value, error) = match outcome {
            Ok(value) => (Some(value), None),
            Err(failure) => (None, Some(failure)),
        };
        self.send(&Message::Result(Settled { id, value, error }));
    }

    fn send(&self, message: &Message) {
        let text = serde_json::to_string(message).unwrap_or_else(|error| {
            // Only a map with keys that are not strings could get here.
            json!({ "type": "event", "event": "log", "payload": {
                "level": "error", "message": format!("Data Sync Plugin: A message was lost: {error}"),
            }})
            .to_string()
        });
        // The only refusal is `Closing`: the JavaScript side, a Worker that has ended, is gone.
        self.0.call(text, ThreadsafeFunctionCallMode::NonBlocking);
    }
}

impl Observer for Outlet {
    fn event(&self, event: Event) {
        let (event, payload) = face(event);
        self.send(&Message::Event { event, payload });
    }
}

/// The event's public name and payload.
fn face(event: Event) -> (&'static str, Value) {
    match event {
        Event::SyncStart { tables } => ("syncStart", json!({ "tables": tables })),
        Event::TableStart { table, mode, phase } => {
            ("tableStart", json!({ "table": table, "mode": mode, "phase": phase }))
        }
        Event::Progress { table, phase, rows, estimated_rows, rows_per_second } => (
            "progress",
            json!({
                "table": table,
                "phase": phase,
                "rows": rows,
                "estimatedRows": estimated_rows,
                "rowsPerSecond": rows_per_second,
            }),
        ),
        Event::TableComplete { table, stats } => {
            let mut payload = json!({ "table": table });
            if let (Value::Object(payload), Value::Object(stats)) = (&mut payload, json!(stats)) {
                payload.extend(stats);
            }
            ("tableComplete", payload)
        }
        Event::SchemaChange { table, changes } => ("schemaChange", json!({ "table": table, "changes": changes })),
        Event::Log { level, message } => ("log", json!({ "level": level, "message": message })),
        Event::SyncComplete(stats) => ("syncComplete", json!(stats)),
        Event::SyncError(failure) => ("syncError", json!(failure)),
    }
}

/// A failure outside a run, in the form that runs fail with.
pub fn failure(error: &crate::error::Error) -> Failure {
    Failure { first: Fault::from(error), stats: None, errors: Vec::new(), plan: None }
}
