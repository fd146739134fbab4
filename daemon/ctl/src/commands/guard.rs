//! What is dangerous: proving that one may do it, and the PIN.

use kith_dbus::{Failure, Manager1Proxy, RefusalName, Secret};
use serde_json::json;

use crate::arguments::Arguments;
use crate::bus;
use crate::console::Console;
use crate::error::CommandError;

/// What is asked where the PIN is needed, or what serves in its place.
const PROMPT: &str = "The PIN, or the store's secret: ";

/// Does what is dangerous. Whoever may not is asked for the PIN; without a terminal it is all of standard input.
pub(super) async fn dangerous<T>(
    manager: &Manager1Proxy<'_>,
    console: &mut Console<'_>,
    act: impl AsyncFn() -> Result<T, Failure>,
) -> Result<T, CommandError> {
    match act().await {
        Err(failure) if is_not_authorized(&failure) => {
            let proof = console.secret(PROMPT, false)?;
            manager.elevate(&proof.into()).await?;
            Ok(act().await?)
        }
        result => Ok(result?),
    }
}

pub(super) async fn pin(arguments: &Arguments, console: &mut Console<'_>, remove: bool) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    let (old, new) = pins(console, remove)?;
    match manager.set_pin(&old, &new).await {
        Err(failure) if is_not_authorized(&failure) && console.input_is_terminal => {
            let old = console.secret(PROMPT, false)?;
            manager.set_pin(&old.into(), &new).await?;
        }
        result => result?,
    }
    let words = if remove { "There is no PIN any more." } else { "The PIN holds." };
    console.result(arguments.json, &json!({ "pin_set": !remove }), words)
}

/// The old PIN, as far as it is known without being asked for, and the new one.
fn pins(console: &mut Console<'_>, remove: bool) -> Result<(Secret, Secret), CommandError> {
    match (console.input_is_terminal, remove) {
        (true, true) => Ok(("".into(), "".into())),
        (true, false) => Ok(("".into(), console.secret("The new PIN: ", true)?.into())),
        (false, true) => Ok((console.first_line_and_rest()?.0.into(), "".into())),
        (false, false) => {
            let (old, new) = console.first_line_and_rest()?;
            if new.is_empty() {
                let sentence =
                    "Standard input has no second line: write the old PIN, or an empty line, and the new one.";
                return Err(CommandError::Usage(sentence.to_owned()));
            }
            Ok((old.into(), new.into()))
        }
    }
}

pub(super) async fn change_secret(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), CommandError> {
    let manager = bus::manager(&bus::connect(arguments).await?).await?;
    let (old, new) = console.old_and_new_secret()?;
    let (old, new) = (Secret::from(old), Secret::from(new));
    match manager.change_secret(&old, &new).await {
        // The old secret proves it.
        Err(failure) if is_not_authorized(&failure) => {
            manager.elevate(&old).await?;
            manager.change_secret(&old, &new).await?;
        }
        result => result?,
    }
    let words = "The new secret holds. If somebody may know the old one, run kithctl rotate-key.";
    console.result(arguments.json, &json!({ "changed": true }), words)
}

fn is_not_authorized(failure: &Failure) -> bool {
    failure.refusal() == Some(RefusalName::NotAuthorized)
}
