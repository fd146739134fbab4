//! One device's messenger as a program sees it: over D-Bus, on one long-lived connection.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use zbus::fdo::{DBusProxy, IntrospectableProxy, ObjectManagerProxy};
use zbus::proxy::SignalStream;
use zbus::{Connection, OwnedVariant, Proxy, Variant};

use crate::within;

/// How long a service may take to come to its bus: it looks for the bus at its own pace.
const SERVICE_MAX: Duration = Duration::from_secs(20);

/// How long messages may take: the devices have to notice each other again after an outage, at
/// the pace of the daemon's own retries.
const DELIVERY_MAX: Duration = Duration::from_secs(90);

/// Rows of history asked for at once.
const PAGE_ROWS: u32 = 100;

const NAME: &str = "org.kith.Messenger1";
const ROOT: &str = "/org/kith/Messenger1";
const MANAGER: &str = "org.kith.Messenger1.Manager1";
const CONVERSATION: &str = "org.kith.Messenger1.Conversation1";

/// The signaling state of a device that is logged in.
const ONLINE: u32 = 2;

/// The state of a message that is on the receiver's disk.
const DELIVERED: u32 = 2;

/// The direction of a message that this device wrote.
const OUTGOING: u32 = 1;

/// A client of one device's D-Bus service.
#[derive(Clone, Debug)]
pub struct Messenger {
    connection: Connection,
}

/// The conversation with one peer.
#[derive(Debug)]
pub struct Conversation {
    proxy: Proxy<'static>,
    changes: SignalStream<'static>,
    /// Messages that were delivered before anybody waited for them.
    delivered: BTreeMap<String, Instant>,
}

/// A message that has been queued, and when the reply said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its id.
    pub id: String,
    /// When the reply came.
    pub at: Instant,
}

/// One message of a conversation's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place in the conversation.
    pub seq: u64,
    /// Whether this device wrote it.
    pub is_own: bool,
    /// What it says.
    pub body: String,
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

    /// The conversation with the only contact, as soon as there is one.
    pub async fn conversation(&self) -> Result<Conversation> {
        within(SERVICE_MAX, "a contact", self.wait_for_conversation()).await
    }

    /// Waits until the device is logged in at its server.
    pub async fn wait_until_online(&self) -> Result<()> {
        within(DELIVERY_MAX, "the signaling server", async {
            let manager = Proxy::new(&self.connection, NAME, ROOT, MANAGER).await?;
            let mut changes = manager.receive_property_changed::<u32>("Signaling").await;
            while manager.get_property::<u32>("Signaling").await? != ONLINE {
                changes.next().await.context("the bus closed the connection")?;
            }
            Ok(())
        })
        .await
    }

    /// What the service says about the interfaces at a path below its root.
    pub async fn introspection(&self, below: &str) -> Result<String> {
        let path = format!("{ROOT}{below}");
        let object = IntrospectableProxy::builder(&self.connection).destination(NAME).path(path).build().await?;
        Ok(object.introspect().await?)
    }

    async fn wait_for_owner(&self) -> Result<()> {
        let bus = DBusProxy::new(&self.connection).await?;
        let mut changes = bus.receive_name_owner_changed_with_args(&[(0, NAME)]).await?;
        if bus.name_has_owner(NAME.try_into()?).await? {
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
        let objects = ObjectManagerProxy::builder(&self.connection).destination(NAME).path(ROOT).build().await?;
        let mut added = objects.receive_interfaces_added().await?;
        let known = objects.get_managed_objects().await?;
        let mut path =
            known.into_iter().find(|(_, interfaces)| interfaces.contains_key(CONVERSATION)).map(|(path, _)| path);
        while path.is_none() {
            let signal = added.next().await.context("the bus closed the connection")?;
            let args = signal.args()?;
            path = args
                .interfaces_and_properties()
                .contains_key(CONVERSATION)
                .then(|| args.object_path().to_owned().into());
        }
        let path = path.context("a contact")?;
        let proxy = Proxy::new_owned(self.connection.clone(), NAME, path, CONVERSATION).await?;
        let changes = proxy.receive_signal("StateChanged").await?;
        Ok(Conversation { proxy, changes, delivered: BTreeMap::new() })
    }
}

impl Conversation {
    /// Sends a text; returns when it is queued, on this device's disk.
    pub async fn send(&self, text: &str) -> Result<Queued> {
        let options: HashMap<&str, Variant<'_>> = HashMap::new();
        let id = self.proxy.call("Send", &("text/plain", text.as_bytes(), options)).await?;
        Ok(Queued { id, at: Instant::now() })
    }

    /// Waits until a message is on the peer's disk; returns how long that took since it was queued.
    pub async fn wait_until_delivered(&mut self, queued: &Queued) -> Result<Duration> {
        let at = within(DELIVERY_MAX, "a delivery", self.delivery_of(&queued.id)).await?;
        Ok(at.saturating_duration_since(queued.at))
    }

    /// The whole history, oldest first.
    pub async fn history(&self) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let after = rows.last().map_or(0, |row| row.seq);
            let page: Vec<HashMap<String, OwnedVariant>> = self.proxy.call("List", &(after, PAGE_ROWS)).await?;
            if page.is_empty() {
                return Ok(rows);
            }
            for row in page {
                let row = Row::read(row)?;
                ensure!(rows.last().is_none_or(|last| last.seq < row.seq), "history is out of order at {}", row.seq);
                rows.push(row);
            }
        }
    }

    async fn delivery_of(&mut self, id: &str) -> Result<Instant> {
        loop {
            if let Some(at) = self.delivered.remove(id) {
                return Ok(at);
            }
            let signal = self.changes.next().await.context("the bus closed the connection")?;
            let at = Instant::now();
            let (changed, state): (String, u32) = signal.body().deserialize()?;
            if state == DELIVERED {
                self.delivered.insert(changed, at);
            }
        }
    }
}

impl Row {
    fn read(mut fields: HashMap<String, OwnedVariant>) -> Result<Self> {
        let mut field = |name: &str| fields.remove(name).with_context(|| format!("a row has a `{name}`"));
        let seq = u64::try_from(field("seq")?)?;
        let is_own = u32::try_from(field("direction")?)? == OUTGOING;
        let body = String::from_utf8(Vec::try_from(field("body")?)?)?;
        Ok(Self { seq, is_own, body })
    }
}
