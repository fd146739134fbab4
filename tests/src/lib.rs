//! Pieces of which whole systems are put together: real programs, a real message bus, a real
//! server. The demo and the system tests use the same ones.
//!
//! Invariants:
//! - Everything that is started ends with its owner, by its process id; what holds files lives in
//!   temporary folders that end with their owner, too.
//! - Every wait is for an event and has an end. Nothing sleeps to wait for one.
//! - Fakes do not exist here: what is asked for over D-Bus is asked of the built `kithd`.
//!
//! Deliberately absent: any crate of the product but `kith-dbus`, the door that everybody uses. (The
//! benchmarks, a program beside this library, measure what is behind the door, too.)

mod browser;
mod bus;
mod device;
mod kiosk;
mod latency;
mod machine;
mod memory;
mod messenger;
mod nats;
mod network;
mod packages;
mod process;
mod programs;
mod relay;
mod run;
mod secret;
mod server;
mod snapshot;
mod troubles;

pub use browser::{Browser, ENTER, SPACE, TAB};
pub use bus::{Bus, Policy};
pub use device::{Device, Location};
pub use kiosk::{Kiosk, KioskSession};
pub use latency::{Latencies, Millis};
pub use machine::Machine;
pub use memory::{Found, Needles};
pub use messenger::{Conversation, Messenger, Queued};
pub use nats::Nats;
pub use network::{Host, Internet, Nat, Site};
pub use packages::Packages;
pub use process::{Place, Process, run_to_end, within};
pub use programs::Programs;
pub use relay::{Credentials, Relay};
pub use run::run;
pub use secret::Secret;
pub use server::{Logging, Server};
pub use snapshot::Snapshot;
pub use troubles::Troubles;
