//! The PROXY header (haproxy's proxy-protocol.txt, §2.1 and §2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::access_log::PeerAddress;

/// Begins version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, end of line included (§2.1).
const LINE_BYTES_MAX: usize = 107;

/// The addresses of version 2 and what may follow them; a header fits into one packet (§2.2).
const BLOCK_BYTES_MAX: usize = 1_400;

/// Why a header does not count; the connection ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoHeader;

/// Reads a header to its last byte and not further. `None` is a connection of the proxy's own, such as a
/// health check.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<PeerAddress>, NoHeader> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await.map_err(|_| NoHeader)?;
    if start == SIGNATURE { read_binary(stream).await } else { read_line(stream, start).await }
}

async fn read_line(
    stream: &mut (impl AsyncRead + Unpin),
    start: [u8; SIGNATURE.len()],
) -> Result<Option<PeerAddress>, NoHeader> {
    let mut line = start.to_vec();
    if !line.starts_with(b"PROXY ") {
        return Err(NoHeader);
    }
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(NoHeader);
        }
        line.push(stream.read_u8().await.map_err(|_| NoHeader)?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| NoHeader)?;
    let mut words = line.trim_end().split(' ').skip(1);
    let source = match words.next() {
        Some("TCP4") => words.next().and_then(|word| word.parse::<Ipv4Addr>().ok()).map(IpAddr::V4),
        Some("TCP6") => words.next().and_then(|word| word.parse::<Ipv6Addr>().ok()).map(IpAddr::V6),
        Some("UNKNOWN") => return Ok(None),
        _ => None,
    };
    source.map(|source| Some(PeerAddress::new(source))).ok_or(NoHeader)
}

async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<PeerAddress>, NoHeader> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(|_| NoHeader)?;
    let [command, family, length @ ..] = head;
    let mut block = vec![0; usize::from(u16::from_be_bytes(length))];
    if block.len() > BLOCK_BYTES_MAX {
        return Err(NoHeader);
    }
    stream.read_exact(&mut block).await.map_err(|_| NoHeader)?;
    match (command, family) {
        // LOCAL: the proxy itself.
        (0x20, _) => Ok(None),
        (0x21, 0x11) => source(&block).map(|source: [u8; 4]| Some(PeerAddress::new(source.into()))),
        (0x21, 0x21) => source(&block).map(|source: [u8; 16]| Some(PeerAddress::new(source.into()))),
        _ => Err(NoHeader),
    }
}

/// The source address stands first in the block.
fn source<const N: usize>(block: &[u8]) -> Result<[u8; N], NoHeader> {
    block.first_chunk().copied().ok_or(NoHeader)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a header says, and what is left to read.
    async fn reading(bytes: &[u8]) -> (Result<Option<String>, NoHeader>, usize) {
        let mut rest = bytes;
        let said = read(&mut rest).await;
        (said.map(|address| address.map(|address| address.anonymised().to_string())), rest.len())
    }

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, block, b"GET"].concat()
    }

    #[tokio::test]
    async fn a_line_names_the_device_and_nothing_behind_it_is_read() {
        let of = |line: &'static str| async move { reading(line.as_bytes()).await };
        let line = "PROXY TCP4 203.0.113.9 198.51.100.1 40000 443\r\nGET";
        assert_eq!(of(line).await, (Ok(Some("203.0.113.0".to_owned())), 3));
        let line = "PROXY TCP6 2001:db8:1:2::3 ::1 40000 443\r\nGET";
        assert_eq!(of(line).await, (Ok(Some("2001:db8:1::".to_owned())), 3));
        assert_eq!(of("PROXY UNKNOWN\r\nGET").await, (Ok(None), 3));
    }

    #[tokio::test]
    async fn a_binary_header_names_the_device_and_nothing_behind_it_is_read() {
        let v4 = [203, 0, 113, 9, 198, 51, 100, 1, 0x9c, 0x40, 1, 0xbb];
        assert_eq!(reading(&binary(0x21, 0x11, &v4)).await, (Ok(Some("203.0.113.0".to_owned())), 3));
        let mut v6 = [0; 36];
        v6[..8].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 1, 0, 2]);
        // Further fields may follow the addresses.
        let block = [&v6[..], &[4, 0, 1, 0]].concat();
        assert_eq!(reading(&binary(0x21, 0x21, &block)).await, (Ok(Some("2001:db8:1::".to_owned())), 3));
        assert_eq!(reading(&binary(0x20, 0, &[])).await, (Ok(None), 3));
    }

    #[tokio::test]
    async fn anything_else_is_no_header() {
        for wrong in [
            b"".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9".to_vec(),
            b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n".to_vec(),
            b"PROXY SCTP 1 2 3 4\r\n".to_vec(),
            [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(),
            binary(0x31, 0x11, &[0; 12]),
            binary(0x21, 0x31, &[0; 216]),
            binary(0x21, 0x11, &[0; 3]),
            binary(0x21, 0x11, &[0; 2_000]),
        ] {
            assert_eq!(reading(&wrong).await.0, Err(NoHeader), "{wrong:?}");
        }
    }
}
