use std::path::Path;

use kith_crypto::identity::ClientId;
use kith_signal_protocol::LoggingMode;
use zeroize::Zeroizing;

use super::{Config, ConfigError, Folders};

const EXAMPLE: &str = include_str!("../../kith-signal.example.toml");
const SMALL: &str = "listen = \"127.0.0.1:0\"\n[logging]\nmode = \"disabled\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, &Folders::default())
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_shipped_example_is_accepted_and_names_every_key() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.server_names, ["signal.example.org"]);
    assert_eq!(config.notice.mode, LoggingMode::Active);
    // The keys are the fields of the structures that the file is read into.
    let (file, logging) = (include_str!("../config.rs"), include_str!("logging.rs"));
    let (limits, transport) = (include_str!("limits.rs"), include_str!("transport.rs"));
    let tables = [
        (file, "struct File {"),
        (file, "struct IceTable {"),
        (logging, "struct LoggingTable {"),
        (limits, "struct LimitsTable {"),
        (transport, "struct TlsTable {"),
        (transport, "struct ProxyTable {"),
        (transport, "struct OperationsTable {"),
    ];
    let fields = tables.map(|(source, start)| {
        let body = source.split_once(start).unwrap().1.split_once('}').unwrap().0;
        body.lines()
            .filter(|line| !line.trim().starts_with('#'))
            .filter_map(|line| line.trim().split_once(':'))
            .map(|(name, _)| name.to_owned())
            .collect::<Vec<_>>()
    });
    for field in fields.concat() {
        let named = |line: &str| {
            let line = line.trim_start_matches('#').trim_start();
            line.starts_with(&format!("{field} =")) || line == format!("[{field}]")
        };
        assert!(EXAMPLE.lines().any(named), "{field} is not in the example");
    }
}

#[test]
fn a_small_file_gets_defaults() {
    let config = parse(SMALL).unwrap();
    assert!(config.server_names.is_empty());
    assert_eq!(config.connections_max, 10_000);
    assert!(config.notice.text.contains("not logged"));
    let ice = config.ice(Zeroizing::new([0; 64])).unwrap();
    assert!(ice.servers(&ClientId::from_bytes([0; 20]), 0).servers.is_empty());
}

#[test]
fn an_unknown_key_is_refused() {
    assert!(matches!(parse(&format!("listne = 1\n{SMALL}")), Err(ConfigError::Parse(_))));
    assert!(matches!(parse(&format!("{SMALL}retention = 3\n")), Err(ConfigError::Parse(_))));
}

#[test]
fn plain_connections_from_the_network_need_a_decision_and_a_name() {
    let open = SMALL.replace("127.0.0.1:0", "0.0.0.0:8080");
    assert!(refused(&open).contains("tls.certificate_file"));
    let tls = format!("tls = {{ certificate_file = \"/etc/chain.pem\", key_file = \"/etc/key.pem\" }}\n{open}");
    assert!(refused(&tls).contains("server_names is empty"));
    let allowed = format!("allow_plain = true\n{open}");
    assert!(refused(&allowed).contains("server_names is empty"));
    let named = format!("server_names = [\"Signal.Example:8080\"]\n{allowed}");
    assert_eq!(parse(&named).unwrap().server_names, ["signal.example:8080"]);
}

#[test]
fn values_out_of_range_are_refused_with_their_key() {
    for (line, key) in [
        ("server_names = [\"wss://signal.example\"]", "server_names"),
        ("connections_max = 0", "connections_max"),
        ("tls = { certificate_file = \"chain.pem\", key_file = \"/etc/key.pem\" }", "tls.certificate_file"),
        ("proxy = { addresses = [], speaks = \"x-forwarded-for\" }", "proxy.addresses"),
        ("proxy = { addresses = [\"10.0.0.0/40\"], speaks = \"proxy-protocol\" }", "10.0.0.0/40"),
        ("operations = { listen = \"0.0.0.0:9100\" }", "operations.listen"),
        ("operations = { drain_s = 301 }", "operations.drain_s"),
        ("limits = { device_messages_per_s = 0 }", "limits.device_messages_per_s"),
        ("ice = { lifetime_s = 60 }", "ice.lifetime_s"),
        ("ice = { stun = [\"http://stun.example\"] }", "ice.stun"),
        ("ice = { turn = [\"stun:turn.example\"] }", "ice.turn"),
        ("ice = { turn = [\"turn:turn.example\"] }", "ice.turn_secret_file"),
        ("ice = { turn_secret_file = \"/run/secret\" }", "ice.turn"),
        ("ice = { turn = [\"turn:a\"], turn_secret_file = \"secret\" }", "absolute"),
        ("ice = { turn = [\"turn:a\"], turn_secret_credential = \"../x\" }", "no path"),
        ("ice = { turn = [\"turn:a\"], turn_secret_credential = \"x\" }", "LoadCredential"),
        ("bus = \"redis://a\"", "bus"),
        ("bus = []", "1 to 8"),
        ("bus = \"nats://a:4222\"", "bus_secret_file"),
        ("bus_secret_file = \"/run/secret\"", "no NATS server"),
        ("bus = \"nats://a\"\nbus_secret_file = \"secret\"", "absolute"),
        ("bus = \"tls://a\"\nbus_secret_credential = \"x\"", "LoadCredential"),
    ] {
        let problem = refused(&format!("{line}\n{SMALL}"));
        assert!(problem.contains(key), "{line}: {problem}");
    }
}

