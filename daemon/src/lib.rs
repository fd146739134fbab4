//! The shell around the engine: sockets, files, entropy, clock, D-Bus.
//!
//! `run` is the one loop and the only owner of the engine. It performs the engine's effects and
//! feeds the results back. The rooms around it do not know each other: `store` seals and writes,
//! `link` alone speaks WebRTC, `signaling` speaks to the server, `bus` to programs on this device,
//! and `network` tells those two when this device's addresses change.
//! `backup` alone is built on another, the store, which it puts into a file and back.
//! `task` is the board on which long work shows how far it is.

mod arguments;
pub mod backup;
pub mod bus;
pub mod config;
pub mod credential;
pub mod handle;
mod hex;
pub mod link;
pub mod network;
pub mod plain;
pub mod run;
pub mod signaling;
pub mod store;
pub mod task;

pub use arguments::Arguments;
