//! What a server can do to the sealed payloads that it relays.

use kith_crypto::identity::ClientId;
use kith_crypto::sealed::PayloadKind;
use kith_signal_protocol::Via;
use kith_signal_protocol::limits::RELAY_BYTES_MAX;

use crate::scene::{Scene, rounds};
use crate::server::{Passing, Rule, honest};

/// How many bytes of one payload are changed in one round. The devices open 96 payloads of a
/// sender in ten seconds; the honest ones are among them.
const CHANGED_MAX: usize = 24;
const SESSION: std::ops::Range<usize> = 1..17;
const HEADER: std::ops::Range<usize> = 0..21;

fn is(passing: &Passing, kind: PayloadKind) -> bool {
    passing.payload.first() == Some(&(kind as u8))
}

/// The payload after everything that is made of it.
fn before_it(make: impl Fn(&Passing, &[Passing]) -> Vec<Passing> + Send + 'static) -> Rule {
    Box::new(move |passing, passed| {
        let mut all = make(passing, passed);
        all.push(passing.clone());
        all
    })
}

fn with(passing: &Passing, payload: Vec<u8>) -> Passing {
    Passing { payload, ..passing.clone() }
}

fn each_byte(round: usize) -> Rule {
    before_it(move |passing, _| {
        let length = passing.payload.len();
        let step = length.div_ceil(CHANGED_MAX);
        let places = (round % step..length).step_by(step);
        let flip = |place: usize| {
            let mut payload = passing.payload.clone();
            payload[place] ^= 1 << (round % 8);
            with(passing, payload)
        };
        places.map(flip).collect()
    })
}

fn other_lengths() -> Rule {
    before_it(|passing, _| {
        let payload = &passing.payload;
        let longer = [payload.as_slice(), b"x"].concat();
        let shorter = [0, 1, 20, 21, 86, 107, payload.len() - 1].map(|length| payload[..length].to_vec());
        let huge = vec![payload[0]; RELAY_BYTES_MAX];
        shorter.into_iter().chain([longer, huge]).map(|payload| with(passing, payload)).collect()
    })
}

/// To its sender, as its own and as the other's.
fn reflected() -> Rule {
    before_it(|passing, _| {
        let back = Passing { to: passing.from, ..passing.clone() };
        vec![back.clone(), Passing { from: passing.to, ..back }]
    })
}

/// Under ids of others: a stranger's, and the receiver's own.
fn renamed() -> Rule {
    before_it(|passing, _| {
        let stranger = ClientId::from_bytes([9; 20]);
        [stranger, passing.to].map(|from| Passing { from, ..passing.clone() }).to_vec()
    })
}

/// Again and again, and everything of earlier sessions with it.
fn replayed() -> Rule {
    Box::new(|passing, passed| {
        let old = passed.iter().rev().take(24).cloned();
        old.chain(vec![passing.clone(); 5]).chain(passed.first().cloned()).collect()
    })
}

/// The body of an older payload under the header of this one, and the other way round.
fn spliced() -> Rule {
    before_it(|passing, passed| {
        let same = passed.iter().filter(|old| old.from == passing.from && old.payload[0] == passing.payload[0]);
        let splice = |old: &Passing| {
            let mut new_header = old.payload.clone();
            new_header[HEADER].copy_from_slice(&passing.payload[HEADER]);
            let mut new_session = passing.payload.clone();
            new_session[SESSION].copy_from_slice(&old.payload[SESSION]);
            [with(passing, new_header), with(passing, new_session)]
        };
        same.rev().take(4).flat_map(splice).collect()
    })
}

/// As if an invite had brought it.
fn by_invite() -> Rule {
    before_it(|passing, _| vec![Passing { via: Via::Invite([3; 16]), ..passing.clone() }])
}

/// As every other type of payload.
fn retyped() -> Rule {
    before_it(|passing, _| {
        let retype = |kind: u8| {
            let mut payload = passing.payload.clone();
            payload[0] = kind;
            with(passing, payload)
        };
        (0..=6).filter(|kind| *kind != passing.payload[0]).map(retype).collect()
    })
}

/// The first payload after whatever comes next: a candidate, another offer, its own withdrawal.
fn reordered() -> Rule {
    let (mut held, mut done) = (None::<Passing>, false);
    Box::new(move |passing, _| {
        if !std::mem::replace(&mut done, true) {
            held = Some(passing.clone());
            return Vec::new();
        }
        std::iter::once(passing.clone()).chain(held.take()).collect()
    })
}

/// The first of its kind, for which somebody waits in vain.
fn without_first(kind: PayloadKind) -> Rule {
    let mut dropped = false;
    Box::new(move |passing, _| {
        let drops = is(passing, kind) && !std::mem::replace(&mut dropped, true);
        if drops { Vec::new() } else { vec![passing.clone()] }
    })
}

#[tokio::test]
async fn what_a_server_does_to_payloads_connects_nobody_wrong_and_the_right_ones_all_the_same() {
    let mut scene = Scene::new().await;
    for round in 0..rounds() {
        let attacks = [
            ("changed bytes", each_byte(round)),
            ("other lengths", other_lengths()),
            ("reflection", reflected()),
            ("other names", renamed()),
            ("replay", replayed()),
            ("splicing", spliced()),
            ("a wrong right", by_invite()),
            ("other types", retyped()),
            ("another order", reordered()),
            ("a lost offer", without_first(PayloadKind::Offer)),
            ("a lost answer", without_first(PayloadKind::Answer)),
        ];
        for (what, attack) in attacks {
            let (before, cheats) = (scene.server.passed().len(), scene.server.cheats());
            scene.server.set_rule(attack);
            scene.bob.lock_and_unlock().await;
            scene.server.wait_for_payload(before, |_| true).await;
            scene.is_as_it_should_be(what).await;
            assert!(scene.server.cheats() > cheats, "{what}: nothing was done");
            scene.server.set_rule(honest());
        }
    }
    for victim in [&scene.alice, &scene.bob] {
        assert!(victim.has_logged("did not open"), "{}", victim.log());
    }
    // And nothing of what it relayed could be read.
    for passing in scene.server.passed() {
        let text = String::from_utf8_lossy(&passing.payload);
        assert!(!text.contains("fingerprint") && !text.contains("candidate") && !text.contains("127.0.0.1"));
    }
}
