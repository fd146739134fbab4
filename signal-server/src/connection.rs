//! One device's connection: one task, from the challenge to the end.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kith_crypto::identity::ClientId;
use kith_crypto::version::Version;
use kith_signal_protocol::limits::MESSAGE_BYTES_MAX;
use kith_signal_protocol::{Challenge, Goodbye, GoodbyeReason, Instance, Login, ToDevice, ToServer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::access_log::Event;
use crate::frames::{self, Frame, Kind, Reader};
use crate::http::Peer;
use crate::hub::{self, Hub};
use crate::ledger::Entry;
use crate::outbox::Outbox;
use crate::registry::{Accepted, ConnectionId};
use crate::stream::Stream;

/// What is read at once, into a buffer that all connections share.
const READ_BYTES: usize = 16_384;

thread_local! {
    /// Only a frame that has not come whole is kept per connection: most of a server's memory is what each
    /// connection has.
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Bytes that are read and thrown away after the close frame, so that it arrives: closing a
/// socket with unread bytes would reset the connection.
const DISCARD_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// After this a device that came too often may come again.
const OFTEN_RETRY_S: u32 = 10;

enum Phase {
    /// Waiting for the login.
    Challenged { nonce: [u8; 32], until: Instant },
    Online {
        device: ClientId,
        /// Its share of what the identity may use.
        entry: Entry,
    },
}

/// One device's connection.
pub(crate) struct Connection {
    stream: Stream,
    reader: Reader,
    /// Whether the reader has more, which may not be read yet.
    has_more: bool,
    phase: Phase,
    hub: Arc<Hub>,
    id: ConnectionId,
    outbox: Arc<Outbox>,
    peer: Peer,
    /// Its share of what the address may use.
    entry: Arc<Entry>,
    /// When something last came.
    heard: Instant,
    /// When a sign of life was asked for.
    probed: Option<Instant>,
}

/// Why a connection ends.
enum End {
    /// There is nobody to say anything to.
    Gone,
    /// With this close code.
    Close(CloseCode),
}

impl Connection {
    /// Takes a stream over after its upgrade; `read` has been read from it already.
    pub(crate) fn open(
        stream: Stream,
        read: &[u8],
        (peer, entry): (Peer, Arc<Entry>),
        hub: Arc<Hub>,
    ) -> Option<Box<Self>> {
        let mut reader = Reader::new(MESSAGE_BYTES_MAX);
        reader.push(read);
        let mut nonce = [0; 32];
        if let Err(error) = getrandom::fill(&mut nonce) {
            tracing::error!(%error, "no randomness for a challenge");
            return None;
        }
        hub.access_log.write(Event::Connected(peer.address));
        let (id, outbox) = hub.connected();
        let now = Instant::now();
        Some(Box::new(Self {
            stream,
            reader,
            has_more: true,
            phase: Phase::Challenged { nonce, until: now + hub.deadlines.login },
            hub,
            id,
            outbox,
            peer,
            entry,
            heard: now,
            probed: None,
        }))
    }

    /// Serves it to its end. Boxed, because a future holds what is moved into it twice.
    pub(crate) async fn run(mut self: Box<Self>) {
        if let Phase::Challenged { nonce, .. } = self.phase {
            let challenge = Challenge { version: Version::OWN, nonce };
            hub::push(&self.outbox, &ToDevice::Challenge(challenge));
        }
        let end = self.talk().await;
        self.hub.disconnected(self.id);
        if let Phase::Online { device, .. } = self.phase {
            self.hub.access_log.write(Event::Offline(device, self.peer.address));
        }
        if let End::Close(code) = end {
            if code == CloseCode::Again {
                self.hub.metrics.overflows.add();
            }
            // On the heap: only this moment of a connection needs its buffers.
            Box::pin(close(self.stream, code, self.hub.deadlines.close)).await;
        }
    }

    async fn talk(&mut self) -> End {
        let wake = sleep_until(self.next_deadline());
        tokio::pin!(wake);
        loop {
            let outbox = Arc::clone(&self.outbox);
            let wait_us = self.wait_us();
            if wait_us > 0 {
                self.hub.metrics.throttled.add();
                wake.as_mut().reset(Instant::now() + Duration::from_micros(wait_us));
            }
            let step = if self.has_more && wait_us == 0 {
                self.handle_frames()
            } else {
                tokio::select! {
                    biased;
                    () = outbox.changed() => self.write().await,
                    read = read(&mut self.stream, &mut self.reader), if wait_us == 0 => self.handle_read(read),
                    () = &mut wake => {
                        let step = self.handle_deadline();
                        wake.as_mut().reset(self.next_deadline());
                        step
                    }
                }
            };
            if let ControlFlow::Break(end) = step {
                return end;
            }
            // A probe asks for an answer sooner than the deadline that is set.
            let next = self.next_deadline();
            if next < wake.deadline() {
                wake.as_mut().reset(next);
            }
        }
    }

    /// Writes everything that waits, in as few writes as it takes.
    async fn write(&mut self) -> ControlFlow<End> {
        let waiting = self.outbox.take();
        let close = waiting.close;
        if waiting.probe && self.probed.is_none() {
            self.probed = Some(Instant::now());
        }
        let outbox = Arc::clone(&self.outbox);
        let written = tokio::select! {
            biased;
            written = timeout(self.hub.deadlines.write, write_all(&mut self.stream, &waiting.bytes)) => written,
            () = overflowed(&outbox) => return ControlFlow::Break(End::Close(CloseCode::Again)),
        };
        // Whatever came during the write has used up its notice.
        outbox.recheck();
        match (written, close) {
            (Ok(Ok(())), None) => ControlFlow::Continue(()),
            (Ok(Ok(())), Some(code)) => ControlFlow::Break(End::Close(code)),
            (Ok(Err(_)) | Err(_), _) => ControlFlow::Break(End::Gone),
        }
    }

    fn handle_read(&mut self, read: io::Result<usize>) -> ControlFlow<End> {
        if !matches!(read, Ok(1..)) {
            return ControlFlow::Break(End::Gone);
        }
        self.heard = Instant::now();
        self.probed = None;
        self.handle_frames()
    }

    /// Handles what has come, as far as the budgets allow.
    fn handle_frames(&mut self) -> ControlFlow<End> {
        self.has_more = true;
        while self.wait_us() == 0 {
            let message = match self.reader.next() {
                Ok(None) => {
                    self.has_more = false;
                    break;
                }
                Ok(Some(Frame::Message(bytes))) => Some(ToServer::decode(bytes)),
                Ok(Some(Frame::Ping(payload))) => {
                    self.outbox.push(Kind::Pong, payload);
                    None
                }
                Ok(Some(Frame::Part | Frame::Pong)) => None,
                Ok(Some(Frame::Close)) => return ControlFlow::Break(End::Close(CloseCode::Normal)),
                Err(fault) => return ControlFlow::Break(End::Close(fault.into())),
            };
            self.take_message();
            match message {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(message))) => self.handle_message(message)?,
                Some(Err(_)) => return ControlFlow::Break(End::Close(CloseCode::Policy)),
            }
        }
        ControlFlow::Continue(())
    }

    fn handle_message(&mut self, message: ToServer) -> ControlFlow<End> {
        match (&self.phase, message) {
            (Phase::Challenged { nonce, .. }, ToServer::Login(login)) => {
                let nonce = *nonce;
                self.log_in(&login, &nonce);
                ControlFlow::Continue(())
            }
            (Phase::Challenged { .. }, _) => ControlFlow::Break(End::Close(CloseCode::Policy)),
            (Phase::Online { .. }, message) => {
                self.hub.received(self.id, message);
                ControlFlow::Continue(())
            }
        }
    }

    fn log_in(&mut self, login: &Login, nonce: &[u8; 32]) {
        if !login.version.is_compatible(Version::OWN) {
            let text = "this server speaks version 1 of the protocol";
            self.refuse(GoodbyeReason::UnsupportedVersion, text, 0);
        } else if !self.hub.verifies(login, nonce) {
            let text = "the login is not for a name of this server; compare the URL in the device \
                        with server_names in the server's configuration";
            self.refuse(GoodbyeReason::BadLogin, text, 0);
        } else {
            self.enter(login.card.client_id(), login.instance);
        }
    }

    /// The device has proved who it is.
    fn enter(&mut self, device: ClientId, instance: Instance) {
        let Some(entry) = self.hub.admit_device(device) else {
            self.refuse(GoodbyeReason::TooMany, "this device logs in too often", OFTEN_RETRY_S);
            return;
        };
        if self.hub.logged_in(self.id, device, instance) == Accepted::Yes {
            self.phase = Phase::Online { device, entry };
            self.hub.access_log.write(Event::Online(device, self.peer.address));
        } else {
            self.hub.metrics.logins_refused.add();
        }
    }

    fn refuse(&self, reason: GoodbyeReason, text: &str, retry_after_s: u32) {
        self.hub.metrics.logins_refused.add();
        let goodbye = Goodbye { reason, text: text.to_owned(), retry_after_s };
        hub::close(&self.outbox, Some(goodbye));
    }

    fn handle_deadline(&mut self) -> ControlFlow<End> {
        let now = Instant::now();
        if let Phase::Challenged { until, .. } = self.phase
            && until <= now
        {
            self.refuse(GoodbyeReason::TooSlow, "the login did not come in time", 0);
            return ControlFlow::Continue(());
        }
        let idle = self.heard + self.hub.deadlines.idle <= now;
        let mute = self.probed.is_some_and(|probed| probed + self.hub.deadlines.probe <= now);
        if idle || mute { ControlFlow::Break(End::Gone) } else { ControlFlow::Continue(()) }
    }

    fn next_deadline(&self) -> Instant {
        let mut next = self.heard + self.hub.deadlines.idle;
        if let Some(probed) = self.probed {
            next = next.min(probed + self.hub.deadlines.probe);
        }
        if let Phase::Challenged { until, .. } = self.phase {
            next = next.min(until);
        }
        next
    }

    /// Pays for what has come.
    fn take_message(&self) {
        let now_us = self.hub.now_us();
        self.hub.metrics.messages.add();
        self.entry.take_message(now_us);
        if let Phase::Online { entry, .. } = &self.phase {
            entry.take_message(now_us);
        }
    }

    /// How long until the next message may be read: both the device and its address may be over their rate.
    /// Nothing is lost meanwhile, and the sender feels the back pressure of TCP.
    fn wait_us(&self) -> u64 {
        let now_us = self.hub.now_us();
        let device_us = match &self.phase {
            Phase::Online { entry, .. } => entry.wait_us(now_us),
            Phase::Challenged { .. } => 0,
        };
        self.entry.wait_us(now_us).max(device_us)
    }
}

/// Reads what has come; 0 is the end.
async fn read(stream: &mut Stream, reader: &mut Reader) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        SHARED.with_borrow_mut(|shared| {
            let mut buffer = ReadBuf::new(shared);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    reader.push(buffer.filled());
                    Poll::Ready(Ok(buffer.filled().len()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
    })
    .await
}

async fn write_all(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Ends when the outbox has overflowed while what was taken from it is still being written.
async fn overflowed(outbox: &Outbox) {
    while !outbox.has_overflowed() {
        outbox.changed().await;
    }
}

/// Sends a close frame and lets it arrive.
async fn close(mut stream: Stream, code: CloseCode, deadline: Duration) {
    let linger = async {
        let mut frame = Vec::new();
        frames::append(&mut frame, Kind::Close, &u16::from(code).to_be_bytes());
        write_all(&mut stream, &frame).await.ok()?;
        stream.shutdown().await.ok()?;
        let mut discarded = 0;
        let mut buffer = [0; 4_096];
        while discarded < DISCARD_BYTES_MAX {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => discarded += bytes,
            }
        }
        Some(())
    };
    // Whoever does not take the frame in time does without it.
    let _ = timeout(deadline, linger).await;
}
