//! Addresses: what is wrong with one, and what of it says which database it is.
//!
//! Whatever is said here may be shown: never a user, a password, a token or a query.

use std::fmt;

use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use super::{ServerAddress, ServerConfig, SourceConfig};

/// How a MongoDB connection string may begin.
pub(super) const MONGODB: &[&str] = &["mongodb", "mongodb+srv"];
/// How a Turso address may begin.
pub(super) const TURSO: &[&str] = &["libsql", "https", "http"];
/// How the address of an HTTP interface may begin.
pub(super) const HTTP: &[&str] = &["https", "http"];

/// The systems that are reached over a connection of their own and named alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerKind {
    /// PostgreSQL.
    Postgresql,
    /// MySQL and MariaDB.
    Mysql,
}

impl ServerKind {
    /// How its URLs may begin.
    pub(super) const fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Postgresql => &["postgresql", "postgres"],
            Self::Mysql => &["mysql", "mariadb"],
        }
    }

    /// Where it listens unless told otherwise.
    pub(super) const fn default_port(self) -> u16 {
        match self {
            Self::Postgresql => 5432,
            Self::Mysql => 3306,
        }
    }

    /// Its source.
    pub(super) fn source(self, server: ServerConfig) -> SourceConfig {
        match self {
            Self::Postgresql => SourceConfig::Postgresql(server),
            Self::Mysql => SourceConfig::Mysql(server),
        }
    }
}

/// What an address with one of these schemes looks like.
pub(super) fn form(schemes: &[&str]) -> String {
    let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://…")).collect();
    format!("an address such as {}", schemes.join(" or "))
}

/// What is wrong with the URL of a database server.
pub(super) fn fault_of_server(text: &str, schemes: &[&str]) -> Option<String> {
    let url = match parse(text, schemes) {
        Ok(url) => url,
        Err(fault) => return Some(fault),
    };
    // A password with a bare '/', '#' or '@' ends the address early: its rest would pass for a host or a database.
    let path = url.path().strip_prefix('/').unwrap_or_default();
    let torn = path.contains(['/', '@']) || url.fragment().is_some();
    torn.then(|| {
        "a URL with '/', '@' or '#' after its host; such signs in a user, password or database have to be \
         percent-encoded"
            .to_owned()
    })
}

/// What is wrong with an address that is reached over HTTP.
pub(super) fn fault_of_http(text: &str, schemes: &[&str]) -> Option<String> {
    let url = match parse(text, schemes) {
        Ok(url) => url,
        Err(fault) => return Some(fault),
    };
    if url.host_str().is_none_or(str::is_empty) {
        return Some("a URL without a host".to_owned());
    }
    let extra = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
    extra.then(|| "a URL with credentials or a query, which belong into an option or variable of their own".to_owned())
}

/// What is wrong with MongoDB's connection string, which may name several hosts and so is not quite a URL.
pub(super) fn fault_of_mongodb(text: &str) -> Option<String> {
    if let Err(fault) = scheme(text, MONGODB) {
        return Some(fault);
    }
    let parts = MongoParts::of(text);
    if parts.userinfo.is_some_and(|userinfo| userinfo.contains('@')) || parts.path.contains(['@', '/']) {
        return Some("a URL whose user or password is not percent-encoded".to_owned());
    }
    let possible = |host: &str| match host.rsplit_once(':') {
        _ if host.is_empty() => false,
        Some((name, number)) if !host.ends_with(']') => !name.is_empty() && super::section::port(number).is_some(),
        _ => true,
    };
    (!parts.hosts.split(',').all(possible)).then(|| "a URL without a proper list of hosts".to_owned())
}

fn scheme(text: &str, schemes: &[&str]) -> Result<(), String> {
    let found = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match found {
        Some(found) if schemes.contains(&found.as_str()) => Ok(()),
        Some(found) if found.len() <= 16 && found.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+') => {
            Err(format!("a URL that begins with {found}://"))
        }
        _ => Err("a string that is no URL".to_owned()),
    }
}

fn parse(text: &str, schemes: &[&str]) -> Result<Url, String> {
    scheme(text, schemes)?;
    // The parser's own words are fixed sentences: they never repeat the input.
    Url::parse(text).map_err(|fault| format!("a URL that can't be read ({fault})"))
}

/// A MongoDB connection string in parts, after the scheme and before the query.
struct MongoParts<'a> {
    userinfo: Option<&'a str>,
    hosts: &'a str,
    path: &'a str,
}

