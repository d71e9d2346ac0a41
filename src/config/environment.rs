//! The source and the target as the surroundings give them: process environment, `.dev.vars`, wrangler file.
//!
//! Every variable is looked up by itself, in these layers in this order: the process environment, `.dev.vars`, the
//! wrangler file's `[env.NAME.vars]`, its `[vars]`, its top level. So the secrets in `.dev.vars` complete a wrangler
//! file, and one variable of the process stands above the same one in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::address::{self, ServerKind};
use super::endpoints::{SSL, sqlite_target};
use super::section::{PORT, one_of, port, quoted};
use super::wrangler::{Wrangler, read};
use super::{Options, Secret, ServerAddress, ServerConfig, SourceConfig, Ssl, TargetConfig, dotenv, local};
use crate::error::{Error, Kind, Result};

/// What all variables of a source begin with.
pub(super) const PREFIX: &str = "EXTERNAL_DB_";

const TYPE: &str = "EXTERNAL_DB_TYPE";
const HOST: &str = "EXTERNAL_DB_HOST";
const SERVER_PORT: &str = "EXTERNAL_DB_PORT";
const USER: &str = "EXTERNAL_DB_USER";
const PASS: &str = "EXTERNAL_DB_PASS";
const DATABASE: &str = "EXTERNAL_DB_DATABASE";
const DEFAULT_SCHEMA: &str = "EXTERNAL_DB_DEFAULT_SCHEMA";
const SERVER_SSL: &str = "EXTERNAL_DB_SSL";
const CA_CERT: &str = "EXTERNAL_DB_CA_CERT";
const MONGODB_URI: &str = "EXTERNAL_DB_MONGODB_URI";
const TURSO_URI: &str = "EXTERNAL_DB_TURSO_URI";
const TURSO_TOKEN: &str = "EXTERNAL_DB_TURSO_TOKEN";
const STARBASEDB_URI: &str = "EXTERNAL_DB_STARBASEDB_URI";
const STARBASEDB_TOKEN: &str = "EXTERNAL_DB_STARBASEDB_TOKEN";
const D1_API_KEY: &str = "EXTERNAL_DB_CLOUDFLARE_API_KEY";
const D1_ACCOUNT_ID: &str = "EXTERNAL_DB_CLOUDFLARE_ACCOUNT_ID";
const D1_DATABASE_ID: &str = "EXTERNAL_DB_CLOUDFLARE_DATABASE_ID";

/// The file with the secrets, beside the wrangler file.
const DEV_VARS: &str = ".dev.vars";

/// The variable that names the target file.
const TARGET: &str = "STARBASEDB_DATABASE";

const TYPES: [&str; 7] = ["postgresql", "mysql", "mongodb", "turso", "starbasedb", "d1", "sqlite"];

/// What the process stands in: its environment and its directory.
#[derive(Clone)]
pub struct Surroundings {
    /// The environment's variables.
    pub env: BTreeMap<String, String>,
    /// The directory that relative paths are relative to.
    pub directory: PathBuf,
}

impl Surroundings {
    /// Those of this process. Only our own variables are kept.
    pub fn of_process() -> Self {
        let ours = |name: &str| name.starts_with(PREFIX) || name == TARGET;
        // Not `vars()`: it panics on a foreign variable that is not Unicode.
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| ours(name))
            .collect();
        Self { env, directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")) }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("Surroundings").field("env", &names).field("directory", &self.directory).finish()
    }
}

/// A source, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The source, with absolute paths where the directory is absolute.
    pub source: SourceConfig,
    /// What the user should know, for the log.
    pub warnings: Vec<String>,
    /// Where its type stands: `options.source`, `environment`, `.dev.vars` or the wrangler file's path.
    pub origin: String,
    /// Where each variable that it was made of stands, by the variable's name: a wrangler file with the section. Empty for
    /// `options.source`.
    pub variables: BTreeMap<String, String>,
}

