//! What each interface does, and what its XML says.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd as _;

use kith_dbus::{
    AcceptOptions, CompareOptions, CreateRoomOptions, DaemonState as Shown, Direction, ExportOptions, Failure,
    ImportOptions, InviteOptions, LinkState, LoggingMode, MessageState, PairingState, Presence, RefusalName, Retention,
    RetentionChoice, SendOptions, SetUpOptions, Signaling, Trust,
};
use kith_engine::{Event, PairingId};
use zbus::fdo::IntrospectableProxy;
use zbus::wire::Fd;
use zbus::{OwnedVariant, Variant};

use super::fake::{CODE, DIGITS, GATE, HALL, OWN, SECRET, URI};
use super::introspection::interfaces;
use super::*;
use crate::task::TaskKind;

type Changed = (String, HashMap<String, OwnedVariant>, Vec<String>);

fn refused<T: std::fmt::Debug>(result: Result<T, Failure>) -> RefusalName {
    match result {
        Err(Failure::Refused(refusal)) => {
            assert!(refusal.sentence.ends_with('.'), "{refusal}");
            refusal.name
        }
        other => panic!("{other:?}"),
    }
}

/// The next change of this property, with its value.
async fn changed(signals: &mut MessageStream, property: &str) -> OwnedVariant {
    loop {
        let signal = next(signals, "PropertiesChanged").await;
        let (_, mut properties, _): Changed = signal.body().deserialize().unwrap();
        if let Some(value) = properties.remove(property) {
            return value;
        }
    }
}

#[tokio::test]
async fn every_object_says_what_the_installed_xml_says() {
    let stage = Stage::ready().await;
    let pairing = stage.manager().await.invite(&InviteOptions::default()).await.unwrap();
    let expected: BTreeMap<_, _> = kith_dbus::INTERFACES.iter().flat_map(|(_, xml)| interfaces(xml)).collect();
    assert_eq!(expected.len(), kith_dbus::INTERFACES.len());
    let mut seen = BTreeMap::new();
    let task = stage.handle.tasks().begin(TaskKind::Export).unwrap();
    stage.task_shown(task.id()).await;
    let options = CreateRoomOptions { name: Some("house".to_owned()), members: Some(vec![map::peer_path(HALL)]) };
    let room = stage.manager().await.create_room(&options).await.unwrap();
    let (peer, task) = (map::peer_path(HALL), map::task_path(task.id()));
    let roots = [kith_dbus::ROOT_PATH, kith_dbus::INBOX_PATH];
    for path in roots.into_iter().chain([peer.as_str(), pairing.as_str(), room.as_str(), task.as_str()]) {
        let builder = IntrospectableProxy::builder(&stage.client).destination(SERVICE).path(path);
        let xml = builder.build().await.unwrap().introspect().await.unwrap();
        seen.extend(interfaces(&xml).into_iter().filter(|(name, _)| name.starts_with("org.kith.")));
    }
    assert_eq!(seen, expected);
}

#[test]
fn the_page_names_every_member_and_every_error() {
    let page = include_str!("../../../../docs/dbus.md");
    for (name, members) in kith_dbus::INTERFACES.iter().flat_map(|(_, xml)| interfaces(xml)) {
        let chapter = page.split("\n## ").find(|chapter| chapter.contains(&format!("`{name}`"))).unwrap();
        for member in members.iter().filter(|member| !member.contains(" / ")) {
            let (kind, rest) = member.split_once(' ').unwrap();
            let name = rest.split(':').next().unwrap();
            let entry = if kind == "property" { format!("| `{name}` |") } else { format!("**`{name}(") };
            assert!(chapter.contains(&entry), "{member}");
        }
    }
    for error in RefusalName::ALL {
        assert!(page.contains(&format!("| `{}` |", error.short())), "{error:?}");
    }
}

#[tokio::test]
async fn setting_up_makes_the_messenger_ready_before_it_answers() {
    let stage = Stage::new(DaemonState::NeedsSetUp).await;
    let manager = stage.manager().await;
    assert_eq!(
        (manager.state().await.unwrap(), manager.client_id().await.unwrap()),
        (Shown::NeedsSetUp, String::new())
    );
    assert_eq!(refused(manager.unlock(&SECRET.into()).await), RefusalName::NotSetUp);
    assert_eq!(refused(manager.display_name().await), RefusalName::NotSetUp);
    let options = SetUpOptions { secret: SECRET.into(), display_name: Some("porch".into()) };
    manager.set_up(&options).await.unwrap();
    assert_eq!((manager.state().await.unwrap(), manager.client_id().await.unwrap()), (Shown::Ready, OWN.to_string()));
    assert_eq!(manager.display_name().await.unwrap(), "porch");
    assert_eq!(stage.paths().await, [map::peer_path(HALL).as_str()]);
    assert_eq!(refused(manager.set_up(&options).await), RefusalName::AlreadySetUp);
}

