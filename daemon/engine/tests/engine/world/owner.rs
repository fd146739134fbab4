//! What a device's owner asks for, and sees.

use kith_engine::{
    Direction, Event, LinkState, MessageId, MessageRecord, MessageState, NewMessage, PairingState, Reply, Request,
    RequestError, RequestId,
};

use super::{World, input};

impl World {
    pub(crate) fn request(&mut self, index: usize, request: Request) -> RequestId {
        let now = self.now();
        let device = &mut self.devices[index];
        let id = RequestId(device.next_request);
        device.next_request += 1;
        let engine = device.engine.as_mut().expect("the device runs");
        input(self.wipes_stack, || engine.handle_request(id, request, now, &mut device.rng));
        self.drain(index);
        id
    }

    /// Asks and waits for the answer.
    pub(crate) fn ask(&mut self, index: usize, request: Request) -> Result<Reply, RequestError> {
        let id = self.request(index, request);
        assert!(self.run_while(10_000, |w| !w.devices[index].replies.contains_key(&id)), "no reply");
        self.devices[index].replies.remove(&id).expect("just seen")
    }

    pub(crate) fn invite(&mut self, index: usize) -> String {
        let Ok(Reply::Pairing(id)) = self.ask(index, Request::Invite { lifetime_s: 600 }) else { panic!("no invite") };
        self.run_for(50);
        self.devices[index].pairings[&id.0].uri.clone()
    }

    pub(crate) fn accept(&mut self, index: usize, uri: &str) -> u32 {
        let reply = self.ask(index, Request::Accept { uri: uri.to_owned(), other_server: false });
        let Ok(Reply::Pairing(id)) = reply else { panic!("not accepted: {reply:?}") };
        id.0
    }

    pub(crate) fn pair(&mut self, inviter: usize, invitee: usize) {
        let uri = self.invite(inviter);
        let id = self.accept(invitee, &uri);
        let done = |w: &Self| matches!(w.devices[invitee].pairings[&id].state, PairingState::Done(_));
        assert!(self.run_while(60_000, |w| !done(w)), "not paired: {:?}", self.devices[invitee].pairings[&id]);
    }

    pub(crate) fn message(text: &str) -> NewMessage {
        NewMessage {
            content_type: "text/plain".to_owned(),
            body: text.as_bytes().to_vec(),
            reply_to: None,
            ttl_s: None,
            idempotency_key: None,
        }
    }

    pub(crate) fn send(&mut self, from: usize, to: usize, text: &str) -> MessageId {
        let peer = self.devices[to].id;
        match self.ask(from, Request::Send { conversation: peer.into(), message: Self::message(text) }) {
            Ok(Reply::Message(id)) => id,
            other => panic!("not queued: {other:?}"),
        }
    }

    /// What `reader` has received from `writer`, in order.
    pub(crate) fn received(&self, reader: usize, writer: usize) -> Vec<String> {
        let history = self.devices[reader].disk.history(self.devices[writer].id);
        let incoming = history.into_iter().filter(|m| m.direction == Direction::Incoming);
        incoming.map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect()
    }

    /// How many of the own messages to `to` are delivered.
    pub(crate) fn delivered(&self, from: usize, to: usize) -> usize {
        let history = self.devices[from].disk.history(self.devices[to].id);
        let delivered = |m: &&MessageRecord| m.direction == Direction::Outgoing && m.state == MessageState::Delivered;
        history.into_iter().filter(delivered).count()
    }

    /// How many own messages to `to` still wait.
    pub(crate) fn queued(&self, from: usize, to: usize) -> usize {
        self.devices[from].disk.waiting(self.devices[to].id)
    }

    pub(crate) fn connected(&self, a: usize, b: usize) -> bool {
        let up = |x: usize, y: usize| {
            let view = self.devices[x].peers.get(&self.devices[y].id);
            view.is_some_and(|v| v.link != LinkState::None)
        };
        up(a, b) && up(b, a)
    }

    /// How often the keys of the session between two devices were replaced, on both sides.
    pub(crate) fn key_generation(&self, a: usize, b: usize) -> Option<u64> {
        let of = |x: usize, y: usize| self.devices[x].engine.as_ref()?.key_generation(self.devices[y].id);
        Some(of(a, b)?.min(of(b, a)?))
    }

    pub(crate) fn troubles(&self, index: usize) -> Vec<&str> {
        let trouble = |event: &'_ Event| matches!(event, Event::Trouble { .. });
        let events = self.devices[index].events.iter().filter(|e| trouble(e));
        events.filter_map(|e| if let Event::Trouble { text, .. } = e { Some(text.as_str()) } else { None }).collect()
    }
}
