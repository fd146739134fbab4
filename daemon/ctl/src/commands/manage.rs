//! The messenger as a whole: setting up, unlocking, its state.

use clap::CommandFactory as _;
use clap_complete::Shell;
use futures_util::StreamExt as _;
use kith_dbus::{
    DaemonState, Failure, LoggingMode, Manager1Proxy, Refusal, RefusalName, SetUpOptions, Task1Proxy, TaskState,
};
use serde_json::{Value, json};
use zbus::proxy::CacheProperties;

use crate::arguments::{Arguments, Switch};
use crate::bus;
use crate::console::Console;
use crate::error::CommandError;
use crate::text::safe;

pub(super) async fn set_up(
    arguments: &Arguments,
    console: &mut Console<'_>,
    display_name: Option<String>,
) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    let secret = console.secret("A new secret for the store: ", true)?.into();
    manager.set_up(&SetUpOptions { secret, display_name }).await?;
    let (state, client_id) = (manager.state().await?, manager.client_id().await?);
    let value = json!({ "state": state.word(), "client_id": client_id });
    console.result(arguments.json, &value, &format!("This device is {client_id}."))
}

pub(super) async fn unlock(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    let secret = console.secret("The store's secret: ", false)?;
    manager.unlock(&secret.into()).await?;
    let (state, client_id) = (manager.state().await?, manager.client_id().await?);
    let value = json!({ "state": state.word(), "client_id": client_id });
    console.result(arguments.json, &value, "The messenger is ready.")
}

pub(super) async fn rotate_key(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let path = bus::manager(&connection).await?.rotate_key().await?;
    let builder = Task1Proxy::builder(&connection).path(path).cache_properties(CacheProperties::No);
    let task = builder.build().await?;
    // First the signals, then the state: it may have ended before, or end in between.
    let mut ends = task.receive_finished().await?;
    if task.state().await? == TaskState::Running {
        console.remark("The store is being rewritten.")?;
        if ends.next().await.is_none() {
            return Err(Failure::NotReachable("it went away".to_owned()).into());
        }
    }
    match task.state().await? {
        TaskState::Done => console.result(arguments.json, &json!({ "rotated": true }), "The store has a new data key."),
        TaskState::Cancelled => Err(CommandError::Cancelled),
        TaskState::Failed | TaskState::Running | TaskState::Unknown => Err(why(&task).await?.into()),
    }
}

/// Why a task failed.
async fn why(task: &Task1Proxy<'_>) -> Result<Failure, CommandError> {
    let mut summary = task.summary().await?;
    let mut text = |key| summary.remove(key).and_then(|value| String::try_from(value).ok());
    let name = text("error").and_then(|name| RefusalName::from_full(&name)).unwrap_or(RefusalName::StorageFailed);
    Ok(Failure::Refused(Refusal::new(name, text("sentence").unwrap_or_default())))
}

pub(super) async fn lock(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    manager.lock().await?;
    let value = json!({ "state": manager.state().await?.word() });
    console.result(arguments.json, &value, "The messenger is locked.")
}

pub(super) async fn status(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    let (state, version, client_id) = (manager.state().await?, manager.version().await?, manager.client_id().await?);
    let mut value = json!({ "state": state.word(), "version": version, "client_id": client_id });
    let mut lines = vec![format!("state:      {}", state.word())];
    if !client_id.is_empty() {
        lines.push(format!("client id:  {}", safe(&client_id)));
    }
    if state == DaemonState::Ready {
        ready_status(&manager, &mut value, &mut lines).await?;
    }
    lines.push(format!("version:    {}", safe(&version)));
    console.result(arguments.json, &value, &lines.join("\n"))
}

async fn ready_status(
    manager: &Manager1Proxy<'_>,
    value: &mut Value,
    lines: &mut Vec<String>,
) -> Result<(), CommandError> {
    let (name, signaling) = (manager.display_name().await?, manager.signaling().await?);
    let (notice, unread) = (manager.logging_notice().await?, manager.unread().await?);
    lines.insert(0, format!("name:       {}", safe(&name)));
    lines.push(format!("signaling:  {}", signaling.word()));
    if notice.mode != LoggingMode::Unknown {
        lines.push(format!("its log:    {}", log_notice(notice.mode, &notice.text)));
    }
    lines.push(format!("unread:     {unread}"));
    let pin_set = manager.pin_set().await?;
    lines.push(format!("PIN:        {}", if pin_set { "set" } else { "none" }));
    value["pin_set"] = json!(pin_set);
    let relay_only = manager.relay_only().await?;
    lines.push(format!("address:    {}", seen_by(relay_only)));
    value["relay_only"] = json!(relay_only);
    value["display_name"] = json!(name);
    value["signaling"] = json!(signaling.word());
    value["logging_notice"] = json!({ "mode": notice.mode.word(), "text": notice.text });
    value["unread"] = json!(unread);
    Ok(())
}

/// Who sees this device's address.
fn seen_by(relay_only: bool) -> &'static str {
    if relay_only {
        "hidden from peers: links go over a relay only"
    } else {
        "peers with a direct link see it; `kithctl relay-only on` avoids that"
    }
}

pub(super) async fn relay_only(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wish: Option<Switch>,
) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    if let Some(wish) = wish {
        manager.set_relay_only(wish == Switch::On).await?;
    }
    let relay_only = manager.relay_only().await?;
    let sentence = format!("This device's address: {}.", seen_by(relay_only));
    console.result(arguments.json, &json!({ "relay_only": relay_only }), &sentence)
}

/// What the server's logging mode means, and the operator's words.
pub(super) fn log_notice(mode: LoggingMode, text: &str) -> String {
    let meaning = match mode {
        LoggingMode::Active => "shortened addresses",
        LoggingMode::Disabled => "nothing about connections",
        LoggingMode::Debug => "WARNING: full addresses",
        LoggingMode::Unknown => "unknown",
    };
    if text.is_empty() { meaning.to_owned() } else { format!("{meaning} ({})", safe(text)) }
}

pub(super) async fn name(arguments: &Arguments, console: &mut Console<'_>, name: &str) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    manager.set_display_name(name).await?;
    let name = manager.display_name().await?;
    let value = json!({ "display_name": name });
    console.result(arguments.json, &value, &format!("Invites carry the name {}.", safe(&name)))
}

pub(super) async fn receipts(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wish: Option<Switch>,
) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    if let Some(wish) = wish {
        manager.set_send_receipts(wish == Switch::On).await?;
    }
    let sends = manager.send_receipts().await?;
    let line = if sends { "Others are told what was read here." } else { "Nobody is told what was read here." };
    console.result(arguments.json, &json!({ "send_receipts": sends }), line)
}

pub(super) fn completions(console: &mut Console<'_>, shell: Shell) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "kithctl", &mut script);
    console.output.write_all(&script)?;
    Ok(())
}
