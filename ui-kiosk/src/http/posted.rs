//! A form that a page of this session has sent.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::access::Session;
use crate::http::Guest;
use crate::site::Site;
use crate::words::Words;

/// The field of the form's own token.
pub(crate) const TOKEN_FIELD: &str = "token";

/// The header of the same, where a script sends something that is no form.
pub(crate) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-kith-token");

/// The header of a script that keeps its page: it wants no page for an answer.
const QUIET_HEADER: HeaderName = HeaderName::from_static("x-kith-quiet");

/// A form.
pub(crate) struct Posted {
    /// Who sent it.
    pub(crate) session: Arc<Session>,
    /// The language to answer in.
    pub(crate) guest: Guest,
    /// Whether the page stays on the screen.
    pub(crate) quiet: bool,
    fields: Vec<(String, String)>,
}

impl Posted {
    /// What a field holds; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// All that fields of a name hold.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The words to answer with.
    pub(crate) fn words(&self) -> &'static Words {
        self.guest.language.words()
    }
}

impl FromRequest<Arc<Site>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let guest = Guest::from_request_parts(&mut parts, site).await.unwrap_or_else(|never| match never {});
        let (headers, request) = (parts.headers.clone(), Request::from_parts(parts, body));
        let body = Bytes::from_request(request, site).await.map_err(|refused| refused.into_response())?;
        let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
        let token = fields.iter().find(|(name, _)| name == TOKEN_FIELD).map(|(_, value)| value.as_str());
        let session = checked(&guest, token, &headers).ok_or_else(old_form)?;
        Ok(Self { session, guest, quiet: headers.contains_key(QUIET_HEADER), fields })
    }
}

/// The session of a guest who knows its form token. Another site can make a browser send a form; it cannot read the
/// token that belongs in it, and one of an earlier session is worth nothing.
pub(crate) fn checked(guest: &Guest, token: Option<&str>, headers: &HeaderMap) -> Option<Arc<Session>> {
    let token = token.or_else(|| headers.get(TOKEN_HEADER).and_then(|token| token.to_str().ok()));
    let session = guest.session.as_ref()?;
    token.is_some_and(|token| session.form_token().is(token)).then(|| session.clone())
}

/// The answer to whoever does not know it.
pub(crate) fn old_form() -> Response {
    (StatusCode::FORBIDDEN, "this form is old: load the page again\n").into_response()
}
