//! `kith-signal --config FILE [--check-config]`

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use kith_signal::{Config, Server};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use zeroize::Zeroizing;

/// What is logged. The libraries' own events stay out in every mode: they print addresses.
const LOG_FILTER: &str = "off,kith_signal=info";

/// The signaling server of Kith.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file; kith-signal.example.toml documents every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only read and check the configuration and the files that it names.
    #[arg(long)]
    check_config: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    log_to_journal_or_stderr();
    let config = Config::read(&arguments.config).with_context(|| format!("in {}", arguments.config.display()))?;
    if arguments.check_config {
        config.ice(Zeroizing::new([0; 64]))?;
        return Ok(());
    }
    // One thread: the work of a message is a few microseconds under one lock.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?
        .block_on(serve(&config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // Before the first line of output: whoever reads it may send a signal at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::bind(config).await?;
    let mut output = std::io::stdout();
    writeln!(output, "listening on {}", server.address())?;
    output.flush()?;
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(false, &[NotifyState::Ready]);
    server
        .run(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
        })
        .await;
    Ok(())
}

fn log_to_journal_or_stderr() {
    let registry = tracing_subscriber::registry().with(EnvFilter::new(LOG_FILTER));
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => registry.with(journal).init(),
        None => registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false)).init(),
    }
}
