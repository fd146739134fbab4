//! The objects on the bus, and the one task that changes them.
//!
//! Interfaces read views that this task writes; no method ever locks an interface for writing, so a
//! slow call holds nobody up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kith_crypto::identity::ClientId;
use kith_dbus as dbus;
use kith_engine::{ConversationId, Event, MessageState, PairingId, PairingView, PeerView, RoomId, RoomView};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tracing::debug;
use zbus::fdo::{ObjectManager, Properties};
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath};
use zeroize::Zeroize as _;

use super::access::{Access, Guarded};
use super::conversation::{Conversation, Counters};
use super::inbox::Inbox;
use super::manager::Manager;
use super::map;
use super::pairing::Pairing;
use super::peer::Peer;
use super::room::Room;
use super::settle::{Settling, Waiting, settling};
use super::task::Task;
use super::view::{self, Changes, ManagerView};
use crate::config;
use crate::handle::{DaemonState, Handle, Status};
use crate::task::{Board, TaskId, TaskView};

/// Ended pairings that stay readable, so that whoever asked late still learns how one ended.
const ENDED_MAX: usize = 8;

/// Why the tree is no longer followed.
pub(super) enum Ended {
    /// The loop is gone.
    Stopping,
    /// The connection to the bus is gone.
    BusGone,
}

/// What the task does next.
enum Next {
    Status,
    Event(Arc<Event>),
    Lagged,
    Retention,
    PinSet,
    Tasks,
    Settled,
    End(Ended),
}

pub(super) struct Tree {
    handle: Handle,
    connection: Connection,
    access: Arc<Access>,
    status: watch::Receiver<Status>,
    events: broadcast::Receiver<Arc<Event>>,
    settling: Settling,
    waiting: Waiting,
    /// Shared with the object, whose setter of the name writes it, too; so are the contacts.
    manager: Arc<watch::Sender<ManagerView>>,
    peers: BTreeMap<ClientId, Arc<watch::Sender<PeerView>>>,
    rooms: BTreeMap<RoomId, Arc<watch::Sender<RoomView>>>,
    pairings: BTreeMap<PairingId, watch::Sender<PairingView>>,
    /// The pairings that ended, oldest first.
    ended: VecDeque<PairingId>,
    retention: watch::Receiver<config::Retention>,
    pin_set: watch::Receiver<bool>,
    board: watch::Receiver<Board>,
    tasks: BTreeMap<TaskId, watch::Sender<TaskView>>,
}

impl Tree {
    /// Puts up the objects that are always there.
    pub(super) async fn plant(handle: Handle, connection: Connection, access: Arc<Access>) -> zbus::Result<Self> {
        // Before any snapshot, so that nothing falls between the two.
        let events = handle.subscribe();
        let mut status = handle.status();
        let first = status.borrow_and_update().clone();
        let locked = DaemonState::Locked;
        let state = if first.state == DaemonState::Ready { locked } else { first.state };
        let manager = Arc::new(watch::Sender::new(ManagerView::new(Status { state, client_id: first.client_id })));
        let (settling, waiting) = settling();
        let server = connection.object_server();
        let root = Manager::new(handle.clone(), settling.clone(), manager.clone(), access.clone());
        server.at(dbus::ROOT_PATH, Guarded::new(root, access.clone())).await?;
        server.at(dbus::INBOX_PATH, Guarded::new(Inbox::new(handle.clone()), access.clone())).await?;
        server.at(dbus::ROOT_PATH, ObjectManager).await?;
        let (peers, rooms, pairings, ended) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        let retention = handle.retention();
        let pin_set = handle.pin_set();
        let (board, tasks) = (handle.tasks().watch(), BTreeMap::new());
        Ok(Self {
            handle,
            connection,
            access,
            status,
            events,
            settling,
            waiting,
            manager,
            peers,
            rooms,
            pairings,
            ended,
            retention,
            pin_set,
            board,
            tasks,
        })
    }

