//! What a failed read is called.

use std::io;
use std::time::Duration;

use crate::error::{Error, Kind};
use crate::schema::{Table, TableName};

use super::peer::Peer;

/// A column's value doesn't go into SQLite.
pub fn too_large(column: &str) -> Error {
    Error::new(Kind::SourceRead, format!("Column '{column}' makes a row of more than 1 GB"))
        .because("SQLite takes no such row; leave the column out with exclude_columns")
}

/// The column `name` of the option `select` can't be computed.
pub fn not_computed(table: &Table, name: &str, error: &Error) -> Error {
    // A lost connection is nobody's in particular.
    if error.is_transient() || error.kind().ends_run() {
        return error.clone();
    }
    Error::new(Kind::SourceRead, format!("Column '{name}' of table '{}' can't be computed by select", table.name.name))
        .because(error.cause().unwrap_or("the external database refused the expression"))
}

/// What was being read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The table as users name it; `None` for the catalog.
    pub table: Option<&'a str>,
    /// The table at the source.
    pub name: Option<&'a TableName>,
    /// Who we are.
    pub peer: &'a Peer,
}

impl Reading<'_> {
    fn context(&self) -> String {
        match self.table {
            Some(table) => format!("Failed to read table '{table}' from external database"),
            None => "Failed to read the catalog of external database".to_owned(),
        }
    }

    /// A failure to read, without its cause.
    pub fn failed(&self) -> Error {
        let error = Error::new(Kind::SourceRead, self.context());
        match self.table {
            Some(table) => error.in_table(table),
            None => error,
        }
    }

    /// The server was silent for too long.
    pub fn timeout(&self, limit: Duration) -> Error {
        self.failed()
            .because(format!("no answer for {} s; the option query_timeout sets this limit", limit.as_secs_f64()))
            .transient(true)
    }

    /// A defect in what came, or in what we expected.
    pub fn because(&self, cause: impl std::fmt::Display) -> Error {
        self.failed().because(cause)
    }

    /// The connection broke with `error`.
    pub fn cut(&self, error: &io::Error) -> Error {
        let failed = self.failed().transient(true);
        match error.kind() {
            io::ErrorKind::UnexpectedEof => failed.because("the server closed the connection"),
            _ => failed.because(format!("{error} ({})", self.peer)),
        }
    }
}
