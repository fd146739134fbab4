//! The configuration file.
//!
//! `kith-signal.example.toml` documents every key. A key that is not known is an error.

mod limits;
mod logging;
mod transport;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kith_signal_protocol::Notice;
use kith_signal_protocol::limits::{ICE_TEXT_BYTES_MAX, ICE_URLS_MAX};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::access_log;
use crate::ice::{Ice, LabelKey, Turn, TurnSecret};
use crate::limits::Limits;
use crate::proxy::Proxies;
use crate::tls;
use limits::LimitsTable;
use logging::LoggingTable;
use transport::{OperationsTable, ProxyTable, TlsTable};

/// Names that one server answers to; each costs a signature check at a login that is wrong.
const SERVER_NAMES_MAX: usize = 8;

/// A host name and a port.
const SERVER_NAME_BYTES_MAX: usize = 261;

/// Below this a call that rings for long would lose its relay before it is answered.
const LIFETIME_S_MIN: u32 = 600;

/// Above this a credential that leaks is of use for too long.
const LIFETIME_S_MAX: u32 = 3_600;

/// Connections unless the file says otherwise; systemd grants twice as many open files.
const CONNECTIONS_DEFAULT: u32 = 10_000;

/// More need more than one server.
const CONNECTIONS_MAX: u32 = 1_000_000;

/// Why a configuration cannot be used; each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}; check that it exists and that this user may read it")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of another type.
    #[error("the configuration does not parse; kith-signal.example.toml documents every key")]
    Parse(#[source] toml::de::Error),
    /// Clear text on a network.
    #[error(
        "{0} would accept unencrypted connections from the network: set tls.certificate_file and \
         tls.key_file; or listen on 127.0.0.1 with a TLS proxy in front; or set allow_plain = true if \
         that proxy runs on another host"
    )]
    Plain(SocketAddr),
    /// Nobody could log in.
    #[error(
        "server_names is empty: set it to the host (and :port, if the devices' URL names one) that \
         devices connect to, for example server_names = [\"signal.example.org\"]"
    )]
    NoName,
    /// A value that is not allowed.
    #[error("{key}: {problem}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// A configuration that was read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The names that devices sign; empty takes the bound address, which is then loopback.
    pub server_names: Vec<String>,
    /// How many connections at a time.
    pub connections_max: u32,
    /// Whether clear text from other hosts is accepted.
    pub allow_plain: bool,
    /// The certificate, if this server speaks TLS itself.
    pub tls: Option<tls::Paths>,
    /// The proxies that are believed.
    pub proxies: Option<Proxies>,
    /// Health, readiness and metrics are told here, on loopback.
    pub operations: Option<SocketAddr>,
    /// Seconds between saying that it is not ready and the goodbyes.
    pub drain_s: u32,
    /// What devices and addresses may use.
    pub limits: Limits,
    /// How this server logs, as devices are told.
    pub notice: Notice,
    /// What it writes, and where.
    pub access_log: access_log::Settings,
    stun: Vec<String>,
    turn: Vec<String>,
    turn_secret: Option<PathBuf>,
    lifetime_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: SocketAddr,
    #[serde(default)]
    server_names: Vec<String>,
    #[serde(default)]
    allow_plain: bool,
    #[serde(default = "connections_default")]
    connections_max: u32,
    tls: Option<TlsTable>,
    proxy: Option<ProxyTable>,
    #[serde(default)]
    operations: OperationsTable,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    logging: LoggingTable,
    #[serde(default)]
    ice: IceTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IceTable {
    stun: Vec<String>,
    turn: Vec<String>,
    turn_secret_file: Option<PathBuf>,
    turn_secret_credential: Option<String>,
    lifetime_s: u32,
}

impl Default for IceTable {
    fn default() -> Self {
        Self {
            stun: Vec::new(),
            turn: Vec::new(),
            turn_secret_file: None,
            turn_secret_credential: None,
            lifetime_s: LIFETIME_S_MAX,
        }
    }
}

/// The folders that systemd gives to its services.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Where `LoadCredential=` puts credentials.
    pub credentials: Option<PathBuf>,
    /// Where `LogsDirectory=` is.
    pub logs: Option<PathBuf>,
}

