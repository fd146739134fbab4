use kith_crypto::room::{Draft, Member, ROSTER_BYTES_MAX, RoomSecret, Roster};
use kith_engine::{ConversationRecord, Load, Loaded, Mark, RoomId, RoomRecord, RoomState, StoredRoom, StoredWaiting};

use super::*;
use crate::handle::Read;

/// A room of this device's own making with these members.
pub(super) fn room(members: &[&ContactRecord]) -> RoomRecord {
    let own = identity();
    let mut members: Vec<_> =
        members.iter().map(|contact| Member { card: contact.card.as_bytes(), name: &contact.name }).collect();
    members.push(Member { card: own.card().as_bytes(), name: "own" });
    members.sort_by_key(Member::client_id);
    let secret = RoomSecret::from_bytes([5; 32]);
    let draft = Draft::first([4; 16], &secret, &members, "hall");
    let mut roster = vec![0; ROSTER_BYTES_MAX];
    let length = draft.write(&own, &mut roster).unwrap();
    roster.truncate(length);
    let room = Roster::parse(&roster).unwrap().room();
    RoomRecord { room, secret, incarnation: Incarnation([8; 16]), state: RoomState::Joined, roster }
}

/// A device with two contacts, and a room with both.
struct Scene {
    device: Device,
    ada: ClientId,
    bob: ClientId,
    room: RoomId,
}

impl Scene {
    fn new() -> Self {
        let mut device = Device::new();
        let (ada, bob) = (contact("Ada"), contact("Bob"));
        let record = room(&[&ada, &bob]);
        let (ada_id, bob_id, room) = (ada.client_id(), bob.client_id(), record.room);
        device.commit(vec![Op::PutContact(ada), Op::PutContact(bob), Op::PutRoom(record)]).unwrap();
        Self { device, ada: ada_id, bob: bob_id, room }
    }

    /// An own message to both members.
    fn send(&mut self, number: u64) {
        let (conversation, seq) = (self.room.into(), number);
        let waits = |peer| Op::PutOutbox { conversation, peer, number, seq };
        let ops = vec![
            Op::PutMessage(conversation, message(number, Direction::Outgoing, b"to all")),
            waits(self.ada),
            waits(self.bob),
        ];
        self.device.commit(ops).unwrap();
    }

    fn delivered(&mut self, peer: ClientId, number: u64) {
        let conversation = self.room.into();
        self.device.commit(vec![Op::Delivered { conversation, peer, number, seq: number, utc_ms: 7 }]).unwrap();
    }

