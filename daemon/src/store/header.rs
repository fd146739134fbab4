//! The clear header: what has to be known before there is a key.

use std::fmt;

use kith_crypto::{
    identity::ClientId,
    vault::{
        DataKey, ITERATIONS_MAX, ITERATIONS_MIN, KeyEncryptionKey, StoreKeys, VaultError, WRAPPED_BYTES,
        WRAPPED_PAIR_BYTES,
    },
    wire::tlv,
};
use rand_core::CryptoRng;

/// Nothing is sealed: the header of a store of version 0. Read, never put into a store.
const KIND_PLAIN: u8 = 0x00;
/// The only layout of tables that this program reads and writes.
const FORMAT: u8 = 1;
/// The data key is wrapped alone, and makes the row tags, too. Read, not written any more.
const KIND_DATA_KEY: u8 = 0x01;
/// Data key and tag key are wrapped together.
const KIND_PAIR: u8 = 0x02;

const TLV_BYTES: usize = tlv::HEADER_BYTES;
const PHASE_AT: usize = TLV_BYTES + 1;
/// Client id, salt and iterations.
const PARAMETERS_BYTES: usize = 20 + 16 + 4;
/// A whole header of a store of version 0.
const PLAIN_BYTES: usize = TLV_BYTES + 1 + 20 + 32;

/// No header is longer.
pub(super) const HEADER_BYTES_MAX: usize = 256;
const _: () = assert!(BOUND_PAIR_BYTES + WRAPPED_PAIR_BYTES <= HEADER_BYTES_MAX);

/// What the wrapped keys are bound to: all bytes before them. By kind.
const BOUND_DATA_KEY_BYTES: usize = TLV_BYTES + 1 + PARAMETERS_BYTES;
const BOUND_PAIR_BYTES: usize = TLV_BYTES + 2 + PARAMETERS_BYTES;

/// What the header says of a store (docs/protocol.md §8.2).
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// It lies in clear, and waits for a secret.
    Plain(PlainHeader),
    /// It has a secret.
    Sealed(Header),
}

/// The header of a store of version 0.
#[derive(Clone)]
pub(super) struct PlainHeader {
    pub(super) client_id: ClientId,
    /// What its row tags are made with.
    pub(super) tag_key: [u8; 32],
}

impl fmt::Debug for PlainHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainHeader").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// The clear header's fields.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) parameters: Parameters,
    wrapped: Wrapped,
}

/// What a secret becomes a key with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) client_id: ClientId,
    pub(super) salt: [u8; 16],
    pub(super) iterations: u32,
}

/// Whether there may still be plaintext in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Values of version 0 are read; they are being sealed.
    Migrating,
    /// A value of version 0 is damage.
    Sealed,
}

#[derive(Clone, Debug)]
enum Wrapped {
    DataKey([u8; WRAPPED_BYTES]),
    Pair(Phase, [u8; WRAPPED_PAIR_BYTES]),
}

/// Why a header is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Its kind or format is unknown to this program.
    Newer,
    /// It does not parse; the words say where.
    Damaged(&'static str),
}

const SHORT: HeaderError = HeaderError::Damaged("its length is wrong");

impl Header {
    /// Wraps the keys of a store.
    pub(super) fn seal<R: CryptoRng + ?Sized>(
        parameters: Parameters,
        phase: Phase,
        keys: &StoreKeys,
        kek: &KeyEncryptionKey,
        rng: &mut R,
    ) -> Self {
        let wrapped = keys.wrap(kek, &bound_pair(&parameters, phase), rng);
        Self { parameters, wrapped: Wrapped::Pair(phase, wrapped) }
    }

    /// Unwraps the keys of the store.
    ///
    /// # Errors
    ///
    /// [`VaultError::Sealed`]: another secret, or another bit in the header.
    pub(super) fn open(&self, kek: &KeyEncryptionKey) -> Result<StoreKeys, VaultError> {
        match &self.wrapped {
            Wrapped::DataKey(wrapped) => {
                DataKey::unwrap(kek, &bound_data_key(&self.parameters), wrapped).map(StoreKeys::from_data_key)
            }
            Wrapped::Pair(phase, wrapped) => StoreKeys::unwrap(kek, &bound_pair(&self.parameters, *phase), wrapped),
        }
    }

    /// Whether there may still be plaintext.
    pub(super) fn phase(&self) -> Phase {
        match self.wrapped {
            Wrapped::DataKey(_) => Phase::Sealed,
            Wrapped::Pair(phase, _) => phase,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match &self.wrapped {
            Wrapped::DataKey(wrapped) => [&bound_data_key(&self.parameters)[..], wrapped].concat(),
            Wrapped::Pair(phase, wrapped) => [&bound_pair(&self.parameters, *phase)[..], wrapped].concat(),
        }
    }
}

impl PlainHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let head = tlv_head(KIND_PLAIN, PLAIN_BYTES);
        [&head[..], &[FORMAT], self.client_id.as_bytes(), &self.tag_key].concat()
    }
}

