//! Rosters: what their owner signs is read, and nothing else is believed.

mod support;

use kith_crypto::identity::{Card, Identity};
use kith_crypto::room::{
    Draft, HAND_OVERS_MAX, MEMBERS_MAX, Member, ROSTER_BYTES_MAX, RoomSecret, Roster, RosterError,
};
use kith_crypto::session::PLAINTEXT_BYTES_MAX;
use kith_crypto::wire::{Frame, RosterFrame};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

const SECRET: [u8; 32] = [5; 32];

fn identities(count: u64) -> Vec<Identity> {
    (0..count).map(|seed| Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed))).collect()
}

/// What the owner of a version signs; `before` is the version before.
fn signed(owner: &Identity, members: &[Identity], before: Option<&[u8]>, hand_over: Option<&Card>) -> Vec<u8> {
    let mut members: Vec<_> =
        members.iter().map(|member| Member { card: member.card().as_bytes(), name: "a name" }).collect();
    members.sort_by_key(Member::client_id);
    let before = before.map(|bytes| Roster::parse(bytes).unwrap());
    let secret = RoomSecret::from_bytes(SECRET);
    let draft = Draft {
        salt: [4; 16],
        version: before.map_or(1, |before| before.version() + 1),
        previous: before.map_or([0; 32], |before| before.hash()),
        secret: &secret,
        lineage: before.as_ref().map(Roster::lineage),
        hand_over,
        members: &members,
        name: "hall",
    };
    let mut out = vec![0; ROSTER_BYTES_MAX];
    let length = draft.write(owner, &mut out).unwrap();
    out.truncate(length);
    out
}

#[test]
fn a_roster_says_what_its_owner_has_signed() {
    let members = identities(3);
    let bytes = signed(&members[1], &members, None, None);
    let roster = Roster::parse(&bytes).unwrap();
    assert_eq!(roster.verify(), Ok(()));
    assert_eq!((roster.version(), roster.previous(), roster.name()), (1, [0; 32], "hall"));
    assert_eq!(roster.owner(), members[1].client_id());
    assert!(roster.members().all(|member| member.name == "a name") && roster.members().count() == 3);
    assert!(members.iter().all(|member| roster.has(member.client_id())));
    assert!(roster.is_secret(&RoomSecret::from_bytes(SECRET)) && !roster.is_secret(&RoomSecret::from_bytes([6; 32])));
}

#[test]
fn a_room_is_bound_to_its_founder() {
    let members = identities(2);
    let room = |founder: &Identity| Roster::parse(&signed(founder, &members, None, None)).unwrap().room();
    assert_ne!(room(&members[0]), room(&members[1]));
}

#[test]
fn each_byte_is_signed_and_nothing_follows() {
    let members = identities(2);
    let first = signed(&members[0], &members, None, Some(members[1].card()));
    for place in 0..first.len() {
        let mut changed = first.clone();
        changed[place] ^= 0x10;
        let believed = Roster::parse(&changed).and_then(|roster| roster.verify());
        assert!(believed.is_err(), "byte {place}");
        assert!(Roster::parse(&first[..place]).is_err(), "cut at {place}");
    }
    assert!(Roster::parse(&[&first[..], &[0]].concat()).is_err());
}

