//! The signaling server of Kith: it introduces devices to each other and never learns what they say.
//!
//! [`registry`] holds the rules and nothing else: no sockets, no clock. Around it, one task per
//! connection reads and writes, a hub puts the registry behind one lock, and an accept loop of its own
//! bounds how long a connection may take to say what it wants.
//!
//! Invariants:
//! - A login counts only if its signature is over this connection's nonce and one of this server's own
//!   names; nothing that a device sends chooses the name.
//! - A payload passes between mutual watchers, or by an open invite; it is never kept.
//! - Every queue, buffer and wait of a connection is bounded; what one connection does ends at most itself.
//! - Addresses are printed by [`access_log`] alone, as the mode that devices are shown says. Client ids
//!   are not printed at all.
//!
//! Deliberately absent: accounts, stored messages, TLS (a proxy in front has it), and log files.

pub mod access_log;
mod budget;
pub mod config;
mod connection;
mod http;
mod hub;
pub mod ice;
mod outbox;
pub mod registry;
mod server;

pub use config::{Config, ConfigError};
pub use server::{Deadlines, Server, ServerError};