impl Found {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (value, rest) = tlv::read(bytes).map_err(|_| SHORT)?;
        // A later format is a new kind, or another first byte; nothing more of it is looked at.
        let is_known = matches!(value.kind, KIND_PLAIN | KIND_DATA_KEY | KIND_PAIR);
        let (format, payload) = match value.payload.split_first() {
            Some((format, payload)) => (*format, payload),
            None if is_known => return Err(SHORT),
            None => return Err(HeaderError::Newer),
        };
        if !is_known || format != FORMAT {
            return Err(HeaderError::Newer);
        }
        if !rest.is_empty() {
            return Err(HeaderError::Damaged("something follows it"));
        }
        match value.kind {
            KIND_PLAIN => {
                let (client_id, tag_key) = payload.split_first_chunk().ok_or(SHORT)?;
                let client_id = ClientId::from_bytes(*client_id);
                Ok(Self::Plain(PlainHeader { client_id, tag_key: exact(tag_key)? }))
            }
            KIND_DATA_KEY => {
                let (parameters, wrapped) = parse_parameters(payload)?;
                Ok(Self::Sealed(Header { parameters, wrapped: Wrapped::DataKey(exact(wrapped)?) }))
            }
            _ => {
                let (phase, payload) = match payload.split_first() {
                    Some((0, payload)) => (Phase::Migrating, payload),
                    Some((1, payload)) => (Phase::Sealed, payload),
                    Some(_) => return Err(HeaderError::Damaged("its state is unknown")),
                    None => return Err(SHORT),
                };
                let (parameters, wrapped) = parse_parameters(payload)?;
                Ok(Self::Sealed(Header { parameters, wrapped: Wrapped::Pair(phase, exact(wrapped)?) }))
            }
        }
    }
}

fn bound_data_key(parameters: &Parameters) -> [u8; BOUND_DATA_KEY_BYTES] {
    let mut bytes = [0; BOUND_DATA_KEY_BYTES];
    bytes[..TLV_BYTES].copy_from_slice(&tlv_head(KIND_DATA_KEY, BOUND_DATA_KEY_BYTES + WRAPPED_BYTES));
    bytes[TLV_BYTES] = FORMAT;
    bytes[TLV_BYTES + 1..].copy_from_slice(&encode_parameters(parameters));
    bytes
}

fn bound_pair(parameters: &Parameters, phase: Phase) -> [u8; BOUND_PAIR_BYTES] {
    let mut bytes = [0; BOUND_PAIR_BYTES];
    bytes[..TLV_BYTES].copy_from_slice(&tlv_head(KIND_PAIR, BOUND_PAIR_BYTES + WRAPPED_PAIR_BYTES));
    bytes[TLV_BYTES] = FORMAT;
    bytes[PHASE_AT] = match phase {
        Phase::Migrating => 0,
        Phase::Sealed => 1,
    };
    bytes[PHASE_AT + 1..].copy_from_slice(&encode_parameters(parameters));
    bytes
}

/// Kind and length of a header that has so many bytes in all.
const fn tlv_head(kind: u8, bytes: usize) -> [u8; TLV_BYTES] {
    let [high, low] = ((bytes - TLV_BYTES) as u16).to_be_bytes();
    [kind, high, low]
}

fn encode_parameters(parameters: &Parameters) -> [u8; PARAMETERS_BYTES] {
    let mut bytes = [0; PARAMETERS_BYTES];
    bytes[..20].copy_from_slice(parameters.client_id.as_bytes());
    bytes[20..36].copy_from_slice(&parameters.salt);
    bytes[36..].copy_from_slice(&parameters.iterations.to_be_bytes());
    bytes
}

fn parse_parameters(bytes: &[u8]) -> Result<(Parameters, &[u8]), HeaderError> {
    let (client_id, bytes) = bytes.split_first_chunk().ok_or(SHORT)?;
    let (salt, bytes) = bytes.split_first_chunk().ok_or(SHORT)?;
    let (iterations, bytes) = bytes.split_first_chunk().ok_or(SHORT)?;
    let iterations = u32::from_be_bytes(*iterations);
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
        return Err(HeaderError::Damaged("its number of iterations is out of range"));
    }
    Ok((Parameters { client_id: ClientId::from_bytes(*client_id), salt: *salt, iterations }, bytes))
}

fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], HeaderError> {
    bytes.try_into().map_err(|_| SHORT)
}

#[cfg(test)]
impl Header {
    /// A header as earlier versions made them.
    pub(super) fn of_first_kind<R: CryptoRng + ?Sized>(
        parameters: Parameters,
        data: &DataKey,
        kek: &KeyEncryptionKey,
        rng: &mut R,
    ) -> Self {
        let wrapped = data.wrap(kek, &bound_data_key(&parameters), rng);
        Self { parameters, wrapped: Wrapped::DataKey(wrapped) }
    }
}
