//! A process as the kernel shows it.

use std::path::Path;

use anyhow::{Context as _, Result};
use kith_system_tests::Process;

/// One of them.
pub(super) struct Task {
    folder: String,
}

impl Task {
    pub(super) fn own() -> Self {
        Self { folder: "/proc/self".to_owned() }
    }

    pub(super) fn of(process: &Process) -> Self {
        Self { folder: format!("/proc/{}", process.pid()) }
    }

    /// What it has in memory, its program's own pages among it.
    pub(super) fn resident_megabytes(&self) -> Result<f64> {
        let kibibytes = field(&format!("{}/status", self.folder), "VmRSS")?;
        Ok(kibibytes as f64 * 1_024.0 / 1e6)
    }

    /// The processor time that it has taken so far, which does not depend on what else runs.
    pub(super) fn processor_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("{}/stat", self.folder))?;
        Ok(ticks(&stat).context("a process has taken processor time")? as f64 / TICKS_PER_S)
    }

    /// What it has given to disks so far, in pages that a file changed in.
    pub(super) fn written_bytes(&self) -> Result<u64> {
        field(&format!("{}/io", self.folder), "write_bytes")
    }

    /// How often its threads have slept so far, and each time woken up; all, or those of one name. A thread
    /// that ends meanwhile counts nothing.
    pub(super) fn wake_ups(&self, thread: Option<&str>) -> Result<u64> {
        let mut sum = 0;
        for entry in std::fs::read_dir(format!("{}/task", self.folder))? {
            let folder = entry?.path();
            match wake_ups_of(&folder, thread) {
                Ok(wake_ups) => sum += wake_ups,
                Err(_) if !folder.exists() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }
}

fn wake_ups_of(thread: &Path, wanted: Option<&str>) -> Result<u64> {
    let name = std::fs::read_to_string(thread.join("comm"))?;
    if wanted.is_some_and(|wanted| wanted != name.trim()) {
        return Ok(0);
    }
    field(&thread.join("status").display().to_string(), "voluntary_ctxt_switches")
}

/// Ticks of the kernel's clock in a second, as it shows them to programs.
const TICKS_PER_S: f64 = 100.0;

/// Ticks in user mode and in the kernel, the 14th and 15th word. The second, the program's name, is in
/// brackets and may hold spaces.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace().skip(11);
    let (user, kernel): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(user + kernel)
}

/// A number in a file of lines `NAME: NUMBER …`.
fn field(file: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find(|(key, _)| *key == name).and_then(|(_, value)| value.split_whitespace().next());
    value.and_then(|number| number.parse().ok()).with_context(|| format!("{file} has no number {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_its_threads_have_slept() {
        let own = Task::own();
        assert!(own.resident_megabytes().unwrap() > 0.1);
        assert!(own.wake_ups(Some("no such thread")).unwrap() == 0);
        assert!(own.processor_seconds().unwrap() >= 0.0);
        own.written_bytes().unwrap();
        assert!(field("/proc/self/status", "no such field").is_err());
    }

    #[test]
    fn threads_that_end_while_they_are_looked_at_are_no_error() {
        let own = Task::own();
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| (0..2_000).for_each(|_| drop(std::thread::spawn(|| ()).join())));
            while !starting.is_finished() {
                own.wake_ups(None).unwrap();
            }
        });
    }

    #[test]
    fn processor_time_is_read_whatever_the_program_is_called() {
        assert_eq!(ticks("7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 30 12 0 0 20 0 1"), Some(42));
        assert_eq!(ticks("7 (kithd) S 1"), None);
    }
}
