//! The messenger itself: a state machine without I/O, without a clock and without threads.
//!
//! Everything that decides lives here: contacts, pairing, handshakes, session keys, sealing of
//! signaling payloads, the outbox, presence and retry timers. The shell around it (`kithd`) owns
//! sockets, files, entropy and the clock.
//!
//! Inputs are the `handle_…` methods of [`Engine`]; each takes the time, and a random source where
//! it needs one. After every input, drain [`Engine::poll_effect`], then arm a timer for
//! [`Engine::poll_timeout`].
//!
//! Invariants:
//! - The same inputs give the same outputs: only ordered maps are iterated.
//! - A message is acknowledged only after [`Engine::handle_committed`] said that it is on disk.
//! - Nothing is shown, stored or sent in a session before the other side's `hello` has opened.
//! - The engine holds contacts, counters, a bounded window of unacknowledged messages per peer, and the
//!   places of a bounded number of messages that disappear next; never history.
//!
//! Deliberately absent: tokio, zbus, webrtc, files, logging of anything.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod arrival;
mod budget;
mod comparison;
mod conn;
mod connect;
mod contact;
mod delivery;
mod dropped;
mod effect;
mod engine;
mod event;
mod expiry;
#[doc(hidden)] // for the fuzz targets; it is no API
pub mod invite;
mod leaving;
mod link;
mod newcomer;
mod owner;
mod pairing;
mod reach;
mod receipt;
mod record;
mod request;
mod restored;
mod room;
mod roster;
mod signal;
mod standing;
mod strand;
mod talk;
mod time;
mod upkeep;

pub use dropped::Dropped;
pub use effect::{Commit, CommitError, CommitId, Effect, Load, LoadId, Loaded, Op};
pub use engine::{Engine, Settings};
pub use event::{
    Event, LinkState, MemberView, MessageState, PairingState, PairingView, PeerView, Presence, RoomView,
    SignalingState, Trust,
};
pub use expiry::EXPIRY_S_MAX;
pub use kith_crypto::room::RoomId;
pub use link::{LinkEvent, LinkId, LinkPath, LinkRole, Negotiation};
pub use pairing::CONTACTS_MAX;
pub use record::{
    ContactRecord, ContactState, ConversationId, ConversationRecord, Direction, Expiring, ExpiryRecord, Incarnation,
    Mark, MessageId, MessageRecord, MissingRecord, ProfileRecord, ReachRecord, ReadMark, ReadingRecord, RoomRecord,
    RoomState, StandingRecord, StoredContact, StoredRoom, StoredState, StoredWaiting,
};
pub use request::{NewMessage, PairingId, Reply, Request, RequestError, RequestId};
pub use signal::{Ice, IceServer, LoggingMode, LoggingNotice, RefusedBy, Signal, SignalOut, Token, Via};
pub use time::Now;
pub use upkeep::checked_name;
