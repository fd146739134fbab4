//! Text as it is safe to show, times, and durations as people write them.

use std::fmt::Write as _;

/// Text from elsewhere, on one line: what would steer the terminal or reorder the line is escaped.
pub(crate) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ if steers(character) => {
                // Writing to a string does not fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
            }
            _ => safe.push(character),
        }
    }
    safe
}

/// JSON text in which nothing steers the terminal: such characters stand inside strings only, where
/// their escapes mean the same.
pub(crate) fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if steers(character) {
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Control characters, and those that change the direction of writing or break lines.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

/// A time in UTC, `2026-01-31 09:05:00Z`.
pub(crate) fn utc(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
        // A number that is no time; years beyond are not worth the counting.
        if year > 9999 {
            return format!("{ms} ms");
        }
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (hours, minutes, seconds) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{:02} {hours:02}:{minutes:02}:{seconds:02}Z", days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A time after which messages disappear; `never` is 0.
pub(crate) fn expiry(text: &str) -> Result<u32, String> {
    if text == "never" { Ok(0) } else { seconds(text) }
}

/// Seconds from `90`, `90s`, `10m`, `2h` or `1d`.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let (number, factor) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        None => (text, 1),
        Some(number) if text.ends_with('s') => (number, 1),
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) if text.ends_with('h') => (number, 3_600),
        Some(number) => (number, 86_400),
    };
    let number: u32 = number.parse().map_err(|_| "write 90, 90s, 10m, 2h or 1d".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too long".to_owned())
}

/// Reads a number of bytes: plain, or in thousands, millions or thousands of millions.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.strip_suffix(['k', 'M', 'G']) {
        None => (text, 1),
        Some(number) if text.ends_with('k') => (number, 1_000),
        Some(number) if text.ends_with('M') => (number, 1_000_000),
        Some(number) => (number, 1_000_000_000),
    };
    let number: u64 = number.parse().map_err(|_| "write 300000, 500k, 20M or 1G".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "too much".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_contact_writes_steers_the_terminal() {
        assert_eq!(safe("a\u{1b}[2Jb\nc\u{9b}31m"), "a\\u{1b}[2Jb\\nc\\u{9b}31m");
        assert_eq!(safe("abc\u{202e}cba"), "abc\\u{202e}cba");
        assert_eq!(safe("Grüße, 世界 🙂"), "Grüße, 世界 🙂");
    }

    #[test]
    fn escaped_json_says_the_same() {
        let value = serde_json::json!({ "text": "\u{7f}\u{9b}\u{202e}\u{1b}ü" });
        let json = safe_json(&value.to_string());
        assert!(json.chars().all(|c| !steers(c)), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00Z");
        assert_eq!(utc(951_827_696_000), "2000-02-29 12:34:56Z");
        assert_eq!(utc(1_767_225_599_999), "2025-12-31 23:59:59Z");
        assert_eq!(utc(u64::MAX), format!("{} ms", u64::MAX));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(["0", "7", "500k", "20M", "1G"].map(bytes), [0, 7, 500_000, 20_000_000, 1_000_000_000].map(Ok));
        for wrong in ["", "k", "1T", "-1", "1.5M", "99999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("10m"), Ok(600));
        assert_eq!(seconds("2h"), Ok(7_200));
        assert_eq!(seconds("1d"), Ok(86_400));
        for text in ["", "m", "-1", "1w", "1.5h", "99999999d", "١m"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
