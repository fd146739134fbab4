//! The kiosk's pages in front of a running messenger, without a browser: what is on them, and for whom.

use std::time::Duration;

use kith_system_tests::{Device, Kiosk, Logging, Process, Programs, Server};

use crate::{Pair, send_all};

const START_MAX: Duration = Duration::from_secs(10);

/// Resident memory that the kiosk may have. Development builds take a little more than what is released.
const MEMORY_KIB_MAX: u64 = 14 * 1024;

/// Where the page of the only conversation is.
fn conversation(home: &str) -> String {
    let key = home.split("href=\"/c/").nth(1).and_then(|rest| rest.split('"').next());
    format!("/c/{}", key.unwrap_or_else(|| panic!("a conversation: {home}")))
}

#[tokio::test]
async fn whoever_has_signed_in_reads_and_writes_and_whoever_has_not_sees_nothing() {
    let mut pair = Pair::new().await;
    send_all(&mut pair.to_bob, &["words between the two".to_owned()]).await;
    let kiosk = Kiosk::start(pair.bob.bus_address()).await.unwrap();
    let session = kiosk.sign_in("login").await.unwrap();

    let home = session.page("/").await.unwrap();
    for text in ["bob", "<bdi>alice</bdi>", "online · direct", "shortened addresses", "belongs to a test"] {
        assert!(home.contains(text), "{text}: {home}");
    }
    assert!(!home.contains("words between"), "no words but in their conversation: {home}");
    let page = conversation(&home);
    assert!(session.page(&page).await.unwrap().contains("<p class=\"body\" dir=\"auto\">words between the two</p>"));

    let text = "text=%3Cb%3Ean%20answer%3C%2Fb%3E";
    let answer = session.submit(&page, &format!("{page}/send"), text).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
    assert!(session.page(&page).await.unwrap().contains("&lt;b&gt;an answer&lt;/b&gt;"));

    let stranger = kiosk.stranger().page(&page).await.unwrap();
    assert!(stranger.starts_with("HTTP/1.1 401 ") && !stranger.contains("words between"), "{stranger}");
    let kib = kiosk.process().unwrap().memory_kib().unwrap();
    assert!(kib < MEMORY_KIB_MAX, "{kib} KiB");
}

#[tokio::test]
async fn the_pages_of_a_messenger_that_is_away_locked_or_new_say_so_and_become_what_they_were() {
    let mut pair = Pair::new().await;
    let mut kiosk = Kiosk::start(pair.alice.bus_address()).await.unwrap();
    let session = kiosk.sign_in("login").await.unwrap();
    let page = conversation(&session.page("/").await.unwrap());

    pair.alice.lock().await.unwrap();
    let locked = session.page(&page).await.unwrap();
    assert!(locked.contains("data-page=\"locked\"") && !locked.contains("bob"), "{locked}");
    let wrong = session.submit(&page, "/unlock", "secret=wrong&back=/").await.unwrap();
    assert!(wrong.starts_with("HTTP/1.1 303 "), "{wrong}");
    assert!(session.page("/").await.unwrap().contains("role=\"alert\""));
    let secret = format!("secret={}&back={page}", pair.alice.secret().text());
    let right = session.submit(&page, "/unlock", &secret).await.unwrap();
    assert!(right.contains(&format!("location: {page}\r\n")), "{right}");
    assert!(session.page(&page).await.unwrap().contains("bob"));

    pair.alice.stop().unwrap();
    let away = session.page(&page).await.unwrap();
    assert!(away.starts_with("HTTP/1.1 503 ") && away.contains("data-page=\"away\""), "{away}");
    pair.alice.run_again().await.unwrap();
    assert!(session.page(&page).await.unwrap().contains("bob"));

    kiosk.kill();
    kiosk.run().await.unwrap();
    let again = session.page(&page).await.unwrap();
    assert!(again.contains("bob"), "the session of before holds: {again}");
}

#[tokio::test]
async fn a_new_device_is_set_up_and_paired_on_its_screen() {
    let server = Server::start(Logging::Debug).await.unwrap();
    let alice = Device::start("alice", &server.url()).await.unwrap();
    let fresh = Device::start_new("fresh", &server.url()).await.unwrap();
    let kiosk = Kiosk::start(fresh.bus_address()).await.unwrap();
    let session = kiosk.sign_in("login").await.unwrap();

    let first = session.page("/").await.unwrap();
    assert!(first.contains("data-page=\"set-up\""), "{first}");
    session.submit("/", "/set-up", "name=Hall&secret=one&again=other").await.unwrap();
    assert!(session.page("/").await.unwrap().contains("role=\"alert\""), "two secrets that differ");
    session.submit("/", "/set-up", "name=Hall&secret=one&again=one").await.unwrap();
    assert!(session.page("/").await.unwrap().contains("<h1>Hall</h1>"));

    let invite = alice.invite().await.unwrap();
    let answer = session.submit("/pair", "/pair/accept", &format!("uri={invite}")).await.unwrap();
    assert!(answer.contains("location: /pair/"), "{answer}");
    let to_alice = fresh.messenger().await.unwrap().conversation().await.unwrap();
    let home = session.page("/").await.unwrap();
    assert!(home.contains("<bdi>alice</bdi>") && home.contains(&to_alice.peer().await.unwrap().replace('-', "")));
    for page in ["/", "/settings", "/pair"] {
        let page = session.page(page).await.unwrap();
        assert!(page.contains("class=\"notice warning\"") && page.contains("Art. 6"), "debug mode stands out: {page}");
    }
}

#[tokio::test]
async fn a_visitor_sees_one_conversation_and_answers_with_what_is_proposed() {
    let mut pair = Pair::new().await;
    let peer = format!("peer/{}", pair.to_bob.peer().await.unwrap());
    let kiosk = Kiosk::start_for_visitors(pair.alice.bus_address(), &peer).await.unwrap();
    let visitor = kiosk.sign_in("visitor").await.unwrap();

    let sent_on = visitor.page("/").await.unwrap();
    let page = format!("/c/{}", peer.replace('-', ""));
    assert!(sent_on.contains(&format!("location: {page}\r\n")), "{sent_on}");
    let shown = visitor.page(&page).await.unwrap();
    assert!(shown.contains("name=\"reply\"") && !shown.contains("<textarea"), "{shown}");
    visitor.submit(&page, &format!("{page}/reply"), "reply=4").await.unwrap();
    pair.to_bob.wait_until_nothing_waits().await.unwrap();
    let said = pair.to_alice.history().await.unwrap();
    assert_eq!(said.last().unwrap().body, b"Thank you");
    let refused = visitor.submit(&page, &format!("{page}/send"), "text=x").await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    send_all(&mut pair.to_alice, &["for the visitor".to_owned()]).await;
    assert!(visitor.page(&page).await.unwrap().contains("for the visitor"));
}

#[tokio::test]
async fn the_pages_are_for_this_device_only() {
    let folder = tempfile::tempdir().unwrap();
    let program = Programs::locate().unwrap().path("kith-kiosk");
    let mut kiosk = Process::start("kith-kiosk", &program, &["--listen", "0.0.0.0:0"], folder.path()).unwrap();
    let error = kiosk.wait_for_line("listening on ", START_MAX).await.unwrap_err();
    assert!(error.to_string().contains("not a loopback address"), "{error}");
}
