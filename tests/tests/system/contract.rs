//! What the running service says about itself is what the XML files say.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use kith_dbus::{INBOX_PATH, INTERFACES, ROOT_PATH, SERVICE};

use crate::Pair;

/// The elements of each interface, one a line, without comments and in a fixed order.
pub(crate) fn interfaces(xml: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    let bare = without_comments(xml);
    for part in bare.split("<interface ").skip(1) {
        let (body, _) = part.split_once("</interface>").expect("an interface ends");
        let (head, body) = body.split_once('>').expect("an interface has a name");
        found.insert(attribute(head, "name"), members(body));
    }
    found
}

fn without_comments(xml: &str) -> String {
    let mut parts = xml.split("<!--");
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        bare.push_str(part.split_once("-->").expect("a comment ends").1);
    }
    bare
}

/// Methods, signals and properties, each with its arguments and annotations in their order.
fn members(body: &str) -> BTreeSet<String> {
    let mut members = BTreeSet::new();
    let mut open: Option<String> = None;
    for tag in body.split('<').skip(1) {
        let tag = tag.split('>').next().expect("a tag ends");
        let line = normalised(tag);
        match (tag.starts_with('/'), tag.ends_with('/'), open.as_mut()) {
            (true, _, Some(_)) if ["/method", "/signal", "/property"].contains(&tag.trim()) => {
                members.extend(open.take());
            }
            (true, ..) => {}
            (false, _, Some(member)) => *member = format!("{member} {line}"),
            (false, true, None) => {
                members.insert(line);
            }
            (false, false, None) => open = Some(line),
        }
    }
    members
}

/// A tag with its attributes in alphabetical order.
fn normalised(tag: &str) -> String {
    let tag = tag.trim().trim_end_matches('/').trim();
    let (name, rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let attributes: BTreeSet<String> = ["access", "direction", "name", "type", "value"]
        .iter()
        .filter(|attribute_name| rest.contains(&format!("{attribute_name}=")))
        .map(|attribute_name| format!("{attribute_name}={}", attribute(rest, attribute_name)))
        .collect();
    format!("{name}({})", attributes.into_iter().collect::<Vec<_>>().join(" "))
}

pub(crate) fn attribute(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("{name} in {text}"));
    rest.split('"').next().expect("a value ends").to_owned()
}

#[tokio::test]
async fn the_running_service_has_the_interfaces_of_the_contract_and_no_others() {
    let pair = Pair::new().await;
    // An open invite, a task and a room, so that every kind of object is there.
    pair.alice.invite().await.unwrap();
    pair.alice.kithctl(&["check"], "").await.unwrap();
    pair.alice.kithctl(&["room", "create", "house", "bob"], "").await.unwrap();
    let messenger = pair.alice.messenger().await.unwrap();
    let mut paths: BTreeSet<String> = messenger.objects().await.unwrap().into_keys().collect();
    paths.extend([ROOT_PATH.to_owned(), INBOX_PATH.to_owned()]);

    let mut served = BTreeMap::new();
    for path in &paths {
        let xml = messenger.introspection(path).await.unwrap();
        served.extend(interfaces(&xml).into_iter().filter(|(name, _)| name.starts_with(SERVICE)));
    }
    let mut written = BTreeMap::new();
    for (_, xml) in INTERFACES {
        written.extend(interfaces(xml));
    }
    assert_eq!(served.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (name, members) in &written {
        assert_eq!(&served[name], members, "{name}");
    }
}

#[tokio::test]
async fn busctl_reads_the_service() {
    let pair = Pair::new().await;
    let address = format!("--address={}", pair.alice.bus_address());
    let output = Command::new("busctl").args([&address, "introspect", SERVICE, ROOT_PATH]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    for word in ["org.kith.Messenger1.Manager1", ".Invite", ".Signaling", "org.freedesktop.DBus.ObjectManager"] {
        assert!(printed.contains(word), "{word}: {printed}");
    }
}

#[test]
fn interfaces_are_compared_without_comments_and_regardless_of_order() {
    let one = r#"<node><interface name="a"><!-- why > --><method name="M"><arg name="x" type="s" direction="in"/></method>
        <property name="P" type="u" access="read"/></interface></node>"#;
    let other = r#"<node><interface name="a"><property access="read" name="P" type="u"/>
        <method name="M"><arg type="s" name="x" direction="in"/></method></interface></node>"#;
    assert_eq!(interfaces(one), interfaces(other));
    assert_ne!(interfaces(one), interfaces(&other.replace("type=\"s\"", "type=\"t\"")));
}
