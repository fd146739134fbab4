//! How somebody becomes a contact.

use kith_crypto::identity::Card;

use crate::contact::Contact;
use crate::engine::Engine;
use crate::record::{ContactRecord, ContactState, Incarnation, StoredContact};
use crate::upkeep::cleaned_name;
use crate::{Now, SignalOut};

/// Why a pairing fails whose newcomer the disk did not take.
pub(crate) const CONTACT_NOT_STORED: &str = "The contact could not be stored. Free some space and begin again.";

impl Engine {
    /// Takes over what is on disk already.
    pub(crate) fn add_contact(&mut self, contact: ContactRecord) {
        let peer = contact.client_id();
        match self.contacts.get_mut(&peer) {
            Some(known) => known.record = contact,
            None => {
                self.contacts.insert(peer, Contact::new(StoredContact::new(contact)));
            }
        }
        if !self.is_blocked(peer) {
            self.signal(SignalOut::Watch { add: vec![peer], remove: Vec::new() });
        }
        self.notify_peer(peer);
    }
}

/// What is to be stored of a new contact.
pub(crate) fn new_contact_record(
    card: &Card,
    name: &str,
    state: ContactState,
    incarnation: Incarnation,
    now: Now,
) -> ContactRecord {
    ContactRecord {
        card: card.clone(),
        name: name_of(card, name),
        state,
        major_min: kith_crypto::version::Version::OWN.major,
        paired_utc_ms: now.utc_ms,
        seen_utc_ms: 0,
        incarnation,
    }
}

/// The name that somebody gives itself; without one, the first two groups of its client id.
pub(crate) fn name_of(card: &Card, name: &str) -> String {
    let name = cleaned_name(name);
    if name.is_empty() { card.client_id().to_string().chars().take(9).collect() } else { name }
}
