//! The targets, one module each.

mod backup;
mod description;
mod engine;
mod frame;
mod handshake;
mod invite;
mod payload;
mod session;
mod store;
mod to_device;
mod to_server;

use crate::Target;

pub use backup::BACKUP;
pub use description::DESCRIPTION;
pub use engine::ENGINE;
pub use frame::FRAME;
pub use handshake::HANDSHAKE;
pub use invite::INVITE;
pub use payload::PAYLOAD;
pub use session::SESSION;
pub use store::STORE;
pub use to_device::TO_DEVICE;
pub use to_server::TO_SERVER;

/// All of them.
pub const TARGETS: &[Target] =
    &[BACKUP, DESCRIPTION, ENGINE, FRAME, HANDSHAKE, INVITE, PAYLOAD, SESSION, STORE, TO_DEVICE, TO_SERVER];
