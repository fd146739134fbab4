//! The configuration: TOML in layers, each value with the file it came from.
//!
//! `/usr/lib/kith/kithd.toml` < `/etc/kith/kithd.toml` < `/etc/kith/kithd.d/*.toml` in the order
//! of their names; with `--config FILE` only that file. An unknown key is an error: a typing
//! mistake must not silently leave a default in force.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What the distribution ships, and what the operator writes.
const LAYERS: [&str; 2] = ["/usr/lib/kith/kithd.toml", "/etc/kith/kithd.toml"];
const DROP_INS: &str = "/etc/kith/kithd.d";
/// Larger than any real configuration.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {0}: {1}. Check the path and its permissions.")]
    Read(PathBuf, std::io::Error),
    /// A file is too large.
    #[error("{0} is larger than {FILE_BYTES_MAX} bytes, so it is not a configuration of kithd.")]
    TooLarge(PathBuf),
    /// A file does not parse.
    #[error("{0} is not valid: {1}")]
    Parse(PathBuf, String),
}

/// Which message bus to serve.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Bus {
    /// The system bus.
    #[default]
    System,
    /// The session bus of the user, for development.
    Session,
    /// A bus at this address.
    Address(String),
}

impl<'de> Deserialize<'de> for Bus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "system" => Ok(Self::System),
            "session" => Ok(Self::Session),
            address if address.contains(':') => Ok(Self::Address(text)),
            _ => Err(serde::de::Error::custom(
                "bus is \"system\", \"session\" or an address such as \"unix:path=/run/x\"",
            )),
        }
    }
}

impl Signaling {
    /// All servers, the first one first.
    pub fn urls(&self) -> Vec<String> {
        self.url.iter().chain(&self.other_urls).cloned().collect()
    }
}

/// The connection to the signaling server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signaling {
    /// `wss://host[:port]/`. Without it the daemon talks to nobody new.
    pub url: Option<String>,
    /// More servers that share their devices with that one; tried in turn when a connection fails.
    pub other_urls: Vec<String>,
    /// Allow `ws://` to another machine.
    pub allow_plain: bool,
}

/// The links to peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Bind only these addresses; empty for all interfaces but loopback.
    pub addresses: Vec<IpAddr>,
    /// Use only relayed paths, so that no peer sees this device's address.
    pub relay_only: bool,
}

/// How much history is kept. 0 is without end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Messages of one conversation.
    pub messages_max: u64,
    /// Bytes of one conversation's messages, as they are stored.
    pub bytes_max: u64,
    /// Messages of all conversations; the one with the most gives first.
    pub total_messages_max: u64,
    /// Bytes of all conversations' messages; the largest gives first.
    pub total_bytes_max: u64,
    /// Days since a message was received or delivered.
    pub days_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        // A quarter of a million messages of an ordinary length take about 70 MB; the longest would take 3 GB.
        Self { messages_max: 0, bytes_max: 0, total_messages_max: 250_000, total_bytes_max: 1_000_000_000, days_max: 0 }
    }
}

/// The first set-up, by the credential `kith.secret` instead of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetUp {
    /// With this name a device that has no identity yet makes one when it starts, under the secret in
    /// the credential. Without it, set-up waits for a person.
    pub display_name: Option<String>,
}

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where identity and history are kept.
    pub data_dir: PathBuf,
    /// The message bus.
    pub bus: Bus,
    /// What is logged, as directives of `tracing-subscriber`'s `Targets`.
    pub log: String,
    /// The signaling server.
    pub signaling: Signaling,
    /// The links.
    pub link: Link,
    /// The first set-up without a person.
    pub set_up: SetUp,
    /// How much history is kept.
    pub retention: Retention,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/kith"),
            bus: Bus::System,
            log: "info".to_owned(),
            signaling: Signaling::default(),
            link: Link::default(),
            set_up: SetUp::default(),
            retention: Retention::default(),
        }
    }
}

/// A configuration and where each of its values was set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The values in force.
    pub config: Config,
    /// Dotted key, the value as written, the file that has the last word on it.
    pub sources: BTreeMap<String, (String, PathBuf)>,
}

