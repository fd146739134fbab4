//! A started program that ends with its owner.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::sync::{mpsc, oneshot};

/// How long a program may take to end after it was asked to.
const END_MAX: Duration = Duration::from_secs(10);

/// Lines of output that may wait to be read here; the file has them all.
const LINES_MAX: usize = 4096;

/// On which host a program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On this machine, over its loopback.
    #[default]
    Here,
    /// On a host of a test's own network, by the name of its namespace.
    Host(String),
}

impl Place {
    /// What stands before a command so that it runs there; it becomes the command.
    fn prefix(&self) -> Vec<&str> {
        match self {
            Self::Here => Vec::new(),
            Self::Host(namespace) => vec!["ip", "netns", "exec", namespace],
        }
    }
}

/// A running program. Its output is in files; lines of standard output can be waited for.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    handle: OwnedFd,
    lines: mpsc::Receiver<String>,
    ended: Receiver<std::io::Result<ExitStatus>>,
    status: Option<ExitStatus>,
    errors: PathBuf,
}

impl Process {
    /// Starts a program with its output in `folder`, as `NAME.out` and `NAME.err`; a program of
    /// the same name that ran there before keeps its lines.
    ///
    /// The program leads a process group of its own, so that Ctrl-C reaches its owner only, and is
    /// ended by the kernel should the owner die without a word.
    pub fn start(name: &str, program: &Path, args: &[&str], folder: &Path) -> Result<Self> {
        Self::start_at(&Place::Here, name, program, args, folder)
    }

    /// Starts a program on a host, see [`Process::start`].
    pub fn start_at(place: &Place, name: &str, program: &Path, args: &[&str], folder: &Path) -> Result<Self> {
        let append = |ending: &str| {
            let path = folder.join(format!("{name}.{ending}"));
            File::options().create(true).append(true).open(path)
        };
        let errors = folder.join(format!("{name}.err"));
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .args(place.prefix())
            .arg(program)
            .args(args)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(append("err")?)
            .spawn()
            .with_context(|| format!("{name} did not start"))?;
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty()).context("a handle of the process")?;

        let (line_in, lines) = mpsc::channel(LINES_MAX);
        let stdout = child.stdout.take().context("standard output")?;
        let copy = append("out")?;
        thread::spawn(move || forward(stdout, copy, &line_in));
        let (ended_in, ended) = sync_channel(1);
        thread::spawn(move || {
            // The owner may be gone.
            let _ = ended_in.send(child.wait());
        });
        Ok(Self { name: name.to_owned(), pid, handle, lines, ended, status: None, errors })
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// What the program has written to standard error so far.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Waits for a line of standard output that begins so, and returns what follows.
    pub async fn wait_for_line(&mut self, beginning: &str, wait_max: Duration) -> Result<String> {
        let found = tokio::time::timeout(wait_max, async {
            while let Some(line) = self.lines.recv().await {
                if let Some(rest) = line.strip_prefix(beginning) {
                    return Some(rest.to_owned());
                }
            }
            None
        });
        match found.await {
            Ok(Some(rest)) => Ok(rest),
            Ok(None) => bail!("{} ended without a line `{beginning}…`\n{}", self.name, self.errors()),
            Err(_) => bail!("{}: no line `{beginning}…` within {wait_max:?}\n{}", self.name, self.errors()),
        }
    }

    /// Resident memory now.
    pub fn memory_kib(&self) -> Result<u64> {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory that it has had.
    pub fn peak_memory_kib(&self) -> Result<u64> {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &'static str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
        value.context(field)?.parse().context(field)
    }

    /// Whether the program has ended.
    pub fn has_ended(&mut self) -> bool {
        self.poll(Duration::ZERO).is_some()
    }

    /// Stops the program where it is (SIGSTOP); returns when it stands still.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP);
        waitid(WaitId::Pid(self.pid), WaitIdOptions::STOPPED)
            .with_context(|| format!("{} did not freeze\n{}", self.name, self.errors()))
            .map(drop)
    }

    /// Lets a frozen program go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks the program to read its configuration again (SIGHUP).
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Asks the program to end and waits for it. An exit code other than 0 is an error.
    pub fn terminate(&mut self) -> Result<()> {
        self.ask_to_end();
        match self.poll(END_MAX) {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{} ended with {status}\n{}", self.name, self.errors()),
            None => {
                self.kill();
                bail!("{} did not end in {END_MAX:?}\n{}", self.name, self.errors())
            }
        }
    }

