//! The suite of the message path: from one device's D-Bus to the other's, and what is on the way.
//!
//! Real daemons on this machine, each with a message bus of its own, talk over loopback; beside
//! them a bare data channel in this process, and a file on the same disk.

mod bare;
mod footprint;
mod latency;
mod records;
mod relayed;
mod set_up;
mod throughput;

use anyhow::Result;

use crate::pair::Pair;
use crate::report::Report;
use bare::Lanes;
use kithd::link::bare::Way;

pub(crate) use footprint::yardstick;
pub(crate) use relayed::run as run_relayed;

/// Measures everything. What is small and idle comes first, before traffic has made it larger.
pub(crate) async fn run(report: &mut Report) -> Result<()> {
    records::measure(report)?;
    let lanes = Lanes::start(Way::default())?;
    let mut pair = Pair::start().await?;
    footprint::measure_idle(report, &pair).await?;
    set_up::measure(report, &pair, &lanes, &set_up::DIRECT).await?;
    latency::measure(report, &mut pair, &lanes, "").await?;
    throughput::measure(report, &mut pair, &lanes).await?;
    footprint::measure_after_traffic(report, &pair).await?;
    drop(pair);
    footprint::measure_peers(report).await
}
