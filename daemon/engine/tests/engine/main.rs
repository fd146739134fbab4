//! Whole engines in virtual time.

mod chaos;
mod delivery;
mod hostile;
mod pairing;
mod world;
