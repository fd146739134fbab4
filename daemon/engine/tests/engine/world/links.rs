//! Links between devices: what the network carries once two have found each other.

use kith_engine::{LinkEvent, LinkId, LinkPath, Negotiation};

use super::{Happening, World};

#[derive(Clone, Copy, Default)]
pub(super) struct Link {
    /// The other end, once an answer was given.
    other: Option<(usize, LinkId)>,
    up: bool,
    /// Nothing comes through, and neither side is told of it.
    dead: bool,
    /// When the latest frame arrives: none overtakes another.
    arrives_ms: u64,
}

impl World {
    /// Ends a device's newest link, as a network failure does; both sides notice.
    pub(crate) fn break_link(&mut self, index: usize) {
        let newest = self.devices[index].links.keys().next_back().copied();
        newest.into_iter().for_each(|link| self.fail_link(index, link));
    }

    /// From now on nothing comes through a device's newest link; both sides are told of the silence.
    pub(crate) fn silence_link(&mut self, index: usize) {
        let Some((id, link)) = self.devices[index].links.iter_mut().next_back() else { return };
        link.dead = true;
        let (id, other) = (*id, link.other);
        self.tell_link(index, id, LinkEvent::Silent);
        if let Some((other, other_id)) = other
            && let Some(link) = self.devices[other].links.get_mut(&other_id)
        {
            link.dead = true;
            self.tell_link(other, other_id, LinkEvent::Silent);
        }
    }

    /// A device's newest link reports this.
    pub(crate) fn newest_link_reports(&mut self, index: usize, event: LinkEvent) {
        let newest = self.devices[index].links.keys().next_back().copied();
        newest.into_iter().for_each(|link| self.tell_link(index, link, event.clone()));
    }

    fn tell_link(&mut self, index: usize, link: LinkId, event: LinkEvent) {
        let run = self.devices[index].run;
        self.push(1, Happening::Link(index, run, link, event));
    }

    /// A device's own addresses have changed.
    pub(crate) fn change_network(&mut self, index: usize) {
        let (run, now) = (self.devices[index].run, self.now());
        self.with(index, run, |engine, rng| engine.handle_network(now, rng));
    }

    fn fail_link(&mut self, index: usize, id: LinkId) {
        let Some(link) = self.devices[index].links.get_mut(&id) else { return };
        link.up = false;
        let (link, run) = (*link, self.devices[index].run);
        self.tell_other_end(link);
        self.push(1, Happening::Link(index, run, id, LinkEvent::Down("the network failed".to_owned())));
    }

    pub(super) fn tell_other_end(&mut self, link: Link) {
        let Some((other, other_link)) = link.other else { return };
        let run = self.devices[other].run;
        if self.devices[other].links.contains_key(&other_link) {
            let down = LinkEvent::Down("the other side closed".to_owned());
            self.push(self.delays.channel_ms, Happening::Link(other, run, other_link, down));
        }
    }

    pub(super) fn transmit(&mut self, index: usize, link: LinkId, mut frame: Vec<u8>) {
        self.frames += 1;
        assert!(frame.len() <= 16_384, "a channel message is too large");
        if let Some(tamper) = &mut self.tamper_frame {
            tamper(&mut frame);
        }
        if self.chance(self.faults.frame_lost) {
            return self.fail_link(index, link);
        }
        let earliest_ms = self.boot_ms + self.delays.channel_ms;
        let Some(link) = self.devices[index].links.get_mut(&link).filter(|link| link.up && !link.dead) else { return };
        let Some((other, other_link)) = link.other else { return };
        link.arrives_ms = link.arrives_ms.max(earliest_ms);
        let delay_ms = link.arrives_ms - self.boot_ms;
        let run = self.devices[other].run;
        self.push(delay_ms, Happening::Frame(other, run, other_link, frame));
    }

    /// Of the certificate that a device has for a link.
    pub(crate) fn fingerprint(device: usize, link: LinkId) -> [u8; 32] {
        let mut bytes = [device as u8; 32];
        bytes[..8].copy_from_slice(&link.0.to_be_bytes());
        bytes
    }

    pub(super) fn negotiate(&mut self, index: usize, link: LinkId, words: Negotiation) {
        let parse = |sdp: &str| -> Option<(usize, LinkId)> {
            let (device, link) = sdp.split_once(' ')?;
            Some((device.parse().ok()?, LinkId(link.parse().ok()?)))
        };
        match words {
            Negotiation::Candidate(_) => {}
            Negotiation::Offer(sdp) => {
                let run = self.devices[index].run;
                if let Some(own) = self.devices[index].links.get_mut(&link) {
                    own.other = parse(&sdp);
                    let answer = Negotiation::Answer(format!("{index} {}", link.0));
                    self.push(0, Happening::Link(index, run, link, LinkEvent::Local(answer)));
                }
            }
            Negotiation::Answer(sdp) => {
                let Some((other, other_link)) = parse(&sdp) else { return };
                if let Some(own) = self.devices[index].links.get_mut(&link) {
                    own.other = Some((other, other_link));
                }
                for (device, own, remote) in [(index, link, (other, other_link)), (other, other_link, (index, link))] {
                    self.bring_up(device, own, remote);
                }
            }
        }
    }

    fn bring_up(&mut self, index: usize, link: LinkId, remote: (usize, LinkId)) {
        let run = self.devices[index].run;
        let swapped = self.swap_fingerprints;
        let Some(own) = self.devices[index].links.get_mut(&link) else { return };
        own.up = true;
        let mut remote_fingerprint = Self::fingerprint(remote.0, remote.1);
        remote_fingerprint[31] ^= u8::from(swapped);
        let up = LinkEvent::Up {
            own_fingerprint: Self::fingerprint(index, link),
            remote_fingerprint,
            path: LinkPath::Direct,
        };
        self.push(self.delays.channel_ms, Happening::Link(index, run, link, up));
    }
}
