//! This device's own network: the addresses that it has, and when they change.
//!
//! An interface that goes or comes, a cable that is pulled, another address: the kernel tells, and what has changed is
//! looked up afresh. Links and signaling hear of it at once, instead of by the silence that follows.
//!
//! Deliberately absent: routes and names. Whoever tries to connect notices these.

mod addresses;
mod watch;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch as state;

pub(crate) use addresses::all as addresses;
pub use watch::watch;

/// A listener to this device's addresses; its clones hear everything, too. The default one hears nothing.
#[derive(Clone, Debug, Default)]
pub struct Network(Option<state::Receiver<Arc<[IpAddr]>>>);

impl Network {
    /// Waits until the addresses are others than they were, and returns them.
    pub async fn changed(&mut self) -> Arc<[IpAddr]> {
        if let Some(addresses) = &mut self.0
            && addresses.changed().await.is_ok()
        {
            return addresses.borrow_and_update().clone();
        }
        // Nobody will tell.
        std::future::pending().await
    }
}

/// A network whose addresses are what the returned sender says.
#[cfg(test)]
pub(crate) fn played() -> (state::Sender<Arc<[IpAddr]>>, Network) {
    let (told, addresses) = state::channel(Arc::from([]));
    (told, Network(Some(addresses)))
}
