//! What the engine knows of a link: one WebRTC connection with its one data channel.

/// Names one link; the engine chooses it, never twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who makes the offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRole {
    /// Produces an offer at once.
    Offerer,
    /// Waits for [`Negotiation::Offer`], then produces an answer.
    Answerer,
}

/// What two links tell each other to find a path. The engine seals and opens it, and does not
/// look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Negotiation {
    /// An SDP offer.
    Offer(String),
    /// An SDP answer.
    Answer(String),
    /// One ICE candidate (RFC 8839 §5.1); empty at the end of candidates.
    Candidate(String),
}

/// How the packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkPath {
    /// Between the two devices; each sees the other's address.
    Direct,
    /// Over a TURN relay.
    Relayed,
}

/// What a link reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// To be sealed and sent to the other side.
    Local(Negotiation),
    /// DTLS is complete and the data channel is open.
    Up {
        /// SHA-256 of the own certificate's DER.
        own_fingerprint: [u8; 32],
        /// SHA-256 of the certificate that the other side proved to hold in the DTLS handshake.
        remote_fingerprint: [u8; 32],
        /// The path in use.
        path: LinkPath,
    },
    /// The path in use has changed.
    Path(LinkPath),
    /// Nothing has come from the other side for a moment; it may come back, or the link goes down.
    Silent,
    /// Something has come again.
    Heard,
    /// An address of this device that the link may use is gone.
    Moved,
    /// The other side broke the protocol of the channel, and the link is gone, for good; the
    /// sentence says how.
    Broken(String),
    /// The link is gone, for good; the sentence says why.
    Down(String),
}

impl LinkEvent {
    /// One word, for the log: what is in an event may not stand there.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Up { .. } => "up",
            Self::Path(_) => "path",
            Self::Silent => "silent",
            Self::Heard => "heard",
            Self::Moved => "moved",
            Self::Broken(_) => "broken",
            Self::Down(_) => "down",
        }
    }
}
