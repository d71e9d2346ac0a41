//! From the configuration to connection options.
//!
//! The driver begins with the process's environment and `~/.pgpass`; what they say of the server, the role, the database
//! and trust is overwritten, so that only the configuration counts.

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::config::{ServerAddress, ServerConfig, Ssl};
use crate::error::{Error, Kind, Result};
use crate::source::authorities;
use crate::source::peer::Peer;

const APPLICATION: &str = "data-sync";

/// Reads `config` into options and the words that name the server.
///
/// # Errors
/// `CONFIG` when the URL or the CA file can't be used.
pub fn options(config: &ServerConfig) -> Result<(PgConnectOptions, Peer)> {
    let (options, sets_ssl, sets_ca) = match &config.address {
        ServerAddress::Parts { host, port, user, password, database } => {
            let options = PgConnectOptions::new_without_pgpass()
                .host(host)
                .port(*port)
                .username(user)
                .password(&password.0)
                .database(database);
            (options, false, false)
        }
        ServerAddress::Url(url) => from_url(&url.0)?,
    };
    let options = protect(options, config, sets_ssl, sets_ca)?
        .application_name(APPLICATION)
        // Poolers that share connections between clients know neither prepared statements nor this startup parameter.
        .statement_cache_capacity(0)
        .extra_float_digits(None);
    let peer = match options.get_socket().map(|socket| socket.display().to_string()) {
        Some(directory) => socket_peer(&directory, &options),
        None if options.get_host().starts_with('/') => socket_peer(options.get_host(), &options),
        None => Peer {
            host: options.get_host().to_owned(),
            port: Some(options.get_port()),
            user: options.get_username().to_owned(),
        },
    };
    Ok((options, peer))
}

fn socket_peer(directory: &str, options: &PgConnectOptions) -> Peer {
    let host = format!("{directory}/.s.PGSQL.{}", options.get_port());
    Peer { host, port: None, user: options.get_username().to_owned() }
}

/// Options from a URL, and whether it says how to protect the connection and whom to trust.
fn from_url(text: &str) -> Result<(PgConnectOptions, bool, bool)> {
    // What was given is not repeated: it holds a password.
    let unusable = |why: &str| {
        Error::new(Kind::Config, format!("source.url can't be used: {why}"))
            .because("give postgresql://user:password@host:port/database")
    };
    let url = Url::parse(text).map_err(|error| unusable(&error.to_string()))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(unusable("it is not a PostgreSQL URL"));
    }
    let given = |names: &[&str]| url.query_pairs().any(|(key, _)| names.contains(&&*key));
    let mut options: PgConnectOptions = text.parse().map_err(|_| unusable("a part of it is not understood"))?;
    // The driver fills what the URL leaves out from the environment and from ~/.pgpass.
    if url.host_str().is_none_or(str::is_empty) && !given(&["host", "hostaddr"]) {
        return Err(unusable("it names no host"));
    }
    if let (Some(url::Host::Ipv6(address)), false) = (url.host(), given(&["host", "hostaddr"])) {
        // Without the brackets, which the resolver doesn't know.
        options = options.host(&address.to_string());
    }
    if url.port().is_none() && !given(&["port"]) {
        options = options.port(5432);
    }
    if url.username().is_empty() && !given(&["user"]) {
        return Err(unusable("it names no user"));
    }
    if url.password().is_none() && !given(&["password"]) {
        options = options.password("");
    }
    if url.path().trim_start_matches('/').is_empty() && !given(&["dbname"]) {
        let user = options.get_username().to_owned();
        options = options.database(&user);
    }
    let sets_ssl = given(&["sslmode", "ssl-mode"]);
    let sets_ca = given(&["sslrootcert", "ssl-root-cert", "ssl-ca"]);
    Ok((options, sets_ssl, sets_ca))
}

fn protect(
    options: PgConnectOptions,
    config: &ServerConfig,
    sets_ssl: bool,
    sets_ca: bool,
) -> Result<PgConnectOptions> {
    let options = match &config.ca_cert {
        Some(path) => {
            let pem = authorities::read(path)?;
            options.ssl_root_cert_from_pem(pem)
        }
        None if sets_ca => options,
        None => options.ssl_root_cert_from_pem(Vec::new()),
    };
    Ok(match config.ssl {
        Some(Ssl::Disable) => options.ssl_mode(PgSslMode::Disable),
        Some(Ssl::Require) if config.ca_cert.is_some() => options.ssl_mode(PgSslMode::VerifyCa),
        Some(Ssl::Require) => options.ssl_mode(PgSslMode::Require),
        Some(Ssl::VerifyFull) => options.ssl_mode(PgSslMode::VerifyFull),
        None if sets_ssl => options,
        Some(Ssl::Prefer) | None => options.ssl_mode(PgSslMode::Prefer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn server(address: ServerAddress) -> ServerConfig {
        ServerConfig { address, schema: None, ssl: None, ca_cert: None }
    }

    fn url(text: &str) -> ServerConfig {
        server(ServerAddress::Url(Secret(text.to_owned())))
    }

    #[test]
    fn a_url_is_read() {
        let (options, peer) = options(&url("postgres://me:secret@db.example/app?sslmode=verify-full")).unwrap();
        assert_eq!(peer.to_string(), "db.example:5432");
        assert_eq!((options.get_username(), options.get_database()), ("me", Some("app")));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
        let (options, _) = super::options(&url("postgres://me@[::1]:6000")).unwrap();
        assert_eq!((options.get_host(), options.get_port(), options.get_database()), ("::1", 6000, Some("me")));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Prefer));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_not_repeated() {
        for text in [
            "mysql://me:secret@h/d",
            "postgres://:secret@h/d",
            "secret",
            "postgres://me:secret@h/d?port=x",
            "postgres:///d",
        ] {
            let error = options(&url(text)).map(drop).unwrap_err();
            assert_eq!(error.kind(), Kind::Config);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_directory_is_a_socket() {
        let address = ServerAddress::Parts {
            host: "/run/db".to_owned(),
            port: 5433,
            user: "me".to_owned(),
            password: Secret(String::new()),
            database: "app".to_owned(),
        };
        let (_, peer) = options(&server(address)).unwrap();
        assert_eq!(peer.to_string(), "/run/db/.s.PGSQL.5433");
    }

    #[test]
    fn options_go_above_the_url() {
        let mut config = url("postgres://me@h/d?sslmode=disable");
        config.ssl = Some(Ssl::Require);
        assert!(matches!(options(&config).unwrap().0.get_ssl_mode(), PgSslMode::Require));
        config.ca_cert = Some("/nowhere/ca.pem".into());
        let error = options(&config).map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
