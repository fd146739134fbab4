//! The configuration file.
//!
//! `kith-signal.example.toml` documents every key. A key that is not known is an error.

mod bus;
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
use crate::bus as other_servers;
use crate::ice::{Ice, LabelKey, Turn, TurnSecret};
use crate::limits::Limits;
use crate::proxy::Proxies;
use crate::tls;
use bus::Bus;
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
    /// The way to other servers, if there are any.
    pub bus: Option<other_servers::Settings>,
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
    #[serde(default)]
    bus: Bus,
    bus_secret_file: Option<PathBuf>,
    bus_secret_credential: Option<String>,
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
        let credentials = folders.credentials.as_deref();
        let config = Self {
            listen: file.listen,
            server_names: server_names(file.server_names)?,
            connections_max: file.connections_max,
            allow_plain: file.allow_plain,
            tls: file.tls.map(TlsTable::check).transpose()?,
            proxies: file.proxy.map(ProxyTable::check).transpose()?,
            bus: file.bus.check(file.bus_secret_file.as_deref(), file.bus_secret_credential.as_deref(), credentials)?,
            operations: file.operations.listen()?,
            drain_s: file.operations.drain_s()?,
            limits: file.limits.check()?,
            notice,
            access_log,
            turn_secret: turn_secret_path(&file.ice, credentials)?,
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
            Some(path) => {
                let secret = TurnSecret::new(read_secret(path)?.trim_ascii_end());
                let problem = || value(TURN_SECRET.file, format!("{} is empty", path.display()));
                Some(Turn { urls: self.turn.clone(), secret: secret.ok_or_else(problem)? })
            }
        };
        Ok(Ice::new(self.stun.clone(), turn, self.lifetime_s, label_key))
    }

    /// Reads the secret that all servers on the bus share, if there is a bus.
    pub(crate) fn bus_secret(&self) -> Result<Option<other_servers::Secret>, ConfigError> {
        let Some(other_servers::Settings { secret: path, .. }) = &self.bus else {
            return Ok(None);
        };
        let secret = other_servers::Secret::new(read_secret(path)?.trim_ascii_end());
        let problem = || value("bus_secret_file", format!("{} has less than 16 bytes", path.display()));
        secret.ok_or_else(problem).map(Some)
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

/// The two ways to name a secret.
struct Keys {
    file: &'static str,
    credential: &'static str,
}

const TURN_SECRET: Keys = Keys { file: "ice.turn_secret_file", credential: "ice.turn_secret_credential" };

fn turn_secret_path(ice: &IceTable, credentials: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    let (file, credential) = (ice.turn_secret_file.as_deref(), ice.turn_secret_credential.as_deref());
    match (ice.turn.is_empty(), secret_path(&TURN_SECRET, file, credential, credentials)?) {
        (false, None) => Err(value(TURN_SECRET.file, "ice.turn needs a secret shared with the TURN server")),
        (true, Some(_)) => Err(value("ice.turn", "a secret is set, but no TURN URL")),
        (_, path) => Ok(path),
    }
}

fn secret_path(
    keys: &Keys,
    file: Option<&Path>,
    credential: Option<&str>,
    credentials: Option<&Path>,
) -> Result<Option<PathBuf>, ConfigError> {
    match (file, credential) {
        (Some(_), Some(_)) => Err(value(keys.file, format!("set either this or {}, not both", keys.credential))),
        (Some(path), None) if path.is_absolute() => Ok(Some(path.to_owned())),
        (Some(_), None) => Err(value(keys.file, "the path must be absolute")),
        (None, Some(name)) => {
            if name.is_empty() || name.starts_with('.') || name.contains('/') {
                return Err(value(keys.credential, "a credential's name has no path"));
            }
            let problem = || value(keys.credential, "there are no credentials; run under systemd with LoadCredential=");
            Ok(Some(credentials.ok_or_else(problem)?.join(name)))
        }
        (None, None) => Ok(None),
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let read = std::fs::read(path).map(Zeroizing::new);
    read.map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
