//! The lease that keeps a second run out: a row in the target with the holder's name, which ends when nobody renews it.
//!
//! It also numbers changes. A trigger on it refuses a change of somebody else's, and one that was made before, so whatever a
//! network does with a request, it has its effect once and in its turn.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::remote::{DONE, LOST, Remote, Turn, strange};
use crate::error::{Error, Kind, Result};
use crate::target::TargetLock;
use crate::target::state::{CREATE, VERSION, check_version};

/// How long a lease lasts without renewal.
const LEASE: Duration = Duration::from_secs(12);

/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(3);

/// How often one that is taken is asked for again.
const POLL: Duration = Duration::from_millis(300);

const CONTEXT: &str = "Failed to take the lease of the target StarbaseDB";

/// The view that changes go through, see `apply`.
pub(super) const APPLY: &str = "tmp_data_sync_apply";

/// The key in the table of the state's own facts under which a swap is written down, see `exchange`.
pub(super) const SWAP: &str = "swap";

/// When a lease that is taken now ends, in SQL.
fn end() -> String {
    format!("unixepoch('subsec') + {}", LEASE.as_secs())
}

/// The statement that takes the number of a change, and renews the lease: it fails when that was done before, or when the
/// lease is somebody else's.
pub(super) fn guard(turn: &Turn) -> String {
    format!(
        "UPDATE tmp_data_sync_lease SET owner = '{}', number = {}, ends = {} WHERE id = 1",
        turn.owner,
        turn.number,
        end()
    )
}

/// The same inside a trigger, which knows them as `NEW.owner` and `NEW.number`. Counts begin anew.
pub(super) fn guard_of_row() -> String {
    format!(
        "SELECT RAISE(ABORT, '{LOST}') WHERE NOT EXISTS (SELECT 1 FROM tmp_data_sync_lease WHERE owner = NEW.owner);
         UPDATE tmp_data_sync_lease SET owner = NEW.owner, number = NEW.number, ends = {}, inserted = 0, updated = 0,
           deleted = 0 WHERE id = 1;",
        end()
    )
}

/// Takes the lease for the owner `?1` if it is free, and says what the run before may have left.
fn take() -> String {
    format!(
        "{CREATE}
         CREATE TABLE IF NOT EXISTS main.tmp_data_sync_lease (id INTEGER PRIMARY KEY CHECK (id = 1), owner TEXT,
           number INTEGER NOT NULL, ends REAL NOT NULL, inserted INTEGER NOT NULL DEFAULT 0,
           updated INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0);
         CREATE TRIGGER IF NOT EXISTS main.tmp_data_sync_guard BEFORE UPDATE OF number ON tmp_data_sync_lease BEGIN
           SELECT RAISE(ABORT, '{LOST}') WHERE OLD.owner IS NOT NEW.owner;
           SELECT RAISE(ABORT, '{DONE}') WHERE NEW.number <= OLD.number;
         END;
         INSERT INTO tmp_data_sync_meta (key, value) VALUES ('schema_version', '{VERSION}') ON CONFLICT DO NOTHING;
         INSERT INTO tmp_data_sync_lease (id, owner, number, ends) VALUES (1, ?1, 0, {end})
           ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, ends = excluded.ends
           WHERE owner IS NULL OR owner = excluded.owner OR ends < unixepoch('subsec')
           RETURNING number AS c0, (SELECT value FROM tmp_data_sync_meta WHERE key = '{SWAP}') AS c1,
             EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '{APPLY}') AS c2,
             (SELECT value FROM tmp_data_sync_meta WHERE key = 'schema_version') AS c3",
        end = end()
    )
}

/// The lease, held.
pub(super) struct Lease {
    remote: Arc<Remote>,
    renewal: JoinHandle<()>,
    released: bool,
}

/// What a run finds that takes the lease.
pub(super) struct Taken {
    pub(super) lease: Lease,
    /// A swap that was begun and not ended.
    pub(super) swap: Option<String>,
}

/// Waits up to `wait` for the lease, and at least until one ends whose holder is gone.
pub(super) async fn acquire(remote: &Arc<Remote>, wait: Duration) -> Result<Taken> {
    let sql = take();
    let until = Instant::now() + wait.max(LEASE + Duration::from_secs(1));
    loop {
        let rows = remote.ask(&sql, &[Some(&remote.owner)], CONTEXT).await?;
        if let [row] = rows.as_slice() {
            let [number, swap, view, version] = row.as_slice() else { return Err(strange(CONTEXT)) };
            let number = number.as_u64().ok_or_else(|| strange(CONTEXT))?;
            let on_their_way = remote.number_after(number);
            let renewal = tokio::spawn(renew(Arc::clone(remote)));
            let lease = Lease { remote: Arc::clone(remote), renewal, released: false };
            if let Err(error) = check_version(version.as_str()) {
                Box::new(lease).release().await;
                return Err(error);
            }
            if on_their_way || view.as_u64() != Some(0) {
                // The number refuses what an earlier run of ours sent and gave up; the view would keep the user from changing
                // the table that it names.
                remote.change(&format!("DROP VIEW IF EXISTS {APPLY}"), &[], CONTEXT).await?;
            }
            return Ok(Taken { lease, swap: swap.as_str().map(str::to_owned) });
        }
        if Instant::now() >= until {
            return Err(Error::new(Kind::TargetBusy, "Another sync is writing to this StarbaseDB").because(format!(
                "its lease in tmp_data_sync_lease is taken after a wait of {} s: run again when the other one has ended",
                wait.max(LEASE).as_secs_f64()
            )));
        }
        sleep(POLL).await;
    }
}

async fn renew(remote: Arc<Remote>) {
    let sql = format!("UPDATE tmp_data_sync_lease SET ends = {} WHERE owner = ?1", end());
    loop {
        sleep(RENEWAL).await;
        // Without an answer the next one may get through, on another connection; changes renew it too.
        let _ = timeout(RENEWAL, remote.try_ask(&sql, &[Some(&remote.owner)])).await;
    }
}

/// Whether somebody holds the lease now.
pub(super) async fn is_held(remote: &Remote) -> bool {
    let sql = "SELECT owner IS NOT NULL AND ends > unixepoch('subsec') AS c0 FROM tmp_data_sync_lease";
    let rows = remote.try_ask(sql, &[]).await.unwrap_or_default();
    rows.first().and_then(|row| row.first()).and_then(serde_json::Value::as_u64) == Some(1)
}

impl Lease {
    /// Gives the lease back, and takes away what would keep the user from changing tables.
    async fn give_back(remote: &Remote) {
        let sql = format!("DROP VIEW IF EXISTS {APPLY}; UPDATE tmp_data_sync_lease SET owner = NULL WHERE owner = ?1");
        // What fails here ends by itself: the lease with its time, the view with the next run.
        let _ = remote.change(&sql, &[Some(&remote.owner)], CONTEXT).await;
    }
}

#[async_trait]
impl TargetLock for Lease {
    async fn release(mut self: Box<Self>) {
        self.released = true;
        self.renewal.abort();
        Self::give_back(&self.remote).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
        if self.released {
            return;
        }
        // A run that a panic ended, or one that was given up.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let remote = Arc::clone(&self.remote);
            runtime.spawn(async move { Self::give_back(&remote).await });
        }
    }
}
