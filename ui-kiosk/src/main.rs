//! The kiosk screen of Kith: a local web page in front of D-Bus.
//!
//! Invariants:
//! - It listens on a loopback address only, and answers only to its own name.
//! - It reads; nothing can be changed through it.
//! - Whatever comes from outside is escaped, and the page may not run a script.
//!
//! Deliberately absent: keys, a database, WebRTC, message bodies, everything that needs a secret.

mod http;
mod page;
mod view;

fn main() {}
