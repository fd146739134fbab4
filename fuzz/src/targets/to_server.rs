//! What a device says to the signaling server, before and after its login.

use kith_crypto::identity::LoginChallenge;
use kith_crypto::version::Version;
use kith_signal_protocol::{Login, Relay, ToServer, Via, Watch};

use crate::{Target, Verdict, bound, known};

/// Decoding costs little memory; a decoded message has one encoding, which decodes to the same message.
pub const TO_SERVER: Target = Target { name: "to_server", run, seeds };

/// A list is believed to be as long as it says while there is a byte for each of its ids, of 20 bytes; and one that
/// grows is there twice for a moment.
const COST_MAX: usize = 40;
/// A login, with the curve's points taken apart.
const LOGIN_BYTES_MAX: usize = 1_024;

fn run(input: &[u8]) -> Verdict {
    let decoded = bound::within(COST_MAX * input.len() + LOGIN_BYTES_MAX, || ToServer::decode(input));
    let Ok(Some(message)) = decoded else { return Verdict::Refused };
    let encoded = message.encode().expect("what was decoded can be encoded");
    assert!(encoded.len() <= input.len(), "an encoding is never longer than what it was decoded from");
    let again = ToServer::decode(&encoded).expect("what was encoded decodes").expect("to a known kind");
    assert_eq!(again, message);
    assert_eq!(again.encode().expect("it did before"), encoded);
    Verdict::Read
}

fn seeds() -> Vec<Vec<u8>> {
    let (anna, bert) = (known::anna(), known::bert());
    let challenge = LoginChallenge { server_name: "signal.example:8443", nonce: &[0x21; 32] };
    let ids = vec![anna.client_id(), bert.client_id()];
    let token = known::invite_keys().token;
    [
        ToServer::Login(Box::new(Login {
            version: Version::OWN,
            card: anna.card().clone(),
            instance: [7; 16],
            signature: anna.sign_login(&challenge),
        })),
        ToServer::Watch(Watch { add: ids.clone(), remove: Vec::new() }),
        ToServer::Watch(Watch { add: Vec::new(), remove: ids }),
        ToServer::EnterRoom([6; 16]),
        ToServer::LeaveRoom([6; 16]),
        ToServer::OpenInvite(token),
        ToServer::CloseInvite(token),
        ToServer::Relay(Relay { to: bert.client_id(), via: Via::Contact, payload: vec![1; 160] }),
        ToServer::Relay(Relay { to: bert.client_id(), via: Via::Invite(token), payload: vec![4; 300] }),
        ToServer::Relay(Relay { to: bert.client_id(), via: Via::Room([6; 16]), payload: Vec::new() }),
        ToServer::IceRequest,
    ]
    .iter()
    .map(|message| message.encode().expect("a message within its limits"))
    .collect()
}
