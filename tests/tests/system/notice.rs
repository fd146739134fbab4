//! What a device's owner is shown of the server's logging.

use std::time::Instant;

use kith_dbus::LoggingMode;
use kith_system_tests::{Device, Logging, Server};

#[tokio::test]
async fn a_change_of_the_servers_logging_is_shown_without_a_new_connection() {
    let server = Server::start(Logging::Active).await.unwrap();
    let device = Device::start("alice", &server.url()).await.unwrap();
    let messenger = device.messenger().await.unwrap();
    messenger.wait_for_logging(LoggingMode::Active).await.unwrap();
    for (logging, mode) in [(Logging::Debug, LoggingMode::Debug), (Logging::Active, LoggingMode::Active)] {
        let since = Instant::now();
        server.change(logging).unwrap();
        let notice = messenger.wait_for_logging(mode).await.unwrap();
        eprintln!("{mode:?} is shown after {:?}", since.elapsed());
        assert_eq!(notice.text.contains("Legal basis"), mode == LoggingMode::Debug, "{notice:?}");
    }
}
