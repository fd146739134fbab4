//! `org.kith.Messenger1.Peer1`: a contact.

use std::sync::Arc;

use kith_dbus::{LinkState, Presence, Refusal, Trust};
use kith_engine::{Event, PeerView, Reply, Request};
use tokio::sync::watch;
use zbus::interface;
use zbus::object_server::SignalEmitter;

use super::error::{mismatched, refusal};
use super::map;
use super::settle::Settling;
use crate::handle::Handle;

pub(super) struct Peer {
    handle: Handle,
    settling: Settling,
    view: Arc<watch::Sender<PeerView>>,
}

impl Peer {
    pub(super) fn new(handle: Handle, settling: Settling, view: Arc<watch::Sender<PeerView>>) -> Self {
        Self { handle, settling, view }
    }

    /// Takes over what was set, as for the display name: the announcement must not be older than
    /// the change.
    async fn refresh(&self, take: impl FnOnce(&mut PeerView, PeerView)) {
        let peer = self.view.borrow().peer;
        let events = self.handle.snapshot().await.unwrap_or_default();
        if let Some(now) = events.into_iter().find_map(|event| match event {
            Event::Peer(view) if view.peer == peer => Some(view),
            _ => None,
        }) {
            self.view.send_modify(|view| take(view, now));
        }
    }
}

#[interface(name = "org.kith.Messenger1.Peer1", introspection_docs = false)]
impl Peer {
    #[zbus(out_args("digits"))]
    async fn safety_number(&self) -> Result<String, Refusal> {
        let peer = self.view.borrow().peer;
        match self.handle.request(Request::SafetyNumber(peer)).await.map_err(refusal)? {
            Reply::SafetyNumber(digits) => Ok(digits),
            Reply::Done | Reply::Message(_) | Reply::Pairing(_) | Reply::Room(_) => Err(mismatched()),
        }
    }

    async fn mark_verified(&self, verified: bool) -> Result<(), Refusal> {
        let peer = self.view.borrow().peer;
        self.handle.request(Request::MarkVerified { peer, verified }).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(())
    }

    async fn remove(&self) -> Result<(), Refusal> {
        let peer = self.view.borrow().peer;
        self.handle.request(Request::RemovePeer(peer)).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(())
    }

    #[zbus(signal)]
    pub(super) async fn trouble(emitter: &SignalEmitter<'_>, text: &str) -> zbus::Result<()>;

    #[zbus(property)]
    fn name(&self) -> String {
        self.view.borrow().name.clone()
    }

    #[zbus(property)]
    async fn set_name(&self, name: String) -> Result<(), Refusal> {
        let peer = self.view.borrow().peer;
        self.handle.request(Request::RenamePeer { peer, name }).await.map_err(refusal)?;
        self.refresh(|view, now| view.name = now.name).await;
        Ok(())
    }

    #[zbus(property)]
    fn blocked(&self) -> bool {
        self.view.borrow().blocked
    }

    #[zbus(property)]
    async fn set_blocked(&self, blocked: bool) -> Result<(), Refusal> {
        let peer = self.view.borrow().peer;
        self.handle.request(Request::Block { peer, blocked }).await.map_err(refusal)?;
        self.refresh(|view, now| view.blocked = now.blocked).await;
        Ok(())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn client_id(&self) -> String {
        self.view.borrow().peer.to_string()
    }

    #[zbus(property)]
    fn trust(&self) -> Trust {
        map::trust(self.view.borrow().trust)
    }

    #[zbus(property)]
    fn presence(&self) -> Presence {
        map::presence(self.view.borrow().presence)
    }

    #[zbus(property)]
    fn link(&self) -> LinkState {
        map::link(self.view.borrow().link)
    }

    #[zbus(property)]
    fn last_seen(&self) -> u64 {
        self.view.borrow().seen_utc_ms
    }
}
