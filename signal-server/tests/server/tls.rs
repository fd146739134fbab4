//! TLS without a proxy, and certificates that are renewed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kith_signal::Deadlines;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::devices::{Device, Running, parse};

/// Writes a new certificate and its key into a folder.
fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    // The key first and each in one step, as renewals do it.
    for (name, text) in [("key.pem", made.signing_key.serialize_pem()), ("chain.pem", made.cert.pem())] {
        std::fs::write(folder.join("new"), text).unwrap();
        std::fs::rename(folder.join("new"), folder.join(name)).unwrap();
    }
    made.cert.der().clone()
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "listen = \"127.0.0.1:0\"\nserver_names = [\"localhost\"]\nlogging = {{ mode = \"disabled\" }}\n\
         tls = {{ certificate_file = \"{folder}/chain.pem\", key_file = \"{folder}/key.pem\" }}\n"
    )
}

async fn connect(server: &Running, trusted: &CertificateDer<'static>) -> std::io::Result<Device> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(Device::connect_over(Box::new(stream), None, 1).await)
}

#[tokio::test]
async fn devices_talk_over_tls_and_nothing_else_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = renew(folder.path());
    let server = Running::start_with(&configuration(folder.path()), Deadlines::default()).await;
    let mut device = connect(&server, &certificate).await.unwrap();
    device.log_in("localhost", [0; 16]).await;
    device.settle().await;
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET /v1/device HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_found_and_used_while_connections_stand() {
    let folder = tempfile::tempdir().unwrap();
    let old = renew(folder.path());
    let deadlines = Deadlines { maintenance: Duration::from_millis(20), ..Deadlines::default() };
    let server = Running::start_with(&configuration(folder.path()), deadlines).await;
    let mut standing = connect(&server, &old).await.unwrap();
    standing.log_in("localhost", [0; 16]).await;
    let new = renew(folder.path());
    while connect(&server, &new).await.is_err() {}
    assert!(connect(&server, &old).await.is_err());
    standing.settle().await;
}

#[tokio::test]
async fn a_reload_uses_the_renewed_certificate_at_once_and_keeps_the_old_one_if_it_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let old = renew(folder.path());
    let config = configuration(folder.path());
    let server = Running::start_with(&config, Deadlines::default()).await;
    let new = renew(folder.path());
    assert!(connect(&server, &old).await.is_ok());
    server.reloader.reload(&parse(&config)).unwrap();
    assert!(connect(&server, &new).await.is_ok());
    std::fs::write(folder.path().join("chain.pem"), "half").unwrap();
    let problem = server.reloader.reload(&parse(&config)).unwrap_err().to_string();
    assert!(problem.contains("chain.pem holds no certificate"), "{problem}");
    assert!(connect(&server, &new).await.is_ok());
}
