//! The two ends as options give them: `source`, a union by `type`, and `target`.

use std::path::PathBuf;

use serde_json::Value;

use super::address::{self, ServerKind};
use super::section::{Result, Section, one_of};
use super::{Secret, ServerAddress, ServerConfig, SourceConfig, Ssl, TargetConfig};

/// The words of `ssl`.
pub(super) const SSL: [(&str, Ssl); 4] =
    [("disable", Ssl::Disable), ("prefer", Ssl::Prefer), ("require", Ssl::Require), ("verify-full", Ssl::VerifyFull)];

#[derive(Clone, Copy)]
enum SourceType {
    Server(ServerKind),
    Mongodb,
    Turso,
    Starbasedb,
    D1,
    Sqlite,
}

const SOURCES: [(&str, SourceType); 9] = [
    ("postgresql", SourceType::Server(ServerKind::Postgresql)),
    ("mysql", SourceType::Server(ServerKind::Mysql)),
    ("mongodb", SourceType::Mongodb),
    ("turso", SourceType::Turso),
    ("starbasedb", SourceType::Starbasedb),
    ("d1", SourceType::D1),
    ("sqlite", SourceType::Sqlite),
    ("postgres", SourceType::Server(ServerKind::Postgresql)),
    ("mariadb", SourceType::Server(ServerKind::Mysql)),
];

/// Reads `source`.
pub(super) fn source(path: String, value: &Value) -> Result<SourceConfig> {
    let section = Section::at(path, value, "an object with a type")?;
    let Some(kind) = section.keyword("type", &SOURCES)? else {
        let takes = format!("an object with a type: {}", one_of(SOURCES.iter().map(|(name, _)| *name)));
        return Err(section.lacks(&[("type", false)], &takes));
    };
    match kind {
        SourceType::Server(kind) => server(&section, kind),
        SourceType::Mongodb => {
            section.accept(&["type", "uri"])?;
            let Some(uri) = section.secret("uri", false)? else {
                return Err(section.lacks(&[("uri", false)], "a connection string in uri"));
            };
            match address::fault_of_mongodb(&uri.0) {
                Some(fault) => Err(section.impossible("uri", &fault, &address::form(address::MONGODB))),
                None => Ok(SourceConfig::Mongodb { uri }),
            }
        }
        SourceType::Turso => {
            section.accept(&["type", "uri", "token"])?;
            let token = section.secret("token", false)?;
            let Some(uri) = http(&section, "uri", address::TURSO)? else {
                return Err(section.lacks(&[("uri", false)], "uri, and token unless the database is open"));
            };
            Ok(SourceConfig::Turso { uri, token })
        }
        SourceType::Starbasedb => {
            section.accept(&["type", "uri", "token"])?;
            let (uri, token) = (http(&section, "uri", address::HTTP)?, section.secret("token", false)?);
            let required = [("uri", uri.is_some()), ("token", token.is_some())];
            let (Some(uri), Some(token)) = (uri, token) else {
                return Err(section.lacks(&required, "uri and token"));
            };
            Ok(SourceConfig::Starbasedb { uri, token })
        }
        SourceType::D1 => d1(&section),
        SourceType::Sqlite => {
            section.accept(&["type", "path"])?;
            let Some(path) = file(&section, "path")? else {
                return Err(section.lacks(&[("path", false)], "the path of a SQLite file"));
            };
            Ok(SourceConfig::Sqlite { path })
        }
    }
}

