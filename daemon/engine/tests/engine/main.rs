//! Whole engines in virtual time.

mod delivery;
mod pairing;
mod world;
