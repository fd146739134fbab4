//! The store itself: checking it, destroying it.

use kith_dbus::RetentionChoice;
use serde_json::json;

use super::guard::dangerous;
use super::task;
use crate::arguments::{self, Arguments};
use crate::bus;
use crate::console::Console;
use crate::error::CommandError;
use crate::text::safe;

pub(super) async fn check(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let task = bus::manager(&connection).await?.check().await?;
    let summary = task::followed(&connection, &task, console, arguments.json).await?;
    let (checked, damaged, findings) =
        (summary.number("checked"), summary.number("damaged"), summary.texts("findings"));
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

pub(super) async fn retention(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wish: &arguments::Retention,
) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    let choice = RetentionChoice {
        messages_max: wish.messages,
        bytes_max: wish.bytes,
        total_messages_max: wish.total_messages,
        total_bytes_max: wish.total_bytes,
        days_max: wish.days,
    };
    if wish.reset || choice != RetentionChoice::default() {
        manager.set_retention(choice).await?;
    }
    let kept = manager.retention().await?;
    let lines = [
        ("each conversation", kept.messages_max, "messages"),
        ("each conversation", kept.bytes_max, "bytes"),
        ("all conversations", kept.total_messages_max, "messages"),
        ("all conversations", kept.total_bytes_max, "bytes"),
        ("each message", kept.days_max, "days"),
    ];
    let lines = lines.map(|(of, amount, unit)| match amount {
        0 => format!("{of}:  {unit} without end"),
        amount => format!("{of}:  {amount} {unit}"),
    });
    let value = json!({
        "messages_max": kept.messages_max,
        "bytes_max": kept.bytes_max,
        "total_messages_max": kept.total_messages_max,
        "total_bytes_max": kept.total_bytes_max,
        "days_max": kept.days_max,
    });
    console.result(arguments.json, &value, &lines.join("\n"))
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
    dangerous(&manager, console, async || manager.wipe(kith_dbus::WIPE_WORD).await).await?;
    let value = json!({ "state": manager.state().await?.word() });
    console.result(arguments.json, &value, "Everything is wiped: this device has no identity any more.")
}
