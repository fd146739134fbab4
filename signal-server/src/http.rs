//! The HTTP side: the way into the WebSocket.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use kith_signal_protocol::{PATH, SUBPROTOCOL};
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::access_log::PeerAddress;
use crate::connection::Connection;
use crate::hub::Hub;
use crate::ledger::Entry;
use crate::stream::Stream;

/// The other end of a TCP connection.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: PeerAddress,
    /// Its share of what the address may use; a proxy's is found when the request says for whom it is.
    pub(crate) entry: Option<Arc<Entry>>,
    /// Its place among the connections; free again when the last task of the connection ends.
    pub(crate) _place: Arc<OwnedSemaphorePermit>,
}

/// All that this server answers.
pub(crate) fn router(hub: Arc<Hub>) -> Router {
    Router::new().route(PATH, get(device)).with_state(hub)
}

/// Turns a request into a device's connection.
async fn device(State(hub): State<Arc<Hub>>, mut request: Request) -> Response {
    if !names_subprotocol(request.headers()) {
        let text = format!("connect with the WebSocket subprotocol {SUBPROTOCOL}\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let mut response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => {
            let upgrade = [(UPGRADE, "websocket")];
            return (StatusCode::UPGRADE_REQUIRED, upgrade, format!("{error}\n")).into_response();
        }
    };
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let Some(mut peer) = request.extensions_mut().remove::<Peer>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let Some(entry) = admit(&hub, &mut peer, request.headers()) else {
        return (StatusCode::TOO_MANY_REQUESTS, "too many connections from this address; wait a minute\n")
            .into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // The request's memory goes before the connection's long life.
        drop(request);
        let Ok(upgraded) = upgrade.await else { return };
        // The accept loop hands hyper nothing else.
        let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>() else {
            return;
        };
        let stream = parts.io.into_inner();
        // A task of its own: this one's memory is as large as the request and the upgrade.
        if let Some(connection) = Connection::open(stream, &parts.read_buf, (peer, entry), hub) {
            tokio::spawn(connection.run());
        }
    });
    response
}

/// The share of the address that the request is for.
fn admit(hub: &Hub, peer: &mut Peer, headers: &HeaderMap) -> Option<Arc<Entry>> {
    if let Some(entry) = peer.entry.take() {
        return Some(entry);
    }
    let in_force = hub.in_force();
    if let Some(address) = in_force.proxies.as_ref().and_then(|proxies| proxies.forwarded_for(headers)) {
        peer.address = address;
    }
    hub.admit(peer.address).map(Arc::new)
}

fn names_subprotocol(headers: &HeaderMap) -> bool {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL)
}
