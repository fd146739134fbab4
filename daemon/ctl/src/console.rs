//! Standard input and output, as the commands see them.

use std::fmt;
use std::io::{self, BufRead, Read as _, Write};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::error::CommandError;
use crate::text;

/// A secret or an answer is shorter; what is longer is a file by mistake.
const LINE_BYTES_MAX: u64 = 8 * 1024;

/// Where a command reads and writes.
pub struct Console<'a> {
    /// Standard input.
    pub input: &'a mut dyn BufRead,
    /// Whether somebody types it.
    pub input_is_terminal: bool,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Whether somebody looks at it.
    pub output_is_terminal: bool,
    /// Standard error.
    pub errors: &'a mut dyn Write,
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("input_is_terminal", &self.input_is_terminal).finish_non_exhaustive()
    }
}

impl Console<'_> {
    /// One line of a result. Whatever comes from elsewhere in it has been made safe.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), CommandError> {
        writeln!(self.output, "{line}")?;
        self.output.flush()?;
        Ok(())
    }

    /// One JSON document, on one line.
    pub(crate) fn document(&mut self, value: &Value) -> Result<(), CommandError> {
        self.line(&text::safe_json(&value.to_string()))
    }

    /// A result in one of its two forms.
    pub(crate) fn result(&mut self, json: bool, value: &Value, line: &str) -> Result<(), CommandError> {
        if json { self.document(value) } else { self.line(line) }
    }

    /// What the user should know while waiting; it is no result.
    pub(crate) fn remark(&mut self, line: &str) -> Result<(), CommandError> {
        writeln!(self.errors, "{line}")?;
        Ok(())
    }

    /// The error, where scripts or people look for it.
    pub(crate) fn show_error(&mut self, error: &CommandError, as_json: bool) -> Result<(), CommandError> {
        if matches!(error, CommandError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return Ok(());
        }
        let sentence = error.to_string();
        if as_json {
            self.document(&json!({ "error": { "name": error.name(), "sentence": sentence } }))
        } else {
            self.remark(&format!("kithctl: {}", text::safe(&sentence)))
        }
    }

    /// A secret: typed without echo, or the whole of standard input without one newline at its end.
    pub(crate) fn secret(&mut self, prompt: &str, twice: bool) -> Result<Zeroizing<String>, CommandError> {
        if !self.input_is_terminal {
            return self.secret_of_input();
        }
        let secret = Zeroizing::new(rpassword::prompt_password(prompt)?);
        if twice && Zeroizing::new(rpassword::prompt_password("The same again: ")?) != secret {
            return Err(CommandError::Usage("The two secrets differ: try again.".to_owned()));
        }
        not_empty(secret)
    }

    /// The old secret and the new one: typed without echo, or the first line of standard input and
    /// the rest of it, without one newline at its end.
    pub(crate) fn old_and_new_secret(&mut self) -> Result<(Zeroizing<String>, Zeroizing<String>), CommandError> {
        if self.input_is_terminal {
            return Ok((self.secret("The store's secret: ", false)?, self.secret("The new secret: ", true)?));
        }
        let both = self.secret_of_input()?;
        let (old, new) = both.split_once('\n').ok_or_else(|| {
            CommandError::Usage("Standard input has one line: the old secret, and the new one after it.".to_owned())
        })?;
        Ok((not_empty(Zeroizing::new(old.to_owned()))?, not_empty(Zeroizing::new(new.to_owned()))?))
    }

    /// The first line of standard input, perhaps empty, and the rest of it, without one newline at its end.
    pub(crate) fn first_line_and_rest(&mut self) -> Result<(Zeroizing<String>, Zeroizing<String>), CommandError> {
        let text = self.text_of_input()?;
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        Ok((Zeroizing::new(first.to_owned()), Zeroizing::new(rest.to_owned())))
    }

    fn secret_of_input(&mut self) -> Result<Zeroizing<String>, CommandError> {
        not_empty(self.text_of_input()?)
    }

    fn text_of_input(&mut self) -> Result<Zeroizing<String>, CommandError> {
        let bytes = Zeroizing::new(self.all_input(LINE_BYTES_MAX)?);
        let secret = std::str::from_utf8(&bytes).map_err(|_| {
            CommandError::Usage("The secret on standard input is not UTF-8: check where it comes from.".to_owned())
        })?;
        Ok(Zeroizing::new(secret.strip_suffix('\n').unwrap_or(secret).to_owned()))
    }

    /// All of standard input.
    pub(crate) fn all_input(&mut self, bytes_max: u64) -> Result<Vec<u8>, CommandError> {
        // As long as it can get, so that a secret is not left behind where it has grown.
        let mut bytes = Vec::with_capacity(usize::try_from(bytes_max).unwrap_or_default().saturating_add(1));
        (&mut *self.input).take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(CommandError::Usage(format!("Standard input is longer than {bytes_max} bytes: shorten it.")));
        }
        Ok(bytes)
    }

    /// One line of standard input, trimmed; asks for it if somebody types.
    pub(crate) fn input_line(&mut self, prompt: &str) -> Result<String, CommandError> {
        if self.input_is_terminal {
            write!(self.errors, "{prompt}")?;
            self.errors.flush()?;
        }
        let mut line = String::new();
        (&mut *self.input).take(LINE_BYTES_MAX).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Asks a question with yes or no; no without a terminal.
    pub(crate) fn agrees(&mut self, question: &str) -> Result<bool, CommandError> {
        if !self.input_is_terminal {
            return Ok(false);
        }
        let answer = self.input_line(&format!("{question} [y/N] "))?;
        Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
    }
}

