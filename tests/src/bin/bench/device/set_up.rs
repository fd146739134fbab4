//! Connection set-up: from the moment that the first of the two sees the other online to the
//! moment that both have opened the other's first sealed record.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use kith_dbus::{LinkState, Manager1Proxy, PEER_INTERFACE, Presence, peer_path};
use kith_system_tests::{Device, Latencies, within};
use tokio::sync::mpsc;
use zbus::fdo::{PropertiesChanged, PropertiesProxy};

use super::bare::Lanes;
use crate::figure::{Figure, Unit};
use crate::pair::Pair;
use crate::report::Report;

/// Rounds; each device goes and comes back in every other one.
const ROUNDS: usize = 60;

/// How long the devices may take to see each other come and go.
const CHANGE_MAX: Duration = Duration::from_secs(30);

/// Which connections are set up.
pub(super) struct Kind {
    /// What they are called.
    pub(super) name: &'static str,
    /// What the devices say of them.
    pub(super) link: LinkState,
    /// What half of them are to reach, in milliseconds.
    pub(super) goals: &'static [f64],
}

/// On one machine.
pub(super) const DIRECT: Kind = Kind { name: "loopback", link: LinkState::Direct, goals: &[50.0, 15.0] };

/// The same over a relay.
pub(super) const RELAYED: Kind = Kind { name: "relay only", link: LinkState::Relayed, goals: &[200.0, 50.0] };

pub(super) async fn measure(report: &mut Report, pair: &Pair, lanes: &Lanes, kind: &Kind) -> Result<()> {
    report.begin("connection set-up")?;
    let mut alice = Observer::of(&pair.alice).await?;
    let mut bob = Observer::of(&pair.bob).await?;
    let (mut kith, mut bare) = (Latencies::default(), Latencies::default());
    for round in 0..ROUNDS {
        let (stays, leaves) = if round % 2 == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        kith.push(come_back(stays, leaves, kind.link).await?);
        let channel = lanes.connect().await?;
        bare.push(channel.took);
        channel.close().await;
    }
    for percent in [50, 90] {
        let millis = |latencies: &Latencies| latencies.percentile(percent).as_secs_f64() * 1e3;
        let name = format!("connection set-up, {}, p{percent}", kind.name);
        let figure = Figure::new(name, millis(&kith), Unit::Milliseconds).beside("bare channel", millis(&bare));
        report.add(if percent == 50 { figure.aiming_at(kind.goals) } else { figure })?;
    }
    Ok(())
}

/// One device locks its store, which ends its sessions, and unlocks it again.
async fn come_back(stays: &mut Observer<'_>, leaves: &mut Observer<'_>, link: LinkState) -> Result<Duration> {
    leaves.manager.lock().await?;
    stays.wait_for(Change::Presence(Presence::Offline)).await?;
    leaves.manager.unlock(&leaves.device.secret().text().into()).await?;
    // The server tells the one that stayed first.
    let seen = stays.wait_for(Change::Presence(Presence::Online)).await?;
    let up = stays.wait_for(Change::Link(link)).await?;
    let other_up = leaves.wait_for(Change::Link(link)).await?;
    Ok(up.max(other_up).saturating_duration_since(seen))
}

/// What a device's service says about the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Presence(Presence),
    Link(LinkState),
}

/// Changes that may wait to be looked at: some in a round.
const CHANGES_MAX: usize = 1_024;

/// Listens to what one device says about the other.
struct Observer<'a> {
    device: &'a Device,
    manager: Manager1Proxy<'static>,
    changes: mpsc::Receiver<(Instant, Change)>,
}

impl<'a> Observer<'a> {
    async fn of(device: &'a Device) -> Result<Self> {
        let messenger = device.messenger().await?;
        let peer = messenger.conversation().await?.peer().await?;
        let connection = messenger.connection();
        let path = peer_path(&peer).context("a client id makes a path")?;
        let properties = PropertiesProxy::builder(connection).destination(kith_dbus::SERVICE).path(path).build();
        let mut signals = properties.await?.receive_properties_changed().await?;
        let (heard, changes) = mpsc::channel(CHANGES_MAX);
        tokio::spawn(async move {
            while let Some(signal) = signals.next().await {
                let at = Instant::now();
                for change in changes_in(&signal) {
                    if heard.send((at, change)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self { device, manager: Manager1Proxy::new(connection).await?, changes })
    }

    /// Skips what comes before it.
    async fn wait_for(&mut self, wanted: Change) -> Result<Instant> {
        within(CHANGE_MAX, &format!("{}: {wanted:?}", self.device.name()), async {
            loop {
                let (at, change) = self.changes.recv().await.context("the bus closed the connection")?;
                if change == wanted {
                    return Ok(at);
                }
            }
        })
        .await
    }
}

fn changes_in(signal: &PropertiesChanged) -> Vec<Change> {
    let Ok(args) = signal.args() else { return Vec::new() };
    if *args.interface_name() != PEER_INTERFACE {
        return Vec::new();
    }
    let number = |name| args.changed_properties().get(name).and_then(|value| u32::try_from(value).ok());
    let presence = number("Presence").map(|number| Change::Presence(number.into()));
    let link = number("Link").map(|number| Change::Link(number.into()));
    presence.into_iter().chain(link).collect()
}
