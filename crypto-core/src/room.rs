//! A room's secret and its roster: who is in it, signed by its owner (docs/protocol.md §7.1).
//!
//! Invariants:
//! - A room's id is bound to its founder: nobody else can sign a first roster for it.
//! - Ownership passes by signature only, from the founder on; each roster carries that lineage, so that
//!   whoever has missed rosters can verify the newest by itself.
//! - The signed bytes are kept and handed on as they came.
//!
//! Deliberately absent: which roster is in force. That is the engine's to decide.

use core::fmt;

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::identity::{CARD_BYTES, CLIENT_ID_BYTES, Card, ClientId, Identity, PUBLIC_IDENTITY_BYTES, SIGNATURE_BYTES};
use crate::primitives::{derive, sha256};
use crate::wire::NAME_BYTES_MAX;

/// Devices in one room, its owner among them.
pub const MEMBERS_MAX: usize = 32;
/// How often a room may change its owner: the lineage travels with every roster.
pub const HAND_OVERS_MAX: usize = 16;
/// The longest signed roster: it fits one frame.
pub const ROSTER_BYTES_MAX: usize = HEAD_BYTES
    + CARD_BYTES
    + 1
    + HAND_OVERS_MAX * HAND_OVER_BYTES
    + 1
    + MEMBERS_MAX * (CARD_BYTES + 1 + NAME_BYTES_MAX)
    + 1
    + NAME_BYTES_MAX
    + SIGNATURE_BYTES;

/// Salt, version, hash of the roster before, hash of the secret.
const HEAD_BYTES: usize = 16 + 8 + 32 + 32;
/// Version, the new owner's card, the signature of the one before.
const HAND_OVER_BYTES: usize = 8 + CARD_BYTES + SIGNATURE_BYTES;

const ROOM_ID_LABEL: &[u8] = b"kith/1 room id";
const ROSTER_LABEL: &[u8] = b"kith/1 room roster";
const ROSTER_HASH_LABEL: &[u8] = b"kith/1 room roster hash";
const HAND_OVER_LABEL: &[u8] = b"kith/1 room hand-over";
const SECRET_LABEL: &[u8] = b"kith/1 room secret";
const TOKEN_LABEL: &[u8] = b"kith/1 room token";

/// Why a roster was not written, or not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// It does not parse, or says something that no roster says.
    #[error("malformed roster")]
    Malformed,
    /// Too many members or owners, or a name that is too long.
    #[error("over the limit")]
    TooLong,
    /// The roster, a card in it or a hand-over is not signed by whom it has to be.
    #[error("the roster is not signed by the room's owner")]
    Signature,
}

/// A room's name: bound to its founder's identity, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct RoomId(pub [u8; 16]);

impl RoomId {
    /// `SHA-256("kith/1 room id" ‖ founder's public identity ‖ salt)`, the first 16 bytes.
    fn of(founder: &[u8; CARD_BYTES], salt: &[u8; 16]) -> Self {
        let digest = sha256(&[ROOM_ID_LABEL, &founder[..PUBLIC_IDENTITY_BYTES], salt]);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

/// What the members of a room share, 32 random bytes; new whenever somebody leaves.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, serde::Serialize, serde::Deserialize)]
pub struct RoomSecret([u8; 32]);

impl RoomSecret {
    /// Makes a new secret.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut secret = Self([0; 32]);
        rng.fill_bytes(&mut secret.0);
        secret
    }

    /// The secret that came with a roster.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sent to a member.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All that the signaling server gets.
    pub fn token(&self) -> [u8; 16] {
        let [derived] = *derive(SECRET_LABEL, &self.0, &[TOKEN_LABEL]);
        let mut token = [0; 16];
        token.copy_from_slice(&derived[..16]);
        token
    }

    fn hash(&self) -> [u8; 32] {
        sha256(&[SECRET_LABEL, &self.0])
    }
}

impl fmt::Debug for RoomSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomSecret(..)")
    }
}

/// One device on a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its card. Verified only where [`Roster::verify`] says so.
    pub card: &'a [u8; CARD_BYTES],
    /// The owner's name for it.
    pub name: &'a str,
}

impl Member<'_> {
    /// Its client id.
    pub fn client_id(&self) -> ClientId {
        client_id_of(self.card)
    }
}

/// What a roster says, to be signed by [`Draft::write`].
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Random, the founder's.
    pub salt: [u8; 16],
    /// Counts from 1.
    pub version: u64,
    /// [`Roster::hash`] of the version before; zeros for the first.
    pub previous: [u8; 32],
    /// The room's secret from this version on.
    pub secret: &'a RoomSecret,
    /// Founder and hand-overs of the version before; `None` for the first.
    pub lineage: Option<&'a [u8]>,
    /// Who owns the room from this version on, if that is another than the signer.
    pub hand_over: Option<&'a Card>,
    /// Ascending by client id, the owner among them.
    pub members: &'a [Member<'a>],
    /// The room's name.
    pub name: &'a str,
}

