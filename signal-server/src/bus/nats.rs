//! The connection to NATS: made, used, and after every loss made anew.
//!
//! Each connection is a server of its own to the others, with a name that was never used before: whatever they knew
//! of the last one ends with it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Message, ServerAddr, StatusCode};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::QUEUE_MAX;
use super::seal::{Sealer, Secret, node_subject};
use crate::hub::Hub;
use crate::registry::words::{Address, NodeId, Order, Word};

/// Between looks at the other servers: one that was killed is gone for these within two.
const TICK: Duration = Duration::from_millis(250);

/// A NATS server that answers nothing for two of these is gone: after a power cut nothing closes the connection.
const PING: Duration = Duration::from_secs(5);

/// For TCP, TLS and NATS's own greeting.
const CONNECT: Duration = Duration::from_secs(5);

/// Between attempts to connect, at first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Events of the client that wait: the first that matters ends the connection.
const EVENTS_MAX: usize = 16;

/// The library would begin anew by itself, with subscriptions of old; its own attempt comes too late for that.
const LIBRARY_RETRY: Duration = Duration::from_secs(1);

/// Why a connection to NATS ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("NATS cannot be reached; check the URL in `bus`, its user and its certificate ({0})")]
    Connect(#[from] async_nats::ConnectError),
    #[error("the connection to NATS was lost")]
    Disconnected,
    #[error("NATS brings more than this server can take")]
    TooMuch,
    #[error("more waits for NATS than it takes")]
    TooSlow,
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
}

/// Keeps the hub connected to other servers until it is dropped.
pub(crate) async fn run(hub: Arc<Hub>, servers: Vec<ServerAddr>, secret: Arc<Secret>) {
    let ticking = async {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            hub.tick();
        }
    };
    let linking = async {
        let mut retry = RETRY_FIRST;
        let mut is_said = false;
        loop {
            let lost = match Link::connect(&hub, &servers, &secret).await {
                Ok(link) => {
                    tracing::info!("connected to NATS: devices of other servers can be reached");
                    (retry, is_said) = (RETRY_FIRST, false);
                    let lost = link.serve().await;
                    hub.unlinked();
                    lost
                }
                Err(lost) => lost,
            };
            if !std::mem::replace(&mut is_said, true) {
                tracing::error!("only devices of this server can be reached: {lost}; trying again");
            }
            sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    };
    tokio::join!(ticking, linking);
}

/// One connection.
struct Link {
    hub: Arc<Hub>,
    orders: mpsc::Receiver<Order>,
    lost: mpsc::Receiver<Lost>,
    line: Line,
    ears: Ears,
}

impl Link {
    async fn connect(hub: &Arc<Hub>, servers: &[ServerAddr], secret: &Arc<Secret>) -> Result<Self, Lost> {
        let mut node = NodeId::default();
        getrandom::fill(&mut node)?;
        let (lost_sender, lost) = mpsc::channel(EVENTS_MAX);
        let mut options = ConnectOptions::new()
            .name("kith-signal")
            // What a server says is for the others.
            .no_echo()
            .ping_interval(PING)
            .connection_timeout(CONNECT)
            .max_reconnects(servers.len())
            .reconnect_delay_callback(|attempts| if attempts <= 1 { Duration::ZERO } else { LIBRARY_RETRY })
            .event_callback(move |event| {
                let lost = match event {
                    Event::Disconnected | Event::Closed | Event::LameDuckMode => Some(Lost::Disconnected),
                    Event::SlowConsumer(_) => Some(Lost::TooMuch),
                    Event::Connected | Event::Draining | Event::ServerError(_) | Event::ClientError(_) => None,
                };
                // One is enough.
                let _ = lost.map(|lost| lost_sender.try_send(lost));
                std::future::ready(())
            });
        if let Some((user, password)) = servers.iter().find_map(credentials) {
            options = options.user_and_password(user, password);
        }
        let client = options.connect(servers).await?;
        let (orders_sender, orders) = mpsc::channel(QUEUE_MAX);
        hub.linked(node, orders_sender);
        let sealer = Sealer::new(secret, node);
        let line = Line { secret: Arc::clone(secret), client, node, sealer };
        let ears = Ears { hub: Arc::clone(hub), listeners: BTreeMap::new(), listening: JoinSet::new() };
        Ok(Self { hub: Arc::clone(hub), orders, lost, line, ears })
    }

