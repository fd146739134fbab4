//! `org.kith.Messenger1.Manager1`: the daemon as a whole.

use std::fs::File;
use std::sync::Arc;

use kith_dbus::{
    AcceptOptions, CompareOptions, CreateRoomOptions, DaemonState, ExportOptions, ImportOptions, InviteOptions, Notice,
    Refusal, Retention, RetentionChoice, Secret, SetUpOptions, Signaling, task_path,
};
use kith_engine::{Event, Reply, Request, RequestError};
use tokio::sync::watch;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::wire::OwnedFd;
use zbus::{Connection, OwnedObjectPath, interface};
use zeroize::Zeroizing;

use super::access::Access;
use super::error::{mismatched, refusal};
use super::map;
use super::settle::{self, Settling};
use super::view::ManagerView;
use crate::backup::Plan;
use crate::handle::{self, CallError, Handle};

/// How long an invite stays open where the caller does not say: long enough to walk to the other
/// device.
const LIFETIME_S_DEFAULT: u32 = 600;

pub(super) struct Manager {
    handle: Handle,
    settling: Settling,
    view: Arc<watch::Sender<ManagerView>>,
    access: Arc<Access>,
}

impl Manager {
    pub(super) fn new(
        handle: Handle,
        settling: Settling,
        view: Arc<watch::Sender<ManagerView>>,
        access: Arc<Access>,
    ) -> Self {
        Self { handle, settling, view, access }
    }

    /// The view, if the store is open.
    fn open(&self) -> Result<ManagerView, Refusal> {
        let view = self.view.borrow();
        match view.status.state {
            handle::DaemonState::Ready => Ok(view.clone()),
            handle::DaemonState::Locked => Err(refusal(CallError::Locked)),
            handle::DaemonState::NeedsSetUp => Err(refusal(CallError::NotSetUp)),
        }
    }

    async fn pair(&self, request: Request) -> Result<OwnedObjectPath, Refusal> {
        let reply = self.handle.request(request).await.map_err(refusal)?;
        self.settling.settled().await;
        match reply {
            Reply::Pairing(pairing) => Ok(map::pairing_path(pairing)),
            Reply::Done | Reply::Message(_) | Reply::Room(_) | Reply::SafetyNumber(_) => Err(mismatched()),
        }
    }

    /// Asks for a change of a setting and lets the getter say it: the bus announces that as soon as a setter returns.
    async fn set(&self, request: Request, show: impl FnOnce(&mut ManagerView)) -> Result<(), Refusal> {
        self.handle.request(request).await.map_err(refusal)?;
        self.view.send_modify(show);
        Ok(())
    }

    /// Waits until the loop's status and the objects agree with what a call has answered.
    async fn reached(&self, state: handle::DaemonState) {
        let mut status = self.handle.status();
        // In vain where the loop is gone, or somebody else has changed the state again meanwhile.
        let _ = tokio::time::timeout(settle::WAIT_MAX, status.wait_for(|status| status.state == state)).await;
        self.settling.settled().await;
    }
}

fn opened(file: OwnedFd) -> File {
    File::from(std::os::fd::OwnedFd::from(file))
}

fn not_the_word() -> CallError {
    RequestError::InvalidArgument("the word that wipes is `wipe`").into()
}

/// An empty secret is none.
fn given(secret: Secret) -> Option<Zeroizing<String>> {
    Some(secret.into_inner()).filter(|secret| !secret.is_empty())
}

#[interface(name = "org.kith.Messenger1.Manager1", introspection_docs = false)]
impl Manager {
    async fn set_up(&self, options: SetUpOptions) -> Result<(), Refusal> {
        self.handle
            .set_up(options.secret.into_inner(), options.display_name.unwrap_or_default())
            .await
            .map_err(refusal)?;
        self.reached(handle::DaemonState::Ready).await;
        Ok(())
    }

