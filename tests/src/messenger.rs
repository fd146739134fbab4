//! One device's messenger as a program sees it: over D-Bus, on one long-lived connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use kith_dbus::{
    CONVERSATION_INTERFACE, Conversation1Proxy, DaemonState, Direction, LinkState, LoggingMode, Manager1Proxy,
    MessageState, Notice, PEER_PREFIX, Peer1Proxy, Presence, ROOT_PATH, Room1Proxy, Row, SERVICE, SendOptions,
    Signaling, StateChanged, room_path,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use zbus::fdo::{DBusProxy, IntrospectableProxy, ObjectManagerProxy};
use zbus::proxy::CacheProperties;
use zbus::wire::Structure;
use zbus::{Connection, DBusError as _, OwnedObjectPath};

use crate::within;

/// How long a service may take to come to its bus: it looks for the bus at its own pace.
const SERVICE_MAX: Duration = Duration::from_secs(20);

/// How long messages may take: the devices have to notice each other again after an outage, at
/// the pace of the daemon's own retries.
const DELIVERY_MAX: Duration = Duration::from_secs(90);

/// Rows of history asked for at once.
const PAGE_ROWS: u32 = 100;

/// A client of one device's D-Bus service.
#[derive(Clone, Debug)]
pub struct Messenger {
    connection: Connection,
}

/// The conversation with one peer, or in one room.
pub struct Conversation {
    peer: Peer1Proxy<'static>,
    proxy: Conversation1Proxy<'static>,
    delivered: Arc<Delivered>,
    listener: JoinHandle<()>,
}

/// What the listener has heard. Signals are taken off the connection as they come: a connection
/// whose signals nobody takes delivers no replies either.
#[derive(Default)]
struct Delivered {
    messages: Mutex<BTreeMap<String, Instant>>,
    more: Notify,
}

/// A message that has been queued, and when the reply said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its id.
    pub id: String,
    /// When the reply came.
    pub at: Instant,
}

impl Messenger {
    /// Connects to a bus and waits until the messenger is there.
    pub async fn connect(address: &str) -> Result<Self> {
        within(SERVICE_MAX, "the messenger on its bus", async {
            let connection = zbus::connection::Builder::address(address).build().await?;
            let messenger = Self { connection };
            messenger.wait_for_owner().await?;
            Ok(messenger)
        })
        .await
    }

    /// The connection to the bus, for what is not asked for here.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The conversation with the only contact, as soon as there is one.
    pub async fn conversation(&self) -> Result<Conversation> {
        within(SERVICE_MAX, "a contact", self.wait_for_conversation()).await
    }

    /// The conversation in a room with so many members, as soon as this device knows of all of them.
    pub async fn room(&self, id: &str, members: usize) -> Result<Conversation> {
        let path = room_path(id).context("a room's id")?;
        within(SERVICE_MAX, "a room with its members", async {
            self.wait_for_object(|shown, _| *shown == path).await?;
            let room = Room1Proxy::builder(&self.connection).path(path.clone()).build().await?;
            let mut changes = room.receive_members_changed().await;
            while room.members().await?.len() != members {
                changes.next().await.context("the bus closed the connection")?;
            }
            Conversation::open(&self.connection, path.clone()).await
        })
        .await
    }

    /// Waits until the daemon is in this state.
    pub async fn wait_until(&self, state: DaemonState) -> Result<()> {
        within(SERVICE_MAX, state.word(), async {
            let manager = Manager1Proxy::new(&self.connection).await?;
            let mut changes = manager.receive_state_changed().await;
            while manager.state().await? != state {
                changes.next().await.context("the bus closed the connection")?;
            }
            Ok(())
        })
        .await
    }

    /// Calls a method, whatever it is, for the name of the error that comes back.
    pub async fn error_of(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        arguments: Option<&Structure<'_>>,
    ) -> Result<String> {
        let answer = match arguments {
            Some(arguments) => {
                self.connection.call_method(Some(SERVICE), path, Some(interface), method, arguments).await
            }
            None => self.connection.call_method(Some(SERVICE), path, Some(interface), method, &()).await,
        };
        match answer {
            Err(zbus::Error::MethodError(name, ..)) => Ok(name.to_string()),
            Err(zbus::Error::FDO(error)) => Ok(error.name().to_string()),
            Err(error) => Err(error.into()),
            Ok(_) => bail!("{interface}.{method} answers"),
        }
    }

