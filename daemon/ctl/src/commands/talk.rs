//! Sending, and reading history.

use std::time::Duration;

use futures_util::StreamExt as _;
use kith_dbus::{Conversation1Proxy, Failure, MessageState, Row, SendOptions, StateChangedStream};
use serde_json::json;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use super::message;
use crate::arguments::{self, Arguments};
use crate::bus::{self, Target};
use crate::console::Console;
use crate::error::CommandError;
use crate::text::safe;

/// The protocol's largest body. The daemon says so in its own words when it is exceeded.
const BODY_BYTES_MAX: u64 = 12_288;

/// How far back a message is looked for that the daemon may have had before: a repeated key means
/// a retry, and retries come soon.
const LOOK_BACK_ROWS: u64 = 256;

/// Rows asked for at once; the daemon may answer with fewer.
const PAGE_ROWS: u32 = 64;

pub(super) async fn send(
    arguments: &Arguments,
    console: &mut Console<'_>,
    send: &arguments::Send,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let target = bus::find_target(&connection, &send.to).await?;
    let body = body(console, send)?;
    let conversation = proxy(&connection, &target).await?;
    // Before the message exists, so that no change of its state is missed.
    let changes = match send.wait {
        Some(seconds) => Some((seconds, conversation.receive_state_changed().await?)),
        None => None,
    };
    let options = SendOptions { reply_to: send.reply_to.clone(), ttl_s: send.ttl, idempotency_key: send.key.clone() };
    let id = conversation.send(&send.content_type, &body, &options).await?;
    let state = match changes {
        Some((seconds, changes)) => {
            wait(&conversation, changes, &id, seconds).await?;
            MessageState::Delivered
        }
        None => MessageState::Queued,
    };
    let (kind, named) = target.named();
    let value = json!({ "id": id, kind: named, "state": state.word() });
    console.result(arguments.json, &value, &format!("{id} {}", state.word()))
}

fn body(console: &mut Console<'_>, send: &arguments::Send) -> Result<Vec<u8>, CommandError> {
    if let Some(text) = &send.text {
        return Ok(text.clone().into_bytes());
    }
    if console.input_is_terminal {
        console.remark("The message, and Ctrl-D at its end:")?;
    }
    // One byte more than a body may have, and one for the newline that is left out.
    let mut body = console.all_input(BODY_BYTES_MAX + 2)?;
    if send.content_type == "text/plain" && body.last() == Some(&b'\n') {
        body.pop();
    }
    Ok(body)
}

async fn wait(
    conversation: &Conversation1Proxy<'_>,
    mut changes: StateChangedStream,
    id: &str,
    seconds: u32,
) -> Result<(), CommandError> {
    let delivered = async {
        // A repeated message may have been delivered long ago.
        if was_delivered(conversation, id).await? {
            return Ok(());
        }
        while let Some(change) = changes.next().await {
            let change = change.args()?;
            if change.id == id && is_there(change.state) {
                return Ok(());
            }
        }
        Err(Failure::NotReachable("the bus closed the connection".to_owned()).into())
    };
    match tokio::time::timeout(Duration::from_secs(seconds.into()), delivered).await {
        Ok(result) => result,
        Err(_) => Err(CommandError::TimedOut(format!(
            "The message {id} is queued, but was not delivered within {seconds} s."
        ))),
    }
}

async fn was_delivered(conversation: &Conversation1Proxy<'_>, id: &str) -> Result<bool, CommandError> {
    let after = conversation.last_seq().await?.saturating_sub(LOOK_BACK_ROWS);
    let rows = page(conversation, after, LOOK_BACK_ROWS as usize).await?;
    Ok(rows.iter().any(|row| row.id == id && is_there(row.state)))
}

/// Whether a message is on the receiver's disk.
fn is_there(state: MessageState) -> bool {
    matches!(state, MessageState::Delivered | MessageState::Read)
}

pub(super) async fn history(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wanted: &str,
    count: u32,
    after: Option<u64>,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let target = bus::find_target(&connection, wanted).await?;
    let conversation = proxy(&connection, &target).await?;
    let after = match after {
        Some(after) => after,
        None => conversation.last_seq().await?.saturating_sub(u64::from(count)),
    };
    let rows = page(&conversation, after, count as usize).await?;
    if arguments.json {
        let messages: Vec<_> = rows.iter().map(message::json).collect();
        let (kind, named) = target.named();
        return console.document(&json!({ kind: named, "messages": messages }));
    }
    if rows.is_empty() {
        console.remark(&format!("No messages with {}.", safe(target.name())))?;
    }
    rows.iter().try_for_each(|row| console.line(&message::line(row, &target.writer(row))))
}

pub(super) async fn read(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wanted: &str,
    seq: Option<u64>,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let target = bus::find_target(&connection, wanted).await?;
    let conversation = proxy(&connection, &target).await?;
    let seq = match seq {
        Some(seq) => seq,
        None => conversation.last_seq().await?,
    };
    conversation.mark_read(seq).await?;
    let unread = conversation.unread().await?;
    let (kind, named) = target.named();
    let value = json!({ kind: named, "read_seq": seq, "unread": unread });
    console.result(arguments.json, &value, &format!("Read up to {seq}; {unread} unread."))
}

pub(super) async fn expiry(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wanted: &str,
    seconds: Option<u32>,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let target = bus::find_target(&connection, wanted).await?;
    let conversation = proxy(&connection, &target).await?;
    if let Some(seconds) = seconds {
        conversation.set_expiry_seconds(seconds).await?;
    }
    let seconds = conversation.expiry_seconds().await?;
    let (kind, named) = target.named();
    let line = match seconds {
        0 => "Messages stay.".to_owned(),
        seconds => format!("New messages disappear {seconds} s after they were received or delivered."),
    };
    console.result(arguments.json, &json!({ kind: named, "expiry_s": seconds }), &line)
}

/// Rows after a sequence number, at most `count`, in as many calls as the daemon needs.
async fn page(conversation: &Conversation1Proxy<'_>, mut after: u64, count: usize) -> Result<Vec<Row>, CommandError> {
    let mut rows: Vec<Row> = Vec::new();
    while rows.len() < count {
        let wanted = u32::try_from(count - rows.len()).unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
        let next = conversation.list(after, wanted).await?;
        let Some(last) = next.last() else { break };
        after = last.seq;
        rows.extend(next);
    }
    Ok(rows)
}

async fn proxy(connection: &Connection, target: &Target) -> Result<Conversation1Proxy<'static>, CommandError> {
    let builder = Conversation1Proxy::builder(connection).path(target.path().clone());
    Ok(builder.cache_properties(CacheProperties::No).build().await?)
}
