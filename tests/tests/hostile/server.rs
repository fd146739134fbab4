//! A signaling server that cheats as it is told to. It speaks the protocol to real daemons; where
//! it is not told anything it introduces them as an honest one does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use kith_crypto::identity::ClientId;
use kith_crypto::version::Version;
use kith_signal_protocol::{
    Challenge, IceServers, LoggingMode, Notice, Presence, Relayed, SUBPROTOCOL, ToDevice, ToServer, Token, Via, Welcome,
};
use kith_system_tests::within;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// Far above what anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that wait for one device: then whoever floods it has to wait, too.
const OUTBOX_MAX: usize = 64;

/// A payload on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passing {
    /// Who sent it, as the receiver is told.
    pub(crate) from: ClientId,
    pub(crate) to: ClientId,
    pub(crate) via: Via,
    pub(crate) payload: Vec<u8>,
}

/// What becomes of a payload, given all that passed before.
pub(crate) type Rule = Box<dyn FnMut(&Passing, &[Passing]) -> Vec<Passing> + Send>;

/// Passes everything on as it came.
pub(crate) fn honest() -> Rule {
    Box::new(|passing, _| vec![passing.clone()])
}

struct State {
    devices: BTreeMap<ClientId, mpsc::Sender<Message>>,
    /// How often each has logged in.
    logins: BTreeMap<ClientId, usize>,
    watches: BTreeMap<ClientId, BTreeSet<ClientId>>,
    visible: BTreeSet<(ClientId, ClientId)>,
    invites: BTreeMap<Token, ClientId>,
    rule: Rule,
    /// All payloads, as they were sent.
    passed: Vec<Passing>,
    /// How many of them did not pass as they were sent.
    cheats: usize,
}

/// The server and what it does.
pub(crate) struct HostileServer {
    url: String,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    listener: JoinHandle<()>,
}

impl HostileServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            devices: BTreeMap::new(),
            logins: BTreeMap::new(),
            watches: BTreeMap::new(),
            visible: BTreeSet::new(),
            invites: BTreeMap::new(),
            rule: honest(),
            passed: Vec::new(),
            cheats: 0,
        }));
        let changed = Arc::new(Notify::new());
        let (shared, notify) = (state.clone(), changed.clone());
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone(), notify.clone()));
            }
        });
        Self { url, state, changed, listener }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From now on.
    pub(crate) fn set_rule(&self, rule: Rule) {
        self.state().rule = rule;
    }

    /// All payloads so far, as they were sent.
    pub(crate) fn passed(&self) -> Vec<Passing> {
        self.state().passed.clone()
    }

    /// How many payloads did not pass as they were sent.
    pub(crate) fn cheats(&self) -> usize {
        self.state().cheats
    }

    /// Says something to a device.
    pub(crate) async fn say(&self, to: ClientId, message: &ToDevice) {
        self.say_raw(to, Message::binary(message.encode().unwrap())).await;
    }

    /// Passes something to a device that nobody sent.
    pub(crate) async fn pass(&self, passing: Passing) {
        let Passing { from, to, via, payload } = passing;
        self.say(to, &ToDevice::Relayed(Relayed { from, via, payload })).await;
    }

    /// Says anything at all to a device.
    pub(crate) async fn say_raw(&self, to: ClientId, message: Message) {
        let device = self.state().devices.get(&to).cloned();
        if let Some(device) = device {
            // It may have left.
            let _ = device.send(message).await;
        }
    }

    /// Waits until a device has logged in so often.
    pub(crate) async fn wait_for_logins(&self, id: ClientId, count: usize) {
        self.wait_for("a login", |state| state.logins.get(&id).is_some_and(|logins| *logins >= count)).await;
    }

    pub(crate) fn logins(&self, id: ClientId) -> usize {
        self.state().logins.get(&id).copied().unwrap_or(0)
    }

    /// Waits until a payload has passed for which this is true.
    pub(crate) async fn wait_for_payload(&self, after: usize, wanted: impl Fn(&Passing) -> bool) {
        self.wait_for("a payload", |state| state.passed.iter().skip(after).any(&wanted)).await;
    }

    async fn wait_for(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if condition(&self.state()) {
                    return Ok(());
                }
                changed.await;
            }
        };
        within(PATIENCE, what, wait).await.unwrap();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>, changed: Arc<Notify>) {
    let Some((id, outbox)) = talk(stream, &state, &changed).await else { return };
    let mut locked = state.lock().unwrap();
    // A device that came back has another queue.
    if locked.devices.get(&id).is_some_and(|present| present.same_channel(&outbox)) {
        locked.devices.remove(&id);
        locked.watches.remove(&id);
        locked.invites.retain(|_, holder| *holder != id);
        locked.tell_presence();
    }
    drop(locked);
    changed.notify_waiters();
}

