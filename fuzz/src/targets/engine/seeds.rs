//! Scripts to begin with: each way to a session, and each thing that can go wrong in it.

use super::device::RESTORED;
use super::steps::{
    ACK, ASK, DISK, DISTORT, GO_ON, LINK, MESSAGE, PAYLOAD, PEER, RAW, REKEY, RELAY, SEALED, SERVER, WAIT,
};
use crate::script::Writer;
use crate::targets::frame::{self, frames};
use crate::targets::to_device;

/// As many honest steps as it takes.
const ALL: u8 = 31;

pub(super) fn all() -> Vec<Vec<u8>> {
    let session = |mode: u8| Writer::default().byte(mode).byte(GO_ON).byte(ALL);
    let on = |script: Writer| script.byte(GO_ON).byte(ALL).0;
    let send = |script: Writer, text: &str| script.byte(ASK).byte(0).byte(1).bytes(text.as_bytes());
    let message = |script: Writer, id: u8, number: u8| script.byte(MESSAGE).byte(id).byte(number).byte(0).bytes(b"hi");
    let mut seeds = Vec::new();
    for mode in 0..4 {
        // A message each way, acknowledged; the same again; another one under its number.
        let talk = message(send(session(mode), "hello"), 1, 1).byte(GO_ON).byte(ALL).byte(ACK).byte(0).byte(0);
        seeds.push(on(message(talk.byte(GO_ON).byte(ALL), 1, 1)));
        seeds.push(on(message(message(session(mode), 1, 1).byte(GO_ON).byte(ALL), 2, 1)));
        seeds.push(on(send(session(mode), "hello").byte(GO_ON).byte(ALL).byte(ACK).byte(0).byte(1)));
        // A new key, after a quarter of an hour.
        seeds.push(on(send(session(mode).byte(WAIT).byte(225).byte(12).byte(REKEY), "later")));
        // Lost in the middle of it, and back again.
        for done in 1..8 {
            let start = || Writer::default().byte(mode).byte(GO_ON).byte(done);
            seeds.push(on(start().byte(DISTORT).byte(0).short(70).byte(1).byte(WAIT).byte(200).byte(8)));
            seeds.push(on(start().byte(RAW).bytes(&[4; 81]).byte(WAIT).byte(20).byte(8)));
            seeds.push(on(start()
                .byte(LINK)
                .byte(0)
                .byte(PEER)
                .byte(1)
                .byte(PEER)
                .byte(0)
                .byte(WAIT)
                .byte(20)
                .byte(8)));
            seeds.push(on(start().byte(DISK).byte(2).byte(GO_ON).byte(ALL).byte(PEER).byte(3)));
        }
        for (ask, text) in
            [(1, ""), (2, "me"), (3, "Bertha"), (4, ""), (5, "Ann"), (6, ""), (7, ""), (8, ""), (9, "kith:")]
        {
            let script = message(session(mode), 1, 1).byte(GO_ON).byte(ALL).byte(ASK).byte(ask).byte(60);
            seeds.push(on(script.bytes(text.as_bytes())));
        }
    }
    seeds.extend(frames(|frame| on(session(0).byte(SEALED).bytes(&frame::encoded(frame)))));
    seeds.extend(frames(|frame| on(session(2).byte(SEALED).bytes(&frame::encoded(frame)))));
    for message in to_device::messages() {
        let bytes = message.encode().expect("a message within its limits");
        seeds.push(on(session(0).byte(SERVER).bytes(&bytes)));
    }
    for kind in 0..5 {
        seeds.push(on(Writer::default()
            .byte(kind % 4)
            .byte(PAYLOAD)
            .byte(kind)
            .byte(0)
            .byte(0)
            .byte(0)
            .bytes(b"body")));
    }
    seeds.push(on(session(0).byte(RELAY).byte(0).bytes(&[1; 120])));
    // A restored device: messages that it lacks, that it has, and another one under the id of one that it has.
    for (id, number) in [(3, 3), (3, 9), (1, 4)] {
        let script = message(message(session(RESTORED), 1, 3).byte(GO_ON).byte(ALL), id, number);
        seeds.push(on(message(script.byte(GO_ON).byte(ALL), 1, number + 1)));
    }
    seeds.push(on(session(1).byte(REKEY).byte(WAIT).byte(4).byte(14).byte(REKEY)));
    seeds
}
