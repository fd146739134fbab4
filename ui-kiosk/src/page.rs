//! The page: a pure function from what there is to see to HTML.

use std::fmt::{self, Write as _};

use kith_dbus::{LinkState, LoggingMode, Notice, Presence, Signaling};

use crate::view::{Peer, Status, View};

/// How often a browser asks again, in seconds. Without a script this is what keeps a screen true.
const REFRESH_S: u32 = 5;

/// Contacts on one page; a screen shows no more, and the page stays bounded.
const PEERS_MAX: usize = 200;

/// The style sheet: a file of its own, because the page's policy forbids styles inside it.
pub(crate) const STYLE: &str = "\
body { font: 1.25rem/1.5 sans-serif; margin: 2rem auto; max-width: 48rem; padding: 0 1rem; }
dt { font-weight: bold; }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid #999; padding: 0.25rem 0.5rem; text-align: left; }
.id { font-family: monospace; overflow-wrap: anywhere; }
.notice { border: 1px solid #999; padding: 0.5rem 1rem; }
.warning { background: #fd6; border: 3px solid #b00; color: #000; padding: 0.5rem 1rem; }
";

/// The page for what there is to see.
pub(crate) fn render(view: &View) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">\n\
         <title>Kith</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n\
         {body}</body>\n</html>\n",
        body = Body(view),
    );
    page
}

/// Text from outside, made harmless between tags and inside quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Marks that turn the direction of writing could make a name read as another.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

struct Body<'a>(&'a View);

impl fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            View::Away => f.write_str("<h1>Kith</h1>\n<p>The messenger is not running.</p>\n"),
            View::NeedsSetUp => f.write_str("<h1>Kith</h1>\n<p>This device has not been set up: kithctl set-up</p>\n"),
            View::Locked { client_id } => {
                f.write_str("<h1>Kith</h1>\n<p>The messenger is locked: kithctl unlock</p>\n")?;
                writeln!(f, "<p class=\"id\">{}</p>", Escaped(client_id))
            }
            View::Ready(status) => write_status(f, status),
        }
    }
}

fn write_status(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    writeln!(f, "<h1>{}</h1>", Escaped(&status.name))?;
    writeln!(f, "<dl>\n<dt>Client id</dt><dd class=\"id\">{}</dd>", Escaped(&status.client_id))?;
    writeln!(f, "<dt>Signaling server</dt><dd>{}</dd>\n</dl>", signaling(status.signaling))?;
    write_notice(f, &status.notice)?;
    if status.peers.is_empty() {
        return f.write_str("<p>No contacts.</p>\n");
    }
    f.write_str("<table>\n<tr><th>Contact</th><th>Presence</th><th>Connection</th></tr>\n")?;
    for peer in status.peers.iter().take(PEERS_MAX) {
        write_peer(f, peer)?;
    }
    f.write_str("</table>\n")?;
    match status.peers.len().checked_sub(PEERS_MAX) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(f, "<p>And {more} more: kithctl peers</p>"),
    }
}

fn write_notice(f: &mut fmt::Formatter<'_>, notice: &Notice) -> fmt::Result {
    let (class, role, what) = match notice.mode {
        LoggingMode::Unknown => ("notice", "note", "The signaling server has not said what it logs."),
        LoggingMode::Active => ("notice", "note", "The signaling server logs connections, with shortened addresses."),
        LoggingMode::Disabled => ("notice", "note", "The signaling server logs nothing about connections."),
        LoggingMode::Debug => ("warning", "alert", "Warning: the signaling server logs full addresses."),
    };
    writeln!(f, "<p class=\"{class}\" role=\"{role}\">{what} {}</p>", Escaped(&notice.text))
}

fn write_peer(f: &mut fmt::Formatter<'_>, peer: &Peer) -> fmt::Result {
    let presence = match peer.presence {
        Presence::Unknown => "unknown",
        Presence::Offline => "offline",
        Presence::Online => "online",
    };
    let link = match peer.link {
        LinkState::Unknown => "unknown",
        LinkState::None => "none",
        LinkState::Direct => "direct; it sees this device's address",
        LinkState::Relayed => "relayed",
    };
    writeln!(f, "<tr><td>{}</td><td>{presence}</td><td>{link}</td></tr>", Escaped(&peer.name))
}

fn signaling(state: Signaling) -> &'static str {
    match state {
        Signaling::Unknown => "unknown",
        Signaling::Connecting => "connecting",
        Signaling::Online => "online",
        Signaling::BadLogin => "refused: bad login",
        Signaling::IdentityInUse => "refused: another device uses this identity",
        Signaling::UnsupportedVersion => "refused: it speaks another version",
        Signaling::Busy => "busy; trying again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let peer = Peer { name: "bob".into(), presence: Presence::Online, link: LinkState::Direct };
        Status {
            name: "alice".into(),
            client_id: "aaaa-bbbb".into(),
            signaling: Signaling::Online,
            notice: Notice { mode: LoggingMode::Active, text: "ask the operator".into() },
            peers: vec![peer],
        }
    }

    #[test]
    fn the_page_shows_who_is_there_and_what_the_server_logs() {
        let page = render(&View::Ready(status()));
        for text in ["alice", "aaaa-bbbb", "bob", "online", "direct", "shortened addresses", "ask the operator"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains("Warning"));
    }

    #[test]
    fn a_server_in_debug_mode_is_a_warning() {
        let notice = Notice { mode: LoggingMode::Debug, text: String::new() };
        let page = render(&View::Ready(Status { notice, ..status() }));
        assert!(page.contains("class=\"warning\" role=\"alert\">Warning: "), "{page}");
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let evil = "<script>\"'&\u{0}\u{202e}</script>";
        let peer = Peer { name: evil.into(), presence: Presence::Unknown, link: LinkState::Unknown };
        let notice = Notice { mode: LoggingMode::Unknown, text: evil.into() };
        let (name, client_id) = (evil.to_owned(), evil.to_owned());
        let ready = Status { name, client_id, signaling: Signaling::Unknown, notice, peers: vec![peer] };
        for view in [View::Ready(ready), View::Locked { client_id: evil.into() }] {
            let page = render(&view);
            assert!(!page.contains("<script"), "{page}");
            assert!(!page.contains(['\u{0}', '\u{202e}']), "{page}");
            assert!(page.contains("&lt;script&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}&lt;/script&gt;"), "{page}");
        }
    }

    #[test]
    fn the_page_holds_no_script_and_no_inline_style() {
        for view in [View::Away, View::NeedsSetUp, View::Ready(status())] {
            let page = render(&view);
            assert!(!page.contains("<script") && !page.contains("style="), "{page}");
        }
    }

    #[test]
    fn a_page_of_many_contacts_stays_bounded_and_says_so() {
        let mut many = status();
        many.peers = vec![many.peers[0].clone(); PEERS_MAX + 3];
        let page = render(&View::Ready(many));
        assert_eq!(page.matches("<td>bob</td>").count(), PEERS_MAX);
        assert!(page.contains("And 3 more"), "{page}");
    }
}
