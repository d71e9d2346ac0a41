//! From the driver's failures to ours: which kind, whether waiting helps, and nothing that could be a row's value.

use sqlx::Error as Driver;
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Error, Kind};
use crate::source::driver;
use crate::source::peer::{CONNECT, Peer};
use crate::source::reading::Reading;

use super::sql::quote;

/// The server's number of an error; 0 for none.
pub fn number(error: &dyn DatabaseError) -> u16 {
    error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number)
}

/// Whether the role lacks the right that a statement needs.
pub fn is_denied(error: &Driver) -> bool {
    matches!(error, Driver::Database(error) if matches!(number(error.as_ref()), 1044 | 1142 | 1143 | 1227 | 1370))
}

/// Connecting, or starting the consistent read, failed.
pub fn connect(error: &Driver, peer: &Peer) -> Error {
    driver::connect(error, peer, "MySQL or MariaDB", |error| {
        let number = number(error);
        let refused = matches!(number, 1044 | 1045 | 1698 | 1820 | 1862 | 3118 | 4151);
        // The server is full, starting or stopping, or has locked the host out for a while.
        let passes = matches!(number, 1040 | 1053 | 1129 | 1152 | 1203 | 1226 | 1927);
        Error::new(if refused { Kind::Auth } else { Kind::Connect }, CONNECT).because(cause(error)).transient(passes)
    })
}

/// The driver reported `error` while reading.
pub fn read(reading: &Reading<'_>, error: &Driver) -> Error {
    driver::read(reading, error, refused)
}

fn refused(reading: &Reading<'_>, error: &dyn DatabaseError) -> Error {
    match (number(error), reading.table) {
        (1146 | 1049, Some(table)) => {
            Error::new(Kind::TableNotFound, format!("Table '{table}' not found in external database"))
                .because(cause(error))
                .in_table(table)
        }
        (1142 | 1143 | 1044, _) => {
            let advice = reading.name.map_or_else(String::new, |name| {
                let schema = name.schema.as_deref().map_or_else(String::new, |schema| format!("{}.", quote(schema)));
                format!("; run GRANT SELECT ON {schema}{} TO {}", quote(&name.name), quote(&reading.peer.user))
            });
            reading.failed().because(format!("{}{advice}", cause(error)))
        }
        (1412, _) => reading
            .failed()
            .because("the table was altered, truncated or made after the consistent read began (error 1412)")
            .transient(true),
        (number, _) => {
            // Shutting down, killed, out of connections, a lock or a dead end, a time limit, a Galera node that isn't ready.
            let passes = matches!(
                number,
                1040 | 1047 | 1053 | 1152 | 1158..=1161 | 1203 | 1205 | 1213 | 1317 | 1836 | 1927 | 1969 | 3024 | 4031
            );
            reading.failed().because(cause(error)).transient(passes)
        }
    }
}

/// What the server said, as far as it can't hold a row's value: its message only for numbers that speak of names, states
/// and rights.
fn cause(error: &dyn DatabaseError) -> String {
    const SPEAKING: [u16; 43] = [
        1030, 1040, 1044, 1045, 1046, 1047, 1049, 1053, 1054, 1064, 1102, 1103, 1109, 1111, 1128, 1129, 1130, 1142,
        1143, 1146, 1152, 1203, 1205, 1213, 1226, 1227, 1241, 1251, 1305, 1317, 1356, 1370, 1582, 1630, 1698, 1820,
        1862, 1927, 1969, 3024, 3159, 3593, 4015,
    ];
    let number = number(error);
    if number == 1064 {
        // It quotes the statement, in which only what the user wrote can be wrong.
        return format!("the server doesn't understand where, select or a view (error {number})");
    }
    if SPEAKING.contains(&number) {
        format!("{} (error {number})", error.message())
    } else {
        format!("the server refused a value, in where, in select or in a view (error {number})")
    }
}
