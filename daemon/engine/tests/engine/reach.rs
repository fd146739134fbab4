//! Whether peers may see this device's address.

use kith_engine::{Event, Reply, Request};

use crate::world::World;

fn shown(world: &World, index: usize) -> Option<bool> {
    let events = world.devices[index].events.iter().rev();
    events.into_iter().find_map(|event| match event {
        Event::RelayOnly(relay_only) => Some(*relay_only),
        _ => None,
    })
}

#[test]
fn a_direct_session_ends_at_once_when_links_are_to_be_relayed_only_and_the_next_one_is() {
    for chooser in [0, 1] {
        let mut world = World::paired(310);
        let (other, before) = (1 - chooser, world.links_opened);
        assert_eq!((shown(&world, chooser), world.relay_only[&chooser]), (Some(false), false));
        assert!(matches!(world.ask(chooser, Request::SetRelayOnly(true)), Ok(Reply::Done)));
        assert_eq!(shown(&world, chooser), Some(true));
        world.send(chooser, other, "over a relay");
        assert!(world.run_while(3_000, |w| w.delivered(chooser, other) < 1));
        assert!(world.links_opened > before, "the direct one is gone");
        assert_eq!((world.relay_only[&chooser], world.relay_only[&other]), (true, false), "each for itself");
    }
}

#[test]
fn the_choice_holds_over_the_configuration_after_a_restart_and_saying_it_again_changes_nothing() {
    let mut world = World::paired(311);
    world.ask(0, Request::SetRelayOnly(true)).unwrap();
    world.crash(0);
    world.start(0);
    assert_eq!(shown(&world, 0), Some(true));
    assert!(world.run_while(30_000, |w| !w.connected(0, 1)));
    assert!(world.relay_only[&0]);
    let before = world.links_opened;
    world.ask(0, Request::SetRelayOnly(true)).unwrap();
    world.run_for(10_000);
    assert_eq!(world.links_opened, before);
    world.ask(0, Request::SetRelayOnly(false)).unwrap();
    world.break_link(0);
    assert!(world.run_while(30_000, |w| w.links_opened < before + 2));
    assert_eq!((shown(&world, 0), world.relay_only[&0]), (Some(false), false));
}