    /// Shows the present state.
    pub(super) async fn build(&mut self) {
        let status = self.status.borrow_and_update().clone();
        self.show_tasks().await;
        self.clear().await;
        if status.state != DaemonState::Ready {
            if self.manager.borrow().is_ready() {
                self.access.end_elevations();
            }
            return self.show_manager(|view| *view = ManagerView::new(status)).await;
        }
        if self.take_snapshot().await {
            let retention = map::retention(&self.retention.borrow_and_update());
            let pin_set = *self.pin_set.borrow_and_update();
            self.show_manager(|view| {
                view.status = status;
                view.retention = retention;
                view.pin_set = pin_set;
            })
            .await;
        }
    }

    /// Shows what the loop says, until it or the bus is gone.
    pub(super) async fn follow(mut self) -> Ended {
        loop {
            match self.next().await {
                Next::Status => self.build().await,
                Next::Event(event) => self.show_waiting(event).await,
                Next::Settled => {}
                Next::Lagged => self.catch_up().await,
                Next::Retention if self.manager.borrow().is_ready() => {
                    let retention = map::retention(&self.retention.borrow_and_update());
                    self.show_manager(|view| view.retention = retention).await;
                }
                Next::PinSet if self.manager.borrow().is_ready() => {
                    let pin_set = *self.pin_set.borrow_and_update();
                    self.show_manager(|view| view.pin_set = pin_set).await;
                }
                Next::Retention | Next::PinSet => {}
                Next::Tasks => self.show_tasks().await,
                Next::End(ended) => return ended,
            }
        }
    }

    /// The status first, since it overrules events; callers last, since they wait for both.
    async fn next(&mut self) -> Next {
        let connection = self.connection.clone();
        tokio::select! {
            biased;
            changed = self.status.changed() => match changed {
                Ok(()) => Next::Status,
                Err(_) => Next::End(Ended::Stopping),
            },
            () = connection.closed() => Next::End(Ended::BusGone),
            event = self.events.recv() => match event {
                Ok(event) => Next::Event(event),
                Err(RecvError::Lagged(_)) => Next::Lagged,
                Err(RecvError::Closed) => Next::End(Ended::Stopping),
            },
            changed = self.retention.changed() => match changed {
                Ok(()) => Next::Retention,
                Err(_) => Next::End(Ended::Stopping),
            },
            changed = self.pin_set.changed() => match changed {
                Ok(()) => Next::PinSet,
                Err(_) => Next::End(Ended::Stopping),
            },
            changed = self.board.changed() => match changed {
                Ok(()) => Next::Tasks,
                Err(_) => Next::End(Ended::Stopping),
            },
            caller = self.waiting.next() => {
                // It may have given up.
                let _ = caller.send(());
                Next::Settled
            }
        }
    }

    /// Events were lost: takes the whole state instead, and drops what is not in it.
    async fn catch_up(&mut self) {
        debug!("events were lost, taking a snapshot");
        if !self.take_snapshot().await {
            self.clear().await;
        }
    }

    /// Shows a snapshot; says whether there was one.
    async fn take_snapshot(&mut self) -> bool {
        let events = match self.handle.snapshot().await {
            Ok(events) => events,
            Err(error) => {
                // Locked again meanwhile, or stopping: the status says so next.
                debug!("no snapshot: {error}");
                return false;
            }
        };
        let (mut peers, mut rooms, mut pairings) = (Vec::new(), Vec::new(), Vec::new());
        for event in &events {
            match event {
                Event::Peer(view) => peers.push(view.peer),
                Event::Room(view) => rooms.push(view.room),
                Event::Pairing(view) => pairings.push(view.pairing),
                _ => {}
            }
        }
        let gone: Vec<_> = self.peers.keys().filter(|peer| !peers.contains(peer)).copied().collect();
        for peer in gone {
            self.remove_peer(peer).await;
        }
        let gone: Vec<_> = self.rooms.keys().filter(|room| !rooms.contains(room)).copied().collect();
        for room in gone {
            self.remove_room(room).await;
        }
        let is_lost = |id: &&PairingId| !pairings.contains(id) && !self.ended.contains(id);
        let lost: Vec<_> = self.pairings.keys().filter(is_lost).copied().collect();
        for pairing in lost {
            self.remove_pairing(pairing).await;
        }
        for event in &events {
            self.show(event).await;
        }
        true
    }

