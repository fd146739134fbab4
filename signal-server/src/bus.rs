//! The way to other signaling servers, so that devices of different servers find each other.
//!
//! A server alone needs none. With others it shares a NATS server (core NATS, no JetStream): a device's
//! subscription there is its presence, and "no responders" is its absence. What servers say to each other is sealed
//! with a secret that they share, and so are the names of what they listen to: NATS carries, and knows nobody.
//!
//! Without the bus a server goes on with the devices that it has, and says so in its log and its metrics.

mod nats;
mod seal;

use std::path::PathBuf;

use async_nats::ServerAddr;

pub(crate) use nats::run;
pub(crate) use seal::Secret;

/// What waits for the bus: devices with the longest watch lists, many at once. With more the connection is given up
/// and begun anew, and the others are told everything again.
const QUEUE_MAX: usize = 65_536;

/// How to reach other servers.
#[derive(Clone)]
pub struct Settings {
    /// The NATS servers, each of which leads to the others.
    pub servers: Vec<ServerAddr>,
    /// The file with the secret that all signaling servers share.
    pub secret: PathBuf,
}

impl std::fmt::Debug for Settings {
    /// Leaves out the servers: a URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("secret", &self.secret).finish_non_exhaustive()
    }
}
