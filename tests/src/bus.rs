//! A message bus of its own for each device, so that two of them can hold the same name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::Process;

/// How long the message bus may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// Who may do what on the bus.
#[derive(Clone, Debug)]
pub enum Policy {
    /// Everybody everything: the socket lies in a folder that only its owner can enter.
    Open,
    /// Everybody everything, except what this policy file forbids.
    OpenAndFile(PathBuf),
}

/// A running message bus in a temporary folder.
#[derive(Debug)]
pub struct Bus {
    address: String,
    process: Option<Process>,
    folder: TempDir,
}

impl Bus {
    /// A running bus where everything is allowed.
    pub async fn start() -> Result<Self> {
        Self::start_with(&Policy::Open).await
    }

    /// A running bus with a policy.
    pub async fn start_with(policy: &Policy) -> Result<Self> {
        let mut bus = Self::prepare(policy)?;
        bus.run().await?;
        Ok(bus)
    }

    /// A bus that has an address already, but is not running.
    pub fn prepare(policy: &Policy) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kith-bus-").tempdir()?;
        let address = format!("unix:path={}", folder.path().join("socket").display());
        std::fs::write(folder.path().join("bus.conf"), configuration(&address, policy))?;
        Ok(Self { address, process: None, folder })
    }

    /// Runs it; returns when it can be connected to.
    pub async fn run(&mut self) -> Result<()> {
        let file = format!("--config-file={}", self.folder.path().join("bus.conf").display());
        let args = [&file, "--nofork", "--nopidfile", "--nosyslog", "--print-address"];
        let program = Path::new("dbus-daemon");
        let mut process = Process::start("dbus-daemon", program, &args, self.folder.path())?;
        process.wait_for_line("unix:path=", START_MAX).await.context("the message bus")?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it; its address stays.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.terminate())
    }

    /// Where programs connect to.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn configuration(address: &str, policy: &Policy) -> String {
    let include = match policy {
        Policy::Open => String::new(),
        Policy::OpenAndFile(file) => format!("<include>{}</include>", file.display()),
    };
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_sender="*"/>
  </policy>
  {include}
</busconfig>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bus_can_be_connected_to_while_it_runs_and_keeps_its_address() {
        let mut bus = Bus::prepare(&Policy::Open).unwrap();
        let address = bus.address().to_owned();
        let connect = || async { zbus::connection::Builder::address(&*address).build().await };
        assert!(connect().await.is_err());
        bus.run().await.unwrap();
        assert!(connect().await.unwrap().unique_name().is_some());
        bus.stop().unwrap();
        bus.run().await.unwrap();
        assert!(connect().await.is_ok());
    }
}