    /// Shows an event and those that wait behind it. Of a conversation that many of them are about only the last
    /// view is shown: under load that is one signal for all the messages of a transaction of the store.
    async fn show_waiting(&mut self, first: Arc<Event>) {
        let mut events = vec![first];
        let is_lagging = loop {
            match self.events.try_recv() {
                Ok(event) => events.push(event),
                Err(TryRecvError::Lagged(_)) => break true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break false,
            }
        };
        let is_shown = |conversation| match conversation {
            ConversationId::Direct(peer) => self.peers.contains_key(&peer),
            ConversationId::Room(room) => self.rooms.contains_key(&room),
        };
        for event in view::latest(events, is_shown) {
            // What an event tells about a locked store is no longer true.
            if self.status.borrow().state == DaemonState::Ready {
                self.show(&event).await;
            }
        }
        if is_lagging {
            self.catch_up().await;
        }
    }

    async fn show(&mut self, event: &Event) {
        match event {
            Event::Peer(view) => self.show_peer(view.clone()).await,
            Event::PeerRemoved(peer) => self.remove_peer(*peer).await,
            Event::Room(view) => self.show_room(view.clone()).await,
            Event::RoomRemoved(room) => self.remove_room(*room).await,
            Event::Pairing(view) => self.show_pairing(view.clone()).await,
            Event::MessageState { conversation, seq: _, id, state } => {
                self.tell_state(*conversation, map::message_id(*id), *state).await
            }
            Event::Received { conversation: _, peer: _, seq: _, inbox_seq, id: _ } => {
                if let Some(emitter) = self.emitter(dbus::INBOX_PATH) {
                    told(Inbox::available(&emitter, *inbox_seq).await);
                }
            }
            Event::Read { conversation, peer, id, by_all } => {
                if let Some(emitter) = self.emitter(map::conversation_path(*conversation)) {
                    let id = map::message_id(*id);
                    told(Conversation::read(&emitter, &peer.to_string(), &id).await);
                    if *by_all {
                        told(Conversation::state_changed(&emitter, &id, dbus::MessageState::Read).await);
                    }
                }
            }
            Event::SendsReceipts(sends) => self.show_manager(|view| view.sends_receipts = *sends).await,
            Event::Disappeared { conversation, seqs } => {
                if let Some(emitter) = self.emitter(map::conversation_path(*conversation)) {
                    told(Conversation::disappeared(&emitter, seqs).await);
                }
            }
            Event::Signaling(state) => self.show_manager(|view| view.signaling = map::signaling(*state)).await,
            Event::Notice(notice) => self.show_manager(|view| view.notice = map::notice(notice)).await,
            Event::RelayOnly(relay_only) => self.show_manager(|view| view.relay_only = *relay_only).await,
            Event::DisplayName(name) => self.show_manager(|view| view.display_name.clone_from(name)).await,
            Event::Intruder => {
                if let Some(emitter) = self.emitter(dbus::ROOT_PATH) {
                    told(Manager::intruder(&emitter).await);
                }
            }
            // For the log.
            Event::Dropped(_) => {}
            Event::Trouble { peer, text } => {
                if self.peers.contains_key(peer)
                    && let Some(emitter) = self.emitter(map::peer_path(*peer))
                {
                    told(Peer::trouble(&emitter, text).await);
                }
            }
        }
    }

    async fn show_manager(&mut self, change: impl FnOnce(&mut ManagerView)) {
        let mut old = None;
        self.manager.send_modify(|view| {
            old = Some(view.clone());
            change(view);
        });
        let new = self.manager.borrow().clone();
        let Some(old) = old else { return };
        self.announce(dbus::ROOT_PATH, dbus::MANAGER_INTERFACE, new.changes(&old), new.gone(&old)).await;
    }

