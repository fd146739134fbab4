//! Writes manual pages and completions of the programs into a folder.
//!
//! They are made of the same command lines that `--help` prints, so they cannot say anything else. A program of its own
//! does it: what goes onto a board does not carry what only its packages need.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _, Parser};
use clap_complete::Shell;
use clap_mangen::Man;

/// Writes the manual pages and the completions of the Kith programs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to: man1/, man8/ and completions/ are made there.
    folder: PathBuf,
}

fn main() -> Result<()> {
    write(&Arguments::parse().folder)
}

fn write(folder: &Path) -> Result<()> {
    let commands = empty(&folder.join("man1"))?;
    // One page for each command, like those of other programs that have many.
    clap_mangen::generate_to(kithctl::Arguments::command(), commands)?;
    let daemons = empty(&folder.join("man8"))?;
    for daemon in [kithd::Arguments::command(), kith_signal::Arguments::command(), kith_kiosk::Arguments::command()] {
        page(daemon, &daemons)?;
    }
    let completions = empty(&folder.join("completions"))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut kithctl::Arguments::command(), "kithctl", &completions)?;
    }
    Ok(())
}

fn page(command: Command, folder: &Path) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut page = Vec::new();
    Man::new(command).section("8").render(&mut page)?;
    Ok(fs::write(folder.join(format!("{name}.8")), page)?)
}

/// A folder without what an earlier version wrote there.
fn empty(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_and_each_command_has_a_page_and_nothing_old_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("man1")).unwrap();
        fs::write(folder.path().join("man1/kithctl-gone.1"), "").unwrap();
        write(folder.path()).unwrap();
        for page in ["man1/kithctl.1", "man1/kithctl-send.1", "man8/kithd.8", "man8/kith-signal.8", "man8/kith-kiosk.8"]
        {
            let text = fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(!folder.path().join("man1/kithctl-gone.1").exists());
        for script in ["kithctl.bash", "_kithctl", "kithctl.fish"] {
            let text = fs::read_to_string(folder.path().join("completions").join(script)).unwrap();
            assert!(text.contains("set-up"), "{script}");
        }
    }
}
