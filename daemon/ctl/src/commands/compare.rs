//! Pairing by comparing digits.

use kith_dbus::{CompareOptions, Pairing1Proxy, PairingState, pairing_path};
use serde_json::json;

use super::pairing::{changes, finish, number, proxy};
use crate::arguments::Arguments;
use crate::bus;
use crate::console::Console;
use crate::error::CommandError;
use crate::text::{safe, utc};

/// What a person does about digits that are not the same.
const DIFFERENT: &str =
    "The digits are not the same on both devices: somebody may be between them. Pair in another place.";

pub(super) async fn compare(
    arguments: &Arguments,
    console: &mut Console<'_>,
    code: Option<&str>,
    wait: bool,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let options = CompareOptions { code: code.map(str::to_owned) };
    let path = bus::manager(&connection).await?.compare(&options).await?;
    let pairing = proxy(&connection, &path).await?;
    let expires_ms = pairing.expires().await?;
    let shown = if code.is_none() { Some(pairing.code().await?) } else { None };
    if arguments.json {
        console.document(&json!({ "pairing": number(&path), "code": shown, "expires_ms": expires_ms }))?;
    } else if let Some(code) = shown {
        console.line(&safe(&code))?;
        console.remark(&format!("Type this code on the other device until {}.", utc(expires_ms)))?;
    }
    if !wait {
        return Ok(());
    }
    let digits = tokio::select! {
        digits = digits(&connection, &pairing) => digits?,
        _ = tokio::signal::ctrl_c() => {
            // It may have ended by itself in this moment.
            let _ = pairing.cancel().await;
            return Err(CommandError::Cancelled);
        }
    };
    let value = json!({ "pairing": number(&path), "digits": digits });
    console.result(arguments.json, &value, &format!("{} {}", &digits[..3], &digits[3..]))?;
    if !console.input_is_terminal {
        let number = number(&path).unwrap_or_default();
        return console.remark(&format!("Confirm with: kithctl confirm {number} DIGITS-OF-THE-OTHER-DEVICE"));
    }
    if !console.agrees("Does the other device show the same digits?")? {
        pairing.cancel().await?;
        return Err(CommandError::PairingFailed(DIFFERENT.to_owned()));
    }
    pairing.confirm().await?;
    finish(arguments, console, &connection, path).await
}

pub(super) async fn confirm(
    arguments: &Arguments,
    console: &mut Console<'_>,
    pairing: u32,
    theirs: &str,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    bus::require_ready(&connection).await?;
    let path = pairing_path(pairing);
    let pairing = proxy(&connection, &path).await?;
    let own = pairing.digits().await?;
    let theirs: String = theirs.chars().filter(|character| !character.is_whitespace()).collect();
    if !own.is_empty() && own != theirs {
        pairing.cancel().await?;
        return Err(CommandError::PairingFailed(DIFFERENT.to_owned()));
    }
    pairing.confirm().await?;
    finish(arguments, console, &connection, path).await
}

/// Waits for the digits of a pairing.
async fn digits(connection: &zbus::Connection, pairing: &Pairing1Proxy<'_>) -> Result<String, CommandError> {
    let mut changes = changes(connection, pairing).await?;
    loop {
        let digits = pairing.digits().await?;
        if digits.len() == 6 && digits.is_ascii() {
            return Ok(digits);
        }
        if pairing.state().await? == PairingState::Failed {
            return Err(CommandError::PairingFailed(pairing.reason().await?));
        }
        super::pairing::next(&mut changes).await?;
    }
}
