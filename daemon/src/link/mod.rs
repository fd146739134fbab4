//! The links to other devices: each one WebRTC connection with one data channel.
//!
//! This is the only place that speaks WebRTC, and nothing of it leaks out: negotiation comes and
//! goes as [`Negotiation`], messages as bytes, everything else as [`LinkEvent`]. A link is one
//! task that owns its connection; WebRTC's callbacks only forward into that task. What happens
//! inside the channel (the handshake between the two devices, records, pings) is the engine's.
//!
//! - `task` is one link's life, from the offer to the last report; `door` is how its owner reaches it.
//! - `connection` is the narrow face of the WebRTC library; `callbacks` and `runtime` are what it
//!   calls back into, and `socket` what it sends and receives with.
//! - `own` says what this side is, `remote` parses what the other side says, `servers` what the signaling server says.
//! - `bare` is a channel without a link, for the benchmarks to compare with.
//!
//! Invariants: a failed link reports `Down` or `Broken` as its last report; no callback waits; every queue is
//! bounded; the remote fingerprint comes from the completed DTLS handshake; no address and no
//! credential is logged above debug or put into a sentence.
//!
//! Deliberately absent: restarting ICE (the engine opens a new link beside one that has gone silent, which has sockets on
//! the addresses of the moment, and takes no longer), TURN over TCP or
//! TLS (the library has UDP only), TCP candidates, mDNS, and every channel but one.

pub mod bare;
mod callbacks;
mod connection;
mod door;
#[doc(hidden)] // for the fuzz targets; it is no API
pub mod dry_run;
mod failure;
mod own;
mod remote;
mod runtime;
mod servers;
mod socket;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use kith_engine::{Ice, LinkEvent, LinkId, LinkRole, Negotiation};
use tokio::sync::{mpsc, watch};

use self::door::{Door, Wish};
use self::failure::Failure;
use self::task::Order;
use crate::network::Network;

/// Log targets of the WebRTC library and what it stands on. The program's tracing filter turns
/// them off (`target=off`), at every level and in every logging mode: at debug they print the
/// other side's ICE password and TURN user names, at warn and error they print addresses.
///
/// These crates log through `log`, so nothing of theirs reaches tracing as long as no bridge
/// (`tracing-log`) is installed; the list keeps it so if one ever is.
pub const NOISY_LOG_TARGETS: [&str; 18] = [
    "quinn_udp",
    "rtc",
    "rtc_crypto",
    "rtc_datachannel",
    "rtc_dtls",
    "rtc_ice",
    "rtc_interceptor",
    "rtc_mdns",
    "rtc_media",
    "rtc_rtcp",
    "rtc_rtp",
    "rtc_sctp",
    "rtc_sdp",
    "rtc_shared",
    "rtc_srtp",
    "rtc_stun",
    "rtc_turn",
    "webrtc",
];

/// The largest channel message, in bytes (`docs/protocol.md` §6).
pub const MESSAGE_BYTES_MAX: usize = 16_384;

/// How many messages may wait to be sent on one link. The engine's window of unacknowledged
/// messages is smaller; at the largest size they take 4 MiB.
pub const OUTGOING_MESSAGES_MAX: usize = 256;

/// How many reports may wait for the loop, over all links: 1 MiB if all are the largest frames.
/// When it is full, the links stop reading and their peers stop sending.
const REPORTS_MAX: usize = 64;

/// How many words of the negotiation may wait for a link's task. The other side sends one
/// description, at most 32 candidates that count, and their end.
const WORDS_MAX: usize = 64;

/// How links are made.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The addresses to bind. Empty: every address of every interface that is up and not
    /// loopback, looked up afresh for each link.
    pub addresses: Vec<IpAddr>,
    /// By which links hear that an address that they have bound is gone.
    pub network: Network,
}

/// What a link reports to the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkReport {
    /// Something for [`kith_engine`]'s `handle_link`.
    Event(LinkEvent),
    /// One channel message, at most [`MESSAGE_BYTES_MAX`] bytes; only after `Up`.
    Frame(Vec<u8>),
}

/// All links of this device. Dropping it closes them.
#[derive(Debug)]
pub struct Links {
    settings: Settings,
    reports: mpsc::Sender<(LinkId, LinkReport)>,
    doors: BTreeMap<LinkId, Door>,
}

impl Links {
    /// Makes the owner of links and the queue of what they report. The queue ends when the owner
    /// is dropped and the last task has ended.
    pub fn new(settings: Settings) -> (Links, mpsc::Receiver<(LinkId, LinkReport)>) {
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        (Links { settings, reports, doors: BTreeMap::new() }, receiver)
    }

    /// Starts a link. Never blocks; what goes wrong comes as `Down`.
    ///
    /// Must be called on a tokio runtime. With `relay_only` the other side learns no address of
    /// this device but the relay's.
    pub fn open(&mut self, link: LinkId, role: LinkRole, ice: Ice, relay_only: bool) {
        // The engine has no word for "I have seen the Down"; ended links are forgotten here.
        self.doors.retain(|_, door| !door.words.is_closed());

        let (words, words_out) = mpsc::channel(WORDS_MAX);
        let (outgoing, outgoing_out) = mpsc::channel(OUTGOING_MESSAGES_MAX);
        let (wish, wish_out) = watch::channel(Wish::Live);
        let order = Order {
            link,
            role,
            ice,
            relay_only,
            addresses: self.settings.addresses.clone(),
            network: self.settings.network.clone(),
            reports: self.reports.clone(),
            words: words_out,
            outgoing: outgoing_out,
        };
        tokio::spawn(task::run(order, wish_out));
        self.doors.insert(link, Door { words, outgoing, wish });
    }

    /// Hands over what the other side said. Words for a link that has ended are dropped.
    pub fn negotiate(&mut self, link: LinkId, words: Negotiation) {
        if let Some(door) = self.doors.get(&link)
            && let Err(mpsc::error::TrySendError::Full(_)) = door.words.try_send(words)
        {
            door.fail(Failure::TooManyWords);
        }
    }

    /// Queues a message behind those before it; before `Up` they wait. Messages for a link that
    /// has ended are dropped; a full queue ends the link.
    pub fn transmit(&mut self, link: LinkId, message: Vec<u8>) {
        let Some(door) = self.doors.get(&link) else { return };
        if message.len() > MESSAGE_BYTES_MAX {
            door.fail(Failure::OwnMessageTooLong(message.len()));
        } else if let Err(mpsc::error::TrySendError::Full(_)) = door.outgoing.try_send(message) {
            door.fail(Failure::QueueFull);
        }
    }

    /// Ends a link; the other side notices at once. Messages still queued here are dropped, those
    /// handed to the connection are sent.
    ///
    /// The link's task reports nothing after this. Reports that were in the queue already are
    /// still in it; [`is_open`](Links::is_open) tells them apart.
    pub fn close(&mut self, link: LinkId) {
        if let Some(door) = self.doors.remove(&link) {
            door.wish.send_replace(Wish::Close);
        }
    }

    /// Whether reports of this link still count: opened, and not closed since.
    pub fn is_open(&self, link: LinkId) -> bool {
        self.doors.contains_key(&link)
    }
}
