//! `[limits]`: what one device and one address may use.

use serde::Deserialize;

use super::{ConfigError, check_range};
use crate::budget::Rate;
use crate::ledger::Allowance;
use crate::limits::{
    ADDRESS_CONNECTIONS_MAX, ADDRESS_CONNECTS_BURST, ADDRESS_CONNECTS_PER_S, ADDRESS_MESSAGES_BURST,
    ADDRESS_MESSAGES_PER_S, DEVICE_LOGINS_BURST, DEVICE_LOGINS_PER_MIN, DEVICE_MESSAGES_BURST, DEVICE_MESSAGES_PER_S,
    Limits,
};

/// No limit at all has a better name in this file.
const RATE_MAX: u32 = 1_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsTable {
    device_messages_per_s: u32,
    device_messages_burst: u32,
    device_logins_per_min: u32,
    device_logins_burst: u32,
    address_messages_per_s: u32,
    address_messages_burst: u32,
    address_connects_per_s: u32,
    address_connects_burst: u32,
    address_connections_max: u32,
}

impl Default for LimitsTable {
    fn default() -> Self {
        Self {
            device_messages_per_s: DEVICE_MESSAGES_PER_S,
            device_messages_burst: DEVICE_MESSAGES_BURST,
            device_logins_per_min: DEVICE_LOGINS_PER_MIN,
            device_logins_burst: DEVICE_LOGINS_BURST,
            address_messages_per_s: ADDRESS_MESSAGES_PER_S,
            address_messages_burst: ADDRESS_MESSAGES_BURST,
            address_connects_per_s: ADDRESS_CONNECTS_PER_S,
            address_connects_burst: ADDRESS_CONNECTS_BURST,
            address_connections_max: ADDRESS_CONNECTIONS_MAX,
        }
    }
}

impl LimitsTable {
    pub(super) fn check(&self) -> Result<Limits, ConfigError> {
        for (key, number) in [
            ("limits.device_messages_per_s", self.device_messages_per_s),
            ("limits.device_messages_burst", self.device_messages_burst),
            ("limits.device_logins_per_min", self.device_logins_per_min),
            ("limits.device_logins_burst", self.device_logins_burst),
            ("limits.address_messages_per_s", self.address_messages_per_s),
            ("limits.address_messages_burst", self.address_messages_burst),
            ("limits.address_connects_per_s", self.address_connects_per_s),
            ("limits.address_connects_burst", self.address_connects_burst),
            ("limits.address_connections_max", self.address_connections_max),
        ] {
            check_range(key, number, 1, RATE_MAX)?;
        }
        Ok(Limits {
            device: Allowance {
                entries: Rate::new(self.device_logins_burst, self.device_logins_per_min, 60),
                messages: Rate::new(self.device_messages_burst, self.device_messages_per_s, 1),
                // The registry lets in one connection of an identity.
                present_max: u32::MAX,
            },
            address: Allowance {
                entries: Rate::new(self.address_connects_burst, self.address_connects_per_s, 1),
                messages: Rate::new(self.address_messages_burst, self.address_messages_per_s, 1),
                present_max: self.address_connections_max,
            },
        })
    }
}
