//! Keys that targets and their seeds share, made once: making them costs more than most of what is done with them.

use std::sync::{Arc, LazyLock};

use kith_crypto::identity::Identity;
use kith_crypto::invite::{InviteKeys, InviteSecret};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The secret of the invite in docs/protocol.md §10.2.
pub(crate) const INVITE_SECRET: [u8; 32] = [0x22; 32];

/// Device a of docs/protocol.md §10.1.
pub(crate) fn anna() -> Arc<Identity> {
    static ANNA: LazyLock<Arc<Identity>> = LazyLock::new(|| identity([1, 2]));
    ANNA.clone()
}

/// Device b of docs/protocol.md §10.1.
pub(crate) fn bert() -> Arc<Identity> {
    static BERT: LazyLock<Arc<Identity>> = LazyLock::new(|| identity([3, 4]));
    BERT.clone()
}

/// The keys of Anna's invite.
pub(crate) fn invite_keys() -> InviteKeys {
    InviteSecret::from_bytes(INVITE_SECRET).keys()
}

/// Randomness that is the same in every run.
pub(crate) fn seeded(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn identity([signing, agreement]: [u8; 2]) -> Arc<Identity> {
    let mut secret = [signing; 64];
    secret[32..].fill(agreement);
    Arc::new(Identity::from_secret_bytes(&secret).expect("the secret of a test vector"))
}
