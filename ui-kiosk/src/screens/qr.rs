//! A QR code as a drawing.

use std::fmt::Write as _;

use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around a code, which readers need (ISO/IEC 18004 §6.3.8).
const BORDER: usize = 4;

/// The code, or nothing if the text is too long for one.
pub(super) fn code(text: &str, label: &str) -> Markup {
    let Ok(code) = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L) else { return html! {} };
    let width = code.width();
    let mut path = String::new();
    for (index, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            // Writing to a String cannot fail.
            let _ = write!(path, "M{} {}h1v1h-1z", index % width + BORDER, index / width + BORDER);
        }
    }
    let side = width + 2 * BORDER;
    html! {
        svg.qr viewBox={ "0 0 " (side) " " (side) } role="img" aria-label=(label) shape-rendering="crispEdges" {
            // White in the dark, too: some readers refuse inverted codes.
            rect width=(side) height=(side) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_a_border_and_a_name() {
        let shown = code("KITH:AAAA", "an invite").into_string();
        // Version 1 has 21 modules a side.
        assert!(shown.contains("viewBox=\"0 0 29 29\"") && shown.contains("aria-label=\"an invite\""), "{shown}");
        assert!(shown.contains("M4 4h1v1h-1z"), "{shown}");
    }

    #[test]
    fn what_no_code_can_hold_is_not_shown() {
        assert_eq!(code(&"A".repeat(5_000), "too long").into_string(), "");
    }
}
