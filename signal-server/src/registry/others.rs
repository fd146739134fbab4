//! What is known of other servers and of their devices.

use std::collections::{BTreeMap, BTreeSet};

use kith_crypto::identity::ClientId;
use kith_signal_protocol::Via;

use super::ConnectionId;
use super::words::{NodeId, Pair};

/// Other servers that are heard: each costs four probes a second.
const NODES_MAX: usize = 256;

/// Questions to which "nobody hears this" would be an answer: it comes within milliseconds, and a question that had
/// none is forgotten when so many others have been asked.
const ASKED_MAX: usize = 16_384;

/// A question to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whether this login may stand.
    Claim(ConnectionId),
    /// Whether there is somebody to relay to.
    Relay { from: ClientId, to: ClientId, via: Via, is_permitted: bool },
    /// Whether a server still lives.
    Probe(NodeId),
}

/// A device of another server that watches devices here and is watched by them.
#[derive(Debug)]
struct Peer {
    node: NodeId,
    watchers: BTreeSet<ClientId>,
}

/// Other servers, their devices that were seen here, and what they were asked.
#[derive(Debug, Default)]
pub(super) struct Others {
    peers: BTreeMap<ClientId, Peer>,
    /// With the number of the last probe.
    nodes: BTreeMap<NodeId, Option<u64>>,
    asked: BTreeMap<u64, Asked>,
    next: u64,
}

impl Others {
    /// Whether a server may be heard, and remembers it.
    pub(super) fn admit(&mut self, node: NodeId) -> bool {
        let is_full = self.nodes.len() >= NODES_MAX;
        match self.nodes.get(&node) {
            Some(_) => true,
            None if is_full => false,
            None => self.nodes.insert(node, None).is_none(),
        }
    }

    /// The servers that are to be probed, with the numbers of the questions.
    pub(super) fn probe_all(&mut self) -> Vec<(NodeId, u64)> {
        let nodes: Vec<_> = self.nodes.keys().copied().collect();
        let mut probes = Vec::with_capacity(nodes.len());
        for node in nodes {
            let number = self.ask(Asked::Probe(node));
            if let Some(last) = self.nodes.insert(node, Some(number)).flatten() {
                self.asked.remove(&last);
            }
            probes.push((node, number));
        }
        probes
    }

    /// The number of a new question.
    pub(super) fn ask(&mut self, asked: Asked) -> u64 {
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_first();
        }
        self.next += 1;
        self.asked.insert(self.next, asked);
        self.next
    }

    /// Which question that was.
    pub(super) fn answered(&mut self, number: u64) -> Option<Asked> {
        self.asked.remove(&number)
    }

    /// A device here and one there watch each other; true if that is new.
    pub(super) fn see(&mut self, watcher: ClientId, peer: ClientId, node: NodeId) -> bool {
        let seen = self.peers.entry(peer).or_insert_with(|| Peer { node, watchers: BTreeSet::new() });
        seen.watchers.insert(watcher)
    }

    /// Whether they do.
    pub(super) fn is_seen(&self, watcher: ClientId, peer: ClientId) -> bool {
        self.peers.get(&peer).is_some_and(|seen| seen.watchers.contains(&watcher))
    }

    /// They do no longer; true if they did.
    pub(super) fn unsee(&mut self, watcher: ClientId, peer: ClientId) -> bool {
        let Some(seen) = self.peers.get_mut(&peer) else {
            return false;
        };
        let was_seen = seen.watchers.remove(&watcher);
        if seen.watchers.is_empty() {
            self.peers.remove(&peer);
        }
        was_seen
    }

    /// Where a device is that was seen here.
    pub(super) fn node_of(&self, peer: &ClientId) -> Option<NodeId> {
        self.peers.get(peer).map(|seen| seen.node)
    }

    /// A device is no longer where it was; gives who saw it there.
    pub(super) fn lose_device(&mut self, peer: ClientId) -> Vec<Pair> {
        let seen = self.peers.remove(&peer).into_iter().flat_map(|seen| seen.watchers);
        seen.map(|watcher| Pair { watcher, watched: peer }).collect()
    }

    /// A server is gone, with all its devices; gives who saw them.
    pub(super) fn lose_node(&mut self, node: NodeId) -> Vec<Pair> {
        if let Some(Some(number)) = self.nodes.remove(&node) {
            self.asked.remove(&number);
        }
        let lost: Vec<_> = self.peers.iter().filter(|(_, seen)| seen.node == node).map(|(&id, _)| id).collect();
        lost.into_iter().flat_map(|id| self.lose_device(id)).collect()
    }

    /// No other server is heard any more; gives who saw their devices.
    pub(super) fn lose_all(&mut self) -> Vec<Pair> {
        self.nodes.clear();
        self.asked.clear();
        let lost: Vec<_> = self.peers.keys().copied().collect();
        lost.into_iter().flat_map(|id| self.lose_device(id)).collect()
    }
}
