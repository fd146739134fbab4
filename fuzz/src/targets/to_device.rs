//! What the signaling server says to a device.

use kith_crypto::version::Version;
use kith_signal_protocol::{
    Challenge, Goodbye, GoodbyeReason, IceServer, IceServers, LoggingMode, Notice, Presence, Relayed, RoomPresence,
    ToDevice, Undelivered, UndeliveredReason, Via, Welcome,
};

use kithd::link::dry_run;

use crate::{Target, Verdict, bound, known};

/// Decoding costs little memory; a decoded message has one encoding, which decodes to the same message.
pub const TO_DEVICE: Target = Target { name: "to_device", run, seeds };

/// Nothing in these messages is much longer in memory than on the wire; a list that grows is there twice for a moment.
const COST_MAX: usize = 4;
/// The lists in them are short and made of small fixed parts.
const LISTS_BYTES_MAX: usize = 16 * 1024;

fn run(input: &[u8]) -> Verdict {
    let decoded = bound::within(COST_MAX * input.len() + LISTS_BYTES_MAX, || ToDevice::decode(input));
    let Ok(Some(message)) = decoded else { return Verdict::Refused };
    let encoded = message.encode().expect("what was decoded can be encoded");
    assert!(encoded.len() <= input.len(), "an encoding is never longer than what it was decoded from");
    let again = ToDevice::decode(&encoded).expect("what was encoded decodes").expect("to a known kind");
    assert_eq!(again, message);
    assert_eq!(again.encode().expect("it did before"), encoded);
    if let ToDevice::IceServers(ice) = message {
        for url in ice.servers.iter().flat_map(|server| &server.urls) {
            assert_ne!(dry_run::server(url), Some(false), "the library stops at a URL that it cannot read: {url}");
        }
    }
    Verdict::Read
}

fn seeds() -> Vec<Vec<u8>> {
    messages().iter().map(|message| message.encode().expect("a message within its limits")).collect()
}

/// One message of each kind.
pub(crate) fn messages() -> Vec<ToDevice> {
    let bert = known::bert().client_id();
    let token = known::invite_keys().token;
    let notice = Notice { mode: LoggingMode::Active, text: "Addresses are shortened.".to_owned() };
    let stun = IceServer {
        urls: vec!["stun:stun.example:3478".to_owned(), "stun:[2001:db8::1]".to_owned()],
        username: String::new(),
        password: String::new(),
    };
    let turn = IceServer {
        urls: vec!["turn:turn.example?transport=udp".to_owned()],
        username: "1800000000:kith".to_owned(),
        password: "c2VjcmV0".to_owned(),
    };
    vec![
        ToDevice::Challenge(Challenge { version: Version::OWN, nonce: [0x21; 32] }),
        ToDevice::Welcome(Welcome { version: Version::OWN, notice: notice.clone() }),
        ToDevice::Goodbye(Goodbye {
            reason: GoodbyeReason::IdentityInUse,
            text: "In use.".to_owned(),
            retry_after_s: 10,
        }),
        ToDevice::Goodbye(Goodbye { reason: GoodbyeReason::Other(99), text: String::new(), retry_after_s: 0 }),
        ToDevice::Intruder,
        ToDevice::Notice(notice),
        ToDevice::Presence(Presence { peer: bert, online: true }),
        ToDevice::RoomPresence(RoomPresence { room: [6; 16], peer: bert, present: true }),
        ToDevice::RoomFull([6; 16]),
        ToDevice::Relayed(Relayed { from: bert, via: Via::Room([6; 16]), payload: vec![2; 20] }),
        ToDevice::Relayed(Relayed { from: bert, via: Via::Contact, payload: vec![1; 160] }),
        ToDevice::Relayed(Relayed { from: bert, via: Via::Invite(token), payload: vec![4; 300] }),
        ToDevice::Undelivered(Undelivered { to: bert, via: Via::Contact, reason: UndeliveredReason::NotReachable }),
        ToDevice::Undelivered(Undelivered {
            to: bert,
            via: Via::Invite(token),
            reason: UndeliveredReason::NoSuchInvite,
        }),
        ToDevice::IceServers(IceServers { servers: vec![stun, turn], lifetime_s: 86_400 }),
    ]
}
