//! The loop while the store is open: the only owner of the engine.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use kith_crypto::{identity::ClientId, residue};
use kith_engine::{CommitError, CommitId, Effect, Engine, LoadId, Loaded, Reply, Request, RequestId, Signal};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use super::backup::{self, Opened};
use super::clock::now;
use super::end::{Done, End};
use super::retention::Keeper;
use super::secret::Wrong;
use super::{Next, Settings, check, entropy, journal, publish, retention, secret, stopped, wiped};
use crate::backup::{Access, Form, Plan};
use crate::handle::{Call, CallError, DaemonState, Desk, Read, Row, Status};
use crate::link::{self, LinkReport, Links};
use crate::network::{self, Network};
use crate::signaling;
use crate::store::{Folder, Keyholder, Reader, Writer};
use crate::task::{TaskId, TaskKind};

/// Reads of history that run side by side; each holds at most one page.
const READS_MAX: usize = 4;
/// Results of loads that wait for the loop: one per peer and a few repeats.
const LOADS_MAX: usize = 256;

/// Overwritten of the stack after each input: handshakes go deepest, and an optimized build needs a fraction of it.
const STACK_BYTES: usize = 64 * 1024;

struct Ready<'a> {
    engine: Engine,
    writer: Writer,
    keyholder: Keyholder,
    reader: Reader,
    links: Links,
    server: Option<signaling::Client>,
    loaded_in: mpsc::Sender<(LoadId, Loaded)>,
    reads: Arc<Semaphore>,
    replies: BTreeMap<RequestId, oneshot::Sender<Result<Reply, CallError>>>,
    next_request: u64,
    keeper: Keeper,
    wrong: Wrong,
    folder: &'a Folder,
    client_id: ClientId,
    ends_in: mpsc::Sender<End>,
    /// Commits that the writer could not take.
    refused: VecDeque<(CommitId, CommitError)>,
    desk: &'a Desk,
}

/// What the rooms send to the loop.
struct Inputs {
    loaded: mpsc::Receiver<(LoadId, Loaded)>,
    links: mpsc::Receiver<(kith_engine::LinkId, LinkReport)>,
    signals: Option<mpsc::Receiver<Signal>>,
    network: Network,
    /// What takes the store away, once it is certain: the backup is whole.
    ends: mpsc::Receiver<End>,
}

/// What a pass of the loop found.
enum Input {
    Call(Call),
    Committed(CommitId, Result<(), CommitError>),
    Loaded(LoadId, Loaded),
    Link(kith_engine::LinkId, LinkReport),
    Signal(Signal),
    /// This device has other addresses than before.
    Network,
    End(End),
    Timeout,
    Stop,
}

pub(super) async fn run(
    opened: Opened,
    folder: &Folder,
    wrong: &Wrong,
    settings: &Settings,
    desk: &mut Desk,
    stop: &mut watch::Receiver<bool>,
) -> Next {
    let (identity, stored, writer, reader) = opened.store.into_parts();
    let keyholder = writer.keyholder();
    show_sealing(&keyholder, desk);
    let client_id = identity.client_id();
    let network = network::watch();
    let (server, signals) = connect(settings, &identity, &network);
    let (links, link_reports) =
        Links::new(link::Settings { addresses: settings.link.addresses.clone(), network: network.clone() });
    let (loaded_in, loaded) = mpsc::channel(LOADS_MAX);
    let engine_settings =
        kith_engine::Settings { signaling_urls: settings.signaling.urls(), relay_only: settings.link.relay_only };
    let engine = Engine::new(identity, engine_settings, stored);
    let (ends_in, ends) = mpsc::channel(1);
    let mut inputs = Inputs { loaded, links: link_reports, signals, network, ends };
    let keeper = Keeper::start(
        writer.trimmer(),
        settings.retention.clone(),
        retention::choice(&reader).await,
        desk.retention.clone(),
    );
    desk.pin_set.send_replace(secret::has_pin(&reader).await);
    desk.status.send_replace(Status { state: DaemonState::Ready, client_id: Some(client_id) });
    info!("ready");
    if let Some(imported) = opened.imported {
        imported.end();
    }
    let end = {
        let mut ready = Ready {
            engine,
            writer,
            keyholder,
            reader,
            links,
            server,
            loaded_in,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            replies: BTreeMap::new(),
            next_request: 1,
            keeper,
            wrong: wrong.clone(),
            folder,
            client_id,
            ends_in,
            refused: VecDeque::new(),
            desk: &Desk {
                calls: mpsc::channel(1).1,
                events: desk.events.clone(),
                status: desk.status.clone(),
                retention: desk.retention.clone(),
                pin_set: desk.pin_set.clone(),
                tasks: desk.tasks.clone(),
            },
        };
        let end = ready.serve(&mut inputs, &mut desk.calls, stop).await;
        ready.close(inputs).await;
        end
    };
    match end {
        None => Next::Stop,
        Some(end) => end.carry_out(folder, client_id, desk).await,
    }
}

