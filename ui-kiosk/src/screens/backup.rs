//! Backups: written by the messenger into a file that the browser then takes away, and the way back.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use kith_dbus::{ExportOptions, Failure, ImportOptions, Secret, TaskKind, TaskState};
use maud::{Markup, html};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zbus::OwnedObjectPath;
use zbus::wire::Fd;
use zeroize::Zeroizing;

use super::frame::{Frame, button, token};
use super::text::Outside;
use crate::bus::{Bus, Look, Overview, Task};
use crate::http::{Answer, Guest, Posted, Ready, checked, old_form};
use crate::site::Site;
use crate::words::Words;

/// The largest backup that a browser may hand over.
const UPLOAD_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// How much of a backup is in memory on its way to the browser.
const CHUNK_BYTES: usize = 64 * 1024;

/// What a browser calls the file.
const FILE_NAME: &str = "attachment; filename=\"kith-backup.enc.json\"";

/// Backups between browser and messenger. Their files have no name in any folder and are gone with this program.
#[derive(Default)]
pub(crate) struct Backups(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// What the messenger writes, and its task.
    export: Option<(OwnedObjectPath, File)>,
    /// What a browser has handed over.
    upload: Option<File>,
}

impl Backups {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_upload(&self) -> bool {
        self.inside().upload.is_some()
    }

    /// The file that a task has written, if that is done.
    fn written(&self, overview: &Overview) -> Option<File> {
        let inside = self.inside();
        let (path, file) = inside.export.as_ref()?;
        let task = overview.tasks.iter().find(|task| task.path == *path)?;
        (task.state == TaskState::Done).then(|| file.try_clone().ok()).flatten()
    }
}

/// The screen.
pub(super) async fn page(State(site): State<Arc<Site>>, ready: Ready) -> Response {
    let words = ready.guest.language.words();
    let (guest, overview) = (&ready.guest, &ready.overview);
    let frame = Frame { back: Some("/settings"), ..Frame::ready("backup", words.backup, &ready) };
    frame.page(html! {
        section.card {
            h2 { (words.export) }
            p { (words.export_text) }
            (button(guest, "/backup", "main", words.export_button, &[("do", "export")]))
            div #export data-live {
                @if let Some(task) = overview.latest_task(TaskKind::Export) { (progress(words, guest, task)) }
                @if site.backups.written(overview).is_some() {
                    a.button #file href="/backup/file" download { (words.export_take) }
                }
            }
        }
        (restore(words, guest, &site, &overview.tasks, false))
    })
}

/// The way back, on a device that is `new` or is to be replaced.
pub(super) fn restore(words: &Words, guest: &Guest, site: &Site, tasks: &[Task], new: bool) -> Markup {
    let latest = tasks.iter().rev().find(|task| task.kind == TaskKind::Import);
    html! {
        section.card {
            h2 { (words.import) }
            p { (if new { words.import_new_text } else { words.import_text }) }
            label for="backup" { (words.import_choose) }
            input #backup type="file" data-upload="/backup/upload"
                data-token=[guest.session.as_ref().map(|session| session.form_token().text())];
            p.bad #upload-refused role="alert" hidden { (words.import_refused) }
            div #import data-live {
                @if site.backups.has_upload() {
                    form action="/backup" method="post" {
                        (token(guest))
                        input type="hidden" name="do" value="import";
                        label for="backup-secret" { (words.import_secret) }
                        input #backup-secret name="secret" type="password" required[new] autocomplete="off";
                        @if !new {
                            label for="backup-pin" { (words.pin_or_secret) }
                            input #backup-pin name="pin" type="password" required autocomplete="off";
                            label.choice { input type="checkbox" name="replace" value="yes" required; (words.import_replace) }
                        }
                        button.danger { (words.import_button) }
                    }
                }
                @if let Some(task) = latest { (progress(words, guest, task)) }
            }
        }
    }
}

/// Work that is under way while nothing else can be shown.
pub(super) fn running(words: &Words, guest: &Guest, tasks: &[Task]) -> Markup {
    html! {
        div #tasks data-live {
            @for task in tasks.iter().filter(|task| task.state == TaskState::Running) { (progress(words, guest, task)) }
        }
    }
}