    /// The device's own client id.
    pub async fn client_id(&self) -> Result<String> {
        Ok(Manager1Proxy::new(&self.connection).await?.client_id().await?)
    }

    /// Waits until the device is logged in at its server.
    pub async fn wait_until_online(&self) -> Result<()> {
        self.wait_for_signaling(Signaling::Online).await
    }

    /// Waits until the device stands so with its server.
    pub async fn wait_for_signaling(&self, signaling: Signaling) -> Result<()> {
        within(DELIVERY_MAX, "the signaling server", async {
            let manager = Manager1Proxy::new(&self.connection).await?;
            let mut changes = manager.receive_signaling_changed().await;
            while manager.signaling().await? != signaling {
                changes.next().await.context("the bus closed the connection")?;
            }
            Ok(())
        })
        .await
    }

    /// Listens from now on until the daemon tells of another device with its identity.
    pub async fn hear_of_intruder(&self) -> Result<JoinHandle<Result<()>>> {
        let mut intruders = Manager1Proxy::new(&self.connection).await?.receive_intruder().await?;
        Ok(tokio::spawn(within(DELIVERY_MAX, "an intruder", async move {
            intruders.next().await.context("the bus closed the connection").map(drop)
        })))
    }

    /// Waits until the device shows that its server logs so.
    pub async fn wait_for_logging(&self, mode: LoggingMode) -> Result<Notice> {
        within(DELIVERY_MAX, "the server's logging mode", async {
            let manager = Manager1Proxy::new(&self.connection).await?;
            let mut changes = manager.receive_logging_notice_changed().await;
            loop {
                let notice = manager.logging_notice().await?;
                if notice.mode == mode {
                    return Ok(notice);
                }
                changes.next().await.context("the bus closed the connection")?;
            }
        })
        .await
    }

    /// What the service says about the interfaces of an object.
    pub async fn introspection(&self, path: &str) -> Result<String> {
        let builder = IntrospectableProxy::builder(&self.connection).destination(SERVICE).path(path);
        Ok(builder.build().await?.introspect().await?)
    }

    /// The objects that the service shows, each with its own interfaces.
    pub async fn objects(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let objects = self.object_manager().await?.get_managed_objects().await?;
        let own = |interfaces: Vec<String>| interfaces.into_iter().filter(|name| name.starts_with(SERVICE)).collect();
        let names = |(path, interfaces): (OwnedObjectPath, std::collections::HashMap<_, _>)| {
            (
                path.to_string(),
                own(interfaces.into_keys().map(|name: zbus::names::OwnedInterfaceName| name.to_string()).collect()),
            )
        };
        Ok(objects.into_iter().map(names).collect())
    }

    async fn object_manager(&self) -> Result<ObjectManagerProxy<'_>> {
        let builder = ObjectManagerProxy::builder(&self.connection).destination(SERVICE).path(ROOT_PATH);
        Ok(builder.build().await?)
    }

    async fn wait_for_owner(&self) -> Result<()> {
        let bus = DBusProxy::new(&self.connection).await?;
        let mut changes = bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?;
        if bus.name_has_owner(SERVICE.try_into()?).await? {
            return Ok(());
        }
        while let Some(change) = changes.next().await {
            if change.args()?.new_owner().is_some() {
                return Ok(());
            }
        }
        bail!("the bus closed the connection")
    }

    async fn wait_for_conversation(&self) -> Result<Conversation> {
        let is_contact = |path: &OwnedObjectPath, interface: &str| {
            interface == CONVERSATION_INTERFACE && path.starts_with(PEER_PREFIX)
        };
        Conversation::open(&self.connection, self.wait_for_object(is_contact).await?).await
    }

    /// The first object with an interface that is wanted.
    async fn wait_for_object(&self, is_wanted: impl Fn(&OwnedObjectPath, &str) -> bool) -> Result<OwnedObjectPath> {
        let objects = self.object_manager().await?;
        let mut added = objects.receive_interfaces_added().await?;
        for (path, interfaces) in objects.get_managed_objects().await? {
            if interfaces.keys().any(|interface| is_wanted(&path, interface)) {
                return Ok(path);
            }
        }
        loop {
            let signal = added.next().await.context("the bus closed the connection")?;
            let args = signal.args()?;
            let path = args.object_path().to_owned().into();
            if args.interfaces_and_properties().keys().any(|interface| is_wanted(&path, interface)) {
                return Ok(path);
            }
        }
    }
}

