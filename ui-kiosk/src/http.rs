//! The HTTP side: two pages to read, for browsers on this device only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;

use crate::page;
use crate::view::View;

/// Looks at the bus at the same time; a browser needs one, and the rest wait.
const LOOKS_MAX: usize = 4;

/// On every answer. The page needs its style sheet and nothing else, from nowhere else.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Where the page looks for what it shows.
pub(crate) trait Source: Send + Sync + 'static {
    /// What there is to see now.
    fn look(&self) -> impl Future<Output = View> + Send;
}

struct Site<S> {
    source: S,
    looks: Semaphore,
}

/// The pages, answered only for names of `listen` itself: a web site whose name an attacker points
/// at this device (DNS rebinding) gets nothing.
pub(crate) fn router<S: Source>(source: S, listen: SocketAddr) -> Router {
    let site = Arc::new(Site { source, looks: Semaphore::new(LOOKS_MAX) });
    Router::new()
        .route("/", get(status::<S>))
        .route("/style.css", get(|| async { ([(CONTENT_TYPE, "text/css")], page::STYLE) }))
        .with_state(site)
        .layer(middleware::from_fn_with_state(listen, guard))
}

async fn status<S: Source>(State(site): State<Arc<Site<S>>>) -> Response {
    match site.looks.acquire().await {
        Ok(_permit) => Html(page::render(&site.source.look().await)).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn guard(State(listen): State<SocketAddr>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let mut response = if host.is_some_and(|host| is_own_name(host, listen)) {
        next.run(request).await
    } else {
        StatusCode::MISDIRECTED_REQUEST.into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a `Host` header (RFC 9110 §7.2) names this page.
fn is_own_name(host: &str, listen: SocketAddr) -> bool {
    host == listen.to_string() || host.strip_prefix("localhost:") == Some(&listen.port().to_string())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    struct Locked;

    impl Source for Locked {
        async fn look(&self) -> View {
            View::Locked { client_id: "aaaa-bbbb".into() }
        }
    }

    async fn ask(request_line: &str, host: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router(Locked, address)).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let host = host.replace("PORT", &address.port().to_string());
        let request = format!("{request_line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_browser_on_this_device_gets_the_page_and_may_not_keep_it() {
        for host in ["127.0.0.1:PORT", "localhost:PORT"] {
            let answer = ask("GET /", host).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.contains("aaaa-bbbb") && answer.contains("cache-control: no-store"), "{answer}");
            assert!(answer.contains("content-security-policy: default-src 'none'; style-src 'self';"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_foreign_host_gets_nothing() {
        for host in ["evil.example", "evil.example:PORT", "127.0.0.1:1", "localhost", "", "localhost:PORT.evil.example"]
        {
            let answer = ask("GET /", host).await;
            assert!(answer.starts_with("HTTP/1.1 421 "), "{host}: {answer}");
            assert!(!answer.contains("aaaa-bbbb"), "{answer}");
        }
    }

    #[tokio::test]
    async fn the_page_can_only_be_read() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = ask(&format!("{method} /"), "127.0.0.1:PORT").await;
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn the_style_sheet_is_a_style_sheet() {
        let answer = ask("GET /style.css", "127.0.0.1:PORT").await;
        assert!(answer.contains("content-type: text/css"), "{answer}");
        assert!(answer.ends_with(page::STYLE));
    }
}
