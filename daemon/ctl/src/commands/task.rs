//! Long work: following it, showing how far it is, and taking it back.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use kith_dbus::{Failure, Refusal, RefusalName, Task1Proxy, TaskState};
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use crate::console::Console;
use crate::error::CommandError;

/// Characters of the bar that grows.
const BAR_CHARS: u64 = 32;

/// What came of a task.
#[derive(Debug, Default)]
pub(super) struct Summary(HashMap<String, OwnedVariant>);

impl Summary {
    /// A number, 0 if it is left out.
    pub(super) fn number(&self, key: &str) -> u64 {
        self.0.get(key).and_then(|value| u64::try_from(value.clone()).ok()).unwrap_or_default()
    }

    /// Yes or no, no if it is left out.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.0.get(key).and_then(|value| bool::try_from(value.clone()).ok()).unwrap_or_default()
    }

    /// A text, empty if it is left out.
    pub(super) fn text(&self, key: &str) -> String {
        self.0.get(key).and_then(|value| String::try_from(value.clone()).ok()).unwrap_or_default()
    }

    /// Several texts.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        self.0.get(key).and_then(|value| Vec::<String>::try_from(value.clone()).ok()).unwrap_or_default()
    }
}

/// Follows a task to its end, and gives what came of it. Ctrl-C cancels it.
pub(super) async fn followed(
    connection: &Connection,
    path: &OwnedObjectPath,
    console: &mut Console<'_>,
    json: bool,
) -> Result<Summary, CommandError> {
    let task = Task1Proxy::builder(connection).path(path.clone()).build().await?;
    let shows = console.output_is_terminal && !json;
    let ended = tokio::select! {
        ended = ended(&task, console, shows) => ended,
        _ = tokio::signal::ctrl_c() => {
            // It may have ended by itself in this moment.
            let _ = task.cancel().await;
            Err(CommandError::Cancelled)
        }
    };
    if shows {
        // Over the bar.
        write!(console.errors, "\r\x1b[K")?;
    }
    ended
}

async fn ended(task: &Task1Proxy<'_>, console: &mut Console<'_>, shows: bool) -> Result<Summary, CommandError> {
    // Before the question, so that the end does not fall between the two.
    let mut finished = task.receive_finished().await?;
    let mut progress = task.receive_done_changed().await;
    let (mut state, mut summary) = (task.state().await?, task.summary().await?);
    while state == TaskState::Running {
        tokio::select! {
            signal = finished.next() => {
                let Some(signal) = signal else {
                    return Err(Failure::NotReachable("the bus closed the connection".to_owned()).into());
                };
                let args = signal.args()?;
                (state, summary) = (args.state, args.summary);
            }
            Some(done) = progress.next(), if shows => {
                write!(console.errors, "\r{}", bar(done.get().await?, task.total().await?))?;
                console.errors.flush()?;
            }
        }
    }
    let summary = Summary(summary);
    match state {
        TaskState::Done => Ok(summary),
        TaskState::Cancelled => Err(CommandError::Cancelled),
        TaskState::Failed | TaskState::Running | TaskState::Unknown => Err(failed(&summary)),
    }
}

/// As if the call itself had been refused.
fn failed(summary: &Summary) -> CommandError {
    let sentence = summary.text("sentence");
    match RefusalName::from_full(&summary.text("error")) {
        Some(name) => Failure::Refused(Refusal::new(name, sentence)).into(),
        None => CommandError::TaskFailed(sentence),
    }
}

fn bar(done: u64, total: u64) -> String {
    let part = |of: u64| done.min(total).saturating_mul(of).checked_div(total).unwrap_or(0);
    let full = usize::try_from(part(BAR_CHARS)).unwrap_or_default();
    let empty = usize::try_from(BAR_CHARS).unwrap_or_default().saturating_sub(full);
    format!("[{}{}] {:>3} %", "#".repeat(full), " ".repeat(empty), part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_from_nothing_to_all_and_not_beyond() {
        assert_eq!(bar(0, 0), format!("[{}]   0 %", " ".repeat(32)));
        assert_eq!(bar(1, 2), format!("[{}{}]  50 %", "#".repeat(16), " ".repeat(16)));
        assert_eq!(bar(9, 8), format!("[{}] 100 %", "#".repeat(32)));
    }
}
