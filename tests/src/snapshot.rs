//! A copy of what a device has stored, to put its disk back to an earlier moment.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// The files of a data folder at one moment.
#[derive(Debug)]
pub struct Snapshot {
    folder: TempDir,
}

impl Snapshot {
    /// Copies the files of a folder in which nothing changes meanwhile.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let copy = tempfile::Builder::new().prefix("kith-snapshot-").tempdir()?;
        copy_files(folder, copy.path())?;
        Ok(Self { folder: copy })
    }

    /// Where the copies lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a folder hold these files and no others. The folder itself stays, with its permissions.
    pub(crate) fn put_into(&self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            fs::remove_file(entry?.path())?;
        }
        copy_files(self.folder.path(), folder)
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        fs::copy(&path, to.join(name)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_put_back_holds_what_it_held_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("kept"), "before").unwrap();
        let snapshot = Snapshot::of(folder.path()).unwrap();
        fs::write(file("kept"), "after").unwrap();
        fs::write(file("new"), "after").unwrap();
        snapshot.put_into(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(file("kept")).unwrap(), "before");
        assert!(!file("new").exists());
    }
}
