//! Reader threads that drain the ring buffers of events.

use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libbpf_rs::{RingBuffer, RingBufferBuilder};
use tcp_bounce_wire::Event;

use super::client_event::{ClientEvent, Clock};
use crate::xdp::{TcpBounceSkel, event_ring};

/// The maximum time between two checks of the stop flag, and the wait after an error.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The maximum number of events in a batch.
const MAX_BATCH: usize = 1024;

/// Reads the client events of several programs.
///
/// Each program has its own thread, so that a busy interface does not delay the others.
#[derive(Default)]
pub struct EventReader {
    is_stopped: Arc<AtomicBool>,
    /// The reader threads. Each returns the number of events that it delivered.
    threads: Vec<JoinHandle<u64>>,
}

impl EventReader {
    /// Starts a thread that reads the events of `program` and passes them to `deliver` in batches.
    ///
    /// `deliver` may block. If the ring buffer fills up meanwhile, the XDP program counts further events as dropped.
    ///
    /// # Errors
    ///
    /// The ring buffer cannot be mapped, or the thread cannot be started.
    pub fn read(
        &mut self,
        program: &TcpBounceSkel,
        interface: &str,
        deliver: impl FnMut(Vec<ClientEvent>) + Send + 'static,
    ) -> libbpf_rs::Result<()> {
        let batch = Batch { interface: interface.into(), events: Vec::new(), deliver, delivered: 0 };
        let batch = Arc::new(Mutex::new(batch));
        let filled = Arc::clone(&batch);
        let mut builder = RingBufferBuilder::new();
        builder.add(&program.maps.EVENTS, move |record| {
            if let Some(event) = event_ring::decode(record) {
                lock(&filled).add(event);
            }
            0
        })?;
        let ring = builder.build()?;
        let is_stopped = Arc::clone(&self.is_stopped);
        let drain = move || drain(&ring, &batch, &is_stopped);
        self.threads.push(thread::Builder::new().name("events".to_owned()).spawn(drain)?);
        Ok(())
    }

    /// Delivers the remaining events, stops the threads, and returns the total number of delivered events.
    ///
    /// The programs must be detached, since a thread ends only when its ring buffer is empty.
    pub fn finish(mut self) -> u64 {
        self.is_stopped.store(true, Relaxed);
        self.threads.drain(..).map(|thread| thread.join().unwrap_or_default()).sum()
    }
}

impl Drop for EventReader {
    /// Stops the threads without waiting for them. A wait might not end, because the programs may still be attached.
    fn drop(&mut self) {
        self.is_stopped.store(true, Relaxed);
    }
}

/// The undelivered events of one program, and the function that delivers them.
struct Batch<F> {
    interface: Arc<str>,
    events: Vec<Event>,
    deliver: F,
    delivered: u64,
}

impl<F: FnMut(Vec<ClientEvent>)> Batch<F> {
    fn add(&mut self, event: Event) {
        self.events.push(event);
        if self.events.len() >= MAX_BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.events.is_empty() {
            // The system clock may be adjusted during the run, so it is read for each batch.
            let clock = Clock::now();
            let events = mem::take(&mut self.events);
            self.delivered += events.len() as u64;
            (self.deliver)(events.iter().map(|event| ClientEvent::new(event, &clock, &self.interface)).collect());
        }
    }
}

/// Delivers the events of `ring` until `is_stopped` is set and the ring buffer is empty. Returns the number of events.
fn drain<F: FnMut(Vec<ClientEvent>)>(ring: &RingBuffer, batch: &Mutex<Batch<F>>, is_stopped: &AtomicBool) -> u64 {
    loop {
        // The flag is read before the ring buffer, so that the last iteration reads all events from before the stop.
        let is_last = is_stopped.load(Relaxed);
        if ring.poll(if is_last { Duration::ZERO } else { POLL_INTERVAL }).is_err() {
            // Most likely a signal interrupted the wait. The pause keeps a persistent error from using a whole CPU.
            thread::sleep(POLL_INTERVAL);
        }
        let mut batch = lock(batch);
        batch.flush();
        if is_last {
            return batch.delivered;
        }
    }
}

fn lock<F>(batch: &Mutex<Batch<F>>) -> MutexGuard<'_, Batch<F>> {
    batch.lock().unwrap_or_else(PoisonError::into_inner)
}
