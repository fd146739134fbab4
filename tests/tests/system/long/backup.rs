//! A restored device beside the old one, and a long history.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use getrandom::SysRng;
use kith_crypto::identity::Identity;
use kith_dbus::Signaling;
use kith_system_tests::{Device, Logging, Server};
use rand_core::UnwrapErr;
use ring::digest::{Context, SHA256};

use crate::{Pair, numbered, received, send_all};

const MESSAGES: u64 = 100_000;

/// An unoptimized daemon on a busy machine seals and writes each of them.
const WORK_MAX: Duration = Duration::from_secs(900);

/// What a long history may take more memory than a short one.
const MORE_KIB_MAX: u64 = 4 * 1024;

/// A plain backup with so many messages, every second of them received.
fn write_history(path: &Path, messages: u64) {
    let (own, peer) = (Identity::generate(&mut UnwrapErr(SysRng)), Identity::generate(&mut UnwrapErr(SysRng)));
    let (id, incarnation) = (own.client_id(), "07".repeat(16));
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    let (mut sum, mut lines) = (Context::new(&SHA256), 0);
    sum.update(b"kith/1 backup");
    let mut put = |line: &str| {
        sum.update(line.as_bytes());
        sum.update(b"\n");
        writeln!(file, "{line}").unwrap();
        lines += 1;
    };
    put(&format!(r#"{{"format":"kith backup","version":1,"client_id":"{id}","created_ms":1}}"#));
    put(&format!(r#"{{"kind":"identity","secret":"{}"}}"#, HEXLOWER.encode(&own.to_secret_bytes()[..])));
    put(r#"{"kind":"profile","display_name":"Hall"}"#);
    put(&format!(
        r#"{{"kind":"contact","card":"{}","name":"Gate","state":"paired","major_min":1,"paired_ms":1,"seen_ms":1,"incarnation":"{incarnation}","last_seq":{messages},"read_seq":{messages},"unread":0,"sent_number":{messages},"missing":0,"verified":false,"blocked":false,"marks":[{{"incarnation":"{incarnation}","number":{messages}}}]}}"#,
        HEXLOWER.encode(peer.card().as_bytes()),
    ));
    for seq in 1..=messages {
        let direction = if seq % 2 == 0 { "incoming" } else { "outgoing" };
        let text = format!("message {seq}: {}", "the door is open, please come in. ".repeat(3));
        put(&format!(
            r#"{{"kind":"message","seq":{seq},"id":"{seq:032x}","direction":"{direction}","state":"delivered","number":{seq},"incarnation":"{incarnation}","sent_ms":{seq},"clock_trusted":true,"done_ms":{seq},"type":"text/plain","text":"{text}"}}"#
        ));
    }
    for place in 1..=messages / 2 {
        put(&format!(r#"{{"kind":"inbox","place":{place},"contact":"{}","seq":{}}}"#, peer.client_id(), place * 2));
    }
    let mut end = String::new();
    let digest = HEXLOWER.encode(sum.finish().as_ref());
    write!(end, r#"{{"kind":"end","lines":{lines},"sha256":"{digest}"}}"#).unwrap();
    writeln!(file, "{end}").unwrap();
    file.flush().unwrap();
}

/// What some work of a device's daemon took: the time, and the most memory until its end.
struct Cost {
    time: Duration,
    peak_kib: u64,
}

async fn worked(device: &Device, args: &[&str]) -> Cost {
    let started = Instant::now();
    let answer = device.kithctl_within(WORK_MAX, args, device.secret().text()).await.unwrap();
    let cost = Cost { time: started.elapsed(), peak_kib: device.process().unwrap().peak_memory_kib().unwrap() };
    eprintln!("{args:?}: {:.1} s, at most {} KiB: {}", cost.time.as_secs_f64(), cost.peak_kib, answer.trim());
    cost
}

#[tokio::test]
async fn a_backup_of_100000_messages_takes_no_more_memory_than_a_short_one() {
    let server = Server::start(Logging::Active).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut peaks_kib = Vec::new();
    for messages in [100, MESSAGES] {
        let path = |name: &str| folder.path().join(format!("{messages}-{name}"));
        let (plain, sealed) = (path("plain"), path("sealed").display().to_string());
        write_history(&plain, messages);
        let device = Device::start_new("hall", &server.url()).await.unwrap();
        worked(&device, &["import", &plain.display().to_string()]).await;
        worked(&device, &["export", &sealed]).await;
        let last = worked(&device, &["import", "--replace", &sealed]).await;
        assert!(last.time < WORK_MAX);
        let rest =
            device.kithctl_json(&["history", "Gate", "-n", "5", "--after", &(messages - 2).to_string()], "").await;
        let texts = rest.unwrap()["messages"].as_array().unwrap().len();
        assert_eq!(texts, 2);
        peaks_kib.push(last.peak_kib);
    }
    assert!(peaks_kib[1] < peaks_kib[0] + MORE_KIB_MAX, "{peaks_kib:?} KiB");
}

#[tokio::test]
async fn two_devices_with_one_identity_are_told_and_the_first_one_goes_on_until_it_ends() {
    let mut pair = Pair::new().await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("bob.enc.json").display().to_string();
    pair.bob.kithctl(&["export", &backup], "").await.unwrap();
    let second = Device::start_new("bob", &pair.server.url()).await.unwrap();
    let told = pair.bob.messenger().await.unwrap().hear_of_intruder().await.unwrap();
    second.kithctl(&["import", &backup], pair.bob.secret().text()).await.unwrap();
    let messenger = second.messenger().await.unwrap();
    messenger.wait_for_signaling(Signaling::IdentityInUse).await.unwrap();
    assert_eq!(second.kithctl_json(&["status"], "").await.unwrap()["signaling"], "identity-in-use");
    told.await.unwrap().unwrap();
    send_all(&mut pair.to_bob, &numbered("to the first", 2)).await;

    pair.bob.stop().unwrap();
    messenger.wait_until_online().await.unwrap();
    let to_alice = messenger.conversation().await.unwrap();
    let after = numbered("to the second", 2);
    send_all(&mut pair.to_bob, &after).await;
    assert_eq!(received(&to_alice).await, after);
    // What went to the first one is not lost in silence.
    assert_eq!(to_alice.missing().await.unwrap(), 2);
}
