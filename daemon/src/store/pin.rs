//! The PIN: who knows it may do for a while what is dangerous.
//!
//! It opens nothing. What it is recognised by lies sealed in the store, so whoever has the disk alone cannot guess
//! it; whoever asks over the bus is slowed down.

use getrandom::{SysRng, rand_core::UnwrapErr};
use kith_crypto::{
    identity::ClientId,
    vault::{self, MasterKey, PinVerifier, VaultError},
};
use serde::{Deserialize, Serialize};

use super::{
    fault::Fault,
    reader::{ReadError, Reader},
    rows::Rows as _,
    table::{PIN_KEY, Table},
};

/// PBKDF2 iterations of a new PIN: a quarter of a second on a small board, which slows a guesser down before anything
/// is counted.
const ITERATIONS: u32 = vault::ITERATIONS_MIN;

/// What the PIN is recognised by (docs/protocol.md §8.4); nothing where there is none.
#[derive(Serialize, Deserialize)]
pub(super) struct PinRow(Option<Kept>);

#[derive(Serialize, Deserialize)]
struct Kept {
    salt: [u8; 16],
    iterations: u32,
    verifier: [u8; 32],
}

impl PinRow {
    /// Of the exact bytes that were typed. PBKDF2 takes long.
    pub(super) fn of(pin: Option<&[u8]>, client_id: &ClientId) -> Result<Self, VaultError> {
        let Some(pin) = pin else { return Ok(Self(None)) };
        let mut salt = [0; 16];
        rand_core::Rng::fill_bytes(&mut UnwrapErr(SysRng), &mut salt);
        let verifier = verifier(pin, client_id, &salt, ITERATIONS)?;
        Ok(Self(Some(Kept { salt, iterations: ITERATIONS, verifier: *verifier.as_bytes() })))
    }
}

#[cfg(test)]
impl PinRow {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn some(salt: [u8; 16], iterations: u32, verifier: [u8; 32]) -> Self {
        Self(Some(Kept { salt, iterations, verifier }))
    }
}

impl Kept {
    fn is_of(&self, pin: &[u8], client_id: &ClientId) -> Result<bool, VaultError> {
        let verifier = verifier(pin, client_id, &self.salt, self.iterations)?;
        Ok(verifier.is_same(&PinVerifier::from_bytes(self.verifier)))
    }
}

fn verifier(pin: &[u8], client_id: &ClientId, salt: &[u8; 16], iterations: u32) -> Result<PinVerifier, VaultError> {
    Ok(MasterKey::derive(pin, client_id, salt, iterations)?.pin_verifier())
}

impl Reader {
    /// Whether there is a PIN. Waits for the disk: not for the async loop's own thread.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub fn has_pin(&self) -> Result<bool, ReadError> {
        Ok(self.kept_pin()?.is_some())
    }

    /// Whether this is the PIN, the exact bytes that were typed. Takes as long as deriving a key: not for the async loop's
    /// own thread.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub fn is_pin(&self, pin: &[u8]) -> Result<bool, ReadError> {
        let Some(kept) = self.kept_pin()? else { return Ok(false) };
        let client_id = self.client_id()?;
        kept.is_of(pin, &client_id).map_err(|_| Fault::Shape(Table::Own).into())
    }

    fn kept_pin(&self) -> Result<Option<Kept>, ReadError> {
        self.page(|tx, keys| Ok(tx.get::<PinRow>(keys, &PIN_KEY)?.and_then(|row| row.0)))
    }
}