    /// Does what the hub wants until the connection is lost.
    async fn serve(mut self) -> Lost {
        loop {
            if self.orders.is_empty() {
                self.hub.announce();
            }
            let order = tokio::select! {
                biased;
                lost = self.lost.recv() => return lost.unwrap_or(Lost::Disconnected),
                Some(_) = self.ears.listening.join_next() => continue,
                order = self.orders.recv() => order,
            };
            // The hub hangs up when there is no room.
            let Some(order) = order else { return Lost::TooSlow };
            // Waiting for room in the client ends with the connection.
            let obeyed = tokio::select! {
                biased;
                lost = self.lost.recv() => return lost.unwrap_or(Lost::Disconnected),
                obeyed = obey(&mut self.line, &mut self.ears, order) => obeyed,
            };
            if obeyed.is_none() {
                return Lost::Disconnected;
            }
        }
    }
}

/// Does one thing; `None` if the client is gone.
async fn obey(line: &mut Line, ears: &mut Ears, order: Order) -> Option<()> {
    match order {
        Order::Listen(address) => ears.listen(line, address).await,
        Order::Ignore(address) => {
            ears.ignore(address);
            Some(())
        }
        Order::Say { to, word, asked } => line.say(&to, &word, asked).await,
    }
}

/// What is said.
struct Line {
    secret: Arc<Secret>,
    client: Client,
    node: NodeId,
    sealer: Sealer,
}

impl Line {
    async fn say(&mut self, to: &Address, word: &Word, asked: Option<u64>) -> Option<()> {
        let subject = self.secret.subject(to);
        let Some(sealed) = self.sealer.seal(&subject, word) else {
            tracing::error!("a word for other servers could not be encoded");
            return Some(());
        };
        let said = match asked {
            None => self.client.publish(subject, sealed.into()).await,
            Some(number) => {
                let reply = format!("{}.{number}", node_subject(&self.node));
                self.client.publish_with_reply(subject, reply, sealed.into()).await
            }
        };
        said.ok()
    }
}

/// What is heard: a task for each subscription.
struct Ears {
    hub: Arc<Hub>,
    listeners: BTreeMap<Address, AbortHandle>,
    listening: JoinSet<()>,
}

impl Ears {
    async fn listen(&mut self, line: &Line, address: Address) -> Option<()> {
        let Entry::Vacant(place) = self.listeners.entry(address) else {
            return Some(());
        };
        let subject = match &address {
            // And what it has asked that nobody heard.
            Address::Node(node) => format!("{}.*", node_subject(node)),
            Address::Device(_) | Address::Room(_) => line.secret.subject(&address),
        };
        let mut subscriber = line.client.subscribe(subject).await.ok()?;
        let (hub, secret) = (Arc::clone(&self.hub), Arc::clone(&line.secret));
        place.insert(self.listening.spawn(async move {
            while let Some(message) = subscriber.next().await {
                hear(&hub, &secret, &message);
            }
        }));
        Some(())
    }

    fn ignore(&mut self, address: Address) {
        if let Some(listener) = self.listeners.remove(&address) {
            listener.abort();
        }
    }
}

/// Takes what NATS has brought. What no server has sealed is dropped: it can only come from outside.
fn hear(hub: &Hub, secret: &Secret, message: &Message) {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        if let Some(number) = number {
            hub.unheard(number);
        }
    } else if let Some((node, word)) = secret.open(&message.subject, &message.payload) {
        hub.heard(node, word);
    } else {
        hub.metrics.bus_refused.add();
    }
}

fn credentials(server: &ServerAddr) -> Option<(String, String)> {
    Some((server.username()?.to_owned(), server.password().unwrap_or_default().to_owned()))
}
