//! The ways in which messages are said: to people, or as JSON.

use std::io::{self, Stderr, Stdout};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use serde::Serialize;

use crate::message::{Message, VERSION};

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

impl Output<Stderr> {
    /// Standard error, in JSON if somebody wants it.
    pub fn stderr(json: bool) -> Self {
        Self::new(io::stderr(), json)
    }
}

impl<Stream: AsFd> Output<Stream> {
    fn new(stream: Stream, json: bool) -> Self {
        let format = if json { Format::Json } else { Format::Text };
        Self { stream, format }
    }

    /// Says all of these.
    pub fn say<'a>(&self, messages: impl IntoIterator<Item = &'a Message>) -> io::Result<()> {
        let messages = messages.into_iter();
        self.write(&messages.map(|message| self.line(message)).collect::<String>())
    }

    /// What there is to write for this one.
    pub fn line(&self, message: &Message) -> String {
        match self.format {
            // What has no names but these, and no values but numbers, texts and lists, can be written.
            Format::Json => serde_json::to_string(&Line { version: VERSION, message }).unwrap_or_default() + "\n",
            Format::Text => format!("{message}\n"),
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
