//! `kithd`: the headless messenger.

use std::alloc::System;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use kithd::config::{self, Bus, Loaded};
use kithd::run::{Daemon, Settings};
use kithd::{Arguments, bus, link};
use tokio::sync::watch;
use tracing::{info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use zeroizing_alloc::ZeroAlloc;

/// Freed memory is overwritten: secrets pass through buffers that are not this program's own, such as those of the
/// message bus.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// How many threads may wait for the disk, for a name server or for a key to be derived. All but a few
/// are idle all the time, and each takes memory of its own once it has run; the runtime's default is 512.
const BLOCKING_THREADS_MAX: usize = 16;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let loaded = config::load(arguments.config.as_deref())?;
    if arguments.show_config {
        return show(&loaded);
    }
    log_to(&loaded.config.log)?;
    let (daemon, handle) = Daemon::new(Settings::new(&loaded.config))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("cannot start the runtime")?;
    let bus = match loaded.config.bus {
        Bus::System => bus::BusAddress::System,
        Bus::Session => bus::BusAddress::Session,
        Bus::Address(address) => bus::BusAddress::Address(address),
    };
    runtime.block_on(async {
        let (stop_in, stop) = watch::channel(false);
        let asked_to_end = asked_to_end()?;
        tokio::spawn(async move {
            asked_to_end.await;
            info!("stopping");
            stop_in.send_replace(true);
        });
        // Whoever waits for this unit may talk to it from now on: a bus that is not there yet, or a
        // locked store, are states that it tells of, not reasons to wait.
        if let Err(error) = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]) {
            warn!(%error, "systemd could not be told that the daemon is ready");
        }
        tokio::spawn(tell_watchdog());
        let mut serving = tokio::spawn(bus::serve(handle, bus));
        let mut running = std::pin::pin!(daemon.run(stop));
        let result = tokio::select! {
            // Without its service the loop ends, too: what ended the service is what there is to say.
            biased;
            served = &mut serving => match served {
                Ok(Err(error)) => Err(anyhow::Error::new(error)),
                Ok(Ok(())) => Ok(()),
                Err(error) => Err(error.into()),
            },
            () = &mut running => Ok(()),
        };
        serving.abort();
        result
    })
}

fn show(loaded: &Loaded) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (key, (value, file)) in &loaded.sources {
        writeln!(out, "{key} = {value}  # {}", file.display())?;
    }
    Ok(())
}

/// To the journal when systemd started this process, else to standard error.
fn log_to(directives: &str) -> anyhow::Result<()> {
    // Levels of targets. Filtering by the contents of spans would bring along regular expressions.
    let filter: Targets = directives.parse().context("the key `log` is not a list of directives")?;
    // They would print remote ICE passwords and addresses.
    let filter = filter.with_targets(link::NOISY_LOG_TARGETS.map(|target| (target, LevelFilter::OFF)));
    let registry = tracing_subscriber::registry().with(filter);
    if std::env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal).try_init()?;
    } else {
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi)).try_init()?;
    }
    Ok(())
}

/// Tells systemd that this thread, on which everything runs that does not wait for the disk, goes on: twice in the time
/// after which the unit's watchdog would end the process.
async fn tell_watchdog() {
    let mut wait_us_max = 0;
    if !sd_notify::watchdog_enabled(false, &mut wait_us_max) {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_micros(wait_us_max / 2));
    loop {
        ticks.tick().await;
        // Whom nobody hears, systemd ends.
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
    }
}

/// Completes when this process is asked to end. The handlers are in place when this returns: from
/// then on a signal ends it in order.
fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
