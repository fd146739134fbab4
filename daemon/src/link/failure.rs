//! Why a link goes down, in sentences.

use kith_engine::LinkEvent;

use super::{MESSAGE_BYTES_MAX, OUTGOING_MESSAGES_MAX, task::SETUP_TIMEOUT};

/// Why a link goes down. The sentences are for people; they hold no address and no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("this device has no network address to connect from")]
    NoAddress,
    #[error("this link may only use a relay, and the server offers none that can be used")]
    NoRelay,
    #[error("this link may only use a relay, and the relay refused this device or is unreachable")]
    RelayUnavailable,
    #[error("the connection could not be prepared on this device")]
    Preparation,
    #[error("the other side's description of the connection cannot be read")]
    BadDescription,
    #[error("the other side sent a description of the connection out of its place")]
    UnexpectedDescription,
    #[error("the other side sent more negotiation than this device takes")]
    TooManyWords,
    #[error("the other side did not answer within {} s", SETUP_TIMEOUT.as_secs())]
    NoAnswer,
    #[error("no path between the two devices was found within {} s", SETUP_TIMEOUT.as_secs())]
    SetupTimeout,
    #[error("no path between the two devices was found")]
    NoPath,
    #[error("no direct path between the two devices was found, and the relay refused this device or is unreachable")]
    NoPathNorRelay,
    #[error("the two devices could not agree on encryption")]
    Encryption,
    #[error("the other side proved no certificate")]
    NoCertificate,
    #[error("the other side takes only messages that are too short for this protocol")]
    ShortMessagesOnly,
    #[error("the other side cannot be reached any more")]
    Lost,
    #[error("the other side closed the connection")]
    ClosedByPeer,
    #[error("the connection failed on this device")]
    Broken,
    #[error("the connection reported more than this device could follow")]
    TooManyHappenings,
    #[error("the other side keeps opening channels that are not part of this protocol")]
    TooManyChannels,
    #[error("the other side sent text where this protocol has only bytes")]
    Text,
    #[error("the other side sent {0} bytes in one message; the most is {MESSAGE_BYTES_MAX}")]
    MessageTooLong(usize),
    #[error("a message of {0} bytes was to be sent; the most is {MESSAGE_BYTES_MAX}")]
    OwnMessageTooLong(usize),
    #[error("more than {OUTGOING_MESSAGES_MAX} messages were waiting to be sent; the other side is too slow")]
    QueueFull,
}

impl Failure {
    /// Whether the other side did what it must not do, where a person may want to know of it.
    const fn is_breach(self) -> bool {
        match self {
            Self::BadDescription
            | Self::UnexpectedDescription
            | Self::TooManyWords
            | Self::ShortMessagesOnly
            | Self::TooManyChannels
            | Self::Text
            | Self::MessageTooLong(_)
            | Self::QueueFull => true,
            Self::NoAddress
            | Self::NoRelay
            | Self::RelayUnavailable
            | Self::Preparation
            | Self::NoAnswer
            | Self::SetupTimeout
            | Self::NoPath
            | Self::NoPathNorRelay
            | Self::Encryption
            | Self::NoCertificate
            | Self::Lost
            | Self::ClosedByPeer
            | Self::Broken
            | Self::TooManyHappenings
            | Self::OwnMessageTooLong(_) => false,
        }
    }
}

impl From<Failure> for LinkEvent {
    fn from(failure: Failure) -> Self {
        let why = failure.to_string();
        if failure.is_breach() { Self::Broken(why) } else { Self::Down(why) }
    }
}
