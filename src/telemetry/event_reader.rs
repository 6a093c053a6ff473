//! Reader threads, which drain the ring buffers of events.

use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libbpf_rs::RingBufferBuilder;
use tcp_bounce_wire::Event;

use super::client_event::{ClientEvent, Clock};
use crate::xdp::{TcpBounceSkel, event_ring};

/// The time between two checks of the stop flag.
const TICK: Duration = Duration::from_millis(100);

/// The most events in a batch.
const BATCH: usize = 1024;

/// What reads events, and hands them on: a thread for each program, so that none has to wait for another's.
#[derive(Default)]
pub struct EventReader {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

/// What has been read of a program and not been handed on.
struct Outbox<F> {
    interface: Arc<str>,
    batch: Vec<Event>,
    take: F,
    handed: u64,
}

impl<F: FnMut(Vec<ClientEvent>)> Outbox<F> {
    fn put(&mut self, event: Event) {
        self.batch.push(event);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            let clock = Clock::now();
            let events = mem::take(&mut self.batch);
            self.handed += events.len() as u64;
            (self.take)(events.iter().map(|event| ClientEvent::new(event, &clock, &self.interface)).collect());
        }
    }
}

impl EventReader {
    /// Starts to read what a program tells on an interface with this name, too, and to hand it to `take`. That may take its
    /// time: what there is no room for meanwhile is lost, and counted by the program.
    pub fn read(
        &mut self,
        program: &TcpBounceSkel,
        interface: &str,
        take: impl FnMut(Vec<ClientEvent>) + Send + 'static,
    ) -> libbpf_rs::Result<()> {
        let outbox = Outbox { interface: interface.into(), batch: Vec::new(), take, handed: 0 };
        let outbox = Arc::new(Mutex::new(outbox));
        let mut builder = RingBufferBuilder::new();
        let inbox = Arc::clone(&outbox);
        builder.add(&program.maps.EVENTS, move |bytes| {
            if let Some(event) = event_ring::decode(bytes) {
                inbox.lock().unwrap_or_else(PoisonError::into_inner).put(event);
            }
            0
        })?;
        let ring = builder.build()?;
        let is_stopped = Arc::clone(&self.stop);
        let read = move || {
            loop {
                // What has come before it was stopped is read all the same.
                let is_last = is_stopped.load(Relaxed);
                if ring.poll(if is_last { Duration::ZERO } else { TICK }).is_err() {
                    // TopList likely by a signal. Whatever it is, it must not keep a CPU busy.
                    thread::sleep(TICK);
                }
                let mut outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
                outbox.flush();
                if is_last {
                    return outbox.handed;
                }
            }
        };
        self.threads.push(thread::Builder::new().name("events".to_owned()).spawn(read)?);
        Ok(())
    }

    /// Reads what is left, and returns how many events have been handed on in all. No program must be running any more, or
    /// there may be no end.
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        self.threads.drain(..).map(|thread| thread.join().unwrap_or_default()).sum()
    }
}

impl Drop for EventReader {
    /// Nobody waits for the threads: the programs may be running yet.
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}
