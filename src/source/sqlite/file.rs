//! A SQLite file on this machine.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags};

use super::link::{Bounds, Fault, Link};
use super::sql::{Bound, Sql};
use crate::batch::Batch;
use crate::source::Limits;
use crate::source::peer::Peer;

/// A page of a file has no way to go, so it need not be large.
const BOUNDS: Bounds = Bounds { values: 999, columns: 2_000, answer: 1 << 20 };

/// The way to a file.
pub struct FileLink {
    path: PathBuf,
    peer: Peer,
    busy: Duration,
    /// Taken out while it is used: a future that is dropped in the middle drops it too.
    connection: Option<Connection>,
}

impl FileLink {
    /// To the file at `path`, which is opened when it is needed.
    pub fn new(path: PathBuf, limits: Limits) -> Self {
        let peer = Peer { host: path.display().to_string(), port: None, user: String::new() };
        Self { path, peer, busy: limits.query, connection: None }
    }

    /// Lets `work` use the connection on a thread that may wait.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let connection = self.connection.take().ok_or_else(|| Fault::Cut("the file was closed".to_owned()))?;
        let mut waiting = Waiting(Some(connection.get_interrupt_handle()));
        let done = tokio::task::spawn_blocking(move || (work(&connection), connection)).await;
        waiting.0 = None;
        let (result, connection) = done.map_err(|_| Fault::Cut("reading the file was given up".to_owned()))?;
        self.connection = Some(connection);
        result
    }
}

/// Whoever waits for a statement. One that nobody waits for any more is ended.
struct Waiting(Option<InterruptHandle>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.interrupt();
        }
    }
}

fn open(path: &std::path::Path, busy: Duration) -> Result<Connection, Fault> {
    let unreachable =
        |cause: String| Fault::Unreachable { cause: format!("{}: {cause}", path.display()), passes: false };
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(unreachable("it is no file".to_owned())),
        Err(error) => return Err(unreachable(error.to_string())),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let told = |error: rusqlite::Error| match fault(&error) {
        Fault::Refused(cause) => unreachable(cause),
        other => other,
    };
    let connection = Connection::open_with_flags(path, flags).map_err(told)?;
    connection.busy_timeout(busy).map_err(told)?;
    // Names the file's first page, so that what is no database is said here.
    connection.query_row("PRAGMA schema_version", [], |_| Ok(())).map_err(told)?;
    Ok(connection)
}

fn fault(error: &rusqlite::Error) -> Fault {
    // Without the statement, which the driver would show: what the user wrote in it is for nobody else.
    let text = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::Busy(text),
        // Another process may be replacing it.
        Some(ErrorCode::SystemIoFailure | ErrorCode::SchemaChanged) => Fault::Cut(text),
        _ => Fault::Refused(text),
    }
}

/// Adds the rows of a statement to `rows`.
pub fn rows_of(connection: &Connection, sql: &Sql, rows: &mut Batch) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&sql.text)?;
    for (index, value) in sql.values.iter().enumerate() {
        match value {
            Bound::Text(text) => statement.raw_bind_parameter(index + 1, text)?,
            Bound::Real(real) => statement.raw_bind_parameter(index + 1, real)?,
        }
    }
    let width = rows.width();
    let mut found = statement.raw_query();
    while let Some(row) = found.next()? {
        for index in 0..width {
            match row.get_ref(index)? {
                ValueRef::Null => rows.push_null(),
                ValueRef::Integer(value) => rows.push_int(value),
                ValueRef::Real(value) => rows.push_real(value),
                ValueRef::Text(text) => rows.push_text(text),
                ValueRef::Blob(blob) => rows.push_blob(blob),
            }
        }
    }
    Ok(())
}

#[async_trait]
impl Link for FileLink {
    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn bounds(&self) -> Bounds {
        BOUNDS
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        // Opened anew, because the file may have been replaced.
        let (path, busy) = (self.path.clone(), self.busy);
        let opened = tokio::task::spawn_blocking(move || {
            let connection = open(&path, busy)?;
            let mode: String =
                connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(|error| fault(&error))?;
            // With a write-ahead log a reader hinders no writer, so the whole run may see one state.
            if mode == "wal" {
                connection.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema").map_err(|error| fault(&error))?;
            }
            Ok(connection)
        });
        self.connection = Some(opened.await.map_err(|_| Fault::Cut("opening the file was given up".to_owned()))??);
        Ok(())
    }

    async fn ask(&mut self, sql: &Sql, rows: &mut Batch) -> Result<(), Fault> {
        let sql = sql.clone();
        let mut taken = std::mem::take(rows);
        *rows = self
            .with(move |connection| {
                rows_of(connection, &sql, &mut taken).map_err(|error| fault(&error))?;
                Ok(taken)
            })
            .await?;
        Ok(())
    }

    async fn end(&mut self) {
        self.connection = None;
    }
}
