//! Stations: a device, the kiosk's pages in front of it, and a browser that shows them.

use kith_system_tests::{Browser, Device, Kiosk, Logging, Server};
use serde_json::json;

/// A server and two stations.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) alice: Station,
    pub(crate) bob: Station,
}

/// A device with its screen.
pub(crate) struct Station {
    pub(crate) device: Device,
    pub(crate) kiosk: Kiosk,
    pub(crate) browser: Browser,
}

impl World {
    /// Two stations that do not know each other.
    pub(crate) async fn new() -> Self {
        let server = Server::start(Logging::Active).await.unwrap();
        let alice = Station::start("alice", &server).await;
        let bob = Station::start("bob", &server).await;
        Self { server, alice, bob }
    }

    /// Two stations whose devices are paired, each showing their conversation.
    pub(crate) async fn paired() -> Self {
        let world = Self::new().await;
        world.bob.device.accept(&world.alice.device.invite().await.unwrap()).await.unwrap();
        for station in [&world.alice, &world.bob] {
            station.browser.click(".talks a").await.unwrap();
            station.browser.wait_for("#text").await.unwrap();
        }
        world
    }
}

impl Station {
    /// A device that is set up, and a browser on its first page.
    pub(crate) async fn start(name: &str, server: &Server) -> Self {
        Self::in_front_of(Device::start(name, &server.url()).await.unwrap()).await
    }

    /// A browser on the first page of a device.
    pub(crate) async fn in_front_of(device: Device) -> Self {
        let kiosk = Kiosk::start(device.bus_address()).await.unwrap();
        let browser = Browser::start().await.unwrap();
        browser.resize(1024, 600).await.unwrap();
        browser.open(&kiosk.login_url("login").unwrap()).await.unwrap();
        browser.wait_until("document.body.dataset.page && document.body.dataset.page !== 'enter'").await.unwrap();
        Self { device, kiosk, browser }
    }

    /// Goes to a page.
    pub(crate) async fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.kiosk.url())).await.unwrap();
    }

    /// Types a message and sends it by touching the button.
    pub(crate) async fn say(&self, text: &str) {
        self.browser.fill("#text", text).await.unwrap();
        self.browser.click(".send .main").await.unwrap();
    }

    /// Chooses a language on the settings page.
    pub(crate) async fn speak(&self, code: &str) {
        self.open("/settings").await;
        self.browser.click(&format!("main button[lang={code}]")).await.unwrap();
        self.browser.wait_until(&format!("document.documentElement.lang === {}", json!(code))).await.unwrap();
    }

    /// Marks the page, so that one that was loaded anew is known.
    pub(crate) async fn mark(&self) {
        self.browser.run("window.isTheSame = true").await.unwrap();
    }

    /// Whether it is still the page that was marked.
    pub(crate) async fn is_marked(&self) -> bool {
        self.browser.run("return window.isTheSame === true").await.unwrap() == json!(true)
    }
}
