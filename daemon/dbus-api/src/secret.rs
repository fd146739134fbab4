//! A secret on its way over the bus: wiped from this process's memory when it is dropped.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zbus::{Signature, Type};
use zeroize::Zeroizing;

/// What opens a store, exactly as typed. The bytes of the bus's message itself belong to the bus
/// library, which frees them without wiping when the call is over.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself.
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(secret: Zeroizing<String>) -> Self {
        Self(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self(Zeroizing::new(secret.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Type for Secret {
    const SIGNATURE: &'static Signature = &Signature::Str;
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|secret| Self(Zeroizing::new(secret)))
    }
}

#[cfg(test)]
mod tests {
    use zbus::wire::{LE, serialized::Context, to_bytes};

    use super::*;

    #[test]
    fn a_secret_travels_as_a_string_and_is_not_shown() {
        let bytes = to_bytes(Context::new(LE, 0), &Secret::from("hunter2")).unwrap();
        let (text, _): (String, _) = bytes.deserialize().unwrap();
        let (secret, _): (Secret, _) = bytes.deserialize().unwrap();
        assert_eq!((text.as_str(), secret.clone().into_inner().as_str()), ("hunter2", "hunter2"));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
