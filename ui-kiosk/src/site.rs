//! What every request has at hand.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::access::Access;
use crate::bus::{Bus, Conversation};
use crate::screens::Backups;
use crate::words::Language;

/// Event streams at a time: one for each page that is open. More are told to come back later.
const STREAMS_MAX: usize = 32;

/// Everything behind the pages.
pub(crate) struct Site {
    /// Where browsers find it.
    pub(crate) address: SocketAddr,
    /// Who may use it.
    pub(crate) access: Access,
    /// The messenger.
    pub(crate) bus: Bus,
    /// What visitors see.
    pub(crate) visited: Option<Conversation>,
    /// The language of whoever has none.
    pub(crate) language: Language,
    /// Places for event streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Backups on their way between browser and messenger.
    pub(crate) backups: Backups,
}

impl Site {
    /// One in front of a messenger.
    pub(crate) fn new(
        address: SocketAddr,
        access: Access,
        bus: Bus,
        visited: Option<Conversation>,
        language: Language,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { address, access, bus, visited, language, streams, backups: Backups::default() }
    }
}