    async fn unlock(&self, secret: Secret) -> Result<(), Refusal> {
        self.handle.unlock(secret.into_inner()).await.map_err(refusal)?;
        self.reached(handle::DaemonState::Ready).await;
        Ok(())
    }

    async fn change_secret(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
        old: Secret,
        new: Secret,
    ) -> Result<(), Refusal> {
        self.access.may_endanger(connection, &call).await?;
        self.handle.change_secret(old.into_inner(), new.into_inner()).await.map_err(refusal)
    }

    #[zbus(out_args("task"))]
    async fn rotate_key(&self) -> Result<OwnedObjectPath, Refusal> {
        let task = self.handle.rotate_key().await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(task_path(task.0))
    }

    async fn lock(&self) -> Result<(), Refusal> {
        self.handle.lock().await.map_err(refusal)?;
        self.access.end_elevations();
        self.settling.settled().await;
        Ok(())
    }

    #[zbus(out_args("task"))]
    async fn check(&self) -> Result<OwnedObjectPath, Refusal> {
        let task = self.handle.check().await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(map::task_path(task))
    }

    /// Who may is asked before: it is an action of its own.
    async fn wipe(&self, word: &str) -> Result<(), Refusal> {
        if word != kith_dbus::WIPE_WORD {
            return Err(refusal(not_the_word()));
        }
        self.handle.wipe().await.map_err(refusal)?;
        self.reached(handle::DaemonState::NeedsSetUp).await;
        Ok(())
    }

    #[zbus(out_args("seconds"))]
    async fn elevate(&self, #[zbus(header)] call: Header<'_>, pin: Secret) -> Result<u32, Refusal> {
        let begun = self.access.epoch();
        self.handle.prove(pin.into_inner()).await.map_err(refusal)?;
        self.access.elevate(&call, begun)?.ok_or_else(|| refusal(CallError::Locked))
    }

    fn step_down(&self, #[zbus(header)] call: Header<'_>) -> Result<(), Refusal> {
        self.access.step_down(&call)
    }

    async fn set_pin(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
        old: Secret,
        new: Secret,
    ) -> Result<(), Refusal> {
        let old = given(old);
        if old.is_none() {
            self.access.may_endanger(connection, &call).await?;
        }
        self.handle.set_pin(old, new.into_inner()).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(())
    }

    #[zbus(out_args("task"))]
    async fn export(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
        file: OwnedFd,
        options: ExportOptions,
    ) -> Result<OwnedObjectPath, Refusal> {
        let plain = options.plain.unwrap_or(false);
        if plain {
            self.access.may_endanger(connection, &call).await?;
        }
        let task = self.handle.export(opened(file), plain).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(map::task_path(task))
    }

