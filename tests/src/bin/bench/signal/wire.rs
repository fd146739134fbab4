//! A client of any of the servers, as small as it can be: it shares the processor with them.

use anyhow::{Context as _, Result, bail, ensure};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kith_crypto::identity::{ClientId, Identity, LoginChallenge};
use kith_crypto::version::Version;
use kith_signal_protocol::{Login, PATH, Relay, SUBPROTOCOL, ToDevice, ToServer, Via, Watch};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::subject::{Dialect, NAME, Subject};

/// A short offer, in bytes.
const PAYLOAD_BYTES: usize = 100;

/// Bytes read at once.
const READ_BYTES: usize = 16_384;

/// First bytes of a client's frames.
const BINARY: u8 = 0x82;
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

/// One connection.
pub(super) struct Wire {
    dialect: Dialect,
    stream: Box<dyn Io>,
    come: Vec<u8>,
    name: Name,
}

/// Under which the others reach this client.
#[derive(Clone)]
enum Name {
    Id(ClientId),
    Text(String),
}

impl Wire {
    /// Connects, and logs in where there is a login.
    pub(super) async fn connect(subject: &Subject, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(&subject.address).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Io> = match &subject.tls {
            None => Box::new(stream),
            Some(connector) => Box::new(connector.connect(ServerName::try_from(NAME)?, stream).await?),
        };
        let name = Name::Text(format!("client-{number}"));
        let mut wire = Self { dialect: subject.dialect, stream, come: Vec::new(), name };
        match subject.dialect {
            Dialect::Echo => {}
            Dialect::Peer => {
                let path = format!("/peerjs?key=peerjs&id=client-{number}&token=token&version=1");
                wire.upgrade(&path, "").await?;
                wire.next_frame(|frame| frame.windows(4).any(|word| word == b"OPEN")).await?;
            }
            Dialect::Kith | Dialect::KithOverTls => {
                wire.upgrade(PATH, &format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n")).await?;
                wire.log_in().await?;
            }
        }
        Ok(wire)
    }

    async fn upgrade(&mut self, path: &str, more: &str) -> Result<()> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        loop {
            if let Some(end) = self.come.windows(4).position(|end| end == b"\r\n\r\n") {
                ensure!(self.come.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&self.come));
                self.come.drain(..end + 4);
                return Ok(());
            }
            self.read().await?;
        }
    }

    async fn log_in(&mut self) -> Result<()> {
        let identity = Identity::generate(&mut UnwrapErr(SysRng));
        let ToDevice::Challenge(challenge) = self.hear().await? else { bail!("no challenge") };
        let signed = LoginChallenge { server_name: NAME, nonce: &challenge.nonce };
        let login = Login {
            version: Version::OWN,
            card: identity.card().clone(),
            instance: [0; 16],
            signature: identity.sign_login(&signed),
        };
        self.say(&ToServer::Login(Box::new(login))).await?;
        let ToDevice::Welcome(_) = self.hear().await? else { bail!("not welcome") };
        self.name = Name::Id(identity.client_id());
        Ok(())
    }

    /// Lets two clients reach each other.
    pub(super) async fn befriend(&mut self, other: &mut Self) -> Result<()> {
        let (Name::Id(own), Name::Id(others)) = (&self.name, &other.name) else { return Ok(()) };
        let (own, others) = (*own, *others);
        let watch = |id| ToServer::Watch(Watch { add: vec![id], remove: Vec::new() });
        self.say(&watch(others)).await?;
        other.say(&watch(own)).await?;
        for wire in [self, other] {
            let ToDevice::Presence(_) = wire.hear().await? else { bail!("no presence") };
        }
        Ok(())
    }

    /// The bytes of one message to `other`.
    pub(super) fn message_to(&self, other: &Self) -> Result<Vec<u8>> {
        Ok(match &other.name {
            Name::Id(id) => {
                let relay = Relay { to: *id, via: Via::Contact, payload: vec![b'x'; PAYLOAD_BYTES] };
                frame(BINARY, &ToServer::Relay(relay).encode()?)
            }
            Name::Text(_) if self.dialect == Dialect::Echo => frame(BINARY, &[b'x'; PAYLOAD_BYTES]),
            Name::Text(name) => {
                let payload = "x".repeat(PAYLOAD_BYTES);
                frame(TEXT, format!(r#"{{"type":"OFFER","dst":"{name}","payload":"{payload}"}}"#).as_bytes())
            }
        })
    }

    /// Writes bytes as they are.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await.map_err(Into::into)
    }

    /// A sign of life.
    pub(super) async fn ping(&mut self) -> Result<()> {
        self.write(&frame(PING, &[])).await
    }

    /// Waits for messages; how many came at once. `bytes` is the length of what an echo sends back.
    pub(super) async fn messages(&mut self, bytes: usize) -> Result<usize> {
        let mut count = 0;
        while count == 0 {
            self.read().await?;
            if self.dialect == Dialect::Echo {
                count = self.come.len() / bytes;
                self.come.drain(..count * bytes);
            } else {
                while let Some((start, end)) = whole_frame(&self.come) {
                    // What else may come is shorter than a payload: presence, pongs.
                    count += usize::from(end - start >= PAYLOAD_BYTES);
                    self.come.drain(..end);
                }
            }
        }
        Ok(count)
    }

    async fn say(&mut self, message: &ToServer) -> Result<()> {
        self.write(&frame(BINARY, &message.encode()?)).await
    }

    async fn hear(&mut self) -> Result<ToDevice> {
        let payload = self.next_frame(|frame| !frame.is_empty()).await?;
        ToDevice::decode(&payload)?.context("an unknown message")
    }

    /// The next frame's payload that is wanted.
    async fn next_frame(&mut self, is_wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        loop {
            while let Some((start, end)) = whole_frame(&self.come) {
                let payload = self.come[start..end].to_vec();
                self.come.drain(..end);
                if is_wanted(&payload) {
                    return Ok(payload);
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        let mut buffer = [0; READ_BYTES];
        let bytes = self.stream.read(&mut buffer).await?;
        ensure!(bytes > 0, "the server has closed");
        self.come.extend_from_slice(&buffer[..bytes]);
        Ok(())
    }
}

/// A client's frame, with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut frame = vec![first];
    if length < 126 {
        frame.push(0x80 | length as u8);
    } else {
        frame.push(0x80 | 126);
        frame.extend((length as u16).to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Where the payload of the first frame is, if it has come whole. Servers do not mask, and none of these
/// sends as much as 64 KiB.
fn whole_frame(come: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *come.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes([*come.get(2)?, *come.get(3)?]))),
        short => (2, usize::from(short)),
    };
    (come.len() >= start + length).then_some((start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_only_when_it_has_come_whole() {
        let short = [&[BINARY, 3][..], b"abc"].concat();
        assert_eq!(whole_frame(&short), Some((2, 5)));
        assert_eq!(whole_frame(&short[..4]), None);
        let long = [&[BINARY, 126, 1, 0][..], &[7; 256]].concat();
        assert_eq!(whole_frame(&long), Some((4, 260)));
        assert_eq!(whole_frame(&long[..259]), None);
        assert_eq!(frame(PING, &[]), [0x89, 0x80, 0, 0, 0, 0]);
    }
}
