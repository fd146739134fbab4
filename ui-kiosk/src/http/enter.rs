//! The way in: a token from the runtime folder becomes a session.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::Guest;
use super::guard::session_cookie;
use crate::access::LoginError;
use crate::screens;
use crate::site::Site;

/// The page that hands over the token. It stands behind the `#` of the page's address, which browsers send to nobody;
/// the page's script reads it there and removes it.
pub(super) async fn page(guest: Guest) -> Response {
    screens::enter(&guest, StatusCode::OK)
}

/// Takes the token.
pub(super) async fn log_in(State(site): State<Arc<Site>>, token: String) -> Response {
    let session = match site.access.log_in(token.trim()) {
        Ok(session) => session,
        Err(LoginError::WrongToken) => return StatusCode::FORBIDDEN.into_response(),
        Err(LoginError::Throttled) => return StatusCode::TOO_MANY_REQUESTS.into_response(),
        Err(LoginError::Folder(_)) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let (name, token) = (session_cookie(site.address), session.token().text());
    let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict");
    match HeaderValue::from_str(&cookie) {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
