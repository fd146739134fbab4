//! Settings: what this device is called, how it speaks, what it keeps.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use kith_dbus::{Failure, Retention, RetentionChoice, Secret};
use maud::{Markup, html};
use zeroize::Zeroizing;

use super::frame::{Frame, button, languages, token};
use super::notice;
use super::text::Outside;
use crate::bus::{Bus, Overview};
use crate::http::{Answer, Guest, Posted, Ready};
use crate::site::Site;
use crate::words::Words;

/// The screen.
pub(super) async fn page(State(site): State<Arc<Site>>, ready: Ready) -> Response {
    let words = ready.guest.language.words();
    let retention = async { site.bus.manager().await?.retention().await };
    let retention = retention.await.unwrap_or_default();
    Frame::ready("settings", words.settings, &ready).page(html! {
        section.card { h2 { (words.language) } (languages(&ready.guest, "/settings")) }
        (name(words, &ready.guest, &ready.overview))
        (history(words, &ready.guest, &retention))
        section.card {
            h2 { (words.backup) }
            p { (words.backup_text) }
            a.button href="/backup" { (words.backup_open) }
        }
        (secrets(words, &ready.guest))
        (pin(words, &ready.guest, &ready.overview))
        div #server data-live {
            section.card {
                h2 { (words.server) }
                p { (notice::signaling(words, ready.overview.signaling)) }
                (notice::logging(words, &ready.overview))
            }
        }
        section.card {
            h2 { (words.about) }
            p { "Kith " (ready.overview.version) " · MIT / Apache-2.0" }
            p.quiet { (words.client_id) ": " span.id { (ready.overview.client_id) } }
        }
    })
}

fn name(words: &Words, guest: &Guest, overview: &Overview) -> Markup {
    html! {
        section.card {
            h2 { (words.own_display_name) }
            form.line action="/settings" method="post" {
                (token(guest))
                input type="hidden" name="do" value="name";
                label.aside for="name" { (words.own_display_name) }
                input #name name="name" value=(Outside(&overview.name)) maxlength="64" required autocomplete="off";
                button { (words.save) }
            }
        }
    }
}

fn history(words: &Words, guest: &Guest, retention: &Retention) -> Markup {
    html! {
        form.card action="/settings" method="post" {
            (token(guest))
            h2 { (words.history) }
            input type="hidden" name="do" value="history";
            label for="messages" { (words.history_messages) }
            input #messages name="messages" inputmode="numeric" pattern="[0-9]*" value=(retention.messages_max);
            label for="days" { (words.history_days) }
            input #days name="days" inputmode="numeric" pattern="[0-9]*" value=(retention.days_max);
            p.quiet { (words.history_text) }
            button { (words.save) }
        }
    }
}

fn secrets(words: &Words, guest: &Guest) -> Markup {
    html! {
        section.card {
            h2 { (words.secret) }
            p { (words.shut_text) }
            (button(guest, "/shut", "", words.shut, &[]))
            details {
                summary { (words.change_secret) }
                form action="/settings" method="post" {
                    (token(guest))
                    input type="hidden" name="do" value="secret";
                    label for="old" { (words.secret_old) }
                    input #old name="old" type="password" required autocomplete="current-password";
                    label for="new" { (words.secret_new) }
                    input #new name="new" type="password" required autocomplete="new-password";
                    label for="again" { (words.secret_again) }
                    input #again name="again" type="password" required autocomplete="new-password";
                    button { (words.change_secret) }
                }
            }
        }
    }
}

fn pin(words: &Words, guest: &Guest, overview: &Overview) -> Markup {
    html! {
        section.card {
            h2 { (words.pin) }
            p { (if overview.pin_set { words.pin_set_text } else { words.pin_text }) }
            details {
                summary { (if overview.pin_set { words.pin_change } else { words.pin_choose }) }
                form action="/settings" method="post" {
                    (token(guest))
                    input type="hidden" name="do" value="pin";
                    label for="old-pin" { (if overview.pin_set { words.pin_or_secret } else { words.secret }) }
                    input #old-pin name="old" type="password" required autocomplete="off";
                    label for="new-pin" { (words.pin_new) }
                    input #new-pin name="new" type="password" inputmode="numeric" autocomplete="off";
                    label for="pin-again" { (words.pin_again) }
                    input #pin-again name="again" type="password" inputmode="numeric" autocomplete="off";
                    button { (words.save) }
                }
            }
        }
    }
}

/// Keeps what was set.
pub(super) async fn change(State(site): State<Arc<Site>>, posted: Posted) -> Answer {
    let words = posted.words();
    if ["secret", "pin"].contains(&posted.text("do")) && posted.text("new") != posted.text("again") {
        return Answer::badly(&posted, "/settings", words.secrets_differ.to_owned());
    }
    match set(&site.bus, &posted).await {
        Ok(()) => Answer::well(&posted, "/settings", words.saved),
        Err(failure) => Answer::badly(&posted, "/settings", words.failure(&failure)),
    }
}

async fn set(bus: &Bus, posted: &Posted) -> Result<(), Failure> {
    let manager = bus.manager().await?;
    let number = |name: &str| posted.text(name).trim().parse().ok();
    let secret = |name: &str| Secret::from(Zeroizing::new(posted.text(name).to_owned()));
    match posted.text("do") {
        "name" => Ok(manager.set_display_name(posted.text("name").trim()).await?),
        "history" => {
            let (messages_max, days_max) = (number("messages"), number("days"));
            let choice = RetentionChoice { messages_max, days_max, ..RetentionChoice::default() };
            Ok(manager.set_retention(choice).await?)
        }
        // Dangerous: the old secret shows that it is the owner who asks.
        "secret" => bus.elevated(&secret("old")).await?.change_secret(&secret("old"), &secret("new")).await,
        "pin" => manager.set_pin(&secret("old"), &secret("new")).await,
        _ => Ok(()),
    }
}
