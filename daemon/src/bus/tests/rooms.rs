//! Rooms on the bus and at the command line.

use kith_dbus::{CreateRoomOptions, Direction, Failure, RefusalName, Room1Proxy, RoomState, SendOptions};
use serde_json::json;

use super::ctl::ctl;
use super::fake::{GATE, HALL, OWN};
use super::*;

impl Stage {
    /// A room of this device and the contact `hall`.
    async fn room(&self) -> OwnedObjectPath {
        let options = CreateRoomOptions { name: Some("house".to_owned()), members: Some(vec![map::peer_path(HALL)]) };
        self.manager().await.create_room(&options).await.unwrap()
    }

    async fn room_at(&self, path: &OwnedObjectPath) -> Room1Proxy<'static> {
        let builder = Room1Proxy::builder(&self.client).path(path.clone());
        builder.cache_properties(CacheProperties::No).build().await.unwrap()
    }
}

#[tokio::test]
async fn a_room_is_an_object_with_its_members_and_its_conversation() {
    let stage = Stage::ready().await;
    let path = stage.room().await;
    let room = stage.room_at(&path).await;
    assert_eq!((room.name().await.unwrap().as_str(), room.state().await.unwrap()), ("house", RoomState::Joined));
    assert_eq!((room.owner().await.unwrap(), room.version().await.unwrap()), (OWN.to_string(), 1));
    let members = room.members().await.unwrap();
    let shown: Vec<_> = members.iter().map(|member| (member.client_id.clone(), member.present)).collect();
    assert_eq!(shown, [(HALL.to_string(), true), (OWN.to_string(), false)]);
    let builder = Conversation1Proxy::builder(&stage.client).path(path.clone());
    let conversation = builder.cache_properties(CacheProperties::No).build().await.unwrap();
    let id = conversation.send("text/plain", b"to all", &SendOptions::default()).await.unwrap();
    let id_of_room = kith_engine::RoomId([1; 16]);
    stage.fake.act(move |world| world.receive_in_room(id_of_room, HALL, "to you, too")).await;
    let rows = conversation.list(0, 10).await.unwrap();
    let [own, other] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((&own.id, own.peer.as_str(), own.room.as_ref()), (&id, "/", Some(&path)));
    assert_eq!((other.direction, &other.peer), (Direction::Incoming, &map::peer_path(HALL)));
    let fetched = stage.inbox().await.fetch("display", 0, 10).await.unwrap();
    assert_eq!((fetched.len(), fetched[0].room.as_ref()), (1, Some(&path)));
}

#[tokio::test]
async fn an_owner_changes_a_room_and_leaves_it_last() {
    let stage = Stage::ready().await;
    let path = stage.room().await;
    let (room, mut signals) = (stage.room_at(&path).await, stage.signals().await);
    room.add(&map::peer_path(GATE)).await.unwrap();
    next(&mut signals, "PropertiesChanged").await;
    assert_eq!(room.members().await.unwrap().len(), 3);
    room.rename("garden").await.unwrap();
    assert_eq!(room.name().await.unwrap(), "garden");
    let refused = match room.leave().await {
        Err(Failure::Refused(refusal)) => refusal.name,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused, RefusalName::OwnsRoom);
    room.hand_over(&map::peer_path(HALL)).await.unwrap();
    assert_eq!(room.owner().await.unwrap(), HALL.to_string());
    room.remove(&map::peer_path(GATE)).await.unwrap();
    room.leave().await.unwrap();
    assert_eq!(room.name().await, Err(Failure::NoObject));
    let nobody = CreateRoomOptions { name: Some("x".into()), members: Some(vec![map::no_object()]) };
    let refused = stage.manager().await.create_room(&nobody).await;
    assert!(matches!(refused, Err(Failure::Refused(refusal)) if refusal.name == RefusalName::InvalidArgument));
}

#[tokio::test]
async fn locking_takes_down_rooms() {
    let stage = Stage::ready().await;
    stage.room().await;
    assert_eq!(stage.paths().await.len(), 2);
    stage.manager().await.lock().await.unwrap();
    assert!(stage.paths().await.is_empty());
}

#[tokio::test]
async fn rooms_are_made_talked_in_and_left_at_the_command_line() {
    let stage = Stage::ready().await;
    assert!(ctl(&stage, &["rooms"], "").await.done().out.contains("No rooms yet"));
    let made = ctl(&stage, &["--json", "room", "create", "house", "hall"], "").await.done().json();
    let id = "01".repeat(16);
    assert_eq!((&made["room"], &made["owner"]), (&json!(id), &json!(OWN.to_string())));
    let sent = ctl(&stage, &["--json", "send", "house", "to all"], "").await.done().json();
    assert_eq!((&sent["room"], &sent["state"]), (&json!(id), &json!("queued")));
    stage.fake.act(|world| world.receive_in_room(kith_engine::RoomId([1; 16]), HALL, "hello")).await;
    let history = ctl(&stage, &["history", "house"], "").await.done().out;
    assert!(history.contains("me: to all") && history.contains("hall: hello"), "{history}");
    assert!(ctl(&stage, &["room", "rename", "house", "garden"], "").await.done().out.contains("garden"));
    let listed = ctl(&stage, &["rooms"], "").await.done().out;
    assert!(listed.starts_with("garden") && listed.contains("2 members, 1 unread"), "{listed}");
    assert!(ctl(&stage, &["room", "leave", "garden"], "y\n").await.err.contains("--yes"));
    assert!(ctl(&stage, &["room", "leave", "garden", "--yes"], "").await.err.contains("hand it over"));
    ctl(&stage, &["room", "remove", "garden", "hall"], "").await.done();
    let left = ctl(&stage, &["--json", "room", "leave", "garden", "--yes"], "").await.done().json();
    assert_eq!(left, json!({ "left": id }));
    assert!(ctl(&stage, &["room", "leave", "garden", "--yes"], "").await.err.contains("no room `garden`"));
}
