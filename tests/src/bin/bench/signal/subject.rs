//! The servers that are compared, each a process of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kith_system_tests::{Process, Programs};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(30);

/// What is to be expected of no device.
const UNLIMITED: u32 = 1_000_000_000;

/// The name in the certificate and in logins.
pub(super) const NAME: &str = "localhost";

/// npm's package, where `cargo xtask bench signal` has put it.
const PEER: &str = "bench-peer/node_modules/peer";

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Kith,
    KithOverTls,
    Peer,
    Echo,
}

/// A running server.
pub(super) struct Subject {
    pub(super) dialect: Dialect,
    pub(super) address: String,
    /// How its clients set TLS up.
    pub(super) tls: Option<TlsConnector>,
    process: Process,
    _folder: TempDir,
}

impl Subject {
    pub(super) async fn start(dialect: Dialect) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (program, args, tls) = match dialect {
            Dialect::Kith | Dialect::KithOverTls => {
                let tls = if dialect == Dialect::KithOverTls { Some(certificate(folder.path())?) } else { None };
                let file = folder.path().join("kith-signal.toml");
                std::fs::write(&file, configuration(folder.path(), tls.is_some()))?;
                let args = vec!["--config".to_owned(), file.display().to_string()];
                (Programs::locate()?.path("kith-signal"), args, tls)
            }
            Dialect::Peer => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/bench/signal/peer.js");
                let target =
                    Programs::locate()?.folder().parent().context("programs lie in the target folder")?.join(PEER);
                ("node".into(), vec![script.display().to_string(), target.display().to_string()], None)
            }
            Dialect::Echo => (std::env::current_exe()?, vec!["echo".to_owned()], None),
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut process = Process::start("server", &program, &args, folder.path())?;
        let address = process.wait_for_line("listening on ", START_MAX).await?;
        Ok(Self { dialect, address, tls, process, _folder: folder })
    }

    /// Processor time that it has used, in seconds.
    pub(super) fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.pid()))?;
        // Behind the name, which may hold anything: state is the first, utime the 12th, stime the 13th.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("/proc/PID/stat");
        Ok((ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Memory that it has now, in kB.
    pub(super) fn resident_kb(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1.024)
    }
}

fn configuration(folder: &Path, is_tls: bool) -> String {
    let folder = folder.display();
    let tls = if is_tls {
        format!("tls = {{ certificate_file = \"{folder}/chain.pem\", key_file = \"{folder}/key.pem\" }}\n")
    } else {
        String::new()
    };
    let limits: Vec<String> = [
        "device_messages_per_s",
        "device_messages_burst",
        "device_logins_per_min",
        "device_logins_burst",
        "address_messages_per_s",
        "address_messages_burst",
        "address_connects_per_s",
        "address_connects_burst",
        "address_connections_max",
    ]
    .iter()
    .map(|key| format!("{key} = {UNLIMITED}"))
    .collect();
    format!(
        "listen = \"127.0.0.1:0\"\nserver_names = [\"{NAME}\"]\nconnections_max = 20000\n{tls}\
         limits = {{ {} }}\nlogging = {{ mode = \"disabled\" }}\n",
        limits.join(", ")
    )
}

/// Makes a certificate, and what trusts it.
fn certificate(folder: &Path) -> Result<TlsConnector> {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    std::fs::write(folder.join("chain.pem"), made.cert.pem())?;
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