fn server(section: &Section<'_>, kind: ServerKind) -> Result<SourceConfig> {
    let parts = ["host", "port", "user", "password", "database"];
    section.accept(&["type", "url", "host", "port", "user", "password", "database", "schema", "ssl", "ca_cert"])?;
    let schema = section.string("schema", "a schema's name")?;
    let ssl = section.keyword("ssl", &SSL)?;
    let ca_cert = section.path_to("ca_cert", "the path of a PEM file")?;
    let address = if let Some(url) = section.secret("url", false)? {
        if let Some(part) = parts.into_iter().find(|part| section.get(part).is_some()) {
            return Err(section.either("url", part, "give the address as a URL or in parts"));
        }
        if let Some(fault) = address::fault_of_server(&url.0, kind.schemes()) {
            return Err(section.impossible("url", &fault, &address::form(kind.schemes())));
        }
        ServerAddress::Url(url)
    } else {
        let host = section.string("host", "a host's name or address")?;
        let port = section.port("port")?.unwrap_or(kind.default_port());
        let user = section.string("user", "a user's name")?;
        let password = section.secret("password", true)?;
        let database = section.string("database", "a database's name")?;
        let required = [
            ("host", host.is_some()),
            ("user", user.is_some()),
            ("password", password.is_some()),
            ("database", database.is_some()),
        ];
        let (Some(host), Some(user), Some(password), Some(database)) = (host, user, password, database) else {
            return Err(section.lacks(&required, "host, user, password and database, or url alone"));
        };
        if host.contains("://") || host.contains('@') {
            return Err(section.impossible("host", "a URL", "a host's name or address; a URL belongs into 'url'"));
        }
        ServerAddress::Parts { host, port, user, password, database }
    };
    Ok(kind.source(ServerConfig { address, schema, ssl, ca_cert }))
}

fn d1(section: &Section<'_>) -> Result<SourceConfig> {
    section.accept(&["type", "api_key", "account_id", "database_id", "email", "url"])?;
    let api_key = section.secret("api_key", false)?;
    let account_id = section.string("account_id", "an account's id")?;
    let database_id = section.string("database_id", "a database's id")?;
    let required =
        [("api_key", api_key.is_some()), ("account_id", account_id.is_some()), ("database_id", database_id.is_some())];
    let (Some(api_key), Some(account_id), Some(database_id)) = (api_key, account_id, database_id) else {
        return Err(section.lacks(&required, "api_key, account_id and database_id"));
    };
    Ok(SourceConfig::D1 {
        api_key,
        account_id,
        database_id,
        email: section.string("email", "an e-mail address")?,
        url: http(section, "url", address::HTTP)?,
    })
}

/// Reads `target`, or `database`, which is short for a file.
pub(super) fn target(root: &Section<'_>) -> Result<Option<TargetConfig>> {
    let database = file(root, "database")?;
    let Some(value) = root.get("target") else { return Ok(database.map(sqlite_target)) };
    if database.is_some() {
        return Err(root.either("database", "target", "'database' is short for a target of type 'sqlite'"));
    }
    let section = Section::at(root.name("target"), value, "an object with a type")?;
    let Some(sqlite) = section.keyword("type", &[("sqlite", true), ("starbasedb", false)])? else {
        return Err(section.lacks(&[("type", false)], "an object with a type: 'sqlite' or 'starbasedb'"));
    };
    if sqlite {
        section.accept(&["type", "path"])?;
        let Some(path) = file(&section, "path")? else {
            return Err(section.lacks(&[("path", false)], "the path of a SQLite file"));
        };
        return Ok(Some(sqlite_target(path)));
    }
    section.accept(&["type", "url", "token"])?;
    let (url, token) = (http(&section, "url", address::HTTP)?, section.secret("token", false)?);
    let required = [("url", url.is_some()), ("token", token.is_some())];
    let (Some(url), Some(token)) = (url, token) else { return Err(section.lacks(&required, "url and token")) };
    Ok(Some(TargetConfig::Starbasedb { url, token }))
}

/// What stands in a path's place for the file of a local StarbaseDB.
const LOCAL: &str = "auto";

/// The target that a path names.
pub(super) fn sqlite_target(path: PathBuf) -> TargetConfig {
    if path.as_os_str() == LOCAL { TargetConfig::Local } else { TargetConfig::Sqlite { path } }
}

fn file(section: &Section<'_>, name: &str) -> Result<Option<PathBuf>> {
    section.path_to(name, "the path of a SQLite file")
}

fn http(section: &Section<'_>, name: &str, schemes: &[&str]) -> Result<Option<String>> {
    // Read as a secret: users do put tokens into addresses, and the message must not repeat them.
    let Some(Secret(uri)) = section.secret(name, false)? else { return Ok(None) };
    match address::fault_of_http(&uri, schemes) {
        Some(fault) => Err(section.impossible(name, &fault, &address::form(schemes))),
        None => Ok(Some(uri)),
    }
}
