//! The configuration file.
//!
//! `kith-signal.example.toml` documents every key. A key that is not known is an error.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kith_signal_protocol::limits::{ICE_TEXT_BYTES_MAX, ICE_URLS_MAX, TEXT_BYTES_MAX};
use kith_signal_protocol::{LoggingMode, Notice};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::ice::{Ice, LabelKey, Turn, TurnSecret};

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
        "listen = \"{0}\" would accept unencrypted connections from the network, and this version has \
         no TLS of its own yet: put a TLS proxy in front, listen on 127.0.0.1, and set server_names to \
         the name that devices use; or set allow_plain = true if the proxy runs on another host"
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
    /// How this server logs, as devices are told.
    pub notice: Notice,
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
    logging: Logging,
    #[serde(default)]
    ice: IceTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logging {
    mode: Mode,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Active,
    Disabled,
    Debug,
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

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or [`parse`](Self::parse) refuses it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self::parse(&text, credentials.as_deref())
    }

    /// Checks the text of a file; `credentials` is where systemd puts its credentials.
    ///
    /// # Errors
    /// Whatever cannot be used, with what to do about it.
    pub fn parse(text: &str, credentials: Option<&Path>) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(ConfigError::Parse)?;
        let loopback = file.listen.ip().to_canonical().is_loopback();
        if !loopback && !file.allow_plain {
            return Err(ConfigError::Plain(file.listen));
        }
        if !loopback && file.server_names.is_empty() {
            return Err(ConfigError::NoName);
        }
        check_range("connections_max", file.connections_max, 1, CONNECTIONS_MAX)?;
        check_range("ice.lifetime_s", file.ice.lifetime_s, LIFETIME_S_MIN, LIFETIME_S_MAX)?;
        check_urls("ice.stun", &file.ice.stun, &["stun:", "stuns:"])?;
        check_urls("ice.turn", &file.ice.turn, &["turn:", "turns:"])?;
        Ok(Self {
            listen: file.listen,
            server_names: server_names(file.server_names)?,
            connections_max: file.connections_max,
            notice: notice(file.logging)?,
            turn_secret: secret_path(&file.ice, credentials)?,
            stun: file.ice.stun,
            turn: file.ice.turn,
            lifetime_s: file.ice.lifetime_s,
        })
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

fn notice(logging: Logging) -> Result<Notice, ConfigError> {
    let (mode, standard) = match logging.mode {
        Mode::Active => {
            (LoggingMode::Active, "When a device comes and goes is logged with a shortened network address.")
        }
        Mode::Disabled => (LoggingMode::Disabled, "Connections are not logged."),
        Mode::Debug => (LoggingMode::Debug, "When a device comes and goes is logged with its full network address."),
    };
    let text = logging.text.unwrap_or_else(|| standard.to_owned());
    if text.len() > TEXT_BYTES_MAX {
        return Err(value("logging.text", format!("at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(Notice { mode, text })
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
