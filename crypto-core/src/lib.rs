//! The cryptography and the byte formats of Kith, as `docs/protocol.md` defines them: identities, invites, Noise sessions,
//! sealed signaling payloads, the vault's keys, the chunks of backups and the frames between peers.
//!
//! Invariants:
//! - Bytes become typed values once: a value of [`identity::PublicIdentity`] or [`identity::Card`] is on the curve and verified.
//! - The tag and the length of an encoded point are checked before it is parsed; a signature with a high s is refused.
//! - Sealing and opening work in place in the caller's buffers. Nothing allocates.
//! - Secrets are erased when dropped and print as `..`. A handshake leaves none on the stack; `residue` lets callers
//!   do the same for all else.
//! - Every hash, key derivation and signature has a label of its own, beginning `kith/1 `.
//!
//! Deliberately absent: `std`, an allocator, input and output, a clock, a random source (callers pass one), and
//! every decision about peers, retries or time.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backup;
pub mod comparison;
pub mod identity;
pub mod invite;
pub mod noise;
#[doc(hidden)]
pub mod primitives;
pub mod residue;
pub mod room;
pub mod sealed;
pub mod session;
pub mod vault;
pub mod version;
pub mod wire;
