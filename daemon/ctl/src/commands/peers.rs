//! The contacts.

use kith_dbus::{LinkState, Peer1Proxy, Presence, Trust};
use serde_json::json;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use crate::arguments::Arguments;
use crate::bus::{self, Peer};
use crate::console::Console;
use crate::error::CommandError;
use crate::qr;
use crate::text::{safe, utc};

pub(super) async fn list(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let peers = bus::peers(&bus::connect(arguments).await?).await?;
    if arguments.json {
        let all: Vec<_> = peers.iter().map(Peer::json).collect();
        return console.document(&json!({ "peers": all }));
    }
    if peers.is_empty() {
        return console.line("No contacts yet: see kithctl invite.");
    }
    let width = peers.iter().map(|peer| safe(&peer.name).chars().count()).max().unwrap_or_default();
    for peer in &peers {
        let name = format!("{:width$}", safe(&peer.name));
        console.line(&format!("{name}  {}  {}", peer.client_id, description(peer)))?;
    }
    Ok(())
}

/// Whether a contact is there, in a few words.
pub(super) fn description(peer: &Peer) -> String {
    let mut words = match (peer.presence, peer.link) {
        (_, LinkState::Direct) => "online, connected directly (it sees this device's address)".to_owned(),
        (_, LinkState::Relayed) => "online, connected over a relay".to_owned(),
        (Presence::Online, _) => "online, not connected".to_owned(),
        (Presence::Offline, _) if peer.last_seen_ms > 0 => format!("offline, last seen {}", utc(peer.last_seen_ms)),
        (Presence::Offline, _) => "offline".to_owned(),
        (Presence::Unknown, _) => "unknown".to_owned(),
    };
    match peer.trust {
        Trust::Pending => words.push_str(", pairing not confirmed"),
        Trust::Verified => words.push_str(", verified"),
        Trust::Paired | Trust::Unknown => {}
    }
    if peer.blocked {
        words.push_str(", blocked");
    }
    if peer.unread > 0 {
        words.push_str(&format!(", {} unread", peer.unread));
    }
    words
}

pub(super) async fn safety_number(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wanted: &str,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let peer = bus::find(&connection, wanted).await?;
    let digits = proxy(&connection, &peer).await?.safety_number().await?;
    if arguments.json {
        return console.document(&json!({ "peer": peer.client_id, "digits": digits }));
    }
    show_digits(console, &digits)
}

/// As a QR code, where somebody may hold a camera before it, and as text.
fn show_digits(console: &mut Console<'_>, digits: &str) -> Result<(), CommandError> {
    if console.output_is_terminal
        && let Some(blocks) = qr::blocks(digits)
    {
        console.line(blocks.trim_end_matches('\n'))?;
    }
    console.line(&safe(digits))
}

pub(super) async fn verify(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wanted: &str,
    yes: bool,
    undo: bool,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let peer = bus::find(&connection, wanted).await?;
    let proxy = proxy(&connection, &peer).await?;
    if !yes && !undo {
        if !console.input_is_terminal {
            return Err(CommandError::Usage(
                "Verifying asks first, and nobody can answer: compare the safety numbers and pass --yes.".to_owned(),
            ));
        }
        show_digits(console, &proxy.safety_number().await?)?;
        if !console.agrees(&format!("Does {} show the same digits?", safe(&peer.name)))? {
            return Err(CommandError::Cancelled);
        }
    }
    proxy.mark_verified(!undo).await?;
    let value = json!({ "client_id": peer.client_id, "verified": !undo });
    let state = if undo { "no longer verified" } else { "verified" };
    console.result(arguments.json, &value, &format!("{} is {state}.", safe(&peer.name)))
}

pub(super) async fn block(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wanted: &str,
    blocked: bool,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let peer = bus::find(&connection, wanted).await?;
    proxy(&connection, &peer).await?.set_blocked(blocked).await?;
    let value = json!({ "client_id": peer.client_id, "blocked": blocked });
    let state = if blocked { "blocked" } else { "no longer blocked" };
    console.result(arguments.json, &value, &format!("{} is {state}.", safe(&peer.name)))
}

pub(super) async fn rename(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wanted: &str,
    name: &str,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let peer = bus::find(&connection, wanted).await?;
    let proxy = proxy(&connection, &peer).await?;
    proxy.set_name(name).await?;
    let name = proxy.name().await?;
    let value = json!({ "client_id": peer.client_id, "name": name });
    console.result(arguments.json, &value, &format!("{} is called {} now.", safe(&peer.name), safe(&name)))
}

pub(super) async fn remove(
    arguments: &Arguments,
    console: &mut Console<'_>,
    wanted: &str,
    yes: bool,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let peer = bus::find(&connection, wanted).await?;
    if !yes {
        if !console.input_is_terminal {
            return Err(CommandError::Usage("Removing asks first, and nobody can answer: pass --yes.".to_owned()));
        }
        let question = format!("Forget {} and all messages exchanged with it?", safe(&peer.name));
        if !console.agrees(&question)? {
            return Err(CommandError::Cancelled);
        }
    }
    proxy(&connection, &peer).await?.remove().await?;
    let value = json!({ "removed": peer.client_id });
    console.result(arguments.json, &value, &format!("{} is forgotten.", safe(&peer.name)))
}

async fn proxy(connection: &Connection, peer: &Peer) -> Result<Peer1Proxy<'static>, CommandError> {
    let builder = Peer1Proxy::builder(connection).path(peer.path.clone());
    Ok(builder.cache_properties(CacheProperties::No).build().await?)
}
