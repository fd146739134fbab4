//! One link's life: a task that owns the connection, from the offer to the last report.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kith_engine::{Ice, LinkEvent, LinkId, LinkPath, LinkRole, Negotiation};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage};

use super::callbacks::{self, Happening};
use super::connection::{Connection, is_the_channel};
use super::door::{self, Wish};
use super::failure::Failure;
use super::own::Own;
use super::remote::{CANDIDATES_MAX, Candidate};
use super::runtime::Traffic;
use super::servers::Servers;
use super::{LinkReport, MESSAGE_BYTES_MAX};
use crate::network::{self, Network};

/// From opening a link to an open channel. Covers a person's patience and a slow signaling server;
/// ICE itself gives up after 6.3 s of trying.
pub(super) const SETUP_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a link is looked at: which path is selected (the library says when it has one, not which), and whether
/// messages pass.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How many reports may wait in the task before it stops listening to its connection. More than
/// one happening ever makes.
const BACKLOG_MAX: usize = 64;

/// How many channels of the other side are refused before the link ends. An older minor version
/// must live with a newer one that tries a few.
const REFUSED_CHANNELS_MAX: usize = 4;

/// How long the other side may take to acknowledge the end of the channel.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// What a link is made of.
pub(super) struct Order {
    pub(super) link: LinkId,
    pub(super) role: LinkRole,
    pub(super) ice: Ice,
    pub(super) relay_only: bool,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) network: Network,
    pub(super) reports: mpsc::Sender<(LinkId, LinkReport)>,
    pub(super) words: mpsc::Receiver<Negotiation>,
    pub(super) outgoing: mpsc::Receiver<Vec<u8>>,
}

/// Lives a link's life. Once the owner wishes `Close` or is gone, nothing more is reported.
pub(super) async fn run(order: Order, mut wish: watch::Receiver<Wish>) {
    let mut task = Task::new(order);
    // `biased`: the wish is looked at before anything can be reported.
    let failure = tokio::select! {
        biased;
        failure = door::wished(&mut wish) => failure,
        failure = task.live() => Some(failure),
    };
    let Some(failure) = failure else {
        tracing::debug!(link = task.link.0, "link closed");
        return task.part().await;
    };
    tracing::debug!(link = task.link.0, %failure, "link down");
    task.backlog.push_back(LinkReport::Event(failure.into()));
    let backlog = std::mem::take(&mut task.backlog);
    let (link, reports) = (task.link, task.reports.clone());
    let deliver = async {
        tokio::select! {
            biased;
            () = door::closed(&mut wish) => {}
            () = deliver(link, backlog, &reports) => {}
        }
    };
    tokio::join!(deliver, task.part());
}

