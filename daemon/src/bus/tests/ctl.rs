//! The command line against the service.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Cursor, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::rc::Rc;

use clap::Parser as _;
use kith_engine::Event;
use kithctl::{Arguments, Console, Exit};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::fake::{CODE, GATE, HALL, IN_CLEAR, OWN, SEALED, SECRET, URI};
use super::*;
use crate::task::TaskKind;

/// What a command printed, and how it ended.
pub(super) struct Run {
    pub(super) exit: Exit,
    pub(super) out: String,
    pub(super) err: String,
}

impl Run {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    pub(super) fn done(self) -> Self {
        assert_eq!(self.exit, Exit::Done, "{}{}", self.out, self.err);
        self
    }
}

fn arguments(stage: &Stage, args: &[&str]) -> Arguments {
    let address = stage.bus.address();
    Arguments::try_parse_from([&["kithctl", "--bus-address", &address], args].concat()).unwrap()
}

pub(super) async fn ctl(stage: &Stage, args: &[&str], input: &str) -> Run {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        input: &mut Cursor::new(input.as_bytes()),
        input_is_terminal: false,
        output: &mut out,
        output_is_terminal: false,
        errors: &mut err,
    };
    let exit = kithctl::run(&arguments(stage, args), &mut console).await;
    Run { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// Lines as they are printed by a command that goes on.
#[derive(Clone, Default)]
struct Lines(Rc<RefCell<(Vec<u8>, VecDeque<String>)>>, Rc<Notify>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (unread, lines) = &mut *self.0.borrow_mut();
        unread.extend_from_slice(bytes);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            lines.push_back(String::from_utf8(line).unwrap());
            self.1.notify_one();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    async fn next_line(&self) -> String {
        loop {
            let line = self.0.borrow_mut().1.pop_front();
            match line {
                Some(line) => return line,
                None => self.1.notified().await,
            }
        }
    }

    /// The next line of JSON about this.
    async fn next(&self, event: &str) -> Value {
        loop {
            let line: Value = serde_json::from_str(&self.next_line().await).unwrap();
            if line["event"] == event {
                return line;
            }
        }
    }
}

/// Runs a command beside `then`, which sees what it prints, until both are done.
async fn beside(stage: &Stage, args: &[&str], then: impl AsyncFnOnce(&Lines)) -> (Exit, String) {
    let lines = Lines::default();
    let (mut output, mut err) = (lines.clone(), Vec::new());
    let mut console = Console {
        input: &mut Cursor::new(Vec::new()),
        input_is_terminal: false,
        output: &mut output,
        output_is_terminal: false,
        errors: &mut err,
    };
    let arguments = arguments(stage, args);
    let (exit, ()) = tokio::join!(kithctl::run(&arguments, &mut console), then(&lines));
    (exit, String::from_utf8(err).unwrap())
}

/// Runs a command that goes on, printing JSON lines, until `then` is done.
async fn meanwhile(stage: &Stage, args: &[&str], then: impl AsyncFnOnce(&Lines)) {
    let lines = Lines::default();
    let (mut output, mut err) = (lines.clone(), Vec::new());
    let mut console = Console {
        input: &mut Cursor::new(Vec::new()),
        input_is_terminal: false,
        output: &mut output,
        output_is_terminal: false,
        errors: &mut err,
    };
    let arguments = arguments(stage, &[&["--json"], args].concat());
    tokio::select! {
        exit = kithctl::run(&arguments, &mut console) => panic!("it ended: {exit:?}"),
        () = then(&lines) => {}
    }
}

#[tokio::test]
async fn who_sees_this_devices_address_is_shown_and_set() {
    let stage = Stage::ready().await;
    assert!(ctl(&stage, &["relay-only"], "").await.done().out.contains("peers with a direct link see it"));
    let set = ctl(&stage, &["--json", "relay-only", "on"], "").await.done().json();
    assert_eq!(set, json!({ "relay_only": true }));
    assert!(ctl(&stage, &["status"], "").await.done().out.contains("address:    hidden from peers"));
}

#[tokio::test]
async fn a_device_is_set_up_locked_and_unlocked_by_piped_secrets() {
    let stage = Stage::new(DaemonState::NeedsSetUp).await;
    assert_eq!(ctl(&stage, &["peers"], "").await.exit, Exit::Locked);
    let status = ctl(&stage, &["--json", "status"], "").await.done().json();
    assert_eq!(status, json!({ "state": "needs-set-up", "version": env!("CARGO_PKG_VERSION"), "client_id": "" }));
    let made = ctl(&stage, &["--json", "set-up", "--name", "porch"], "open sesame\n").await.done().json();
    assert_eq!(made, json!({ "state": "ready", "client_id": OWN.to_string() }));
    assert_eq!(ctl(&stage, &["--json", "lock"], "").await.done().json(), json!({ "state": "locked" }));
    let wrong = ctl(&stage, &["--json", "unlock"], "wrong").await;
    assert_eq!((wrong.exit, &wrong.json()["error"]["name"]), (Exit::Refused, &json!("WrongSecret")));
    let empty = ctl(&stage, &["unlock"], "\n").await;
    assert_eq!((empty.exit, empty.out.as_str()), (Exit::Usage, ""));
    assert_eq!(ctl(&stage, &["unlock"], SECRET).await.done().out, "The messenger is ready.\n");
    let status = ctl(&stage, &["--json", "status"], "").await.done().json();
    let expected = json!({
        "state": "ready", "version": env!("CARGO_PKG_VERSION"), "client_id": OWN.to_string(), "display_name": "porch",
        "signaling": "online", "logging_notice": { "mode": "active", "text": "Kept for a week." }, "unread": 0,
        "pin_set": false, "relay_only": false,
    });
    assert_eq!(status, expected);
    assert!(ctl(&stage, &["status"], "").await.done().out.contains("signaling:  online"));
}

#[tokio::test]
async fn the_secret_is_changed_and_the_data_key_after_it() {
    let stage = Stage::ready().await;
    let wrong = ctl(&stage, &["--json", "change-secret"], "guess\nanother").await;
    assert_eq!((wrong.exit, &wrong.json()["error"]["name"]), (Exit::Refused, &json!("WrongSecret")));
    let changed = ctl(&stage, &["change-secret"], &format!("{SECRET}\nanother\n")).await.done();
    assert!(changed.out.contains("rotate-key"), "{}", changed.out);
    let rotated = ctl(&stage, &["--json", "rotate-key"], "").await.done();
    assert_eq!(rotated.json(), json!({ "rotated": true }));
    let task = stage.handle.tasks().begin(TaskKind::Export).unwrap();
    let busy = ctl(&stage, &["rotate-key"], "").await;
    assert_eq!(busy.exit, Exit::Refused);
    assert!(busy.err.contains("long work"), "{}", busy.err);
    drop(task);
}

#[tokio::test]
async fn a_locked_messenger_and_a_missing_one_have_exit_codes_of_their_own() {
    let stage = Stage::new(DaemonState::Locked).await;
    for args in [&["peers"][..], &["send", "hall", "x"], &["invite"], &["accept", "-"], &["watch"], &["name", "x"]] {
        let run = ctl(&stage, args, "kith:gate").await;
        assert_eq!((run.exit, run.out.as_str()), (Exit::Locked, ""), "{args:?}: {}", run.err);
        assert!(run.err.contains("unlock it first"), "{args:?}: {}", run.err);
    }
    stage.fake.act(fake::World::stop).await;
    stage.serving.await.unwrap().unwrap();
    let empty = PrivateBus::running();
    let address = empty.address();
    let arguments = Arguments::try_parse_from(["kithctl", "--bus-address", &address, "--json", "status"]).unwrap();
    let mut out = Vec::new();
    let mut console = Console {
        input: &mut Cursor::new(""),
        input_is_terminal: false,
        output: &mut out,
        output_is_terminal: false,
        errors: &mut Vec::new(),
    };
    assert_eq!(kithctl::run(&arguments, &mut console).await, Exit::NotReachable);
    assert!(String::from_utf8(out).unwrap().contains("NotReachable"));
}

#[tokio::test]
async fn an_invite_is_shown_and_waits_until_somebody_has_used_it() {
    let stage = Stage::ready().await;
    let shown = ctl(&stage, &["--json", "invite", "--no-wait", "--lifetime", "1h"], "").await.done().json();
    assert_eq!(shown, json!({ "pairing": 1, "uri": URI, "expires_ms": 3_600_000 }));
    let (exit, err) = beside(&stage, &["--json", "invite"], async |lines| {
        let shown: Value = serde_json::from_str(&lines.next_line().await).unwrap();
        assert_eq!((&shown["pairing"], &shown["uri"]), (&json!(2), &json!(URI)));
        let done = kith_engine::PairingState::Done(HALL);
        stage.fake.act(|world| world.end_pairing(kith_engine::PairingId(2), done)).await;
        let paired: Value = serde_json::from_str(&lines.next_line().await).unwrap();
        let peer = json!({ "client_id": HALL.to_string(), "name": "hall" });
        assert_eq!(paired, json!({ "pairing": 2, "state": "done", "peer": peer }));
    })
    .await;
    assert_eq!(exit, Exit::Done, "{err}");
}

#[tokio::test]
async fn an_invite_that_fails_or_is_lost_to_locking_says_why() {
    let stage = Stage::ready().await;
    let (exit, err) = beside(&stage, &["invite"], async |lines| {
        assert_eq!(lines.next_line().await, format!("{URI}\n"));
        let failed = kith_engine::PairingState::Failed("Nobody came.".into());
        stage.fake.act(|world| world.end_pairing(kith_engine::PairingId(1), failed)).await;
    })
    .await;
    assert_eq!(exit, Exit::Refused);
    assert!(err.contains("Nobody came."), "{err}");
    let (exit, err) = beside(&stage, &["invite"], async |lines| {
        lines.next_line().await;
        stage.manager().await.lock().await.unwrap();
    })
    .await;
    assert_eq!(exit, Exit::Locked, "{err}");
}

#[tokio::test]
async fn an_invite_is_accepted_from_standard_input() {
    let stage = Stage::ready().await;
    let refused = ctl(&stage, &["--json", "accept", "-"], "kith:elsewhere\n").await;
    assert_eq!((refused.exit, &refused.json()["error"]["name"]), (Exit::Refused, &json!("OtherServer")));
    let paired = ctl(&stage, &["--json", "accept", "--other-server"], " kith:elsewhere\n").await.done().json();
    let peer = json!({ "client_id": GATE.to_string(), "name": "gate" });
    assert_eq!(paired, json!({ "pairing": 1, "state": "done", "peer": peer }));
    let line = ctl(&stage, &["accept", "kith:gate"], "").await.done().out;
    assert_eq!(line, format!("Paired with gate ({GATE}).\n"));
}

#[tokio::test]
async fn digits_are_shown_and_confirmed_by_those_of_the_other_device() {
    let stage = Stage::ready().await;
    let shown = ctl(&stage, &["--json", "compare", "--no-wait"], "").await.done().json();
    assert_eq!(shown, json!({ "pairing": 1, "code": CODE, "expires_ms": 120_000 }));
    assert_eq!(ctl(&stage, &["compare", "nothing"], "").await.exit, Exit::Refused);
    let typed = ctl(&stage, &["compare", CODE], "").await.done();
    assert_eq!(typed.out, "007 042\n");
    assert!(typed.err.contains("kithctl confirm 2"), "{}", typed.err);
    let paired = ctl(&stage, &["--json", "confirm", "2", "007 042"], "").await.done().json();
    assert_eq!(paired["peer"]["client_id"], GATE.to_string());
    ctl(&stage, &["compare", CODE], "").await.done();
    let differ = ctl(&stage, &["confirm", "3", "007043"], "").await;
    assert_eq!(differ.exit, Exit::Refused);
    assert!(differ.err.contains("not the same on both devices"), "{}", differ.err);
    assert_eq!(ctl(&stage, &["confirm", "3", "007042"], "").await.exit, Exit::Refused);
}

#[tokio::test]
async fn contacts_are_listed_renamed_and_removed() {
    let stage = Stage::ready().await;
    let listed = ctl(&stage, &["--json", "peers"], "").await.done().json();
    let hall = json!({
        "client_id": HALL.to_string(), "name": "hall", "trust": "paired", "blocked": false, "presence": "online", "link": "direct",
        "last_seen_ms": 1_700_000_000_000_u64, "last_seq": 0, "unread": 0, "expiry_s": 0,
    });
    assert_eq!(listed, json!({ "peers": [hall] }));
    let number = ctl(&stage, &["--json", "safety-number", "hall"], "").await.done().json();
    assert_eq!(number["digits"].as_str().unwrap().split(' ').count(), 12);
    let renamed = ctl(&stage, &["--json", "rename", "hall", "front hall"], "").await.done().json();
    assert_eq!(renamed, json!({ "client_id": HALL.to_string(), "name": "front hall" }));
    let expiry = ctl(&stage, &["--json", "expiry", "front hall", "2h"], "").await.done().json();
    assert_eq!(expiry, json!({ "peer": HALL.to_string(), "expiry_s": 7_200 }));
    let shown = ctl(&stage, &["expiry", "front hall"], "").await.done().out;
    assert_eq!(shown, "New messages disappear 7200 s after they were received or delivered.\n");
    let never = ctl(&stage, &["expiry", "front hall", "never"], "").await.done().out;
    assert_eq!(never, "Messages stay.\n");
    let name = ctl(&stage, &["--json", "name", "porch light"], "").await.done().json();
    assert_eq!(name, json!({ "display_name": "porch light" }));
    let kept = ctl(&stage, &["--json", "retention", "--days", "30"], "").await.done().json();
    assert_eq!((&kept["days_max"], &kept["bytes_max"]), (&json!(30), &json!(0)));
    let shown = ctl(&stage, &["retention"], "").await.done().out;
    assert!(shown.contains("each message:  30 days\n") && shown.contains("bytes without end"), "{shown}");
    assert_eq!(ctl(&stage, &["remove", "front hall"], "y\n").await.exit, Exit::Usage);
    let removed = ctl(&stage, &["--json", "remove", "front hall", "--yes"], "").await.done().json();
    assert_eq!(removed, json!({ "removed": HALL.to_string() }));
    assert_eq!(ctl(&stage, &["safety-number", "hall"], "").await.exit, Exit::Refused);
    assert!(ctl(&stage, &["peers"], "").await.done().out.contains("No contacts yet"));
}

#[tokio::test]
async fn contacts_are_verified_and_blocked() {
    let stage = Stage::ready().await;
    assert_eq!(ctl(&stage, &["verify", "hall"], "y\n").await.exit, Exit::Usage);
    let verified = ctl(&stage, &["--json", "verify", "hall", "--yes"], "").await.done().json();
    assert_eq!(verified, json!({ "client_id": HALL.to_string(), "verified": true }));
    assert_eq!(ctl(&stage, &["block", "hall"], "").await.done().out, "hall is blocked.\n");
    assert!(ctl(&stage, &["peers"], "").await.done().out.ends_with(", verified, blocked\n"));
    let refused = ctl(&stage, &["--json", "send", "hall", "x"], "").await;
    assert_eq!((refused.exit, &refused.json()["error"]["name"]), (Exit::Refused, &json!("Blocked")));
    ctl(&stage, &["unblock", "hall"], "").await.done();
    ctl(&stage, &["verify", "hall", "--undo"], "").await.done();
    assert!(
        ctl(&stage, &["peers"], "").await.done().out.ends_with("connected directly (it sees this device's address)\n")
    );
}

#[tokio::test]
async fn messages_are_sent_from_arguments_and_from_standard_input() {
    let stage = Stage::ready().await;
    let sent = ctl(&stage, &["--json", "send", "hall", "one", "--ttl", "1m"], "").await.done().json();
    assert_eq!((&sent["peer"], &sent["state"]), (&json!(HALL.to_string()), &json!("queued")));
    ctl(&stage, &["send", "hall"], "two\n\n").await.done();
    ctl(&stage, &["send", "hall", "--type", "application/json"], "{}\n").await.done();
    ctl(&stage, &["send", &HALL.to_string(), "four"], "").await.done();
    let history = ctl(&stage, &["--json", "history", "hall"], "").await.done().json();
    assert_eq!(history["peer"], HALL.to_string());
    let texts: Vec<_> = history["messages"].as_array().unwrap().iter().map(|row| row["text"].clone()).collect();
    assert_eq!(texts, ["one", "two\n", "{}\n", "four"]);
    assert_eq!(history["messages"][0]["ttl_s"], 60);
    let last = ctl(&stage, &["--json", "history", "hall", "-n", "1"], "").await.done().json();
    assert_eq!(last["messages"][0]["text"], "four");
    let first = ctl(&stage, &["--json", "history", "hall", "-n", "1", "--after", "1"], "").await.done().json();
    assert_eq!(first["messages"].as_array().unwrap().len(), 1);
    assert_eq!(first["messages"][0]["text"], "two\n");
    assert_eq!(ctl(&stage, &["history", "hall"], "").await.done().out.lines().count(), 4);
    let large = ctl(&stage, &["--json", "send", "hall"], &"x".repeat(12_289)).await;
    assert_eq!((large.exit, &large.json()["error"]["name"]), (Exit::Refused, &json!("TooLarge")));
}

#[tokio::test]
async fn sending_waits_for_delivery_as_long_as_it_is_told() {
    let stage = Stage::ready().await;
    let sent = ctl(&stage, &["--json", "send", "hall", "x", "--wait", "--key", "k"], "").await.done().json();
    assert_eq!(sent["state"], "delivered");
    let again = ctl(&stage, &["--json", "send", "hall", "x", "--wait", "--key", "k"], "").await.done().json();
    assert_eq!(again, sent);
    stage.fake.act(|world| world.delivers = false).await;
    let late = ctl(&stage, &["--json", "send", "hall", "x", "--wait=0"], "").await;
    assert_eq!((late.exit, &late.json()["error"]["name"]), (Exit::TimedOut, &json!("TimedOut")));
}

#[tokio::test]
async fn watching_with_a_name_loses_nothing_and_shows_nothing_twice() {
    let stage = Stage::ready().await;
    stage.fake.act(|world| (1..=4).for_each(|n| world.receive(HALL, "text/plain", format!("{n}").as_bytes()))).await;
    let watch = ["watch", "--consumer", "relay", "--ack"];
    meanwhile(&stage, &watch, async |lines| {
        assert_eq!(lines.next("daemon").await["state"], "ready");
        assert_eq!(lines.next("peer").await["name"], "hall");
        for n in 1..=4 {
            assert_eq!(lines.next("message").await["text"], n.to_string());
        }
        stage.fake.act(|world| world.receive(HALL, "application/octet-stream", b"\xff")).await;
        let message = lines.next("message").await;
        assert_eq!((&message["base64"], &message["inbox_seq"]), (&json!("/w=="), &json!(5)));
        while stage.fake.act(|world| world.acks.get("relay").copied()).await != Some(5) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stage.fake.act(|world| world.receive(HALL, "text/plain", b"6")).await;
    meanwhile(&stage, &watch, async |lines| assert_eq!(lines.next("message").await["text"], "6")).await;
}

#[tokio::test]
async fn watching_without_a_name_begins_now_and_goes_on_after_locking() {
    let stage = Stage::ready().await;
    stage.fake.act(|world| world.receive(HALL, "text/plain", b"before")).await;
    meanwhile(&stage, &["watch"], async |lines| {
        lines.next("peer").await;
        stage.fake.act(|world| world.receive(HALL, "text/plain", b"now")).await;
        assert_eq!(lines.next("message").await["text"], "now");
        let id = ctl(&stage, &["--json", "send", "hall", "x"], "").await.done().json()["id"].clone();
        for state in ["queued", "delivered"] {
            let line = lines.next("state").await;
            assert_eq!((&line["id"], &line["state"]), (&id, &json!(state)));
        }
        stage.fake.act(|world| world.change_peer(HALL, |view| view.presence = kith_engine::Presence::Offline)).await;
        assert_eq!(lines.next("peer").await["presence"], "offline");
        stage.manager().await.lock().await.unwrap();
        assert_eq!(lines.next("daemon").await["state"], "locked");
        stage.manager().await.unlock(&SECRET.into()).await.unwrap();
        assert_eq!(lines.next("daemon").await["state"], "ready");
        stage.fake.act(|world| world.receive(HALL, "text/plain", b"after")).await;
        assert_eq!(lines.next("message").await["text"], "after");
        stage.fake.act(|world| world.tell(Event::Intruder)).await;
        lines.next("intruder").await;
    })
    .await;
}

#[tokio::test]
async fn watching_goes_on_when_the_daemon_comes_back() {
    let stage = Stage::ready().await;
    meanwhile(&stage, &["watch", "--consumer", "relay"], async |lines| {
        lines.next("peer").await;
        stage.serving.abort();
        assert_eq!(lines.next("daemon").await["state"], "gone");
        stage.fake.act(|world| world.receive(HALL, "text/plain", b"meanwhile")).await;
        let again = tokio::spawn(serve(stage.handle.clone(), BusAddress::Address(stage.bus.address())));
        assert_eq!(lines.next("daemon").await["state"], "ready");
        assert_eq!(lines.next("message").await["text"], "meanwhile");
        again.abort();
    })
    .await;
}

#[tokio::test]
async fn watching_believes_only_the_daemon() {
    let stage = Stage::ready().await;
    meanwhile(&stage, &["watch"], async |lines| {
        lines.next("peer").await;
        let bus = DBusProxy::new(&stage.client).await.unwrap();
        let path = map::peer_path(HALL);
        for name in bus.list_names().await.unwrap().into_iter().filter(|name| name.starts_with(':')) {
            // Another process that talks like the daemon, to everybody in person.
            let forged = stage.client.emit_signal(Some(name), &path, kith_dbus::PEER_INTERFACE, "Trouble", &"forged");
            forged.await.unwrap();
        }
        stage.fake.act(|world| world.tell(Event::Trouble { peer: HALL, text: "true".into() })).await;
        assert_eq!(lines.next("trouble").await["text"], "true");
    })
    .await;
}

#[tokio::test]
async fn completions_need_no_daemon() {
    let arguments = Arguments::try_parse_from(["kithctl", "completions", "bash"]).unwrap();
    let mut out = Vec::new();
    let mut console = Console {
        input: &mut Cursor::new(""),
        input_is_terminal: false,
        output: &mut out,
        output_is_terminal: false,
        errors: &mut Vec::new(),
    };
    assert_eq!(kithctl::run(&arguments, &mut console).await, Exit::Done);
    assert!(String::from_utf8(out).unwrap().contains("_kithctl"));
}

#[tokio::test]
async fn a_check_says_what_is_damaged_and_exits_so() {
    let stage = Stage::ready().await;
    let sound = ctl(&stage, &["check"], "").await.done();
    assert_eq!(sound.out, "7 values have been checked, and all are sound.\n");
    stage.fake.act(|world| world.findings = vec!["One message is damaged.".into()]).await;
    let damaged = ctl(&stage, &["check"], "").await;
    assert_eq!(damaged.exit, Exit::Refused);
    assert_eq!(damaged.out, "1 of 7 values are damaged:\n- One message is damaged.\n");
    assert!(damaged.err.contains("do what each line says"), "{}", damaged.err);
}

#[tokio::test]
async fn wiping_needs_an_answer_and_who_is_not_trusted_the_pin() {
    let stage = Stage::of_strangers(DaemonState::Ready, ANSWER_WAIT).await;
    stage.fake.act(|world| world.pin = Some("2580".to_owned())).await;
    let unanswered = ctl(&stage, &["wipe"], SECRET).await;
    assert_eq!(unanswered.exit, Exit::Usage);
    assert!(unanswered.err.contains("--yes"), "{}", unanswered.err);
    let wrong = ctl(&stage, &["--json", "wipe", "--yes"], "wrong").await;
    assert_eq!((wrong.exit, &wrong.json()["error"]["name"]), (Exit::Refused, &json!("WrongSecret")));
    assert_eq!(ctl(&stage, &["--json", "status"], "").await.done().json()["state"], "ready");
    let wiped = ctl(&stage, &["--json", "wipe", "--yes"], "2580").await.done();
    assert_eq!(wiped.json(), json!({ "state": "needs-set-up" }));
    let stage = Stage::ready().await;
    let wiped = ctl(&stage, &["--json", "wipe", "--yes"], "").await.done();
    assert_eq!(wiped.json(), json!({ "state": "needs-set-up" }));
}

#[tokio::test]
async fn a_pin_is_set_changed_and_removed_at_the_command_line() {
    let stage = Stage::of_strangers(DaemonState::Ready, ANSWER_WAIT).await;
    let unproven = ctl(&stage, &["--json", "pin"], "\n2580").await;
    assert_eq!((unproven.exit, &unproven.json()["error"]["name"]), (Exit::Refused, &json!("NotAuthorized")));
    let set = ctl(&stage, &["--json", "pin"], &format!("{SECRET}\n2580\n")).await.done();
    assert_eq!(set.json(), json!({ "pin_set": true }));
    assert_eq!(ctl(&stage, &["--json", "status"], "").await.done().json()["pin_set"], true);
    assert_eq!(ctl(&stage, &["pin"], "2580").await.exit, Exit::Usage);
    ctl(&stage, &["pin"], "2580\n1379\n").await.done();
    assert_eq!(stage.fake.act(|world| world.pin.clone()).await.as_deref(), Some("1379"));
    ctl(&stage, &["pin", "--remove"], "1379\n").await.done();
    assert_eq!(ctl(&stage, &["--json", "status"], "").await.done().json()["pin_set"], false);
    // Root needs none.
    let stage = Stage::ready().await;
    ctl(&stage, &["pin"], "\n2580\n").await.done();
    assert_eq!(stage.fake.act(|world| world.pin.clone()).await.as_deref(), Some("2580"));
}

#[tokio::test]
async fn the_old_secret_is_proof_enough_to_change_it() {
    let stage = Stage::of_strangers(DaemonState::Ready, ANSWER_WAIT).await;
    let wrong = ctl(&stage, &["--json", "change-secret"], "guess\nanother").await;
    assert_eq!((wrong.exit, &wrong.json()["error"]["name"]), (Exit::Refused, &json!("WrongSecret")));
    ctl(&stage, &["change-secret"], &format!("{SECRET}\nanother")).await.done();
}

fn path_in(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn names_in(folder: &tempfile::TempDir) -> Vec<String> {
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_appears_whole_and_for_its_owner_only() {
    let (stage, folder) = (Stage::ready().await, tempfile::tempdir().unwrap());
    let sealed = path_in(&folder, "hall.enc.json");
    let run = ctl(&stage, &["export", &sealed], "").await.done();
    assert_eq!(
        run.out,
        format!("{sealed}, encrypted, 31 bytes: 1 contacts, 2 messages, 1 of them waiting to be sent.\n")
    );
    assert_eq!(std::fs::read_to_string(&sealed).unwrap(), SEALED);
    assert_eq!(std::fs::metadata(&sealed).unwrap().permissions().mode() & 0o777, 0o600);
    // One that is there stays, unless that is said.
    std::fs::write(&sealed, "precious").unwrap();
    assert_eq!(ctl(&stage, &["export", &sealed], "").await.exit, Exit::Usage);
    assert_eq!(std::fs::read_to_string(&sealed).unwrap(), "precious");
    ctl(&stage, &["export", "--force", &sealed], "").await.done();
    assert_eq!(std::fs::read_to_string(&sealed).unwrap(), SEALED);
    assert_eq!(names_in(&folder), ["hall.enc.json"]);
    stage.fake.act(|world| world.set_state(DaemonState::Locked)).await;
    assert_eq!(ctl(&stage, &["export", &path_in(&folder, "b")], "").await.exit, Exit::Locked);
    assert_eq!(names_in(&folder), ["hall.enc.json"]);
}

#[tokio::test]
async fn a_plain_backup_takes_the_pin_or_the_secret_and_comes_with_a_warning() {
    let stage = Stage::of_strangers(DaemonState::Ready, ANSWER_WAIT).await;
    let folder = tempfile::tempdir().unwrap();
    let plain = path_in(&folder, "hall.json");
    let wrong = ctl(&stage, &["--json", "export", "--plain", &plain], "wrong").await;
    assert_eq!((wrong.exit, &wrong.json()["error"]["name"]), (Exit::Refused, &json!("WrongSecret")));
    assert!(names_in(&folder).is_empty());
    let run = ctl(&stage, &["--json", "export", "--plain", &plain], SECRET).await.done();
    assert!(run.err.contains("WARNING") && run.err.contains("identity"), "{}", run.err);
    let expected = json!({
        "file": plain, "encrypted": false, "bytes": 31, "contacts": 1, "messages": 2, "waiting": 1,
    });
    assert_eq!(run.json(), expected);
    assert_eq!(std::fs::read_to_string(&plain).unwrap(), IN_CLEAR);
}

#[tokio::test]
async fn a_device_that_is_set_up_is_replaced_only_when_that_is_said() {
    let (stage, folder) = (Stage::ready().await, tempfile::tempdir().unwrap());
    let (sealed, other) = (path_in(&folder, "hall.enc.json"), path_in(&folder, "other"));
    std::fs::write(&sealed, SEALED).unwrap();
    std::fs::write(&other, "PK").unwrap();
    let unasked = ctl(&stage, &["--json", "import", &sealed], "").await;
    assert_eq!((unasked.exit, &unasked.json()["error"]["name"]), (Exit::Refused, &json!("AlreadySetUp")));
    let invalid = ctl(&stage, &["--json", "import", "--replace", &other], "").await;
    assert_eq!((invalid.exit, &invalid.json()["error"]["name"]), (Exit::Refused, &json!("BackupInvalid")));
    let dry = ctl(&stage, &["import", "--dry-run", &sealed], "").await.done();
    assert_eq!(
        dry.out,
        format!(
            "It is whole: the backup of {OWN} from 2023-11-14 22:13:20Z, 1 contacts, 2 messages, 1 of them waiting to \
             be sent. It would replace all that this device holds.\n"
        )
    );
    let done = ctl(&stage, &["--json", "import", "--replace", &sealed], "").await.done();
    let expected = json!({
        "client_id": OWN.to_string(), "created_ms": 1_700_000_000_000_u64, "encrypted": true, "replaces": true,
        "dry_run": false, "contacts": 1, "messages": 2, "waiting": 1,
    });
    assert_eq!(done.json(), expected);
    assert_eq!(ctl(&stage, &["import", &path_in(&folder, "none")], "").await.exit, Exit::Usage);
}

#[tokio::test]
async fn a_new_device_becomes_that_of_the_backup() {
    let (stage, folder) = (Stage::new(DaemonState::NeedsSetUp).await, tempfile::tempdir().unwrap());
    let (sealed, plain) = (path_in(&folder, "hall.enc.json"), path_in(&folder, "hall.json"));
    std::fs::write(&sealed, SEALED).unwrap();
    std::fs::write(&plain, IN_CLEAR).unwrap();
    let wrong = ctl(&stage, &["--json", "import", &sealed], "wrong").await;
    assert_eq!((wrong.exit, &wrong.json()["error"]["name"]), (Exit::Refused, &json!("WrongSecret")));
    let become_one = ctl(&stage, &["import", &plain], "a new one").await.done();
    assert!(become_one.out.starts_with(&format!("This device is {OWN} now, restored from ")), "{}", become_one.out);
    assert_eq!(ctl(&stage, &["--json", "status"], "").await.done().json()["state"], "ready");
}