    async fn show_peer(&mut self, new: PeerView) {
        let path = map::peer_path(new.peer);
        match self.peers.get(&new.peer) {
            Some(view) => {
                let old = view.send_replace(new.clone());
                self.announce(&path, dbus::PEER_INTERFACE, view::peer_changes(&old, &new), &[]).await;
                self.announce(&path, dbus::CONVERSATION_INTERFACE, view::conversation_changes(&old, &new), &[]).await;
            }
            None => {
                let view = Arc::new(watch::Sender::new(new.clone()));
                let server = self.connection.object_server();
                let peer = Peer::new(self.handle.clone(), self.settling.clone(), view.clone());
                told(server.at(&path, self.guarded(peer)).await);
                let counters = Counters::Peer(view.clone());
                let conversation = Conversation::new(self.handle.clone(), self.settling.clone(), counters);
                told(server.at(&path, self.guarded(conversation)).await);
                self.peers.insert(new.peer, view);
            }
        }
        self.count_unread().await;
    }

    async fn remove_peer(&mut self, peer: ClientId) {
        if self.peers.remove(&peer).is_none() {
            return;
        }
        let path = map::peer_path(peer);
        let server = self.connection.object_server();
        told(server.remove::<Conversation, _>(&path).await);
        told(server.remove::<Peer, _>(&path).await);
        self.count_unread().await;
    }

    async fn show_room(&mut self, new: RoomView) {
        let path = map::room_path(new.room);
        match self.rooms.get(&new.room) {
            Some(view) => {
                let old = view.send_replace(new.clone());
                self.announce(&path, dbus::ROOM_INTERFACE, view::room_changes(&old, &new), &[]).await;
                let changes = view::room_conversation_changes(&old, &new);
                self.announce(&path, dbus::CONVERSATION_INTERFACE, changes, &[]).await;
            }
            None => {
                let room = new.room;
                let view = Arc::new(watch::Sender::new(new));
                let server = self.connection.object_server();
                let object = Room::new(self.handle.clone(), self.settling.clone(), view.subscribe());
                told(server.at(&path, self.guarded(object)).await);
                let counters = Counters::Room(view.clone());
                let conversation = Conversation::new(self.handle.clone(), self.settling.clone(), counters);
                told(server.at(&path, self.guarded(conversation)).await);
                self.rooms.insert(room, view);
            }
        }
        self.count_unread().await;
    }

    async fn remove_room(&mut self, room: RoomId) {
        if self.rooms.remove(&room).is_none() {
            return;
        }
        let path = map::room_path(room);
        let server = self.connection.object_server();
        told(server.remove::<Conversation, _>(&path).await);
        told(server.remove::<Room, _>(&path).await);
        self.count_unread().await;
    }

    async fn count_unread(&mut self) {
        let of_peers = self.peers.values().map(|view| view.borrow().unread);
        let of_rooms = self.rooms.values().map(|view| view.borrow().unread);
        let unread = of_peers.chain(of_rooms).fold(0, u64::saturating_add);
        self.show_manager(|view| view.unread = unread).await;
    }

    async fn show_pairing(&mut self, mut new: PairingView) {
        let (pairing, path) = (new.pairing, map::pairing_path(new.pairing));
        if view::is_ended(&new) {
            // Nobody can use it any more.
            new.uri.zeroize();
            new.code.zeroize();
        }
        let newly_ended = view::is_ended(&new) && !self.ended.contains(&pairing);
        match self.pairings.get(&pairing) {
            Some(view) => {
                let mut old = view.send_replace(new.clone());
                old.uri.zeroize();
                self.announce(&path, dbus::PAIRING_INTERFACE, view::pairing_changes(&old, &new), &[]).await;
            }
            None => {
                let view = watch::Sender::new(new);
                let object = Pairing::new(self.handle.clone(), self.settling.clone(), view.subscribe());
                told(self.connection.object_server().at(&path, self.guarded(object)).await);
                self.pairings.insert(pairing, view);
            }
        }
        if newly_ended {
            self.ended.push_back(pairing);
            if self.ended.len() > ENDED_MAX
                && let Some(oldest) = self.ended.pop_front()
            {
                self.remove_pairing(oldest).await;
            }
        }
    }

