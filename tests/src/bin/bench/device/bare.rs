//! The bare data channel: two ends in this process, each on a thread and a runtime of its own, as
//! two daemons are.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kith_engine::LinkRole;
use kithd::link::bare::{Bare, Way, Words};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

/// Words that may wait: a description and the candidates of one address.
const WORDS_MAX: usize = 16;

/// The first byte of a message says what the other end does with it.
const ECHO: u8 = 0;
const SWALLOW: u8 = 1;

/// The name of the thread that has the answering ends.
pub(super) const ANSWERERS: &str = "answerers";

/// Two threads, one for each end.
pub(super) struct Lanes {
    offerers: Lane,
    answerers: Lane,
    way: Way,
}

/// One thread with its runtime.
struct Lane {
    handle: Handle,
    // Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

/// An open channel, and how long it took.
pub(super) struct Channel {
    near: Arc<Bare>,
    far: Arc<Bare>,
    pub(super) took: Duration,
}

impl Lanes {
    /// Lanes of channels that go this way.
    pub(super) fn start(way: Way) -> Result<Self> {
        Ok(Self { offerers: Lane::start("offerers")?, answerers: Lane::start(ANSWERERS)?, way })
    }

    /// Opens a channel; it is there when each end has had a message of the other.
    pub(super) async fn connect(&self) -> Result<Channel> {
        let ((to_far, from_near), (to_near, from_far)) = (mpsc::channel(WORDS_MAX), mpsc::channel(WORDS_MAX));
        let start = Instant::now();
        let near = Words { to_other: to_far, from_other: from_far };
        let far = Words { to_other: to_near, from_other: from_near };
        let near = self.offerers.handle.spawn(greet(LinkRole::Offerer, self.way.clone(), near));
        let far = self.answerers.handle.spawn(greet(LinkRole::Answerer, self.way.clone(), far));
        let ((near, near_at), (far, far_at)) = (near.await??, far.await??);
        Ok(Channel { near, far, took: near_at.max(far_at) - start })
    }

    /// Opens a channel whose far end answers what it is sent.
    pub(super) async fn answering(&self) -> Result<Channel> {
        let channel = self.connect().await?;
        let far = channel.far.clone();
        self.answerers.handle.spawn(async move {
            while let Some(message) = far.receive().await {
                if message.first() == Some(&ECHO) && far.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(channel)
    }

    /// Sends a message of so many bytes there and back again.
    pub(super) async fn round_trip(&self, channel: &Channel, bytes: usize) -> Result<Duration> {
        self.stream(channel, bytes, 1).await
    }

    /// Sends messages as fast as they go; how long until the last is there, and known to be.
    pub(super) async fn stream(&self, channel: &Channel, bytes: usize, count: usize) -> Result<Duration> {
        let near = channel.near.clone();
        let streaming = self.offerers.handle.spawn(async move {
            let start = Instant::now();
            for _ in 1..count {
                near.send(vec![SWALLOW; bytes].into()).await?;
            }
            near.send(vec![ECHO; bytes].into()).await?;
            near.receive().await.context("the channel ended")?;
            anyhow::Ok(start.elapsed())
        });
        streaming.await?
    }
}

async fn greet(role: LinkRole, way: Way, words: Words) -> Result<(Arc<Bare>, Instant)> {
    let channel = Bare::connect(role, IpAddr::V4(Ipv4Addr::LOCALHOST), &way, words).await?;
    channel.send(vec![SWALLOW].into()).await?;
    channel.receive().await.context("the channel ended")?;
    Ok((Arc::new(channel), Instant::now()))
}

impl Channel {
    /// Ends it on both sides.
    pub(super) async fn close(self) {
        self.near.close().await;
        self.far.close().await;
    }
}

impl Lane {
    fn start(name: &str) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // An error: the owner is gone, which is what is waited for.
            let _: Result<(), _> = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, _stop: stop })
    }
}
