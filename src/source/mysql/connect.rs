//! From the configuration to connection options.

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::Url;

use crate::config::{ServerAddress, ServerConfig, Ssl};
use crate::error::{Error, Kind, Result};
use crate::source::authorities;
use crate::source::peer::Peer;

/// What a configuration comes to.
pub struct Server {
    /// How to connect.
    pub options: MySqlConnectOptions,
    /// The words that name it.
    pub peer: Peer,
    /// Where a name without a schema is looked for.
    pub schema: String,
}

/// Reads `config`.
///
/// # Errors
/// `CONFIG` when the URL or the CA file can't be used, or when no database is named.
pub fn server(config: &ServerConfig) -> Result<Server> {
    let given = match &config.address {
        ServerAddress::Parts { host, port, user, password, database } => {
            let options = MySqlConnectOptions::new().username(user).password(&password.0).database(database);
            let options = match host.strip_prefix('/') {
                Some(_) => options.socket(host),
                None => options.host(host).port(*port),
            };
            Given { options, sets_ssl: false, sets_ca: false }
        }
        ServerAddress::Url(url) => from_url(&url.0)?,
    };
    let options = protect(given, config)?
        // The session is pinned by one statement of ours when a run begins.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false)
        .statement_cache_capacity(0);
    let Some(schema) = config.schema.clone().or_else(|| options.get_database().map(str::to_owned)) else {
        return Err(unusable("it names no database"));
    };
    let peer = match options.get_socket() {
        Some(path) => Peer { host: path.display().to_string(), port: None, user: options.get_username().to_owned() },
        None => Peer {
            host: options.get_host().to_owned(),
            port: Some(options.get_port()),
            user: options.get_username().to_owned(),
        },
    };
    Ok(Server { options, peer, schema })
}

/// Options, and whether they say already how to protect the connection and whom to trust.
struct Given {
    options: MySqlConnectOptions,
    sets_ssl: bool,
    sets_ca: bool,
}

// What was given is not repeated: it holds a password.
fn unusable(why: &str) -> Error {
    Error::new(Kind::Config, format!("source.url can't be used: {why}"))
        .because("give mysql://user:password@host:port/database")
}

fn from_url(text: &str) -> Result<Given> {
    let url = Url::parse(text).map_err(|error| unusable(&error.to_string()))?;
    if !matches!(url.scheme(), "mysql" | "mariadb") {
        return Err(unusable("it is not a MySQL or MariaDB URL"));
    }
    let given = |names: &[&str]| url.query_pairs().any(|(key, _)| names.contains(&&*key));
    if url.host_str().is_none_or(str::is_empty) && !given(&["socket"]) {
        return Err(unusable("it names no host"));
    }
    if url.username().is_empty() {
        return Err(unusable("it names no user"));
    }
    let mut options: MySqlConnectOptions = text.parse().map_err(|_| unusable("a part of it is not understood"))?;
    if let Some(url::Host::Ipv6(address)) = url.host() {
        // Without the brackets, which the resolver doesn't know.
        options = options.host(&address.to_string());
    }
    let (sets_ssl, sets_ca) = (given(&["sslmode", "ssl-mode"]), given(&["sslca", "ssl-ca"]));
    Ok(Given { options, sets_ssl, sets_ca })
}

fn protect(given: Given, config: &ServerConfig) -> Result<MySqlConnectOptions> {
    let Given { mut options, sets_ssl, sets_ca } = given;
    if let Some(path) = &config.ca_cert {
        options = options.ssl_ca_from_pem(authorities::read(path)?);
    }
    let has_ca = config.ca_cert.is_some() || sets_ca;
    Ok(match config.ssl {
        Some(Ssl::Disable) => options.ssl_mode(MySqlSslMode::Disabled),
        Some(Ssl::Require) if has_ca => options.ssl_mode(MySqlSslMode::VerifyCa),
        Some(Ssl::Require) => options.ssl_mode(MySqlSslMode::Required),
        Some(Ssl::VerifyFull) => options.ssl_mode(MySqlSslMode::VerifyIdentity),
        None if sets_ssl => options,
        Some(Ssl::Prefer) | None => options.ssl_mode(MySqlSslMode::Preferred),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn url(text: &str) -> ServerConfig {
        ServerConfig { address: ServerAddress::Url(Secret(text.to_owned())), schema: None, ssl: None, ca_cert: None }
    }

    #[test]
    fn a_url_is_read() {
        let server = server(&url("mariadb://me:secret@db.example/app?ssl-mode=VERIFY_IDENTITY")).unwrap();
        assert_eq!((server.peer.to_string().as_str(), server.schema.as_str()), ("db.example:3306", "app"));
        assert!(matches!(server.options.get_ssl_mode(), MySqlSslMode::VerifyIdentity));
        let server = super::server(&url("mysql://me@[::1]:3307/app")).unwrap();
        assert_eq!((server.options.get_host(), server.options.get_port()), ("::1", 3307));
        assert!(matches!(server.options.get_ssl_mode(), MySqlSslMode::Preferred));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_not_repeated() {
        for text in ["postgres://me:secret@h/d", "mysql://:secret@h/d", "secret", "mysql://me:secret@h", "mysql:///d"] {
            let error = server(&url(text)).map(drop).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn options_go_above_the_url() {
        let mut config = url("mysql://me@h/d?ssl-mode=DISABLED");
        config.ssl = Some(Ssl::Require);
        assert!(matches!(server(&config).unwrap().options.get_ssl_mode(), MySqlSslMode::Required));
        config.schema = Some("other".to_owned());
        assert_eq!(server(&config).unwrap().schema, "other");
        config.ca_cert = Some("/nowhere/ca.pem".into());
        let error = server(&config).map(drop).unwrap_err();
        assert!(error.kind() == Kind::Config && error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