    /// Ends the program like a power cut and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.poll(END_MAX);
    }

    /// A frozen program would not hear it.
    fn ask_to_end(&self) {
        self.signal(Signal::TERM);
        self.thaw();
    }

    fn signal(&self, signal: Signal) {
        // It fails only when the process is gone, which is what is wanted.
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    fn poll(&mut self, wait_max: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.ended.recv_timeout(wait_max).ok().and_then(Result::ok);
        }
        self.status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.ask_to_end();
        if self.poll(END_MAX).is_none() {
            self.kill();
        }
    }
}

/// Reads to the end, so that the program never waits for a reader.
fn forward(stdout: ChildStdout, mut copy: File, lines: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        // The file is for people; a full queue means that nobody waits for lines any more.
        let _ = writeln!(copy, "{line}");
        let _ = lines.try_send(line);
    }
}

/// Runs a program to its end with this standard input, and returns its standard output. An exit
/// code other than 0 is an error, with what the program said. Whoever stops waiting ends it.
pub async fn run_to_end(program: &Path, args: &[&str], input: &str, wait_max: Duration) -> Result<String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--"])
        .arg(program)
        .args(args)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} did not start"))?;
    let _ended = EndOnDrop(pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?);
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input is judged by its exit code.
        let _ = stdin.write_all(input.as_bytes());
    }
    let (output_in, output) = oneshot::channel();
    // The receiver may be gone.
    thread::spawn(move || output_in.send(child.wait_with_output()).map_err(drop));
    let Ok(output) = tokio::time::timeout(wait_max, output).await else {
        bail!("{name} {args:?}: not within {wait_max:?}");
    };
    let output = output??;
    if !output.status.success() {
        let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{name} {args:?} ended with {}: {printed}{said}", output.status);
    }
    String::from_utf8(output.stdout).context("standard output is not UTF-8")
}

/// Ends a process that is still there.
struct EndOnDrop(OwnedFd);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // It fails when the process is gone, which is what is wanted.
        let _ = pidfd_send_signal(&self.0, Signal::TERM);
    }
}

/// Waits for something, but not for ever; `what` names it in the error.
pub async fn within<T>(wait_max: Duration, what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(wait_max, future).await {
        Ok(result) => result.with_context(|| what.to_owned()),
        Err(_) => bail!("{what}: not within {wait_max:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(10);

    fn shell(script: &str, folder: &Path) -> Process {
        Process::start("shell", Path::new("sh"), &["-c", script], folder).unwrap()
    }

    #[tokio::test]
    async fn a_line_is_waited_for_and_what_follows_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo one; echo listening on 7; read never", folder.path());
        assert_eq!(process.wait_for_line("listening on ", WAIT_MAX).await.unwrap(), "7");
    }

    #[tokio::test]
    async fn a_program_that_ends_too_early_is_an_error_with_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo no such bus >&2; exit 3", folder.path());
        let error = process.wait_for_line("ready", WAIT_MAX).await.unwrap_err();
        assert!(process.terminate().is_err());
        assert!(error.to_string().contains("no such bus"), "{error}");
    }

    #[tokio::test]
    async fn a_program_ends_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo ready; exec sleep 600", folder.path());
        process.wait_for_line("ready", WAIT_MAX).await.unwrap();
        let proc = Path::new("/proc").join(process.pid().to_string());
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }

    #[tokio::test]
    async fn a_frozen_program_stands_still_until_it_is_thawed_and_ends_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(
            "trap 'exit 0' TERM; trap 'echo heard' USR1; echo ready; while :; do sleep 0.01; done",
            folder.path(),
        );
        process.wait_for_line("ready", WAIT_MAX).await.unwrap();
        process.freeze().unwrap();
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
            stat.rsplit(") ").next().unwrap().chars().next().unwrap()
        };
        assert_eq!(state(), 'T');
        process.signal(Signal::USR1);
        process.thaw();
        process.wait_for_line("heard", WAIT_MAX).await.unwrap();
        process.freeze().unwrap();
        process.terminate().unwrap();
    }

    #[tokio::test]
    async fn a_program_that_has_ended_does_not_freeze() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("read never", folder.path());
        process.kill();
        assert!(process.freeze().is_err());
    }

    #[tokio::test]
    async fn input_reaches_the_program_and_its_output_comes_back() {
        assert_eq!(run_to_end(Path::new("cat"), &[], "hello", WAIT_MAX).await.unwrap(), "hello");
        let error = run_to_end(Path::new("sh"), &["-c", "echo why >&2; exit 1"], "", WAIT_MAX).await.unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }
}
