//! The event stream: that something is new, never what. A page that hears it asks for itself again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::bus::Mark;
use crate::site::Site;

/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);

/// How long a stream is silent at most: a browser that is gone is noticed, and gives its place back.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How a browser names the last event that it has heard, when it comes back.
const LAST_EVENT_ID: &str = "last-event-id";

/// What a page says when it begins to listen.
#[derive(Deserialize)]
pub(super) struct Since {
    /// The mark that the page was made at.
    since: Option<String>,
}

/// A listening page.
struct Listener {
    marks: watch::Receiver<Mark>,
    /// What the page knows of.
    known: Option<String>,
    _place: OwnedSemaphorePermit,
}

/// Tells a page of all that happens from the mark on that it names, at once if something has happened meanwhile.
pub(super) async fn stream(State(site): State<Arc<Site>>, Query(since): Query<Since>, headers: HeaderMap) -> Response {
    let Ok(place) = site.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5"), (CONNECTION, "close")]).into_response();
    };
    let heard = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let listener = Listener { marks: site.bus.marks(), known: heard.or(since.since), _place: place };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(SILENCE_MAX)).into_response()
}

impl Listener {
    /// The next event; none when the program ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let mark = self.marks.borrow_and_update().to_string();
            if self.known.as_ref() != Some(&mark) {
                self.known = Some(mark.clone());
                return Some(Event::default().event("change").id(&mark).data(mark).retry(RETRY));
            }
            self.marks.changed().await.ok()?;
        }
    }
}