/// One connection, to its end; who it was.
async fn talk(stream: TcpStream, state: &Mutex<State>, changed: &Notify) -> Option<(ClientId, mpsc::Sender<Message>)> {
    let mut socket = accept_hdr_async(stream, with_subprotocol).await.ok()?;
    let challenge = ToDevice::Challenge(Challenge { version: Version::OWN, nonce: [7; 32] });
    socket.send(Message::binary(challenge.encode().unwrap())).await.ok()?;
    let login = loop {
        if let Message::Binary(bytes) = socket.next().await?.ok()? {
            break ToServer::decode(&bytes).unwrap();
        }
    };
    let Some(ToServer::Login(login)) = login else { panic!("no login but {login:?}") };
    let id = login.card.client_id();
    let notice = Notice { mode: LoggingMode::Active, text: "This server cheats.".to_owned() };
    let welcome = ToDevice::Welcome(Welcome { version: Version::OWN, notice });
    socket.send(Message::binary(welcome.encode().unwrap())).await.ok()?;
    let (outbox, mut outgoing) = mpsc::channel(OUTBOX_MAX);
    {
        let mut state = state.lock().unwrap();
        state.devices.insert(id, outbox.clone());
        *state.logins.entry(id).or_default() += 1;
    }
    changed.notify_waiters();
    loop {
        tokio::select! {
            message = outgoing.recv() => {
                if socket.send(message?).await.is_err() {
                    break;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    let said = ToServer::decode(&bytes).unwrap();
                    state.lock().unwrap().hear(id, said);
                    changed.notify_waiters();
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    Some((id, outbox))
}

#[expect(clippy::result_large_err, reason = "the library's callback has this type")]
fn with_subprotocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
    Ok(response)
}

impl State {
    fn hear(&mut self, id: ClientId, said: Option<ToServer>) {
        match said {
            Some(ToServer::Watch(watch)) => {
                let watched = self.watches.entry(id).or_default();
                watched.retain(|peer| !watch.remove.contains(peer));
                watched.extend(watch.add);
                self.tell_presence();
            }
            Some(ToServer::OpenInvite(token)) => drop(self.invites.entry(token).or_insert(id)),
            Some(ToServer::CloseInvite(token)) => drop(self.invites.remove(&token)),
            Some(ToServer::Relay(relay)) => {
                let passing = Passing { from: id, to: relay.to, via: relay.via, payload: relay.payload };
                let becomes = (self.rule)(&passing, &self.passed);
                self.cheats += usize::from(becomes.as_slice() != [passing.clone()]);
                self.passed.push(passing);
                for Passing { from, to, via, payload } in becomes {
                    self.put(to, &ToDevice::Relayed(Relayed { from, via, payload }));
                }
            }
            Some(ToServer::IceRequest) => {
                self.put(id, &ToDevice::IceServers(IceServers { servers: Vec::new(), lifetime_s: 600 }));
            }
            Some(ToServer::Login(_) | ToServer::EnterRoom(_) | ToServer::LeaveRoom(_)) | None => {}
        }
    }

    /// Tells of presence as an honest server does.
    fn tell_presence(&mut self) {
        let mut visible = BTreeSet::new();
        for (watcher, watched) in &self.watches {
            let seen = watched.iter().filter(|id| self.watches.get(id).is_some_and(|back| back.contains(watcher)));
            visible.extend(seen.map(|id| (*watcher, *id)));
        }
        let before = std::mem::replace(&mut self.visible, visible.clone());
        for (watcher, peer) in before.symmetric_difference(&visible) {
            let online = visible.contains(&(*watcher, *peer));
            self.put(*watcher, &ToDevice::Presence(Presence { peer: *peer, online }));
        }
    }

    fn put(&self, to: ClientId, message: &ToDevice) {
        if let Some(device) = self.devices.get(&to) {
            // A device that does not read misses something; the network does that, too.
            let _ = device.try_send(Message::binary(message.encode().unwrap()));
        }
    }
}