    async fn remove_pairing(&mut self, pairing: PairingId) {
        if let Some(view) = self.pairings.remove(&pairing) {
            view.send_modify(|view| view.uri.zeroize());
            told(self.connection.object_server().remove::<Pairing, _>(map::pairing_path(pairing)).await);
        }
    }

    /// Shows all tasks; they outlive locking, since some of them end it.
    async fn show_tasks(&mut self) {
        let views = self.board.borrow_and_update().views().clone();
        let gone: Vec<_> = self.tasks.keys().filter(|id| !views.contains_key(id)).copied().collect();
        for id in gone {
            self.tasks.remove(&id);
            told(self.connection.object_server().remove::<Task, _>(map::task_path(id)).await);
        }
        for (id, view) in views {
            self.show_task(id, view).await;
        }
    }

    async fn show_task(&mut self, id: TaskId, new: TaskView) {
        let path = map::task_path(id);
        let old = match self.tasks.get(&id) {
            Some(view) => view.send_replace(new.clone()),
            None => {
                // As it began, so that its end is announced even if it came at once.
                let begun = TaskView { end: None, ..new.clone() };
                let view = watch::Sender::new(begun.clone());
                let object = Task::new(id, self.handle.tasks().clone(), view.subscribe());
                told(self.connection.object_server().at(&path, self.guarded(object)).await);
                view.send_replace(new.clone());
                self.tasks.insert(id, view);
                begun
            }
        };
        self.announce(&path, dbus::TASK_INTERFACE, view::task_changes(&old, &new), &[]).await;
        if old.end.is_none()
            && new.end.is_some()
            && let Some(emitter) = self.emitter(&path)
        {
            let summary = view::task_summary(&new);
            told(Task::finished(&emitter, map::task_state(&new.end), summary).await);
        }
    }

    /// Takes down all contacts, rooms and pairings.
    async fn clear(&mut self) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.remove_peer(peer).await;
        }
        let rooms: Vec<_> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.remove_room(room).await;
        }
        let pairings: Vec<_> = self.pairings.keys().copied().collect();
        for pairing in pairings {
            self.remove_pairing(pairing).await;
        }
        self.ended.clear();
    }

    async fn tell_state(&self, conversation: ConversationId, id: String, state: MessageState) {
        if let Some(emitter) = self.emitter(map::conversation_path(conversation)) {
            told(Conversation::state_changed(&emitter, &id, map::message_state(state)).await);
        }
    }

    async fn announce<'p, P>(&self, path: P, interface: &'static str, changes: Changes, gone: &[&str])
    where
        P: TryInto<ObjectPath<'p>>,
        P::Error: Into<zbus::Error>,
    {
        if changes.is_empty() && gone.is_empty() {
            return;
        }
        if let Some(emitter) = self.emitter(path) {
            let interface = InterfaceName::from_static_str_unchecked(interface);
            told(Properties::properties_changed(&emitter, interface, changes, gone.into()).await);
        }
    }

    fn guarded<I>(&self, interface: I) -> Guarded<I> {
        Guarded::new(interface, self.access.clone())
    }

    fn emitter<'p, P>(&self, path: P) -> Option<SignalEmitter<'p>>
    where
        P: TryInto<ObjectPath<'p>>,
        P::Error: Into<zbus::Error>,
    {
        SignalEmitter::new(&self.connection, path).ok()
    }
}

/// A bus that no longer takes anything is noticed by its connection, which ends the session.
fn told<T>(result: zbus::Result<T>) {
    if let Err(error) = result {
        debug!("the bus did not take it: {error}");
    }
}
