//! A UDP socket that takes one datagram at a time.
//!
//! The library asks the kernel to join datagrams (UDP_GRO) and keeps room for 64 of them twice over,
//! 192 kB for each connection and 96 kB more for each further address. That pays for a stream of video;
//! for messages it was most of the memory of an idle link.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Runtime, TokioRuntime, Transmit};

/// Makes a socket of the runtime's kind that keeps room for one datagram.
pub(super) fn wrap(runtime: &TokioRuntime, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let same = socket.try_clone()?;
    let wrapped = runtime.wrap_udp_socket(socket)?;
    // After the library has switched it on. Where the kernel refuses, it may still join datagrams:
    // then the room has to stay.
    match setsockopt(&same, UdpGroSegment, &false) {
        Ok(()) => Ok(Arc::new(Single(wrapped))),
        Err(_) => Ok(wrapped),
    }
}

/// A socket whose datagrams come one by one.
#[derive(Debug)]
struct Single(Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for Single {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, bufs, meta)
    }

    /// Sending many at once needs no room.
    fn max_gso_segments(&self) -> usize {
        self.0.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_that_the_kernel_could_join_comes_as_single_datagrams() {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = receiver.local_addr().unwrap();
        let (sender, receiver) = (wrap(&TokioRuntime, sender).unwrap(), wrap(&TokioRuntime, receiver).unwrap());
        assert_eq!(receiver.max_gro_segments(), 1);

        let burst = vec![7; 3 * 1_000];
        let transmit =
            Transmit { destination: address, ecn: None, contents: &burst, segment_size: Some(1_000), src_ip: None };
        let sent = std::future::poll_fn(|cx| sender.poll_send(cx, &transmit)).await.unwrap();
        assert_eq!(sent, burst.len());
        for _ in 0..3 {
            // The library's own room for a single datagram.
            let mut buffer = [0; 2_000];
            let (received, from) = receiver.recv_from(&mut buffer).await.unwrap();
            assert_eq!((received, from), (1_000, sender.local_addr().unwrap()));
        }
    }
}
