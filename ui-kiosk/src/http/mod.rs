//! The HTTP side: who gets an answer, and what is on every answer.

mod accept;
mod answer;
mod enter;
mod events;
mod files;
mod guard;
mod posted;
mod visitor;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::screens;
use crate::site::Site;

pub(crate) use accept::accept;
pub(crate) use answer::{Answer, own_page};
pub(crate) use guard::{Guest, LANGUAGE_COOKIE, Ready};
pub(crate) use posted::{Posted, TOKEN_FIELD, checked, old_form};

/// The largest form: a message of 12,288 bytes, each of them as `%XX`, and its token.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// All that is answered.
pub(crate) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/enter", get(enter::page).post(enter::log_in))
        .route("/files/{name}", get(files::file))
        .route("/events", get(events::stream))
        .merge(screens::router())
        .route("/backup/upload", post(screens::upload_backup).layer(DefaultBodyLimit::disable()))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(site.clone(), guard::guard))
        .with_state(site)
}

#[cfg(test)]
mod tests;
