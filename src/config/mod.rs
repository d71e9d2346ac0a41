//! What the user wants: options, environment and wrangler file, validated.
//!
//! Options are read by [`Options::parse`], without I/O; where no source is given there, [`Options::source`] finds it in
//! the environment, in `.dev.vars` and in the wrangler file.

mod address;
mod dotenv;
mod endpoints;
mod environment;
mod local;
mod options;
mod section;
mod tables;
mod wrangler;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Level, Mode};
use crate::mapping::SqliteType;
use crate::mapping::mask::Mask;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use environment::source_of;
pub use environment::{Resolved, Surroundings};
pub use section::{OptionError, OptionErrorClass};

/// Something that must never be printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    /// PostgreSQL.
    Postgresql(ServerConfig),
    /// MySQL or MariaDB.
    Mysql(ServerConfig),
    /// MongoDB, by its connection string.
    Mongodb {
        /// `mongodb://` or `mongodb+srv://`, with credentials.
        uri: Secret,
    },
    /// Turso (libSQL).
    Turso {
        /// `libsql://`, `https://` or `http://`.
        uri: String,
        /// The database's token.
        token: Option<Secret>,
    },
    /// Another StarbaseDB.
    Starbasedb {
        /// Its address.
        uri: String,
        /// Its admin or client token.
        token: Secret,
    },
    /// Cloudflare D1 over its REST interface.
    D1 {
        /// API token, or global key with `email`.
        api_key: Secret,
        /// The account.
        account_id: String,
        /// The database.
        database_id: String,
        /// The account's e-mail address, for a global key.
        email: Option<String>,
        /// Another base address, for proxies and tests.
        url: Option<String>,
    },
    /// A local SQLite file.
    Sqlite {
        /// Its path.
        path: PathBuf,
    },
}

/// A database server that is reached over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it is and who we are.
    pub address: ServerAddress,
    /// The default schema: `public` for PostgreSQL unless given.
    pub schema: Option<String>,
    /// How the connection is protected; `None` leaves it to the URL, else to `prefer`.
    pub ssl: Option<Ssl>,
    /// A PEM file with certificate authorities to trust besides the public ones.
    pub ca_cert: Option<PathBuf>,
}

/// Where a server is and who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// A connection URL, with credentials.
    Url(Secret),
    /// The same in parts.
    Parts {
        /// Name or address; a path names a socket's directory.
        host: String,
        /// 5432 or 3306 unless given.
        port: u16,
        /// The role.
        user: String,
        /// Its password.
        password: Secret,
        /// The database.
        database: String,
    },
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ssl {
    /// Never encrypted.
    Disable,
    /// Encrypted when the server can; certificates are not checked.
    Prefer,
    /// Always encrypted; certificates are checked only when `ca_cert` is given, and then without the host name.
    Require,
    /// Always encrypted; the certificate must be valid for the host name.
    VerifyFull,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetConfig {
    /// A SQLite file.
    Sqlite {
        /// Its path.
        path: PathBuf,
    },
    /// The SQLite file of the StarbaseDB that `wrangler dev` runs here.
    Local,
    /// A deployed StarbaseDB.
    Starbasedb {
        /// Its address.
        url: String,
        /// Its admin token.
        token: Secret,
    },
}

/// A target as users are told of it, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TargetPlace {
    /// A SQLite file.
    Sqlite {
        /// Its path.
        path: String,
    },
    /// A deployed StarbaseDB.
    Starbasedb {
        /// Its address.
        url: String,
    },
}

impl TargetConfig {
    /// Where it is; `None` for a local StarbaseDB that was not looked for.
    pub fn place(&self) -> Option<TargetPlace> {
        match self {
            Self::Sqlite { path } => Some(TargetPlace::Sqlite { path: path.display().to_string() }),
            Self::Starbasedb { url, .. } => Some(TargetPlace::Starbasedb { url: url.clone() }),
            Self::Local => None,
        }
    }
}

/// What happens to rows of the target that left the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletes {
    /// They stay.
    None,
    /// They are deleted.
    Hard,
    /// They stay and get a `_deleted_at`.
    Soft,
}

/// What a changed source schema does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaDrift {
    /// The target follows.
    Evolve,
    /// The target stays as it is; what it can't hold is an error.
    Freeze,
    /// Any difference is an error.
    Fail,
}

/// What becomes of a zero date such as `0000-00-00`, which no calendar has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroDates {
    /// It stays the source's text.
    Text,
    /// It becomes NULL.
    Null,
}

/// The wish for a table's mode; `None` in [`TableOptions::mode`] means `auto`.
pub type ModeWish = Option<Mode>;

/// How failures that pass are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// The wait before the second try; it doubles from there.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
}

/// The wishes for one table (or for all that its pattern matches).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The table's name without its schema, or a pattern with `*`.
    pub name: String,
    /// The schema, given by itself or as `schema.table`; it may be a pattern too.
    pub schema: Option<String>,
    /// The target's table.
    pub target: Option<String>,
    /// How it is synced.
    pub mode: ModeWish,
    /// The columns whose first non-NULL is tracked.
    pub track_column: Option<Vec<String>>,
    /// The key, for views and for tables without one.
    pub primary_key: Option<Vec<String>>,
    /// Only these columns.
    pub columns: Option<Vec<String>>,
    /// All but these columns.
    pub exclude_columns: Vec<String>,
    /// A condition on the source's rows, as SQL of the source.
    pub filter: Option<String>,
    /// Types of the target's columns, by the column's name at the source.
    pub types: BTreeMap<String, SqliteType>,
    /// Columns whose values don't leave the source, by the column's name there.
    pub masks: BTreeMap<String, Mask>,
    /// Further columns, each with the expression in the source's SQL that computes it.
    pub select: BTreeMap<String, String>,
    /// What happens to rows that left the source.
    pub deletes: Option<Deletes>,
    /// Rows per batch.
    pub batch_size: Option<usize>,
}

/// Everything the user wants, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Time between the starts of two scheduled runs.
    pub sync_interval: Duration,
    /// The tables; empty means all.
    pub tables: Vec<TableOptions>,
    /// Rows per committed batch.
    pub batch_size: usize,
    /// The columns whose first non-NULL is tracked; `None` when the user said nothing.
    pub track_column: Option<Vec<String>>,
    /// Whether anything may run.
    pub enabled: bool,
    /// Where rows go; `None` leaves it to `$STARBASEDB_DATABASE`, else to `./starbasedb.sqlite`.
    pub target: Option<TargetConfig>,
    /// Where rows come from; `None` leaves it to the environment.
    pub source: Option<SourceConfig>,
    /// The wrangler file, when the user named one.
    pub config: Option<PathBuf>,
    /// The wrangler environment.
    pub environment: Option<String>,
    /// Types of the target's columns, by the type's name at the source, lower case.
    pub type_map: BTreeMap<String, SqliteType>,
    /// What becomes of zero dates.
    pub zero_dates: ZeroDates,
    /// How far to look back in a time column, in seconds.
    pub lookback: f64,
    /// How far to look back in a number column.
    pub lookback_values: u64,
    /// What happens to rows that left the source; `None` when the user said nothing.
    pub deletes: Option<Deletes>,
    /// The largest share of a table that a reconcile may delete.
    pub delete_limit: f64,
    /// What a changed source schema does.
    pub schema_drift: SchemaDrift,
    /// When a run counts as slow.
    pub slow_sync_warning: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the source may be silent.
    pub query_timeout: Duration,
    /// How failures that pass are tried again.
    pub retry: Retry,
    /// The least urgent line that is logged.
    pub log_level: Level,
}
