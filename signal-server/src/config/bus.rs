//! `bus`: the way to other signaling servers.

use std::path::Path;

use async_nats::ServerAddr;
use serde::Deserialize;

use super::{ConfigError, Keys, secret_path, value};
use crate::bus::Settings;

/// NATS servers; any of a cluster leads to the others.
const SERVERS_MAX: usize = 8;

const SECRET: Keys = Keys { file: "bus_secret_file", credential: "bus_secret_credential" };

#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Bus {
    One(String),
    Several(Vec<String>),
}

impl Default for Bus {
    fn default() -> Self {
        Self::One(MEMORY.to_owned())
    }
}

/// No other servers.
const MEMORY: &str = "memory";

impl Bus {
    pub(super) fn check(
        self,
        file: Option<&Path>,
        credential: Option<&str>,
        credentials: Option<&Path>,
    ) -> Result<Option<Settings>, ConfigError> {
        let secret = secret_path(&SECRET, file, credential, credentials)?;
        let urls = match self {
            Self::One(url) if url == MEMORY => {
                return match secret {
                    Some(_) => Err(value("bus", "a secret is set, but no NATS server")),
                    None => Ok(None),
                };
            }
            Self::One(url) => vec![url],
            Self::Several(urls) => urls,
        };
        if urls.is_empty() || urls.len() > SERVERS_MAX {
            return Err(value("bus", format!("\"memory\", or 1 to {SERVERS_MAX} URLs of NATS servers")));
        }
        let servers = urls.iter().map(|url| server(url)).collect::<Result<_, _>>()?;
        let secret = secret.ok_or_else(|| value(SECRET.file, "a bus needs a secret that all its servers share"))?;
        Ok(Some(Settings { servers, secret }))
    }
}

fn server(url: &str) -> Result<ServerAddr, ConfigError> {
    let problem = || value("bus", "a URL is not of the form nats://host:port or tls://host:port");
    let is_nats = url.starts_with("nats://") || url.starts_with("tls://");
    let server: ServerAddr = if is_nats { url.parse().map_err(|_| problem())? } else { return Err(problem()) };
    if server.host().is_empty() { Err(problem()) } else { Ok(server) }
}
