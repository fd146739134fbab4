//! Each attack, and the answer that it gets. The messenger is away: no attack gets as far as that.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::access::Access;
use crate::bus::{Address, Bus, Conversation};
use crate::words::Language;

const KEY: &str = "abcdefghijklmnopqrstuvwxyz234567";
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A running kiosk without a messenger.
struct Kiosk {
    address: SocketAddr,
    folder: TempDir,
}

/// A browser that has signed in.
struct Browser {
    cookie: String,
    token: String,
}

impl Kiosk {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let access = Access::open(folder.path(), address, true).unwrap();
        let bus = Bus::follow(Address::Other(format!("unix:path={}/no-bus", folder.path().display()))).await;
        let site = Site::new(address, access, bus, Conversation::parse("peer", KEY), Language::English);
        tokio::spawn(accept(listener, router(Arc::new(site))));
        Self { address, folder }
    }

    fn login(&self, file: &str) -> String {
        let address = std::fs::read_to_string(self.folder.path().join(file)).unwrap();
        address.trim().split_once('#').unwrap().1.to_owned()
    }

    async fn browser(&self, file: &str) -> Browser {
        let answer = self.enter(&self.login(file)).await;
        let cookie = answer.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap().to_owned();
        // What a form holds, as the folder keeps it for a restart.
        let sessions = std::fs::read_to_string(self.folder.path().join("sessions")).unwrap();
        let session = sessions.lines().find(|line| cookie.ends_with(line.split(' ').nth(2).unwrap())).unwrap();
        Browser { cookie, token: session.split(' ').nth(3).unwrap().to_owned() }
    }

    async fn enter(&self, token: &str) -> String {
        self.ask("POST /enter", &[("Origin", &self.origin())], token).await
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What is answered, whole.
    async fn ask(&self, request: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut stream = self.begin(request, headers, body).await;
        let mut answer = Vec::new();
        // Whoever is refused in the middle of a body is cut off.
        let _ = timeout(ANSWER_MAX, stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn begin(&self, request: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = self.address.to_string();
        let has_host = headers.iter().any(|(name, _)| *name == "Host");
        let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers.iter().chain((!has_host).then_some(&("Host", host.as_str()))) {
            text += &format!("{name}: {value}\r\n");
        }
        // A body that nobody wants may be refused before it is written.
        let _ = stream.write_all(format!("{text}\r\n{body}").as_bytes()).await;
        stream
    }

    /// A form of a browser that has signed in.
    async fn post(&self, path: &str, browser: &Browser, token: &str, body: &str) -> String {
        let (origin, body) = (self.origin(), format!("token={token}&{body}"));
        self.ask(&format!("POST {path}"), &[("Origin", &origin), ("Cookie", &browser.cookie)], &body).await
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn a_foreign_host_gets_nothing() {
    let kiosk = Kiosk::start().await;
    let browser = kiosk.browser("login").await;
    let port = kiosk.address.port();
    for host in ["evil.example", "evil.example:80", "127.0.0.1:1", "localhost", "", &format!("localhost:{port}.evil")] {
        let answer = kiosk.ask("GET /", &[("Host", host), ("Cookie", &browser.cookie)], "").await;
        assert_eq!(status(&answer), "421", "{host}: {answer}");
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        let answer = kiosk.ask("GET /", &[("Host", &host), ("Cookie", &browser.cookie)], "").await;
        assert_eq!(status(&answer), "503", "its own name is answered, that the messenger is away: {answer}");
    }
}

#[tokio::test]
async fn a_foreign_origin_sends_no_form_and_hears_no_event() {
    let kiosk = Kiosk::start().await;
    let browser = kiosk.browser("login").await;
    let form = format!("token={}&language=de", browser.token);
    let own = kiosk.origin();
    for headers in [
        vec![("Origin", "http://evil.example")],
        vec![("Origin", "null")],
        vec![],
        vec![("Origin", &own), ("Sec-Fetch-Site", "cross-site")],
    ] {
        let headers = [headers, vec![("Cookie", browser.cookie.as_str())]].concat();
        assert_eq!(status(&kiosk.ask("POST /language", &headers, &form).await), "403", "{headers:?}");
    }
    for foreign in [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "none")] {
        let answer = kiosk.ask("GET /events", &[foreign, ("Cookie", &browser.cookie)], "").await;
        assert_eq!(status(&answer), "403", "{foreign:?}");
    }
    assert_eq!(status(&kiosk.post("/language", &browser, &browser.token, "language=de").await), "303");
}

#[tokio::test]
async fn a_form_without_its_token_or_with_an_old_one_does_nothing() {
    let kiosk = Kiosk::start().await;
    let (old, browser) = (kiosk.browser("login").await, kiosk.browser("login").await);
    for token in ["", "wrong", &old.token] {
        let answer = kiosk.post("/language", &browser, token, "language=de").await;
        assert_eq!(status(&answer), "403", "{answer}");
        assert!(!answer.contains("set-cookie"), "{answer}");
    }
}

#[tokio::test]
async fn whoever_has_not_signed_in_is_told_how_and_gets_nothing_else() {
    let kiosk = Kiosk::start().await;
    for path in ["/", "/settings", "/pair", "/backup", "/events", "/no-such-page", &format!("/c/peer/{KEY}")] {
        let answer = kiosk.ask(&format!("GET {path}"), &[("Cookie", "kith-session-1=x; a=b")], "").await;
        assert_eq!(status(&answer), "401", "{path}: {answer}");
        assert!(answer.contains("not signed in"), "{answer}");
    }
    for path in ["/unlock", "/set-up", "/backup/upload"] {
        let answer = kiosk.ask(&format!("POST {path}"), &[("Origin", &kiosk.origin())], "secret=x").await;
        assert_eq!(status(&answer), "401", "{path}: {answer}");
    }
}

#[tokio::test]
async fn nobody_may_frame_keep_or_extend_an_answer() {
    let kiosk = Kiosk::start().await;
    let answers = [
        kiosk.ask("GET /", &[], "").await,
        kiosk.ask("GET /files/kith.js", &[], "").await,
        kiosk.ask("GET /", &[("Host", "evil.example")], "").await,
    ];
    for answer in answers {
        for header in [
            "x-frame-options: DENY",
            "frame-ancestors 'none'",
            "default-src 'none'; script-src 'self'; style-src 'self'",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(answer.contains(header), "{header}: {answer}");
        }
        assert!(!answer.contains("unsafe-inline"), "{answer}");
    }
}

#[tokio::test]
async fn a_session_is_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let kiosk = Kiosk::start().await;
    let token = kiosk.login("login");
    let answer = kiosk.enter(&token).await;
    assert_eq!(status(&answer), "204");
    assert!(answer.contains("; Path=/; HttpOnly; SameSite=Strict\r\n"), "{answer}");
    assert_eq!(status(&kiosk.enter(&token).await), "403", "a used token");
    let answers = [kiosk.enter("a").await, kiosk.enter("").await, kiosk.enter(&"x".repeat(1000)).await];
    assert!(answers.iter().all(|answer| status(answer) == "403"), "{answers:?}");
    // The fifth wrong one was free; from the sixth on everybody waits.
    assert_eq!(status(&kiosk.enter("b").await), "403");
    assert_eq!(status(&kiosk.enter("c").await), "403");
    assert_eq!(status(&kiosk.enter(&kiosk.login("login")).await), "429", "throttled");
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused() {
    let kiosk = Kiosk::start().await;
    let browser = kiosk.browser("login").await;
    let body = format!("text={}", "a".repeat(10 * 1024 * 1024));
    let answer = kiosk.post(&format!("/c/peer/{KEY}/send"), &browser, &browser.token, &body).await;
    assert!(["413", "none"].contains(&status(&answer)), "refused, or cut off while it was written: {answer}");
    assert_eq!(status(&kiosk.ask("GET /", &[("Cookie", &browser.cookie)], "").await), "503", "others are served");
}

#[tokio::test]
async fn tricks_with_paths_lead_nowhere() {
    let kiosk = Kiosk::start().await;
    let browser = kiosk.browser("login").await;
    for path in [
        "/files/../login",
        "/files/..%2f..%2fetc%2fpasswd",
        "/files/%2e%2e/sessions",
        "/files//etc/passwd",
        "/files/kith.css%00",
        "/c/peer/../../sessions",
        "/c/task/1",
        "//evil.example/",
        "/pair/99999999999999999999",
    ] {
        let answer = kiosk.ask(&format!("GET {path}"), &[("Cookie", &browser.cookie)], "").await;
        assert!(["400", "404", "503"].contains(&status(&answer)), "{path}: {answer}");
        assert!(!answer.contains(&browser.token) && !answer.contains("root:"), "{path}: {answer}");
    }
    assert!(kiosk.ask("GET /files/kith.css", &[], "").await.contains("content-type: text/css"));
}

#[tokio::test]
async fn a_thousand_event_streams_leave_room_for_pages() {
    let kiosk = Kiosk::start().await;
    let browser = kiosk.browser("login").await;
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..1000 {
        let mut stream = kiosk.begin("GET /events", &[("Cookie", &browser.cookie)], "").await;
        let mut beginning = [0; 12];
        timeout(ANSWER_MAX, stream.read_exact(&mut beginning)).await.unwrap().unwrap();
        match &beginning {
            b"HTTP/1.1 200" => open.push(stream),
            b"HTTP/1.1 503" => refused += 1,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    assert_eq!((open.len(), refused), (32, 968));
    assert!(kiosk.ask("GET /", &[("Cookie", &browser.cookie)], "").await.contains("messenger is away"));
}

#[tokio::test]
async fn a_page_that_missed_nothing_waits_and_one_that_missed_something_is_told_at_once() {
    let kiosk = Kiosk::start().await;
    let browser = kiosk.browser("login").await;
    let page = kiosk.ask("GET /", &[("Cookie", &browser.cookie)], "").await;
    let mark = page.split("data-mark=\"").nth(1).unwrap().split('"').next().unwrap();
    // What a browser heard last is newer than what its page was made at.
    let headers = [("Cookie", browser.cookie.as_str()), ("Last-Event-ID", "0-0-0")];
    let mut stream = kiosk.begin(&format!("GET /events?since={mark}"), &headers, "").await;
    let mut heard = String::new();
    while !heard.contains(&format!("id: {mark}")) {
        let mut bytes = [0; 4096];
        let read = timeout(ANSWER_MAX, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert_ne!(read, 0, "{heard}");
        heard += std::str::from_utf8(&bytes[..read]).unwrap();
    }
    assert!(heard.contains("content-type: text/event-stream") && heard.contains("event: change"), "{heard}");
}

#[tokio::test]
async fn a_visitor_is_kept_to_one_conversation() {
    let kiosk = Kiosk::start().await;
    let visitor = kiosk.browser("visitor").await;
    let home = kiosk.ask("GET /settings", &[("Cookie", &visitor.cookie)], "").await;
    assert!(status(&home) == "303" && home.contains(&format!("location: /c/peer/{KEY}\r\n")), "{home}");
    let answer = kiosk.post("/unlock", &visitor, &visitor.token, "secret=x").await;
    assert_eq!(status(&answer), "403", "{answer}");
    let answer = kiosk.post(&format!("/c/peer/{KEY}/send"), &visitor, &visitor.token, "text=x").await;
    assert_eq!(status(&answer), "403", "{answer}");
    let answer = kiosk.post(&format!("/c/peer/{KEY}/reply"), &visitor, &visitor.token, "reply=0").await;
    assert_eq!(status(&answer), "303", "{answer}");
}

#[tokio::test]
async fn the_first_page_is_small_with_all_that_it_needs() {
    let kiosk = Kiosk::start().await;
    let mut bytes = kiosk.ask("GET /", &[], "").await.len();
    for file in ["kith.css", "kith.js", "live.js", "forms.js", "keyboard.js", "clock.js"] {
        let answer = kiosk.ask(&format!("GET /files/{file}"), &[], "").await;
        assert_eq!(status(&answer), "200", "{file}");
        bytes += answer.len();
    }
    assert!(bytes < 50_000, "{bytes} bytes");
}
