//! The D-Bus service: one of the facades in front of the loop.
//!
//! It holds a [`Handle`], maps types, shows the loop's views as objects and properties, and decides
//! nothing about messages. `tree` is the only task that adds, changes and removes objects; the
//! interfaces beside it answer calls. Bodies and invite texts leave in method replies only, which
//! the bus carries to the caller alone; nothing that is broadcast holds one.

mod access;
mod conversation;
mod error;
mod inbox;
mod manager;
mod map;
mod pairing;
mod peer;
mod room;
mod settle;
mod task;
#[cfg(test)]
mod tests;
mod tree;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};
use zbus::Connection;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;

use crate::handle::Handle;
use access::{ANSWER_WAIT, Access, Authority, Trusted};
use tree::{Ended, Tree};

/// The first pause before the bus is tried again.
const RETRY_MS_MIN: u64 = 250;

/// The longest pause: a device whose bus comes back is usable within this time.
const RETRY_MS_MAX: u64 = 10_000;

/// How long a connection may take: a bus that accepts and then says nothing is tried again.
const CONNECT_S_MAX: u64 = 10;

/// How often the name is asked for again after it has been lost with a connection. The bus may
/// notice a little later than this side that the old connection is gone.
const NAME_TRIES_MAX: u32 = 6;

/// Which bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusAddress {
    /// The system bus.
    System,
    /// The session bus, for development.
    Session,
    /// The bus at this D-Bus address.
    Address(String),
}

/// Why the service cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process is the messenger on this bus.
    #[error("the name {name} is taken on {bus}: stop the other kithd first")]
    NameTaken {
        /// The name.
        name: &'static str,
        /// The bus.
        bus: BusAddress,
    },
    /// The address is not one.
    #[error("`{0}` is not a D-Bus address: write for example unix:path=/run/dbus/system_bus_socket")]
    Address(String),
    /// The bus does not let this user be the messenger.
    #[error("{bus} does not let this user own {name} ({text}): install the D-Bus policy, or run as the user kith")]
    Denied {
        /// The name.
        name: &'static str,
        /// The bus.
        bus: BusAddress,
        /// In the bus's words.
        text: String,
    },
}

/// How one try ended.
enum Tried {
    /// The loop is gone.
    Stopping,
    /// There is no bus, or it went away; in its own words.
    NoBus {
        served: bool,
        text: String,
    },
    NameTaken,
    Failed(ServeError),
}

impl fmt::Display for BusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system bus"),
            Self::Session => f.write_str("the session bus"),
            Self::Address(address) => write!(f, "the bus at {address}"),
        }
    }
}

/// Serves until the loop ends. Waits for the bus where there is none yet, and again where it goes
/// away.
///
/// # Errors
///
/// Where trying again would not help: the name is taken or denied, or the address is not one.
pub async fn serve(handle: Handle, address: BusAddress) -> Result<(), ServeError> {
    let authority = authority_on(&address);
    serve_trusting(handle, address, Trusted::root_and_own(), authority).await
}

/// The same, where these users may do everything, and somebody else decides about the others.
async fn serve_trusting(
    handle: Handle,
    address: BusAddress,
    trusted: Trusted,
    authority: Authority,
) -> Result<(), ServeError> {
    let mut pause_ms = RETRY_MS_MIN;
    let (mut has_served, mut name_tries, mut waiting) = (false, 0, false);
    loop {
        match try_once(&handle, &address, Access::new(trusted.clone(), authority)).await {
            Tried::Stopping => return Ok(()),
            Tried::Failed(error) => return Err(error),
            Tried::NameTaken if has_served && name_tries < NAME_TRIES_MAX => name_tries += 1,
            Tried::NameTaken => return Err(ServeError::NameTaken { name: kith_dbus::SERVICE, bus: address }),
            Tried::NoBus { served, text } => {
                if served {
                    warn!("{address} went away, waiting for it: {text}");
                    (has_served, name_tries, pause_ms) = (true, 0, RETRY_MS_MIN);
                } else if waiting {
                    debug!("still waiting for {address}: {text}");
                } else {
                    info!("waiting for {address}: {text}");
                }
                waiting = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            () = stopped(&handle) => return Ok(()),
        }
        pause_ms = pause_ms.saturating_mul(2).min(RETRY_MS_MAX);
    }
}

async fn try_once(handle: &Handle, address: &BusAddress, access: Access) -> Tried {
    let connecting = tokio::time::timeout(Duration::from_secs(CONNECT_S_MAX), connect(address));
    let connection = tokio::select! {
        connected = connecting => match connected {
            Ok(Ok(connection)) => connection,
            Ok(Err(zbus::Error::Address(_))) => return Tried::Failed(ServeError::Address(address.to_string())),
            Ok(Err(error)) => return Tried::NoBus { served: false, text: error.to_string() },
            Err(_) => return Tried::NoBus { served: false, text: "it does not answer".to_owned() },
        },
        () = stopped(handle) => return Tried::Stopping,
    };
    let tried = serve_on(handle, address, &connection, access).await;
    // A connection that is gone cannot be closed.
    let _ = connection.close().await;
    tried
}

async fn connect(address: &BusAddress) -> zbus::Result<Connection> {
    let builder = match address {
        BusAddress::System => Builder::system(),
        BusAddress::Session => Builder::session(),
        BusAddress::Address(address) => Builder::address(address.as_str()),
    };
    builder.build().await
}

/// Whom to ask about callers there. A session bus is its one user's, and polkit is not on it.
fn authority_on(address: &BusAddress) -> Authority {
    match address {
        BusAddress::Session => Authority::Nobody,
        BusAddress::System | BusAddress::Address(_) => Authority::Polkit(ANSWER_WAIT),
    }
}

/// Builds the objects, then claims the name, then follows the loop.
async fn serve_on(handle: &Handle, address: &BusAddress, connection: &Connection, access: Access) -> Tried {
    let lost = |served: bool, error: zbus::Error| Tried::NoBus { served, text: error.to_string() };
    let mut tree = match Tree::plant(handle.clone(), connection.clone(), Arc::new(access)).await {
        Ok(tree) => tree,
        Err(error) => return lost(false, error),
    };
    tree.build().await;
    let flags = RequestNameFlags::DO_NOT_QUEUE;
    match connection.request_name_with_flags(kith_dbus::SERVICE, flags).await {
        Ok(_) => info!("serving {} on {address}", kith_dbus::SERVICE),
        Err(zbus::Error::NameTaken) => return Tried::NameTaken,
        Err(error) => return refused(address, error),
    }
    match tree.follow().await {
        Ended::Stopping => Tried::Stopping,
        Ended::BusGone => Tried::NoBus { served: true, text: "the connection was closed".to_owned() },
    }
}

fn refused(address: &BusAddress, error: zbus::Error) -> Tried {
    match kith_dbus::Failure::from(error) {
        kith_dbus::Failure::Denied(text) => {
            Tried::Failed(ServeError::Denied { name: kith_dbus::SERVICE, bus: address.clone(), text })
        }
        failure => Tried::NoBus { served: false, text: failure.to_string() },
    }
}

/// Completes when the loop has ended.
async fn stopped(handle: &Handle) {
    let mut status = handle.status();
    while status.changed().await.is_ok() {}
}