impl Folders {
    /// Those of this process.
    #[must_use]
    pub fn of_service() -> Self {
        let folder = |name| std::env::var_os(name).map(PathBuf::from);
        Self { credentials: folder("CREDENTIALS_DIRECTORY"), logs: folder("LOGS_DIRECTORY") }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or [`parse`](Self::parse) refuses it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &Folders::of_service())
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// Whatever cannot be used, with what to do about it.
    pub fn parse(text: &str, folders: &Folders) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(ConfigError::Parse)?;
        check_range("connections_max", file.connections_max, 1, CONNECTIONS_MAX)?;
        check_range("ice.lifetime_s", file.ice.lifetime_s, LIFETIME_S_MIN, LIFETIME_S_MAX)?;
        check_urls("ice.stun", &file.ice.stun, &["stun:", "stuns:"])?;
        check_urls("ice.turn", &file.ice.turn, &["turn:", "turns:"])?;
        let (notice, access_log) = file.logging.check(folders.logs.as_deref())?;
        let config = Self {
            listen: file.listen,
            server_names: server_names(file.server_names)?,
            connections_max: file.connections_max,
            allow_plain: file.allow_plain,
            tls: file.tls.map(TlsTable::check).transpose()?,
            proxies: file.proxy.map(ProxyTable::check).transpose()?,
            operations: file.operations.listen()?,
            drain_s: file.operations.drain_s()?,
            limits: file.limits.check()?,
            notice,
            access_log,
            turn_secret: secret_path(&file.ice, folders.credentials.as_deref())?,
            stun: file.ice.stun,
            turn: file.ice.turn,
            lifetime_s: file.ice.lifetime_s,
        };
        config.permit(config.listen)?;
        Ok(config)
    }

    /// Checks that devices may be served on `address`.
    ///
    /// # Errors
    /// They would connect in clear text over a network, or could not log in.
    pub fn permit(&self, address: SocketAddr) -> Result<(), ConfigError> {
        if address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        if self.tls.is_none() && !self.allow_plain {
            return Err(ConfigError::Plain(address));
        }
        if self.server_names.is_empty() { Err(ConfigError::NoName) } else { Ok(()) }
    }

    /// Reads the TURN secret and gives the ICE configuration; `label_key` is random.
    ///
    /// # Errors
    /// The secret cannot be read, or is empty.
    pub fn ice(&self, label_key: LabelKey) -> Result<Ice, ConfigError> {
        let turn = match &self.turn_secret {
            None => None,
            Some(path) => Some(Turn { urls: self.turn.clone(), secret: read_secret(path)? }),
        };
        Ok(Ice::new(self.stun.clone(), turn, self.lifetime_s, label_key))
    }
}

const fn connections_default() -> u32 {
    CONNECTIONS_DEFAULT
}

fn value(key: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value { key, problem: problem.into() }
}

fn check_range(key: &'static str, number: u32, min: u32, max: u32) -> Result<(), ConfigError> {
    if (min..=max).contains(&number) {
        Ok(())
    } else {
        Err(value(key, format!("{number} is not between {min} and {max}")))
    }
}

fn check_urls(key: &'static str, urls: &[String], schemes: &[&str]) -> Result<(), ConfigError> {
    if urls.len() > ICE_URLS_MAX {
        return Err(value(key, format!("at most {ICE_URLS_MAX} URLs")));
    }
    for url in urls {
        let known = schemes
            .iter()
            .any(|scheme| url.strip_prefix(scheme).is_some_and(|host| !host.is_empty() && !host.starts_with('/')));
        if !known || url.len() > ICE_TEXT_BYTES_MAX {
            let schemes = schemes.join(" or ");
            return Err(value(key, format!("\"{url}\" is not of the form {schemes}host[:port]")));
        }
    }
    Ok(())
}

fn server_names(names: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if names.len() > SERVER_NAMES_MAX {
        return Err(value("server_names", format!("at most {SERVER_NAMES_MAX} names")));
    }
    for name in &names {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b'@';
        if name.is_empty() || name.len() > SERVER_NAME_BYTES_MAX || !name.bytes().all(plain) {
            let problem = format!("\"{name}\" is not host or host:port, without scheme and path");
            return Err(value("server_names", problem));
        }
    }
    Ok(names.iter().map(|name| name.to_ascii_lowercase()).collect())
}

fn secret_path(ice: &IceTable, credentials: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    let key = "ice.turn_secret_file";
    let path = match (&ice.turn_secret_file, &ice.turn_secret_credential) {
        (Some(_), Some(_)) => {
            return Err(value(key, "set either this or turn_secret_credential, not both"));
        }
        (Some(path), None) if path.is_absolute() => Some(path.clone()),
        (Some(_), None) => return Err(value(key, "the path must be absolute")),
        (None, Some(name)) => {
            let key = "ice.turn_secret_credential";
            if name.is_empty() || name.starts_with('.') || name.contains('/') {
                return Err(value(key, "a credential's name has no path"));
            }
            let folder = credentials
                .ok_or_else(|| value(key, "there are no credentials; run under systemd with LoadCredential="))?;
            Some(folder.join(name))
        }
        (None, None) => None,
    };
    match (ice.turn.is_empty(), path) {
        (false, None) => Err(value(key, "ice.turn needs a secret shared with the TURN server")),
        (true, Some(_)) => Err(value("ice.turn", "a secret is set, but no TURN URL")),
        (_, path) => Ok(path),
    }
}

fn read_secret(path: &Path) -> Result<TurnSecret, ConfigError> {
    let bytes = std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    TurnSecret::new(bytes.trim_ascii_end())
        .ok_or_else(|| value("ice.turn_secret_file", format!("{} is empty", path.display())))
}

#[cfg(test)]
mod tests;
