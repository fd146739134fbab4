//! The secret that the system hands to the daemon when it starts it (systemd's credentials).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Its name: `LoadCredentialEncrypted=kith.secret` in the unit.
pub const NAME: &str = "kith.secret";

/// The longest secret, bytes: what is longer is another file by mistake.
const SECRET_BYTES_MAX: usize = 8 * 1024;

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// It is there and cannot be read.
    #[error("cannot read the credential {0}: {1}; check its permissions")]
    Read(PathBuf, std::io::Error),
    /// It is too long.
    #[error("the credential {0} has more than {SECRET_BYTES_MAX} bytes, so it is not a secret; put the secret there")]
    TooLong(PathBuf),
    /// It is not text.
    #[error("the credential {0} is not UTF-8; put the secret there exactly as it would be typed")]
    NotText(PathBuf),
    /// There is nothing in it.
    #[error("the credential {0} is empty; put the secret there, or remove it")]
    Empty(PathBuf),
}

/// Where the system has put this process's credentials.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// The secret, exactly as it would be typed; `None` where there is no such credential.
///
/// # Errors
///
/// A credential that is there and is no secret; the sentence says what to do.
pub fn read(folder: &Path) -> Result<Option<Zeroizing<String>>, CredentialError> {
    let path = folder.join(NAME);
    let mut file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CredentialError::Read(path, error)),
    };
    // Never grows, so no copy is left behind.
    let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES_MAX + 1]);
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CredentialError::Read(path, error)),
        }
    }
    if length > SECRET_BYTES_MAX {
        return Err(CredentialError::TooLong(path));
    }
    match std::str::from_utf8(&bytes[..length]) {
        Ok("" | "\n") => Err(CredentialError::Empty(path)),
        Ok(secret) => Ok(Some(Zeroizing::new(secret.to_owned()))),
        Err(_) => Err(CredentialError::NotText(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_content(content: &[u8]) -> Result<Option<Zeroizing<String>>, CredentialError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), content).unwrap();
        read(folder.path())
    }

    #[test]
    fn a_credential_is_the_secret_as_typed() {
        assert_eq!(with_content("süß \n".as_bytes()).unwrap().unwrap().as_str(), "süß \n");
        let longest = "x".repeat(SECRET_BYTES_MAX);
        assert_eq!(*with_content(longest.as_bytes()).unwrap().unwrap(), longest);
    }

    #[test]
    fn no_credential_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        assert!(read(&folder.path().join("absent")).unwrap().is_none());
    }

    #[test]
    fn what_is_no_secret_is_refused_with_what_to_do() {
        let longer = [b'x'; SECRET_BYTES_MAX + 1];
        for (content, says) in [(&b""[..], "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (&longer, "8192 bytes")] {
            let error = with_content(content).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(NAME), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(NAME)).unwrap();
        assert!(matches!(read(folder.path()).unwrap_err(), CredentialError::Read(..)));
    }
}
