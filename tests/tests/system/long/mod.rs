//! What takes its time: outages, and everything that is repeated in a soak.

mod backup;
mod full_disk;
mod logging;
mod machines;
mod memory;
mod nat;
mod outage;
mod reach;
mod rooms;
mod secrecy;
mod start_order;

/// How often the tests here repeat what they do; `cargo xtask soak` sets it.
pub(crate) fn rounds() -> usize {
    std::env::var("KITH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}