#[tokio::test]
async fn a_locked_messenger_answers_nothing_but_what_unlocks_it() {
    let stage = Stage::new(DaemonState::Locked).await;
    let manager = stage.manager().await;
    assert_eq!((manager.state().await.unwrap(), manager.client_id().await.unwrap()), (Shown::Locked, OWN.to_string()));
    assert_eq!(manager.version().await.unwrap(), env!("CARGO_PKG_VERSION"));
    assert!(stage.paths().await.is_empty());
    assert_eq!(refused(manager.display_name().await), RefusalName::Locked);
    assert_eq!(refused(manager.set_display_name("x").await), RefusalName::Locked);
    assert_eq!(refused(manager.signaling().await), RefusalName::Locked);
    assert_eq!(refused(manager.logging_notice().await), RefusalName::Locked);
    assert_eq!(refused(manager.unread().await), RefusalName::Locked);
    assert_eq!(refused(manager.pin_set().await), RefusalName::Locked);
    assert_eq!(refused(manager.set_pin(&"".into(), &"1234".into()).await), RefusalName::Locked);
    assert_eq!(refused(manager.invite(&InviteOptions::default()).await), RefusalName::Locked);
    assert_eq!(refused(manager.accept("kith:gate", &AcceptOptions::default()).await), RefusalName::Locked);
    let file = tempfile::tempfile().unwrap();
    let file = Fd::from(file.as_fd());
    assert_eq!(refused(manager.export(&file, &ExportOptions::default()).await), RefusalName::Locked);
    assert_eq!(refused(manager.import(&file, &ImportOptions::default()).await), RefusalName::Locked);
    assert_eq!(refused(stage.inbox().await.fetch("x", 0, 1).await), RefusalName::Locked);
    assert_eq!(refused(stage.inbox().await.ack("x", 0).await), RefusalName::Locked);
    assert_eq!(refused(manager.unlock(&"wrong".into()).await), RefusalName::WrongSecret);
    assert_eq!(refused(manager.unlock(&"again".into()).await), RefusalName::RateLimited);
    manager.unlock(&SECRET.into()).await.unwrap();
    assert_eq!(stage.paths().await, [map::peer_path(HALL).as_str()]);
    assert_eq!(manager.signaling().await.unwrap(), Signaling::Online);
    let notice = manager.logging_notice().await.unwrap();
    assert_eq!((notice.mode, notice.text.as_str()), (LoggingMode::Active, "Kept for a week."));
}

#[tokio::test]
async fn locking_takes_down_contacts_and_pairings_and_says_so() {
    let stage = Stage::ready().await;
    let manager = stage.manager().await;
    manager.invite(&InviteOptions::default()).await.unwrap();
    assert_eq!(stage.paths().await.len(), 2);
    let mut signals = stage.signals().await;
    manager.lock().await.unwrap();
    assert!(stage.paths().await.is_empty());
    assert_eq!(manager.state().await.unwrap(), Shown::Locked);
    assert_eq!(stage.peer(HALL).await.name().await, Err(Failure::NoObject));
    next(&mut signals, "InterfacesRemoved").await;
    let signal = next(&mut signals, "PropertiesChanged").await;
    let (mut interface, mut properties, mut gone): Changed = signal.body().deserialize().unwrap();
    while !properties.contains_key("State") {
        (interface, properties, gone) = next(&mut signals, "PropertiesChanged").await.body().deserialize().unwrap();
    }
    assert_eq!((interface.as_str(), gone.len()), (kith_dbus::MANAGER_INTERFACE, 8));
    assert_eq!(u32::try_from(properties.remove("State").unwrap()), Ok(u32::from(Shown::Locked)));
}