fn not_empty(secret: Zeroizing<String>) -> Result<Zeroizing<String>, CommandError> {
    if secret.is_empty() {
        return Err(CommandError::Usage("The secret is empty: type one, or pass it on standard input.".to_owned()));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_input<T>(input: &[u8], is_terminal: bool, f: impl FnOnce(&mut Console<'_>) -> T) -> T {
        f(&mut Console {
            input: &mut io::Cursor::new(input),
            input_is_terminal: is_terminal,
            output: &mut Vec::new(),
            output_is_terminal: false,
            errors: &mut Vec::new(),
        })
    }

    #[test]
    fn a_piped_secret_loses_one_newline_and_nothing_else() {
        assert_eq!(*with_input(b" s p \n\n", false, |c| c.secret("", true)).unwrap(), " s p \n");
        assert_eq!(*with_input(b"s", false, |c| c.secret("", false)).unwrap(), "s");
    }

    #[test]
    fn two_piped_secrets_are_a_line_and_the_rest() {
        let (old, new) = with_input(b"old one\nnew one\n", false, |c| c.old_and_new_secret()).unwrap();
        assert_eq!((old.as_str(), new.as_str()), ("old one", "new one"));
        for refused in [&b"one\n"[..], b"\nnew", b"old\n\n", b""] {
            let result = with_input(refused, false, |c| c.old_and_new_secret());
            assert!(matches!(result, Err(CommandError::Usage(_))), "{refused:?}");
        }
    }

    #[test]
    fn an_empty_or_endless_secret_is_refused() {
        assert!(matches!(with_input(b"\n", false, |c| c.secret("", false)), Err(CommandError::Usage(_))));
        assert!(matches!(with_input(&[b'x'; 10_000], false, |c| c.secret("", false)), Err(CommandError::Usage(_))));
    }

    #[test]
    fn a_question_without_a_terminal_means_no() {
        assert!(!with_input(b"y\n", false, |c| c.agrees("?")).unwrap());
        assert!(with_input(b"Yes\n", true, |c| c.agrees("?")).unwrap());
        assert!(!with_input(b"\n", true, |c| c.agrees("?")).unwrap());
    }
}
