//! Whole engines in virtual time.

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

mod chaos;
mod comparison;
mod delivery;
mod expiry;
mod forged_rosters;
mod hostile;
mod hostile_digits;
mod hostile_peer;
mod hostile_words;
mod memory;
mod pairing;
mod reach;
mod receipts;
mod restored;
mod rooms;
mod rooms_chaos;
mod silence;
mod standing;
mod strangers;
mod villain;
mod world;

/// As in the daemon: freed memory is overwritten.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);
