//! What one device and one address may use of the server.

use crate::ledger::Allowance;

/// A daemon that starts with many contacts sends a watch, an offer for each one that is online and its
/// candidates.
pub(crate) const DEVICE_MESSAGES_BURST: u32 = 512;

/// More than a device sends on its worst day.
pub(crate) const DEVICE_MESSAGES_PER_S: u32 = 64;

/// A device in a network that comes and goes.
pub(crate) const DEVICE_LOGINS_BURST: u32 = 120;

/// One every second: more often than the back-off of a device in trouble.
pub(crate) const DEVICE_LOGINS_PER_MIN: u32 = 60;

/// A building full of devices behind one address that starts at once.
pub(crate) const ADDRESS_MESSAGES_BURST: u32 = 16_384;

/// A tenth of what one processor core relays.
pub(crate) const ADDRESS_MESSAGES_PER_S: u32 = 4_096;

/// The same building after a power cut.
pub(crate) const ADDRESS_CONNECTS_BURST: u32 = 1_024;

/// TLS and login cost about a millisecond: a sixteenth of a core.
pub(crate) const ADDRESS_CONNECTS_PER_S: u32 = 64;

/// A fifth of the default for all connections, so that no address can take them all.
pub(crate) const ADDRESS_CONNECTIONS_MAX: u32 = 2_048;

/// The allowances in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one identity, by its logins.
    pub device: Allowance,
    /// Of one IPv4 address or one IPv6 /64, by its connections.
    pub address: Allowance,
}
