//! The whole server over real sockets on loopback.

mod devices;
mod edges;
mod frames;
mod limits;
mod logging;
mod nodes;
mod operations;
mod program;
mod proxies;
mod rules;
mod tls;
