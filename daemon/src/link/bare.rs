//! A connection and its channel with nothing of Kith around them: the yardstick of the benchmarks.
//!
//! It is made exactly as a link's is, with the same settings and on the same runtime, so that what
//! lies between the two is what the link's task, the engine, the store and the bus cost.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kith_engine::{Ice, LinkRole, Negotiation};
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use super::callbacks::{self, Happening};
use super::connection::Connection;
use super::failure::Failure;
use super::remote::Candidate;
use super::runtime::Traffic;
use super::servers::Servers;
use super::task::next_event;

/// Why there is no bare channel; its end is no error.
#[derive(Debug, thiserror::Error)]
#[error("a bare channel: {0}")]
pub struct BareError(Failure);

/// What the two sides say to each other until the channel is there.
#[derive(Debug)]
pub struct Words {
    /// To the other side.
    pub to_other: mpsc::Sender<Negotiation>,
    /// From the other side.
    pub from_other: mpsc::Receiver<Negotiation>,
}

/// Which paths a channel may take.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// What the signaling server would tell.
    pub ice: Ice,
    /// Whether only a relay will do.
    pub relay_only: bool,
}

/// An open channel.
pub struct Bare {
    channel: Arc<dyn DataChannel>,
    /// A message that came before the channel was known to be open.
    early: Mutex<Option<Bytes>>,
    connection: Connection,
    _happenings: mpsc::Receiver<Happening>,
}

impl Bare {
    /// Binds one address, talks to the other side and returns when the channel is open.
    ///
    /// # Errors
    /// What a link would report as its reason to go down.
    pub async fn connect(role: LinkRole, address: IpAddr, way: &Way, mut words: Words) -> Result<Self, BareError> {
        let (reporter, mut happenings) = callbacks::channel();
        let servers = Servers::resolve(&way.ice).await;
        let mut connection = Connection::build(&[address], servers, way.relay_only, Traffic::default(), reporter)
            .await
            .map_err(BareError)?;
        let mut channel = None;
        if role == LinkRole::Offerer {
            channel = Some(connection.open_channel().await.map_err(BareError)?);
            words.say(Negotiation::Offer(connection.offer().await.map_err(BareError)?)).await;
        }
        loop {
            tokio::select! {
                Some(said) = words.from_other.recv() => words.take(&mut connection, said).await?,
                happening = happenings.recv() => match happening {
                    Some(Happening::Candidate { line, .. }) => words.say(Negotiation::Candidate(line)).await,
                    Some(Happening::Channel(opened)) => channel = Some(opened),
                    Some(Happening::EndOfCandidates | Happening::PathFound | Happening::PathSilent) => {}
                    Some(Happening::Failed) => return Err(BareError(Failure::NoPath)),
                    Some(Happening::DriverEnded) | None => return Err(BareError(Failure::Broken)),
                },
                event = next_event(channel.as_deref()) => {
                    let early = match event {
                        Some(DataChannelEvent::OnOpen) => None,
                        // It overtakes the news that the channel is open.
                        Some(DataChannelEvent::OnMessage(message)) => Some(message.data.freeze()),
                        Some(DataChannelEvent::OnClosing | DataChannelEvent::OnClose | DataChannelEvent::OnError)
                        | None => return Err(BareError(Failure::ClosedByPeer)),
                        Some(_) => continue,
                    };
                    let Some(channel) = channel.take() else { return Err(BareError(Failure::Broken)) };
                    let early = Mutex::new(early);
                    return Ok(Self { channel, early, connection, _happenings: happenings });
                }
            }
        }
    }

    /// Sends a message; waits while too much is on its way.
    ///
    /// # Errors
    /// The channel is gone.
    pub async fn send(&self, message: Bytes) -> Result<(), BareError> {
        self.channel.send(message.into()).await.map_err(|_| BareError(Failure::Broken))
    }

    /// The next message; none when the channel has ended.
    pub async fn receive(&self) -> Option<Bytes> {
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner).take();
        if early.is_some() {
            return early;
        }
        loop {
            match self.channel.poll().await {
                Some(DataChannelEvent::OnMessage(message)) => return Some(message.data.freeze()),
                Some(DataChannelEvent::OnClosing | DataChannelEvent::OnClose | DataChannelEvent::OnError) | None => {
                    return None;
                }
                Some(_) => {}
            }
        }
    }

    /// Ends it, and gives back what it holds at a relay. One that is only dropped leaves its allocation there for ten
    /// minutes, and a later one that happens to get the same port is refused (RFC 8656 §7.2).
    pub async fn close(&self) {
        self.connection.close().await;
    }
}

impl Words {
    async fn say(&self, words: Negotiation) {
        // Whoever does not listen any more has failed and says so itself.
        let _ = self.to_other.send(words).await;
    }

    /// Words come in their order: a description, then candidates.
    async fn take(&self, connection: &mut Connection, said: Negotiation) -> Result<(), BareError> {
        match said {
            Negotiation::Offer(offer) => {
                self.say(Negotiation::Answer(connection.answer(&offer).await.map_err(BareError)?)).await;
            }
            Negotiation::Answer(answer) => connection.accept(&answer).await.map_err(BareError)?,
            Negotiation::Candidate(line) => {
                if let Some(candidate) = Candidate::parse(&line) {
                    connection.add(candidate).await;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn two_bare_channels_carry_messages_both_ways() {
        let ((to_answerer, from_offerer), (to_offerer, from_answerer)) = (mpsc::channel(64), mpsc::channel(64));
        let way = Way::default();
        let side = |role, to_other, from_other| {
            Bare::connect(role, IpAddr::V4(Ipv4Addr::LOCALHOST), &way, Words { to_other, from_other })
        };
        let (offerer, answerer) = tokio::try_join!(
            side(LinkRole::Offerer, to_answerer, from_answerer),
            side(LinkRole::Answerer, to_offerer, from_offerer),
        )
        .unwrap();
        offerer.send(Bytes::from_static(b"ping")).await.unwrap();
        assert_eq!(answerer.receive().await.unwrap(), "ping");
        answerer.send(Bytes::from_static(b"pong")).await.unwrap();
        assert_eq!(offerer.receive().await.unwrap(), "pong");
        drop(offerer);
    }
}
