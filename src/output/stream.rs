//! Output streams and their formats: text, JSON lines and systemd journal entries.

use std::fmt::Display;
use std::io::{self, Stdout, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use serde::Serialize;
use serde_json::Value;

use super::SCHEMA_VERSION;
use super::journal::{self, Journal, Priority};

/// The maximum time to wait until standard error accepts the errors.
const ERROR_TIMEOUT: Duration = Duration::from_secs(3);

/// A message to the user. It displays as its text, and serializes to its JSON.
pub trait Entry: Display + Serialize {
    /// Returns the priority as a journal entry.
    fn priority(&self) -> Priority;
}

/// A stream for messages, and the format of the messages on it.
#[derive(Debug)]
pub struct Output<Stream> {
    stream: Stream,
    format: Format,
}

#[derive(Debug)]
enum Format {
    /// Human-readable lines.
    Text,
    /// One JSON object per line.
    Json,
    /// Journal entries with fields, sent by the native protocol.
    Journal(Journal),
}

/// A message with the version of its schema, as in the JSON output.
#[derive(Serialize)]
struct Line<'a, Message> {
    version: u32,
    #[serde(flatten)]
    message: &'a Message,
}

impl Output<Stdout> {
    /// Returns standard output. The format is JSON if `json` is set, else journal entries if the stream is connected to
    /// the journal, else text.
    pub fn stdout(json: bool) -> Self {
        Self::new(io::stdout(), json)
    }
}

/// Prints `text` on standard output. A closed pipe (`| head`) is not an error.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn print_text(text: &str) -> io::Result<()> {
    let output = Output { stream: io::stdout(), format: Format::Text };
    match output.write(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Prints `messages` on standard error.
///
/// Gives up after [`ERROR_TIMEOUT`] if standard error blocks. The exit status still reports the failure.
pub fn print_errors<Message: Entry + Send + Sync + 'static>(json: bool, messages: Vec<Message>) {
    let (printed, is_printed) = mpsc::channel();
    let messages = Arc::new(messages);
    let print = move |messages: &[Message]| drop(Output::new(io::stderr(), json).print(messages));
    let theirs = Arc::clone(&messages);
    let print_in_thread = move || {
        print(&theirs);
        let _ = printed.send(());
    };
    match thread::Builder::new().spawn(print_in_thread) {
        Ok(_) => drop(is_printed.recv_timeout(ERROR_TIMEOUT)),
        // Spawning fails if memory is short, and `messages` may report just that shortage.
        Err(_) => print(&messages),
    }
}

impl<Stream: AsFd> Output<Stream> {
    fn new(stream: Stream, json: bool) -> Self {
        let format = match json {
            true => Format::Json,
            // If no socket can be created, text lines on the stream still reach the journal.
            false if journal::is_journal(&stream) => {
                Journal::new(Path::new(journal::SOCKET)).map_or(Format::Text, Format::Journal)
            }
            false => Format::Text,
        };
        Self { stream, format }
    }

    /// Prints `messages`: to the journal as separate entries, to any other stream as one text.
    ///
    /// # Errors
    ///
    /// Writing to the stream failed.
    pub fn print<'a, Message: Entry + 'a>(&self, messages: impl IntoIterator<Item = &'a Message>) -> io::Result<()> {
        let mut messages = messages.into_iter();
        if let Format::Journal(journal) = &self.format {
            // A sandbox may hide the journal's socket. Text lines on the stream still reach the journal.
            return messages.try_for_each(|message| {
                log(journal, message).or_else(|_| {
                    let mut text = Vec::new();
                    self.append(&mut text, message);
                    self.write(&text)
                })
            });
        }
        let mut text = Vec::new();
        messages.for_each(|message| self.append(&mut text, message));
        self.write(&text)
    }

    /// Appends the text that is written to a stream for `message`, with a final newline. JSON takes one line.
    pub fn append(&self, text: &mut Vec<u8>, message: &impl Entry) {
        // Memory accepts all output. Serialization cannot fail either: all keys are strings, and no implementation of
        // `Serialize` or `Display` fails.
        let _ = match &self.format {
            Format::Json => {
                let line = Line { version: SCHEMA_VERSION, message };
                serde_json::to_writer(&mut *text, &line).map_err(io::Error::from)
            }
            Format::Text | Format::Journal(_) => write!(text, "{message}"),
        };
        text.push(b'\n');
    }

    /// Writes all of `text`. Waits for room even if another process has set the stream to non-blocking.
    ///
    /// # Errors
    ///
    /// Writing to the stream failed.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            match unistd::write(&self.stream, rest) {
                Ok(length) => rest = &rest[length..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let mut writable = [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut writable, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// Sends `message` to the journal, with the members of its JSON as fields.
fn log(journal: &Journal, message: &impl Entry) -> io::Result<()> {
    let mut fields = vec![("SYSLOG_IDENTIFIER".to_owned(), env!("CARGO_PKG_NAME").to_owned())];
    let values = serde_json::to_value(Line { version: SCHEMA_VERSION, message }).unwrap_or_default();
    add_fields(&mut fields, "TCP_BOUNCE".to_owned(), &values);
    journal.send(message.priority(), &message.to_string(), &fields)
}

/// Adds `value` to `fields` as `name`. An object becomes one field for each member, `NAME_MEMBER`. Null is omitted.
fn add_fields(fields: &mut Vec<(String, String)>, name: String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (member, value) in members {
                add_fields(fields, format!("{name}_{}", member.to_uppercase()), value);
            }
        }
        Value::String(text) => fields.push((name, text.clone())),
        value => fields.push((name, value.to_string())),
    }
}
