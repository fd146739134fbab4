//! Whole engines in virtual time.

mod chaos;
mod delivery;
mod pairing;
mod world;
