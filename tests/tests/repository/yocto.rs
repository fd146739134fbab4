//! The Yocto layer, as far as it can be read without bitbake.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{files, in_repository, root};

const LAYER: &str = "yocto/meta-kith";

/// Recipes and what they include.
fn recipes() -> Vec<PathBuf> {
    let all = files(".bb").into_iter().chain(files(".inc")).chain(files(".bbclass"));
    all.filter(|path| in_repository(path).starts_with(LAYER)).collect()
}

/// A crate, its version and its checksum.
type Fetched = (String, String, String);

fn locked() -> BTreeSet<Fetched> {
    let lock: toml::Table = toml::from_str(&fs::read_to_string(root().join("Cargo.lock")).unwrap()).unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    let fetched = packages.filter(|package| package.get("source").is_some());
    let field = |package: &toml::Value, name: &str| package[name].as_str().unwrap().to_owned();
    fetched.map(|package| (field(package, "name"), field(package, "version"), field(package, "checksum"))).collect()
}

fn listed() -> BTreeSet<Fetched> {
    let text = fs::read_to_string(root().join(LAYER).join("recipes-kith/kith/kith-crates.inc")).unwrap();
    let checksum = |name: &str| {
        let beginning = format!("SRC_URI[{name}.sha256sum] = \"");
        let mut sums = text.lines().filter_map(|line| line.strip_prefix(&*beginning)?.strip_suffix('"'));
        let sum = sums.next().unwrap_or_else(|| panic!("no checksum of {name}"));
        assert_eq!(sums.next(), None, "two checksums of {name}");
        sum.to_owned()
    };
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("crate://"));
    lines
        .map(|line| {
            let (address, name) = line.trim_end_matches([' ', '\\']).split_once(";name=").unwrap();
            let [_, crate_name, version] = address.split('/').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(name, format!("{crate_name}-{version}"));
            (crate_name.to_owned(), version.to_owned(), checksum(name))
        })
        .collect()
}

#[test]
fn the_crates_of_the_recipes_are_those_of_the_lock_file() {
    let (locked, listed) = (locked(), listed());
    let differ: Vec<_> = locked.symmetric_difference(&listed).collect();
    assert!(differ.is_empty(), "run `cargo xtask yocto`: {differ:?}");
}

#[test]
fn recipes_install_files_that_exist() {
    for recipe in recipes() {
        let text = fs::read_to_string(&recipe).unwrap();
        let name = in_repository(&recipe);
        for word in text.split_whitespace().filter_map(|word| word.strip_prefix("${S}/")) {
            let beside = recipe.parent().unwrap().join("files").join(word);
            let folder = Path::new(word).parent().unwrap();
            let exists = if word.contains('*') { root().join(folder).is_dir() } else { root().join(word).is_file() };
            assert!(exists || beside.is_file(), "{name} installs {word}");
        }
        for word in text.split(['"', ' ']).filter_map(|word| word.strip_prefix("file://")) {
            let word = word.split(';').next().unwrap_or_default();
            let is_in_source = root().join(word).is_file();
            let beside = recipe.parent().unwrap().join("files").join(word).is_file();
            assert!(is_in_source || beside || word.starts_with("${COMMON_LICENSE_DIR}"), "{name} fetches {word}");
        }
        for word in text.lines().filter_map(|line| line.strip_prefix("require ")) {
            assert!(recipe.with_file_name(word).is_file(), "{name} requires {word}");
        }
    }
}

#[test]
fn licences_are_those_that_the_recipes_have_seen() {
    let text = fs::read_to_string(root().join(LAYER).join("recipes-kith/kith/kith.inc")).unwrap();
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let output = Command::new("md5sum").arg(root().join(licence)).output().unwrap();
        let sum = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
        assert!(text.contains(&format!("file://{licence};md5={sum}")), "{licence} is {sum}");
    }
}

/// What the layer's check says of an image with this file in it.
fn check(file: &str, content: &str) -> Output {
    let image = tempfile::tempdir().unwrap();
    let path = image.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    let script = root().join(LAYER).join("scripts/refuse-identity.sh");
    Command::new("sh").arg(script).arg(image.path()).output().unwrap()
}

#[test]
fn an_image_that_holds_an_identity_is_refused() {
    for (file, content) in [
        ("var/lib/kith/store.redb", "x"),
        ("var/lib/kith/lock", ""),
        ("etc/credstore.encrypted/kith.secret", "x"),
        ("var/lib/credstore.encrypted/kith.secret", "x"),
        ("usr/lib/credstore/kith.secret", "x"),
        ("var/lib/systemd/credential.secret", "x"),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ] {
        let output = check(file, content);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(said.starts_with(&format!("/{file} ")), "{file}: {said}");
    }
    for (file, content) in [("etc/kith/kithd.toml", "x"), ("etc/machine-id", ""), ("etc/machine-id", "uninitialized\n")]
    {
        let output = check(file, content);
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
