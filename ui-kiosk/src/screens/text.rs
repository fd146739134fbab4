//! Text from outside, and times.

use maud::{Markup, Render, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Text from outside, made harmless: escaped as all text is, and without what makes a name read as another.
pub(super) struct Outside<'a>(pub(super) &'a str);

impl Render for Outside<'_> {
    fn render_to(&self, buffer: &mut String) {
        let clean: String = self.0.chars().map(harmless).collect();
        clean.as_str().render_to(buffer);
    }
}

fn harmless(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        // Marks that turn the direction of writing, and other controls.
        '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// A name from outside, which does not turn the writing around it.
pub(super) fn name(name: &str) -> Markup {
    html! { bdi { (Outside(name)) } }
}

/// The same where there is no room for markup: a title, an attribute.
pub(super) fn plain(name: &str) -> String {
    name.chars().map(harmless).collect()
}

/// A time. The browser knows the time zone, and its script says it in words; without that it is UTC.
pub(super) fn time(ms: u64) -> Markup {
    let written = i64::try_from(ms / 1000)
        .ok()
        .and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok())
        .and_then(|time| time.format(&Rfc3339).ok());
    html! {
        @if let Some(written) = written.filter(|_| ms > 0) { time datetime=(written) { (written) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let evil = "<script>\"&\u{0}\u{202e}</script>";
        let shown = html! { p title=(Outside(evil)) { (name(evil)) } }.into_string();
        let harmless = "&lt;script&gt;&quot;&amp;\u{fffd}\u{fffd}&lt;/script&gt;";
        assert_eq!(shown, format!("<p title=\"{harmless}\"><bdi>{harmless}</bdi></p>"));
    }

    #[test]
    fn a_time_is_for_the_browser_to_read_and_none_is_not_shown() {
        let shown = time(1_764_070_000_123).into_string();
        assert_eq!(shown, "<time datetime=\"2025-11-25T11:26:40Z\">2025-11-25T11:26:40Z</time>");
        assert_eq!((time(0).into_string(), time(u64::MAX).into_string()), (String::new(), String::new()));
    }
}
