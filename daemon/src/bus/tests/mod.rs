//! The service on a real bus of each test's own, with a fake loop behind the door.

mod access;
mod contract;
mod ctl;
mod fake;
mod introspection;
mod private_bus;
mod rooms;
mod serving;
mod tasks;

use std::time::Duration;

use futures_util::StreamExt as _;
use kith_crypto::identity::ClientId;
use kith_dbus::{Conversation1Proxy, Inbox1Proxy, Manager1Proxy, Pairing1Proxy, Peer1Proxy, SERVICE, Task1Proxy};
use tokio::task::JoinHandle;
use zbus::fdo::{DBusProxy, ManagedObjects, NameOwnerChangedStream, ObjectManagerProxy};
use zbus::message::Type;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath};

use super::access::{ANSWER_WAIT, Authority, Trusted};
use super::{BusAddress, ServeError, map, serve, serve_trusting};
use crate::handle::{DaemonState, Handle};
use crate::task::TaskId;
use fake::Fake;
use private_bus::PrivateBus;

/// A bus, a service on it, a fake loop behind it, and a client.
struct Stage {
    bus: PrivateBus,
    fake: Fake,
    handle: Handle,
    serving: JoinHandle<Result<(), ServeError>>,
    client: Connection,
}

/// Waits until the service is on the bus.
async fn appeared(client: &Connection) {
    let mut owners = owners(client).await;
    if DBusProxy::new(client).await.unwrap().name_has_owner(SERVICE.try_into().unwrap()).await.unwrap() {
        return;
    }
    while let Some(change) = owners.next().await {
        if change.args().unwrap().new_owner().is_some() {
            return;
        }
    }
    panic!("the bus is gone");
}

async fn owners(client: &Connection) -> NameOwnerChangedStream {
    let bus = DBusProxy::new(client).await.unwrap();
    bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await.unwrap()
}

impl Stage {
    async fn new(state: DaemonState) -> Self {
        Self::with(state, Trusted::root_and_own(), ANSWER_WAIT).await
    }

    /// Where not even root may do everything, and polkit has so long to answer.
    async fn of_strangers(state: DaemonState, wait: Duration) -> Self {
        Self::with(state, Trusted::nobody(), wait).await
    }

    async fn with(state: DaemonState, trusted: Trusted, wait: Duration) -> Self {
        let bus = PrivateBus::running();
        let (handle, fake) = fake::start(state);
        let address = BusAddress::Address(bus.address());
        let serving = tokio::spawn(serve_trusting(handle.clone(), address, trusted, Authority::Polkit(wait)));
        let client = bus.connect().await;
        appeared(&client).await;
        Self { bus, fake, handle, serving, client }
    }

    async fn ready() -> Self {
        Self::new(DaemonState::Ready).await
    }

    async fn manager(&self) -> Manager1Proxy<'static> {
        Manager1Proxy::builder(&self.client).cache_properties(CacheProperties::No).build().await.unwrap()
    }

    async fn inbox(&self) -> Inbox1Proxy<'static> {
        Inbox1Proxy::new(&self.client).await.unwrap()
    }

    async fn peer(&self, peer: ClientId) -> Peer1Proxy<'static> {
        let builder = Peer1Proxy::builder(&self.client).path(map::peer_path(peer));
        builder.cache_properties(CacheProperties::No).build().await.unwrap()
    }

    async fn conversation(&self, peer: ClientId) -> Conversation1Proxy<'static> {
        let builder = Conversation1Proxy::builder(&self.client).path(map::peer_path(peer));
        builder.cache_properties(CacheProperties::No).build().await.unwrap()
    }

    async fn pairing(&self, path: OwnedObjectPath) -> Pairing1Proxy<'static> {
        let builder = Pairing1Proxy::builder(&self.client).path(path);
        builder.cache_properties(CacheProperties::No).build().await.unwrap()
    }

    async fn task(&self, id: TaskId) -> Task1Proxy<'static> {
        let builder = Task1Proxy::builder(&self.client).path(map::task_path(id));
        builder.cache_properties(CacheProperties::No).build().await.unwrap()
    }

    /// Waits until a task has an object.
    async fn task_shown(&self, id: TaskId) {
        let mut signals = self.signals().await;
        while !self.paths().await.iter().any(|path| *path == map::task_path(id).as_str()) {
            next(&mut signals, "InterfacesAdded").await;
        }
    }

    async fn objects(&self) -> ManagedObjects {
        let builder = ObjectManagerProxy::builder(&self.client).destination(SERVICE).path(kith_dbus::ROOT_PATH);
        builder.build().await.unwrap().get_managed_objects().await.unwrap()
    }

    /// The paths of all contacts and pairings.
    async fn paths(&self) -> Vec<String> {
        let objects = self.objects().await;
        let mut paths: Vec<String> = objects
            .into_iter()
            .filter(|(path, interfaces)| !interfaces.is_empty() && path.as_str() != kith_dbus::INBOX_PATH)
            .map(|(path, _)| path.to_string())
            .collect();
        paths.sort();
        paths
    }

    /// All signals of the service from now on.
    async fn signals(&self) -> MessageStream {
        let rule = MatchRule::builder().msg_type(Type::Signal).path_namespace(kith_dbus::ROOT_PATH).build().unwrap();
        let ears = self.bus.connect().await;
        MessageStream::for_match_rule(rule, &ears, Some(std::num::NonZeroUsize::new(4096).unwrap())).await.unwrap()
    }
}

/// The next signal with this name.
async fn next(signals: &mut MessageStream, member: &str) -> Message {
    loop {
        let signal = signals.next().await.expect("the bus is there").unwrap();
        if signal.header().member().is_some_and(|name| name == member) {
            return signal;
        }
    }
}
