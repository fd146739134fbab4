//! The cryptography of Kith, without `std`, without an allocator, without I/O and without a
//! clock; randomness is passed in.
//!
//! - [`identity`]: who a device is, and the proofs of it.
//! - [`invite`]: the secret of an invite and what comes of it.
//! - [`noise`]: the Noise handshakes, as tables.
//! - [`session`]: records, sealed and opened in place, and the change of keys.
//! - [`sealed`]: signaling payloads (HPKE).
//! - [`vault`]: what is stored.
//! - [`wire`]: frames between peers.
//!
//! Invariants: bytes from outside become typed values once, at the edge, with every encoding
//! checked; secrets are erased when they are dropped and print as nothing; no path panics on
//! input. Deliberately absent: any choice of algorithms, and any state that outlives a value.

#![no_std]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod identity;
pub mod invite;
pub mod noise;
#[doc(hidden)]
pub mod primitives;
pub mod sealed;
pub mod session;
pub mod vault;
pub mod version;
pub mod wire;