impl<'a> Draft<'a> {
    /// What the first roster of a room says; its founder signs it.
    pub const fn first(salt: [u8; 16], secret: &'a RoomSecret, members: &'a [Member<'a>], name: &'a str) -> Self {
        Self { salt, version: 1, previous: [0; 32], secret, lineage: None, hand_over: None, members, name }
    }

    /// Writes the signed roster and gives its length.
    ///
    /// # Errors
    /// [`RosterError::TooLong`]: the buffer, a name, or too many of something.
    pub fn write(&self, identity: &Identity, out: &mut [u8]) -> Result<usize, RosterError> {
        let mut writer = Writer { out, at: 0 };
        writer.put(&self.salt)?;
        writer.put(&self.version.to_be_bytes())?;
        writer.put(&self.previous)?;
        writer.put(&self.secret.hash())?;
        self.put_lineage(identity, &mut writer)?;
        writer.count(self.members.len(), MEMBERS_MAX)?;
        for member in self.members {
            writer.put(member.card)?;
            writer.name(member.name)?;
        }
        writer.name(self.name)?;
        let signed = writer.at;
        let signature = identity.sign(&[ROSTER_LABEL, writer.out.get(..signed).unwrap_or_default()]);
        writer.put(&signature)?;
        Ok(writer.at)
    }

    fn put_lineage(&self, identity: &Identity, writer: &mut Writer<'_>) -> Result<(), RosterError> {
        let own = identity.card().as_bytes();
        let (founder, hand_overs) = match self.lineage {
            Some(lineage) => lineage.split_first_chunk::<CARD_BYTES>().ok_or(RosterError::Malformed)?,
            None => (own, &[0][..]),
        };
        let (count, hand_overs) = hand_overs.split_first().ok_or(RosterError::Malformed)?;
        writer.put(founder)?;
        writer.count(usize::from(*count) + usize::from(self.hand_over.is_some()), HAND_OVERS_MAX)?;
        writer.put(hand_overs)?;
        if let Some(card) = self.hand_over {
            let room = RoomId::of(founder, &self.salt);
            let version = self.version.to_be_bytes();
            let identity_bytes = card.identity().to_bytes();
            writer.put(&version)?;
            writer.put(card.as_bytes())?;
            writer.put(&identity.sign(&[HAND_OVER_LABEL, &room.0, &version, &identity_bytes]))?;
        }
        Ok(())
    }
}

/// A signed roster that parses. What it says counts once [`Roster::verify`] has succeeded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Roster<'a> {
    signed: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
    salt: &'a [u8; 16],
    version: u64,
    previous: &'a [u8; 32],
    secret_hash: &'a [u8; 32],
    lineage: &'a [u8],
    members: &'a [u8],
    members_count: usize,
    name: &'a str,
}

impl<'a> Roster<'a> {
    /// Reads a signed roster, all of the bytes.
    ///
    /// # Errors
    /// [`RosterError::Malformed`] or [`RosterError::TooLong`]; members out of order, twice, or without the owner are
    /// malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RosterError> {
        let (signed, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(RosterError::Malformed)?;
        let mut reader = Reader(signed);
        let salt = reader.take()?;
        let version = u64::from_be_bytes(*reader.take()?);
        let (previous, secret_hash) = (reader.take()?, reader.take()?);
        let from_lineage = reader.0;
        reader.take::<CARD_BYTES>()?;
        for _ in 0..reader.count(HAND_OVERS_MAX)? {
            reader.take::<HAND_OVER_BYTES>()?;
        }
        let lineage = before(from_lineage, reader.0);
        let members_count = reader.count(MEMBERS_MAX)?;
        let from_members = reader.0;
        for _ in 0..members_count {
            reader.take::<CARD_BYTES>()?;
            reader.name()?;
        }
        let members = before(from_members, reader.0);
        let name = reader.name()?;
        let roster =
            Self { signed, signature, salt, version, previous, secret_hash, lineage, members, members_count, name };
        let ascending =
            roster.members().zip(roster.members().skip(1)).all(|(one, next)| one.client_id() < next.client_id());
        if !reader.0.is_empty() || version == 0 || !ascending || !roster.has(roster.owner()) {
            return Err(RosterError::Malformed);
        }
        Ok(roster)
    }

    /// Verifies the lineage from the founder on, and the owner's signature. The members' cards are not looked at.
    ///
    /// # Errors
    /// [`RosterError::Signature`].
    pub fn verify(&self) -> Result<(), RosterError> {
        let refused = |_| RosterError::Signature;
        let mut reader = Reader(self.lineage);
        let founder: &[u8; CARD_BYTES] = reader.take()?;
        let room = RoomId::of(founder, self.salt);
        let mut owner = Card::parse(founder).map_err(refused)?;
        let mut owner_since = 0;
        for _ in 0..reader.count(HAND_OVERS_MAX)? {
            let version: &[u8; 8] = reader.take()?;
            let card = Card::parse(reader.take::<CARD_BYTES>()?).map_err(refused)?;
            let signature = reader.take()?;
            let identity = card.identity().to_bytes();
            owner.identity().verify(&[HAND_OVER_LABEL, &room.0, version, &identity], signature).map_err(refused)?;
            let since = u64::from_be_bytes(*version);
            if since <= owner_since || since > self.version {
                return Err(RosterError::Signature);
            }
            // The roster that hands over is signed by whom it takes the room from.
            if since < self.version {
                owner = card;
            }
            owner_since = since;
        }
        owner.identity().verify(&[ROSTER_LABEL, self.signed], self.signature).map_err(refused)
    }

