//! Noise messages, in the modes between contacts and after an invite.

use kith_crypto::noise::Role;
use kith_crypto::session::{Handshake, RECORD_BYTES_MAX, Session, Side};
use kith_crypto::version::Version;
use kith_crypto::wire::Frame;

use crate::script::{Script, Writer};
use crate::{Target, Verdict, known};

/// Both sides get a session, and the same one, exactly if nothing was changed on its way.
pub const HANDSHAKE: Target = Target { name: "handshake", run, seeds };

const PASS: u8 = 0;
const CHANGE: u8 = 1;
const REPLACE: u8 = 2;
const CUT: u8 = 3;
const REFLECT: u8 = 4;

fn run(input: &[u8]) -> Verdict {
    let mut script = Script::new(input);
    let [mut writer, mut reader] = pair(script.byte().is_multiple_of(2));
    let mut rng = known::seeded(2);
    let mut before = Vec::new();
    while !writer.is_finished() {
        let mut message = vec![0; 97];
        let length = writer.write(&mut message, &mut rng).expect("its turn, and room enough");
        message.truncate(length);
        let mut arrived = message.clone();
        distort(&mut script, &mut arrived, &before);
        let read = reader.read(&arrived);
        assert_eq!(read.is_ok(), arrived == message, "a message is read exactly if it is the one that was written");
        if read.is_err() {
            assert!(!reader.is_finished() && !reader.is_my_turn());
            assert!(reader.read(&message).is_err() && reader.write(&mut [0; 97], &mut rng).is_err());
            assert!(reader.finish().is_err(), "no session comes of it");
            return Verdict::Read;
        }
        before = message;
        if !reader.is_finished() {
            core::mem::swap(&mut writer, &mut reader);
        }
    }
    talk(writer.finish().expect("it is finished"), reader.finish().expect("it is finished"));
    Verdict::Read
}

fn distort(script: &mut Script<'_>, message: &mut Vec<u8>, before: &[u8]) {
    match script.byte() {
        CHANGE => {
            let place = usize::from(script.byte()) % message.len();
            message[place] ^= script.byte();
        }
        REPLACE => *message = script.bytes().to_vec(),
        CUT => message.truncate(usize::from(script.byte())),
        REFLECT => *message = before.to_vec(),
        _ => {}
    }
}

fn talk(mut one: Session, mut other: Session) {
    assert_eq!(one.handshake_hash(), other.handshake_hash());
    let mut record = vec![0; RECORD_BYTES_MAX];
    let length = one.seal_frame(&Frame::Switch, &mut record).expect("the first record");
    assert_eq!(other.open_frame(&mut record[..length]), Ok(Some(Frame::Switch)));
}

/// The initiator and the responder: Anna and Bert as contacts, or Bert with Anna's invite.
pub(crate) fn pair(paired: bool) -> [Handshake; 2] {
    let (anna, bert) = (known::anna(), known::bert());
    let side = |id, mark| Side { client_id: id, fingerprint: [mark; 32], version: Version::OWN };
    let (a, b) = (side(anna.client_id(), 1), side(bert.client_id(), 2));
    if paired {
        return [
            Handshake::paired(Role::Initiator, &anna, bert.public(), a, b),
            Handshake::paired(Role::Responder, &bert, anna.public(), a, b),
        ];
    }
    let keys = known::invite_keys();
    [Handshake::invited(&bert, anna.public(), &keys, b, a), Handshake::inviting(&anna, bert.public(), &keys, b, a)]
}

/// A session between Anna, the initiator, and Bert.
pub(crate) fn sessions() -> [Session; 2] {
    let [mut initiator, mut responder] = pair(true);
    let mut rng = known::seeded(3);
    let mut message = [0; 97];
    for _ in 0..2 {
        let length = initiator.write(&mut message, &mut rng).expect("its turn");
        responder.read(&message[..length]).expect("an honest message");
        core::mem::swap(&mut initiator, &mut responder);
    }
    [initiator, responder].map(|side| side.finish().expect("both messages have passed"))
}

fn seeds() -> Vec<Vec<u8>> {
    let start = |mode: u8| Writer::default().byte(mode);
    [0, 1]
        .into_iter()
        .flat_map(|mode| {
            [
                start(mode).byte(PASS).byte(PASS).byte(PASS),
                start(mode).byte(CHANGE).byte(3).byte(0x41),
                start(mode).byte(PASS).byte(CHANGE).byte(70).byte(1),
                start(mode).byte(PASS).byte(REPLACE).bytes(&[4; 81]),
                start(mode).byte(PASS).byte(REFLECT),
                start(mode).byte(PASS).byte(PASS).byte(CHANGE).byte(90).byte(1),
                start(mode).byte(CUT).byte(80),
            ]
        })
        .map(|writer| writer.0)
        .collect()
}