impl Conversation {
    async fn open(connection: &Connection, path: OwnedObjectPath) -> Result<Self> {
        let proxy = Conversation1Proxy::builder(connection).path(path.clone()).build().await?;
        let peer = Peer1Proxy::builder(connection).path(path).cache_properties(CacheProperties::No).build().await?;
        let mut changes = proxy.receive_state_changed().await?;
        let delivered = Arc::new(Delivered::default());
        let heard = delivered.clone();
        let listener = tokio::spawn(async move {
            while let Some(signal) = changes.next().await {
                heard.take(&signal);
            }
        });
        Ok(Self { peer, proxy, delivered, listener })
    }

    /// The peer's client id.
    pub async fn peer(&self) -> Result<String> {
        Ok(self.peer.client_id().await?)
    }

    /// How many of the peer's messages this device lacks since it was restored.
    pub async fn missing(&self) -> Result<u64> {
        Ok(self.proxy.missing().await?)
    }

    /// The digits that two people compare.
    pub async fn safety_number(&self) -> Result<String> {
        Ok(self.peer.safety_number().await?)
    }

    /// The session with the peer.
    pub async fn link(&self) -> Result<LinkState> {
        Ok(self.peer.link().await?)
    }

    /// Waits until the session with the peer goes this way.
    pub async fn wait_for_link(&self, link: LinkState) -> Result<()> {
        within(DELIVERY_MAX, "a session that goes another way", async {
            let inner = self.peer.inner();
            let builder = Peer1Proxy::builder(inner.connection()).path(inner.path().to_owned());
            let peer = builder.build().await?;
            let mut changes = peer.receive_link_changed().await;
            while peer.link().await? != link {
                changes.next().await.context("the bus closed the connection")?;
            }
            Ok(())
        })
        .await
    }

    /// Waits until the peer is shown so; how long that took.
    pub async fn wait_for_presence(&self, presence: Presence) -> Result<Duration> {
        let since = Instant::now();
        within(DELIVERY_MAX, "a peer's presence", async {
            let inner = self.peer.inner();
            // This one follows its properties.
            let builder = Peer1Proxy::builder(inner.connection()).path(inner.path().to_owned());
            let peer = builder.build().await?;
            let mut changes = peer.receive_presence_changed().await;
            while peer.presence().await? != presence {
                changes.next().await.context("the bus closed the connection")?;
            }
            Ok(since.elapsed())
        })
        .await
    }

    /// Waits for the next sentence about what goes wrong with the peer.
    pub async fn next_trouble(&self) -> Result<String> {
        within(DELIVERY_MAX, "a sentence about what goes wrong", async {
            let mut sentences = self.peer.receive_trouble().await?;
            let signal = sentences.next().await.context("the bus closed the connection")?;
            Ok(signal.args()?.text().to_string())
        })
        .await
    }

    /// Listens from now on until the daemon tells of a trouble that begins so.
    pub async fn hear_of_trouble(&self, beginning: &'static str) -> Result<JoinHandle<Result<()>>> {
        let mut troubles = self.peer.receive_trouble().await?;
        Ok(tokio::spawn(within(DELIVERY_MAX, beginning, async move {
            while let Some(trouble) = troubles.next().await {
                if trouble.args()?.text.starts_with(beginning) {
                    return Ok(());
                }
            }
            bail!("the bus closed the connection")
        })))
    }

    /// Sends a text; returns when it is queued, on this device's disk.
    pub async fn send(&self, text: &str) -> Result<Queued> {
        let id = self.proxy.send("text/plain", text.as_bytes(), &SendOptions::default()).await?;
        Ok(Queued { id, at: Instant::now() })
    }

    /// Sends a text under an idempotency key: whoever has no answer may ask again, and it stays one message.
    pub async fn send_keyed(&self, text: &str, key: &str) -> kith_dbus::Result<String> {
        let options = SendOptions { idempotency_key: Some(key.to_owned()), ..SendOptions::default() };
        self.proxy.send("text/plain", text.as_bytes(), &options).await
    }

    /// Waits until no message of this device waits any more: all are on the peer's disk. The daemon runs meanwhile.
    pub async fn wait_until_nothing_waits(&self) -> Result<()> {
        within(DELIVERY_MAX, "the delivery of all that waits", self.nothing_waits()).await
    }

