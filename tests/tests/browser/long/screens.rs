//! Every screen as people see it, in `target/screenshots/`, and whether everybody can use it.

use std::path::{Path, PathBuf};

use kith_system_tests::{Browser, Device, Kiosk, Logging, Programs};
use serde_json::{Value, json};

use crate::{Station, World};

/// A small display, a usual panel, a large screen.
const SIZES: [(u32, u32); 3] = [(320, 480), (1024, 600), (1920, 1080)];

/// The languages of the pages.
const LANGUAGES: [&str; 2] = ["en", "de"];

/// What axe-core finds of the kinds that it is sure of; `region` and its like are among them.
const AXE: &str = "axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations.map(
    (violation) => `${violation.id}: ${violation.nodes.map((node) => node.target).join(', ')}`)))";

/// What is too small to be touched: everything that can be is 48 pixels high and wide, but for links in a text and what a
/// label makes larger.
const SMALL: &str = "return [...document.querySelectorAll('a[href], button, summary, input, textarea')]
    .filter((it) => it.checkVisibility() && !it.closest('.skip, label') && it.type !== 'hidden')
    .map((it) => [it, it.getBoundingClientRect()]).filter(([, box]) => box.height < 47.5 || box.width < 47.5)
    .map(([it, box]) => `${it.outerHTML.slice(0, 120)} ${box.width}×${box.height}`)";

/// What is wider than the screen.
const WIDE: &str = "return document.documentElement.scrollWidth > innerWidth ? [
    `${document.documentElement.scrollWidth} > ${innerWidth}`,
    ...[...document.querySelectorAll('main *')].filter((it) => it.getBoundingClientRect().right > innerWidth + 1)
        .map((it) => it.outerHTML.slice(0, 100))] : []";

/// Looks at pages and keeps what is wrong with them.
struct Camera {
    folder: PathBuf,
    axe: String,
    wrong: Vec<String>,
    taken: usize,
}

