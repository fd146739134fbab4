//! What introspection says, in a form that can be compared.

use std::collections::{BTreeMap, BTreeSet};

/// The members of each interface of an object, without those of the objects below it.
pub(super) fn interfaces(xml: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut open: Vec<Tag> = Vec::new();
    for tag in tags(xml) {
        if tag.is_end {
            let ended = open.pop().expect("tags are balanced");
            close(ended, &open, &mut found);
            continue;
        }
        let is_empty = tag.is_empty;
        open.push(tag);
        if is_empty {
            let ended = open.pop().expect("just pushed");
            close(ended, &open, &mut found);
        }
    }
    assert!(open.is_empty(), "tags are balanced");
    found
}

/// One tag, and what has been read inside it.
#[derive(Clone, Debug, Default)]
struct Tag {
    name: String,
    attributes: BTreeMap<String, String>,
    is_end: bool,
    is_empty: bool,
}

/// Hands what an element says to the elements around it.
fn close(tag: Tag, around: &[Tag], found: &mut BTreeMap<String, BTreeSet<String>>) {
    let nodes = around.iter().filter(|tag| tag.name == "node").count();
    let Some(interface) = around.iter().find(|tag| tag.name == "interface") else {
        if tag.name == "interface" && nodes == 1 {
            found.entry(tag.attributes["name"].clone()).or_default();
        }
        return;
    };
    if nodes != 1 {
        return;
    }
    let members = found.entry(interface.attributes["name"].clone()).or_default();
    // Below the interface: the member, and what is inside it.
    let path: Vec<&Tag> = around.iter().skip_while(|tag| tag.name != "interface").skip(1).collect();
    match path.as_slice() {
        [] => {
            let kind = tag.attributes.get("type").map(|kind| format!(": {kind}")).unwrap_or_default();
            let access = tag.attributes.get("access").map(|access| format!(" {access}")).unwrap_or_default();
            members.insert(format!("{} {}{kind}{access}", tag.name, tag.attributes["name"]));
        }
        [member, ..] => {
            let of = format!("{} {}", member.name, member.attributes["name"]);
            let place = members.iter().filter(|line| line.starts_with(&format!("{of} / arg "))).count();
            let line = match tag.name.as_str() {
                "arg" => {
                    let default = if member.name == "signal" { "out" } else { "in" };
                    let direction = tag.attributes.get("direction").map_or(default, String::as_str);
                    let name = tag.attributes.get("name").map_or("", String::as_str);
                    format!("{of} / arg {place} {direction} {name}: {}", tag.attributes["type"])
                }
                _ => format!("{of} / {} {} = {}", tag.name, tag.attributes["name"], tag.attributes["value"]),
            };
            members.insert(line);
        }
    }
}

fn tags(xml: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        if rest.starts_with("<!--") {
            let end = rest.find("-->").expect("comments end");
            rest = &rest[end + 3..];
            continue;
        }
        let end = rest.find('>').expect("tags end");
        let inner = &rest[1..end];
        rest = &rest[end + 1..];
        if !inner.starts_with(['!', '?']) {
            tags.push(tag(inner));
        }
    }
    tags
}

fn tag(inner: &str) -> Tag {
    let (is_end, is_empty) = (inner.starts_with('/'), inner.ends_with('/'));
    let inner = inner.trim_matches('/').trim();
    let (name, mut rest) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
    let mut attributes = BTreeMap::new();
    while let Some((key, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').expect("values end");
        attributes.insert(key.trim().to_owned(), value.to_owned());
        rest = after;
    }
    Tag { name: name.to_owned(), attributes, is_end, is_empty }
}

#[test]
fn only_what_the_object_itself_says_counts() {
    let xml = r#"<!DOCTYPE node PUBLIC "x" "y"><node><!-- <interface name="no"/> -->
        <interface name="A">
          <method name="M"><arg name="x" type="s" direction="in"/><arg name="y" type="u" direction="out"/></method>
          <signal name="S"><arg name="z" type="t"/></signal>
          <property name="P" type="s" access="read"><annotation name="k" value="v"/></property>
        </interface>
        <interface name="B"/>
        <node name="below"><interface name="C"><method name="N"/></interface></node>
      </node>"#;
    let found = interfaces(xml);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["A", "B"]);
    let expected = [
        "method M",
        "method M / arg 0 in x: s",
        "method M / arg 1 out y: u",
        "property P / annotation k = v",
        "property P: s read",
        "signal S",
        "signal S / arg 0 out z: t",
    ];
    assert_eq!(found["A"].iter().collect::<Vec<_>>(), expected);
}
