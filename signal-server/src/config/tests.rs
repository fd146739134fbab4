use std::path::Path;

use kith_crypto::identity::ClientId;
use kith_signal_protocol::LoggingMode;
use zeroize::Zeroizing;

use super::{Config, ConfigError};

const EXAMPLE: &str = include_str!("../../kith-signal.example.toml");
const SMALL: &str = "listen = \"127.0.0.1:0\"\n[logging]\nmode = \"active\"\n";

fn refused(text: &str) -> String {
    Config::parse(text, None).unwrap_err().to_string()
}

#[test]
fn the_shipped_example_is_accepted_and_names_every_key() {
    let config = Config::parse(EXAMPLE, None).unwrap();
    assert_eq!(config.server_names, ["signal.example.org"]);
    assert_eq!(config.notice.mode, LoggingMode::Disabled);
    // The keys are the fields of the structures that the file is read into.
    let source = include_str!("../config.rs");
    let fields = ["struct File {", "struct Logging {", "struct IceTable {"].map(|start| {
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
    let config = Config::parse(SMALL, None).unwrap();
    assert!(config.server_names.is_empty());
    assert_eq!(config.connections_max, 10_000);
    assert!(config.notice.text.contains("shortened"));
    let ice = config.ice(Zeroizing::new([0; 64])).unwrap();
    assert!(ice.servers(&ClientId::from_bytes([0; 20]), 0).servers.is_empty());
}

#[test]
fn an_unknown_key_is_refused() {
    assert!(matches!(Config::parse(&format!("listne = 1\n{SMALL}"), None), Err(ConfigError::Parse(_))));
    assert!(matches!(Config::parse(&format!("{SMALL}retention = 3\n"), None), Err(ConfigError::Parse(_))));
}

#[test]
fn plain_connections_from_the_network_need_a_decision_and_a_name() {
    let open = SMALL.replace("127.0.0.1:0", "0.0.0.0:8080");
    assert!(refused(&open).contains("TLS proxy"));
    let allowed = format!("allow_plain = true\n{open}");
    assert!(refused(&allowed).contains("server_names is empty"));
    let named = format!("server_names = [\"Signal.Example:8080\"]\n{allowed}");
    assert_eq!(Config::parse(&named, None).unwrap().server_names, ["signal.example:8080"]);
}

#[test]
fn values_out_of_range_are_refused_with_their_key() {
    for (line, key) in [
        ("server_names = [\"wss://signal.example\"]", "server_names"),
        ("connections_max = 0", "connections_max"),
        ("ice = { lifetime_s = 60 }", "ice.lifetime_s"),
        ("ice = { stun = [\"http://stun.example\"] }", "ice.stun"),
        ("ice = { turn = [\"stun:turn.example\"] }", "ice.turn"),
        ("ice = { turn = [\"turn:turn.example\"] }", "ice.turn_secret_file"),
        ("ice = { turn_secret_file = \"/run/secret\" }", "ice.turn"),
        ("ice = { turn = [\"turn:a\"], turn_secret_file = \"secret\" }", "absolute"),
        ("ice = { turn = [\"turn:a\"], turn_secret_credential = \"../x\" }", "no path"),
        ("ice = { turn = [\"turn:a\"], turn_secret_credential = \"x\" }", "LoadCredential"),
    ] {
        let problem = refused(&format!("{line}\n{SMALL}"));
        assert!(problem.contains(key), "{line}: {problem}");
    }
}

#[test]
fn the_turn_secret_comes_from_a_credential_without_its_newline() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("ice = {{ turn = [\"turn:a\"], turn_secret_credential = \"turn-secret\" }}\n{SMALL}");
    let config = Config::parse(&text, Some(folder.path())).unwrap();
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
fn a_missing_file_says_which() {
    let problem = Config::read(Path::new("/nonexistent/kith.toml")).unwrap_err().to_string();
    assert!(problem.contains("/nonexistent/kith.toml"));
}