#[test]
fn ownership_passes_from_hand_to_hand_and_only_so() {
    let members = identities(3);
    let first = signed(&members[0], &members, None, None);
    let second = signed(&members[0], &members, Some(&first), Some(members[1].card()));
    let third = signed(&members[1], &members, Some(&second), None);
    let fourth = signed(&members[1], &members, Some(&third), Some(members[2].card()));
    let fifth = signed(&members[2], &members, Some(&fourth), None);
    let rosters: Vec<_> =
        [&first, &second, &third, &fourth, &fifth].iter().map(|bytes| Roster::parse(bytes).unwrap()).collect();
    assert!(rosters.iter().all(|roster| roster.verify().is_ok() && roster.room() == rosters[0].room()));
    let owners: Vec<_> = rosters.iter().map(Roster::owner).collect();
    let ids: Vec<_> = members.iter().map(Identity::client_id).collect();
    assert_eq!(owners, [ids[0], ids[1], ids[1], ids[2], ids[2]]);
    assert!(rosters[4].continues(&rosters[0]) && rosters[4].continues(&rosters[2]));
    assert!(!rosters[0].continues(&rosters[4]));
    // The owner before has nothing to say any more, nor has one that hands itself the room.
    let stale = signed(&members[0], &members, Some(&second), None);
    assert_eq!(Roster::parse(&stale).unwrap().verify(), Err(RosterError::Signature));
    let taken = signed(&members[2], &members, Some(&first), Some(members[2].card()));
    assert_eq!(Roster::parse(&taken).unwrap().verify(), Err(RosterError::Signature));
}

#[test]
fn what_no_roster_says_is_malformed() {
    let members = identities(3);
    let stranger = signed(&members[2], &members[..2], None, None);
    assert_eq!(Roster::parse(&stranger), Err(RosterError::Malformed), "the owner is not on it");
    let twice = [&members[..1], &identities(1)].concat_cards();
    assert_eq!(Roster::parse(&twice), Err(RosterError::Malformed), "a member is on it twice");
}

/// A roster of these devices as they come.
trait ConcatCards {
    fn concat_cards(&self) -> Vec<u8>;
}

impl ConcatCards for [&[Identity]; 2] {
    fn concat_cards(&self) -> Vec<u8> {
        let members: Vec<_> = self.iter().flat_map(|part| part.iter()).collect();
        let cards: Vec<_> = members.iter().map(|m| Member { card: m.card().as_bytes(), name: "" }).collect();
        let secret = RoomSecret::from_bytes(SECRET);
        let draft = Draft::first([4; 16], &secret, &cards, "");
        let mut out = vec![0; ROSTER_BYTES_MAX];
        let length = draft.write(members[0], &mut out).unwrap();
        out.truncate(length);
        out
    }
}

#[test]
fn the_longest_roster_fits_a_record_and_a_longer_one_is_not_written() {
    let members = identities(MEMBERS_MAX as u64 + 1);
    let mut latest = signed(&members[0], &members[..MEMBERS_MAX], None, None);
    for hand_over in 0..HAND_OVERS_MAX {
        let next = Some(members[hand_over + 1].card());
        latest = signed(&members[hand_over], &members[..MEMBERS_MAX], Some(&latest), next);
    }
    assert_eq!(Roster::parse(&latest).unwrap().verify(), Ok(()));
    assert!(latest.len() <= ROSTER_BYTES_MAX);
    let mut out = vec![0; PLAINTEXT_BYTES_MAX];
    let longest = vec![0; ROSTER_BYTES_MAX];
    let frame = Frame::Roster(RosterFrame { secret: RoomSecret::from_bytes(SECRET), roster: &longest });
    assert!(frame.encode(&mut out).is_ok());
    let secret = RoomSecret::from_bytes(SECRET);
    let cards: Vec<_> = members.iter().map(|m| Member { card: m.card().as_bytes(), name: "" }).collect();
    let too_many = Draft::first([4; 16], &secret, &cards, "");
    assert_eq!(too_many.write(&members[0], &mut vec![0; 20_000]), Err(RosterError::TooLong));
}

#[test]
fn a_rooms_secret_does_not_show() {
    assert_eq!(format!("{:?}", RoomSecret::from_bytes(SECRET)), "RoomSecret(..)");
    let members = identities(2);
    let bytes = signed(&members[0], &members, None, None);
    let frame = RosterFrame { secret: RoomSecret::from_bytes(SECRET), roster: &bytes };
    assert_eq!(format!("{frame:?}"), format!("RosterFrame {{ roster_bytes: {}, .. }}", bytes.len()));
}