    fn waiting(&self, peer: ClientId) -> Vec<u64> {
        let load = Load::Outbox { conversation: self.room.into(), peer, after: 0, count_max: 64 };
        match self.device.reader.load(load) {
            Loaded::Outbox(messages) => messages.into_iter().map(|message| message.number).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn states(&self) -> Vec<MessageState> {
        let read = Read::History { conversation: self.room.into(), after: 0, count_max: 100 };
        self.device.reader.read(read).unwrap().into_iter().map(|row| row.message.state).collect()
    }

    fn stored(&self) -> &StoredRoom {
        &self.device.state.rooms[0]
    }

    fn sound(&self) {
        let report = super::check::check(&self.device);
        assert_eq!(report.findings, [""; 0]);
    }
}

#[test]
fn a_room_with_its_counters_marks_and_what_waits_survives_a_restart() {
    let mut scene = Scene::new();
    let (conversation, peer) = (scene.room.into(), scene.bob);
    let counters = ConversationRecord { last_seq: 2, read_seq: 1, unread: 1, sent_number: 2 };
    let marks = vec![Mark { incarnation: Incarnation([9; 16]), number: 12 }];
    scene.send(1);
    scene.send(2);
    scene.delivered(scene.ada, 1);
    let ops = vec![
        Op::PutConversation(conversation, counters.clone()),
        Op::PutMarks { conversation, peer, marks: marks.clone() },
    ];
    scene.device.commit(ops).unwrap();
    scene.device = scene.device.restarted();
    let stored = scene.stored();
    assert_eq!((stored.record.room, &stored.conversation), (scene.room, &counters));
    assert_eq!(stored.marks, [(peer, marks)]);
    let waits = |number, peers: &[ClientId]| {
        let id = message(number, Direction::Outgoing, b"").id;
        let mut peers = peers.to_vec();
        peers.sort();
        StoredWaiting { number, seq: number, id, peers }
    };
    let mut waiting = stored.waiting.clone();
    waiting.iter_mut().for_each(|waits| waits.peers.sort());
    assert_eq!(waiting, [waits(1, &[scene.bob]), waits(2, &[scene.ada, scene.bob])]);
    scene.sound();
}

#[test]
fn a_message_to_a_room_is_delivered_when_the_last_member_has_it() {
    let mut scene = Scene::new();
    scene.send(1);
    scene.delivered(scene.ada, 1);
    assert_eq!((scene.waiting(scene.ada), scene.waiting(scene.bob)), (vec![], vec![1]));
    assert_eq!(scene.states(), [MessageState::Queued]);
    scene.delivered(scene.bob, 1);
    assert_eq!((scene.waiting(scene.bob), scene.states()), (vec![], vec![MessageState::Delivered]));
}

#[test]
fn what_waited_for_a_dropped_member_only_is_delivered_and_its_marks_go() {
    let mut scene = Scene::new();
    let (conversation, room) = (scene.room.into(), scene.room);
    scene.send(1);
    scene.send(2);
    scene.delivered(scene.ada, 1);
    let marks = vec![Mark { incarnation: Incarnation([9; 16]), number: 12 }];
    let ops = vec![
        Op::PutMarks { conversation, peer: scene.bob, marks },
        Op::DropMember { room, peer: scene.bob, utc_ms: 7 },
    ];
    scene.device.commit(ops).unwrap();
    assert_eq!((scene.waiting(scene.ada), scene.waiting(scene.bob)), (vec![2], vec![]));
    assert_eq!(scene.states(), [MessageState::Delivered, MessageState::Queued]);
    scene.device = scene.device.restarted();
    assert_eq!(scene.stored().marks, []);
    scene.sound();
}

#[test]
fn two_members_may_use_one_id_and_one_member_may_not() {
    let mut scene = Scene::new();
    let conversation = scene.room.into();
    let of = |peer, seq| {
        let message = MessageRecord { id: id(1), ..message(seq, Direction::Member(peer), b"x") };
        let inbox = Op::PutInbox { inbox_seq: seq, conversation, peer, seq };
        vec![Op::ClaimId { conversation, peer, id: id(1) }, Op::PutMessage(conversation, message), inbox]
    };
    scene.device.commit(of(scene.ada, 1)).unwrap();
    scene.device.commit(of(scene.bob, 2)).unwrap();
    assert_eq!(scene.device.commit(of(scene.ada, 3)), Err(CommitError::Conflict(id(1))));
    for (peer, seq) in [(scene.ada, 1), (scene.bob, 2)] {
        match scene.device.reader.load(Load::Message { conversation, peer, id: id(1) }) {
            Loaded::Message(Some(found)) => assert_eq!((found.seq, found.direction), (seq, Direction::Member(peer))),
            other => panic!("{other:?}"),
        }
    }
    let inbox = Read::Inbox { consumer: "display".to_owned(), cursor: 0, count_max: 9 };
    let rows = scene.device.reader.read(inbox).unwrap();
    assert!(rows.iter().all(|row| row.conversation == conversation) && rows.len() == 2);
    scene.sound();
}

#[test]
fn a_room_that_is_left_leaves_nothing_that_is_found() {
    let mut scene = Scene::new();
    scene.send(1);
    scene.device.commit(vec![Op::RemoveRoom(scene.room)]).unwrap();
    let read = Read::History { conversation: scene.room.into(), after: 0, count_max: 9 };
    assert_eq!(scene.device.reader.read(read), Err(super::super::ReadError::NoSuchPeer));
    scene.sound();
    scene.device = scene.device.restarted();
    assert_eq!((scene.device.state.rooms.len(), scene.device.state.contacts.len()), (0, 2));
}
