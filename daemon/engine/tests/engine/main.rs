//! Whole engines in virtual time.

mod chaos;
mod delivery;
mod hostile;
mod hostile_peer;
mod pairing;
mod restored;
mod villain;
mod world;
