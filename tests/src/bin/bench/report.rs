//! What a suite has measured: a table for people, JSON for programs.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use kith_system_tests::Programs;
use serde_json::json;

use crate::figure::Figure;
use crate::machine::{self, Machine};

/// A table that grows.
#[derive(Debug)]
pub(crate) struct Report {
    suite: String,
    machine: Machine,
    load_before: f64,
    figures: Vec<Figure>,
}

impl Report {
    /// An empty table; looks at the machine.
    pub(crate) fn new(suite: &str) -> Result<Self> {
        let (machine, load_before) = (Machine::read()?, machine::load()?);
        writeln!(io::stderr(), "{}; load {load_before}", machine.line())?;
        Ok(Self { suite: suite.to_owned(), machine, load_before, figures: Vec::new() })
    }

    /// Says what is being measured now: a run takes minutes.
    pub(crate) fn begin(&self, what: &str) -> Result<()> {
        writeln!(io::stderr(), "── {what}").map_err(Into::into)
    }

    /// One more figure, shown at once.
    pub(crate) fn add(&mut self, figure: Figure) -> Result<()> {
        writeln!(io::stderr(), "{}", figure.row())?;
        self.figures.push(figure);
        Ok(())
    }

    /// Prints the table and writes the file.
    pub(crate) fn finish(self) -> Result<()> {
        write!(io::stdout(), "\n{}", self.table())?;
        let file = self.file()?;
        let figures: Vec<_> = self.figures.iter().map(Figure::to_json).collect();
        let report = json!({
            "suite": self.suite,
            "machine": self.machine.to_json(),
            "load": { "before": self.load_before, "after": machine::load()? },
            "figures": figures,
        });
        std::fs::write(&file, format!("{report:#}\n")).with_context(|| file.display().to_string())?;
        writeln!(io::stderr(), "\nwritten to {}", file.display()).map_err(Into::into)
    }

    /// In Markdown, as the README shows it.
    fn table(&self) -> String {
        let mut table =
            String::from("| figure | Kith | beside | ratio | to reach |\n| --- | --- | --- | --- | --- |\n");
        for figure in &self.figures {
            table.push_str(&figure.row());
            table.push('\n');
        }
        format!("{table}\n{}.\n", self.machine.line())
    }

    /// `bench-SUITE.json` in the target folder.
    fn file(&self) -> Result<PathBuf> {
        let target = Programs::locate()?.folder().parent().context("programs lie in the target folder")?;
        Ok(target.join(format!("bench-{}.json", self.suite)))
    }
}