#[tokio::test]
async fn an_invite_is_an_object_by_the_time_its_path_is_known() {
    let stage = Stage::ready().await;
    let mut signals = stage.signals().await;
    let path = stage.manager().await.invite(&InviteOptions { lifetime_s: Some(60) }).await.unwrap();
    let pairing = stage.pairing(path).await;
    assert_eq!(pairing.state().await.unwrap(), PairingState::Waiting);
    assert_eq!((pairing.uri().await.unwrap().as_str(), pairing.expires().await.unwrap()), (URI, 60_000));
    assert_eq!(pairing.peer().await.unwrap().as_str(), "/");
    next(&mut signals, "InterfacesAdded").await;
    pairing.cancel().await.unwrap();
    assert_eq!(pairing.state().await.unwrap(), PairingState::Failed);
    assert_eq!(pairing.reason().await.unwrap(), "Cancelled.");
    assert_eq!(refused(pairing.uri().await), RefusalName::NotFound);
    assert_eq!(refused(pairing.cancel().await), RefusalName::NotFound);
    assert_eq!(u32::try_from(changed(&mut signals, "State").await), Ok(u32::from(PairingState::Failed)));
    let too_long = InviteOptions { lifetime_s: Some(90_000) };
    assert_eq!(refused(stage.manager().await.invite(&too_long).await), RefusalName::InvalidArgument);
}

#[tokio::test]
async fn a_comparison_shows_a_code_or_digits_and_is_confirmed() {
    let stage = Stage::ready().await;
    let mut signals = stage.signals().await;
    let manager = stage.manager().await;
    let shows = stage.pairing(manager.compare(&CompareOptions::default()).await.unwrap()).await;
    assert_eq!(shows.state().await.unwrap(), PairingState::Waiting);
    assert_eq!((shows.code().await.unwrap().as_str(), shows.digits().await.unwrap().as_str()), (CODE, ""));
    assert_eq!(refused(shows.uri().await), RefusalName::NotFound);
    assert_eq!(refused(shows.confirm().await), RefusalName::InvalidArgument);
    let wrong = CompareOptions { code: Some("nothing".to_owned()) };
    assert_eq!(refused(manager.compare(&wrong).await), RefusalName::InvalidArgument);
    let typed = CompareOptions { code: Some(CODE.to_owned()) };
    let typed = stage.pairing(manager.compare(&typed).await.unwrap()).await;
    assert_eq!(typed.state().await.unwrap(), PairingState::Comparing);
    assert_eq!(typed.digits().await.unwrap(), format!("{DIGITS:06}"));
    assert_eq!(refused(typed.code().await), RefusalName::NotFound);
    typed.confirm().await.unwrap();
    while u32::try_from(changed(&mut signals, "State").await) != Ok(u32::from(PairingState::Done)) {}
    assert_eq!((typed.state().await.unwrap(), typed.digits().await.unwrap()), (PairingState::Done, String::new()));
    assert_eq!(typed.peer().await.unwrap(), map::peer_path(GATE));
}

#[tokio::test]
async fn accepting_gives_a_contact_and_asks_before_it_uses_another_server() {
    let stage = Stage::ready().await;
    let manager = stage.manager().await;
    let accept = |uri: &'static str, other_server| {
        let (manager, options) = (manager.clone(), AcceptOptions { other_server });
        async move { manager.accept(uri, &options).await }
    };
    assert_eq!(refused(accept("nonsense", None).await), RefusalName::InvalidInvite);
    assert_eq!(refused(accept("kith:old", None).await), RefusalName::InviteExpired);
    assert_eq!(refused(accept("kith:elsewhere", None).await), RefusalName::OtherServer);
    let path = accept("kith:elsewhere", Some(true)).await.unwrap();
    let pairing = stage.pairing(path).await;
    assert_eq!(pairing.state().await.unwrap(), PairingState::Done);
    assert_eq!(pairing.peer().await.unwrap(), map::peer_path(GATE));
    assert_eq!(refused(pairing.uri().await), RefusalName::NotFound);
    assert_eq!(stage.peer(GATE).await.client_id().await.unwrap(), GATE.to_string());
}

#[tokio::test]
async fn the_latest_ended_pairings_stay_readable() {
    let stage = Stage::ready().await;
    let manager = stage.manager().await;
    let mut paths = Vec::new();
    for _ in 0..10 {
        let path = manager.invite(&InviteOptions::default()).await.unwrap();
        stage.pairing(path.clone()).await.cancel().await.unwrap();
        paths.push(path);
    }
    assert_eq!(stage.pairing(paths[1].clone()).await.state().await, Err(Failure::NoObject));
    assert_eq!(stage.pairing(paths[2].clone()).await.state().await, Ok(PairingState::Failed));
    assert_eq!(stage.paths().await.iter().filter(|path| path.contains("/pairing/")).count(), 8);
}

