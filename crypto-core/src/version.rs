//! Protocol versions (docs/protocol.md §1).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version and the optional features that a device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Devices with different majors do not talk.
    pub major: u8,
    /// A higher one adds only what an older device can ignore.
    pub minor: u8,
    /// One bit per feature; unknown ones are ignored.
    pub features: u32,
}

impl Version {
    /// What this software speaks.
    pub const OWN: Self = Self { major: 1, minor: 0, features: 0 };

    /// major ‖ minor ‖ features, big-endian: 6 bytes.
    pub fn to_bytes(self) -> [u8; 6] {
        let [a, b, c, d] = self.features.to_be_bytes();
        [self.major, self.minor, a, b, c, d]
    }

    /// The reverse of [`Version::to_bytes`].
    pub fn from_bytes(bytes: &[u8; 6]) -> Self {
        let [major, minor, features @ ..] = *bytes;
        Self { major, minor, features: u32::from_be_bytes(features) }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 6]>::deserialize(deserializer).map(|bytes| Self::from_bytes(&bytes))
    }
}