/// Shows how far the sealing of what lies in clear has come, if there is any. Where other long work
/// is under way it goes on unseen; the journal has its beginning and its end.
fn show_sealing(keyholder: &Keyholder, desk: &Desk) {
    if keyholder.is_sealing()
        && let Ok(task) = desk.tasks.begin(TaskKind::Sealing)
    {
        keyholder.show_sealing(task);
    }
}

fn connect(
    settings: &Settings,
    identity: &Arc<kith_crypto::identity::Identity>,
    network: &Network,
) -> (Option<signaling::Client>, Option<mpsc::Receiver<Signal>>) {
    if settings.signaling.url.is_none() {
        warn!("no signaling server is configured: set signaling.url in /etc/kith/kithd.toml");
        return (None, None);
    }
    let settings = signaling::Settings {
        urls: settings.signaling.urls(),
        allow_plain: settings.signaling.allow_plain,
        instance: settings.instance,
        network: network.clone(),
    };
    match signaling::spawn(settings, identity.clone()) {
        Ok((client, signals)) => (Some(client), Some(signals)),
        Err(error) => {
            warn!("no signaling server: {error}");
            (None, None)
        }
    }
}

impl Ready<'_> {
    /// Runs until the program ends, or until the store is to be closed.
    async fn serve(
        &mut self,
        inputs: &mut Inputs,
        calls: &mut mpsc::Receiver<Call>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<End> {
        loop {
            self.perform();
            let timeout = self.engine.poll_timeout().map(|at| at.saturating_sub(now().boot_ms));
            if timeout == Some(0) {
                // Before the next input, however many of them wait.
                self.take(Input::Timeout);
                continue;
            }
            match next(&mut self.writer, inputs, calls, stop, timeout).await {
                Input::Stop => return None,
                Input::Call(Call::Lock { done }) => return Some(End::Lock(done)),
                Input::Call(Call::Wipe { done }) => return Some(End::Wipe(done)),
                Input::End(end) => return Some(end),
                input => self.take(input),
            }
        }
    }

    /// Gives the engine an input, and leaves nothing of what it does with keys on the stack.
    fn take(&mut self, input: Input) {
        residue::wiped::<STACK_BYTES, _>(|| match input {
            // The loop itself takes them.
            Input::Stop | Input::End(_) => {}
            Input::Call(call) => self.call(call),
            Input::Committed(id, result) => self.engine.handle_committed(id, result, now(), &mut entropy()),
            Input::Loaded(id, loaded) => self.engine.handle_loaded(id, loaded, now(), &mut entropy()),
            Input::Link(id, LinkReport::Event(event)) => {
                debug!(link = id.0, event = event.name(), "link");
                self.engine.handle_link(id, event, now(), &mut entropy());
            }
            Input::Link(id, LinkReport::Frame(mut frame)) => {
                self.engine.handle_frame(id, &mut frame, now(), &mut entropy());
            }
            Input::Signal(signal) => self.engine.handle_signal(signal, now(), &mut entropy()),
            Input::Network => self.engine.handle_network(now(), &mut entropy()),
            Input::Timeout => self.engine.handle_timeout(now(), &mut entropy()),
        });
    }

    /// Ends everything in order; what was accepted reaches the disk.
    async fn close(self, inputs: Inputs) {
        self.desk.tasks.cancel_all();
        self.reader.revoke();
        drop(inputs.signals);
        drop(self.server);
        drop(self.links);
        drop(self.keeper);
        let writer = self.writer;
        // The queue's last commits and an fsync.
        if let Err(error) = tokio::task::spawn_blocking(move || wiped(|| writer.close())).await {
            warn!(%error, "the store's writer ended badly");
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Engine { request, done } => self.request(request, done),
            Call::Read { read, done } => self.read(read, done),
            Call::Snapshot { done } => drop(done.send(Ok(self.engine.snapshot()))),
            Call::SetUp { done, .. } => drop(done.send(Err(CallError::AlreadySetUp))),
            Call::Prove { proof, done } => self.prove(proof, done),
            Call::SetPin { old, new, done } => self.set_pin(old, new, done),
            Call::ChooseRetention { choice, done } => self.keeper.choose(choice, done),
            Call::Check { done } => drop(done.send(self.check())),
            Call::Export { file, plain, done } => drop(done.send(self.export(file, plain))),
            Call::Import { file, plan, done } => drop(done.send(self.import(file, plan))),
            Call::ChangeSecret { old, new, done } => self.change_secret(old, new, done),
            Call::RotateKey { done } => drop(done.send(self.rotate_key())),
            // Already open.
            Call::Unlock { done, .. } => drop(done.send(Ok(()))),
            // `serve` takes them.
            Call::Lock { done } | Call::Wipe { done } => drop(done.send(Err(CallError::Busy))),
        }
    }

    fn prove(&self, proof: Zeroizing<String>, done: Done) {
        let (reader, keyholder, attempts) = (self.reader.clone(), self.keyholder.clone(), self.wrong.pins.clone());
        // Whoever asked may have gone.
        tokio::task::spawn_blocking(move || {
            done.send(wiped(|| secret::proven(&reader, &keyholder, &attempts, &proof)))
        });
    }

    fn set_pin(&self, old: Option<Zeroizing<String>>, new: Zeroizing<String>, done: Done) {
        let (reader, keyholder, attempts) = (self.reader.clone(), self.keyholder.clone(), self.wrong.pins.clone());
        let pin_set = self.desk.pin_set.clone();
        // Whoever asked may have gone; the PIN is changed all the same.
        tokio::task::spawn_blocking(move || {
            let changed = wiped(|| secret::pin_changed(&reader, &keyholder, &attempts, old.as_ref(), &new));
            done.send(changed.map(|is_set| {
                pin_set.send_replace(is_set);
            }))
        });
    }

    fn check(&self) -> Result<TaskId, CallError> {
        let task = self.desk.tasks.begin(TaskKind::Check)?;
        let (id, reader) = (task.id(), self.reader.clone());
        tokio::task::spawn_blocking(move || wiped(|| check::work(&reader, task)));
        Ok(id)
    }

    fn export(&self, file: File, plain: bool) -> Result<TaskId, CallError> {
        let task = self.desk.tasks.begin(TaskKind::Export)?;
        let id = task.id();
        let (reader, keyholder) = (self.reader.clone(), self.keyholder.clone());
        let source = backup::Source { reader, keyholder, form: if plain { Form::Plain } else { Form::Encrypted } };
        tokio::task::spawn_blocking(move || wiped(|| backup::export(&source, file, task)));
        Ok(id)
    }

    /// Reads a backup beside the traffic; the store is closed only when it can be replaced.
    fn import(&self, file: File, plan: Plan) -> Result<TaskId, CallError> {
        let task = self.desk.tasks.begin(TaskKind::Import)?;
        let id = task.id();
        let (folder, ends) = (self.folder.clone(), self.ends_in.clone());
        let access = Access::Open(self.client_id, self.keyholder.clone());
        let reading =
            tokio::task::spawn_blocking(move || wiped(|| backup::import(&folder, &access, file, &plan, task)));
        tokio::spawn(async move {
            if let Ok(Some(import)) = reading.await {
                // In vain where the loop has ended meanwhile; the task learns that.
                drop(ends.send(End::Import(Box::new(import))).await);
            }
        });
        Ok(id)
    }

    /// The old secret is judged as at the unlocking: whoever guesses here is slowed down, too.
    fn change_secret(&self, old: Zeroizing<String>, new: Zeroizing<String>, done: Done) {
        let (keyholder, attempts) = (self.keyholder.clone(), self.wrong.secrets.clone());
        // Whoever asked may have gone; the secret is changed all the same.
        tokio::task::spawn_blocking(move || done.send(wiped(|| secret::changed(&keyholder, &attempts, &old, &new))));
    }

    fn rotate_key(&self) -> Result<TaskId, CallError> {
        let task = self.desk.tasks.begin(TaskKind::Rotation)?;
        let id = task.id();
        self.keyholder.rotate(task);
        Ok(id)
    }

    fn request(&mut self, request: Request, done: oneshot::Sender<Result<Reply, CallError>>) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.replies.insert(id, done);
        self.engine.handle_request(id, request, now(), &mut entropy());
    }

    fn read(&mut self, read: Read, done: oneshot::Sender<Result<Vec<Row>, CallError>>) {
        let (reader, reads) = (self.reader.clone(), self.reads.clone());
        tokio::spawn(async move {
            // The semaphore is never closed.
            let Ok(_permit) = reads.acquire().await else { return };
            let rows = tokio::task::spawn_blocking(move || wiped(|| reader.read(read))).await;
            let rows = match rows {
                Ok(rows) => rows.map_err(CallError::from),
                Err(_) => Err(CallError::Stopping),
            };
            let _ = done.send(rows);
        });
    }

    /// Performs what the engine wants, until it wants nothing more.
    fn perform(&mut self) {
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                self.effect(effect);
            }
            let Some((id, error)) = self.refused.pop_front() else { return };
            self.engine.handle_committed(id, Err(error), now(), &mut entropy());
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Commit(commit) => {
                let id = commit.id;
                if let Err(error) = self.writer.submit(commit) {
                    self.refused.push_back((id, CommitError::Failed(error.to_string())));
                }
            }
            Effect::Load(id, load) => {
                let (reader, results) = (self.reader.clone(), self.loaded_in.clone());
                tokio::spawn(async move {
                    let loaded = tokio::task::spawn_blocking(move || wiped(|| reader.load(load))).await;
                    let loaded = loaded.unwrap_or_else(|error| Loaded::Failed(error.to_string()));
                    // The loop may have ended.
                    let _ = results.send((id, loaded)).await;
                });
            }
            Effect::Transmit(link, message) => self.links.transmit(link, message),
            Effect::Signal(signal) => {
                if let Some(server) = &self.server
                    && !server.send(signal)
                {
                    debug!("not connected to the signaling server; a message for it was dropped");
                }
            }
            Effect::OpenLink { link, role, ice, relay_only } => self.links.open(link, role, ice, relay_only),
            Effect::Negotiate(link, words) => self.links.negotiate(link, words),
            Effect::CloseLink(link) => self.links.close(link),
            Effect::Notify(event) => {
                journal::tell(&event);
                publish(self.desk, event);
            }
            Effect::Reply(id, result) => {
                if let Some(done) = self.replies.remove(&id) {
                    let _ = done.send(result.map_err(CallError::Request));
                }
            }
        }
    }
}

/// Waits for the next input. Completions first: they free what others wait for.
async fn next(
    writer: &mut Writer,
    inputs: &mut Inputs,
    calls: &mut mpsc::Receiver<Call>,
    stop: &mut watch::Receiver<bool>,
    timeout_ms: Option<u64>,
) -> Input {
    let timeout = async {
        match timeout_ms {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    };
    let signal = async {
        match &mut inputs.signals {
            Some(signals) => match signals.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stopped(stop) => Input::Stop,
        Some((id, result)) = writer.completed() => Input::Committed(id, result),
        Some((id, loaded)) = inputs.loaded.recv() => Input::Loaded(id, loaded),
        signal = signal => Input::Signal(signal),
        _ = inputs.network.changed() => Input::Network,
        Some(end) = inputs.ends.recv() => Input::End(end),
        Some((id, report)) = inputs.links.recv() => Input::Link(id, report),
        call = calls.recv() => call.map_or(Input::Stop, Input::Call),
        () = timeout => Input::Timeout,
    }
}
