//! The signs on buttons, drawn here: fonts of small boards lack them.

use maud::{Markup, html};

/// What a button shows beside or in the place of its name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sign {
    Back,
    Settings,
    About,
    Keyboard,
    Send,
    Shift,
    Space,
    Delete,
    Enter,
    More,
    Lock,
}

/// The drawing, of strokes on 24 by 24. The button has a name of its own.
pub(super) fn sign(sign: Sign) -> Markup {
    let path = match sign {
        Sign::Back => "M15 5l-7 7 7 7",
        Sign::Settings => "M4 7h9M19 7h1M4 17h1M11 17h9M16 4v6M8 14v6",
        Sign::About => "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18zM12 11v5M12 8v.01",
        Sign::Keyboard => "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M7 14h10",
        Sign::Send => "M4 12L20 4l-4 16-4-7z",
        Sign::Shift => "M12 4l8 8h-4v7H8v-7H4z",
        Sign::Space => "M4 10v5h16v-5",
        Sign::Delete => "M8 5h13v14H8l-6-7zM12 9l5 6M17 9l-5 6",
        Sign::Enter => "M20 5v7H5M9 7l-5 5 5 5",
        Sign::Lock => "M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3",
        Sign::More => "M5 12h.01M12 12h.01M19 12h.01",
    };
    html! { svg.sign viewBox="0 0 24 24" aria-hidden="true" { path d=(path) {} } }
}