async fn deliver(link: LinkId, backlog: VecDeque<LinkReport>, reports: &mpsc::Sender<(LinkId, LinkReport)>) {
    for report in backlog {
        if reports.send((link, report)).await.is_err() {
            return;
        }
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<(), webrtc::error::Error>> + Send>>;
type Refusing = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    link: LinkId,
    role: LinkRole,
    ice: Ice,
    relay_only: bool,
    /// What is to be bound, and then what is.
    addresses: Vec<IpAddr>,
    network: Network,
    reports: mpsc::Sender<(LinkId, LinkReport)>,
    words: mpsc::Receiver<Negotiation>,
    outgoing: mpsc::Receiver<Vec<u8>>,
    backlog: VecDeque<LinkReport>,
    connection: Option<Connection>,
    channel: Option<Arc<dyn DataChannel>>,
    /// Whether a description of the other side was taken.
    described: bool,
    /// Candidates that came before the description.
    early: Vec<Candidate>,
    remote_candidates: usize,
    own: Own,
    /// The path last reported; none before `Up`.
    path: Option<LinkPath>,
    /// Whether the other side is not heard.
    silent: bool,
    traffic: Traffic,
    sending: Option<Sending>,
    refusing: FuturesUnordered<Refusing>,
    refused: usize,
}

impl Task {
    fn new(order: Order) -> Task {
        Task {
            link: order.link,
            role: order.role,
            ice: order.ice,
            relay_only: order.relay_only,
            addresses: order.addresses,
            network: order.network,
            reports: order.reports,
            words: order.words,
            outgoing: order.outgoing,
            backlog: VecDeque::new(),
            connection: None,
            channel: None,
            described: false,
            early: Vec::new(),
            remote_candidates: 0,
            own: Own::default(),
            path: None,
            silent: false,
            traffic: Traffic::default(),
            sending: None,
            refusing: FuturesUnordered::new(),
            refused: 0,
        }
    }

    /// Works until something fails.
    async fn live(&mut self) -> Failure {
        let deadline = Instant::now() + SETUP_TIMEOUT;
        let worked = async {
            let mut happenings = self.prepare().await?;
            let mut look = interval(LOOK_INTERVAL);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                self.step(&mut happenings, &mut look, deadline).await?;
            }
        };
        let worked: Result<Infallible, Failure> = worked.await;
        match worked {
            Err(failure) => failure,
            Ok(never) => match never {},
        }
    }

    /// Makes the connection; an offerer offers.
    async fn prepare(&mut self) -> Result<mpsc::Receiver<Happening>, Failure> {
        if self.addresses.is_empty() {
            self.addresses = network::addresses();
        }
        if self.addresses.is_empty() {
            return Err(Failure::NoAddress);
        }
        let servers = Servers::resolve(&self.ice).await;
        self.own = Own::new(self.addresses.len(), &servers, self.relay_only);
        if self.relay_only && !servers.relays {
            return Err(Failure::NoRelay);
        }
        let (reporter, happenings) = callbacks::channel();
        let connection =
            Connection::build(&self.addresses, servers, self.relay_only, self.traffic.clone(), reporter).await?;
        let connection = self.connection.insert(connection);
        if self.role == LinkRole::Offerer {
            self.channel = Some(connection.open_channel().await?);
            let offer = connection.offer().await?;
            let words = self.own.describe(Negotiation::Offer, offer);
            self.say(words);
        }
        Ok(happenings)
    }

    /// Does the next thing there is to do.
    async fn step(
        &mut self,
        happenings: &mut mpsc::Receiver<Happening>,
        look: &mut Interval,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let up = self.path.is_some();
        let reports = self.reports.clone();
        let listening = self.backlog.len() < BACKLOG_MAX;
        tokio::select! {
            permit = reports.reserve(), if !self.backlog.is_empty() => {
                // An error: nobody listens; the wish will say so.
                if let (Ok(permit), Some(report)) = (permit, self.backlog.pop_front()) {
                    permit.send((self.link, report));
                }
            }
            Some(words) = self.words.recv(), if listening => self.handle_words(words).await?,
            happening = happenings.recv(), if listening => {
                self.handle_happening(happening.ok_or(Failure::TooManyHappenings)?).await?;
            }
            // Only when all before it is with the loop: so the other side stops when the loop does.
            event = next_event(self.channel.as_deref()), if self.backlog.is_empty() => self.handle_event(event).await?,
            Some(message) = self.outgoing.recv(), if up && self.sending.is_none() => self.send(message),
            sent = finish(&mut self.sending) => self.handle_sent(sent)?,
            _ = look.tick(), if up => {
                self.traffic.look();
                self.look_at_path().await;
            }
            addresses = self.network.changed(), if up => self.look_at_addresses(&addresses),
            () = sleep_until(self.own.held_until().unwrap_or(deadline)), if self.own.held_until().is_some() => {
                let words = self.own.release();
                self.say(words);
            }
            () = sleep_until(deadline), if !up => return Err(self.why_late()),
            Some(()) = self.refusing.next(), if !self.refusing.is_empty() => {}
        }
        Ok(())
    }

    fn report(&mut self, event: LinkEvent) {
        self.backlog.push_back(LinkReport::Event(event));
    }

    /// For the other side.
    fn say(&mut self, words: Option<Negotiation>) {
        if let Some(words) = words {
            self.report(LinkEvent::Local(words));
        }
    }

    async fn handle_words(&mut self, words: Negotiation) -> Result<(), Failure> {
        let Some(connection) = self.connection.as_mut() else { return Err(Failure::Broken) };
        match (words, self.role, self.described) {
            (Negotiation::Offer(offer), LinkRole::Answerer, false) => {
                let answer = connection.answer(&offer).await?;
                let words = self.own.describe(Negotiation::Answer, answer);
                self.say(words);
            }
            (Negotiation::Answer(answer), LinkRole::Offerer, false) => connection.accept(&answer).await?,
            (Negotiation::Candidate(line), ..) => {
                self.handle_candidate(&line).await;
                return Ok(());
            }
            _ => return Err(Failure::UnexpectedDescription),
        }
        self.described = true;
        for candidate in std::mem::take(&mut self.early) {
            self.try_candidate(candidate).await;
        }
        Ok(())
    }

    async fn handle_candidate(&mut self, line: &str) {
        if line.is_empty() {
            return; // The end of candidates. ICE's own timer decides when there is no path.
        }
        let Some(candidate) = Candidate::parse(line) else {
            return tracing::debug!(link = self.link.0, ?line, "a candidate of the other side is ignored");
        };
        if self.remote_candidates >= CANDIDATES_MAX {
            return tracing::debug!(link = self.link.0, "one candidate too many of the other side is ignored");
        }
        self.remote_candidates += 1;
        if self.described {
            self.try_candidate(candidate).await;
        } else {
            self.early.push(candidate);
        }
    }

    async fn try_candidate(&mut self, candidate: Candidate) {
        if let Some(connection) = self.connection.as_mut() {
            connection.add(candidate).await;
        }
        // It may tell that the other end of the path is a relay.
        self.look_at_path().await;
    }

    async fn handle_happening(&mut self, happening: Happening) -> Result<(), Failure> {
        match happening {
            Happening::Candidate { line, relayed } => {
                self.own.relayed |= relayed;
                let words = self.own.candidate(line);
                self.say(words);
            }
            Happening::EndOfCandidates => self.end_candidates()?,
            Happening::PathFound => {
                if std::mem::take(&mut self.silent) {
                    self.report(LinkEvent::Heard);
                }
                self.look_at_path().await;
            }
            Happening::PathSilent => {
                if self.path.is_some() && !std::mem::replace(&mut self.silent, true) {
                    self.report(LinkEvent::Silent);
                }
            }
            Happening::Failed => {
                let no_path = self.own.no_path(Failure::NoPath);
                return Err(why_failed(self.connection.as_ref(), self.path.is_some(), no_path).await);
            }
            Happening::Channel(channel) => self.handle_channel(channel).await?,
            Happening::DriverEnded => return Err(Failure::Broken),
        }
        Ok(())
    }

    fn end_candidates(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.own.ended, true) {
            return Ok(());
        }
        if self.own.lack_relay() {
            if self.relay_only {
                return Err(Failure::RelayUnavailable);
            }
            tracing::warn!(link = self.link.0, "the relay refused this device or is unreachable; trying without it");
        }
        let words = self.own.end();
        self.say(words);
        Ok(())
    }

    async fn handle_channel(&mut self, channel: Arc<dyn DataChannel>) -> Result<(), Failure> {
        let wanted = self.role == LinkRole::Answerer && self.channel.is_none();
        if wanted && is_the_channel(channel.as_ref()).await {
            self.channel = Some(channel);
            return Ok(());
        }
        self.refused += 1;
        if self.refused > REFUSED_CHANNELS_MAX {
            return Err(Failure::TooManyChannels);
        }
        tracing::debug!(link = self.link.0, "a channel of the other side is refused");
        // Its events are taken until it is closed: the library would keep them for us otherwise.
        self.refusing.push(Box::pin(async move {
            if channel.close().await.is_ok() {
                while channel.poll().await.is_some() {}
            }
        }));
        Ok(())
    }

    async fn handle_event(&mut self, event: Option<DataChannelEvent>) -> Result<(), Failure> {
        match event {
            Some(DataChannelEvent::OnOpen) => self.come_up().await,
            Some(DataChannelEvent::OnMessage(message)) => {
                self.come_up().await?;
                self.handle_message(message)
            }
            Some(DataChannelEvent::OnClosing | DataChannelEvent::OnClose) | None => Err(Failure::ClosedByPeer),
            Some(DataChannelEvent::OnError) => Err(Failure::Broken),
            Some(_) => Ok(()),
        }
    }

    async fn come_up(&mut self) -> Result<(), Failure> {
        if self.path.is_some() {
            return Ok(());
        }
        let Some(connection) = self.connection.as_ref() else { return Err(Failure::Broken) };
        if !connection.takes_every_message().await {
            return Err(Failure::ShortMessagesOnly);
        }
        let own_fingerprint = connection.own_fingerprint();
        let remote_fingerprint = connection.remote_fingerprint().await?;
        // A message came over some path. If the library cannot tell which: the one that hides less.
        let path = connection.path().await.unwrap_or(LinkPath::Direct);
        self.path = Some(path);
        self.report(LinkEvent::Up { own_fingerprint, remote_fingerprint, path });
        Ok(())
    }

    fn handle_message(&mut self, message: RTCDataChannelMessage) -> Result<(), Failure> {
        self.traffic.passed();
        if message.is_string {
            return Err(Failure::Text);
        }
        if message.data.len() > MESSAGE_BYTES_MAX {
            return Err(Failure::MessageTooLong(message.data.len()));
        }
        self.backlog.push_back(LinkReport::Frame(message.data.into()));
        Ok(())
    }

    fn send(&mut self, message: Vec<u8>) {
        self.traffic.passed();
        if let Some(channel) = self.channel.clone() {
            self.sending = Some(Box::pin(async move { channel.send(Bytes::from(message).into()).await }));
        }
    }

    fn handle_sent(&mut self, sent: Result<(), webrtc::error::Error>) -> Result<(), Failure> {
        self.sending = None;
        match sent {
            Ok(()) => Ok(()),
            // What came before the end of the channel is still to be read, and then the end.
            Err(webrtc::error::Error::ErrDataChannelClosed) => {
                self.sending = Some(Box::pin(pending()));
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "sending");
                Err(Failure::Broken)
            }
        }
    }

    async fn look_at_path(&mut self) {
        let (Some(known), Some(connection)) = (self.path, self.connection.as_ref()) else { return };
        if let Some(path) = connection.path().await
            && path != known
        {
            self.path = Some(path);
            self.report(LinkEvent::Path(path));
        }
    }

    /// A socket on an address that is gone reaches nobody, and the silence would tell that later.
    fn look_at_addresses(&mut self, addresses: &[IpAddr]) {
        let gone = |bound: &IpAddr| !bound.is_loopback() && !addresses.contains(bound);
        if self.addresses.iter().any(gone) {
            self.report(LinkEvent::Moved);
        }
    }

    fn why_late(&self) -> Failure {
        if self.relay_only && !self.own.relayed {
            Failure::RelayUnavailable
        } else if !self.described {
            Failure::NoAnswer
        } else {
            self.own.no_path(Failure::SetupTimeout)
        }
    }

    /// Closes the channel, then the connection.
    async fn part(mut self) {
        let Some(connection) = self.connection.take() else { return };
        if let (Some(channel), Some(_)) = (&self.channel, self.path) {
            let farewell = async {
                if channel.close().await.is_ok() {
                    while !matches!(channel.poll().await, Some(DataChannelEvent::OnClose) | None) {}
                }
            };
            let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
        }
        connection.close().await;
    }
}

async fn why_failed(connection: Option<&Connection>, up: bool, no_path: Failure) -> Failure {
    match connection {
        Some(connection) if connection.encryption_failed().await => Failure::Encryption,
        _ if up => Failure::Lost,
        _ => no_path,
    }
}

/// What happens next on the channel; nothing while there is none.
pub(super) async fn next_event(channel: Option<&dyn DataChannel>) -> Option<DataChannelEvent> {
    match channel {
        Some(channel) => channel.poll().await,
        None => pending().await,
    }
}

async fn finish(sending: &mut Option<Sending>) -> Result<(), webrtc::error::Error> {
    match sending {
        Some(sending) => sending.await,
        None => pending().await,
    }
}
