//! Bytes of a fixed length, in lower-case hexadecimal digits.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

/// So many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Zeroize)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

struct Digits<const N: usize>;

impl<const N: usize> Visitor<'_> for Digits<N> {
    type Value = Hex<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hexadecimal digits", 2 * N)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hex<N>, E> {
        let mut bytes = [0; N];
        if text.len() != 2 * N {
            return Err(E::invalid_length(text.len(), &self));
        }
        HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).map_err(|_| E::custom("not hexadecimal"))?;
        Ok(Hex(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(HEXLOWER.encode(&self.0)))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Digits::<N>).map_err(D::Error::custom)
    }
}

// It may be a key.
impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex<{N}>(..)")
    }
}
