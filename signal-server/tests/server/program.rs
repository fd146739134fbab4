//! The program itself: what it prints, how it is told, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::devices::{Device, PATIENCE, QUIET};

/// A child that does not outlive its test.
struct Program {
    child: Child,
    config: NamedTempFile,
    /// Standard error, as far as it has been written.
    errors: NamedTempFile,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(config: &str, arguments: &[&str]) -> Program {
    let (file, errors) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
    std::fs::write(file.path(), config).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_kith-signal"))
        .arg("--config")
        .arg(file.path())
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(errors.reopen().unwrap())
        .env_remove("JOURNAL_STREAM")
        .env_remove("LOGS_DIRECTORY")
        .spawn()
        .unwrap();
    Program { child, config: file, errors }
}

impl Program {
    fn signal(&self, name: &str) {
        let kill = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(kill.unwrap().success());
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.errors.path()).unwrap()
    }
}

/// A program that listens, for devices and for operations.
pub(crate) struct Running {
    program: Program,
    output: BufReader<std::process::ChildStdout>,
    pub(crate) address: SocketAddr,
    operations: SocketAddr,
}

impl Running {
    pub(crate) async fn start(config: &str) -> Self {
        let mut program = program(config, &[]);
        let mut output = BufReader::new(program.child.stdout.take().unwrap());
        let mut address = |beginning: &str| {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            let address = line.strip_prefix(beginning).unwrap_or_else(|| panic!("{line}{}", program.errors()));
            address.trim().parse().unwrap()
        };
        let (devices, operations) = (address("listening on "), address("operations on "));
        Self { program, output, address: devices, operations }
    }

    /// Writes another configuration and has it read.
    pub(crate) fn reload(&self, config: &str) {
        std::fs::write(self.program.config.path(), config).unwrap();
        self.program.signal("-HUP");
    }

    pub(crate) async fn wait_for_error(&self, text: &str) {
        let found = async {
            while !self.program.errors().contains(text) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap();
    }

    /// What the operations' listener answers.
    pub(crate) async fn ask(&self, path: &str) -> String {
        ask(self.operations, path).await
    }

    /// Ends it like a power cut.
    pub(crate) fn kill(mut self) {
        self.program.child.kill().unwrap();
    }

    /// Ends it; everything that it has printed.
    pub(crate) async fn end(mut self) -> String {
        self.program.signal("-TERM");
        let mut printed = String::new();
        self.output.read_to_string(&mut printed).unwrap();
        assert!(self.program.child.wait().unwrap().success());
        printed + &self.program.errors()
    }
}

/// An HTTP request, and the whole answer.
pub(crate) async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn it_prints_where_it_listens_and_ends_cleanly_on_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let mut program = program(QUIET, &[]);
        let mut line = String::new();
        BufReader::new(program.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim();
        assert!(std::net::TcpStream::connect(address).is_ok());
        program.signal(signal);
        assert!(program.child.wait().unwrap().success());
        assert_eq!(program.errors(), "", "mode disabled writes nothing");
    }
}

#[test]
fn checking_a_configuration_does_not_start_a_server() {
    let mut good = program(QUIET, &["--check-config"]);
    assert!(good.child.wait().unwrap().success());
    let open = QUIET.replace("127.0.0.1:0", "0.0.0.0:8080");
    let tls = format!(
        "tls = {{ certificate_file = \"/nonexistent/chain.pem\", key_file = \"/nonexistent/key.pem\" }}\n{QUIET}"
    );
    for (config, problem) in [(open, "tls.certificate_file"), (tls, "/nonexistent/chain.pem holds no certificate")] {
        let mut bad = program(&config, &["--check-config"]);
        assert!(!bad.child.wait().unwrap().success());
        assert!(bad.errors().contains(problem), "{}", bad.errors());
    }
}

/// Starts the program as systemd does: the listener is its third file and it is told so.
fn activated(config: &Path, listener: &TcpListener) -> Command {
    let script = "exec 3<&$1; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$2\" --config \"$3\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", &listener.as_raw_fd().to_string(), env!("CARGO_BIN_EXE_kith-signal")]);
    command.arg(config).stdout(Stdio::piped()).env_remove("JOURNAL_STREAM");
    command
}

#[tokio::test]
async fn a_socket_that_systemd_hands_over_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Inherited by the child, which systemd's own sockets are too.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let (config, errors) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
    // An address that cannot be bound: it is not asked for.
    let text = "listen = \"127.0.0.1:1\"\nserver_names = [\"signal.test\"]\nlogging = { mode = \"disabled\" }\n";
    std::fs::write(config.path(), text).unwrap();
    let child = activated(config.path(), &listener).stderr(errors.reopen().unwrap()).spawn().unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let program = Program { child, config, errors };
    let stream = TcpStream::connect(address).await.unwrap();
    let mut device = Device::connect_over(Box::new(stream), None, 1).await;
    device.log_in("signal.test", [0; 16]).await;
    device.settle().await;
    assert_eq!(program.errors(), "");
}
