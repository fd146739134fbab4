//! What a locked messenger answers, and how long a guesser has to wait.

use std::collections::HashMap;

use kith_dbus::{INBOX_INTERFACE, INBOX_PATH, INTERFACES, MANAGER_INTERFACE, ROOT_PATH};
use kith_system_tests::{Device, Logging, Messenger, Server};
use zbus::Variant;
use zbus::wire::{Structure, StructureBuilder};

use crate::Pair;
use crate::contract::{attribute, interfaces};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const LOCKED: &str = "org.kith.Messenger1.Error.Locked";

/// The arguments of a call; `None` for none.
fn structure(values: Vec<Variant<'_>>) -> Option<Structure<'_>> {
    let fields = values.into_iter().fold(StructureBuilder::new(), StructureBuilder::append_field);
    fields.build().ok()
}

/// Some value of a type.
fn some(signature: &str) -> Variant<'static> {
    match signature {
        "s" => Variant::from(""),
        "b" => Variant::from(true),
        "u" => Variant::from(1u32),
        "t" => Variant::from(1u64),
        "ay" => Variant::from(Vec::<u8>::new()),
        "a{sv}" => Variant::from(HashMap::<String, Variant<'_>>::new()),
        "h" => Variant::Fd(std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").unwrap()).into()),
        other => panic!("the test knows no value of type {other}"),
    }
}

/// One member of an interface, as `contract` writes it: a tag, and those inside it.
struct Member<'a> {
    kind: &'a str,
    name: String,
    inputs: Vec<String>,
    line: &'a str,
}

impl<'a> Member<'a> {
    fn read(line: &'a str) -> Self {
        let (kind, rest) = line.split_once('(').unwrap();
        let word = |text: &str, key: &str| {
            let (_, rest) = text.split_once(&format!("{key}=")).unwrap();
            rest.split([' ', ')']).next().unwrap().to_owned()
        };
        let inputs = rest.split("arg(").skip(1).filter(|arg| arg.contains("direction=in"));
        let inputs = inputs.map(|arg| word(arg, "type")).collect();
        Self { kind, name: word(rest, "name"), inputs, line }
    }

    fn property_type(&self) -> String {
        let (_, kind) = self.line.split_once("type=").unwrap();
        kind.split([' ', ')']).next().unwrap().to_owned()
    }
}

/// What answers while the store is locked.
fn answers(interface: &str, member: &Member<'_>) -> bool {
    let names: &[&str] = match member.kind {
        "method" => &["SetUp", "Unlock", "Elevate", "StepDown", "Wipe", "Lock"],
        _ => &["State", "Version", "ClientId"],
    };
    interface == MANAGER_INTERFACE && names.contains(&member.name.as_str())
}

/// Tries every member of an interface on an object, and checks the error that comes back.
async fn expect(messenger: &Messenger, path: &str, interface: &str, xml: &str, error: &str) -> usize {
    let members = &interfaces(xml)[interface];
    let mut tried = 0;
    for member in members.iter().map(|line| Member::read(line)).filter(|member| !answers(interface, member)) {
        let said = match member.kind {
            "method" => {
                let arguments = structure(member.inputs.iter().map(|kind| some(kind)).collect());
                vec![messenger.error_of(path, interface, &member.name, arguments.as_ref()).await.unwrap()]
            }
            "property" => {
                let read = structure(vec![interface.into(), member.name.as_str().into()]);
                let mut said = vec![messenger.error_of(path, PROPERTIES, "Get", read.as_ref()).await.unwrap()];
                if member.line.contains("access=readwrite") {
                    let value = Variant::Variant(Box::new(some(&member.property_type())));
                    let write = structure(vec![interface.into(), member.name.as_str().into(), value]);
                    said.push(messenger.error_of(path, PROPERTIES, "Set", write.as_ref()).await.unwrap());
                }
                said
            }
            _ => continue,
        };
        assert!(said.iter().all(|name| name == error), "{interface}.{}: {said:?}", member.name);
        tried += said.len();
    }
    tried
}

#[tokio::test]
async fn a_locked_messenger_answers_locked_to_every_method_and_property_but_those_that_open_it() {
    let pair = Pair::new().await;
    pair.alice.invite().await.unwrap();
    let messenger = pair.alice.messenger().await.unwrap();
    let objects = messenger.objects().await.unwrap();
    pair.alice.kithctl(&["lock"], "").await.unwrap();

    let mut tried = 0;
    for (_, xml) in INTERFACES {
        let interface = attribute(xml.split_once("<interface ").unwrap().1, "name");
        let lasting = match interface.as_str() {
            MANAGER_INTERFACE => Some(ROOT_PATH),
            INBOX_INTERFACE => Some(INBOX_PATH),
            _ => None,
        };
        if let Some(path) = lasting {
            tried += expect(&messenger, path, &interface, xml, LOCKED).await;
        }
        // The objects of contacts and pairings are not there any more.
        for (path, _) in objects.iter().filter(|(_, names)| lasting.is_none() && names.contains(&interface)) {
            tried += expect(&messenger, path, &interface, xml, "org.freedesktop.DBus.Error.UnknownObject").await;
        }
    }
    assert!(tried > 25, "{tried} members were tried");

    let status = pair.alice.kithctl_json(&["status"], "").await.unwrap();
    assert_eq!((&status["state"], status["client_id"].as_str().unwrap().len()), (&"locked".into(), 39));
    pair.alice.unlock().await.unwrap();
}

#[tokio::test]
async fn wrong_secrets_are_slowed_down_across_restarts_and_power_cuts_and_the_error_says_how_long() {
    let server = Server::start(Logging::Active).await.unwrap();
    let mut device = Device::start("hall", &server.url()).await.unwrap();
    for cut in [false, true, false] {
        if cut {
            device.cut_power()
        } else {
            device.stop().unwrap()
        }
        device.run().unwrap();
        device.messenger().await.unwrap();
        let error = device.kithctl(&["unlock"], "guess").await.unwrap_err();
        assert!(format!("{error:#}").contains("The secret does not open the store"), "{error:#}");
    }
    // From here each wrong one doubles the wait; whoever comes too early is told how long it is.
    let mut waits = Vec::new();
    while waits.len() < 2 {
        let error = format!("{:#}", device.kithctl(&["unlock"], "guess").await.unwrap_err());
        match error.split_once("Too many wrong secrets: try again in ") {
            Some((_, rest)) => {
                let seconds: u64 = rest.split(' ').next().unwrap().parse().unwrap();
                waits.push(seconds);
                // The right one has to wait as well, and this wait is what is tested.
                tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
            }
            None => assert!(error.contains("The secret does not open the store"), "{error}"),
        }
    }
    assert!(waits[0] <= 1 && waits[1] <= 2, "{waits:?}");
    device.unlock().await.unwrap();
}
