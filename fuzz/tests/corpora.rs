//! What the fuzzers have found so far, as tests: every input of every corpus, and every seed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kith_fuzz::{TARGETS, Target, Verdict};

/// All corpora together; they are minimised before they are committed.
const CORPORA_BYTES_MAX: usize = 300 * 1024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names_in(folder: &Path, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

/// The inputs of one corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder("corpus").join(target);
    let names = names_in(&folder, "");
    names.into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

fn keeps_its_promises(target: &Target) {
    for (number, seed) in (target.seeds)().iter().enumerate() {
        eprintln!("seed {number}");
        assert_eq!((target.run)(seed), Verdict::Read, "a seed is an input that is read");
    }
    for (name, input) in corpus(target.name) {
        eprintln!("{name}");
        (target.run)(&input);
    }
}

/// One test for each target, so that they run side by side.
macro_rules! corpora {
    ($($name:ident $target:ident),*) => {
        mod whatever_was_found_breaks_no_promise_of {
            $(#[test]
            fn $name() {
                super::keeps_its_promises(&kith_fuzz::$target);
            })*
        }

        /// Those above.
        const TESTED: &[&str] = &[$(kith_fuzz::$target.name),*];
    };
}

corpora! {
    backup BACKUP,
    description DESCRIPTION,
    engine ENGINE,
    frame FRAME,
    handshake HANDSHAKE,
    invite INVITE,
    payload PAYLOAD,
    session SESSION,
    store STORE,
    to_device TO_DEVICE,
    to_server TO_SERVER
}

#[test]
fn every_target_has_a_program_and_a_corpus_and_nothing_else_has() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "names differ");
    assert!(TARGETS.iter().map(|target| target.name).eq(TESTED.iter().copied()), "each has a test");
    assert_eq!(names_in(&folder("programs"), ".rs"), targets);
    assert_eq!(names_in(&folder("corpus"), ""), targets);
    for target in TARGETS {
        assert!(!corpus(target.name).is_empty() && !(target.seeds)().is_empty(), "{}", target.name);
    }
}

#[test]
fn the_corpora_are_small() {
    let inputs = TARGETS.iter().flat_map(|target| corpus(target.name));
    let bytes: usize = inputs.map(|(_, input)| input.len()).sum();
    assert!(bytes <= CORPORA_BYTES_MAX, "{bytes} bytes");
}
