//! The D-Bus side: one connection that is made again whenever it ends, what the messenger shows there, and the news.

mod follow;
mod look;
mod mark;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kith_dbus::{
    Conversation1Proxy, Failure, Manager1Proxy, Pairing1Proxy, Peer1Proxy, Result, Room1Proxy, Secret, Task1Proxy,
};
use tokio::sync::watch;
use tokio::time::timeout;
use zbus::proxy::{CacheProperties, Defaults};
use zbus::{Connection, OwnedObjectPath};

pub(crate) use look::{Conversation, Look, Member, Overview, Pairing, Peer, Room, Task};
pub(crate) use mark::Mark;

/// How long a call may take: an export is a task of its own, but deriving a key twice on a slow board is not.
const CALL_MAX: Duration = Duration::from_secs(60);

/// How long the first try may take before there are pages.
const FIRST_MAX: Duration = Duration::from_secs(2);

/// Troubles that are remembered, the latest of each contact.
const TROUBLES_MAX: usize = 64;

/// Where the messenger is.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// On the system bus.
    System,
    /// On another one.
    Other(String),
}

/// The messenger on its bus.
#[derive(Clone)]
pub(crate) struct Bus {
    address: Address,
    connection: watch::Receiver<Option<Connection>>,
    mark: watch::Receiver<Mark>,
    troubles: Arc<Troubles>,
}

/// The latest sentence about what went wrong with each contact, by the contact's path.
#[derive(Default)]
struct Troubles(Mutex<BTreeMap<String, String>>);

impl Bus {
    /// The messenger at an address, from now on: it need not be there. Where it is, it has been found when this returns.
    pub(crate) async fn follow(address: Address) -> Self {
        let (connection_in, mut connection) = watch::channel(None);
        let (mark_in, mark) = watch::channel(Mark::first());
        let troubles = Arc::new(Troubles::default());
        tokio::spawn(follow::run(address.clone(), connection_in, mark_in, troubles.clone()));
        // Whatever comes of it, the pages say.
        let _ = timeout(FIRST_MAX, connection.changed()).await;
        Self { address, connection, mark, troubles }
    }

    /// How much has happened.
    pub(crate) fn mark(&self) -> Mark {
        *self.mark.borrow()
    }

    /// The same, to wait for more.
    pub(crate) fn marks(&self) -> watch::Receiver<Mark> {
        self.mark.clone()
    }

    /// What there is to see now.
    pub(crate) async fn look(&self) -> Look {
        match self.connection() {
            // Whatever keeps the messenger from answering, the screen says that it is away.
            Ok(connection) => look::look(&connection).await.unwrap_or(Look::Away),
            Err(_) => Look::Away,
        }
    }

    /// The messenger as a whole, over a connection of its own that may do what is dangerous: the daemon grants that for
    /// the PIN or the store's secret, to this connection only, and it ends when this is dropped.
    pub(crate) async fn elevated(&self, pin: &Secret) -> Result<Manager1Proxy<'static>> {
        let connection = connect(&self.address).await?;
        let manager = Manager1Proxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
        manager.elevate(pin).await?;
        Ok(manager)
    }

    /// The messenger as a whole.
    pub(crate) async fn manager(&self) -> Result<Manager1Proxy<'static>> {
        Ok(Manager1Proxy::builder(&self.connection()?).cache_properties(CacheProperties::No).build().await?)
    }

    /// A conversation.
    pub(crate) async fn conversation(&self, path: &OwnedObjectPath) -> Result<Conversation1Proxy<'static>> {
        self.object(path, Conversation1Proxy::builder).await
    }

    /// A contact.
    pub(crate) async fn peer(&self, path: &OwnedObjectPath) -> Result<Peer1Proxy<'static>> {
        self.object(path, Peer1Proxy::builder).await
    }

    /// A room.
    pub(crate) async fn room(&self, path: &OwnedObjectPath) -> Result<Room1Proxy<'static>> {
        self.object(path, Room1Proxy::builder).await
    }

    /// A pairing.
    pub(crate) async fn pairing(&self, path: &OwnedObjectPath) -> Result<Pairing1Proxy<'static>> {
        self.object(path, Pairing1Proxy::builder).await
    }

    /// Long work.
    pub(crate) async fn task(&self, path: &OwnedObjectPath) -> Result<Task1Proxy<'static>> {
        self.object(path, Task1Proxy::builder).await
    }

    /// What went wrong with a contact last.
    pub(crate) fn trouble(&self, path: &OwnedObjectPath) -> Option<String> {
        self.troubles.all().get(path.as_str()).cloned()
    }

    /// Somebody has read it.
    pub(crate) fn forget_trouble(&self, path: &OwnedObjectPath) {
        self.troubles.all().remove(path.as_str());
    }

    async fn object<T>(
        &self,
        path: &OwnedObjectPath,
        builder: impl Fn(&Connection) -> zbus::proxy::Builder<'static, T>,
    ) -> Result<T>
    where
        T: Defaults + From<zbus::Proxy<'static>>,
    {
        Ok(builder(&self.connection()?).path(path.clone()).cache_properties(CacheProperties::No).build().await?)
    }

    fn connection(&self) -> Result<Connection> {
        self.connection.borrow().clone().ok_or_else(|| Failure::NotReachable("no message bus".to_owned()))
    }
}

impl Troubles {
    fn remember(&self, path: String, sentence: String) {
        let mut all = self.all();
        if all.len() < TROUBLES_MAX || all.contains_key(&path) {
            all.insert(path, sentence);
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(address: &Address) -> zbus::Result<Connection> {
    let builder = match address {
        Address::System => zbus::connection::Builder::system(),
        Address::Other(address) => zbus::connection::Builder::address(address.as_str()),
    };
    builder.method_timeout(CALL_MAX).build().await
}
