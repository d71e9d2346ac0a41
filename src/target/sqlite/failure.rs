//! What SQLite's errors mean for the user.

use rusqlite::{ErrorCode, ffi};

use crate::error::{Error, Kind};

/// A failure on its way up, before the place that knows the user's words has named what was tried.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite's own.
    Sqlite(rusqlite::Error),
    /// One that is told already.
    Told(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl Failure {
    /// The failure in the user's words; `context` says what was tried.
    pub(super) fn within(self, context: String) -> Error {
        match self {
            Self::Told(error) => error,
            Self::Sqlite(error) => {
                let busy =
                    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked));
                Error::new(if busy { Kind::TargetBusy } else { Kind::TargetWrite }, context).because(cause(&error))
            }
        }
    }

    /// The same for a change of a table's shape, where a statement that SQLite can't accept is a matter of the schema.
    pub(super) fn within_schema(self, context: String) -> Error {
        match self {
            Self::Sqlite(error) if is_unfit(&error) => Error::new(Kind::Schema, context).because(cause(&error)),
            other => other.within(context),
        }
    }
}

/// Whether SQLite can't accept the statement as such.
pub(super) fn is_unfit(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqlInputError { .. }) || error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

/// What happened, free of row values.
pub(super) fn cause(error: &rusqlite::Error) -> String {
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    if let rusqlite::Error::SqlInputError { msg, .. } = error {
        return msg.clone();
    }
    let plain = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "database is locked: another program has been writing to it for longer than 5 seconds"
        }
        Some(ErrorCode::DiskFull) => "database or disk is full: make room, then run again",
        Some(ErrorCode::TooBig) => "a value is larger than SQLite takes (1 GB)",
        Some(ErrorCode::ReadOnly) if extended == ffi::SQLITE_READONLY_DBMOVED => {
            "the file was moved or deleted while it was in use"
        }
        Some(ErrorCode::ReadOnly) => "the database is read-only: make the file and its directory writable",
        Some(ErrorCode::CannotOpen) => {
            "unable to open database file: whoever runs this needs the right to read and write it, \
              the -wal and -shm beside it, and their directory"
        }
        Some(ErrorCode::NotADatabase) => {
            "file is not a database, but another kind of file, or encrypted: name a SQLite file with database, or one that \
              isn't there yet, or move this one away"
        }
        Some(ErrorCode::DatabaseCorrupt) => "the database is damaged: restore it from a backup or delete it",
        // A trigger words its own message, which may quote the row.
        Some(ErrorCode::ConstraintViolation) if extended == ffi::SQLITE_CONSTRAINT_TRIGGER => {
            "a trigger on the table refused a row"
        }
        _ => return error.to_string(),
    };
    plain.to_owned()
}
