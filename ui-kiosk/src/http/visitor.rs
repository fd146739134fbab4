//! What a visitor may do: see one conversation, and answer in it with what is proposed there.

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};

use crate::bus::Conversation;

/// Whether a visitor may ask for this.
pub(super) fn may(visited: Option<&Conversation>, method: &Method, path: &str) -> bool {
    let Some(address) = visited.map(Conversation::address) else { return false };
    let allowed: &[&str] = match *method {
        Method::GET | Method::HEAD => &["", "/events", "/idle"],
        Method::POST => &["/reply", "/read", "/language"],
        _ => &[],
    };
    allowed.iter().any(|page| match *page {
        "/events" | "/idle" | "/language" => path == *page,
        below => path.strip_prefix(&address) == Some(below),
    })
}

/// Where a visitor is sent instead.
pub(super) fn elsewhere(visited: Option<&Conversation>, method: &Method) -> Response {
    match visited {
        Some(conversation) if method == Method::GET => Redirect::to(&conversation.address()).into_response(),
        _ => (StatusCode::FORBIDDEN, "visitors may not do that\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_sees_one_conversation_and_answers_with_what_is_proposed() {
        let (own, other) = ("abcdefghijklmnopqrstuvwxyz234567", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
        let visited = Conversation::parse("peer", own).unwrap();
        let may = |method: Method, path: &str| may(Some(&visited), &method, path);
        let page = visited.address();
        assert!(may(Method::GET, &page) && may(Method::GET, "/events") && may(Method::GET, "/idle"));
        assert!(may(Method::POST, &format!("{page}/reply")) && may(Method::POST, &format!("{page}/read")));
        for path in ["/", "/settings", "/pair", "/backup", &format!("{page}/about"), &format!("/c/peer/{other}")] {
            assert!(!may(Method::GET, path) && !may(Method::POST, path), "{path}");
        }
        for path in [format!("{page}/send"), format!("/c/peer/{other}/reply"), "/unlock".to_owned()] {
            assert!(!may(Method::POST, &path), "{path}");
        }
        assert!(!super::may(None, &Method::GET, &page));
    }
}
