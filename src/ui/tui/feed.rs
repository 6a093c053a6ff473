//! The feed of the full-screen view: the counters and events for the next redraw.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::responder::Sample;
use crate::telemetry::{ClientEvent, EventSink};

/// The maximum number of events in a feed.
const KEPT_EVENTS: usize = 500;

/// The data for the next redraw, shared between the run, the reader threads and the renderer.
#[derive(Clone, Default)]
pub struct Feed(Arc<Mutex<FeedData>>);

/// The data in a [`Feed`].
#[derive(Default)]
pub struct FeedData {
    /// The counters of each interface.
    pub samples: Vec<Sample>,
    /// The newest events, in order of arrival.
    pub events: VecDeque<ClientEvent>,
}

impl Feed {
    /// Locks the data. Holders of the lock must not block.
    pub fn lock(&self) -> MutexGuard<'_, FeedData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An [`EventSink`] that shows events in the full-screen view.
pub struct TuiEvents(pub Feed);

impl EventSink for TuiEvents {
    /// Adds `events` to the feed. Discards the oldest events beyond [`KEPT_EVENTS`].
    fn deliver(&self, events: Vec<ClientEvent>) {
        let mut feed = self.0.lock();
        feed.events.extend(events);
        let excess = feed.events.len().saturating_sub(KEPT_EVENTS);
        feed.events.drain(..excess);
    }
}
