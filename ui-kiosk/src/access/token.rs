//! Random tokens that nobody guesses.

use std::fmt;
use std::io;

use data_encoding::BASE64URL_NOPAD;

/// 256 bits.
const TOKEN_BYTES: usize = 32;

/// A token: of a login, of a session, of its forms.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// A fresh one.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(BASE64URL_NOPAD.encode(&bytes)))
    }

    /// Reads one that was kept.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        (bytes.len() == TOKEN_BYTES).then(|| Self(text.to_owned()))
    }

    /// Its text, a secret.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Whether a text is this token. It takes as long for every text of the right length.
    pub(crate) fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        own.len() == other.len() && own.iter().zip(other).fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_only_and_is_not_shown() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert!(one.is(one.text()) && !one.is(other.text()) && !one.is(""));
        assert_eq!(format!("{one:?}"), "Token(..)");
    }

    #[test]
    fn what_is_no_token_is_not_read_as_one() {
        let token = Token::random().unwrap();
        assert!(Token::parse(token.text()).is_some_and(|read| read.is(token.text())));
        for text in ["", "AAAA", "not base64 at all!"] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }
}