    /// Waits until a message is on the peer's disk; returns how long that took since it was queued.
    pub async fn wait_until_delivered(&mut self, queued: &Queued) -> Result<Duration> {
        let at = within(DELIVERY_MAX, "a delivery", self.delivery_of(&queued.id)).await?;
        Ok(at.saturating_duration_since(queued.at))
    }

    /// Waits until the others have written so many messages; gives what they have written, oldest first.
    pub async fn wait_for_received(&self, count: usize) -> Result<Vec<Row>> {
        within(DELIVERY_MAX, "messages of the others", async {
            let mut changes = self.proxy.receive_last_seq_changed().await;
            loop {
                let rows = self.history().await?;
                let received: Vec<_> = rows.into_iter().filter(|row| row.direction == Direction::Incoming).collect();
                if received.len() >= count {
                    return Ok(received);
                }
                changes.next().await.context("the bus closed the connection")?;
            }
        })
        .await
    }

    /// Waits until so many messages have disappeared since this was called; gives what is left.
    pub async fn wait_for_disappearing(&self, count: usize) -> Result<Vec<Row>> {
        within(DELIVERY_MAX, "messages to disappear", async {
            let mut signals = self.proxy.receive_disappeared().await?;
            let mut gone = 0;
            while gone < count {
                let signal = signals.next().await.context("the bus closed the connection")?;
                gone += signal.args()?.seqs().len();
            }
            self.history().await
        })
        .await
    }

    /// Listens from now on until the peer has read a message; gives its id.
    pub async fn hear_of_reading(&self) -> Result<JoinHandle<Result<String>>> {
        let mut signals = self.proxy.receive_read().await?;
        Ok(tokio::spawn(within(DELIVERY_MAX, "a receipt", async move {
            let signal = signals.next().await.context("the bus closed the connection")?;
            Ok(signal.args()?.id().clone())
        })))
    }

    /// After how many seconds later messages disappear, once that is what the others have said.
    pub async fn wait_for_expiry(&self, seconds: u32) -> Result<()> {
        within(DELIVERY_MAX, "when messages disappear", async {
            let mut changes = self.proxy.receive_expiry_seconds_changed().await;
            while self.proxy.expiry_seconds().await? != seconds {
                changes.next().await.context("the bus closed the connection")?;
            }
            Ok(())
        })
        .await
    }

    /// Messages behind a place, oldest first.
    pub async fn page(&self, after: u64, rows_max: u32) -> Result<Vec<Row>> {
        Ok(self.proxy.list(after, rows_max).await?)
    }

    /// The newest messages, oldest first.
    pub async fn newest(&self, rows_max: u32) -> Result<Vec<Row>> {
        let last = self.proxy.last_seq().await?;
        self.page(last.saturating_sub(u64::from(rows_max)), rows_max).await
    }

    /// The whole history, oldest first.
    pub async fn history(&self) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let after = rows.last().map_or(0, |row| row.seq);
            let page = self.proxy.list(after, PAGE_ROWS).await?;
            if page.is_empty() {
                return Ok(rows);
            }
            for row in page {
                ensure!(rows.last().is_none_or(|last| last.seq < row.seq), "history is out of order at {}", row.seq);
                rows.push(row);
            }
        }
    }

    async fn nothing_waits(&self) -> Result<()> {
        // The listener hears what is delivered from here on.
        let rows = self.history().await?;
        let mut waiting: BTreeSet<String> =
            rows.into_iter().filter(|row| row.state == MessageState::Queued).map(|row| row.id).collect();
        loop {
            let more = self.delivered.more.notified();
            {
                let heard = self.delivered.messages();
                waiting.retain(|id| !heard.contains_key(id));
            }
            if waiting.is_empty() {
                return Ok(());
            }
            ensure!(!self.listener.is_finished(), "the bus closed the connection");
            more.await;
        }
    }

    async fn delivery_of(&self, id: &str) -> Result<Instant> {
        loop {
            let more = self.delivered.more.notified();
            if let Some(at) = self.delivered.messages().remove(id) {
                return Ok(at);
            }
            ensure!(!self.listener.is_finished(), "the bus closed the connection");
            more.await;
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Delivered {
    fn take(&self, signal: &StateChanged) {
        let at = Instant::now();
        if let Ok(args) = signal.args()
            && *args.state() == MessageState::Delivered
        {
            self.messages().insert(args.id().clone(), at);
            self.more.notify_waiters();
        }
    }

    fn messages(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        // Nothing panics while it is held.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
