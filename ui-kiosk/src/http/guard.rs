//! What stands before every page: the name, the origin, the session; and what is on every answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::access::{Role, Session};
use crate::bus::{Look, Mark, Overview};
use crate::http::visitor;
use crate::screens;
use crate::site::Site;
use crate::words::Language;

/// On every answer. A page needs the embedded scripts and style sheet and nothing else, from nowhere else; its forms
/// go to its own site only, and nobody may frame it.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (CACHE_CONTROL, "no-store"),
    // With less than this, browsers name no origin when they send a form.
    (REFERRER_POLICY, "same-origin"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// How a browser says where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The header of a page that asks for itself again.
const AGAIN: HeaderName = HeaderName::from_static("x-kith-again");

/// Lets a request through to its page, or does not.
pub(super) async fn guard(State(site): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(&site, &mut request) {
        Ok(()) => next.run(request).await,
        Err(refused) => *refused,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn admit(site: &Site, request: &mut Request) -> Result<(), Box<Response>> {
    let headers = request.headers();
    // A web site whose name an attacker points at this device (DNS rebinding) gets nothing.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_own_name(host, site.address));
    let Some(host) = host else {
        return Err(plain(StatusCode::MISDIRECTED_REQUEST, "this is the screen of another name\n"));
    };
    if !is_own_origin(request.method(), request.uri().path(), headers, host) {
        return Err(plain(StatusCode::FORBIDDEN, "this comes from another site\n"));
    }
    let guest = Guest::of(site, headers);
    let path = request.uri().path();
    if is_open(path) {
        request.extensions_mut().insert(guest);
        return Ok(());
    }
    let Some(session) = &guest.session else {
        return Err(Box::new(screens::enter(&guest, StatusCode::UNAUTHORIZED)));
    };
    if session.is_locked() && !may_while_locked(request.method(), path) {
        return Err(Box::new(screens::screen_locked(&guest)));
    }
    if session.role() == Role::Visitor && !visitor::may(site.visited.as_ref(), request.method(), path) {
        return Err(Box::new(visitor::elsewhere(site.visited.as_ref(), request.method())));
    }
    request.extensions_mut().insert(guest);
    Ok(())
}

fn plain(status: StatusCode, text: &'static str) -> Box<Response> {
    Box::new((status, text).into_response())
}

/// What needs no session: the way to one, and what is the same for everybody.
fn is_open(path: &str) -> bool {
    path == "/enter" || path.starts_with("/files/")
}

/// What a locked screen answers: that it is locked, what it needs to show that, and the way out.
fn may_while_locked(method: &Method, path: &str) -> bool {
    (method == Method::POST && ["/pin", "/language"].contains(&path)) || path == "/events"
}

/// Whether a `Host` header (RFC 9110 §7.2) names this site.
fn is_own_name(host: &str, address: SocketAddr) -> bool {
    host == address.to_string() || host.strip_prefix("localhost:") == Some(&address.port().to_string())
}

/// Whether a request was made by a page of this site. Pages themselves may be asked for from anywhere, without the
/// session then (`SameSite=Strict`); what changes something, and the event stream, may not.
fn is_own_origin(method: &Method, path: &str, headers: &HeaderMap, host: &str) -> bool {
    let origin = headers.get(ORIGIN).map(|origin| origin.as_bytes() == format!("http://{host}").as_bytes());
    let site = headers.get(FETCH_SITE).map(|site| site.as_bytes() == b"same-origin");
    match *method {
        Method::GET | Method::HEAD if path == "/events" => origin.unwrap_or(true) && site.unwrap_or(true),
        Method::GET | Method::HEAD => true,
        _ => origin.unwrap_or(false) && site.unwrap_or(true),
    }
}

/// Whoever asks for a page.
#[derive(Clone)]
pub(crate) struct Guest {
    /// The session, which only the way in can do without.
    pub(crate) session: Option<Arc<Session>>,
    /// The language to answer in.
    pub(crate) language: Language,
    /// Whether it is a page that asks for itself again.
    pub(crate) asks_again: bool,
    /// What had happened when it asked. Taken before anything is looked at: what happens in between, the page is told
    /// once more.
    pub(crate) mark: Mark,
}

impl Guest {
    fn of(site: &Site, headers: &HeaderMap) -> Self {
        let session = cookie(headers, &session_cookie(site.address)).and_then(|token| site.access.session(token));
        let chosen = cookie(headers, LANGUAGE_COOKIE).and_then(Language::by_code);
        let language = chosen.or_else(|| Language::asked_for(headers)).unwrap_or(site.language);
        Self { session, language, asks_again: headers.contains_key(AGAIN), mark: site.bus.mark() }
    }

    /// Whether it is a visitor.
    pub(crate) fn is_visitor(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.role() == Role::Visitor)
    }
}

/// The cookie that names a session. Cookies do not tell ports apart; the name does.
pub(super) fn session_cookie(address: SocketAddr) -> String {
    format!("kith-session-{}", address.port())
}

/// The cookie of the language that somebody chose.
pub(crate) const LANGUAGE_COOKIE: &str = "kith-language";

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut cookies = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(other, _)| *other == name).map(|(_, value)| value)
}

impl FromRequestParts<Arc<Site>> for Guest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Infallible> {
        // The guard has put it there.
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or(Self {
            session: None,
            language: site.language,
            asks_again: false,
            mark: site.bus.mark(),
        }))
    }
}

/// Whoever asks for a page of a messenger in use. Whenever it is not, each address answers with what is in the way
/// instead, and becomes the page again by itself.
pub(crate) struct Ready {
    /// Who asks.
    pub(crate) guest: Guest,
    /// What there is to see.
    pub(crate) overview: Box<Overview>,
}

impl FromRequestParts<Arc<Site>> for Ready {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        let guest = Guest::from_request_parts(parts, site).await.unwrap_or_else(|never| match never {});
        match site.bus.look().await {
            Look::Ready(overview) => Ok(Self { guest, overview }),
            other => Err(screens::in_the_way(site, &guest, &other, parts.uri.path())),
        }
    }
}
