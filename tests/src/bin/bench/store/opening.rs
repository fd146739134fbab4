//! Opening a store: over D-Bus as its owner does, and what that takes beside deriving the key.

use std::time::Instant;

use anyhow::Result;
use kith_dbus::Manager1Proxy;
use kith_system_tests::{Device, Latencies};

use super::{fill, syncs};

/// Rounds; the middle one counts.
const ROUNDS: usize = 15;

/// How long it took.
pub(super) struct Opening {
    /// Over D-Bus.
    pub(super) unlocking: Latencies,
    /// Deriving the key from the secret.
    pub(super) pbkdf2: Latencies,
    /// All the rest: opening the file and reading what the engine starts with.
    pub(super) rest: Latencies,
    /// One fsync.
    pub(super) syncs: Latencies,
}

/// What can only be seen while the daemon does not run: deriving the key, and with the same key the rest.
pub(super) fn of_closed(device: &Device) -> Result<[Latencies; 2]> {
    let secret = device.secret().text().as_bytes();
    let [mut pbkdf2, mut rest] = [(); 2].map(|()| Latencies::default());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (_folder, store) = fill::closed(device)?;
        let found = start.elapsed();
        let start = Instant::now();
        store.verify(secret)?;
        let derived = start.elapsed();
        let start = Instant::now();
        let open = store.unlock(secret)?;
        let unlocked = start.elapsed();
        open.into_parts().2.close();
        pbkdf2.push(derived);
        rest.push(found + unlocked.saturating_sub(derived));
    }
    Ok([pbkdf2, rest])
}

impl Opening {
    pub(super) async fn measure(device: &Device, [pbkdf2, rest]: [Latencies; 2]) -> Result<Self> {
        let messenger = device.messenger().await?;
        let manager = Manager1Proxy::new(messenger.connection()).await?;
        let mut unlocking = Latencies::default();
        for _ in 0..ROUNDS {
            manager.lock().await?;
            let start = Instant::now();
            manager.unlock(&device.secret().text().into()).await?;
            unlocking.push(start.elapsed());
        }
        Ok(Self { unlocking, pbkdf2, rest, syncs: syncs(ROUNDS)? })
    }
}
