//! First start: language, name and secret; or a backup.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use kith_dbus::{Secret, SetUpOptions};
use maud::html;
use zeroize::Zeroizing;

use super::backup;
use super::frame::{Frame, languages, token};
use crate::bus::Task;
use crate::http::{Answer, Guest, Posted};
use crate::site::Site;

/// The screen.
pub(super) fn page(site: &Site, guest: &Guest, tasks: &[Task]) -> Response {
    let words = guest.language.words();
    Frame::live("set-up", words.welcome, guest).page(html! {
        (languages(guest, "/"))
        form.card action="/set-up" method="post" {
            (token(guest))
            p { (words.welcome_text) }
            label for="name" { (words.own_display_name) }
            input #name name="name" maxlength="64" required autocomplete="off";
            label for="secret" { (words.secret) }
            input #secret name="secret" type="password" required autocomplete="new-password";
            p.quiet { (words.secret_text) }
            label for="again" { (words.secret_again) }
            input #again name="again" type="password" required autocomplete="new-password";
            button.main { (words.begin) }
        }
        (backup::restore(words, guest, site, tasks, true))
    })
}

/// Makes the identity.
pub(super) async fn set_up(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let words = posted.words();
    if posted.text("secret") != posted.text("again") {
        return Answer::badly(&posted, "/", words.secrets_differ.to_owned());
    }
    let secret = Secret::from(Zeroizing::new(posted.text("secret").to_owned()));
    let name = Some(posted.text("name").trim().to_owned()).filter(|name| !name.is_empty());
    let options = SetUpOptions { secret, display_name: name };
    let done = async { site.bus.manager().await?.set_up(&options).await };
    Answer::to(&posted, "/", done.await)
}