/// Reads one file, or the layers where none is given.
///
/// # Errors
/// A file that cannot be read or does not parse. A layer that does not exist is no error.
pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    let files = match file {
        Some(file) => vec![file.to_path_buf()],
        None => layers()?,
    };
    let mut merged = toml::Table::new();
    let mut loaded = Loaded::default();
    for file in files {
        let table = read(&file)?;
        // Each file is checked by itself, so that the error names the right one.
        Config::deserialize(table.clone()).map_err(|e| ConfigError::Parse(file.clone(), e.to_string()))?;
        note(&mut loaded.sources, "", &table, &file);
        merge(&mut merged, table);
    }
    loaded.config =
        Config::deserialize(merged).map_err(|e| ConfigError::Parse(PathBuf::from(LAYERS[1]), e.to_string()))?;
    Ok(loaded)
}

fn layers() -> Result<Vec<PathBuf>, ConfigError> {
    let mut files: Vec<PathBuf> = LAYERS.iter().map(PathBuf::from).filter(|f| f.exists()).collect();
    let entries = match std::fs::read_dir(DROP_INS) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(ConfigError::Read(DROP_INS.into(), error)),
    };
    let mut drop_ins = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| ConfigError::Read(DROP_INS.into(), e))?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            drop_ins.push(path);
        }
    }
    drop_ins.sort();
    files.append(&mut drop_ins);
    Ok(files)
}

fn read(file: &Path) -> Result<toml::Table, ConfigError> {
    let unreadable = |e| ConfigError::Read(file.to_path_buf(), e);
    if std::fs::metadata(file).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge(file.to_path_buf()));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    text.parse().map_err(|e: toml::de::Error| ConfigError::Parse(file.to_path_buf(), e.to_string()))
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn note(sources: &mut BTreeMap<String, (String, PathBuf)>, prefix: &str, table: &toml::Table, file: &Path) {
    for (key, value) in table {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => note(sources, &dotted, table, file),
            value => {
                sources.insert(dotted, (value.to_string(), file.to_path_buf()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kithd.toml");
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    #[test]
    fn a_value_says_which_file_it_came_from() {
        let (_folder, file) = written("bus = \"session\"\n[signaling]\nurl = \"wss://signal.example/\"\n");
        let loaded = load(Some(&file)).unwrap();
        assert_eq!(loaded.config.bus, Bus::Session);
        assert_eq!(loaded.config.signaling.url.as_deref(), Some("wss://signal.example/"));
        assert_eq!(loaded.sources["signaling.url"], ("\"wss://signal.example/\"".to_owned(), file));
    }

    #[test]
    fn a_later_layer_changes_only_the_keys_it_names() {
        let mut merged = "[link]\nrelay_only = true\naddresses = [\"192.0.2.1\"]".parse().unwrap();
        merge(&mut merged, "[link]\nrelay_only = false".parse().unwrap());
        let config = Config::deserialize(merged).unwrap();
        assert!(!config.link.relay_only);
        assert_eq!(config.link.addresses.len(), 1);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_file() {
        let (_folder, file) = written("[signaling]\nurI = \"x\"\n");
        let error = load(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("uri") || error.contains("urI"), "{error}");
        assert!(error.contains("kithd.toml"), "{error}");
    }

    #[test]
    fn the_example_sets_nothing_and_is_right_without_its_comment_signs() {
        let example = include_str!("../kithd.toml");
        let (_folder, file) = written(example);
        assert!(load(Some(&file)).unwrap().sources.is_empty());
        let keys =
            example.lines().map(|line| line.strip_prefix('#').filter(|key| !key.starts_with(' ')).unwrap_or("#"));
        let (_folder, file) = written(&keys.collect::<Vec<_>>().join("\n"));
        assert_eq!(load(Some(&file)).unwrap().sources.len(), 2);
    }

    #[test]
    fn a_bus_that_is_neither_a_name_nor_an_address_is_refused() {
        let (_folder, file) = written("bus = \"sytem\"\n");
        assert!(load(Some(&file)).unwrap_err().to_string().contains("unix:path"));
    }
}