impl Options {
    /// The source: the one given as an option, else the one the surroundings name.
    ///
    /// # Errors
    /// `CONFIG` when there is none, when something is missing or impossible, or when a file can't be read.
    pub fn source(&self, surroundings: &Surroundings) -> Result<Resolved> {
        let mut resolved = match &self.source {
            Some(source) => {
                let unused = [("config", self.config.is_some()), ("environment", self.environment.is_some())];
                let warnings = unused
                    .iter()
                    .filter(|(_, given)| *given)
                    .map(|(name, _)| format!("Option '{name}' has no effect: the source comes from option 'source'"));
                Resolved {
                    source: source.clone(),
                    warnings: warnings.collect(),
                    origin: "options.source".to_owned(),
                    variables: BTreeMap::new(),
                }
            }
            None => Layers::read(self, surroundings)?.source()?,
        };
        match &mut resolved.source {
            SourceConfig::Postgresql(ServerConfig { ca_cert: Some(path), .. })
            | SourceConfig::Mysql(ServerConfig { ca_cert: Some(path), .. })
            | SourceConfig::Sqlite { path } => *path = surroundings.directory.join(&*path),
            _ => {}
        }
        Ok(resolved)
    }

    /// The target: the one given as an option, else the file named by `$STARBASEDB_DATABASE`, else
    /// `./starbasedb.sqlite`.
    ///
    /// # Errors
    /// `CONFIG` when `auto` finds no local StarbaseDB, or more than one.
    pub fn target(&self, surroundings: &Surroundings) -> Result<TargetConfig> {
        let target = self.target.clone().unwrap_or_else(|| {
            let named = surroundings.env.get(TARGET).filter(|path| !path.is_empty());
            sqlite_target(named.map_or("starbasedb.sqlite", String::as_str).into())
        });
        let path = match target {
            TargetConfig::Sqlite { path } => surroundings.directory.join(path),
            TargetConfig::Local => {
                let config = self.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
                local::database(&surroundings.directory.join(config))?
            }
            other @ TargetConfig::Starbasedb { .. } => return Ok(other),
        };
        Ok(TargetConfig::Sqlite { path })
    }
}

/// The source that a `.dev.vars` and a wrangler file of this name and text give, without any file.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn source_of(name: &str, text: &str, dev_vars: &str, environment: Option<&str>) -> Result<Resolved> {
    let wrangler = Wrangler::parse(PathBuf::from(name), text)?;
    let dev_vars = (DEV_VARS.to_owned(), dev_vars.to_owned());
    Layers::of(BTreeMap::new(), Some(dev_vars), Some(&wrangler), environment)?.source()
}

/// The variables that make up a source of this kind.
const fn variables_of(source: &SourceConfig) -> &'static [&'static str] {
    match source {
        SourceConfig::Postgresql(_) | SourceConfig::Mysql(_) => {
            &[TYPE, HOST, SERVER_PORT, USER, PASS, DATABASE, DEFAULT_SCHEMA, SERVER_SSL, CA_CERT]
        }
        SourceConfig::Mongodb { .. } => &[TYPE, MONGODB_URI],
        SourceConfig::Turso { .. } => &[TYPE, TURSO_URI, TURSO_TOKEN],
        SourceConfig::Starbasedb { .. } => &[TYPE, STARBASEDB_URI, STARBASEDB_TOKEN],
        SourceConfig::D1 { .. } => &[TYPE, D1_API_KEY, D1_ACCOUNT_ID, D1_DATABASE_ID],
        // Only an option names one.
        SourceConfig::Sqlite { .. } => &[],
    }
}

/// One place where variables stand.
struct Layer {
    /// The environment, or the file.
    origin: String,
    /// The part of the file, where it has parts.
    section: Option<String>,
    values: BTreeMap<String, String>,
}

impl Layer {
    fn place(&self) -> String {
        match &self.section {
            Some(section) => format!("{} [{section}]", self.origin),
            None => self.origin.clone(),
        }
    }
}

/// The places a variable may stand, the first one that has it counts.
struct Layers {
    layers: Vec<Layer>,
}

impl Layers {
    fn read(options: &Options, surroundings: &Surroundings) -> Result<Self> {
        let wrangler = Wrangler::find(options.config.as_deref(), &surroundings.directory)?;
        let directory = wrangler.as_ref().and_then(|file| file.path().parent()).unwrap_or(&surroundings.directory);
        let environment = options.environment.as_deref();
        let own = match environment {
            // Wrangler's rule: an environment's own file stands in the place of the general one.
            Some(name) => {
                let file = format!(".dev.vars.{name}");
                read(&directory.join(&file))?.map(|text| (file, text))
            }
            None => None,
        };
        if let (Some(name), None, None) = (environment, &wrangler, &own) {
            let directory = directory.display();
            return Err(Error::new(
                Kind::Config,
                format!(
                    "Option 'environment' got {}, but {directory} has neither a wrangler file nor a .dev.vars of that \
                     name; name the file by option 'config'",
                    quoted(name)
                ),
            ));
        }
        let dev_vars = match own {
            Some(own) => Some(own),
            None => read(&directory.join(DEV_VARS))?.map(|text| (DEV_VARS.to_owned(), text)),
        };
        Self::of(surroundings.env.clone(), dev_vars, wrangler.as_ref(), environment)
    }

