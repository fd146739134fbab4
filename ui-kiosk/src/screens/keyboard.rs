//! The on-screen keyboard. Its script shows it and types; the keys are those of the language.

use maud::{Markup, html};

use crate::words::Words;

/// The second layer, the same in every language.
const SIGNS: [&str; 4] = ["1234567890", "@#%&*-+=()", "!?.,:;'\"/_", "<>[]{}€$§°"];

/// The keyboard, hidden until somebody wants it. Real keyboards do not stop at its keys.
pub(super) fn keyboard(words: &Words) -> Markup {
    html! {
        div #keyboard role="group" aria-label=(words.keyboard) hidden {
            (layer("letters", &words.keys, false))
            (layer("signs", &SIGNS, true))
            div.keys.controls {
                (control("shift", words.key_shift, "⇧"))
                (control("layer", words.key_signs, "?123"))
                (control("space", words.key_space, "␣"))
                (control("delete", words.key_delete, "⌫"))
                (control("enter", words.key_enter, "⏎"))
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

fn control(name: &str, label: &str, sign: &str) -> Markup {
    html! { button type="button" tabindex="-1" data-control=(name) aria-label=(label) { (sign) } }
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
