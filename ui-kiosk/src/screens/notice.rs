//! What people should know at any time: the connection to the signaling server, and what that server logs.

use kith_dbus::{LoggingMode, Signaling};
use maud::{Markup, html};

use super::text::Outside;
use crate::bus::Overview;
use crate::words::Words;

/// The bar under the title. It is there when something is not as it should be, or when the server records full
/// addresses, which stands out.
pub(super) fn bar(words: &Words, overview: &Overview) -> Markup {
    html! {
        @if overview.signaling != Signaling::Online {
            p.notice role="status" { (signaling(words, overview.signaling)) }
        }
        @if overview.notice.mode == LoggingMode::Debug { (logging(words, overview)) }
    }
}

/// What the server logs, in the operator's words, too: those of a server in debug mode name the legal basis.
pub(super) fn logging(words: &Words, overview: &Overview) -> Markup {
    let (class, sentence) = match overview.notice.mode {
        LoggingMode::Unknown => ("notice", words.logging_unknown),
        LoggingMode::Active => ("notice", words.logging_active),
        LoggingMode::Disabled => ("notice", words.logging_disabled),
        LoggingMode::Debug => ("notice warning", words.logging_debug),
    };
    html! {
        p class=(class) role="note" {
            strong { (sentence) }
            @if !overview.notice.text.is_empty() { " " span lang="und" { (Outside(&overview.notice.text)) } }
        }
    }
}

/// The connection to the signaling server.
pub(super) fn signaling(words: &Words, state: Signaling) -> &'static str {
    match state {
        Signaling::Unknown | Signaling::Connecting => words.signaling_connecting,
        Signaling::Online => words.signaling_online,
        Signaling::BadLogin => words.signaling_bad_login,
        Signaling::IdentityInUse => words.signaling_in_use,
        Signaling::UnsupportedVersion => words.signaling_version,
        Signaling::Busy => words.signaling_busy,
    }
}

#[cfg(test)]
mod tests {
    use kith_dbus::Notice;

    use super::*;
    use crate::words::Language;

    fn overview(mode: LoggingMode, text: &str) -> Overview {
        let notice = Notice { mode, text: text.to_owned() };
        Overview { signaling: Signaling::Online, notice, ..Overview::default() }
    }

    #[test]
    fn a_server_that_records_full_addresses_stands_out_on_every_page_with_its_legal_basis() {
        for language in Language::ALL {
            let words = language.words();
            let bar = bar(words, &overview(LoggingMode::Debug, "Legal basis: GDPR <Art. 6>")).into_string();
            assert!(bar.contains("warning") && bar.contains(words.logging_debug), "{bar}");
            assert!(bar.contains("Legal basis: GDPR &lt;Art. 6&gt;"), "{bar}");
        }
    }

    #[test]
    fn the_bar_is_empty_while_all_is_well() {
        let words = Language::English.words();
        assert_eq!(bar(words, &overview(LoggingMode::Active, "ask us")).into_string(), "");
        let offline = Overview { signaling: Signaling::Busy, ..overview(LoggingMode::Active, "") };
        assert!(bar(words, &offline).into_string().contains(words.signaling_busy));
    }
}
