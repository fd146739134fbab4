//! One HPKE message in one call, in mode auth, or auth-psk where a pre-shared key is given: the seam to the `hpke` crate.
//!
//! It is public for the tests, which run the vectors of RFC 9180 through it; it is no API.

use hpke::aead::{AeadTag, AesGcm256};
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable};
use p256::{PublicKey, SecretKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::primitives::{Refused, TAG_BYTES, UNCOMPRESSED_BYTES, point_from_uncompressed, point_to_uncompressed};

type RemoteKey = <DhP256HkdfSha256 as Kem>::PublicKey;
type OwnKey = <DhP256HkdfSha256 as Kem>::PrivateKey;
type EncappedKey = <DhP256HkdfSha256 as Kem>::EncappedKey;

/// A pre-shared key. Its type has a length, because HPKE would take an empty one.
#[derive(Clone, Copy)]
pub struct Psk<'a> {
    /// The key.
    pub key: &'a [u8; 32],
    /// What both sides call it; not empty.
    pub id: &'a [u8],
}

impl core::fmt::Debug for Psk<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Psk(..)")
    }
}

/// Seals `buf` in place; gives the encapsulated key and the tag.
///
/// # Errors
/// An empty psk id.
pub fn seal<R: CryptoRng + ?Sized>(
    own: &SecretKey,
    remote: &PublicKey,
    psk: Option<Psk<'_>>,
    info: &[u8],
    associated: &[u8],
    buf: &mut [u8],
    mut rng: &mut R,
) -> Result<([u8; UNCOMPRESSED_BYTES], [u8; TAG_BYTES]), Refused> {
    let sender = (own_key(own)?, remote_key(&own.public_key())?);
    let mode = match psk {
        None => OpModeS::Auth(sender),
        Some(psk) => OpModeS::AuthPsk(sender, bundle(psk)?),
    };
    let (enc, tag) = hpke::single_shot_seal_inout_detached_with_rng::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
        &mode,
        &remote_key(remote)?,
        info,
        buf.into(),
        associated,
        &mut rng,
    )
    .map_err(|_| Refused)?;
    Ok((enc.to_bytes().into(), tag.to_bytes().into()))
}

/// Opens the encapsulated key, the text (in place) and the tag of a message.
///
/// # Errors
/// It does not open, or the encapsulated key is not an uncompressed point of the curve.
pub fn open(
    own: &SecretKey,
    remote: &PublicKey,
    psk: Option<Psk<'_>>,
    info: &[u8],
    associated: &[u8],
    (enc, text, tag): (&[u8; UNCOMPRESSED_BYTES], &mut [u8], &[u8; TAG_BYTES]),
) -> Result<(), Refused> {
    point_from_uncompressed(enc)?;
    let enc = EncappedKey::from_bytes(enc).map_err(|_| Refused)?;
    let tag = AeadTag::<AesGcm256>::from_bytes(tag).map_err(|_| Refused)?;
    let sender = remote_key(remote)?;
    let mode = match psk {
        None => OpModeR::Auth(sender),
        Some(psk) => OpModeR::AuthPsk(sender, bundle(psk)?),
    };
    hpke::single_shot_open_inout_detached::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
        &mode,
        &own_key(own)?,
        &enc,
        info,
        text.into(),
        associated,
        &tag,
    )
    .map_err(|_| Refused)
}

fn own_key(key: &SecretKey) -> Result<OwnKey, Refused> {
    let bytes = Zeroizing::new(<[u8; 32]>::from(key.to_bytes()));
    OwnKey::from_bytes(&*bytes).map_err(|_| Refused)
}

fn remote_key(key: &PublicKey) -> Result<RemoteKey, Refused> {
    RemoteKey::from_bytes(&point_to_uncompressed(key)).map_err(|_| Refused)
}

fn bundle(psk: Psk<'_>) -> Result<PskBundle<'_>, Refused> {
    if psk.id.is_empty() {
        return Err(Refused);
    }
    PskBundle::new(psk.key, psk.id).map_err(|_| Refused)
}
