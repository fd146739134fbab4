//! The kiosk's pages in front of a device, and a browser that can only ask for them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Process, Programs, within};

/// How long the kiosk may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A running `kith-kiosk`. Stopped and run again, it is at the same address.
#[derive(Debug)]
pub struct Kiosk {
    bus_address: String,
    visitor: Option<String>,
    address: String,
    process: Option<Process>,
    folder: TempDir,
}

/// A session with a kiosk, without a browser around it.
#[derive(Clone, Debug)]
pub struct KioskSession {
    address: String,
    cookie: String,
}

impl Kiosk {
    /// In front of the messenger on this bus.
    pub async fn start(bus_address: &str) -> Result<Self> {
        Self::start_with(bus_address, None).await
    }

    /// The same with a conversation for visitors, `peer/CLIENT-ID` or `room/ID`.
    pub async fn start_for_visitors(bus_address: &str, conversation: &str) -> Result<Self> {
        Self::start_with(bus_address, Some(conversation.to_owned())).await
    }

    async fn start_with(bus_address: &str, visitor: Option<String>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kith-kiosk-").tempdir()?;
        let (bus_address, address) = (bus_address.to_owned(), "127.0.0.1:0".to_owned());
        let mut kiosk = Self { bus_address, visitor, address, process: None, folder };
        kiosk.run().await?;
        Ok(kiosk)
    }

    /// Runs it; returns when it can be connected to.
    pub async fn run(&mut self) -> Result<()> {
        let program = Programs::locate()?.path("kith-kiosk");
        let runtime = self.runtime_folder().display().to_string();
        let mut args = vec!["--listen", &self.address, "--bus-address", &self.bus_address, "--runtime-dir", &runtime];
        if let Some(visitor) = &self.visitor {
            args.extend(["--visitor", visitor]);
        }
        let mut process = Process::start("kith-kiosk", &program, &args, self.folder.path())?;
        self.address = process.wait_for_line("listening on ", START_MAX).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it in order.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.terminate())
    }

    /// Ends it like a crash.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Where its pages are.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that lets a browser in, once; `file` says for what: `login` or `visitor`.
    pub fn login_url(&self, file: &str) -> Result<String> {
        let url = std::fs::read_to_string(self.runtime_folder().join(file)).context("a login address")?;
        Ok(url.trim().to_owned())
    }

    /// Signs in.
    pub async fn sign_in(&self, file: &str) -> Result<KioskSession> {
        let url = self.login_url(file)?;
        let (_, token) = url.split_once('#').context("a login address ends with its token")?;
        let nobody = self.stranger();
        let answer = nobody.send("/enter", token).await?;
        let cookie = answer.split("set-cookie: ").nth(1).and_then(|rest| rest.split(';').next());
        Ok(KioskSession { cookie: cookie.context("a session")?.to_owned(), ..nobody })
    }

    /// Somebody who has not signed in.
    pub fn stranger(&self) -> KioskSession {
        KioskSession { address: self.address.clone(), cookie: String::new() }
    }

    /// The running program, to look at from outside.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn runtime_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }
}

impl KioskSession {
    /// A page, with the answer's headers.
    pub async fn page(&self, path: &str) -> Result<String> {
        self.ask(&format!("GET {path}"), "").await
    }

    /// Sends a form as a browser does: with its token, from a page of the kiosk that has one.
    pub async fn submit(&self, page: &str, path: &str, fields: &str) -> Result<String> {
        let page = self.page(page).await?;
        let token = page.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let Some(token) = token else { bail!("a page without a form: {page}") };
        self.send(path, &format!("token={token}&{fields}")).await
    }

    async fn send(&self, path: &str, body: &str) -> Result<String> {
        self.ask(&format!("POST {path}"), body).await
    }

    async fn ask(&self, request: &str, body: &str) -> Result<String> {
        within(ANSWER_MAX, request, async {
            let Self { address, cookie } = self;
            let mut stream = TcpStream::connect(address).await?;
            let head = format!(
                "{request} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: {cookie}\r\n\
                 Connection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        })
        .await
    }
}
