//! Backups that are damaged, contradict themselves or are newer: none is taken, and nothing is changed.

use super::super::sink::Sum;
use super::*;

/// A plain document of these lines, with the right sum.
fn document(lines: &[&str]) -> Vec<u8> {
    let (mut sum, mut out) = (Sum::new(), String::new());
    for line in lines {
        sum.add(line.as_bytes());
        out += line;
        out.push('\n');
    }
    (out + &sum.end_line() + "\n").into_bytes()
}

fn lines_of(plain: &[u8]) -> Vec<String> {
    let text = String::from_utf8(plain.to_vec()).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.pop();
    lines
}

fn document_of(lines: &[String]) -> Vec<u8> {
    document(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Reads each of these files into the device, and expects that none is taken.
fn all_refused(device: &Device, what: &str, files: impl Iterator<Item = Vec<u8>>) {
    let before = device.files();
    let (access, shared, mut count) = (device.access(), tempfile::tempfile().unwrap(), 0);
    for bytes in files {
        shared.set_len(0).unwrap();
        shared.write_all_at(&bytes, 0).unwrap();
        let result = restore(&device.folder, &access, shared.try_clone().unwrap(), &replace(), &mut task());
        assert!(result.is_err(), "{what} {count} was taken");
        count += 1;
    }
    assert!(count > 1_000, "{count}");
    assert_eq!(device.files(), before);
}

/// With each byte changed, by each of these masks.
fn flips(bytes: &[u8], masks: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let places = (0..bytes.len()).flat_map(move |at| masks.iter().map(move |mask| (at, *mask)));
    places.map(|(at, mask)| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= mask;
        flipped
    })
}

fn cuts(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).map(|length| bytes[..length].to_vec())
}

#[test]
fn an_encrypted_backup_with_any_byte_changed_or_cut_anywhere_is_refused_and_changes_nothing() {
    let (device, ..) = Device::with_history();
    let backup = device.exported(Form::Encrypted);
    all_refused(&device, "a changed byte", flips(&backup, &[0x01, 0x20, 0x80, 0xff]));
    all_refused(&device, "a cut", cuts(&backup));
    // It is the changes that are refused.
    device.replaced_with(&backup);
}

#[test]
fn whatever_follows_a_backup_is_refused() {
    let (device, ..) = Device::with_history();
    for form in [Form::Encrypted, Form::Plain] {
        let backup = device.exported(form);
        for more in [&b"\n"[..], b"x", &backup] {
            let longer = [&backup, more].concat();
            let result = restore(&device.folder, &device.access(), file(&longer), &replace(), &mut task());
            assert!(matches!(result, Err(BackupError::Damaged(_))), "{result:?}");
        }
    }
}

/// What takes long: the sum of a plain backup stands at its end, behind all keys and signatures.
mod long {
    use super::*;

    #[test]
    fn a_plain_backup_with_any_byte_changed_or_cut_anywhere_is_refused_and_changes_nothing() {
        let (device, ..) = Device::with_history();
        let backup = device.exported(Form::Plain);
        all_refused(&device, "a changed byte", flips(&backup, &[0x01, 0x80]));
        all_refused(&device, "a cut", cuts(&backup));
        device.replaced_with(&backup);
    }
}

#[test]
fn a_newer_backup_is_refused_as_such() {
    let (device, ..) = Device::with_history();
    let plain = lines_of(&device.exported(Form::Plain));
    let newer = plain[0].replace("\"version\":1", "\"version\":2,\"more\":true");
    let document = document_of(&[&[newer], &plain[1..]].concat());
    assert_eq!(fresh(&document, SECRET).err(), Some(BackupError::Newer));
    let sealed = device.exported(Form::Encrypted);
    let end = sealed.iter().position(|byte| *byte == b'\n').unwrap();
    let head = String::from_utf8(sealed[..end].to_vec()).unwrap().replace("\"version\":1", "\"version\":7");
    assert_eq!(fresh(&[head.as_bytes(), &sealed[end..]].concat(), SECRET).err(), Some(BackupError::Newer));
    for other in [&b""[..], b"{}\n", b"\n", b"{\"format\":\"zip\",\"version\":1}\n", b"hello world\n"] {
        assert_eq!(fresh(other, SECRET).err(), Some(BackupError::NotOne));
    }
}

#[test]
fn lines_of_later_kinds_are_skipped_where_they_say_so_and_refused_otherwise() {
    let (device, ..) = Device::with_history();
    let plain = lines_of(&device.exported(Form::Plain));
    let with = |line: &str| document_of(&[&plain[..4], &[line.to_owned()], &plain[4..]].concat());
    let restored = fresh(&with("{\"kind\":\"room\",\"optional\":true,\"x\":[1]}"), SECRET).unwrap();
    assert_eq!(restored.entries().len(), device.entries().len());
    assert_eq!(fresh(&with("{\"kind\":\"room\"}"), SECRET).err(), Some(BackupError::Newer));
    assert_eq!(fresh(&with("{\"kind\":\"room\",\"optional\":false}"), SECRET).err(), Some(BackupError::Newer));
    for broken in ["{\"kind\":\"message\",\"optional\":true}", "{\"kind\":1}", "{}", "", "[", "{\"kind\":\"tags\"}"] {
        let result = fresh(&with(broken), SECRET).err();
        assert!(matches!(result, Some(BackupError::Damaged(_))), "{broken}: {result:?}");
    }
}

/// Changes the lines of a plain backup.
type Change<'a> = &'a dyn Fn(&mut Vec<String>);

#[test]
fn lines_that_contradict_each_other_are_refused() {
    let (device, ..) = Device::with_history();
    let plain = lines_of(&device.exported(Form::Plain));
    let at = |kind: &str| plain.iter().position(|line| line.contains(&format!("\"kind\":\"{kind}\""))).unwrap();
    let changed = |change: Change<'_>| {
        let mut lines = plain.clone();
        change(&mut lines);
        fresh(&document_of(&lines), SECRET).err()
    };
    let (identity, profile, first, inbox) = (at("identity"), at("profile"), at("message"), at("inbox"));
    let other = Device::new().exported(Form::Plain);
    let cases: [(&str, Change<'_>); 9] = [
        ("without an identity", &|lines| drop(lines.remove(identity))),
        ("without a profile", &|lines| drop(lines.remove(profile))),
        ("with the identity of another device", &|lines| lines[identity] = lines_of(&other)[identity].clone()),
        ("a message twice", &|lines| lines.insert(first, lines[first].clone())),
        ("a contact twice", &|lines| lines.insert(first - 1, lines[first - 1].clone())),
        ("a message before its contact", &|lines| lines.swap(first - 1, first)),
        ("a place in the inbox of nobody", &|lines| {
            let from = lines[inbox].find("contact\":\"").unwrap() + 10;
            lines[inbox].replace_range(from..from + 4, "aaaa");
        }),
        ("two messages with one id", &|lines| {
            let id = |seq: u64| format!("{:032x}", seq);
            lines[first + 1] = lines[first + 1].replace(&id(2), &id(1));
        }),
        ("the beginning alone", &|lines| lines.truncate(1)),
    ];
    for (what, change) in cases {
        let result = changed(change);
        assert!(matches!(result, Some(BackupError::Damaged(_))), "{what}: {result:?}");
    }
    assert_eq!(changed(&|_| {}), None);
}
