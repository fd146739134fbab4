//! An invite or a safety number as a QR code of half blocks.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Black on white whatever the terminal's colours are: some readers refuse inverted codes.
const BLACK_ON_WHITE: &str = "\u{1b}[30;107m";

/// Back to the terminal's colours.
const PLAIN: &str = "\u{1b}[0m";

/// The code, or nothing if the text is too long for one. Upper-case text of base32 takes the
/// alphanumeric mode: 11 bits for two characters instead of 16.
pub(crate) fn blocks(invite: &str) -> Option<String> {
    let text = invite.to_uppercase();
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    let image = code.render::<Dense1x2>().build();
    let mut lines = String::new();
    for line in image.lines() {
        lines.push_str(BLACK_ON_WHITE);
        lines.push_str(line);
        lines.push_str(PLAIN);
        lines.push('\n');
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as an invite with a server of 30 and a name of 10 bytes.
    fn invite() -> String {
        format!("kith:{}", "abcdefghijklmnopqrstuvwxyz234567".repeat(11))
    }

    #[test]
    fn an_invite_takes_the_alphanumeric_mode() {
        // Version 10 holds 395 alphanumeric characters at level L, but only 271 bytes.
        let code = QrCode::with_error_correction_level(invite().to_uppercase().as_bytes(), EcLevel::L).unwrap();
        assert_eq!(code.version(), qrcode::Version::Normal(10));
    }

    #[test]
    fn two_rows_share_a_line_and_a_white_border_surrounds_them() {
        let blocks = blocks(&invite()).unwrap();
        // Version 10 has 57 modules a side, and 4 of border on each.
        assert_eq!(blocks.lines().count(), 65_usize.div_ceil(2));
        let first = blocks.lines().next().unwrap();
        assert_eq!(first, format!("{BLACK_ON_WHITE}{}{PLAIN}", " ".repeat(65)));
    }

    #[test]
    fn what_no_code_can_hold_gives_none() {
        assert_eq!(blocks(&"A".repeat(5_000)), None);
    }
}
