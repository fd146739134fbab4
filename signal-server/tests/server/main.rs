//! The whole server over real sockets on loopback.

mod devices;
mod edges;
mod program;
mod rules;
