//! Two paired devices as an operator would run them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kith_dbus::{Inbox1Proxy, LinkState};
use kith_system_tests::{Conversation, Device, Location, Logging, Messenger, Server, within};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// On this machine, logging what a board logs.
pub(super) fn location(server: &Server) -> Location {
    Location { log: "info".to_owned(), ..Location::loopback(&server.url()) }
}

/// `Send` calls that wait for their answers at a time, as a program that relays a stream has them.
const CALLS: usize = 64;

/// How long many messages may take.
const MANY_MAX: Duration = Duration::from_secs(120);

/// Arrivals that may wait to be looked at: more than any run has.
const ARRIVALS_MAX: usize = 65_536;

/// Two devices that have each other as their only contact.
pub(super) struct Pair {
    pub(super) alice: Device,
    pub(super) bob: Device,
    pub(super) to_bob: Conversation,
    pub(super) at_bob: Arrivals,
    // The last one to end.
    pub(super) _server: Server,
}

impl Pair {
    pub(super) async fn start() -> Result<Self> {
        Self::start_at(Server::start(Logging::Active).await?, LinkState::Direct).await
    }

    /// Two that use nothing but the server's relay.
    pub(super) async fn start_relayed(server: Server) -> Result<Self> {
        Self::start_at(server, LinkState::Relayed).await
    }

    async fn start_at(server: Server, link: LinkState) -> Result<Self> {
        let location = Location { relay_only: link == LinkState::Relayed, ..location(&server) };
        let alice = Device::start_at("alice", &location).await?;
        let bob = Device::start_at("bob", &location).await?;
        bob.accept(&alice.invite().await?).await?;
        Self::meet(server, alice, bob, link).await
    }

    /// The same two after a change while their daemons do not run.
    pub(super) async fn restarted(self, change: impl AsyncFnOnce(&Device, &Device) -> Result<()>) -> Result<Self> {
        let Self { mut alice, mut bob, _server: server, .. } = self;
        alice.stop()?;
        bob.stop()?;
        change(&alice, &bob).await?;
        alice.run_again().await?;
        bob.run_again().await?;
        Self::meet(server, alice, bob, LinkState::Direct).await
    }

    async fn meet(server: Server, alice: Device, bob: Device, link: LinkState) -> Result<Self> {
        let mut to_bob = alice.messenger().await?.conversation().await?;
        let at_bob = Arrivals::at(&bob.messenger().await?).await?;
        let first = to_bob.send("are you there?").await?;
        to_bob.wait_until_delivered(&first).await?;
        let found = to_bob.link().await?;
        ensure!(found == link, "the devices' link is {found:?}, not {link:?}");
        let mut pair = Self { alice, bob, to_bob, at_bob, _server: server };
        pair.at_bob.next().await?;
        Ok(pair)
    }

    /// Sends messages from Alice to Bob; how long until the last has arrived, which is the last to have been
    /// queued. They leave nothing behind that still has to be done.
    pub(super) async fn send_many(&mut self, body_bytes: usize, count: usize) -> Result<Duration> {
        let text = "x".repeat(body_bytes);
        let Self { to_bob, at_bob, .. } = self;
        let start = Instant::now();
        let sending =
            stream::iter(0..count).map(|_| to_bob.send(&text)).buffer_unordered(CALLS).try_collect::<Vec<_>>();
        let arriving = async {
            let mut last = start;
            for _ in 0..count {
                last = at_bob.next().await?;
            }
            Ok(last)
        };
        let (queued, last) = within(MANY_MAX, "many messages", async { tokio::try_join!(sending, arriving) }).await?;
        to_bob.wait_until_delivered(queued.last().context("many are some")?).await?;
        Ok(last.saturating_duration_since(start))
    }
}

/// When messages came in at a device, as its service told.
pub(super) struct Arrivals {
    times: mpsc::Receiver<Instant>,
    listener: JoinHandle<()>,
}

impl Arrivals {
    async fn at(messenger: &Messenger) -> Result<Self> {
        let mut available = Inbox1Proxy::new(messenger.connection()).await?.receive_available().await?;
        let (heard, times) = mpsc::channel(ARRIVALS_MAX);
        let listener = tokio::spawn(async move {
            while available.next().await.is_some() && heard.send(Instant::now()).await.is_ok() {}
        });
        Ok(Self { times, listener })
    }

    /// The next message's.
    pub(super) async fn next(&mut self) -> Result<Instant> {
        self.times.recv().await.context("the bus closed the connection")
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