impl<'a> MongoParts<'a> {
    fn of(uri: &'a str) -> Self {
        let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let rest = rest.split_once(['?', '#']).map_or(rest, |(before, _)| before);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, hosts) = match authority.rsplit_once('@') {
            Some((userinfo, hosts)) => (Some(userinfo), hosts),
            None => (None, authority),
        };
        Self { userinfo, hosts, path }
    }
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> String {
    // The decoder at hand is the one of forms, in which these signs mean something.
    let plain = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(plain.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}

/// Which database of which server.
struct Server {
    host: String,
    port: u16,
    database: String,
}

impl Server {
    /// Reads it as the drivers do, so that a URL and the same in parts are one server.
    fn of(address: &ServerAddress, kind: ServerKind) -> Self {
        let mut server = match address {
            ServerAddress::Parts { host, port, database, .. } => {
                Self { host: host.clone(), port: *port, database: database.clone() }
            }
            ServerAddress::Url(secret) => Self::of_url(&secret.0, kind),
        };
        if !server.host.starts_with('/') {
            server.host = server.host.trim_matches(['[', ']']).to_lowercase();
        }
        server
    }

    fn of_url(text: &str, kind: ServerKind) -> Self {
        let mut server = Self { host: "localhost".to_owned(), port: kind.default_port(), database: String::new() };
        let Ok(url) = Url::parse(text) else { return server };
        if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
            server.host = decoded(host);
        }
        server.port = url.port().unwrap_or(server.port);
        server.database = decoded(url.path().trim_start_matches('/'));
        if kind == ServerKind::Postgresql {
            server.override_by_query(&url);
        }
        server
    }

    /// libpq's rules: parameters stand above the URL's parts, and who names no database gets the one that is called
    /// like the user.
    fn override_by_query(&mut self, url: &Url) {
        let mut user = decoded(url.username());
        for (name, value) in url.query_pairs() {
            match &*name {
                "host" | "hostaddr" => self.host = value.into_owned(),
                "port" => self.port = value.parse().unwrap_or(self.port),
                "dbname" => self.database = value.into_owned(),
                "user" => user = value.into_owned(),
                _ => {}
            }
        }
        if self.database.is_empty() {
            self.database = user;
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")?;
        } else {
            write!(f, "{host}:{port}")?;
        }
        if database.is_empty() { Ok(()) } else { write!(f, ", database {database}") }
    }
}

/// Host, port and path of an address that was validated; the scheme only says how to get there.
fn place(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return String::new() };
    let host = url.host_str().unwrap_or_default().to_lowercase();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{host}{port}{}", url.path().trim_end_matches('/'))
}

impl SourceConfig {
    /// The source's type, as users write it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Postgresql(_) => "postgresql",
            Self::Mysql(_) => "mysql",
            Self::Mongodb { .. } => "mongodb",
            Self::Turso { .. } => "turso",
            Self::Starbasedb { .. } => "starbasedb",
            Self::D1 { .. } => "d1",
            Self::Sqlite { .. } => "sqlite",
        }
    }

    /// The source for people, free of secrets, such as `postgresql at db.example.com:5432, database app`.
    pub fn describe(&self) -> String {
        let kind = self.kind();
        match self {
            Self::Postgresql(server) => format!("{kind} at {}", Server::of(&server.address, ServerKind::Postgresql)),
            Self::Mysql(server) => format!("{kind} at {}", Server::of(&server.address, ServerKind::Mysql)),
            Self::Mongodb { uri } => {
                let parts = MongoParts::of(&uri.0);
                let database = if parts.path.is_empty() { "test".to_owned() } else { decoded(parts.path) };
                format!("{kind} at {}, database {database}", parts.hosts)
            }
            Self::Turso { uri, .. } | Self::Starbasedb { uri, .. } => format!("{kind} at {}", place(uri)),
            Self::D1 { account_id, database_id, .. } => {
                format!("{kind} database {database_id} of account {account_id}")
            }
            Self::Sqlite { path } => format!("{kind} file {}", path.display()),
        }
    }

    /// What says which source it is, stable and free of secrets: 16 hexadecimal digits over the type, the place and the
    /// database. User, password, token, query and encryption may change without its being another source.
    pub fn fingerprint(&self) -> String {
        let server = |address, kind| {
            let Server { host, port, database } = Server::of(address, kind);
            vec![host, port.to_string(), database]
        };
        let place = match self {
            Self::Postgresql(config) => server(&config.address, ServerKind::Postgresql),
            Self::Mysql(config) => server(&config.address, ServerKind::Mysql),
            Self::Mongodb { uri } => {
                let parts = MongoParts::of(&uri.0);
                vec![parts.hosts.to_lowercase(), decoded(parts.path)]
            }
            Self::Turso { uri, .. } | Self::Starbasedb { uri, .. } => vec![place(uri)],
            Self::D1 { account_id, database_id, .. } => vec![account_id.clone(), database_id.clone()],
            Self::Sqlite { path } => vec![path.to_string_lossy().into_owned()],
        };
        // No part can hold a NUL, so two sources never join to one text.
        let text = format!("{}\0{}", self.kind(), place.join("\0"));
        let digest = Sha256::digest(text.as_bytes());
        let start = digest.iter().take(8).fold(0, |start: u64, byte| start << 8 | u64::from(*byte));
        format!("{start:016x}")
    }
}
