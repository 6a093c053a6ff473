//! The status line: one line below the output on a terminal, redrawn in place.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};

use terminal_size::terminal_size_of;

/// Moves the cursor to the start of its line, and erases the line.
const CLEAR: &str = "\r\x1b[2K";

/// The width of a terminal that does not report one, in columns.
const DEFAULT_WIDTH: usize = 80;

/// A line of text on standard error. It is hidden unless standard error is a terminal that can erase a line.
pub struct StatusLine {
    /// The text, in ASCII.
    text: String,
    is_enabled: bool,
    /// Whether the cursor is on the line.
    is_drawn: bool,
}

impl StatusLine {
    /// Creates an empty line, without drawing it. It stays hidden unless `is_wanted`.
    pub fn new(is_wanted: bool) -> Self {
        let can_erase = env::var("TERM").is_ok_and(|terminal| terminal != "dumb");
        let is_enabled = is_wanted && can_erase && io::stderr().is_terminal();
        Self { text: String::new(), is_enabled, is_drawn: false }
    }

    /// Replaces the text, and draws the line.
    pub fn set(&mut self, text: String) {
        self.text = text;
        self.draw();
    }

    /// Clears the line, calls `write`, and draws the line again. Returns the result of `write`.
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
        // Pads the text up to the right edge, so that any other output starts on the next line.
        print(&format!("{clear}{:width$.width$}", self.text));
        self.is_drawn = true;
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Writes to standard error. Ignores errors, because only the status line is lost.
fn print(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
