//! The binding to Node.js: converts and forwards, decides nothing.
//!
//! Options, arguments, results and events cross as JSON text. Nothing here holds a JavaScript object: the listener is a
//! weak thread-safe function, and `index.js` gives it a closure over a `WeakRef`.

// napi's derive takes strings by value. A failure is made once a call, so its size costs nothing.
#![allow(clippy::needless_pass_by_value, clippy::result_large_err)]

mod call;
mod message;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures_util::FutureExt as _;
use napi_derive::napi;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::config::{OptionErrorClass, Options, Surroundings};
use crate::engine::DataSync;
use crate::error::{hush_panics, panic_text};
use crate::event::Level;
use message::{Listener, Outlet};

/// One runtime for all instances of the process, whatever Worker they live in.
static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).thread_name("data-sync").enable_all().build());

fn runtime() -> napi::Result<&'static Runtime> {
    RUNTIME.as_ref().map_err(|error| napi::Error::from_reason(format!("Internal error: no threads: {error}")))
}

#[napi_derive::module_init]
fn init() {
    hush_panics();
}

/// Runs `work` so that a panic reaches JavaScript as an exception: one that left a native function would end the process.
fn guarded<T>(work: impl FnOnce() -> napi::Result<T>) -> napi::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(napi::Error::from_reason(format!("Internal error: {}", panic_text(panic.as_ref()))))
    })
}

fn parse(options_json: &str) -> napi::Result<Value> {
    serde_json::from_str(options_json).map_err(|error| napi::Error::from_reason(format!("Internal error: {error}")))
}

/// Options that `check_options` found good.
fn checked(options_json: &str) -> napi::Result<Options> {
    Options::parse(&parse(options_json)?)
        .map_err(|error| napi::Error::from_reason(format!("Internal error: {}", error.message)))
}

/// Validates options. Returns nothing when they are good, else `{ class, code, message }` as JSON.
///
/// The error is not thrown here, because an error made by native code belongs to the main context: it would not be an
/// `instanceof TypeError` inside a `vm` context, where test runners live.
#[napi]
pub fn check_options(options_json: String) -> napi::Result<Option<String>> {
    guarded(|| {
        let Err(error) = Options::parse(&parse(&options_json)?) else { return Ok(None) };
        let class = match error.class {
            OptionErrorClass::Type => "TypeError",
            OptionErrorClass::Range => "RangeError",
        };
        Ok(Some(json!({ "class": class, "code": error.code, "message": error.message }).to_string()))
    })
}

/// Where rows go by checked options and this process's environment, as JSON and without secrets: `{ type, path }` or
/// `{ type, url }`. Nothing where no place can be told, such as a local StarbaseDB that isn't there: each call says why.
#[napi]
pub fn target_of(options_json: String) -> napi::Result<Option<String>> {
    guarded(|| {
        let options = checked(&options_json)?;
        let place = options.target(&Surroundings::of_process()).ok().and_then(|target| target.place());
        Ok(place.map(|place| json!(place).to_string()))
    })
}

/// The core behind one `DataSyncPlugin`.
#[napi]
pub struct NativeDataSync {
    core: DataSync,
    outlet: Arc<Outlet>,
    running: Arc<Mutex<HashMap<u32, CancellationToken>>>,
}

#[napi]
impl NativeDataSync {
    /// Takes checked options as JSON, the environment's variables as JSON (a Worker has its own, which native code
    /// can't see), and the function that takes every message as JSON.
    #[napi(constructor)]
    pub fn new(
        options_json: String,
        environment_json: String,
        #[napi(ts_arg_type = "(message: string) => void")] on_message: Listener,
    ) -> napi::Result<Self> {
        guarded(|| {
            let options = checked(&options_json)?;
            let env = serde_json::from_str(&environment_json)
                .map_err(|error| napi::Error::from_reason(format!("Internal error: {error}")))?;
            let surroundings = Surroundings { env, ..Surroundings::of_process() };
            let outlet = Arc::new(Outlet::new(on_message));
            let core = DataSync::new(options, surroundings, outlet.clone());
            Ok(Self { core, outlet, running: Arc::default() })
        })
    }

    /// Begins a call; its outcome comes as a message with the same `id`.
    #[napi]
    pub fn call(&self, id: u32, method: String, argument_json: String) -> napi::Result<()> {
        guarded(|| {
            let cancel = CancellationToken::new();
            lock(&self.running).insert(id, cancel.clone());
            let (core, outlet, running) = (self.core.clone(), self.outlet.clone(), self.running.clone());
            let call = async move { call::make(core, &method, &argument_json, cancel).await };
            // A panic ends the call and nothing else.
            let mut call = Box::pin(AssertUnwindSafe(call).catch_unwind());
            let runtime = runtime()?;
            let _inside = runtime.enter();
            // The first step is taken here and now, so that calls take effect in the order in which they are made.
            let at_once = (&mut call).now_or_never();
            runtime.spawn(async move {
                let outcome = match at_once {
                    Some(outcome) => outcome,
                    None => call.await,
                };
                let outcome = outcome.unwrap_or_else(|panic| Err(call::internal(panic_text(panic.as_ref()))));
                lock(&running).remove(&id);
                outlet.settle(id, &outcome);
            });
            Ok(())
        })
    }

    /// Asks call `id` to end; without effect when it has ended.
    #[napi]
    pub fn abort(&self, id: u32) -> napi::Result<()> {
        guarded(|| {
            if let Some(cancel) = lock(&self.running).get(&id) {
                cancel.cancel();
            }
            Ok(())
        })
    }

    /// Begins the schedule.
    #[napi]
    pub fn start(&self) -> napi::Result<()> {
        guarded(|| {
            let _inside = runtime()?.enter();
            self.core.start();
            Ok(())
        })
    }

    /// Sets the least urgent level that is logged.
    #[napi]
    pub fn set_log_level(&self, level: String) -> napi::Result<()> {
        guarded(|| {
            let level: Level = serde_json::from_value(Value::String(level))
                .map_err(|error| napi::Error::from_reason(format!("Internal error: {error}")))?;
            self.core.set_log_level(level);
            Ok(())
        })
    }
}

impl Drop for NativeDataSync {
    /// A Worker that ends takes its JavaScript objects with it; without this its schedule would go on for ever.
    fn drop(&mut self) {
        let core = self.core.clone();
        // A finalizer must neither panic nor wait.
        let _ = guarded(|| {
            drop(runtime()?.spawn(async move { core.stop().await }));
            Ok(())
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
