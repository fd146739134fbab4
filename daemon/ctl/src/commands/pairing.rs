//! Inviting and accepting.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use kith_dbus::{
    AcceptOptions, Failure, InviteOptions, Pairing1Proxy, PairingState, Peer1Proxy, ROOT_PATH, RefusalName, SERVICE,
    client_id_of, pairing_number_of,
};
use serde_json::{Value, json};
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath};

use crate::arguments::Arguments;
use crate::bus;
use crate::console::Console;
use crate::error::CommandError;
use crate::qr;
use crate::text::{safe, utc};

/// Longer than any invite.
const INVITE_BYTES_MAX: u64 = 8 * 1024;

pub(super) async fn invite(
    arguments: &Arguments,
    console: &mut Console<'_>,
    lifetime_s: Option<u32>,
    wait: bool,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let path = bus::manager(&connection).await?.invite(&InviteOptions { lifetime_s }).await?;
    let pairing = proxy(&connection, &path).await?;
    let (uri, expires_ms) = (pairing.uri().await?, pairing.expires().await?);
    if arguments.json {
        console.document(&json!({ "pairing": number(&path), "uri": uri, "expires_ms": expires_ms }))?;
    } else {
        if console.output_is_terminal
            && let Some(blocks) = qr::blocks(&uri)
        {
            console.line(blocks.trim_end_matches('\n'))?;
        }
        console.line(&safe(&uri))?;
        console.remark(&format!("Open until {}.", utc(expires_ms)))?;
    }
    if wait { finish(arguments, console, &connection, path).await } else { Ok(()) }
}

pub(super) async fn accept(
    arguments: &Arguments,
    console: &mut Console<'_>,
    uri: Option<&str>,
    other_server: bool,
    wait: bool,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    bus::require_ready(&connection).await?;
    let uri = match uri {
        Some(uri) if uri != "-" => uri.to_owned(),
        _ if console.input_is_terminal => console.input_line("The invite: ")?,
        _ => String::from_utf8_lossy(&console.all_input(INVITE_BYTES_MAX)?).trim().to_owned(),
    };
    let manager = bus::manager(&connection).await?;
    let mut accepted = manager.accept(&uri, &AcceptOptions { other_server: Some(other_server) }).await;
    if let Err(failure) = &accepted
        && failure.refusal() == Some(RefusalName::OtherServer)
        && console.input_is_terminal
    {
        console.remark(&safe(&failure.to_string()))?;
        if !console.agrees("Use that server for this contact?")? {
            return Err(CommandError::Cancelled);
        }
        accepted = manager.accept(&uri, &AcceptOptions { other_server: Some(true) }).await;
    }
    let path = accepted?;
    if wait {
        return finish(arguments, console, &connection, path).await;
    }
    let state = proxy(&connection, &path).await?.state().await?;
    let value = json!({ "pairing": number(&path), "state": state.word() });
    console.result(arguments.json, &value, "The devices are connecting: see kithctl peers.")
}

/// Waits until a pairing has ended, and shows how; Ctrl-C ends it.
pub(super) async fn finish(
    arguments: &Arguments,
    console: &mut Console<'_>,
    connection: &Connection,
    path: OwnedObjectPath,
) -> Result<(), CommandError> {
    let pairing = proxy(connection, &path).await?;
    let peer = tokio::select! {
        ended = ended(connection, &pairing) => ended?,
        _ = tokio::signal::ctrl_c() => {
            // It may have ended by itself in this moment.
            let _ = pairing.cancel().await;
            return Err(CommandError::Cancelled);
        }
    };
    let peer = describe(connection, peer).await;
    let line = format!(
        "Paired with {} ({}).",
        safe(peer["name"].as_str().unwrap_or_default()),
        peer["client_id"].as_str().unwrap_or_default()
    );
    let value = json!({ "pairing": number(&path), "state": PairingState::Done.word(), "peer": peer });
    console.result(arguments.json, &value, &line)
}

/// Whom a pairing has given.
async fn ended(connection: &Connection, pairing: &Pairing1Proxy<'_>) -> Result<OwnedObjectPath, CommandError> {
    let mut changes = changes(connection, pairing).await?;
    loop {
        match pairing.state().await {
            Ok(PairingState::Done) => return Ok(pairing.peer().await?),
            Ok(PairingState::Failed) => return Err(CommandError::PairingFailed(pairing.reason().await?)),
            Ok(
                PairingState::Waiting
                | PairingState::Connecting
                | PairingState::Comparing
                | PairingState::Confirmed
                | PairingState::Unknown,
            ) => {}
            Err(Failure::NoObject) => {
                bus::require_ready(connection).await?;
                return Err(CommandError::PairingFailed("The daemon was locked or restarted meanwhile.".to_owned()));
            }
            Err(failure) => return Err(failure.into()),
        }
        next(&mut changes).await?;
    }
}

/// Whatever may have changed a pairing: the pairing itself, the daemon's state, its coming and going.
pub(super) async fn changes(
    connection: &Connection,
    pairing: &Pairing1Proxy<'_>,
) -> Result<BoxStream<'static, ()>, CommandError> {
    let own = PropertiesProxy::builder(connection)
        .destination(SERVICE)
        .path(pairing.inner().path().to_owned())
        .build()
        .await?;
    let daemon = PropertiesProxy::builder(connection).destination(SERVICE).path(ROOT_PATH).build().await?;
    let bus = DBusProxy::new(connection).await?;
    let changes = stream::select_all([
        own.receive_properties_changed().await?.map(drop).boxed(),
        daemon.receive_properties_changed().await?.map(drop).boxed(),
        bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?.map(drop).boxed(),
    ]);
    Ok(changes.boxed())
}

/// Waits for the next of them.
pub(super) async fn next(changes: &mut BoxStream<'static, ()>) -> Result<(), CommandError> {
    match changes.next().await {
        Some(()) => Ok(()),
        None => Err(Failure::NotReachable("the bus closed the connection".to_owned()).into()),
    }
}

async fn describe(connection: &Connection, path: OwnedObjectPath) -> Value {
    let client_id = client_id_of(&path);
    let name = async {
        let peer =
            Peer1Proxy::builder(connection).path(path).cache_properties(CacheProperties::No).build().await.ok()?;
        peer.name().await.ok()
    };
    json!({ "client_id": client_id, "name": name.await })
}

pub(super) fn number(path: &OwnedObjectPath) -> Option<u32> {
    pairing_number_of(path)
}

pub(super) async fn proxy(
    connection: &Connection,
    path: &OwnedObjectPath,
) -> Result<Pairing1Proxy<'static>, CommandError> {
    let builder = Pairing1Proxy::builder(connection).path(path.clone());
    Ok(builder.cache_properties(CacheProperties::No).build().await?)
}
