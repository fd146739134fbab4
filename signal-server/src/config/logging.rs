//! `[logging]`: what is written about connections, and what devices show of it.

use std::path::{Path, PathBuf};

use kith_signal_protocol::limits::TEXT_BYTES_MAX;
use kith_signal_protocol::{LoggingMode, Notice};
use serde::Deserialize;

use super::{ConfigError, check_range, value};
use crate::access_log;

/// Days that lines are kept unless the file says otherwise.
const DAYS_DEFAULT: u32 = 30;

/// An access log is no archive.
const DAYS_MAX: u32 = 366;

/// What makes full addresses lawful where the operator names nothing else.
const LEGAL_BASIS: &str = "legitimate interest in finding faults (GDPR Art. 6(1)(f))";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LoggingTable {
    mode: Mode,
    folder: Option<PathBuf>,
    days_max: u32,
    text: Option<String>,
    legal_basis: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Active,
    Disabled,
    Debug,
}

impl Default for LoggingTable {
    fn default() -> Self {
        Self { mode: Mode::Active, folder: None, days_max: DAYS_DEFAULT, text: None, legal_basis: None }
    }
}

impl LoggingTable {
    /// `logs` is the folder that systemd gives.
    pub(super) fn check(self, logs: Option<&Path>) -> Result<(Notice, access_log::Settings), ConfigError> {
        check_range("logging.days_max", self.days_max, 1, DAYS_MAX)?;
        let mode = match self.mode {
            Mode::Active => LoggingMode::Active,
            Mode::Disabled => LoggingMode::Disabled,
            Mode::Debug => LoggingMode::Debug,
        };
        let notice = Notice { mode, text: self.notice_text()? };
        let folder = self.folder.or_else(|| logs.map(Path::to_owned));
        match &folder {
            Some(folder) if !folder.is_absolute() => {
                return Err(value("logging.folder", "the path must be absolute"));
            }
            None if mode != LoggingMode::Disabled => {
                let problem = "set it to a folder for the access log, run under systemd with LogsDirectory=, \
                               or set mode = \"disabled\"";
                return Err(value("logging.folder", problem));
            }
            Some(_) | None => {}
        }
        Ok((notice, access_log::Settings { mode, folder, days_max: self.days_max }))
    }

    fn notice_text(&self) -> Result<String, ConfigError> {
        let days = self.days_max;
        let text = self.text.clone().unwrap_or_else(|| match self.mode {
            Mode::Active => format!(
                "When a device connects, comes and goes, and which devices pair, is logged with their client \
                 ids and shortened network addresses, for at most {days} days."
            ),
            Mode::Disabled => "Connections are not logged.".to_owned(),
            Mode::Debug => format!(
                "When a device connects, comes and goes, and which devices pair, is logged with their client \
                 ids and full network addresses, for at most {days} days, to find a fault."
            ),
        });
        let text = match self.mode {
            Mode::Debug => format!("{text} Legal basis: {}.", self.legal_basis.as_deref().unwrap_or(LEGAL_BASIS)),
            Mode::Active | Mode::Disabled => text,
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(value(
                "logging.text",
                format!("with the legal basis of mode debug at most {TEXT_BYTES_MAX} bytes"),
            ));
        }
        Ok(text)
    }
}
