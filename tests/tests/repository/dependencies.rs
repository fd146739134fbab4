//! The arrows between the crates, and what each room keeps outside.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::{files, in_repository, root};

/// Crate, and the crates of this workspace that it may use outside its tests: no other arrows.
const ARROWS: &[(&str, &[&str])] = &[
    ("kith-crypto", &[]),
    ("kith-dbus", &[]),
    ("kith-engine", &["kith-crypto"]),
    ("kith-fuzz", &["kith-crypto", "kith-engine", "kith-signal-protocol", "kithd"]),
    ("kith-kiosk", &["kith-dbus"]),
    ("kith-manual", &["kith-kiosk", "kith-signal", "kithctl", "kithd"]),
    ("kith-self-check", &["kith-crypto"]),
    ("kith-signal", &["kith-crypto", "kith-signal-protocol"]),
    ("kith-signal-protocol", &["kith-crypto"]),
    ("kith-system-tests", &["kith-crypto", "kith-dbus", "kith-engine", "kith-signal-protocol", "kithd"]),
    ("kithctl", &["kith-dbus"]),
    ("kithd", &["kith-crypto", "kith-dbus", "kith-engine", "kith-signal-protocol"]),
    ("xtask", &[]),
];

/// The platform whose graph of crates is looked at.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// All that the engine is made of. What needs a runtime, a file or a socket does not belong there.
const ENGINE: &[&str] =
    &["data-encoding", "kith-crypto", "postcard", "rand_core", "serde", "serde_bytes", "thiserror", "zeroize"];

/// What brings input and output along, at any depth.
const INPUT_AND_OUTPUT: &[&str] =
    &["async-io", "getrandom", "libc", "mio", "redb", "rtc", "rustix", "socket2", "tokio", "tracing", "webrtc", "zbus"];

/// Paths of the standard library that an engine without I/O, clock and threads has no use for.
const OUTSIDE_WORLD: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .current_dir(root())
        // The rules are about what a device runs; other platforms' crates need not be fetched.
        .other_options(["--locked", "--filter-platform", PLATFORM].map(str::to_owned))
        .exec()
        .expect("cargo metadata answers")
}

fn package<'a>(metadata: &'a Metadata, name: &str) -> &'a Package {
    metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name.as_str() == name)
        .unwrap_or_else(|| panic!("{name} is in the workspace"))
}

fn normal_dependencies(package: &Package) -> BTreeSet<&str> {
    let normal = package.dependencies.iter().filter(|dep| dep.kind == DependencyKind::Normal);
    normal.map(|dep| dep.name.as_str()).collect()
}

/// All that a crate pulls in outside its tests, at any depth.
fn closure(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let nodes = &metadata.resolve.as_ref().expect("a resolved graph").nodes;
    let nodes: BTreeMap<&PackageId, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let mut waiting = vec![&package(metadata, name).id];
    let mut seen: BTreeSet<&PackageId> = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        for dependency in &nodes[id].deps {
            let is_normal = |kind: &cargo_metadata::DepKindInfo| kind.kind == DependencyKind::Normal;
            if dependency.dep_kinds.iter().any(is_normal) && seen.insert(&dependency.pkg) {
                waiting.push(&dependency.pkg);
            }
        }
    }
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

#[test]
fn crates_depend_on_each_other_by_the_drawn_arrows_only() {
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let drawn: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(members, drawn, "every crate of the workspace is drawn");
    for (name, allowed) in ARROWS {
        let used: BTreeSet<&str> =
            normal_dependencies(package(&metadata, name)).intersection(&members).copied().collect();
        let extra: Vec<_> = used.iter().filter(|used| !allowed.contains(used)).collect();
        assert!(extra.is_empty(), "{name} depends on {extra:?}");
    }
}

#[test]
fn the_engine_is_made_of_computation_only() {
    let metadata = metadata();
    let direct = normal_dependencies(package(&metadata, "kith-engine"));
    let extra: Vec<_> = direct.iter().filter(|name| !ENGINE.contains(name)).collect();
    assert!(extra.is_empty(), "kith-engine depends on {extra:?}");
    let all = closure(&metadata, "kith-engine");
    let outside: Vec<_> = INPUT_AND_OUTPUT.iter().filter(|name| all.contains(**name)).collect();
    assert!(outside.is_empty(), "kith-engine pulls in {outside:?}");
}

#[test]
fn the_engine_uses_no_clock_no_file_no_thread_and_no_unordered_map() {
    for path in files(".rs") {
        let name = in_repository(&path);
        if !name.starts_with("daemon/engine/src/") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for (number, line) in source.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in OUTSIDE_WORLD {
                assert!(!code.contains(word), "{name}:{}: {word}", number + 1);
            }
        }
    }
}

#[test]
fn the_command_line_and_the_kiosk_hold_no_keys() {
    let metadata = metadata();
    for name in ["kithctl", "kith-kiosk", "kith-dbus"] {
        let all = closure(&metadata, name);
        for secret in ["kith-crypto", "kith-engine", "redb", "webrtc"] {
            assert!(!all.contains(secret), "{name} pulls in {secret}");
        }
    }
}

#[test]
fn kith_crypto_asks_nobody_for_std_or_alloc() {
    let metadata = metadata();
    let crypto = package(&metadata, "kith-crypto");
    for feature in crypto.features.keys() {
        assert!(!["std", "alloc"].contains(&feature.as_str()), "kith-crypto has a feature {feature}");
    }
    for dependency in crypto.dependencies.iter().filter(|dep| dep.kind == DependencyKind::Normal) {
        let name = &dependency.name;
        assert!(!dependency.uses_default_features, "{name} comes with its default features");
        for feature in &dependency.features {
            assert!(!["std", "alloc"].contains(&feature.as_str()), "{name} comes with {feature}");
        }
    }
    let root_module = std::fs::read_to_string(root().join("crypto-core/src/lib.rs")).unwrap();
    assert!(root_module.contains("#![no_std]") || root_module.contains("#![cfg_attr(not(test), no_std)]"));
}

#[test]
fn webrtc_is_used_in_the_link_room_only() {
    for path in files(".rs") {
        let name = in_repository(&path);
        if name.starts_with("daemon/src/link/") || name.starts_with("tests/tests/repository/") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(!source.contains("use webrtc"), "{name} uses webrtc");
        assert!(!source.contains("use rtc"), "{name} uses rtc");
    }
}
