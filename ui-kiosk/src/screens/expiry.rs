//! After how long the messages of a conversation disappear: the same card for contacts and rooms.

use kith_dbus::Failure;
use maud::{Markup, html};

use super::frame::token;
use crate::bus::{Bus, Conversation};
use crate::http::{Guest, Posted};
use crate::words::Words;

/// What there is to choose, seconds: never, an hour, a day, a week, thirty days.
const CHOICES_S: [u32; 5] = [0, 3_600, 86_400, 604_800, 2_592_000];

/// The choice. What a program has set besides stays to be seen.
pub(super) fn card(words: &Words, guest: &Guest, action: &str, expiry_s: u32) -> Markup {
    let other = Some(expiry_s).filter(|expiry_s| !CHOICES_S.contains(expiry_s));
    html! {
        section.card {
            h2 { (words.expiry) }
            p { (words.expiry_text) }
            form action=(action) method="post" {
                (token(guest))
                input type="hidden" name="do" value="expiry";
                div.wrap role="group" aria-label=(words.expiry) {
                    @for choice in CHOICES_S.into_iter().chain(other) {
                        button name="seconds" value=(choice)
                            aria-pressed=(if choice == expiry_s { "true" } else { "false" }) {
                            @if choice == 0 { (words.never) } @else { ((words.duration)(choice.into())) }
                        }
                    }
                }
            }
        }
    }
}

/// Sets it.
pub(super) async fn set(bus: &Bus, conversation: &Conversation, posted: &Posted) -> Result<(), Failure> {
    let Ok(seconds) = posted.text("seconds").parse() else { return Ok(()) };
    bus.conversation(conversation.path()).await?.set_expiry_seconds(seconds).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Mark;
    use crate::words::Language;

    #[test]
    fn what_is_set_is_marked_even_if_a_program_has_set_it() {
        let guest = Guest { session: None, language: Language::English, asks_again: false, mark: Mark::first() };
        for (expiry_s, name) in [(0, "never"), (86_400, "24 hours"), (300, "5 minutes")] {
            let shown = card(Language::English.words(), &guest, "/", expiry_s).into_string();
            let marked: Vec<&str> = shown.split("aria-pressed=\"true\">").skip(1).collect();
            assert_eq!(marked.len(), 1, "{shown}");
            assert!(marked[0].starts_with(name), "{shown}");
        }
    }
}
