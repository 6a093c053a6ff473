//! The status line: one line below the output on a terminal, redrawn in place.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};

use terminal_size::terminal_size_of;

/// Moves the cursor to the start of its line, and erases the line.
const CLEAR: &str = "\r\x1b[2K";

/// The width of a terminal that does not report one, in columns.
const DEFAULT_WIDTH: usize = 80;

/// A line of text on standard error. It is hidden unless that is a terminal that can erase a line.
pub struct StatusLine {
    /// The text, in ASCII.
    text: String,
    is_enabled: bool,
    /// Whether the cursor is on the line.
    is_drawn: bool,
}

impl StatusLine {
    /// Creates an empty line. Draws nothing.
    pub fn new(is_wanted: bool) -> Self {
        let can_erase = env::var("TERM").is_ok_and(|terminal| terminal != "dumb");
        let is_enabled = is_wanted && can_erase && io::stderr().is_terminal();
        Self { text: String::new(), is_enabled, is_drawn: false }
    }

    /// Replaces the text.
    pub fn set(&mut self, text: String) {
        self.text = text;
        self.draw();
    }

    /// Clears the line while `write` writes to the terminal.
    pub fn suspend<T>(&mut self, write: impl FnOnce() -> T) -> T {
        self.clear();
        let written = write();
        self.draw();
        written
    }

    /// Clears the line for good.
    pub fn finish(&mut self) {
        self.clear();
        self.is_enabled = false;
    }

    fn clear(&mut self) {
        if self.is_drawn {
            print(CLEAR);
            self.is_drawn = false;
        }
    }

    fn draw(&mut self) {
        if !self.is_enabled {
            return;
        }
        let width = terminal_size_of(io::stderr()).map_or(DEFAULT_WIDTH, |(width, _)| width.0.into());
        let clear = if self.is_drawn { CLEAR } else { "" };
        // Up to the right edge, so that whatever is written next starts on a line of its own.
        print(&format!("{clear}{:width$.width$}", self.text));
        self.is_drawn = true;
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Writes to the terminal. Nothing can be done about a failure, and nothing is lost but the line.
fn print(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
