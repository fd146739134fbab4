//! Listens to the kernel.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use tokio::net::UnixDatagram;
use tokio::sync::watch as state;
use tokio::time::sleep;

use super::{Network, addresses};

/// Multicast groups of rtnetlink(7): interfaces, IPv4 addresses, IPv6 addresses.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// One change makes several messages; they are looked at together.
const SETTLE: Duration = Duration::from_millis(20);

/// Watches this device's addresses on the running runtime, until the last listener is gone. Where the kernel does
/// not tell of changes, none are heard of.
pub fn watch() -> Network {
    let socket = match listen() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, "changes of the network are noticed late: the kernel cannot be listened to");
            return Network::default();
        }
    };
    // After the socket is there, so that no change lies between the two.
    let (told, heard) = state::channel(Arc::from(addresses()));
    tokio::spawn(async move {
        tokio::select! {
            () = told.closed() => {}
            error = tell(&socket, &told) => {
                tracing::warn!(%error, "changes of the network are noticed late: the kernel tells no more");
            }
        }
    });
    Network(Some(heard))
}

/// A socket of the kernel's messages. It is read like any other of datagrams.
fn listen() -> io::Result<UnixDatagram> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    UnixDatagram::from_std(std::os::unix::net::UnixDatagram::from(socket))
}

/// Tells of each change until the kernel cannot be heard.
async fn tell(socket: &UnixDatagram, told: &state::Sender<Arc<[IpAddr]>>) -> io::Error {
    loop {
        if let Err(error) = hear(socket).await {
            return error;
        }
        sleep(SETTLE).await;
        drain(socket);
        let now = addresses();
        told.send_if_modified(|known| {
            let is_new = **known != *now;
            if is_new {
                tracing::info!(addresses = now.len(), "the network has changed");
                *known = Arc::from(now);
            }
            is_new
        });
    }
}

/// Waits for a message. What it says is looked up: it may be older than what holds now.
async fn hear(socket: &UnixDatagram) -> io::Result<()> {
    match socket.recv(&mut [0; 64]).await {
        // Too many came at a time and some are lost, which is as good as having heard them.
        Err(error) if error.raw_os_error() != Some(Errno::ENOBUFS as i32) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Takes the messages that have come meanwhile.
fn drain(socket: &UnixDatagram) {
    while socket.try_recv(&mut [0; 64]).is_ok() {}
}
