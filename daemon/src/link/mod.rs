//! The links to other devices: each one WebRTC connection with one data channel.
//!
//! This is the only place that speaks WebRTC, and nothing of it leaks out: negotiation comes and
//! goes as [`Negotiation`], messages as bytes, everything else as [`LinkEvent`]. A link is one
//! task that owns its connection; WebRTC's callbacks only forward into that task. What happens
//! inside the channel (the handshake between the two devices, records, pings) is the engine's.
//!
//! - `task` is one link's life, from the offer to the last report.
//! - `connection` is the narrow face of the WebRTC library; `callbacks` and `runtime` are what it
//!   calls back into.
//! - `remote` parses what the other side says, `servers` what the signaling server says,
//!   `addresses` lists what this device can bind.
//!
//! Invariants: a failed link reports `Down` as its last report; no callback waits; every queue is
//! bounded; the remote fingerprint comes from the completed DTLS handshake; no address and no
//! credential is logged above debug or put into a sentence.
//!
//! Deliberately absent: restarting ICE (the engine opens a new link instead), TURN over TCP or
//! TLS (the library has UDP only), TCP candidates, mDNS, and every channel but one.

mod addresses;
mod callbacks;
mod remote;
mod runtime;
mod servers;
