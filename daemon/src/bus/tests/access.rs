//! Who may do what: with polkit, without it, and with what the PIN grants.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};

use kith_dbus::{
    ACTIONS, Action, CreateRoomOptions, ExportOptions, Failure, ImportOptions, InviteOptions, RefusalName,
};
use tokio::sync::Notify;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::wire::Fd;
use zbus::{OwnedVariant, Variant, interface};

use super::fake::{HALL, SECRET};
use super::introspection::interfaces;
use super::*;
use crate::task::TaskKind;

/// Long enough for any answer, and not waited for.
const WAIT: Duration = Duration::from_secs(30);
const PIN: &str = "2580";

/// What a stand-in for polkit was asked: whose connection, which action, and with what flags.
type Asked = Vec<(String, String, u32)>;

/// Answers as polkit does, from a list.
#[derive(Clone, Default)]
struct Polkit {
    allowed: Arc<Mutex<BTreeSet<Action>>>,
    asked: Arc<Mutex<Asked>>,
}

/// Takes questions and never answers.
struct Hanging(Arc<Notify>);

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    async fn check_authorization(
        &self,
        subject: (String, HashMap<String, OwnedVariant>),
        action_id: String,
        details: HashMap<String, String>,
        flags: u32,
        cancellation_id: String,
    ) -> (bool, bool, HashMap<String, String>) {
        let (kind, mut of) = subject;
        assert_eq!((kind.as_str(), cancellation_id.as_str(), details.len()), ("system-bus-name", "", 0));
        let name = String::try_from(of.remove("name").unwrap()).unwrap();
        self.asked.lock().unwrap().push((name, action_id.clone(), flags));
        let is_allowed = self.allowed.lock().unwrap().iter().any(|action| action.id() == action_id);
        (is_allowed, !is_allowed, HashMap::new())
    }
}

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Hanging {
    async fn check_authorization(
        &self,
        _subject: (String, HashMap<String, OwnedVariant>),
        _action_id: String,
        _details: HashMap<String, String>,
        _flags: u32,
        _cancellation_id: String,
    ) -> (bool, bool, HashMap<String, String>) {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// Puts something in polkit's place on the bus; it goes with the connection.
async fn in_its_place(stage: &Stage, polkit: impl zbus::object_server::Interface) -> Connection {
    let place = "/org/freedesktop/PolicyKit1/Authority";
    let builder = zbus::connection::Builder::address(stage.bus.address().as_str());
    let builder = builder.serve_at(place, polkit).name("org.freedesktop.PolicyKit1");
    builder.build().await.unwrap()
}

/// The name of the refusal; `None` if the call has not been refused.
fn refusal<T: std::fmt::Debug>(result: Result<T, Failure>) -> Option<RefusalName> {
    match result {
        Err(Failure::Refused(refusal)) => {
            assert!(refusal.sentence.contains(": ") && refusal.sentence.ends_with('.'), "{refusal}");
            Some(refusal.name)
        }
        _ => None,
    }
}

const NOT_AUTHORIZED: Option<RefusalName> = Some(RefusalName::NotAuthorized);

/// An object of each interface.
async fn objects_of(stage: &Stage) -> BTreeMap<&'static str, OwnedObjectPath> {
    let path = |path: &str| OwnedObjectPath::try_from(path.to_owned()).unwrap();
    let manager = stage.manager().await;
    let members = Some(vec![map::peer_path(HALL)]);
    let room = manager.create_room(&CreateRoomOptions { name: Some("house".into()), members }).await.unwrap();
    let pairing = manager.invite(&InviteOptions::default()).await.unwrap();
    let task = stage.handle.tasks().begin(TaskKind::Export).unwrap();
    stage.task_shown(task.id()).await;
    let task_path = map::task_path(task.id());
    // It goes on running.
    std::mem::forget(task);
    BTreeMap::from([
        (kith_dbus::MANAGER_INTERFACE, path(kith_dbus::ROOT_PATH)),
        (kith_dbus::INBOX_INTERFACE, path(kith_dbus::INBOX_PATH)),
        (kith_dbus::PEER_INTERFACE, map::peer_path(HALL)),
        (kith_dbus::CONVERSATION_INTERFACE, map::peer_path(HALL)),
        (kith_dbus::ROOM_INTERFACE, room),
        (kith_dbus::PAIRING_INTERFACE, pairing),
        (kith_dbus::TASK_INTERFACE, task_path),
    ])
}

/// What the interfaces have: methods, and properties that can be written.
fn members() -> BTreeMap<(String, String), bool> {
    let mut all = BTreeMap::new();
    for (interface, members) in kith_dbus::INTERFACES.iter().flat_map(|(_, xml)| interfaces(xml)) {
        for member in members.iter().filter(|member| !member.contains(" / ")) {
            match member.split_once(' ').unwrap() {
                ("method", name) => drop(all.insert((interface.clone(), name.to_owned()), false)),
                ("property", rest) if rest.ends_with("write") => {
                    let name = rest.split(':').next().unwrap().to_owned();
                    all.insert((interface.clone(), name), true);
                }
                _ => {}
            }
        }
    }
    all
}

/// Calls a method without arguments, or sets a property to what it cannot be.
async fn touch(stage: &Stage, path: &OwnedObjectPath, interface: &str, member: &str, is_property: bool) -> Failure {
    if is_property {
        let builder = PropertiesProxy::builder(&stage.client).destination(SERVICE).path(path.clone());
        let properties = builder.build().await.unwrap();
        let interface = InterfaceName::try_from(interface.to_owned()).unwrap();
        return properties.set(interface, member, &Variant::from(0_i16)).await.unwrap_err().into();
    }
    match stage.client.call_method(Some(SERVICE), path.clone(), Some(interface), member, &()).await {
        Ok(_) => Failure::NoObject,
        Err(error) => error.into(),
    }
}

#[test]
fn every_method_and_every_writable_property_has_one_action() {
    let listed: Vec<_> = ACTIONS.iter().map(|(of, name, _)| ((*of).to_owned(), (*name).to_owned())).collect();
    let distinct: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(distinct.len(), listed.len());
    assert_eq!(distinct, members().into_keys().collect());
}

#[tokio::test]
async fn each_member_is_open_to_its_action_and_to_no_other() {
    let polkit = Polkit::default();
    for allowed in Action::ALL {
        let stage = Stage::of_strangers(DaemonState::Ready, WAIT).await;
        // Without polkit the objects can be made.
        let objects = objects_of(&stage).await;
        let _polkit = in_its_place(&stage, polkit.clone()).await;
        *polkit.allowed.lock().unwrap() = BTreeSet::from([allowed]);
        let (open, closed): (Vec<_>, Vec<_>) = ACTIONS.iter().partition(|(_, _, action)| *action == allowed);
        assert!(!open.is_empty());
        // First those that nothing comes of; what is allowed may take objects away.
        for ((interface, member, action), is_open) in
            closed.into_iter().map(|all| (all, false)).chain(open.into_iter().map(|all| (all, true)))
        {
            let is_property = members()[&((*interface).to_owned(), (*member).to_owned())];
            let failure = touch(&stage, &objects[interface], interface, member, is_property).await;
            let is_refused = failure.refusal() == NOT_AUTHORIZED;
            assert_eq!(is_refused, !is_open, "{interface}.{member} ({action:?}), {allowed:?} allowed: {failure}");
        }
    }
}

#[tokio::test]
async fn polkit_is_asked_for_the_connection_that_calls_and_whether_it_may_ask_for_a_password() {
    let stage = Stage::of_strangers(DaemonState::Ready, WAIT).await;
    let polkit = Polkit::default();
    let _polkit = in_its_place(&stage, polkit.clone()).await;
    let caller = stage.client.unique_name().unwrap().to_string();
    assert_eq!(refusal(stage.manager().await.check().await), NOT_AUTHORIZED);
    let call = zbus::Message::method_call(kith_dbus::ROOT_PATH, "Check").destination(SERVICE);
    let call = call.interface(kith_dbus::MANAGER_INTERFACE);
    let call = call.with_flags(zbus::message::Flags::ALLOW_INTERACTIVE_AUTH).build(&()).unwrap();
    let mut answers = MessageStream::from(&stage.client);
    stage.client.send(&call).await.unwrap();
    let serial = call.primary_header().serial_num();
    while answers.next().await.unwrap().unwrap().header().reply_serial() != Some(serial) {}
    let expected = [0, 1].map(|flags| (caller.clone(), Action::Manage.id().to_owned(), flags));
    assert_eq!(*polkit.asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_polkit_that_hangs_holds_up_its_own_caller_only_and_allows_nothing() {
    let stage = Stage::of_strangers(DaemonState::Ready, Duration::from_millis(500)).await;
    let asked = Arc::new(Notify::new());
    let _polkit = in_its_place(&stage, Hanging(asked.clone())).await;
    let manager = stage.manager().await;
    let waiting = tokio::spawn(async move { manager.check().await });
    asked.notified().await;
    // The loop and the objects go on meanwhile.
    let mut signals = stage.signals().await;
    stage.fake.act(|world| world.change_peer(HALL, |view| view.seen_utc_ms = 7)).await;
    next(&mut signals, "PropertiesChanged").await;
    assert_eq!(stage.peer(HALL).await.last_seen().await.unwrap(), 7);
    assert_eq!(refusal(waiting.await.unwrap()), NOT_AUTHORIZED);
}

#[tokio::test]
async fn root_and_the_daemons_own_user_need_neither_polkit_nor_a_pin() {
    let stage = Stage::ready().await;
    let _polkit = in_its_place(&stage, Polkit::default()).await;
    let (manager, file) = (stage.manager().await, tempfile::tempfile().unwrap());
    manager.check().await.unwrap();
    manager.export(&Fd::from(file.as_fd()), &ExportOptions { plain: Some(true) }).await.unwrap();
    manager.wipe(kith_dbus::WIPE_WORD).await.unwrap();
    assert_eq!(manager.state().await.unwrap(), kith_dbus::DaemonState::NeedsSetUp);
}

/// Everything that is dangerous, with what came of it.
async fn all_that_is_dangerous(stage: &Stage) -> Vec<Option<RefusalName>> {
    let (manager, file) = (stage.manager().await, tempfile::tempfile().unwrap());
    let fd = Fd::from(file.as_fd());
    let replace = ImportOptions { replace: Some(true), ..ImportOptions::default() };
    vec![
        refusal(manager.set_pin(&"".into(), &PIN.into()).await),
        refusal(manager.change_secret(&SECRET.into(), &"another".into()).await),
        refusal(manager.export(&fd, &ExportOptions { plain: Some(true) }).await),
        refusal(manager.import(&fd, &replace).await),
        refusal(manager.wipe(kith_dbus::WIPE_WORD).await),
    ]
}

#[tokio::test]
async fn without_polkit_a_member_of_the_group_does_all_but_what_is_dangerous() {
    let stage = Stage::of_strangers(DaemonState::Ready, WAIT).await;
    assert_eq!(all_that_is_dangerous(&stage).await, [NOT_AUTHORIZED; 5]);
    let (manager, file) = (stage.manager().await, tempfile::tempfile().unwrap());
    manager.set_display_name("porch").await.unwrap();
    manager.export(&Fd::from(file.as_fd()), &ExportOptions::default()).await.unwrap();
    stage.inbox().await.fetch("x", 0, 1).await.unwrap();
    stage.conversation(HALL).await.send("text/plain", b"x", &Default::default()).await.unwrap();
}

#[tokio::test]
async fn the_pin_lets_this_connection_do_what_is_dangerous_and_no_other() {
    let stage = Stage::of_strangers(DaemonState::Ready, WAIT).await;
    stage.fake.act(|world| world.pin = Some(PIN.into())).await;
    let manager = stage.manager().await;
    assert_eq!(manager.elevate(&PIN.into()).await.unwrap(), 300);
    let other = stage.bus.connect().await;
    let others = Manager1Proxy::new(&other).await.unwrap();
    assert_eq!(refusal(others.wipe(kith_dbus::WIPE_WORD).await), NOT_AUTHORIZED);
    assert_eq!(all_that_is_dangerous(&stage).await, [None; 5]);
}

#[tokio::test]
async fn what_the_pin_grants_ends_by_giving_it_up_and_by_locking() {
    let stage = Stage::of_strangers(DaemonState::Ready, WAIT).await;
    stage.fake.act(|world| world.pin = Some(PIN.into())).await;
    let manager = stage.manager().await;
    manager.elevate(&PIN.into()).await.unwrap();
    manager.step_down().await.unwrap();
    assert_eq!(all_that_is_dangerous(&stage).await, [NOT_AUTHORIZED; 5]);
    manager.elevate(&PIN.into()).await.unwrap();
    manager.lock().await.unwrap();
    manager.unlock(&SECRET.into()).await.unwrap();
    assert_eq!(all_that_is_dangerous(&stage).await, [NOT_AUTHORIZED; 5]);
}

#[tokio::test]
async fn a_wrong_pin_grants_nothing_and_the_answer_says_how_long_to_wait() {
    let stage = Stage::of_strangers(DaemonState::Ready, WAIT).await;
    stage.fake.act(|world| world.pin = Some(PIN.into())).await;
    let manager = stage.manager().await;
    for _ in 0..2 {
        assert_eq!(refusal(manager.elevate(&"0000".into()).await), Some(RefusalName::WrongSecret));
    }
    let Err(Failure::Refused(refusal)) = manager.elevate(&"0000".into()).await else { panic!("it is refused") };
    assert_eq!((refusal.name, refusal.retry_after_s), (RefusalName::RateLimited, Some(4)));
    assert_eq!(all_that_is_dangerous(&stage).await, [NOT_AUTHORIZED; 5]);
}

#[tokio::test]
async fn whether_there_is_a_pin_is_announced() {
    let stage = Stage::ready().await;
    let manager = stage.manager().await;
    let mut signals = stage.signals().await;
    assert!(!manager.pin_set().await.unwrap());
    manager.set_pin(&"".into(), &PIN.into()).await.unwrap();
    assert!(manager.pin_set().await.unwrap());
    loop {
        let signal = next(&mut signals, "PropertiesChanged").await;
        let (_, properties, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
            signal.body().deserialize().unwrap();
        if let Some(value) = properties.get("PinSet") {
            assert_eq!(bool::try_from(value.clone()), Ok(true));
            break;
        }
    }
}

#[tokio::test]
async fn wiping_takes_the_word() {
    let stage = Stage::ready().await;
    let manager = stage.manager().await;
    assert_eq!(refusal(manager.wipe("Wipe").await), Some(RefusalName::InvalidArgument));
    assert_eq!(manager.state().await.unwrap(), kith_dbus::DaemonState::Ready);
}

#[tokio::test]
async fn polkit_can_let_somebody_wipe_without_a_pin() {
    let stage = Stage::of_strangers(DaemonState::Ready, WAIT).await;
    let polkit = Polkit::default();
    let _polkit = in_its_place(&stage, polkit.clone()).await;
    let manager = stage.manager().await;
    assert_eq!(refusal(manager.wipe(kith_dbus::WIPE_WORD).await), NOT_AUTHORIZED);
    *polkit.allowed.lock().unwrap() = BTreeSet::from([Action::Wipe]);
    manager.wipe(kith_dbus::WIPE_WORD).await.unwrap();
}
