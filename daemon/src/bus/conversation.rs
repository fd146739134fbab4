//! `org.kith.Messenger1.Conversation1`: the conversation with a contact, or in a room.

use std::sync::Arc;

use kith_dbus::{MessageState, Refusal, Row, SendOptions};
use kith_engine::{ConversationId, Event, NewMessage, PeerView, Reply, Request, RoomView};
use serde_bytes::ByteBuf;
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
    conversation: ConversationId,
    view: Counters,
}

/// Where a conversation's counters are shown.
pub(super) enum Counters {
    Peer(Arc<watch::Sender<PeerView>>),
    Room(Arc<watch::Sender<RoomView>>),
}

impl Conversation {
    pub(super) fn new(handle: Handle, settling: Settling, view: Counters) -> Self {
        let conversation = match &view {
            Counters::Peer(view) => view.borrow().peer.into(),
            Counters::Room(view) => view.borrow().room.into(),
        };
        Self { handle, settling, conversation, view }
    }

    /// Takes over what was set, as for a contact's name: the announcement must not be older than the change.
    async fn refresh_expiry(&self) {
        for event in self.handle.snapshot().await.unwrap_or_default() {
            match (&self.view, event) {
                (Counters::Peer(view), Event::Peer(now)) if view.borrow().peer == now.peer => {
                    view.send_modify(|view| view.expiry_s = now.expiry_s);
                }
                (Counters::Room(view), Event::Room(now)) if view.borrow().room == now.room => {
                    view.send_modify(|view| view.expiry_s = now.expiry_s);
                }
                _ => {}
            }
        }
    }
}

#[interface(name = "org.kith.Messenger1.Conversation1", introspection_docs = false)]
impl Conversation {
    #[zbus(out_args("id"))]
    async fn send(&self, content_type: String, body: ByteBuf, options: SendOptions) -> Result<String, Refusal> {
        let conversation = self.conversation;
        let reply_to = options.reply_to.as_deref().map(map::parse_message_id).transpose().map_err(refusal)?;
        let SendOptions { reply_to: _, ttl_s, idempotency_key } = options;
        let message = NewMessage { content_type, body: body.into_vec(), reply_to, ttl_s, idempotency_key };
        match self.handle.request(Request::Send { conversation, message }).await.map_err(refusal)? {
            Reply::Message(id) => Ok(map::message_id(id)),
            Reply::Done | Reply::Pairing(_) | Reply::Room(_) | Reply::SafetyNumber(_) => Err(mismatched()),
        }
    }

    #[zbus(out_args("rows"))]
    async fn list(&self, after: u64, count: u32) -> Result<Vec<Row>, Refusal> {
        let conversation = self.conversation;
        let rows = self.handle.read(Read::History { conversation, after, count_max: count }).await.map_err(refusal)?;
        Ok(rows.into_iter().map(map::row).collect())
    }

    async fn mark_read(&self, seq: u64) -> Result<(), Refusal> {
        let conversation = self.conversation;
        self.handle.request(Request::MarkRead { conversation, seq }).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(())
    }

    #[zbus(signal)]
    pub(super) async fn state_changed(emitter: &SignalEmitter<'_>, id: &str, state: MessageState) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn read(emitter: &SignalEmitter<'_>, client_id: &str, id: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(super) async fn disappeared(emitter: &SignalEmitter<'_>, seqs: &[u64]) -> zbus::Result<()>;

    #[zbus(property)]
    fn expiry_seconds(&self) -> u32 {
        match &self.view {
            Counters::Peer(view) => view.borrow().expiry_s,
            Counters::Room(view) => view.borrow().expiry_s,
        }
    }

    #[zbus(property)]
    async fn set_expiry_seconds(&self, seconds: u32) -> Result<(), Refusal> {
        let conversation = self.conversation;
        self.handle.request(Request::SetExpiry { conversation, seconds }).await.map_err(refusal)?;
        self.refresh_expiry().await;
        Ok(())
    }

    #[zbus(property)]
    fn last_seq(&self) -> u64 {
        match &self.view {
            Counters::Peer(view) => view.borrow().last_seq,
            Counters::Room(view) => view.borrow().last_seq,
        }
    }

    #[zbus(property)]
    fn unread(&self) -> u64 {
        match &self.view {
            Counters::Peer(view) => view.borrow().unread,
            Counters::Room(view) => view.borrow().unread,
        }
    }

    #[zbus(property)]
    fn missing(&self) -> u64 {
        match &self.view {
            Counters::Peer(view) => view.borrow().missing,
            // Restored rooms count nothing: their members are asked by their people.
            Counters::Room(_) => 0,
        }
    }
}
