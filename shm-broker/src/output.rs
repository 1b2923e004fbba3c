//! Standard output, where a command's data goes.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::ending::Failure;

/// Standard output, buffered. A line reaches a terminal at once, anybody else with the next `flush`.
pub struct Output {
    out: BufWriter<StdoutLock<'static>>,
    terminal: bool,
    flushed: bool,
}

impl Output {
    /// Takes standard output.
    pub fn new() -> Self {
        let stdout = io::stdout();
        Self {
            terminal: stdout.is_terminal(),
            out: BufWriter::new(stdout.lock()),
            flushed: true,
        }
    }

    /// Writes a line.
    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{line}").map_err(Failure::output)?;
        self.flushed = false;
        if self.terminal { self.flush() } else { Ok(()) }
    }

    /// Hands over what was written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if !self.flushed {
            self.out.flush().map_err(Failure::output)?;
            self.flushed = true;
        }
        Ok(())
    }
}

/// Writes one line to standard output.
pub fn print(line: impl fmt::Display) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(line)?;
    output.flush()
}
