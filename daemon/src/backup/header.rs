//! The first line of a backup, and of the document that an encrypted one holds.

use kith_crypto::identity::ClientId;
use kith_crypto::vault::{ITERATIONS_MAX, ITERATIONS_MIN};
use serde::{Deserialize, Serialize};

use super::error::BackupError;
use crate::hex::Hex;

/// The longest first line, with its newline.
pub(super) const HEADER_BYTES_MAX: usize = 1_024;

/// The only version that this program reads and writes.
const VERSION: u32 = 1;
const DOCUMENT: &str = "kith backup";
const SEALED: &str = "kith sealed backup";
const KDF: &str = "PBKDF2-HMAC-SHA256";
const CIPHER: &str = "AES-256-GCM STREAM";

/// What every version begins with.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

/// The first line of the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DocumentHeader {
    format: String,
    version: u32,
    client_id: String,
    /// When it was made, milliseconds of UTC.
    pub(super) created_ms: u64,
}

/// The clear first line of an encrypted backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealedHeader {
    format: String,
    version: u32,
    client_id: String,
    kdf: String,
    /// PBKDF2 iterations.
    pub(super) iterations: u32,
    /// The random part of the PBKDF2 salt.
    pub(super) salt: Hex<16>,
    cipher: String,
    /// From which the file's key is derived.
    pub(super) file_salt: Hex<32>,
}

/// A first line of either kind.
#[derive(Debug)]
pub(super) enum Header {
    Document(DocumentHeader),
    Sealed(SealedHeader),
}

impl Header {
    /// Reads a first line, without its newline.
    pub(super) fn parse(line: &[u8]) -> Result<Self, BackupError> {
        let kind: Kind = serde_json::from_slice(line).map_err(|_| BackupError::NotOne)?;
        let sealed = match kind.format.as_str() {
            DOCUMENT => false,
            SEALED => true,
            _ => return Err(BackupError::NotOne),
        };
        if kind.version != VERSION {
            return Err(BackupError::Newer);
        }
        let damaged = || BackupError::Damaged("its first line does not parse");
        let header = if sealed {
            let header: SealedHeader = serde_json::from_slice(line).map_err(|_| damaged())?;
            let known = header.kdf == KDF && header.cipher == CIPHER;
            if !known || !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&header.iterations) {
                return Err(damaged());
            }
            Self::Sealed(header)
        } else {
            Self::Document(serde_json::from_slice(line).map_err(|_| damaged())?)
        };
        header.client_id()?;
        Ok(header)
    }

    /// Whose backup it is.
    pub(super) fn client_id(&self) -> Result<ClientId, BackupError> {
        let text = match self {
            Self::Document(header) => &header.client_id,
            Self::Sealed(header) => &header.client_id,
        };
        text.parse().map_err(|_| BackupError::Damaged("its first line names no device"))
    }
}

impl DocumentHeader {
    pub(super) fn new(client_id: &ClientId, created_ms: u64) -> Self {
        Self { format: DOCUMENT.to_owned(), version: VERSION, client_id: client_id.to_string(), created_ms }
    }
}

impl SealedHeader {
    pub(super) fn new(client_id: &ClientId, iterations: u32, salt: [u8; 16], file_salt: [u8; 32]) -> Self {
        Self {
            format: SEALED.to_owned(),
            version: VERSION,
            client_id: client_id.to_string(),
            kdf: KDF.to_owned(),
            iterations,
            salt: Hex(salt),
            cipher: CIPHER.to_owned(),
            file_salt: Hex(file_salt),
        }
    }
}
