//! `kith-signal --config FILE [--check-config]`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser as _;
use kith_signal::{Arguments, Config, Deadlines, Inherited, Reloader, Server};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged. The libraries' own events stay out in every mode: they print addresses.
const LOGGED: (&str, LevelFilter) = ("kith_signal", LevelFilter::INFO);

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    log_to_journal_or_stderr();
    let config = read(&arguments.config)?;
    if arguments.check_config {
        kith_signal::check_files(&config)?;
        return Ok(());
    }
    // One thread: the work of a message is a few microseconds under one lock.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?
        .block_on(serve(&arguments.config, &config))
}

fn read(path: &Path) -> anyhow::Result<Config> {
    Config::read(path).with_context(|| format!("in {}", path.display()))
}

async fn serve(path: &Path, config: &Config) -> anyhow::Result<()> {
    // Before the first line of output: whoever reads it may send a signal at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let server = Server::bind_with(config, inherited()?, Deadlines::default()).await?;
    let mut output = std::io::stdout();
    writeln!(output, "listening on {}", server.address())?;
    if let Some(address) = server.operations_address() {
        writeln!(output, "operations on {address}")?;
    }
    output.flush()?;
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(false, &[NotifyState::Ready]);
    let reloading = tokio::spawn(reload(path.to_owned(), hangup, server.reloader()));
    server
        .run(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
        })
        .await;
    reloading.abort();
    Ok(())
}

/// Reads the configuration again as often as it is asked to. What cannot be used changes nothing.
async fn reload(path: PathBuf, mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        let _ = sd_notify::notify(false, &[NotifyState::Reloading]);
        match read(&path).and_then(|config| Ok(reloader.reload(&config)?)) {
            Ok(()) => tracing::info!("the configuration was read again"),
            Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
        }
        let _ = sd_notify::notify(false, &[NotifyState::Ready]);
    }
}

/// The listeners that systemd hands over: the first is for devices, the second for operations.
fn inherited() -> anyhow::Result<Inherited> {
    let mut handed = ListenFd::from_env();
    let mut take = |index| if index < handed.len() { handed.take_tcp_listener(index) } else { Ok(None) };
    let (devices, operations) = (take(0), take(1));
    let context = "a socket that was handed over is not TCP; correct ListenStream= in the socket unit";
    Ok(Inherited { devices: devices.context(context)?, operations: operations.context(context)? })
}

fn log_to_journal_or_stderr() {
    let registry = tracing_subscriber::registry().with(Targets::new().with_targets([LOGGED]));
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => registry.with(journal).init(),
        None => registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false)).init(),
    }
}