    #[zbus(out_args("task"))]
    async fn import(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] call: Header<'_>,
        file: OwnedFd,
        options: ImportOptions,
    ) -> Result<OwnedObjectPath, Refusal> {
        // Where there is nothing yet, nothing is replaced, and the loop is not told that it may.
        let has_identity = self.handle.status().borrow().state != handle::DaemonState::NeedsSetUp;
        let plan = Plan {
            dry_run: options.dry_run.unwrap_or(false),
            replace: has_identity && options.replace.unwrap_or(false),
            secret: options.secret.map(Secret::into_inner),
        };
        if plan.replace && !plan.dry_run {
            self.access.may_endanger(connection, &call).await?;
        }
        let task = self.handle.import(opened(file), plan).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(map::task_path(task))
    }

    #[zbus(out_args("pairing"))]
    async fn invite(&self, options: InviteOptions) -> Result<OwnedObjectPath, Refusal> {
        self.pair(Request::Invite { lifetime_s: options.lifetime_s.unwrap_or(LIFETIME_S_DEFAULT) }).await
    }

    #[zbus(out_args("pairing"))]
    async fn accept(&self, uri: String, options: AcceptOptions) -> Result<OwnedObjectPath, Refusal> {
        self.pair(Request::Accept { uri, other_server: options.other_server.unwrap_or(false) }).await
    }

    #[zbus(out_args("pairing"))]
    async fn compare(&self, options: CompareOptions) -> Result<OwnedObjectPath, Refusal> {
        self.pair(Request::Compare { code: options.code }).await
    }

    #[zbus(out_args("room"))]
    async fn create_room(&self, options: CreateRoomOptions) -> Result<OwnedObjectPath, Refusal> {
        // What is left out is refused like what is empty, once the store is open.
        let CreateRoomOptions { name, members } = options;
        let members = members.iter().flatten().map(|path| map::parse_peer(path));
        let members = members.collect::<Result<Vec<_>, _>>().map_err(refusal)?;
        let request = Request::CreateRoom { name: name.unwrap_or_default(), members };
        let reply = self.handle.request(request).await.map_err(refusal)?;
        self.settling.settled().await;
        match reply {
            Reply::Room(room) => Ok(map::room_path(room)),
            Reply::Done | Reply::Message(_) | Reply::Pairing(_) | Reply::SafetyNumber(_) => Err(mismatched()),
        }
    }

    #[zbus(signal)]
    pub(super) async fn intruder(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    #[zbus(property)]
    fn state(&self) -> DaemonState {
        self.view.borrow().state()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn client_id(&self) -> String {
        self.view.borrow().client_id()
    }

    #[zbus(property)]
    fn display_name(&self) -> Result<String, Refusal> {
        Ok(self.open()?.display_name)
    }

    #[zbus(property)]
    async fn set_display_name(&self, name: String) -> Result<(), Refusal> {
        self.handle.request(Request::SetDisplayName(name)).await.map_err(refusal)?;
        // The bus announces what the getter says as soon as this returns, perhaps before the tree has
        // seen the event. No waiting for the tree here: a setter holds the tree's root.
        let events = self.handle.snapshot().await.unwrap_or_default();
        if let Some(name) = events.into_iter().find_map(|event| match event {
            Event::DisplayName(name) => Some(name),
            _ => None,
        }) {
            self.view.send_modify(|view| view.display_name = name);
        }
        Ok(())
    }

    #[zbus(property)]
    fn signaling(&self) -> Result<Signaling, Refusal> {
        Ok(self.open()?.signaling)
    }

    #[zbus(property)]
    fn logging_notice(&self) -> Result<Notice, Refusal> {
        Ok(self.open()?.notice)
    }

    #[zbus(property)]
    fn unread(&self) -> Result<u64, Refusal> {
        Ok(self.open()?.unread)
    }

    #[zbus(property)]
    fn send_receipts(&self) -> Result<bool, Refusal> {
        Ok(self.open()?.sends_receipts)
    }

    #[zbus(property)]
    async fn set_send_receipts(&self, sends: bool) -> Result<(), Refusal> {
        self.set(Request::SendReceipts(sends), |view| view.sends_receipts = sends).await
    }

    #[zbus(property)]
    fn relay_only(&self) -> Result<bool, Refusal> {
        Ok(self.open()?.relay_only)
    }

    #[zbus(property)]
    async fn set_relay_only(&self, relay_only: bool) -> Result<(), Refusal> {
        self.set(Request::SetRelayOnly(relay_only), |view| view.relay_only = relay_only).await
    }

    #[zbus(property)]
    fn retention(&self) -> Result<Retention, Refusal> {
        Ok(self.open()?.retention)
    }

    #[zbus(property)]
    async fn set_retention(&self, choice: RetentionChoice) -> Result<(), Refusal> {
        self.handle.choose_retention(map::retention_choice(&choice)).await.map_err(refusal)?;
        // As for the name, the bus announces what the getter says as soon as this returns.
        let retention = map::retention(&self.handle.retention().borrow());
        self.view.send_modify(|view| view.retention = retention);
        Ok(())
    }

    #[zbus(property)]
    fn pin_set(&self) -> Result<bool, Refusal> {
        Ok(self.open()?.pin_set)
    }
}
