//! Networks of a test's own: hosts are network namespaces, cables are pairs of virtual interfaces.
//!
//! Addresses are of the ranges for documentation (RFC 5737), which exist nowhere else. Names hold
//! the process id; what a killed run has left behind is removed by the next one.

mod host;
mod internet;

pub use host::Host;
pub use internet::{Internet, Nat, Site};
