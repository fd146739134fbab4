//! `org.kith.Messenger1.Inbox1`: all received messages, for consumers that keep their place.

use kith_dbus::{Refusal, Row};
use kith_engine::Request;
use zbus::interface;
use zbus::object_server::SignalEmitter;

use super::error::refusal;
use super::map;
use crate::handle::{Handle, Read};

pub(super) struct Inbox {
    handle: Handle,
}

impl Inbox {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

#[interface(name = "org.kith.Messenger1.Inbox1", introspection_docs = false)]
impl Inbox {
    #[zbus(out_args("rows"))]
    async fn fetch(&self, consumer: String, cursor: u64, count: u32) -> Result<Vec<Row>, Refusal> {
        let rows = self.handle.read(Read::Inbox { consumer, cursor, count_max: count }).await.map_err(refusal)?;
        Ok(rows.into_iter().map(map::row).collect())
    }

    async fn ack(&self, consumer: String, seq: u64) -> Result<(), Refusal> {
        self.handle.request(Request::AckInbox { consumer, seq }).await.map_err(refusal)?;
        Ok(())
    }

    #[zbus(signal)]
    pub(super) async fn available(emitter: &SignalEmitter<'_>, seq: u64) -> zbus::Result<()>;
}
