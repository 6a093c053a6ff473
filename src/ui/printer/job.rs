//! The jobs of the printer thread.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tcp_bounce_wire::Counters;

use super::queue::Queue;
use crate::telemetry::ClientEvent;
use crate::ui::message::Message;

/// The state that the printer thread shares with its producers.
#[derive(Default)]
pub struct Shared {
    /// The pending jobs.
    pub queue: Queue<Job>,
    /// The number of events printed so far.
    pub printed_events: AtomicU64,
}

/// A job of the printer thread.
pub enum Job {
    /// Print a message.
    Print(Box<Message>),
    /// Print events.
    PrintEvents(Vec<ClientEvent>),
    /// Update the status line with the time since the start and the counters at that time.
    ShowProgress(Duration, Box<Counters>),
    /// Hold back messages until [`Self::Release`].
    Hold,
    /// Print the messages that were held back.
    Release,
    /// Clear the status line, and print the last messages.
    Finish(Vec<Message>),
}