#[tokio::test]
async fn a_contact_shows_what_the_loop_says() {
    let stage = Stage::ready().await;
    let peer = stage.peer(HALL).await;
    let mut signals = stage.signals().await;
    assert_eq!((peer.name().await.unwrap().as_str(), peer.client_id().await.unwrap()), ("hall", HALL.to_string()));
    assert_eq!((peer.trust().await.unwrap(), peer.presence().await.unwrap()), (Trust::Paired, Presence::Online));
    assert_eq!((peer.link().await.unwrap(), peer.last_seen().await.unwrap()), (LinkState::Direct, 1_700_000_000_000));
    assert_eq!(peer.safety_number().await.unwrap().len(), 71);
    stage.fake.act(|world| world.change_peer(HALL, |view| view.link = kith_engine::LinkState::None)).await;
    assert_eq!(u32::try_from(changed(&mut signals, "Link").await), Ok(u32::from(LinkState::None)));
    assert_eq!(peer.link().await.unwrap(), LinkState::None);
    stage.fake.act(|world| world.tell(Event::Trouble { peer: HALL, text: "It is odd.".into() })).await;
    assert_eq!(next(&mut signals, "Trouble").await.body().deserialize::<String>().unwrap(), "It is odd.");
    peer.remove().await.unwrap();
    assert!(stage.paths().await.is_empty());
    assert_eq!(peer.name().await, Err(Failure::NoObject));
}

#[tokio::test]
async fn a_decision_about_a_contact_is_announced() {
    let stage = Stage::ready().await;
    let peer = stage.peer(HALL).await;
    let mut signals = stage.signals().await;
    peer.set_blocked(true).await.unwrap();
    assert!(peer.blocked().await.unwrap());
    assert_eq!(bool::try_from(changed(&mut signals, "Blocked").await), Ok(true));
    peer.mark_verified(true).await.unwrap();
    assert_eq!(peer.trust().await.unwrap(), Trust::Verified);
    assert_eq!(u32::try_from(changed(&mut signals, "Trust").await), Ok(u32::from(Trust::Verified)));
}

#[tokio::test]
async fn a_new_name_is_announced_as_it_was_taken() {
    let stage = Stage::ready().await;
    let (peer, manager) = (stage.peer(HALL).await, stage.manager().await);
    let mut signals = stage.signals().await;
    peer.set_name("  front hall ").await.unwrap();
    assert_eq!(peer.name().await.unwrap(), "front hall");
    assert_eq!(String::try_from(changed(&mut signals, "Name").await).unwrap(), "front hall");
    manager.set_display_name(" back door").await.unwrap();
    assert_eq!(manager.display_name().await.unwrap(), "back door");
    assert_eq!(String::try_from(changed(&mut signals, "DisplayName").await).unwrap(), "back door");
}

#[tokio::test]
async fn that_links_go_over_relays_only_is_set_and_announced() {
    let stage = Stage::ready().await;
    let manager = stage.manager().await;
    let mut signals = stage.signals().await;
    assert!(!manager.relay_only().await.unwrap());
    manager.set_relay_only(true).await.unwrap();
    assert!(manager.relay_only().await.unwrap());
    assert_eq!(bool::try_from(changed(&mut signals, "RelayOnly").await), Ok(true));
}

#[tokio::test]
async fn how_much_history_is_kept_is_set_and_announced() {
    let stage = Stage::ready().await;
    let manager = stage.manager().await;
    let mut signals = stage.signals().await;
    let before = manager.retention().await.unwrap();
    assert_eq!((before.days_max, before.total_messages_max), (0, 250_000));
    manager.set_retention(RetentionChoice { days_max: Some(90), ..RetentionChoice::default() }).await.unwrap();
    let after = manager.retention().await.unwrap();
    assert_eq!(after, Retention { days_max: 90, ..before });
    let announced = HashMap::<String, OwnedVariant>::try_from(changed(&mut signals, "Retention").await).unwrap();
    assert_eq!(u64::try_from(announced["days_max"].clone()).unwrap(), 90);
    assert_eq!(announced.len(), 5);
}

