//! TLS with a certificate that may be renewed while the server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The certificate and those that lead to its authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used; each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file with the certificates.
    #[error("{0} holds no certificate that can be read; it must be PEM, with the server's certificate first")]
    Certificate(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The file with the key.
    #[error(
        "{0} holds no private key that can be read; it must be PEM, without a password, and readable for this program's user"
    )]
    // Without the reader's own words: they may quote the file.
    Key(PathBuf),
    /// They do not go together.
    #[error(
        "the key in {key} does not fit the first certificate in {certificate}; both must come from the same renewal"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
}

/// The certificate in use.
pub(crate) struct Tls(Mutex<Loaded>);

struct Loaded {
    paths: Paths,
    stamps: Stamps,
    acceptor: TlsAcceptor,
}

/// When both files were last written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamps([Option<SystemTime>; 2]);

impl Tls {
    /// Reads the files.
    pub(crate) fn load(paths: &Paths) -> Result<Self, TlsError> {
        Ok(Self(Mutex::new(load(paths)?)))
    }

    /// What the next handshake uses.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.lock().acceptor.clone()
    }

    /// Reads the files again if they have been written since; says whether they were.
    pub(crate) fn renew(&self) -> Result<bool, TlsError> {
        let mut loaded = self.lock();
        let stamps = Stamps::of(&loaded.paths);
        if stamps == loaded.stamps {
            return Ok(false);
        }
        let paths = loaded.paths.clone();
        match load(&paths) {
            Ok(renewed) => *loaded = renewed,
            Err(error) => {
                // Said once for each time that they are written.
                loaded.stamps = stamps;
                return Err(error);
            }
        }
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        // No code panics while it holds this lock; its content would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamps {
    fn of(paths: &Paths) -> Self {
        let written = |path: &Path| -> io::Result<SystemTime> { std::fs::metadata(path)?.modified() };
        Self([written(&paths.certificate).ok(), written(&paths.key).ok()])
    }
}

fn load(paths: &Paths) -> Result<Loaded, TlsError> {
    // Before the files: what is written in between is found at the next look.
    let stamps = Stamps::of(paths);
    let unreadable = |error| TlsError::Certificate(paths.certificate.clone(), error);
    let chain: Vec<_> = CertificateDer::pem_file_iter(&paths.certificate)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(unreadable(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&paths.key).map_err(|_| TlsError::Key(paths.key.clone()))?;
    let mismatch =
        |source| TlsError::Mismatch { certificate: paths.certificate.clone(), key: paths.key.clone(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(mismatch)?;
    // A device connects once and stays: sessions to resume would only cost memory here.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded { paths: paths.clone(), stamps, acceptor: TlsAcceptor::from(Arc::new(config)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path) -> Paths {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let paths = Paths { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        std::fs::write(&paths.certificate, made.cert.pem()).unwrap();
        std::fs::write(&paths.key, made.signing_key.serialize_pem()).unwrap();
        paths
    }

    /// Says what is wrong with these files.
    fn problem(paths: &Paths) -> String {
        Tls::load(paths).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let paths = write(folder.path());
        assert_eq!(problem(&paths), "");
        let swapped = Paths { certificate: paths.key.clone(), key: paths.certificate.clone() };
        assert!(problem(&swapped).contains("key.pem holds no certificate"), "{}", problem(&swapped));
        let no_key = Paths { key: paths.certificate.clone(), ..paths.clone() };
        assert!(problem(&no_key).contains("certificate.pem holds no private key"), "{}", problem(&no_key));
        let other = tempfile::tempdir().unwrap();
        let foreign = Paths { key: write(other.path()).key, ..paths };
        assert!(problem(&foreign).contains("does not fit"), "{}", problem(&foreign));
    }

    #[test]
    fn a_renewal_is_noticed_once_and_a_broken_one_keeps_the_old_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let paths = write(folder.path());
        let tls = Tls::load(&paths).unwrap();
        assert!(!tls.renew().unwrap());
        let touch = |seconds| {
            let file = std::fs::File::options().append(true).open(&paths.certificate).unwrap();
            file.set_modified(SystemTime::now() + std::time::Duration::from_secs(seconds)).unwrap();
        };
        write(folder.path());
        touch(10);
        assert!(tls.renew().unwrap());
        assert!(!tls.renew().unwrap());
        std::fs::write(&paths.certificate, "half a renewal").unwrap();
        touch(20);
        assert!(tls.renew().is_err());
        // Not said again, and the certificate in use is still there.
        assert!(!tls.renew().unwrap());
        let _ = tls.acceptor();
    }
}
