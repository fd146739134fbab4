//! The words of the pages, a file for each language. A language that lacks a word does not compile.

mod de;
mod en;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use kith_dbus::{Failure, RefusalName};

/// A language. A third one is a file like `en.rs`, and a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// English.
    English,
    /// German.
    German,
}

impl Language {
    /// All there are.
    pub(crate) const ALL: &[Self] = &[Self::English, Self::German];

    /// Its words.
    pub(crate) fn words(self) -> &'static Words {
        match self {
            Self::English => &en::WORDS,
            Self::German => &de::WORDS,
        }
    }

    /// The one with this code.
    pub(crate) fn by_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|language| language.words().code == code)
    }

    /// The first one that a browser asks for (RFC 9110 §12.5.4). Browsers list them in their user's order.
    pub(crate) fn asked_for(headers: &HeaderMap) -> Option<Self> {
        let asked = headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?;
        let tags = asked.split(',').map(|tag| tag.split(';').next().unwrap_or_default().trim());
        tags.filter_map(|tag| Self::by_code(tag.split('-').next().unwrap_or_default())).next()
    }
}

/// A language that is not there.
#[derive(Debug, thiserror::Error)]
#[error("the pages do not speak `{code}`; choose one of {known}")]
pub(crate) struct UnknownLanguage {
    code: String,
    known: String,
}

/// A language as the command line names it.
pub(crate) fn parse_language(code: &str) -> Result<Language, UnknownLanguage> {
    Language::by_code(code).ok_or_else(|| {
        let codes: Vec<&str> = Language::ALL.iter().map(|language| language.words().code).collect();
        UnknownLanguage { code: code.to_owned(), known: codes.join(", ") }
    })
}

/// Defines the words, each a text.
macro_rules! words {
    ($($name:ident,)*) => {
        /// What the pages say in one language.
        pub(crate) struct Words {
            /// The language's tag (RFC 5646).
            pub(crate) code: &'static str,
            /// What it calls itself.
            pub(crate) own_name: &'static str,
            /// The letters of its keyboard, by rows.
            pub(crate) keys: [&'static str; 4],
            /// Replies that are proposed.
            pub(crate) replies: [&'static str; 5],
            /// So many seconds, in words.
            pub(crate) duration: fn(u64) -> String,
            /// What to do about a refusal; without it the daemon's own sentence is shown, which is English.
            pub(crate) refusal: fn(RefusalName) -> Option<&'static str>,
            $(pub(crate) $name: &'static str,)*
        }

        #[cfg(test)]
        impl Words {
            fn texts(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

words! {
    // Everywhere.
    skip, back, keyboard, lost, save, saved, cancel, more, understood, actions, language, name, gone, gone_text,
    // The keyboard.
    key_shift, key_signs, key_space, key_delete, key_enter,
    // The way in, and what stands in it.
    signed_out, signed_out_text, signed_out_refused, away, away_text, locked, locked_text, unlock, secret,
    welcome, welcome_text, own_display_name, secret_text, secret_again, secrets_differ, begin,
    // Home.
    settings, no_contacts, more_contacts, pair, new_room, unread, online, offline, blocked, pending, link_direct,
    link_relayed, room_removed, room_frozen, members,
    // The signaling server.
    signaling_connecting, signaling_online, signaling_bad_login, signaling_in_use, signaling_version, signaling_busy,
    logging_unknown, logging_active, logging_disabled, logging_debug,
    // Conversations.
    about_conversation, messages, no_messages, older, message, send, quick_replies, queued, delivered, read,
    disappears_after, disappear_after, expiry, expiry_text, never, no_text, missing, silent_blocked, silent_pending,
    silent_removed, silent_frozen,
    // Contacts.
    last_seen, safety_number, safety_text, verify, verified, unverify, block, block_text, blocked_text, unblock,
    client_id, remove, remove_question, link_none_text, link_direct_text, link_relayed_text,
    // Rooms.
    yourself, owner, add_member, hand_over, leave, leave_question, new_room_text, create_room,
    // Pairing.
    invite, invite_text, show_invite, invite_scan, accept, accept_text, link, other_server, accept_button, under_way,
    pairing_waiting, pairing_connecting, pairing_done, pairing_failed, pairing_comparing, pairing_confirmed, talk_to, open_until, compare, compare_text,
    compare_show, compare_code, compare_button, compare_type, compare_question, compare_same,
    // Settings.
    history, history_messages, history_days, history_text, server, about, shut, shut_text, change_secret, secret_old,
    secret_new, screen_locked, lock_screen, pin, pin_text, pin_set_text, pin_choose, pin_change, pin_new, pin_again,
    pin_or_secret, not_kept,
    // Backups.
    backup, backup_text, backup_open, export, export_text, export_button, export_take, import, import_text,
    import_new_text, import_choose, import_secret, import_replace, import_button, import_refused, task_running,
    task_done, task_failed, task_cancelled,
    // The idle screen.
    clock, wake,
    // Failures.
    failure_away, failure_denied, failure_timeout, failure_gone,
}

impl Words {
    /// What to do about a failure, in one sentence.
    pub(crate) fn failure(&self, failure: &Failure) -> String {
        match failure {
            Failure::Refused(refusal) => {
                (self.refusal)(refusal.name).map_or_else(|| refusal.sentence.clone(), str::to_owned)
            }
            Failure::NotReachable(_) => self.failure_away.to_owned(),
            Failure::Denied(_) => self.failure_denied.to_owned(),
            Failure::TimedOut => self.failure_timeout.to_owned(),
            Failure::NoObject => self.failure_gone.to_owned(),
            Failure::InvalidArgs(_) | Failure::Bus(_) => failure.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::HeaderValue;
    use kith_dbus::Refusal;

    use super::*;

    #[test]
    fn every_language_says_everything_in_its_own_words() {
        let english = Language::English.words();
        for language in Language::ALL {
            let words = language.words();
            assert!(words.texts().iter().all(|(_, text)| !text.trim().is_empty()), "{}", words.code);
            if *language != Language::English {
                let same = words.texts().into_iter().zip(english.texts()).filter(|(one, other)| one == other).count();
                // A few words are the same in two languages.
                assert!(same * 20 < words.texts().len(), "{same} texts of {} are English", words.code);
            }
        }
    }

    #[test]
    fn every_refusal_is_a_sentence_of_the_language() {
        let shown = |language: Language| {
            let words = language.words();
            let refused = |name: &RefusalName| words.failure(&Failure::Refused(Refusal::new(*name, "Wait 4 s.")));
            RefusalName::ALL.iter().map(refused).collect::<Vec<_>>()
        };
        assert!(shown(Language::English).iter().all(|sentence| sentence == "Wait 4 s."));
        let german = shown(Language::German);
        assert!(german.iter().all(|sentence| sentence != "Wait 4 s." && !sentence.is_empty()));
        assert_eq!(german.iter().collect::<BTreeSet<_>>().len(), RefusalName::ALL.len());
    }

    #[test]
    fn a_browser_s_first_language_that_is_there_is_taken() {
        let asked = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(text));
            Language::asked_for(&headers)
        };
        assert_eq!(asked("fr, de-AT;q=0.9, en;q=0.8"), Some(Language::German));
        assert_eq!(asked("en-US,de"), Some(Language::English));
        assert_eq!((asked("fr"), asked("")), (None, None));
        assert!(parse_language("xx").is_err_and(|error| error.to_string().contains("en, de")));
    }
}
