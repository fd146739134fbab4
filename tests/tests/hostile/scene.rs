//! Real daemons around a server that cheats, and what must be true of them whatever it does.

use std::path::Path;
use std::time::Duration;

use kith_crypto::identity::ClientId;
use kith_dbus::{Direction, LinkState};
use kith_system_tests::{Conversation, Device, Process, Troubles};

use crate::server::HostileServer;

/// How much more memory a daemon may hold after a flood than before it: its queues at their
/// bounds, and what the allocator keeps of them.
pub(crate) const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// A daemon, its owner's view of it, and what it was like before anybody cheated.
pub(crate) struct Victim {
    pub(crate) device: Device,
    pub(crate) id: ClientId,
    pub(crate) troubles: Troubles,
    pid: i32,
}

/// Two paired devices and the server between them.
pub(crate) struct Scene {
    pub(crate) server: HostileServer,
    pub(crate) alice: Victim,
    pub(crate) bob: Victim,
    pub(crate) to_bob: Conversation,
    pub(crate) to_alice: Conversation,
    /// How many honest messages went each way.
    pub(crate) sent: usize,
}

impl Victim {
    pub(crate) async fn start(name: &str, server: &HostileServer) -> Self {
        let device = Device::start(name, server.url()).await.unwrap();
        let messenger = device.messenger().await.unwrap();
        messenger.wait_until_online().await.unwrap();
        let id = messenger.client_id().await.unwrap().parse().unwrap();
        let troubles = Troubles::listen(device.bus_address()).await.unwrap();
        let pid = device.process().unwrap().pid();
        Self { device, id, troubles, pid }
    }

    fn process(&self) -> &Process {
        self.device.process().unwrap()
    }

    /// Ends all sessions and begins again, in the same process.
    pub(crate) async fn lock_and_unlock(&self) {
        self.device.lock().await.unwrap();
        self.device.unlock().await.unwrap();
    }

    /// Resident memory.
    pub(crate) fn memory_kib(&self) -> u64 {
        self.process().memory_kib().unwrap()
    }

    /// Neither restarted nor hurt: the process that was started runs, and nothing in it panicked.
    pub(crate) fn is_unharmed(&self) {
        assert_eq!(self.process().pid(), self.pid);
        let proc = format!("/proc/{}", self.pid);
        assert!(Path::new(&proc).exists(), "{} has ended: {}", self.device.name(), self.log());
        let log = self.log();
        assert!(!log.contains("panicked"), "{}: {log}", self.device.name());
    }

    /// Holds not much more than before a flood.
    pub(crate) fn is_not_swollen(&self, before_kib: u64, after: &str) {
        let now_kib = self.memory_kib();
        eprintln!("{}, {after}: {before_kib} KiB before, {now_kib} KiB after", self.device.name());
        assert!(now_kib <= before_kib + GROWTH_KIB_MAX, "{after}: {before_kib} KiB before, {now_kib} KiB after");
    }

    /// Whether its log says this.
    pub(crate) fn has_logged(&self, words: &str) -> bool {
        self.log().contains(words)
    }

    pub(crate) fn log(&self) -> String {
        self.process().errors()
    }
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let server = HostileServer::start().await;
        let alice = Victim::start("alice", &server).await;
        let bob = Victim::start("bob", &server).await;
        bob.device.accept(&alice.device.invite().await.unwrap()).await.unwrap();
        let to_bob = alice.device.messenger().await.unwrap().conversation().await.unwrap();
        let to_alice = bob.device.messenger().await.unwrap().conversation().await.unwrap();
        let mut scene = Self { server, alice, bob, to_bob, to_alice, sent: 0 };
        scene.is_as_it_should_be("at the beginning").await;
        scene
    }

    /// An honest message passes each way, nothing else was ever shown, and each device knows
    /// and is connected to the other alone.
    pub(crate) async fn is_as_it_should_be(&mut self, after: &str) {
        self.sent += 1;
        let (there, back) = (format!("there {}", self.sent), format!("back {}", self.sent));
        let queued = self.to_bob.send(&there).await.unwrap();
        self.to_bob.wait_until_delivered(&queued).await.unwrap_or_else(|error| self.give_up(after, &error));
        let queued = self.to_alice.send(&back).await.unwrap();
        self.to_alice.wait_until_delivered(&queued).await.unwrap_or_else(|error| self.give_up(after, &error));
        for (victim, conversation, peer, word) in
            [(&self.alice, &self.to_bob, &self.bob, "back"), (&self.bob, &self.to_alice, &self.alice, "there")]
        {
            victim.is_unharmed();
            let expected: Vec<_> = (1..=self.sent).map(|number| format!("{word} {number}")).collect();
            assert_eq!(received(conversation).await, expected, "{after}");
            assert_eq!(conversation.peer().await.unwrap(), peer.id.to_string(), "{after}");
            assert_eq!(conversation.link().await.unwrap(), LinkState::Direct, "{after}");
            let objects = victim.device.messenger().await.unwrap().objects().await.unwrap();
            assert_eq!(objects.keys().filter(|path| path.contains("/peer/")).count(), 1, "{after}: {objects:?}");
        }
    }

    fn give_up(&self, after: &str, error: &anyhow::Error) -> Duration {
        panic!(
            "after {after}: {error:#}\nalice: {:?}\n{}\nbob: {:?}\n{}",
            self.alice.troubles.all(),
            self.alice.log(),
            self.bob.troubles.all(),
            self.bob.log()
        )
    }
}

/// The texts that the other side received, oldest first.
pub(crate) async fn received(conversation: &Conversation) -> Vec<String> {
    let rows = conversation.history().await.unwrap();
    let incoming = rows.into_iter().filter(|row| row.direction == Direction::Incoming);
    incoming.map(|row| String::from_utf8(row.body).unwrap()).collect()
}

/// How often the tests here repeat what they do; `cargo xtask soak` sets it.
pub(crate) fn rounds() -> usize {
    std::env::var("KITH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}
