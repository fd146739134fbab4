//! `org.kith.Messenger1.Room1`: a room.

use kith_dbus::{Refusal, RoomMember, RoomState};
use kith_engine::{Request, RoomView};
use tokio::sync::watch;
use zbus::{ObjectPath, interface};

use super::error::refusal;
use super::map;
use super::settle::Settling;
use crate::handle::Handle;

pub(super) struct Room {
    handle: Handle,
    settling: Settling,
    view: watch::Receiver<RoomView>,
}

impl Room {
    pub(super) fn new(handle: Handle, settling: Settling, view: watch::Receiver<RoomView>) -> Self {
        Self { handle, settling, view }
    }

    async fn ask(&self, request: Request) -> Result<(), Refusal> {
        self.handle.request(request).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(())
    }
}

#[interface(name = "org.kith.Messenger1.Room1", introspection_docs = false)]
impl Room {
    async fn add(&self, peer: ObjectPath<'_>) -> Result<(), Refusal> {
        let room = self.view.borrow().room;
        self.ask(Request::AddMember { room, peer: map::parse_peer(&peer).map_err(refusal)? }).await
    }

    async fn remove(&self, peer: ObjectPath<'_>) -> Result<(), Refusal> {
        let room = self.view.borrow().room;
        self.ask(Request::RemoveMember { room, peer: map::parse_peer(&peer).map_err(refusal)? }).await
    }

    async fn rename(&self, name: String) -> Result<(), Refusal> {
        let room = self.view.borrow().room;
        self.ask(Request::RenameRoom { room, name }).await
    }

    async fn hand_over(&self, peer: ObjectPath<'_>) -> Result<(), Refusal> {
        let room = self.view.borrow().room;
        self.ask(Request::HandOver { room, peer: map::parse_peer(&peer).map_err(refusal)? }).await
    }

    async fn leave(&self) -> Result<(), Refusal> {
        let room = self.view.borrow().room;
        self.ask(Request::LeaveRoom(room)).await
    }

    #[zbus(property)]
    fn name(&self) -> String {
        self.view.borrow().name.clone()
    }

    #[zbus(property)]
    fn state(&self) -> RoomState {
        map::room_state(self.view.borrow().state)
    }

    #[zbus(property)]
    fn owner(&self) -> String {
        self.view.borrow().owner.to_string()
    }

    #[zbus(property)]
    fn members(&self) -> Vec<RoomMember> {
        map::members(&self.view.borrow())
    }

    #[zbus(property)]
    fn version(&self) -> u64 {
        self.view.borrow().version
    }
}
