//! The suite of the signaling server: what a connection costs it, and how much it relays for its time.
//!
//! Beside it run npm's `peer`, which does the same for browsers, and a TCP echo that does nothing else
//! than read and write. Each is a process of its own with one thread for its work; the clients are all
//! in this process. What counts is the server's own time and memory, so that they may share the machine.

mod memory;
mod relay;
mod subject;
mod wire;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::report::Report;

/// What the echo reads at once, as the signaling server does.
const ECHO_BYTES: usize = 16_384;

/// Measures everything.
pub(crate) async fn run(report: &mut Report) -> Result<()> {
    // As many files as the system allows; started programs inherit it.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).context("the limit of open files")?;
    memory::measure(report).await?;
    relay::measure(report).await
}

/// Sends back what it is sent, for ever: the least that a relay can do.
pub(crate) async fn echo() -> Result<()> {
    use std::io::Write as _;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut buffer = vec![0; ECHO_BYTES];
            while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..bytes]).await.is_err() {
                    break;
                }
            }
        });
    }
}