    fn of(
        env: BTreeMap<String, String>,
        dev_vars: Option<(String, String)>,
        wrangler: Option<&Wrangler>,
        environment: Option<&str>,
    ) -> Result<Self> {
        let mut layers = vec![Layer { origin: "environment".to_owned(), section: None, values: env }];
        layers.extend(dev_vars.map(|(file, text)| Layer { origin: file, section: None, values: dotenv::parse(&text) }));
        if let Some(file) = wrangler {
            let origin = file.path().display().to_string();
            let sections = file.layers(environment)?.into_iter();
            layers.extend(sections.map(|(section, values)| Layer { origin: origin.clone(), section, values }));
        }
        Ok(Self { layers })
    }

    /// A value and where it stands. An empty one is none; but a password may be empty.
    fn find(&self, name: &str) -> Option<(&Layer, &str)> {
        self.layers.iter().find_map(|layer| {
            let value = layer.values.get(name)?;
            (name == PASS || !value.trim().is_empty()).then_some((layer, value.as_str()))
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|(_, value)| value.trim())
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| Secret(value.to_owned()))
    }

    /// A password counts as it is: blanks belong to it.
    fn password(&self) -> Option<Secret> {
        self.find(PASS).map(|(_, value)| Secret(value.to_owned()))
    }

    fn source(&self) -> Result<Resolved> {
        let Some((layer, kind)) = self.find(TYPE) else { return Err(self.no_source()) };
        let kind = kind.trim().to_ascii_lowercase();
        let mut warnings = Vec::new();
        let source = match kind.as_str() {
            "postgresql" | "postgres" => self.server(&kind, ServerKind::Postgresql)?,
            "mysql" | "mariadb" => self.server(&kind, ServerKind::Mysql)?,
            "mongodb" => self.mongodb(&kind)?,
            "turso" => self.turso(&kind)?,
            "starbasedb" => self.starbasedb(&kind, &mut warnings)?,
            "d1" => self.d1(&kind)?,
            "sqlite" if self.any(&[TURSO_URI, TURSO_TOKEN]) => self.turso(&kind)?,
            "sqlite" if self.any(&[STARBASEDB_URI, STARBASEDB_TOKEN]) => self.starbasedb(&kind, &mut warnings)?,
            "sqlite" if self.any(&[D1_API_KEY, D1_ACCOUNT_ID, D1_DATABASE_ID]) => self.d1(&kind)?,
            "sqlite" => {
                return Err(Error::new(
                    Kind::Config,
                    format!(
                        "{TYPE} is 'sqlite', and the variables that say which one are missing: {TURSO_URI} and \
                         {TURSO_TOKEN}, or {STARBASEDB_URI} and {STARBASEDB_TOKEN}, or {D1_API_KEY}, {D1_ACCOUNT_ID} \
                         and {D1_DATABASE_ID}"
                    ),
                ));
            }
            other => return Err(impossible(TYPE, &quoted(other), &one_of(TYPES))),
        };
        let place = |name: &&'static str| Some(((*name).to_owned(), self.find(name)?.0.place()));
        let variables = variables_of(&source).iter().filter_map(place).collect();
        Ok(Resolved { source, warnings, origin: layer.origin.clone(), variables })
    }

