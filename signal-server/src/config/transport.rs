//! `[tls]`, `[proxy]` and `[operations]`: how connections come in.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, check_range, value};
use crate::proxy::{Proxies, Range, Speech};
use crate::tls;

/// Proxies that are believed; a fleet has a range.
const PROXIES_MAX: usize = 64;

/// A load balancer that needs longer to look away is asked too rarely.
const DRAIN_S_MAX: u32 = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsTable {
    certificate_file: PathBuf,
    key_file: PathBuf,
}

impl TlsTable {
    pub(super) fn check(self) -> Result<tls::Paths, ConfigError> {
        let Self { certificate_file, key_file } = self;
        for (key, path) in [("tls.certificate_file", &certificate_file), ("tls.key_file", &key_file)] {
            if !path.is_absolute() {
                return Err(value(key, "the path must be absolute"));
            }
        }
        Ok(tls::Paths { certificate: certificate_file, key: key_file })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyTable {
    addresses: Vec<String>,
    speaks: Spoken,
}

#[derive(Clone, Copy, Deserialize)]
enum Spoken {
    #[serde(rename = "x-forwarded-for")]
    ForwardedFor,
    #[serde(rename = "proxy-protocol")]
    ProxyProtocol,
}

impl ProxyTable {
    pub(super) fn check(self) -> Result<Proxies, ConfigError> {
        if self.addresses.is_empty() || self.addresses.len() > PROXIES_MAX {
            return Err(value("proxy.addresses", format!("1 to {PROXIES_MAX} addresses or ranges")));
        }
        let range = |text: &String| {
            let problem = || value("proxy.addresses", format!("\"{text}\" is not ADDRESS or ADDRESS/BITS"));
            Range::parse(text).ok_or_else(problem)
        };
        let speech = match self.speaks {
            Spoken::ForwardedFor => Speech::ForwardedFor,
            Spoken::ProxyProtocol => Speech::Header,
        };
        Ok(Proxies { addresses: self.addresses.iter().map(range).collect::<Result<_, _>>()?, speech })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OperationsTable {
    listen: Option<SocketAddr>,
    drain_s: u32,
}

impl OperationsTable {
    pub(super) fn listen(&self) -> Result<Option<SocketAddr>, ConfigError> {
        match self.listen {
            Some(address) if !address.ip().to_canonical().is_loopback() => Err(value(
                "operations.listen",
                format!("{address} is not a loopback address; let a local agent collect"),
            )),
            listen => Ok(listen),
        }
    }

    pub(super) fn drain_s(&self) -> Result<u32, ConfigError> {
        check_range("operations.drain_s", self.drain_s, 0, DRAIN_S_MAX)?;
        Ok(self.drain_s)
    }
}
