//! The open database: its connection, what is known of it, and everything but rows, stages and asides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};

use super::connection::{self, identity};
use super::ddl;
use super::failure::Failure;
use super::feed::Feed;
use super::state::{self, Rows};
use super::write::{Statement, Tally};
use crate::error::{Error, Kind, Result};
use crate::replica::Replica;
use crate::target::state::HAND_ON;
use crate::target::{Ddl, Existing, TablePhase, TableState};

/// The open database.
pub(super) struct Database {
    pub(super) conn: Connection,
    /// The batches that statements read.
    pub(super) feed: Feed,
    path: PathBuf,
    identity: Option<(u64, u64)>,
    /// The write-ahead log's path, and which file it was when the database was made ready.
    log: (PathBuf, Option<(u64, u64)>),
    /// Whether the file has its settings and the state's tables.
    ready: bool,
    /// Rows that came and went in the table at hand.
    pub(super) tally: Arc<Tally>,
    /// The statement of the last write, because the next one is mostly of the same kind.
    pub(super) statement: Option<Statement>,
    /// The target's table whose keys are staged.
    pub(super) staged: Option<String>,
    /// Whether the keys that the stage lacks are listed.
    pub(super) compared: bool,
    /// Whether anything but the state was written since the last checkpoint.
    pub(super) behind: bool,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let conn = connection::open(path)?;
        // A file without a name has none beside it.
        let mut log =
            if connection::is_nameless(path) { path.to_owned() } else { connection::resolve(path)? }.into_os_string();
        log.push("-wal");
        let feed = Feed::new(&conn).map_err(|error| connection::opening(path, error))?;
        Ok(Self {
            conn,
            feed,
            path: path.to_owned(),
            identity: identity(path),
            log: (log.into(), None),
            ready: false,
            tally: Arc::default(),
            statement: None,
            staged: None,
            compared: false,
            behind: false,
        })
    }

    /// Whether the file at the path is still the one that is open.
    pub(super) fn in_place(&self) -> bool {
        self.identity == identity(&self.path)
    }

    /// Whether the write-ahead log that this connection writes to was taken away from beside the file.
    pub(super) fn lost_its_log(&self) -> bool {
        self.log.1.is_some() && self.log.1 != identity(&self.log.0) && self.in_place()
    }

    /// Whether rows were written that may not be in the file itself yet.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Moves the write-ahead log into the file, as far as readers let it: closing alone leaves it.
    pub(super) fn checkpoint(&mut self, mode: &str) {
        self.behind = false;
        if !self.lost_its_log() {
            // What can't be done now, because a reader is in the way, is done the next time.
            let _ = self.conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
        }
    }

    /// Makes the file ready for a write: settings and the state's tables.
    pub(super) fn ready(&mut self) -> Result<(), Failure> {
        // SQLite would go on and write to a file that nobody will ever read.
        if !self.in_place() {
            let moved = "the file was moved or deleted while it was in use: run again to start with a new one";
            return Err(connection::cannot_open(&self.path).because(moved).into());
        }
        if !self.ready {
            connection::settle(&self.conn)?;
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            state::create(&tx)?;
            tx.commit()?;
            self.log.1 = identity(&self.log.0);
            self.ready = true;
        }
        Ok(())
    }

    /// Whether the state's tables are gone that this connection made or met: somebody emptied the file, or put an older copy's
    /// pages into it.
    pub(super) fn lost_its_state(&self) -> bool {
        self.ready && !state::exists(&self.conn).unwrap_or(true)
    }

    /// Whether an earlier run left a state; makes none.
    fn has_state(&self) -> Result<bool, Failure> {
        let there = state::exists(&self.conn)?;
        if there {
            state::check_version(&self.conn)?;
        }
        Ok(there)
    }

    pub(super) fn existing(&self, name: &str) -> Result<Option<Existing>> {
        ddl::existing(&self.conn, name)
            .map_err(|failure| failure.within(format!("Failed to read target database '{}'", self.path.display())))
    }

    pub(super) fn prepare(&mut self, replica: &Replica, steps: &[Ddl], state: &TableState) -> Result<()> {
        let creates = steps.contains(&Ddl::Create);
        self.statement = None;
        self.try_prepare(replica, steps, creates, state).map_err(|failure| {
            let what = if creates { "create" } else { "change" };
            failure.within_schema(format!("Failed to {what} table '{}'", replica.target))
        })
    }

    fn try_prepare(
        &mut self,
        replica: &Replica,
        steps: &[Ddl],
        creates: bool,
        state: &TableState,
    ) -> Result<(), Failure> {
        ddl::check_width(replica, ddl::MAX_COLUMNS, "SQLite")?;
        self.ready()?;
        self.behind = true;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for step in steps {
            ddl::run(&tx, replica, step)?;
        }
        // A load that starts over is the moment to find rows that somebody else put there or took away.
        let anew = creates
            || (state.phase != TablePhase::Incremental && state.key_position.is_none())
            || state::target_of(&tx, &state.source)?.is_some_and(|target| target != state.target);
        let rows = if anew { Rows::Exactly(ddl::rows(&tx, &replica.target)?) } else { Rows::Change(0) };
        state::put(&tx, state, rows, None)?;
        Ok(tx.commit()?)
    }

    pub(super) fn begin_copy(&mut self, replica: &Replica) -> Result<()> {
        self.statement = None;
        let table = ddl::quote(&replica.target);
        let mut run = || {
            self.ready()?;
            let create = ddl::create(replica, &replica.target);
            Ok(self.conn.execute_batch(&format!("DROP TABLE IF EXISTS main.{table}; {create}"))?)
        };
        run().map_err(|failure: Failure| failure.within(format!("Failed to keep rows of table '{}'", replica.target)))
    }

    pub(super) fn save(&mut self, replica: &Replica, state: &TableState) -> Result<TableState> {
        self.try_save(replica, state, |_| Ok(Rows::Change(0))).map_err(|failure| failure.within(saving(&state.target)))
    }

    pub(super) fn recount(&mut self, replica: &Replica, state: &TableState) -> Result<TableState> {
        let count = |conn: &Connection| Ok(Rows::Exactly(ddl::rows(conn, &state.target)?));
        self.try_save(replica, state, count).map_err(|failure| failure.within(saving(&state.target)))
    }

    fn try_save(
        &mut self,
        replica: &Replica,
        state: &TableState,
        rows: impl FnOnce(&Connection) -> Result<Rows, Failure>,
    ) -> Result<TableState, Failure> {
        self.ready()?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let null_tracked = null_tracked(&tx, replica)?;
        state::put(&tx, state, rows(&tx)?, Some(null_tracked))?;
        let (record_count, null_tracked) = state::counts(&tx, &state.source)?;
        tx.commit()?;
        Ok(TableState { record_count, null_tracked, ..state.clone() })
    }

    pub(super) fn hand_on(&mut self, from: &str, to: &str) -> Result<()> {
        let done = self.conn.execute(HAND_ON, [from, to]);
        done.map(drop).map_err(|error| Failure::from(error).within(saving(to)))
    }

    pub(super) fn save_error(&mut self, source: &str, error: Option<&str>) -> Result<()> {
        let run = || {
            if self.has_state()? {
                state::put_error(&self.conn, source, error)?;
            }
            Ok(())
        };
        run().map_err(|failure: Failure| failure.within(saving(source)))
    }

    pub(super) fn reset(&mut self, table: Option<&str>) -> Result<bool> {
        let mut run = || {
            if !self.has_state()? {
                return Ok(table.is_none());
            }
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found = state::reset(&tx, table)?;
            tx.commit()?;
            Ok(found)
        };
        run().map_err(|failure: Failure| failure.within("Failed to reset the sync state".to_owned()))
    }

    pub(super) fn finish_run(&mut self, fingerprint: &str, last_sync_time: Option<&str>) -> Result<()> {
        let mut run = || {
            self.ready()?;
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            state::put_meta(&tx, "fingerprint", fingerprint)?;
            if let Some(time) = last_sync_time {
                state::put_meta(&tx, "last_sync_time", time)?;
            }
            Ok(tx.commit()?)
        };
        run().map_err(|failure: Failure| failure.within("Failed to save the sync state".to_owned()))?;
        // Keys that stay only take room in a temporary file.
        let _ = self.drop_stage();
        Ok(())
    }
}

fn saving(table: &str) -> String {
    format!("Failed to save the sync state of table '{table}'")
}

/// How many rows of the table have no track value.
pub(super) fn null_tracked(conn: &Connection, replica: &Replica) -> Result<u64, Failure> {
    let Some(count) = ddl::null_tracked(replica) else { return Ok(0) };
    if ddl::kind(conn, &replica.target)?.as_deref() != Some("table") {
        return Ok(0);
    }
    Ok(ddl::count(conn, &count)?)
}

/// Refuses a call that must work on staged keys of another table, or of none.
pub(super) fn misplaced(replica: &Replica) -> Failure {
    Error::new(Kind::Internal, format!("The keys of table '{}' are not staged", replica.target)).into()
}