#[test]
fn the_turn_secret_comes_from_a_credential_without_its_newline() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("ice = {{ turn = [\"turn:a\"], turn_secret_credential = \"turn-secret\" }}\n{SMALL}");
    let folders = Folders { credentials: Some(folder.path().to_owned()), logs: None };
    let config = Config::parse(&text, &folders).unwrap();
    assert!(matches!(config.ice(Zeroizing::new([0; 64])), Err(ConfigError::Read { .. })));
    let password = |content: &str| {
        std::fs::write(folder.path().join("turn-secret"), content).unwrap();
        let ice = config.ice(Zeroizing::new([0; 64]))?;
        Ok::<_, ConfigError>(ice.servers(&ClientId::from_bytes([0; 20]), 0).servers.remove(0))
    };
    assert_eq!(password("north\n").unwrap().password, password("north").unwrap().password);
    assert!(matches!(password("\n"), Err(ConfigError::Value { .. })));
}

#[test]
fn the_secret_of_the_bus_is_long_enough_and_a_password_in_its_url_is_not_printed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "bus = [\"nats://kith:hunter2@a:4222\", \"tls://b\"]\nbus_secret_file = \"{}\"\n{SMALL}",
        file.path().display()
    );
    let config = parse(&text).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(config.bus_secret().unwrap_err().to_string().contains("16 bytes"));
    std::fs::write(file.path(), "sixteen bytes at\n").unwrap();
    assert!(config.bus_secret().unwrap().is_some());
    assert!(parse(SMALL).unwrap().bus_secret().unwrap().is_none());
    assert!(!refused(&text.replace("tls://b", "http://hunter2@b")).contains("hunter2"));
}

#[test]
fn logging_is_active_unless_the_file_says_otherwise_and_needs_a_folder() {
    let text = "listen = \"127.0.0.1:0\"\n";
    assert!(refused(text).contains("logging.folder"));
    assert!(refused(&format!("{text}logging = {{ folder = \"logs\" }}\n")).contains("absolute"));
    let folders = Folders { credentials: None, logs: Some("/var/log/kith-signal".into()) };
    let config = Config::parse(text, &folders).unwrap();
    assert_eq!(config.notice.mode, LoggingMode::Active);
    assert!(config.notice.text.contains("shortened") && config.notice.text.contains("30 days"));
    assert_eq!(config.access_log.folder.as_deref(), Some(Path::new("/var/log/kith-signal")));
    assert_eq!(config.access_log.days_max, 30);
    let named = format!("{text}logging = {{ folder = \"/srv/log\", days_max = 7 }}\n");
    let config = Config::parse(&named, &folders).unwrap();
    assert_eq!(config.access_log.folder.as_deref(), Some(Path::new("/srv/log")));
    assert!(config.notice.text.contains("7 days"));
}

#[test]
fn the_notice_of_mode_debug_names_a_legal_basis_whatever_its_text_is() {
    let of = |more: &str| {
        let logging = format!("mode = \"debug\", folder = \"/srv/log\"{more}");
        parse(&format!("listen = \"127.0.0.1:0\"\nlogging = {{ {logging} }}\n")).map(|config| config.notice.text)
    };
    assert!(of("").unwrap().contains("GDPR Art. 6(1)(f)"));
    let text = of(", text = \"For a day.\", legal_basis = \"consent\"").unwrap();
    assert_eq!(text, "For a day. Legal basis: consent.");
    assert!(of(&format!(", text = \"{}\"", "x".repeat(500))).is_err());
}

#[test]
fn a_missing_file_says_which() {
    let problem = Config::read(Path::new("/nonexistent/kith.toml")).unwrap_err().to_string();
    assert!(problem.contains("/nonexistent/kith.toml"));
}
