//! The suite of relayed connections: the same devices and the same bare channel, which use coturn and nothing else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use getrandom::SysRng;
use kith_crypto::identity::Identity;
use kith_engine::{Ice, Signal, SignalOut};
use kith_system_tests::{Latencies, Logging, Relay, Server, within};
use kithd::link::bare::Way;
use kithd::network::Network;
use kithd::signaling;
use rand_core::UnwrapErr;

use super::bare::Lanes;
use super::{latency, set_up};
use crate::figure::{Figure, Unit};
use crate::pair::Pair;
use crate::report::Report;

/// How long the server may take to say where the relay is.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Round trips of the bare channel.
const ROUND_TRIPS: usize = 1_000;
/// The record that a line of text travels in.
const RECORD_BYTES: usize = 528;

/// Measures everything.
pub(crate) async fn run(report: &mut Report) -> Result<()> {
    let relay = Relay::start_here()?;
    let server = Server::start_with(&relay, Logging::Active).await?;
    let ice = within(ANSWER_MAX, "the way to the relay", ice_of(&server)).await?;
    let (direct, relayed) = (Lanes::start(Way::default())?, Lanes::start(Way { ice, relay_only: true })?);
    measure_round_trips(report, &direct, &relayed).await?;
    let mut pair = Pair::start_relayed(server).await?;
    set_up::measure(report, &pair, &relayed, &set_up::RELAYED).await?;
    latency::measure(report, &mut pair, &relayed, " over the relay").await
}

/// What a device of this server is told.
async fn ice_of(server: &Server) -> Result<Ice> {
    let identity = Arc::new(Identity::generate(&mut UnwrapErr(SysRng)));
    let settings = signaling::Settings {
        urls: vec![server.url()],
        allow_plain: false,
        instance: [0; 16],
        network: Network::default(),
    };
    let (client, mut signals) = signaling::spawn(settings, identity)?;
    loop {
        match signals.recv().await.context("the client ended")? {
            Signal::Connected(_) => {
                ensure!(client.send(SignalOut::RequestIce), "the question for the relay was dropped")
            }
            Signal::Ice(ice) => return Ok(ice),
            _ => {}
        }
    }
}

/// What the relay itself costs.
async fn measure_round_trips(report: &mut Report, direct: &Lanes, relayed: &Lanes) -> Result<()> {
    report.begin("the bare channel")?;
    let (near, far) = (direct.answering().await?, relayed.answering().await?);
    let (mut without, mut with) = (Latencies::default(), Latencies::default());
    for _ in 0..ROUND_TRIPS {
        without.push(direct.round_trip(&near, RECORD_BYTES).await?);
        with.push(relayed.round_trip(&far, RECORD_BYTES).await?);
    }
    far.close().await;
    let millis = |latencies: &Latencies| latencies.percentile(50).as_secs_f64() * 1e3;
    report.add(
        Figure::new("round trip over the relay, bare channel, p50", millis(&with), Unit::Milliseconds)
            .beside("without it", millis(&without))
            .aiming_at(&[2.0, 0.5]),
    )
}
