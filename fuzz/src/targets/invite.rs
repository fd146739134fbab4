//! An invite's text: whatever somebody scanned or pasted.

use kith_crypto::invite::{InviteSecret, checksum};
use kith_engine::invite::Invite;

use crate::{Target, Verdict, bound, known};

/// An invite that reads has one text, which reads to the same invite.
pub const INVITE: Target = Target { name: "invite", run, seeds };

/// An invite is at most 1,100 characters long; anything longer is refused unread.
const COST_BYTES_MAX: usize = 4 * 1024;

/// An input that begins so is the binary form, less its checksum, so that a change gets past that.
const BINARY: u8 = 0;

fn run(input: &[u8]) -> Verdict {
    match input {
        [BINARY, content @ ..] => read(&text_of(content)),
        _ => core::str::from_utf8(input).map_or(Verdict::Refused, read),
    }
}

fn read(text: &str) -> Verdict {
    let Ok(invite) = bound::within(COST_BYTES_MAX, || Invite::parse(text)) else { return Verdict::Refused };
    let written = invite.to_text();
    assert!(written.eq_ignore_ascii_case(text.trim()), "an invite has one text");
    let again = Invite::parse(&written.to_ascii_uppercase()).expect("what was written reads");
    assert_eq!(again.to_text(), written);
    Verdict::Read
}

fn text_of(content: &[u8]) -> String {
    let whole = [content, &checksum(content)].concat();
    format!("kith:{}", data_encoding::BASE32_NOPAD.encode(&whole))
}

fn seeds() -> Vec<Vec<u8>> {
    let invite = |url: &str, name: &str| Invite {
        card: known::anna().card().clone(),
        secret: InviteSecret::from_bytes(known::INVITE_SECRET),
        expires_utc_s: 1_893_456_000,
        url: url.to_owned(),
        name: name.to_owned(),
    };
    let texts = [
        invite("wss://signal.example:8443", "Anna").to_text(),
        invite("", "").to_text(),
        invite(&"x".repeat(255), &"é".repeat(127)).to_text(),
    ];
    let binary = texts.iter().map(|text| {
        let bytes = data_encoding::BASE32_NOPAD.decode(text[5..].to_ascii_uppercase().as_bytes());
        let bytes = bytes.expect("base32 after the scheme");
        [&[BINARY], &bytes[..bytes.len() - 4]].concat()
    });
    texts.iter().map(|text| text.as_bytes().to_vec()).chain(binary).collect()
}