#[tokio::test]
async fn a_message_goes_out_and_its_states_come_as_signals() {
    let stage = Stage::ready().await;
    let conversation = stage.conversation(HALL).await;
    let mut signals = stage.signals().await;
    let options = SendOptions { ttl_s: Some(60), idempotency_key: Some("k".into()), reply_to: Some("0a".repeat(16)) };
    let id = conversation.send("text/plain", b"hello", &options).await.unwrap();
    assert_eq!(conversation.send("text/plain", b"hello", &options).await.unwrap(), id);
    for state in [MessageState::Queued, MessageState::Delivered] {
        let signal = next(&mut signals, "StateChanged").await;
        assert_eq!(signal.header().path().unwrap(), &*map::peer_path(HALL));
        assert_eq!(signal.body().deserialize::<(String, u32)>().unwrap(), (id.clone(), u32::from(state)));
    }
    let rows = conversation.list(0, 10).await.unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.seq, &row.id, &row.peer, row.inbox_seq), (1, &id, &map::peer_path(HALL), 0));
    assert_eq!((row.direction, row.state), (Direction::Outgoing, MessageState::Delivered));
    assert_eq!((row.content_type.as_str(), row.body.as_slice()), ("text/plain", b"hello".as_slice()));
    assert_eq!((row.reply_to.clone(), row.ttl_s), (Some("0a".repeat(16)), Some(60)));
    assert_eq!((row.sent_ms, row.clock_trusted, row.done_ms), (1_700_000_000_001, true, 5));
    assert_eq!(conversation.last_seq().await.unwrap(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_by_name() {
    let stage = Stage::ready().await;
    let conversation = stage.conversation(HALL).await;
    let large = vec![0; 12_289];
    assert_eq!(refused(conversation.send("text/plain", &large, &SendOptions::default()).await), RefusalName::TooLarge);
    let odd = SendOptions { reply_to: Some("yesterday's".into()), ..SendOptions::default() };
    assert_eq!(refused(conversation.send("text/plain", b"x", &odd).await), RefusalName::InvalidArgument);
    stage.peer(HALL).await.set_blocked(true).await.unwrap();
    assert_eq!(refused(conversation.send("text/plain", b"x", &SendOptions::default()).await), RefusalName::Blocked);
    stage.fake.act(|world| world.change_peer(HALL, |view| view.trust = kith_engine::Trust::Pending)).await;
    assert_eq!(refused(conversation.send("text/plain", b"x", &SendOptions::default()).await), RefusalName::NotPaired);
}

#[tokio::test]
async fn an_option_that_the_daemon_does_not_know_is_not_dropped_in_silence() {
    let stage = Stage::ready().await;
    let options = HashMap::from([("ttl", Variant::from(5u32))]);
    let conversation = stage.conversation(HALL).await;
    let sent = conversation.inner().call::<_, _, String>("Send", &("text/plain", b"x".as_slice(), options)).await;
    let failure = Failure::from(sent.unwrap_err());
    assert!(matches!(&failure, Failure::InvalidArgs(text) if text.contains("ttl")), "{failure:?}");
}

#[tokio::test]
async fn received_messages_are_counted_fetched_and_acknowledged() {
    let stage = Stage::ready().await;
    let (inbox, conversation, manager) = (stage.inbox().await, stage.conversation(HALL).await, stage.manager().await);
    let mut signals = stage.signals().await;
    stage.fake.act(|world| (1..=4).for_each(|n| world.receive(HALL, "text/plain", format!("{n}").as_bytes()))).await;
    for seq in 1..=4 {
        let signal = next(&mut signals, "Available").await;
        assert_eq!(signal.body().deserialize::<u64>().unwrap(), seq);
    }
    assert_eq!(u64::try_from(changed(&mut signals, "LastSeq").await), Ok(4));
    conversation.mark_read(2).await.unwrap();
    assert_eq!((conversation.unread().await.unwrap(), manager.unread().await.unwrap()), (0, 0));
    let seqs = |rows: Vec<kith_dbus::Row>| rows.into_iter().map(|row| row.inbox_seq).collect::<Vec<_>>();
    assert_eq!(seqs(inbox.fetch("relay", 0, 2).await.unwrap()), [1, 2]);
    assert_eq!(seqs(inbox.fetch("relay", 2, 9).await.unwrap()), [3, 4]);
    inbox.ack("relay", 3).await.unwrap();
    assert_eq!(seqs(inbox.fetch("relay", 0, 9).await.unwrap()), [4]);
    assert_eq!(inbox.fetch("other", 0, 1).await.unwrap()[0].body, b"1");
}

#[tokio::test]
async fn unread_messages_of_all_conversations_add_up() {
    let stage = Stage::ready().await;
    stage.manager().await.accept("kith:gate", &AcceptOptions::default()).await.unwrap();
    let mut signals = stage.signals().await;
    stage
        .fake
        .act(|world| [HALL, GATE, GATE].into_iter().for_each(|peer| world.receive(peer, "text/plain", b"x")))
        .await;
    let manager_unread = |signal: &Message| {
        let (interface, mut properties, _): Changed = signal.body().deserialize().unwrap();
        let unread = properties.remove("Unread").filter(|_| interface == kith_dbus::MANAGER_INTERFACE)?;
        u64::try_from(unread).ok()
    };
    while manager_unread(&next(&mut signals, "PropertiesChanged").await) != Some(3) {}
    assert_eq!(stage.manager().await.unread().await.unwrap(), 3);
}

#[tokio::test]
async fn messages_that_come_together_are_all_told_of_and_change_the_conversation_once() {
    let stage = Stage::ready().await;
    let mut signals = stage.signals().await;
    stage.fake.act(|world| (0..100).for_each(|_| world.receive(HALL, "text/plain", b"x"))).await;
    let (mut told, mut last_seqs) = (0, Vec::new());
    while last_seqs.last() != Some(&100) {
        let signal = signals.next().await.unwrap().unwrap();
        match signal.header().member().map(|member| member.to_string()).as_deref() {
            Some("Available") => told += 1,
            Some("PropertiesChanged") => {
                let (_, mut properties, _): Changed = signal.body().deserialize().unwrap();
                last_seqs.extend(properties.remove("LastSeq").map(|seq| u64::try_from(seq).unwrap()));
            }
            _ => {}
        }
    }
    assert_eq!((told, last_seqs), (100, vec![100]));
}

#[tokio::test]
async fn what_concerns_the_whole_device_is_told() {
    let stage = Stage::ready().await;
    let mut signals = stage.signals().await;
    stage.fake.act(|world| world.tell(Event::Intruder)).await;
    assert_eq!(next(&mut signals, "Intruder").await.header().path().unwrap().as_str(), kith_dbus::ROOT_PATH);
    let refused = kith_engine::SignalingState::Refused(kith_engine::RefusedBy::IdentityInUse);
    stage.fake.act(move |world| world.tell(Event::Signaling(refused))).await;
    assert_eq!(u32::try_from(changed(&mut signals, "Signaling").await), Ok(u32::from(Signaling::IdentityInUse)));
    let notice = kith_engine::LoggingNotice { mode: kith_engine::LoggingMode::Debug, text: "For an hour.".into() };
    stage.fake.act(|world| world.tell(Event::Notice(notice))).await;
    let shown = HashMap::<String, OwnedVariant>::try_from(changed(&mut signals, "LoggingNotice").await).unwrap();
    assert_eq!(u32::try_from(&*shown["mode"]), Ok(u32::from(LoggingMode::Debug)));
}

#[tokio::test]
async fn no_broadcast_carries_a_body_an_invite_or_a_secret() {
    let stage = Stage::new(DaemonState::Locked).await;
    let mut signals = stage.signals().await;
    let manager = stage.manager().await;
    manager.unlock(&SECRET.into()).await.unwrap();
    let path = manager.invite(&InviteOptions::default()).await.unwrap();
    assert_eq!(stage.pairing(path).await.uri().await.unwrap(), URI);
    let conversation = stage.conversation(HALL).await;
    conversation.send("text/plain", b"what I wrote", &SendOptions::default()).await.unwrap();
    stage.fake.act(|world| world.receive(HALL, "text/plain", b"what it wrote")).await;
    conversation.list(0, 10).await.unwrap();
    stage.inbox().await.fetch("relay", 0, 10).await.unwrap();
    stage.fake.act(|world| world.end_pairing(PairingId(1), kith_engine::PairingState::Done(HALL))).await;
    manager.lock().await.unwrap();
    stage.fake.act(|world| world.tell(Event::Intruder)).await;
    let mut seen = 0;
    loop {
        let signal = signals.next().await.unwrap().unwrap();
        let bytes = signal.data();
        for secret in [SECRET, URI, "what I wrote", "what it wrote"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {signal:?}");
        }
        seen += 1;
        let (header, body) = (signal.header(), signal.body());
        if header.member().is_some_and(|member| member == "PropertiesChanged")
            && body.deserialize::<Changed>().is_ok_and(|(_, _, gone)| !gone.is_empty())
        {
            break;
        }
    }
    assert!(seen > 8, "only {seen} signals");
}
