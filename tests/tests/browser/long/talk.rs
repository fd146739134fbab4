//! Two stations pair, talk and form a room, and go through every outage without a page that is loaded anew.

use kith_system_tests::{Device, Logging};

use crate::{Station, World};

#[tokio::test(flavor = "multi_thread")]
async fn two_stations_pair_by_a_link_talk_both_ways_and_form_a_room() {
    let world = World::new().await;
    let (alice, bob) = (&world.alice.browser, &world.bob.browser);
    alice.click("nav a[href='/pair']").await.unwrap();
    alice.click("form[action='/pair/invite'] button").await.unwrap();
    alice.wait_for(".qr").await.unwrap();
    let link = alice.text("#uri").await.unwrap();
    bob.click("nav a[href='/pair']").await.unwrap();
    bob.fill("#uri", &format!("{link}\n")).await.unwrap();
    for browser in [alice, bob] {
        browser.click("#done").await.unwrap();
        browser.wait_for("#text").await.unwrap();
    }

    world.alice.say("Hello <b>Bob</b> 👋").await;
    bob.wait_for_text("Hello <b>Bob</b> 👋").await.unwrap();
    world.bob.say("Hello Alice").await;
    alice.wait_for_text("Hello Alice").await.unwrap();
    alice.wait_for_text("· read").await.unwrap();
    bob.click(".quick button").await.unwrap();
    alice.wait_until("[...document.querySelectorAll('.body')].at(-1).innerText === 'Yes'").await.unwrap();

    world.alice.open("/rooms/new").await;
    alice.fill("#name", "Kitchen").await.unwrap();
    alice.click("input[name=member]").await.unwrap();
    alice.click("main form .main").await.unwrap();
    alice.wait_for("#text").await.unwrap();
    world.bob.open("/").await;
    bob.click(".talks a[href^='/c/room/']").await.unwrap();
    world.alice.say("To all of us").await;
    bob.wait_for_text("To all of us").await.unwrap();
    world.bob.say("Here I am").await;
    alice.wait_for_text("Here I am").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stations_pair_by_digits_that_people_compare() {
    let world = World::new().await;
    let (alice, bob) = (&world.alice.browser, &world.bob.browser);
    world.alice.open("/pair").await;
    alice.click("form[action='/pair/compare']:not(.line) button").await.unwrap();
    let code = alice.text("#code").await.unwrap();
    world.bob.open("/pair").await;
    bob.fill("#code", &format!("{code}\n")).await.unwrap();
    let digits = (bob.text("#digits").await.unwrap(), alice.text("#digits").await.unwrap());
    assert_eq!(digits.0, digits.1);
    assert_eq!(digits.0.chars().filter(char::is_ascii_digit).count(), 6, "{}", digits.0);
    for browser in [alice, bob] {
        browser.click("#pairing .main").await.unwrap();
    }
    alice.click("#done").await.unwrap();
    bob.click("#done").await.unwrap();
    alice.wait_for("#text").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_goes_through_every_outage_and_is_never_loaded_anew() {
    let mut world = World::paired().await;
    for station in [&world.alice, &world.bob] {
        station.mark().await;
    }
    world.alice.browser.fill("#text", "half a sen").await.unwrap();

    // The server goes and comes back.
    world.server.stop().unwrap();
    world.alice.browser.wait_for("header .notice").await.unwrap();
    world.server.run(Logging::Active).await.unwrap();
    world.alice.browser.wait_until("!document.querySelector('header .notice')").await.unwrap();
    world.alice.browser.fill("#text", "tence").await.unwrap();
    world.alice.browser.click(".send .main").await.unwrap();
    world.bob.browser.wait_for_text("half a sentence").await.unwrap();

    // The daemon goes and comes back, locked as it is after each start.
    world.bob.device.stop().unwrap();
    world.bob.browser.wait_until("document.body.dataset.page === 'away'").await.unwrap();
    world.alice.say("while you were away").await;
    world.bob.device.run().unwrap();
    world.bob.browser.wait_until("document.body.dataset.page === 'locked'").await.unwrap();
    assert!(world.bob.is_marked().await, "neither was a page of its own");
    world.bob.device.unlock().await.unwrap();
    world.bob.browser.wait_for_text("while you were away").await.unwrap();
    assert!(world.bob.is_marked().await);

    // The kiosk's own program is killed and started again.
    world.bob.kiosk.kill();
    world.bob.browser.wait_for("#lost").await.unwrap();
    world.alice.say("and once more").await;
    world.bob.kiosk.run().await.unwrap();
    world.bob.browser.wait_for_text("and once more").await.unwrap();
    world.bob.browser.wait_until("document.getElementById('lost').hidden").await.unwrap();
    assert!(world.bob.is_marked().await);

    // The message bus goes and comes back, and the daemon with it.
    world.bob.device.bus().stop().unwrap();
    world.bob.browser.wait_until("document.body.dataset.page === 'away'").await.unwrap();
    world.bob.device.bus().run().await.unwrap();
    world.bob.device.cut_power();
    world.bob.device.run_again().await.unwrap();
    world.bob.browser.wait_for_text("and once more").await.unwrap();
    assert!(world.bob.is_marked().await && world.alice.is_marked().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_is_set_up_and_a_locked_one_unlocked_on_the_screen() {
    let world = World::new().await;
    let fresh = Device::start_new("fresh", &world.server.url()).await.unwrap();
    let fresh = Station::in_front_of(fresh).await;
    fresh.browser.click("button[lang=de]").await.unwrap();
    fresh.browser.wait_for_text("Willkommen").await.unwrap();
    for (field, text) in [("#name", "Küche"), ("#secret", "geheim"), ("#again", "geheim")] {
        fresh.browser.fill(field, text).await.unwrap();
    }
    fresh.browser.click("form[action='/set-up'] .main").await.unwrap();
    fresh.browser.wait_for_text("Küche").await.unwrap();

    fresh.open("/settings").await;
    fresh.browser.click("form[action='/shut'] button").await.unwrap();
    fresh.browser.fill("#secret", "falsch\n").await.unwrap();
    fresh.browser.wait_for_text("Das Geheimnis stimmt nicht").await.unwrap();
    fresh.browser.fill("#secret", "geheim\n").await.unwrap();
    fresh.browser.wait_for("nav.actions").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_is_locked_with_a_pin_and_says_nothing_until_somebody_gives_it() {
    let world = World::paired().await;
    let alice = &world.alice;
    alice.open("/settings").await;
    alice.browser.click("section:has(#old-pin) summary").await.unwrap();
    let secret = alice.device.secret().text().to_owned();
    for (field, text) in [("#old-pin", secret.as_str()), ("#new-pin", "246810"), ("#pin-again", "246810")] {
        alice.browser.fill(field, text).await.unwrap();
    }
    alice.browser.click("section:has(#old-pin) form button").await.unwrap();
    alice.browser.click("#lock button").await.unwrap();
    alice.browser.wait_for("#pin").await.unwrap();

    world.bob.say("for nobody else").await;
    for path in ["/", "/settings", "/idle", "/pair"] {
        alice.open(path).await;
        alice.browser.wait_for("#pin").await.unwrap();
        let shown = alice.browser.text("body").await.unwrap();
        assert!(!shown.contains("bob") && !shown.contains("nobody else"), "{path}: {shown}");
    }
    alice.browser.fill("#pin", "135790\n").await.unwrap();
    alice.browser.wait_for(".said.bad").await.unwrap();
    alice.browser.fill("#pin", "246810\n").await.unwrap();
    alice.browser.click(".talks a").await.unwrap();
    alice.browser.wait_for_text("for nobody else").await.unwrap();
}
