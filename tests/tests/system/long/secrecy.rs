//! What a look at the running programs from outside must not show.

use std::fs;

use kith_system_tests::Process;

use crate::{Pair, send_all};

/// Everything that `ps`, `/proc` and the log show of a program.
fn visible(process: &Process) -> String {
    let proc = format!("/proc/{}", process.pid());
    let read = |file: &str| String::from_utf8_lossy(&fs::read(format!("{proc}/{file}")).unwrap()).into_owned();
    let cmdline = read("cmdline");
    assert!(cmdline.contains("--config"), "{cmdline}");
    [cmdline, read("environ"), process.errors()].concat()
}

/// Everything below a folder that a thief of the disk would read; there must be something.
fn stored(folder: &std::path::Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(stored(&path));
        } else {
            bytes.extend(fs::read(&path).unwrap());
        }
    }
    assert!(!bytes.is_empty(), "nothing is stored in {}", folder.display());
    bytes
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn secrets_invites_and_messages_show_in_no_log_argument_environment_or_file() {
    let mut pair = Pair::new().await;
    // A second invite, which stays open: what is used up might have been forgotten.
    let invite = pair.alice.invite().await.unwrap();
    let body = "the body of a message that nobody else reads";
    send_all(&mut pair.to_bob, &[body.to_owned()]).await;
    send_all(&mut pair.to_alice, &[body.to_owned()]).await;

    let secrets = [pair.alice.secret().text(), pair.bob.secret().text(), body, invite.trim_start_matches("kith:")];
    for device in [&pair.alice, &pair.bob] {
        let logged = device.process().unwrap().errors();
        assert!(!logged.is_empty(), "a program that logs nothing proves nothing");
    }
    let programs = [pair.alice.process(), pair.bob.process(), pair.server.process()];
    for process in programs.into_iter().flatten() {
        let visible = visible(process);
        for secret in secrets {
            assert!(!visible.contains(secret), "{}: {visible}", process.name());
        }
        for attribute in ["ice-pwd", "password="] {
            assert!(!visible.contains(attribute), "{}: {visible}", process.name());
        }
    }
    let kept = [pair.alice.data_folder(), pair.bob.data_folder(), pair.server.log_folder()];
    for folder in kept {
        let stored = stored(&folder);
        for secret in secrets {
            assert!(!contains(&stored, secret), "a secret lies in clear in {}", folder.display());
        }
    }
}
