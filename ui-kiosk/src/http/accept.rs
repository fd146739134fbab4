//! The accept loop: so many connections, and none that takes its time with its headers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Connections at a time. A browser has six, and one more for each page that is open.
const CONNECTIONS_MAX: usize = 128;

/// How long a request's headers may take, from the connection or from the answer before.
const HEADERS_MAX: Duration = Duration::from_secs(10);

/// hyper's smallest buffer: more than the headers of a browser on this device.
const BUFFER_BYTES: usize = 8_192;

/// How long the loop rests when the system has no more files or memory to give.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts connections for ever.
pub(crate) async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_RETRY).await;
            continue;
        };
        // Who finds no place is let go at once, so that nobody waits for a screen that hangs.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let router = router.clone();
        tokio::spawn(async move {
            serve(stream, router).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, router: Router) {
    // Small answers are to be on the screen at once. Where that cannot be set they come later.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = service.call(request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS_MAX).max_buf_size(BUFFER_BYTES);
    // A browser that leaves in the middle of an answer is nobody's mistake.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}
