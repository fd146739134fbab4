//! The program itself: what it prints, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::devices::QUIET;

/// A child that does not outlive its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(config: &str, arguments: &[&str]) -> (Program, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_kith-signal"))
        .arg("--config")
        .arg(file.path())
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_remove("JOURNAL_STREAM")
        .spawn()
        .unwrap();
    (Program(child), file)
}

#[test]
fn it_prints_where_it_listens_and_ends_cleanly_on_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let (mut program, _file) = program(QUIET, &[]);
        let mut line = String::new();
        BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim();
        assert!(std::net::TcpStream::connect(address).is_ok());
        let kill = Command::new("kill").arg(signal).arg(program.0.id().to_string()).status();
        assert!(kill.unwrap().success());
        assert!(program.0.wait().unwrap().success());
        let mut log = String::new();
        program.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(log, "", "mode disabled writes nothing");
    }
}

#[test]
fn checking_a_configuration_does_not_start_a_server() {
    let (mut good, _file) = program(QUIET, &["--check-config"]);
    assert!(good.0.wait().unwrap().success());
    let open = QUIET.replace("127.0.0.1:0", "0.0.0.0:8080");
    let (mut bad, _file) = program(&open, &["--check-config"]);
    assert!(!bad.0.wait().unwrap().success());
    let mut problem = String::new();
    bad.0.stderr.take().unwrap().read_to_string(&mut problem).unwrap();
    assert!(problem.contains("TLS proxy in front"), "{problem}");
}
