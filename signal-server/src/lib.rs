//! The signaling server of Kith: it introduces devices to each other and never learns what they say.
//!
//! [`registry`] holds the rules and nothing else: no sockets, no clock. Around it, one task per
//! connection reads and writes, a hub puts the registry behind one lock, and an accept loop of its own
//! bounds how long a connection may take to say what it wants.
//!
//! Invariants:
//! - A login counts only if its signature is over this connection's nonce and one of this server's own
//!   names; nothing that a device sends chooses the name.
//! - A payload passes between mutual watchers, inside a room, or by an open invite; it is never kept.
//! - Every queue, buffer and wait of a connection is bounded, and so is what one device and one address
//!   may use; what one connection does ends at most itself.
//! - What servers say to each other on the [`bus`] is sealed; a server without a bus serves its own devices.
//! - Addresses and client ids are written by [`access_log`] alone, as the mode that devices are shown
//!   says; an address that may not be written cannot be printed.
//!
//! Deliberately absent: accounts and stored messages.

pub mod access_log;
mod arguments;
mod budget;
pub mod bus;
pub mod config;
mod connection;
mod frames;
mod http;
mod hub;
pub mod ice;
mod ledger;
mod limits;
mod metrics;
mod operations;
mod outbox;
mod proxy;
pub mod registry;
mod server;
mod stream;
mod tls;

pub use arguments::Arguments;
pub use config::{Config, ConfigError, Folders};
pub use server::{Deadlines, Inherited, Reloader, Server, ServerError, check_files};
pub use tls::TlsError;
