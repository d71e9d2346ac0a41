//! Opening the database file, and what a connection is set to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::Failure;
use crate::error::{Error, Kind, Result};

/// How long SQLite waits for another program that is writing.
const BUSY: Duration = Duration::from_secs(5);

/// The failure to open the database at `path`, still without its cause.
pub(super) fn cannot_open(path: &Path) -> Error {
    Error::new(Kind::TargetWrite, format!("Failed to open target database '{}'", path.display()))
}

/// How many links that lead on to a missing file are followed, as on Linux.
const MOST_LINKS: usize = 40;

/// The one absolute path of the database, whatever path leads to it and whether or not it is there.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Ok(path) = path.canonicalize() {
            return Ok(path);
        }
        // A link may be there before its file is, which has to be known by the same path from the first.
        let Ok(linked) = path.read_link() else { return missing(&path) };
        path = path.parent().map(|parent| parent.join(&linked)).unwrap_or(linked);
    }
    Err(cannot_open(&path).because("its links lead in a circle"))
}

/// The one absolute path of a file that isn't there.
fn missing(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| cannot_open(path).because("it names no file"))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    parent.canonicalize().map(|parent| parent.join(name)).map_err(|error| {
        cannot_open(path).because(format!("the directory {} can't be used: {error}", parent.display()))
    })
}

/// What makes a file the same file, so that a replaced one is noticed; `None` when there is none.
#[cfg(unix)]
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What makes a file the same file; elsewhere than on Unix an open file can't be replaced.
#[cfg(not(unix))]
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    path.exists().then_some((0, 0))
}

/// Whether `path` stands for a temporary file without a name, which SQLite makes for whoever opens nothing.
pub(super) fn is_nameless(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// The file at `path`, made where it is missing.
fn made(path: &Path) -> Result<PathBuf> {
    if is_nameless(path) {
        return Ok(PathBuf::new());
    }
    let file = resolve(path)?;
    if file.is_dir() {
        return Err(cannot_open(path).because("it is a directory: name a file"));
    }
    create(&file);
    Ok(file)
}

/// Opens the database at `path` for writing.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let file = made(path)?;
    let settings = "PRAGMA foreign_keys = OFF; PRAGMA temp_store = FILE; PRAGMA temp.cache_size = -16384;
        PRAGMA journal_size_limit = 67108864; PRAGMA schema_version;";
    let conn = Connection::open_with_flags(
        &file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .and_then(|conn| {
        keep_log(&conn)?;
        conn.busy_timeout(BUSY)?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch(settings)?;
        Ok(conn)
    })
    .map_err(|error| opening(path, error))?;
    if conn.is_readonly("main").map_err(|error| opening(path, error))? {
        return Err(cannot_open(path).because("the file is read-only: make it writable"));
    }
    Ok(conn)
}

/// Makes the file, if it isn't there, for its owner alone: what it will hold is as confidential as the source. SQLite gives
/// the files beside it the same mode. Where this fails, SQLite says why.
fn create(file: &Path) {
    let mut options = std::fs::OpenOptions::new();
    // Never one that is there: to close it would end the locks that SQLite has on it in this process.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(file));
}

/// Settings that change the file, made when the first write is due.
pub(super) fn settle(conn: &Connection) -> Result<(), Failure> {
    let pages: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
    if pages == 0 {
        conn.pragma_update(None, "page_size", 8192)?;
    }
    // After the page size: SQLite makes a number of pages of it, and keeps that number when pages grow.
    conn.pragma_update(None, "cache_size", -32768)?;
    // Pages, 64 MB of them: each time costs two waits for the disk and as much as a small run does. Mostly it never comes
    // to that, because the log is emptied when the writer has nothing to do.
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 8000, |_| Ok(()))?;
    // A file system without shared memory, or a reader just now, keeps the database in its present mode. Everything
    // works there too, only slower, and is as safe with full synchronisation.
    let wal = conn
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
        .is_ok_and(|mode| mode.eq_ignore_ascii_case("wal"));
    conn.pragma_update(None, "synchronous", if wal { "NORMAL" } else { "FULL" })?;
    Ok(())
}

/// Opens the database at `path` beside a writer, for a short look; `None` when there is no file. Where there is no directory
/// for it either, no run could make one, and that is told.
pub(super) fn look(path: &Path) -> Result<Option<Connection>> {
    let file = resolve(path)?;
    if !file.exists() {
        return Ok(None);
    }
    if file.is_dir() {
        return Err(cannot_open(path).because("it is a directory: name a file"));
    }
    // Not opened read-only, though it only reads: after a crash the first one to open a database has to recover it.
    Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|conn| {
            keep_log(&conn)?;
            conn.busy_timeout(BUSY)?;
            conn.execute_batch("PRAGMA query_only = ON; PRAGMA schema_version;")?;
            Ok(Some(conn))
        })
        .map_err(|error| opening(path, error))
}

/// Leaves the -wal file when this connection closes. Taking it away is right only for the last connection of all, which
/// one library can't tell when another in the same process has the file open too.
fn keep_log(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Why `path` can't be opened.
pub(super) fn opening(path: &Path, error: rusqlite::Error) -> Error {
    Failure::from(error).within(cannot_open(path).to_string())
}
