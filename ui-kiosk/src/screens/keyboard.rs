//! The on-screen keyboard. Its script shows it and types; the keys are those of the language.

use maud::{Markup, html};

use super::sign::{Sign, sign};
use crate::words::Words;

/// The second layer, the same in every language.
const SIGNS: [&str; 4] = ["1234567890", "@#%&*-+=()", "!?.,:;'\"/_", "<>[]{}€$§°"];

/// The keyboard, hidden until somebody wants it. Real keyboards do not stop at its keys.
pub(super) fn keyboard(words: &Words) -> Markup {
    html! {
        section #keyboard aria-label=(words.keyboard) hidden {
            (layer("letters", &words.keys, false))
            (layer("signs", &SIGNS, true))
            div.keys.controls {
                (control("shift", words.key_shift, sign(Sign::Shift)))
                (control("layer", words.key_signs, html! { (words.key_signs) }))
                (control("space", words.key_space, sign(Sign::Space)))
                (control("delete", words.key_delete, sign(Sign::Delete)))
                (control("enter", words.key_enter, sign(Sign::Enter)))
            }
        }
    }
}

fn layer(name: &str, rows: &[&str], hidden: bool) -> Markup {
    html! {
        div.layer data-layer=(name) hidden[hidden] {
            @for row in rows {
                div.keys {
                    @for key in row.chars() { button type="button" tabindex="-1" data-key=(key) { (key) } }
                }
            }
        }
    }
}

fn control(name: &str, label: &str, shown: Markup) -> Markup {
    html! { button type="button" tabindex="-1" data-control=(name) aria-label=(label) { (shown) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;

    #[test]
    fn every_language_can_type_a_link_a_name_and_digits() {
        for language in Language::ALL {
            let shown = keyboard(language.words()).into_string();
            for key in ('a'..='z').chain('0'..='9').chain([':', '-', '.', '/']) {
                assert!(shown.contains(&format!("data-key=\"{key}\"")), "{key} in {}", language.words().code);
            }
        }
        let german = keyboard(Language::German.words()).into_string();
        assert!(['ä', 'ö', 'ü', 'ß'].iter().all(|key| german.contains(&format!("data-key=\"{key}\""))));
    }
}
