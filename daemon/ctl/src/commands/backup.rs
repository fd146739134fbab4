//! Backups: writing one, restoring from one.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use kith_dbus::{DaemonState, ExportOptions, ImportOptions, Secret};
use serde_json::json;
use tempfile::NamedTempFile;
use zbus::wire::Fd;

use super::guard::dangerous;
use super::task::{self, Summary};
use crate::arguments::{Arguments, Import};
use crate::bus;
use crate::console::Console;
use crate::error::CommandError;
use crate::text::{safe, utc};

/// What the first line of an encrypted backup begins with (docs/protocol.md §8.7).
const ENCRYPTED: &[u8] = b"{\"format\":\"kith sealed backup\"";

const PLAIN_WARNING: &str = "WARNING: a plain backup holds the identity of this device in clear. Whoever reads it is this \
     device: keep it where nobody else reads, and destroy it when it has been imported.";

pub(super) async fn export(
    arguments: &Arguments,
    console: &mut Console<'_>,
    path: &Path,
    plain: bool,
    force: bool,
) -> Result<(), CommandError> {
    let connection = bus::connect(arguments).await?;
    let manager = bus::manager(&connection).await?;
    if !force && path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    if plain {
        console.remark(PLAIN_WARNING)?;
    }
    let options = ExportOptions { plain: plain.then_some(true) };
    let file = NamedTempFile::new_in(folder_of(path)).map_err(|error| unusable(path, &error))?;
    let begun = async || manager.export(&Fd::from(file.as_file().as_fd()), &options).await;
    let task = if plain { dangerous(&manager, console, begun).await? } else { begun().await? };
    let summary = task::followed(&connection, &task, console, arguments.json).await?;
    let persisted = if force { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => unusable(path, &error.error),
    })?;
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(|error| unusable(path, &error))?;
    let shown = path.display().to_string();
    let value = json!({
        "file": shown,
        "encrypted": summary.flag("encrypted"),
        "bytes": summary.number("bytes"),
        "contacts": summary.number("contacts"),
        "messages": summary.number("messages"),
        "waiting": summary.number("waiting"),
    });
    let kind = if summary.flag("encrypted") { "encrypted" } else { "plain" };
    let line = format!("{}, {kind}, {} bytes: {}.", safe(&shown), summary.number("bytes"), contents(&summary));
    console.result(arguments.json, &value, &line)
}

pub(super) async fn import(
    arguments: &Arguments,
    console: &mut Console<'_>,
    import: &Import,
) -> Result<(), CommandError> {
    let file = File::open(&import.file).map_err(|error| unusable(&import.file, &error))?;
    let connection = bus::connect(arguments).await?;
    let manager = bus::manager(&connection).await?;
    let is_new = manager.state().await? == DaemonState::NeedsSetUp;
    let secret = asked_secret(console, import, is_encrypted(&file), is_new)?;
    let options = ImportOptions { dry_run: Some(import.dry_run), replace: Some(import.replace), secret };
    let begun = async || manager.import(&Fd::from(file.as_fd()), &options).await;
    let task = if import.replace { dangerous(&manager, console, begun).await? } else { begun().await? };
    let summary = task::followed(&connection, &task, console, arguments.json).await?;
    let value = json!({
        "client_id": summary.text("client_id"),
        "created_ms": summary.number("created_ms"),
        "encrypted": summary.flag("encrypted"),
        "replaces": summary.flag("replaces"),
        "dry_run": summary.flag("dry_run"),
        "contacts": summary.number("contacts"),
        "messages": summary.number("messages"),
        "waiting": summary.number("waiting"),
    });
    console.result(arguments.json, &value, &imported(&summary))
}

/// The secret, where one is needed.
fn asked_secret(
    console: &mut Console<'_>,
    import: &Import,
    is_encrypted: bool,
    is_new: bool,
) -> Result<Option<Secret>, CommandError> {
    let typed = if is_encrypted && (is_new || import.other_secret) {
        console.secret("The secret of the backup: ", false)?
    } else if is_new && !import.dry_run {
        console.secret("A new secret for the store: ", true)?
    } else {
        return Ok(None);
    };
    Ok(Some(typed.into()))
}

/// As far as its first line says.
fn is_encrypted(file: &File) -> bool {
    let mut beginning = [0; ENCRYPTED.len()];
    file.read_exact_at(&mut beginning, 0).is_ok() && beginning == ENCRYPTED
}

fn imported(summary: &Summary) -> String {
    let (id, made) = (safe(&summary.text("client_id")), utc(summary.number("created_ms")));
    let whose = format!("the backup of {id} from {made}");
    let held = contents(summary);
    match (summary.flag("dry_run"), summary.flag("replaces")) {
        (true, true) => format!("It is whole: {whose}, {held}. It would replace all that this device holds."),
        (true, false) => format!("It is whole: {whose}, {held}. This device would become that one."),
        (false, true) => format!("This device has been restored from {whose}: {held}."),
        (false, false) => format!("This device is {id} now, restored from {whose}: {held}."),
    }
}

fn contents(summary: &Summary) -> String {
    let (contacts, messages, waiting) =
        (summary.number("contacts"), summary.number("messages"), summary.number("waiting"));
    format!("{contacts} contacts, {messages} messages, {waiting} of them waiting to be sent")
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn exists(path: &Path) -> CommandError {
    CommandError::Usage(format!("{} is there already: choose another name, or pass --force.", path.display()))
}

fn unusable(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::Usage(format!("{} cannot be used: {error}.", path.display()))
}