fn progress(words: &Words, guest: &Guest, task: &Task) -> Markup {
    let state = match task.state {
        TaskState::Unknown | TaskState::Running => words.task_running,
        TaskState::Done => words.task_done,
        TaskState::Failed => words.task_failed,
        TaskState::Cancelled => words.task_cancelled,
    };
    html! {
        p role="status" { (state) }
        @if let Some(sentence) = &task.sentence { p.bad lang="en" { (Outside(sentence)) } }
        @if task.state == TaskState::Running {
            @let total = (task.total > 0).then_some(task.total);
            progress aria-label=(words.backup) max=[total] value=[total.map(|_| task.done)] {}
            (button(guest, "/backup", "", words.cancel, &[("do", "cancel"), ("task", task.path.as_str())]))
        }
    }
}

/// What the buttons do.
pub(super) async fn change(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let done = match posted.text("do") {
        "export" => export(&site).await,
        "import" => import(&site, &posted).await,
        "cancel" => cancel(&site.bus, posted.text("task")).await,
        _ => Ok(()),
    };
    // A new device has its way back on its first page.
    let page = if matches!(site.bus.look().await, Look::NeedsSetUp(_)) { "/" } else { "/backup" };
    Answer::to(&posted, page, done)
}

async fn export(site: &Site) -> Result<(), Failure> {
    let file = fresh_file()?;
    let manager = site.bus.manager().await?;
    let task = manager.export(&Fd::from(&file), &ExportOptions::default()).await?;
    site.backups.inside().export = Some((task, file));
    Ok(())
}

async fn import(site: &Site, posted: &Posted) -> Result<(), Failure> {
    let Some(mut file) = site.backups.inside().upload.take() else { return Ok(()) };
    file.seek(SeekFrom::Start(0)).map_err(failure)?;
    let secret = Some(posted.text("secret")).filter(|secret| !secret.is_empty());
    let options = ImportOptions {
        dry_run: None,
        replace: (posted.text("replace") == "yes").then_some(true),
        secret: secret.map(|secret| Secret::from(Zeroizing::new(secret.to_owned()))),
    };
    let begun = async {
        let manager = match posted.text("pin") {
            // A new device has neither.
            "" => site.bus.manager().await?,
            pin => site.bus.elevated(&Secret::from(Zeroizing::new(pin.to_owned()))).await?,
        };
        manager.import(&Fd::from(&file), &options).await
    };
    let begun = begun.await.map(drop);
    // Whoever has mistyped need not hand the file over once more.
    site.backups.inside().upload = Some(file);
    begun
}

async fn cancel(bus: &Bus, task: &str) -> Result<(), Failure> {
    let path = OwnedObjectPath::try_from(task).map_err(|_| Failure::NoObject)?;
    bus.task(&path).await?.cancel().await
}

/// Hands over what the messenger has written.
pub(super) async fn download(State(site): State<Arc<Site>>, ready: Ready) -> Response {
    let Some(mut file) = site.backups.written(&ready.overview) else { return StatusCode::NOT_FOUND.into_response() };
    let length = file.seek(SeekFrom::End(0)).and_then(|length| file.seek(SeekFrom::Start(0)).map(|_| length));
    let Ok(length) = length else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let chunks = stream::try_unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok::<_, io::Error>((read > 0).then(|| (Bytes::from(chunk), file)))
    });
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, FILE_NAME.to_owned()),
        (CONTENT_LENGTH, length.to_string()),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// Takes over what a browser has, as it comes, in bounded memory.
pub(crate) async fn upload(
    State(site): State<Arc<Site>>,
    guest: Guest,
    headers: HeaderMap,
    request: Request,
) -> Response {
    if checked(&guest, None, &headers).is_none() {
        return old_form();
    }
    match receive(request.into_body()).await {
        Ok(Some(file)) => {
            site.backups.inside().upload = Some(file);
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(None) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => StatusCode::INSUFFICIENT_STORAGE.into_response(),
    }
}

/// The file, or none if there is too much of it.
async fn receive(body: Body) -> io::Result<Option<File>> {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
    let (mut chunks, mut bytes) = (body.into_data_stream(), 0u64);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(io::Error::other)?;
        bytes = bytes.saturating_add(chunk.len() as u64);
        if bytes > UPLOAD_BYTES_MAX {
            return Ok(None);
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(Some(file.into_std().await))
}

fn fresh_file() -> Result<File, Failure> {
    tempfile::tempfile().map_err(failure)
}

fn failure(error: io::Error) -> Failure {
    Failure::Bus(format!("no file for a backup: {error}"))
}
