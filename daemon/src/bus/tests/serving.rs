//! Buses that are late, go away or are taken, and loops that are faster than the bus.

use kith_dbus::DaemonState as Shown;
use kith_engine::{Event, Presence};

use super::fake::{GATE, HALL, peer};
use super::*;

#[tokio::test]
async fn the_bus_may_start_after_the_daemon_and_go_away_and_come_back() {
    let mut bus = PrivateBus::prepared();
    let (handle, _fake) = fake::start(DaemonState::Ready);
    let _serving = tokio::spawn(serve(handle, BusAddress::Address(bus.address())));
    // Lets the service find out that there is no bus.
    tokio::task::yield_now().await;
    for _ in 0..2 {
        bus.start();
        let client = bus.connect().await;
        appeared(&client).await;
        let manager = Manager1Proxy::builder(&client).cache_properties(CacheProperties::No).build().await.unwrap();
        assert_eq!(manager.state().await.unwrap(), Shown::Ready);
        let peer = Peer1Proxy::builder(&client).path(map::peer_path(HALL)).build().await.unwrap();
        assert_eq!(peer.name().await.unwrap(), "hall");
        bus.stop();
        client.closed().await;
    }
}

#[tokio::test]
async fn a_second_messenger_on_the_same_bus_ends_with_an_error_that_says_so() {
    let stage = Stage::ready().await;
    let (handle, _fake) = fake::start(DaemonState::Ready);
    let error = serve(handle, BusAddress::Address(stage.bus.address())).await.unwrap_err();
    assert!(matches!(error, ServeError::NameTaken { .. }), "{error}");
    assert!(error.to_string().contains("stop the other kithd"), "{error}");
    assert_eq!(stage.manager().await.state().await.unwrap(), Shown::Ready);
}

#[tokio::test]
async fn what_is_no_address_is_an_error_at_once() {
    let (handle, _fake) = fake::start(DaemonState::Ready);
    let error = serve(handle, BusAddress::Address("nonsense".into())).await.unwrap_err();
    assert!(matches!(error, ServeError::Address(_)), "{error}");
}

#[tokio::test]
async fn the_service_ends_with_the_loop() {
    let stage = Stage::ready().await;
    stage.fake.act(fake::World::stop).await;
    assert!(stage.serving.await.unwrap().is_ok());
    let (handle, fake) = fake::start(DaemonState::Ready);
    let waiting = tokio::spawn(serve(handle, BusAddress::Address(PrivateBus::prepared().address())));
    fake.act(fake::World::stop).await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn after_lost_events_the_objects_are_those_of_the_loop_again() {
    let stage = Stage::ready().await;
    let mut signals = stage.signals().await;
    stage
        .fake
        .act(|world| {
            world.peers.remove(&HALL);
            world.tell(Event::PeerRemoved(HALL));
            world.peers.insert(GATE, peer(GATE, "gate"));
            // More than an observer may lag behind, without a pause in which it could keep up.
            for number in 0..2_000 {
                world.tell(Event::DisplayName(format!("{number}")));
            }
            world.display_name = "1999".into();
            world.change_peer(GATE, |view| view.presence = Presence::Offline);
        })
        .await;
    while stage.paths().await != [map::peer_path(GATE).as_str()] {
        next(&mut signals, "InterfacesAdded").await;
    }
    assert_eq!(stage.peer(GATE).await.presence().await.unwrap(), kith_dbus::Presence::Offline);
}

#[tokio::test]
async fn a_store_that_is_locked_and_opened_at_once_shows_only_what_is_new() {
    let stage = Stage::ready().await;
    let manager = stage.manager().await;
    let old = manager.invite(&kith_dbus::InviteOptions::default()).await.unwrap();
    stage
        .fake
        .act(|world| {
            world.set_state(DaemonState::Locked);
            world.pairings.clear();
            world.set_state(DaemonState::Ready);
        })
        .await;
    // Settles whatever the loop has said.
    manager.lock().await.unwrap();
    manager.unlock(&fake::SECRET.into()).await.unwrap();
    assert_eq!(stage.pairing(old).await.state().await, Err(kith_dbus::Failure::NoObject));
    assert_eq!(stage.paths().await, [map::peer_path(HALL).as_str()]);
}
