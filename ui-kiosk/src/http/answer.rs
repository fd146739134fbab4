//! What follows on a form: the next page, or a word that it went well.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use kith_dbus::Failure;

use super::Posted;
use crate::access::Said;

/// An answer to a form.
pub(crate) struct Answer(Response);

impl Answer {
    /// It was done: the browser goes on to a page of this site.
    pub(crate) fn done(posted: &Posted, page: &str) -> Self {
        if posted.quiet {
            return Self(StatusCode::NO_CONTENT.into_response());
        }
        Self(Redirect::to(page).into_response())
    }

    /// It was done, and the next page says so.
    pub(crate) fn well(posted: &Posted, page: &str, sentence: &str) -> Self {
        posted.session.say(Said::Well(sentence.to_owned()));
        Self::done(posted, page)
    }

    /// It was not done, and the next page says why.
    pub(crate) fn badly(posted: &Posted, page: &str, sentence: String) -> Self {
        if posted.quiet {
            return Self((StatusCode::CONFLICT, sentence).into_response());
        }
        posted.session.say(Said::Badly(sentence));
        Self::done(posted, page)
    }

    /// The daemon did it, or has said why not.
    pub(crate) fn to<T>(posted: &Posted, page: &str, result: Result<T, Failure>) -> Self {
        match result {
            Ok(_) => Self::done(posted, page),
            Err(failure) => Self::badly(posted, page, posted.words().failure(&failure)),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        self.0
    }
}

/// An address that a form names to go back to, if it is a page of this site.
pub(crate) fn own_page(page: &str) -> &str {
    let is_own = page.starts_with('/') && !page.starts_with("//") && !page.contains(['\\', '\r', '\n']);
    if is_own && page.is_ascii() { page } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_to_pages_of_this_site_only() {
        assert_eq!(own_page("/c/peer/abc?rows=60"), "/c/peer/abc?rows=60");
        for page in ["//evil.example/", "https://evil.example", "/\\evil.example", "", "/a\r\nX: y"] {
            assert_eq!(own_page(page), "/", "{page}");
        }
    }
}
