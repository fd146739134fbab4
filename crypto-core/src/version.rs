//! Protocol versions: what an implementation speaks, six bytes on the wire.
//!
//! Deliberately absent: the memory of what a peer has once spoken. That is its minimum from then on, and the store keeps it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of an encoded version.
pub const VERSION_BYTES: usize = 6;

/// A protocol version, `major u8 ‖ minor u8 ‖ features u32` (docs/protocol.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Another major version is refused.
    pub major: u8,
    /// A higher minor version is ignored.
    pub minor: u8,
    /// One bit per optional feature; those in force are set on both sides.
    pub features: u32,
}

impl Version {
    /// What this crate speaks.
    pub const OWN: Version = Version { major: 1, minor: 0, features: 0 };

    /// The six bytes.
    pub const fn to_bytes(self) -> [u8; VERSION_BYTES] {
        let [a, b, c, d] = self.features.to_be_bytes();
        [self.major, self.minor, a, b, c, d]
    }

    /// Reads the six bytes; every value is a version.
    pub const fn from_bytes(bytes: &[u8; VERSION_BYTES]) -> Self {
        let [major, minor, a, b, c, d] = *bytes;
        Self { major, minor, features: u32::from_be_bytes([a, b, c, d]) }
    }

    /// Whether a side that speaks `self` can talk to one that speaks `other`.
    pub const fn is_compatible(self, other: Version) -> bool {
        self.major == other.major
    }

    /// The features in force between two sides: those that both have.
    pub const fn common_features(self, other: Version) -> u32 {
        self.features & other.features
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; VERSION_BYTES]>::deserialize(deserializer).map(|bytes| Self::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_survives_its_bytes() {
        let version = Version { major: 1, minor: 2, features: 0x0304_0506 };
        assert_eq!(version.to_bytes(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(Version::from_bytes(&version.to_bytes()), version);
    }

    #[test]
    fn only_the_same_major_version_is_compatible() {
        let newer = Version { minor: 9, features: 5, ..Version::OWN };
        let other = Version { major: 2, ..Version::OWN };
        assert!(Version::OWN.is_compatible(newer));
        assert!(!Version::OWN.is_compatible(other));
        assert_eq!(newer.common_features(Version { features: 6, ..newer }), 4);
    }

    #[test]
    fn a_version_is_six_raw_bytes_in_postcard() {
        let mut buf = [0; 16];
        let written = postcard::to_slice(&Version::OWN, &mut buf).unwrap();
        assert_eq!(written, Version::OWN.to_bytes());
        assert_eq!(postcard::from_bytes::<Version>(&Version::OWN.to_bytes()), Ok(Version::OWN));
    }
}
