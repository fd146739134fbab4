//! What the pages cost.

use std::time::{Duration, Instant};

use kith_system_tests::{ENTER, Latencies, Millis};

use crate::World;

/// Messages whose times are taken.
const MESSAGES: usize = 100;

/// Bytes that the first page may take, with all that it needs.
const FIRST_PAGE_BYTES_MAX: u64 = 50_000;

/// Resident memory of a development build with ten pages open; what is released takes less.
const MEMORY_KIB_MAX: u64 = 14 * 1024;

/// Pages that are open at a time when the memory is looked at.
const PAGES: usize = 10;

/// Half of the messages are shown within this time, on a machine that does other things, too.
const P50_MAX: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_on_the_other_screen_at_once_and_the_pages_are_small() {
    let world = World::paired().await;
    let (alice, bob) = (&world.alice.browser, &world.bob.browser);
    let mut latencies = Latencies::default();
    for number in 1..=MESSAGES {
        let text = format!("message number {number}.");
        alice.fill("#text", &text).await.unwrap();
        let shown = bob.wait_for_text(&text);
        let sent = async {
            let sent = Instant::now();
            alice.press(&ENTER.to_string()).await.unwrap();
            sent
        };
        let (shown, sent) = tokio::join!(async { shown.await.map(|()| Instant::now()) }, sent);
        latencies.push(shown.unwrap().saturating_duration_since(sent));
    }
    eprintln!("typed on one screen, shown on the other: {latencies}");
    assert!(latencies.percentile(50) < P50_MAX, "p50 {}", Millis(latencies.percentile(50)));

    world.alice.open("/").await;
    let bytes = alice
        .run(
            "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
             .filter((entry) => !entry.name.includes('/events')).reduce((sum, entry) => sum + entry.transferSize, 0)",
        )
        .await
        .unwrap();
    eprintln!("the first page with all that it needs: {bytes} bytes");
    assert!(bytes.as_u64().is_some_and(|bytes| bytes > 0 && bytes < FIRST_PAGE_BYTES_MAX), "{bytes}");

    let address = world.alice.kiosk.url();
    for _ in 1..PAGES {
        alice.open_tab(&format!("{address}/settings")).await.unwrap();
        alice.wait_for("h1").await.unwrap();
    }
    let kib = world.alice.kiosk.process().unwrap().memory_kib().unwrap();
    eprintln!("resident memory with {PAGES} pages open: {kib} KiB");
    assert!(kib < MEMORY_KIB_MAX, "{kib} KiB");
}
