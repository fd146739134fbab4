//! Follows the messenger's signals, and comes back when the bus was away.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kith_dbus::{ROOT_PATH, SERVICE};
use tokio::sync::watch;
use tokio::time::sleep;
use zbus::fdo::DBusProxy;
use zbus::{Connection, MatchRule, Message, MessageStream, message};

use super::{Address, Mark, Troubles, connect};

/// How long it waits before it tries the bus again.
const RETRY: Duration = Duration::from_millis(500);

/// Signals that may wait to be counted. Counting is quick, and more are only more of the same: pages ask anew.
const SIGNALS_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Follows for as long as somebody wants to know.
pub(super) async fn run(
    address: Address,
    connection_in: watch::Sender<Option<Connection>>,
    mark_in: watch::Sender<Mark>,
    troubles: Arc<Troubles>,
) {
    while !mark_in.is_closed() {
        if let Ok(connection) = connect(&address).await {
            // When it ends, for whatever reason, the messenger is away.
            let _ = listen(&connection, &connection_in, &mark_in, &troubles).await;
        }
        if connection_in.send_replace(None).is_some() {
            mark_in.send_modify(|mark| mark.changes += 1);
        }
        sleep(RETRY).await;
    }
}

/// Counts what happens until the connection ends.
async fn listen(
    connection: &Connection,
    connection_in: &watch::Sender<Option<Connection>>,
    mark_in: &watch::Sender<Mark>,
    troubles: &Troubles,
) -> zbus::Result<()> {
    let rule =
        MatchRule::builder().msg_type(message::Type::Signal).sender(SERVICE).path_namespace(ROOT_PATH).build()?;
    let mut signals = MessageStream::for_match_rule(rule, connection, Some(SIGNALS_MAX)).await?;
    let mut owners = DBusProxy::new(connection).await?.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?;
    connection_in.send_replace(Some(connection.clone()));
    mark_in.send_modify(|mark| mark.changes += 1);
    loop {
        tokio::select! {
            signal = signals.next() => {
                let Some(signal) = signal else { return Ok(()) };
                let inbox = hear(&signal?, troubles);
                mark_in.send_modify(|mark| {
                    mark.changes += 1;
                    mark.inbox = mark.inbox.max(inbox.unwrap_or_default());
                });
            }
            owner = owners.next() => {
                let Some(_) = owner else { return Ok(()) };
                mark_in.send_modify(|mark| mark.changes += 1);
            }
        }
    }
}

/// What a signal says beside that something has changed: the place in the inbox of a message that has come in.
fn hear(signal: &Message, troubles: &Troubles) -> Option<u64> {
    let header = signal.header();
    match header.member()?.as_str() {
        "Available" => signal.body().deserialize().ok(),
        "Trouble" => {
            let sentence = signal.body().deserialize().ok()?;
            troubles.remember(header.path()?.as_str().to_owned(), sentence);
            None
        }
        _ => None,
    }
}
