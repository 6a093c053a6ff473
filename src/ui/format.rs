//! The ways in which messages are said: to people, as JSON, or to the journal of systemd.

use std::io::{self, Stdout};
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use libsystemd::errors::SdError;
use libsystemd::logging::{JournalStream, journal_send};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use serde::Serialize;
use serde_json::Value;

use super::message::Message;
use crate::telemetry::SCHEMA_VERSION;

/// How long standard error may take for what is wrong.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where messages go, and how.
#[derive(Debug)]
pub struct Output<Stream> {
    stream: Stream,
    format: Format,
}

/// How messages are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// For people.
    Text,
    /// An object on each line.
    Json,
    /// Entries of the journal of systemd, with fields.
    Journal,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    #[serde(flatten)]
    message: &'a Message,
}

impl Output<Stdout> {
    /// Standard output, in JSON if somebody wants it.
    pub fn stdout(json: bool) -> Self {
        Self::new(io::stdout(), json)
    }
}

/// Says all of these on standard error, in JSON if somebody wants it. If nobody takes them for a while, the exit status must do.
pub fn complain(json: bool, messages: Vec<Message>) {
    let (said, is_said) = mpsc::channel();
    let messages = Arc::new(messages);
    let say = move |messages: &[Message]| drop(Output::new(io::stderr(), json).say(messages));
    let theirs = Arc::clone(&messages);
    let in_thread = move || {
        say(&theirs);
        let _ = said.send(());
    };
    match thread::Builder::new().spawn(in_thread) {
        Ok(_) => drop(is_said.recv_timeout(PATIENCE)),
        // Without memory for a thread that may be just what is to be said.
        Err(_) => say(&messages),
    }
}

impl<Stream: AsFd> Output<Stream> {
    fn new(stream: Stream, json: bool) -> Self {
        let format = match json {
            true => Format::Json,
            false if is_journal(&stream) => Format::Journal,
            false => Format::Text,
        };
        Self { stream, format }
    }

    /// Says all of these.
    pub fn say<'a>(&self, messages: impl IntoIterator<Item = &'a Message>) -> io::Result<()> {
        let mut messages = messages.into_iter();
        if self.format == Format::Journal {
            // Where the journal's socket is out of reach, lines reach it yet.
            return messages.try_for_each(|message| enter(message).or_else(|_| self.write(&self.line(message))));
        }
        self.write(&messages.map(|message| self.line(message)).collect::<String>())
    }

    /// What there is to write for this one.
    pub fn line(&self, message: &Message) -> String {
        match self.format {
            // What has no names but these, and no values but numbers, texts and lists, can be written.
            Format::Json => {
                serde_json::to_string(&Line { version: SCHEMA_VERSION, message }).unwrap_or_default() + "\n"
            }
            Format::Text | Format::Journal => format!("{message}\n"),
        }
    }

    /// Writes all of this, also where the stream does not wait by itself since another process, which has it too, has told
    /// it so.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let mut rest = text.as_bytes();
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

/// Whether what is written there goes to the journal, as systemd says in `JOURNAL_STREAM`.
fn is_journal(stream: &impl AsFd) -> bool {
    JournalStream::from_env().is_ok_and(|journal| JournalStream::from_fd(stream).is_ok_and(|this| this == journal))
}

/// Makes an entry of the journal, with all names that the JSON has as fields.
fn enter(message: &Message) -> Result<(), SdError> {
    let mut fields = vec![("SYSLOG_IDENTIFIER".to_owned(), env!("CARGO_PKG_NAME").to_owned())];
    let values = serde_json::to_value(Line { version: SCHEMA_VERSION, message }).unwrap_or_default();
    add_fields(&mut fields, "TCP_BOUNCE".to_owned(), &values);
    journal_send(message.priority(), &message.to_string(), fields.into_iter())
}

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
