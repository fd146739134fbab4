//! The files that are in this program: style sheet and scripts.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Each with its type.
const FILES: &[(&str, &str, &str)] = &[
    ("kith.css", STYLE, include_str!("../files/kith.css")),
    ("kith.js", SCRIPT, include_str!("../files/kith.js")),
    ("enter.js", SCRIPT, include_str!("../files/enter.js")),
    ("live.js", SCRIPT, include_str!("../files/live.js")),
    ("forms.js", SCRIPT, include_str!("../files/forms.js")),
    ("keyboard.js", SCRIPT, include_str!("../files/keyboard.js")),
    ("clock.js", SCRIPT, include_str!("../files/clock.js")),
];

/// One of them. There is no folder behind the name.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, content_type, text)) => ([(CONTENT_TYPE, *content_type)], *text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