    /// Which room it is of.
    pub fn room(&self) -> RoomId {
        self.lineage.first_chunk().map_or(RoomId([0; 16]), |founder| RoomId::of(founder, self.salt))
    }

    /// The founder's salt, for the next version.
    pub const fn salt(&self) -> [u8; 16] {
        *self.salt
    }

    /// Counts from 1; the highest is in force.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The hash of the version before; zeros for the first.
    pub const fn previous(&self) -> [u8; 32] {
        *self.previous
    }

    /// Whether this is the secret that it was signed with.
    pub fn is_secret(&self, secret: &RoomSecret) -> bool {
        secret.hash() == *self.secret_hash
    }

    /// `SHA-256("kith/1 room roster hash" ‖ signed roster without its signature)`: one roster has one hash, however it
    /// was signed.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[ROSTER_HASH_LABEL, self.signed])
    }

    /// Founder and hand-overs, for [`Draft::lineage`].
    pub const fn lineage(&self) -> &'a [u8] {
        self.lineage
    }

    /// Whether the owners that another roster of the room tells of are the first ones of this one.
    pub fn continues(&self, earlier: &Roster<'_>) -> bool {
        let owners = |lineage: &[u8]| lineage.get(CARD_BYTES + 1..).unwrap_or_default().len();
        let (own, other) = (self.lineage, earlier.lineage);
        let same_hand_overs =
            own.get(CARD_BYTES + 1..).unwrap_or_default().get(..owners(other)) == other.get(CARD_BYTES + 1..);
        own.get(..CARD_BYTES) == other.get(..CARD_BYTES) && same_hand_overs
    }

    /// Who owns the room from this version on.
    pub fn owner(&self) -> ClientId {
        let card = match self.lineage.last_chunk::<HAND_OVER_BYTES>() {
            Some(hand_over) if self.lineage.len() > CARD_BYTES + 1 => hand_over.get(8..8 + CARD_BYTES),
            _ => self.lineage.get(..CARD_BYTES),
        };
        card.and_then(|card| card.first_chunk()).map_or(ClientId::from_bytes([0; CLIENT_ID_BYTES]), client_id_of)
    }

    /// The members, ascending by client id.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let mut reader = Reader(self.members);
        (0..self.members_count)
            .map_while(move |_| Some(Member { card: reader.take().ok()?, name: reader.name().ok()? }))
    }

    /// Whether a device is on it.
    pub fn has(&self, device: ClientId) -> bool {
        self.members().any(|member| member.client_id() == device)
    }

    /// The room's name.
    pub const fn name(&self) -> &'a str {
        self.name
    }
}

impl fmt::Debug for Roster<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster")
            .field("room", &self.room())
            .field("version", &self.version)
            .field("members", &self.members_count)
            .finish_non_exhaustive()
    }
}

fn client_id_of(card: &[u8; CARD_BYTES]) -> ClientId {
    ClientId::of_public_bytes(card.first_chunk().unwrap_or(&[0; PUBLIC_IDENTITY_BYTES]))
}

/// What of `all` stands before `rest`, its end.
fn before<'a>(all: &'a [u8], rest: &[u8]) -> &'a [u8] {
    all.get(..all.len() - rest.len()).unwrap_or_default()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], RosterError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(RosterError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn count(&mut self, max: usize) -> Result<usize, RosterError> {
        let [count] = *self.take::<1>()?;
        if usize::from(count) <= max { Ok(count.into()) } else { Err(RosterError::TooLong) }
    }

    fn name(&mut self) -> Result<&'a str, RosterError> {
        let length = self.count(NAME_BYTES_MAX)?;
        let (name, rest) = self.0.split_at_checked(length).ok_or(RosterError::Malformed)?;
        self.0 = rest;
        core::str::from_utf8(name).map_err(|_| RosterError::Malformed)
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), RosterError> {
        let end = self.at + bytes.len();
        self.out.get_mut(self.at..end).ok_or(RosterError::TooLong)?.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    fn count(&mut self, count: usize, max: usize) -> Result<(), RosterError> {
        match u8::try_from(count) {
            Ok(byte) if count <= max => self.put(&[byte]),
            _ => Err(RosterError::TooLong),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), RosterError> {
        self.count(name.len(), NAME_BYTES_MAX)?;
        self.put(name.as_bytes())
    }
}
