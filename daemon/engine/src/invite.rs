//! The text of an invite (docs/protocol.md §4.1).

use data_encoding::BASE32_NOPAD;
use kith_crypto::identity::Card;
use kith_crypto::invite::{InviteSecret, checksum};
use zeroize::Zeroizing;

const SCHEME: &str = "kith:";
const FORMAT: u8 = 1;
const CARD_BYTES: usize = 130;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
/// URL and name have a length byte each.
const FIELD_BYTES_MAX: usize = 255;
/// Format, card, secret, expiry, both fields at their longest, checksum.
const BINARY_BYTES_MAX: usize = 1 + CARD_BYTES + SECRET_BYTES + 8 + 2 * (1 + FIELD_BYTES_MAX) + CHECKSUM_BYTES;
/// The scheme, and the binary form in characters of 5 bits.
const TEXT_BYTES_MAX: usize = SCHEME.len() + (BINARY_BYTES_MAX * 8).div_ceil(5);

/// What an invite says.
pub struct Invite {
    /// The inviter's.
    pub card: Card,
    /// What the keys of the pairing are made from.
    pub secret: InviteSecret,
    /// Seconds of UTC; informs only, the inviter enforces it.
    pub expires_utc_s: u64,
    /// Of the inviter's signaling server.
    pub url: String,
    /// The inviter's.
    pub name: String,
}

impl Invite {
    /// The `kith:` text, a secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BINARY_BYTES_MAX));
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.card.as_bytes());
        bytes.extend_from_slice(self.secret.as_bytes());
        bytes.extend_from_slice(&self.expires_utc_s.to_be_bytes());
        for field in [&self.url, &self.name] {
            let field = shortened(field);
            bytes.push(field.len() as u8);
            bytes.extend_from_slice(field.as_bytes());
        }
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX));
        text.push_str(SCHEME);
        let mut encoded = Zeroizing::new(BASE32_NOPAD.encode(&bytes));
        encoded.make_ascii_lowercase();
        text.push_str(&encoded);
        text
    }

    /// Reads the text; either case, surrounding white space ignored.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        // Before the first copy: whoever pastes something else may paste a lot of it.
        if text.len() > TEXT_BYTES_MAX {
            return Err("it is too long");
        }
        let upper = Zeroizing::new(text.to_ascii_uppercase());
        let encoded = upper.strip_prefix("KITH:").ok_or("it does not begin with kith:")?;
        let bytes = BASE32_NOPAD.decode(encoded.as_bytes()).map_err(|_| "it is cut off or mistyped")?;
        let bytes = Zeroizing::new(bytes);
        let split = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or("it is cut off")?;
        let (content, sum) = bytes.split_at(split);
        if checksum(content) != *sum {
            return Err("it is cut off or mistyped");
        }
        let mut reader = Reader(content);
        if reader.take(1)? != [FORMAT] {
            return Err("it is made by a newer version; update this device");
        }
        let card = Card::parse(reader.take(CARD_BYTES)?).map_err(|_| "its identity does not verify")?;
        let secret = reader.take(SECRET_BYTES)?.try_into().map_err(|_| "it is cut off")?;
        let expires = reader.take(8)?.try_into().map_err(|_| "it is cut off")?;
        let url = reader.field()?;
        let name = reader.field()?;
        if !reader.0.is_empty() {
            return Err("it has something after its end");
        }
        Ok(Self {
            card,
            secret: InviteSecret::from_bytes(secret),
            expires_utc_s: u64::from_be_bytes(expires),
            url,
            name,
        })
    }
}

/// The field, cut at a character's border so that its length fits into a byte.
fn shortened(field: &str) -> &str {
    let mut end = field.len().min(FIELD_BYTES_MAX);
    while !field.is_char_boundary(end) {
        end -= 1;
    }
    &field[..end]
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self.0.split_at_checked(count).ok_or("it is cut off")?;
        self.0 = rest;
        Ok(head)
    }

    fn field(&mut self) -> Result<String, &'static str> {
        let [length] = self.take(1)? else { return Err("it is cut off") };
        let bytes = self.take(usize::from(*length))?;
        core::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "its text is not UTF-8")
    }
}
