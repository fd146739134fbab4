//! How much history is kept, and what of that was chosen on the device.

use serde::{Deserialize, Serialize};

/// How much history is kept; `None` is without end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Messages of one conversation.
    pub messages_max: Option<u64>,
    /// Bytes of one conversation's messages, as they are stored.
    pub bytes_max: Option<u64>,
    /// Messages of all conversations; the one with the most gives first.
    pub total_messages_max: Option<u64>,
    /// Bytes of all conversations' messages; the largest gives first.
    pub total_bytes_max: Option<u64>,
    /// Milliseconds since a message was received or delivered.
    pub age_ms_max: Option<u64>,
}

/// What somebody has chosen while the messenger ran, in the words of the configuration: `None` goes by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionChoice {
    /// Messages of one conversation; 0 is without end, as in all of these.
    pub messages_max: Option<u64>,
    /// Bytes of one conversation.
    pub bytes_max: Option<u64>,
    /// Messages of all conversations.
    pub total_messages_max: Option<u64>,
    /// Bytes of all conversations.
    pub total_bytes_max: Option<u64>,
    /// Days since a message was received or delivered.
    pub days_max: Option<u64>,
}
