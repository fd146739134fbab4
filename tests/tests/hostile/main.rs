//! A signaling server and peers that cheat, against real daemons: nobody gets a session with the
//! wrong party, nothing wrong is shown, no daemon falls or swells, and each time something says
//! what happened.
//!
//! Every byte of everything is changed in virtual time, in the engine's own tests; here a part of
//! them is, another one in each round (`KITH_ROUNDS`).

mod duel;
mod long;
mod peer;
mod scene;
mod server;
