//! Debian's Chromium, driven over WebDriver (W3C Recommendation 5 June 2018) by its own driver.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::Process;

/// How long the driver may take to start.
const START_MAX: Duration = Duration::from_secs(30);

/// How long anything in a page may take to come about: devices notice each other again after an outage at their own pace.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// How long the driver may take for one answer, a little longer than what it waits for.
const ANSWER_MAX: Duration = Duration::from_secs(100);

/// What Chromium is started with: no network of its own, no first-run pages.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",
];

/// The key by which WebDriver names an element (§11.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The Tab key (§17.4.2).
pub const TAB: char = '\u{e004}';

/// The Enter key.
pub const ENTER: char = '\u{e007}';

/// The space bar, which presses what has the focus.
pub const SPACE: char = ' ';

/// A browser with one page.
pub struct Browser {
    port: u16,
    session: String,
    driver: Process,
    _folder: TempDir,
}

impl Browser {
    /// Starts one that has never been anywhere.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kith-browser-").tempdir()?;
        // Processes of its own: the driver leaves its browser behind when it is killed, and they end with it.
        let own = ["--pid", "--fork", "--kill-child", "--mount-proc", "chromedriver", "--port=0"];
        let mut driver = Process::start("chromedriver", Path::new("unshare"), &own, folder.path())?;
        let port = driver.wait_for_line("ChromeDriver was started successfully on port ", START_MAX).await?;
        let port = port.trim_end_matches('.').parse().context("the driver's port")?;
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let arguments: Vec<&str> = ARGUMENTS.iter().copied().chain([profile.as_str()]).collect();
        let wait_ms = u64::try_from(WAIT_MAX.as_millis())?;
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "script": wait_ms, "pageLoad": wait_ms },
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments },
        } } });
        let created = ask(port, "POST", "/session", capabilities).await?;
        let session = created["sessionId"].as_str().context("a session")?.to_owned();
        Ok(Self { port, session, driver, _folder: folder })
    }

    /// Goes to an address.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.post("url", json!({ "url": url })).await.map(drop)
    }

    /// Opens an address in a tab of its own, and goes there.
    pub async fn open_tab(&self, url: &str) -> Result<()> {
        let tab = self.post("window/new", json!({ "type": "tab" })).await?;
        self.post("window", json!({ "handle": tab["handle"] })).await?;
        self.open(url).await
    }

    /// Where it is.
    pub async fn url(&self) -> Result<String> {
        let url = ask(self.port, "GET", &format!("/session/{}/url", self.session), Value::Null).await?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    /// Touches the element that a selector finds.
    pub async fn click(&self, selector: &str) -> Result<()> {
        self.wait_for(selector).await?;
        let element = self.element(selector).await?;
        self.post(&format!("element/{element}/click"), json!({})).await.map(drop).context(selector.to_owned())
    }

    /// Types into the element that a selector finds.
    pub async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.wait_for(selector).await?;
        let element = self.element(selector).await?;
        let text = json!({ "text": text });
        self.post(&format!("element/{element}/value"), text).await.map(drop).context(selector.to_owned())
    }

    /// Presses keys, wherever the focus is.
    pub async fn press(&self, keys: &str) -> Result<()> {
        let strokes = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })));
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>() });
        self.post("actions", json!({ "actions": [keyboard] })).await.map(drop)
    }

    /// Moves the focus by the Tab key until it is on what a selector finds.
    pub async fn tab_to(&self, selector: &str) -> Result<()> {
        const STOPS_MAX: usize = 60;
        self.wait_for(selector).await?;
        for _ in 0..STOPS_MAX {
            let reached = format!("return document.activeElement.matches({})", json!(selector));
            if self.run(&reached).await? == Value::Bool(true) {
                return Ok(());
            }
            self.press(&TAB.to_string()).await?;
        }
        bail!("{selector} is not reached by the Tab key")
    }

    /// Runs a script in the page and returns what it returns.
    pub async fn run(&self, script: &str) -> Result<Value> {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Runs a script that calls `done` with what is to be returned.
    pub async fn run_async(&self, script: &str) -> Result<Value> {
        let script = format!("const done = arguments[arguments.length - 1]; {script}");
        self.post("execute/async", json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression is true in the page, whichever page it is by then.
    pub async fn wait_until(&self, expression: &str) -> Result<()> {
        let script = format!(
            "const is = () => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }};
             if (is()) return done(true);
             const watch = new MutationObserver(() => {{ if (is()) {{ watch.disconnect(); done(true); }} }});
             watch.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});"
        );
        let waited = tokio::time::timeout(WAIT_MAX, async {
            // A page that goes away ends its scripts; the next one is asked again.
            while let Err(error) = self.run_async(&script).await {
                if error.to_string().contains("timeout") {
                    return Err(error);
                }
            }
            Ok(())
        });
        match waited.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                let shown = self.run("return document.body.innerText").await.unwrap_or_default();
                let page = self.url().await.unwrap_or_default();
                bail!("`{expression}` is not true within {WAIT_MAX:?} on {page}: {shown}")
            }
        }
    }

    /// Waits until a selector finds something that is to be seen.
    pub async fn wait_for(&self, selector: &str) -> Result<()> {
        let selector = json!(selector);
        self.wait_until(&format!("document.querySelector({selector})?.checkVisibility()")).await
    }

    /// Waits until the page shows a text.
    pub async fn wait_for_text(&self, text: &str) -> Result<()> {
        self.wait_until(&format!("document.body.innerText.includes({})", json!(text))).await
    }

    /// The text of the element that a selector finds.
    pub async fn text(&self, selector: &str) -> Result<String> {
        self.wait_for(selector).await?;
        let text = self.run(&format!("return document.querySelector({}).innerText", json!(selector))).await?;
        Ok(text.as_str().unwrap_or_default().trim().to_owned())
    }

    /// Gives the page another size, in CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await
    }

    /// Lets the page be seen by somebody who likes it dark, or light.
    pub async fn prefer_dark(&self, dark: bool) -> Result<()> {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await
    }

    /// What the page looks like, as a PNG.
    pub async fn screenshot(&self) -> Result<Vec<u8>> {
        let image = ask(self.port, "GET", &format!("/session/{}/screenshot", self.session), Value::Null).await?;
        Ok(BASE64.decode(image.as_str().unwrap_or_default().as_bytes())?)
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Result<()> {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await.map(drop)
    }

    async fn element(&self, selector: &str) -> Result<String> {
        let found = self.post("element", json!({ "using": "css selector", "value": selector })).await?;
        Ok(found[ELEMENT].as_str().context("an element")?.to_owned())
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        ask(self.port, "POST", &format!("/session/{}/{path}", self.session), body).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser; without a driver there is none.
        let _ = ask_blocking(self.port, "DELETE", &format!("/session/{}", self.session), &Value::Null);
        // `unshare` waits for its child whatever it is asked.
        self.driver.kill();
    }
}

/// Asks the driver, which answers with a value or says what went wrong.
async fn ask(port: u16, method: &'static str, path: &str, body: Value) -> Result<Value> {
    let path = path.to_owned();
    spawn_blocking(move || ask_blocking(port, method, &path, &body)).await?
}

fn ask_blocking(port: u16, method: &str, path: &str, body: &Value) -> Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer: Value = serde_json::from_slice(&read_body(&mut BufReader::new(stream))?)?;
    let value = answer["value"].take();
    match value["error"].as_str() {
        Some(error) => Err(anyhow!("{error}: {}", value["message"].as_str().unwrap_or_default())),
        None => Ok(value),
    }
}

/// The body of an answer. The driver leaves its connections open, whatever it is asked.
fn read_body(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut length = 0;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}
