//! Rooms of real devices.

use kith_system_tests::{Conversation, Device, Logging, Server};
use serde_json::Value;

/// A server, devices that are all contacts of the first, and a room of all of them.
pub(crate) struct House {
    _server: Server,
    pub(crate) devices: Vec<Device>,
    pub(crate) id: String,
}

impl House {
    pub(crate) async fn new(count: usize) -> Self {
        let server = Server::start(Logging::Active).await.unwrap();
        let mut devices = Vec::new();
        for number in 0..count {
            devices.push(Device::start(&format!("device-{number}"), &server.url()).await.unwrap());
        }
        for other in &devices[1..] {
            other.accept(&devices[0].invite().await.unwrap()).await.unwrap();
        }
        let names = devices[1..].iter().map(Device::name);
        let args: Vec<&str> = ["room", "create", "house"].into_iter().chain(names).collect();
        let made: Value = devices[0].kithctl_json(&args, "").await.unwrap();
        let id = made["room"].as_str().unwrap().to_owned();
        Self { _server: server, devices, id }
    }

    /// The conversation in the room on a device that runs, once it knows of all members.
    pub(crate) async fn room_on(&self, device: usize) -> Conversation {
        let messenger = self.devices[device].messenger().await.unwrap();
        messenger.room(&self.id, self.devices.len()).await.unwrap()
    }
}

#[tokio::test]
async fn three_devices_of_which_two_have_never_met_talk_in_a_room() {
    let house = House::new(3).await;
    let mut rooms = Vec::new();
    for device in 0..3 {
        rooms.push(house.room_on(device).await);
    }
    for (device, room) in rooms.iter_mut().enumerate() {
        let queued = room.send(&format!("from {device}")).await.unwrap();
        room.wait_until_delivered(&queued).await.unwrap();
    }
    for (device, room) in rooms.iter().enumerate() {
        let mut texts: Vec<_> =
            room.history().await.unwrap().into_iter().map(|row| String::from_utf8(row.body).unwrap()).collect();
        texts.sort();
        assert_eq!(texts, ["from 0", "from 1", "from 2"], "device {device}");
    }
    assert!(house.devices[1].kithctl(&["peers"], "").await.unwrap().lines().count() == 1, "no more contacts");
}
