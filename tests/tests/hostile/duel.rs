//! One real daemon, and a contact of it that cheats.

use kith_crypto::wire::Frame;
use kith_system_tests::{Conversation, Queued};

use crate::peer::{Channel, HostilePeer, Invite, honest};
use crate::scene::{Victim, received};
use crate::server::HostileServer;

/// The two, after they have paired.
pub(crate) struct Duel {
    pub(crate) server: HostileServer,
    pub(crate) victim: Victim,
    pub(crate) peer: HostilePeer,
    to_peer: Conversation,
    shown: Vec<String>,
}

impl Duel {
    pub(crate) async fn new(seed: u64) -> Self {
        let server = HostileServer::start().await;
        let victim = Victim::start("victim", &server).await;
        let invite = Invite::read(&victim.device.invite().await.unwrap());
        let mut peer = HostilePeer::online(server.url(), seed, &invite.card).await;
        let channel = peer.pair(&invite).await;
        let to_peer = victim.device.messenger().await.unwrap().conversation().await.unwrap();
        peer.leave(&channel);
        let mut duel = Self { server, victim, peer, to_peer, shown: Vec::new() };
        duel.is_as_it_should_be("at the beginning").await;
        duel
    }

    /// A session as it is meant.
    pub(crate) async fn connect(&mut self) -> Channel {
        self.peer.connect(&mut honest()).await.unwrap()
    }

    /// The owner of the victim writes to the peer.
    pub(crate) async fn queue(&mut self, text: &str) -> Queued {
        self.to_peer.send(text).await.unwrap()
    }

    pub(crate) async fn is_delivered(&mut self, queued: &Queued) {
        self.to_peer.wait_until_delivered(queued).await.unwrap();
    }

    /// Honest messages pass both ways, and nothing but honest ones was ever shown.
    pub(crate) async fn is_as_it_should_be(&mut self, after: &str) {
        let mut channel = self.peer.connect(&mut honest()).await.unwrap_or_else(|why| {
            panic!("after {after}: {why}\n{:?}\n{}", self.victim.troubles.all(), self.victim.log())
        });
        let text = format!("honest, after {after}");
        let message = self.peer.message(&text);
        let id = message.id;
        self.peer.say(&mut channel, &Frame::Message(message));
        self.peer.is_acknowledged(&mut channel, id).await;
        self.shown.push(text.clone());
        let queued = self.to_peer.send("and back").await.unwrap();
        self.peer.take_message(&mut channel).await;
        self.to_peer.wait_until_delivered(&queued).await.unwrap();
        self.victim.is_unharmed();
        assert_eq!(received(&self.to_peer).await, self.shown, "{after}");
        assert_eq!(self.to_peer.peer().await.unwrap(), self.peer.id.to_string());
        self.peer.leave(&channel);
    }
}