impl Camera {
    fn new() -> Self {
        let target = Programs::locate().unwrap().folder().parent().unwrap();
        let folder = target.join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let axe = target.join("tools/axe-core/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(&axe)
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask setup` fetches it", axe.display()));
        Self { folder, axe, wrong: Vec::new(), taken: 0 }
    }

    /// Takes the page that a browser shows in every size, light and dark.
    async fn take(&mut self, browser: &Browser, name: &str, language: &str) {
        browser.run(&self.axe).await.unwrap();
        for (width, height) in SIZES {
            browser.resize(width, height).await.unwrap();
            for (dark, scheme) in [(false, "light"), (true, "dark")] {
                browser.prefer_dark(dark).await.unwrap();
                let file = format!("{name}.{language}.{width}x{height}.{scheme}");
                let image = browser.screenshot().await.unwrap();
                std::fs::write(self.folder.join(format!("{file}.png")), image).unwrap();
                self.taken += 1;
                self.blame(&file, &browser.run_async(AXE).await.unwrap());
            }
            let file = format!("{name}.{language}.{width}x{height}");
            for script in [SMALL, WIDE] {
                self.blame(&file, &browser.run(script).await.unwrap());
            }
        }
    }

    fn blame(&mut self, file: &str, found: &Value) {
        let found = found.as_array().unwrap().iter().map(|one| format!("{file}: {}", one.as_str().unwrap()));
        self.wrong.extend(found);
    }

    /// Goes to a page and takes it in every language.
    async fn visit(&mut self, station: &Station, name: &str, path: &str) {
        for language in LANGUAGES {
            station.speak(language).await;
            station.open(path).await;
            self.take(&station.browser, name, language).await;
        }
    }

    fn finish(self) {
        eprintln!("{} screenshots in {}", self.taken, Path::new(&self.folder).display());
        assert!(self.wrong.is_empty(), "{} faults:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_screen_of_a_messenger_in_use_can_be_seen_read_and_touched() {
    let mut camera = Camera::new();
    let world = World::paired().await;
    let alice = &world.alice;
    furnish(&world).await;
    let talk = page_of(alice, "/c/peer/").await;
    let room = page_of(alice, "/c/room/").await;
    let pages = [
        ("home", "/".to_owned()),
        ("conversation", talk.clone()),
        ("contact", format!("{talk}/about")),
        ("room", format!("{room}/about")),
        ("new-room", "/rooms/new".to_owned()),
        ("pair", "/pair".to_owned()),
        ("settings", "/settings".to_owned()),
        ("backup", "/backup".to_owned()),
        ("idle", "/idle".to_owned()),
        ("gone", "/no-such-page".to_owned()),
    ];
    for (name, path) in pages {
        camera.visit(alice, name, &path).await;
    }
    for language in LANGUAGES {
        alice.speak(language).await;
        alice.open(&talk).await;
        alice.browser.click("#keys").await.unwrap();
        alice.browser.click("#text").await.unwrap();
        alice.browser.wait_for("#keyboard").await.unwrap();
        camera.take(&alice.browser, "keyboard", language).await;
        alice.browser.click("#keyboard [data-control=layer]").await.unwrap();
        camera.take(&alice.browser, "keyboard-signs", language).await;
        alice.browser.resize(1024, 600).await.unwrap();
        alice.browser.run("localStorage.clear()").await.unwrap();
    }
    camera.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_screen_of_what_is_under_way_can_be_seen_read_and_touched() {
    let mut camera = Camera::new();
    let world = World::new().await;
    let fresh = Station::in_front_of(Device::start_new("fresh", &world.server.url()).await.unwrap()).await;
    let (alice, bob) = (&world.alice, &world.bob);
    for language in LANGUAGES {
        alice.speak(language).await;
        alice.open("/pair").await;
        alice.browser.click("form[action='/pair/invite'] button").await.unwrap();
        alice.browser.wait_for(".qr").await.unwrap();
        camera.take(&alice.browser, "pairing-invite", language).await;
        alice.browser.click("#pairing form button").await.unwrap();

        alice.browser.click("form[action='/pair/compare']:not(.line) button").await.unwrap();
        let code = alice.browser.text("#code").await.unwrap();
        camera.take(&alice.browser, "pairing-code", language).await;
        bob.open("/pair").await;
        bob.browser.fill("#code", &format!("{code}\n")).await.unwrap();
        alice.browser.wait_for("#digits").await.unwrap();
        camera.take(&alice.browser, "pairing-digits", language).await;
        bob.browser.wait_for("#digits").await.unwrap();
        bob.browser.click("#pairing form:last-of-type button:not(.main)").await.unwrap();
        alice.browser.wait_for("#pairing .bad").await.unwrap();
        camera.take(&alice.browser, "pairing-failed", language).await;

        fresh.browser.click(&format!("main button[lang={language}]")).await.unwrap();
        fresh.browser.wait_until(&format!("document.documentElement.lang === {}", json!(language))).await.unwrap();
        camera.take(&fresh.browser, "set-up", language).await;
    }
    world.server.change(Logging::Debug).unwrap();
    alice.open("/").await;
    alice.browser.wait_for(".warning").await.unwrap();
    camera.visit(alice, "home-debug", "/").await;
    camera.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_screen_that_stands_in_the_way_can_be_seen_read_and_touched() {
    let mut camera = Camera::new();
    let mut world = World::new().await;
    let visitor = world.alice.device.invite().await.unwrap();
    world.bob.device.accept(&visitor).await.unwrap();
    for language in LANGUAGES {
        world.alice.speak(language).await;
        world.alice.device.lock().await.unwrap();
        world.alice.browser.wait_until("document.body.dataset.page === 'locked'").await.unwrap();
        camera.take(&world.alice.browser, "locked", language).await;
        world.alice.device.stop().unwrap();
        world.alice.browser.wait_until("document.body.dataset.page === 'away'").await.unwrap();
        camera.take(&world.alice.browser, "away", language).await;
        world.alice.device.run_again().await.unwrap();
        world.alice.browser.wait_for("nav.actions, .card").await.unwrap();

        world.bob.speak(language).await;
        world.bob.open("/").await;
        world.bob.kiosk.kill();
        world.bob.browser.wait_for("#lost").await.unwrap();
        camera.take(&world.bob.browser, "lost", language).await;
        world.bob.kiosk.run().await.unwrap();
        world.bob.browser.wait_until("document.getElementById('lost').hidden").await.unwrap();
    }
    let alice = world.bob.device.messenger().await.unwrap().conversation().await.unwrap().peer().await.unwrap();
    let kiosk = Kiosk::start_for_visitors(world.bob.device.bus_address(), &format!("peer/{alice}")).await.unwrap();
    let browser = Browser::start().await.unwrap();
    browser.open(&format!("{}/", kiosk.url())).await.unwrap();
    camera.take(&browser, "signed-out", "en").await;
    browser.open(&kiosk.login_url("visitor").unwrap()).await.unwrap();
    browser.wait_for(".quick").await.unwrap();
    camera.take(&browser, "visitor", "en").await;
    camera.finish();
}

/// Something to look at.
async fn furnish(world: &World) {
    let (alice, bob) = (&world.alice, &world.bob);
    alice.say("Good morning! The delivery is at the back door.").await;
    bob.browser.wait_for_text("back door").await.unwrap();
    bob.say("Thank you. I am on my way, it will take a few minutes because the lift is being repaired.").await;
    alice.browser.wait_for_text("lift is being").await.unwrap();
    alice
        .say("https://example.org/a/very/long/address/without/any/space/that/has/to/be/broken/somewhere/0123456789")
        .await;
    alice.browser.click(".quick button").await.unwrap();
    alice.open("/rooms/new").await;
    alice.browser.fill("#name", "Ground floor").await.unwrap();
    alice.browser.click("input[name=member]").await.unwrap();
    alice.browser.click("main form .main").await.unwrap();
    alice.browser.wait_for("#text").await.unwrap();
    bob.open("/").await;
    bob.browser.click(".talks a[href^='/c/room/']").await.unwrap();
    bob.say("Who has the key?").await;
    alice.browser.wait_for_text("Who has the key?").await.unwrap();
    alice.open("/").await;
    bob.say("I do not.").await;
    alice.browser.wait_for(".count").await.unwrap();
}

/// The address of the only conversation of a kind.
async fn page_of(station: &Station, beginning: &str) -> String {
    station.open("/").await;
    let selector = format!(".talks a[href^='{beginning}']");
    station.browser.wait_for(&selector).await.unwrap();
    let script = format!("return document.querySelector({}).getAttribute('href')", json!(selector));
    station.browser.run(&script).await.unwrap().as_str().unwrap().to_owned()
}