    fn no_source(&self) -> Error {
        let stray = self.layers.iter().flat_map(|layer| layer.values.keys()).find(|name| name.starts_with(PREFIX));
        let seen = stray.map_or_else(String::new, |name| format!(" ({name} is set, but {TYPE} is not)"));
        Error::new(
            Kind::Config,
            format!(
                "No external database is configured{seen}: give option 'source', or set {TYPE} and its companions in \
                 the environment or in .dev.vars, or set them in the [vars] of a wrangler file"
            ),
        )
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    fn server(&self, given: &str, kind: ServerKind) -> Result<SourceConfig> {
        let (host, user, password, database) = (self.get(HOST), self.get(USER), self.password(), self.get(DATABASE));
        let required = [
            (HOST, host.is_some()),
            (USER, user.is_some()),
            (PASS, password.is_some()),
            (DATABASE, database.is_some()),
        ];
        let (Some(host), Some(user), Some(password), Some(database)) = (host, user, password, database) else {
            return Err(missing(given, &required));
        };
        if host.contains("://") || host.contains('@') {
            return Err(impossible(HOST, "a URL", "a host's name or address"));
        }
        let port = match self.get(SERVER_PORT) {
            Some(text) => port(text).ok_or_else(|| impossible(SERVER_PORT, &quoted(text), PORT))?,
            None => kind.default_port(),
        };
        let address = ServerAddress::Parts {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password,
            database: database.to_owned(),
        };
        Ok(kind.source(ServerConfig {
            address,
            schema: self.get(DEFAULT_SCHEMA).map(str::to_owned),
            ssl: self.ssl()?,
            ca_cert: self.get(CA_CERT).map(PathBuf::from),
        }))
    }

    fn ssl(&self) -> Result<Option<Ssl>> {
        let Some(given) = self.get(SERVER_SSL) else { return Ok(None) };
        match SSL.iter().find(|(word, _)| word.eq_ignore_ascii_case(given)) {
            Some((_, ssl)) => Ok(Some(*ssl)),
            None => Err(impossible(SERVER_SSL, &quoted(given), &one_of(SSL.map(|(word, _)| word)))),
        }
    }

    fn mongodb(&self, given: &str) -> Result<SourceConfig> {
        let Some(uri) = self.secret(MONGODB_URI) else { return Err(missing(given, &[(MONGODB_URI, false)])) };
        match address::fault_of_mongodb(&uri.0) {
            Some(fault) => Err(impossible(MONGODB_URI, &fault, &address::form(address::MONGODB))),
            None => Ok(SourceConfig::Mongodb { uri }),
        }
    }

    fn turso(&self, given: &str) -> Result<SourceConfig> {
        let Some(uri) = self.get(TURSO_URI) else { return Err(missing(given, &[(TURSO_URI, false)])) };
        Ok(SourceConfig::Turso { uri: http(TURSO_URI, uri, address::TURSO)?, token: self.secret(TURSO_TOKEN) })
    }

    fn starbasedb(&self, given: &str, warnings: &mut Vec<String>) -> Result<SourceConfig> {
        let (uri, token) = (self.get(STARBASEDB_URI), self.get(STARBASEDB_TOKEN));
        let required = [(STARBASEDB_URI, uri.is_some()), (STARBASEDB_TOKEN, token.is_some())];
        let (Some(mut uri), Some(mut token)) = (uri, token) else { return Err(missing(given, &required)) };
        let url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        if url(token) && !url(uri) {
            std::mem::swap(&mut uri, &mut token);
            warnings.push(format!(
                "{STARBASEDB_URI} holds a token and {STARBASEDB_TOKEN} an address: they are used the other way round"
            ));
        }
        let uri = http(STARBASEDB_URI, uri, address::HTTP)?;
        Ok(SourceConfig::Starbasedb { uri, token: Secret(token.to_owned()) })
    }

    fn d1(&self, given: &str) -> Result<SourceConfig> {
        let (api_key, account_id, database_id) =
            (self.secret(D1_API_KEY), self.get(D1_ACCOUNT_ID), self.get(D1_DATABASE_ID));
        let required = [
            (D1_API_KEY, api_key.is_some()),
            (D1_ACCOUNT_ID, account_id.is_some()),
            (D1_DATABASE_ID, database_id.is_some()),
        ];
        let (Some(api_key), Some(account_id), Some(database_id)) = (api_key, account_id, database_id) else {
            return Err(missing(given, &required));
        };
        Ok(SourceConfig::D1 {
            api_key,
            account_id: account_id.to_owned(),
            database_id: database_id.to_owned(),
            email: None,
            url: None,
        })
    }
}

fn impossible(name: &str, got: &str, takes: &str) -> Error {
    Error::new(Kind::Config, format!("{name} got {got}; it takes {takes}"))
}

fn missing(kind: &str, required: &[(&str, bool)]) -> Error {
    let names: Vec<&str> = required.iter().filter(|(_, given)| !given).map(|(name, _)| *name).collect();
    Error::new(
        Kind::Config,
        format!(
            "{TYPE} is '{kind}', and these variables are missing: {}; set them in the environment, in .dev.vars or in the \
             wrangler file",
            names.join(", ")
        ),
    )
}

fn http(name: &str, uri: &str, schemes: &[&str]) -> Result<String> {
    match address::fault_of_http(uri, schemes) {
        Some(fault) => Err(impossible(name, &fault, &address::form(schemes))),
        None => Ok(uri.to_owned()),
    }
}
