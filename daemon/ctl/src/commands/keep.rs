//! The store itself: checking it, destroying it.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use kith_dbus::{Failure, Task1Proxy, TaskState};
use serde_json::json;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use crate::arguments::Arguments;
use crate::bus;
use crate::console::Console;
use crate::error::CommandError;
use crate::text::safe;

type Summary = HashMap<String, OwnedVariant>;

pub(super) async fn check(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let task = bus::manager(&connection).await?.check().await?;
    let summary = tokio::select! {
        ended = ended(&connection, &task) => ended?,
        _ = tokio::signal::ctrl_c() => {
            // It may have ended by itself in this moment.
            let _ = proxy(&connection, &task).await?.cancel().await;
            return Err(CommandError::Cancelled);
        }
    };
    let number = |key: &str| summary.get(key).and_then(|value| u64::try_from(value.clone()).ok()).unwrap_or_default();
    let (checked, damaged) = (number("checked"), number("damaged"));
    let findings = summary.get("findings").and_then(|value| Vec::<String>::try_from(value.clone()).ok());
    let findings = findings.unwrap_or_default();
    let mut lines = vec![match damaged {
        0 => format!("{checked} values have been checked, and all are sound."),
        _ => format!("{damaged} of {checked} values are damaged:"),
    }];
    lines.extend(findings.iter().map(|finding| format!("- {}", safe(finding))));
    if damaged > findings.len() as u64 {
        lines.push(format!("- and {} more.", damaged - findings.len() as u64));
    }
    let value = json!({ "checked": checked, "damaged": damaged, "findings": findings });
    console.result(arguments.json, &value, &lines.join("\n"))?;
    if damaged == 0 { Ok(()) } else { Err(CommandError::Damaged) }
}

pub(super) async fn wipe(arguments: &Arguments, console: &mut Console<'_>, yes: bool) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    if !yes {
        if !console.input_is_terminal {
            return Err(CommandError::Usage("Wiping asks first, and nobody can answer: pass --yes.".to_owned()));
        }
        let question = "Destroy this device's identity, its contacts and all messages, for ever?";
        if !console.agrees(question)? {
            return Err(CommandError::Cancelled);
        }
    }
    let secret = console.secret("The store's secret: ", false)?;
    manager.wipe(&secret.into()).await?;
    let value = json!({ "state": manager.state().await?.word() });
    console.result(arguments.json, &value, "Everything is wiped: this device has no identity any more.")
}

/// What came of a task.
async fn ended(connection: &Connection, path: &OwnedObjectPath) -> Result<Summary, CommandError> {
    let task = proxy(connection, path).await?;
    // Before the question, so that the end does not fall between the two.
    let mut finished = task.receive_finished().await?;
    let (mut state, mut summary) = (task.state().await?, task.summary().await?);
    if state == TaskState::Running {
        let Some(signal) = finished.next().await else {
            return Err(Failure::NotReachable("the bus closed the connection".to_owned()).into());
        };
        let args = signal.args()?;
        (state, summary) = (args.state, args.summary);
    }
    let sentence = || summary.get("sentence").and_then(|text| String::try_from(text.clone()).ok()).unwrap_or_default();
    match state {
        TaskState::Done => Ok(summary),
        TaskState::Cancelled => Err(CommandError::Cancelled),
        TaskState::Failed | TaskState::Running | TaskState::Unknown => Err(CommandError::TaskFailed(sentence())),
    }
}

async fn proxy(connection: &Connection, path: &OwnedObjectPath) -> Result<Task1Proxy<'static>, CommandError> {
    let builder = Task1Proxy::builder(connection).path(path.clone());
    Ok(builder.cache_properties(CacheProperties::No).build().await?)
}
