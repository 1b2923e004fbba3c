//! How a command ends: its exit code.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it was meant to.
    Done,
    /// The answer is no.
    No,
    /// Messages were lost; it was said which.
    Gaps,
    /// Messages were not delivered; it was said how many.
    Undelivered,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    fault: Fault,
    error: Box<dyn Error + Send + Sync>,
}

/// What a command gives.
pub type Outcome = Result<Ending, Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Input,
    Other,
    OutputClosed,
}

impl Failure {
    /// The user gave something wrong.
    pub fn input(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            fault: Fault::Input,
            error: error.into(),
        }
    }

    /// Something went wrong that only a text describes.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            fault: Fault::Other,
            error: text.into().into(),
        }
    }

    /// Standard output cannot be written.
    pub fn output(error: io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::BrokenPipe => Fault::OutputClosed,
            _ => Fault::Other,
        };
        Self {
            fault,
            error: format!("cannot write to standard output: {error}").into(),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            fault: Fault::Other,
            error: error.into(),
        }
    }
}

impl fmt::Display for Failure {
    /// The error with its causes, without those that it quotes itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.error.to_string();
        f.write_str(&shown)?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !shown.contains(&text) {
                write!(f, ": {text}")?;
                shown = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// Says on standard error what went wrong, gives the exit code.
pub fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::No) => ExitCode::from(1),
        Ok(Ending::Gaps) => ExitCode::from(3),
        Ok(Ending::Undelivered) => ExitCode::from(4),
        // Whoever read the output has seen enough.
        Err(failure) if failure.fault == Fault::OutputClosed => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("error: {failure}"));
            ExitCode::from(match failure.fault {
                Fault::Input => 2,
                _ => 1,
            })
        }
    }
}

/// Writes a line to standard error, if that still exists.
pub fn say(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer quotes {0}")]
    struct Quoting(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Silent(#[source] io::Error);

    #[test]
    fn a_failure_names_each_cause_once() {
        let quoting = Failure::from(Quoting(io::Error::other("inner")));
        assert_eq!(quoting.to_string(), "outer quotes inner");
        let silent = Failure::from(Silent(io::Error::other("inner")));
        assert_eq!(silent.to_string(), "outer: inner");
    }
}
