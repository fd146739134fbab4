//! The same by keyboard alone, and by the keyboard on the screen alone.

use kith_system_tests::{Browser, ENTER};
use serde_json::json;

use crate::World;

#[tokio::test(flavor = "multi_thread")]
async fn pairing_and_a_reply_need_no_pointer() {
    let world = World::new().await;
    let (alice, bob) = (&world.alice.browser, &world.bob.browser);
    alice.tab_to("nav a[href='/pair']").await.unwrap();
    alice.press(&ENTER.to_string()).await.unwrap();
    alice.tab_to("form[action='/pair/invite'] button").await.unwrap();
    alice.press(&ENTER.to_string()).await.unwrap();
    let link = alice.text("#uri").await.unwrap();

    bob.tab_to("nav a[href='/pair']").await.unwrap();
    bob.press(&ENTER.to_string()).await.unwrap();
    bob.tab_to("#uri").await.unwrap();
    // As a scanner does.
    bob.press(&format!("{link}{ENTER}")).await.unwrap();
    bob.tab_to("#done").await.unwrap();
    bob.press(&ENTER.to_string()).await.unwrap();
    bob.tab_to("#text").await.unwrap();
    bob.press(&format!("typed{ENTER}")).await.unwrap();

    alice.tab_to("#done").await.unwrap();
    alice.press(&ENTER.to_string()).await.unwrap();
    alice.wait_for_text("typed").await.unwrap();
    alice.tab_to(".quick button").await.unwrap();
    alice.press(" ").await.unwrap();
    bob.wait_until("[...document.querySelectorAll('.body')].at(-1).innerText === 'Yes'").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pairing_and_a_reply_need_no_keyboard_but_the_one_on_the_screen() {
    let world = World::new().await;
    let (alice, bob) = (&world.alice.browser, &world.bob.browser);
    // As small as a screen may be.
    for browser in [alice, bob] {
        browser.resize(320, 480).await.unwrap();
    }
    bob.click("#keys").await.unwrap();
    world.alice.open("/pair").await;
    alice.click("form[action='/pair/invite'] button").await.unwrap();
    let link = alice.text("#uri").await.unwrap();

    world.bob.open("/pair").await;
    bob.click("#uri").await.unwrap();
    touch(bob, &link).await;
    control(bob, "enter").await;
    bob.click("#done").await.unwrap();
    bob.click("#text").await.unwrap();
    control(bob, "shift").await;
    touch(bob, "b").await;
    touch(bob, "ob: ").await;
    control(bob, "layer").await;
    touch(bob, "7€x").await;
    control(bob, "delete").await;
    bob.click(".send .main").await.unwrap();

    alice.click("#done").await.unwrap();
    alice.wait_for_text("Bob: 7€").await.unwrap();
    alice.click(".quick button:nth-of-type(2)").await.unwrap();
    bob.wait_until("[...document.querySelectorAll('.body')].at(-1).innerText === 'No'").await.unwrap();
}

/// Touches the keys of a text, each where it is.
async fn touch(browser: &Browser, text: &str) {
    for key in text.chars() {
        if key == ' ' {
            control(browser, "space").await;
            continue;
        }
        // A key may be in two layers.
        let selector = format!("#keyboard .layer:not([hidden]) [data-key={}]", json!(key.to_string()));
        let visible = format!("return document.querySelector({})?.checkVisibility() === true", json!(selector));
        if browser.run(&visible).await.unwrap() != json!(true) {
            control(browser, "layer").await;
        }
        browser.click(&selector).await.unwrap();
    }
}

async fn control(browser: &Browser, name: &str) {
    browser.click(&format!("#keyboard [data-control={name}]")).await.unwrap();
}
