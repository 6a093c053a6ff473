//! Reader threads that drain the ring buffers of events at intervals.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libbpf_rs::{RingBuffer, RingBufferBuilder};

use super::client_event::{ClientEvent, Clock};
use crate::xdp::TcpBounceSkel;
use crate::xdp::event_ring::{self, Record};

/// The time between two readings of the ring buffer while events arrive.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// The time between two readings of the ring buffer after a long time without events. It delays the first event.
const MAX_INTERVAL: Duration = Duration::from_millis(16);

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
            if let Some(record) = event_ring::decode(record) {
                lock(&filled).add(record);
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
        self.stop();
        self.threads.drain(..).map(|thread| thread.join().unwrap_or_default()).sum()
    }

    fn stop(&self) {
        self.is_stopped.store(true, Release);
        self.threads.iter().for_each(|thread| thread.thread().unpark());
    }
}

impl Drop for EventReader {
    /// Stops the threads without waiting for them. A wait might not end, because the programs may still be attached.
    fn drop(&mut self) {
        self.stop();
    }
}

/// The undelivered events of one program, and the function that delivers them.
struct Batch<F> {
    interface: Arc<str>,
    events: Vec<Record>,
    deliver: F,
    delivered: u64,
}

impl<F: FnMut(Vec<ClientEvent>)> Batch<F> {
    fn add(&mut self, record: Record) {
        self.events.push(record);
        if self.events.len() >= MAX_BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.events.is_empty() {
            // The system clock may be adjusted during the run, so it is read for each batch.
            let clock = Clock::now();
            self.delivered += self.events.len() as u64;
            let events = self.events.drain(..).map(|record| ClientEvent::new(record, &clock, &self.interface));
            (self.deliver)(events.collect());
        }
    }
}

/// Delivers the events of `ring` until `is_stopped` is set and the ring buffer is empty. Returns the number of events.
///
/// The XDP program wakes no reader, so the thread reads the ring buffer at intervals. Unparking it ends a wait early.
fn drain<F: FnMut(Vec<ClientEvent>)>(ring: &RingBuffer, batch: &Mutex<Batch<F>>, is_stopped: &AtomicBool) -> u64 {
    let mut interval = MAX_INTERVAL;
    loop {
        // The flag is read before the ring buffer, so that the last iteration reads all events from before the stop.
        let is_last = is_stopped.load(Acquire);
        // Reads no event that arrives meanwhile. A reader that has caught up with the XDP program would share each
        // cache line with its CPU, which slows down the program.
        let records = event_ring::available(ring);
        if records > 0 {
            // The callback never fails, so the result is only the number of records.
            ring.consume_raw_n(records);
        }
        let mut batch = lock(batch);
        batch.flush();
        if is_last {
            return batch.delivered;
        }
        drop(batch);
        interval = if records > 0 { MIN_INTERVAL } else { MAX_INTERVAL.min(2 * interval) };
        thread::park_timeout(interval);
    }
}

fn lock<F>(batch: &Mutex<Batch<F>>) -> MutexGuard<'_, Batch<F>> {
    batch.lock().unwrap_or_else(PoisonError::into_inner)
}
