//! What is around every screen.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use super::sign::{Sign, sign};
use super::{keyboard, notice};
use crate::access::Said;
use crate::bus::{Mark, Overview};
use crate::http::{Guest, Ready, TOKEN_FIELD};
use crate::words::Language;

/// A page without its middle.
pub(super) struct Frame<'a> {
    /// What kind of page it is: where that changes, the whole page is exchanged, and else its live parts only.
    pub(super) kind: &'a str,
    /// Its title.
    pub(super) title: &'a str,
    /// Where the way back leads.
    pub(super) back: Option<&'a str>,
    /// Who asks.
    pub(super) guest: &'a Guest,
    /// The script that it begins with.
    pub(super) script: &'a str,
    /// What happened before the page was made; without it the page does not listen.
    pub(super) mark: Option<Mark>,
    /// What there is to see, if the messenger is in use.
    pub(super) overview: Option<&'a Overview>,
    /// What stands beside the title.
    pub(super) tools: Markup,
}

impl<'a> Frame<'a> {
    /// A page that knows nothing of the messenger.
    pub(super) fn outside(kind: &'a str, title: &'a str, guest: &'a Guest) -> Self {
        let (script, tools) = ("kith.js", html! {});
        Self { kind, title, back: None, guest, script, mark: None, overview: None, tools }
    }

    /// A page that listens.
    pub(super) fn live(kind: &'a str, title: &'a str, guest: &'a Guest) -> Self {
        Self { mark: Some(guest.mark), ..Self::outside(kind, title, guest) }
    }

    /// A page of a messenger in use.
    pub(super) fn ready(kind: &'a str, title: &'a str, ready: &'a Ready) -> Self {
        Self { overview: Some(&ready.overview), back: Some("/"), ..Self::live(kind, title, &ready.guest) }
    }

    /// The page.
    pub(super) fn page(self, middle: Markup) -> Response {
        self.page_with(StatusCode::OK, middle)
    }

    /// The page, with another status.
    pub(super) fn page_with(self, status: StatusCode, middle: Markup) -> Response {
        let words = self.guest.language.words();
        let page = html! {
            (DOCTYPE)
            html lang=(words.code) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Kith" }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href="/files/kith.css";
                    script type="module" src={ "/files/" (self.script) } {}
                }
                body data-page=(self.kind) data-mark=[self.mark.map(|mark| mark.to_string())] {
                    a.skip href="#main" { (words.skip) }
                    (self.header())
                    main #main tabindex="-1" { (self.said()) (middle) }
                    (keyboard::keyboard(words))
                }
            }
        };
        (status, Html(page.into_string())).into_response()
    }

    fn header(&self) -> Markup {
        let words = self.guest.language.words();
        html! {
            header {
                div.bar {
                    @if let Some(back) = self.back.filter(|_| !self.guest.is_visitor()) {
                        a.icon #back href=(back) aria-label=(words.back) { (sign(Sign::Back)) }
                    }
                    h1 { (self.title) }
                    (self.tools)
                    @if self.overview.is_some_and(|overview| overview.pin_set) && !self.guest.is_visitor() {
                        form #lock action="/lock" method="post" {
                            (token(self.guest))
                            button.icon aria-label=(words.lock_screen) { (sign(Sign::Lock)) }
                        }
                    }
                    button.icon #keys type="button" aria-label=(words.keyboard) aria-pressed="false" hidden { (sign(Sign::Keyboard)) }
                }
                p #lost .bad role="status" hidden { (words.lost) }
                div #notices data-live {
                    @if let Some(overview) = self.overview { (notice::bar(words, overview)) }
                }
            }
        }
    }

    /// The sentence about what somebody just did. A page that asks for itself again does not take it away from the
    /// page that it is for.
    fn said(&self) -> Markup {
        let session = self.guest.session.as_ref().filter(|_| !self.guest.asks_again);
        match session.and_then(|session| session.take_said()) {
            None => html! {},
            Some(Said::Well(sentence)) => html! { p.said.good role="status" { (sentence) } },
            Some(Said::Badly(sentence)) => html! { p.said.bad role="alert" { (sentence) } },
        }
    }
}

/// The hidden field that shows a form to be this session's.
pub(super) fn token(guest: &Guest) -> Markup {
    html! {
        @if let Some(session) = &guest.session {
            input type="hidden" name=(TOKEN_FIELD) value=(session.form_token().text());
        }
    }
}

/// A form with one button, and what it says besides.
pub(super) fn button(guest: &Guest, action: &str, class: &str, name: &str, fields: &[(&str, &str)]) -> Markup {
    html! {
        form action=(action) method="post" {
            (token(guest))
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button class=(class) { (name) }
        }
    }
}

/// The same behind a question: what cannot be undone takes two touches.
pub(super) fn careful(guest: &Guest, action: &str, (name, question): (&str, &str), fields: &[(&str, &str)]) -> Markup {
    html! {
        details.careful {
            summary { (name) }
            p { (question) }
            (button(guest, action, "danger", name, fields))
        }
    }
}

/// The choice of a language, which every page before set-up has, too.
pub(super) fn languages(guest: &Guest, back: &str) -> Markup {
    html! {
        div.languages role="group" aria-label=(guest.language.words().language) {
            @for language in Language::ALL {
                @let words = language.words();
                form action="/language" method="post" {
                    (token(guest))
                    input type="hidden" name="back" value=(back);
                    button name="language" value=(words.code) lang=(words.code)
                        aria-pressed=(if *language == guest.language { "true" } else { "false" }) { (words.own_name) }
                }
            }
        }
    }
}
