//! `org.kith.Messenger1.Pairing1`: a pairing that is under way, or one of the latest that ended.

use kith_dbus::{PairingState, Refusal};
use kith_engine::{PairingView, Request, RequestError};
use tokio::sync::watch;
use zbus::{OwnedObjectPath, interface};

use super::error::refusal;
use super::settle::Settling;
use super::{map, view};
use crate::handle::Handle;

pub(super) struct Pairing {
    handle: Handle,
    settling: Settling,
    view: watch::Receiver<PairingView>,
}

impl Pairing {
    pub(super) fn new(handle: Handle, settling: Settling, view: watch::Receiver<PairingView>) -> Self {
        Self { handle, settling, view }
    }
}

#[interface(name = "org.kith.Messenger1.Pairing1", introspection_docs = false)]
impl Pairing {
    async fn cancel(&self) -> Result<(), Refusal> {
        let pairing = self.view.borrow().pairing;
        self.handle.request(Request::CancelPairing(pairing)).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(())
    }

    async fn confirm(&self) -> Result<(), Refusal> {
        let pairing = self.view.borrow().pairing;
        self.handle.request(Request::ConfirmPairing(pairing)).await.map_err(refusal)?;
        self.settling.settled().await;
        Ok(())
    }

    /// A method, since the object manager broadcasts all properties of a new object.
    #[zbus(out_args("uri"))]
    fn uri(&self) -> Result<String, Refusal> {
        shown(self.view.borrow().uri.clone())
    }

    #[zbus(out_args("code"))]
    fn code(&self) -> Result<String, Refusal> {
        shown(self.view.borrow().code.clone())
    }

    #[zbus(property)]
    fn state(&self) -> PairingState {
        map::pairing_state(&self.view.borrow().state)
    }

    #[zbus(property)]
    fn peer(&self) -> OwnedObjectPath {
        view::pairing_peer(&self.view.borrow())
    }

    #[zbus(property)]
    fn digits(&self) -> String {
        view::pairing_digits(&self.view.borrow())
    }

    #[zbus(property)]
    fn reason(&self) -> String {
        view::pairing_reason(&self.view.borrow())
    }

    #[zbus(property)]
    fn expires(&self) -> u64 {
        self.view.borrow().expires_utc_ms
    }
}

/// What is there to be shown, if there is something.
fn shown(text: String) -> Result<String, Refusal> {
    if text.is_empty() { Err(refusal(RequestError::NotFound.into())) } else { Ok(text) }
}
