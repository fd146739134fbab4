//! `org.kith.Messenger1.Conversation1`: the conversation with a contact.

use kith_dbus::{MessageState, Refusal, Row, SendOptions};
use kith_engine::{NewMessage, PeerView, Reply, Request};
use tokio::sync::watch;
use zbus::interface;
use zbus::object_server::SignalEmitter;

use super::error::{mismatched, refusal};
use super::map;
use super::settle::Settling;
use crate::handle::{Handle, Read};

pub(super) struct Conversation {
    handle: Handle,
    settling: Settling,
    view: watch::Receiver<PeerView>,
}

impl Conversation {
    pub(super) fn new(handle: Handle, settling: Settling, view: watch::Receiver<PeerView>) -> Self {
        Self { handle, settling, view }
    }
}

#[interface(name = "org.kith.Messenger1.Conversation1", introspection_docs = false)]
impl Conversation {
    #[zbus(out_args("id"))]
    async fn send(&self, content_type: String, body: Vec<u8>, options: SendOptions) -> Result<String, Refusal> {
        let peer = self.view.borrow().peer;
        let reply_to = options.reply_to.as_deref().map(map::parse_message_id).transpose().map_err(refusal)?;
        let SendOptions { reply_to: _, ttl_s, idempotency_key } = options;
        let message = NewMessage { content_type, body, reply_to, ttl_s, idempotency_key };
        match self.handle.request(Request::Send { peer, message }).await.map_err(refusal)? {
            Reply::Message(id) => Ok(map::message_id(id)),
            Reply::Done | Reply::Pairing(_) | Reply::SafetyNumber(_) => Err(mismatched()),
        }
    }

    #[zbus(out_args("rows"))]
    async fn list(&self, after: u64, count: u32) -> Result<Vec<Row>, Refusal> {
        let peer = self.view.borrow().peer;
        let rows = self.handle.read(Read::History { peer, after, count_max: count }).await.map_err(refusal)?;
        Ok(rows.into_iter().map(map::row).collect())
    }

    async fn mark_read(&self, seq: u64) -> Result<(), Refusal> {
        let peer = self.view.borrow().peer;
        self.handle.request(Request::MarkRead { peer, seq }).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(())
    }

    #[zbus(signal)]
    pub(super) async fn state_changed(emitter: &SignalEmitter<'_>, id: &str, state: MessageState) -> zbus::Result<()>;

    #[zbus(property)]
    fn last_seq(&self) -> u64 {
        self.view.borrow().last_seq
    }

    #[zbus(property)]
    fn unread(&self) -> u64 {
        self.view.borrow().unread
    }

    #[zbus(property)]
    fn missing(&self) -> u64 {
        self.view.borrow().missing
    }
}
