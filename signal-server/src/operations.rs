//! Health, readiness and metrics, for the operator on the same machine.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::hub::Hub;
use crate::server::{accept, exchange};
use crate::stream::Stream;

/// Requests at a time: a monitor, a load balancer and a person.
const REQUESTS_MAX: usize = 16;

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, hub: Arc<Hub>) {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(&hub));
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut exchanges = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = exchanges.join_next() => {}
            (stream, _) = accept(&listener) => {
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    let (router, deadline) = (router.clone(), hub.deadlines.http);
                    exchanges.spawn(async move {
                        // A request that takes too long is dropped.
                        let _ = tokio::time::timeout(deadline, exchange(Stream::Plain(stream), router, |_| {})).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

async fn ready(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    match (hub.is_ready(), hub.is_alone()) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        // Devices are better off here than nowhere, and NATS is the same for all servers.
        (true, true) => (StatusCode::OK, "ready, without the bus\n"),
        (true, false) => (StatusCode::OK, "ready\n"),
    }
}

async fn metrics(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], hub.metrics_text())
}
