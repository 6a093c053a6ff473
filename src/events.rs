//! What clients do, as it happens: the program puts it into a ring buffer, and a thread reads it.

use std::fmt::{self, Display, Formatter};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use libbpf_rs::{MapCore as _, MapFlags, RingBufferBuilder};
use nix::time::{ClockId, clock_gettime};
use plain::Plain;
use serde::{Serialize, Serializer};
use tcp_bounce_wire::{Event, EventCounts, EventKind};
use zerocopy::FromZeros as _;

use crate::skel::TcpBounceSkel;
use crate::tables::{address, words};

/// How long the reader waits for the next event before it looks whether it shall stop.
const TICK: Duration = Duration::from_millis(100);

/// How many events it hands on at once at most.
const BATCH: usize = 1024;

/// What a client did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Knock {
    /// When.
    #[serde(serialize_with = "timestamp")]
    pub time: SystemTime,
    /// The interface that it came by, with the name that it had at the start.
    pub interface: Arc<str>,
    /// The client's address.
    pub source: IpAddr,
    /// The client's port.
    pub source_port: u16,
    /// The address that it wanted.
    pub destination: IpAddr,
    /// The port that it wanted.
    pub port: u16,
    /// What it did: `syn`, `completed` or `closed`.
    pub event: &'static str,
}

impl Knock {
    fn new(event: &Event, clock: &Clock, interface: &Arc<str>) -> Self {
        let kind = EventKind::ALL.into_iter().find(|&kind| kind as u32 == event.kind);
        Self {
            time: clock.at(event.time),
            interface: Arc::clone(interface),
            source: address(event.source),
            source_port: event.source_port.get(),
            destination: address(event.destination),
            port: event.destination_port.get(),
            event: match kind {
                Some(EventKind::Syn) => "syn",
                Some(EventKind::Completed) => "completed",
                Some(EventKind::Closed) => "closed",
                None => "",
            },
        }
    }
}

impl Display for Knock {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { time, interface, event, .. } = self;
        let time = humantime::format_rfc3339_micros(*time);
        let source = SocketAddr::new(self.source, self.source_port);
        let destination = SocketAddr::new(self.destination, self.port);
        write!(f, "{time} {interface} {source} > {destination} {event}")
    }
}

fn timestamp<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_micros(*time))
}

/// An event as it lies in the ring buffer.
#[repr(transparent)]
struct Record(Event);

// SAFETY: It is made of numbers without padding, so that any bytes are one.
unsafe impl Plain for Record {}

/// The event that these bytes of a ring buffer are.
pub fn decode(bytes: &[u8]) -> Option<Event> {
    let mut record = Record(Event::new_zeroed());
    plain::copy_from_bytes(&mut record, bytes).ok()?;
    Some(record.0)
}

/// What became of the events of a program, on all CPUs.
pub fn count(program: &TcpBounceSkel) -> libbpf_rs::Result<EventCounts> {
    let cpus = program.maps.EVENT_COUNTS.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)?.unwrap_or_default();
    let counts = cpus.iter().filter_map(|cpu| words(cpu));
    let sum = |sum: EventCounts, [seen, told, lost]: [u64; 3]| EventCounts {
        seen: sum.seen + seen,
        delivered: sum.delivered + told,
        dropped: sum.dropped + lost,
    };
    Ok(counts.fold(EventCounts::default(), sum))
}

/// Tells the time of events, which is the kernel's monotonic one.
struct Clock {
    monotonic: Duration,
    system: SystemTime,
}

impl Clock {
    fn now() -> Self {
        // Linux has always had that clock.
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self { monotonic, system: SystemTime::now() }
    }

    fn at(&self, nanoseconds: u64) -> SystemTime {
        let age = self.monotonic.saturating_sub(Duration::from_nanos(nanoseconds));
        self.system.checked_sub(age).unwrap_or(self.system)
    }
}

/// What reads events, and hands them on: a thread for each program, so that none has to wait for another's.
#[derive(Default)]
pub struct Reader {
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

impl<F: FnMut(Vec<Knock>)> Outbox<F> {
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
            (self.take)(events.iter().map(|event| Knock::new(event, &clock, &self.interface)).collect());
        }
    }
}

impl Reader {
    /// Starts to read what a program tells on an interface with this name, too, and to hand it to `take`. That may take its
    /// time: what there is no room for meanwhile is lost, and counted by the program.
    pub fn read(
        &mut self,
        program: &TcpBounceSkel,
        interface: &str,
        take: impl FnMut(Vec<Knock>) + Send + 'static,
    ) -> libbpf_rs::Result<()> {
        let outbox = Outbox { interface: interface.into(), batch: Vec::new(), take, handed: 0 };
        let outbox = Arc::new(Mutex::new(outbox));
        let mut builder = RingBufferBuilder::new();
        let inbox = Arc::clone(&outbox);
        builder.add(&program.maps.EVENTS, move |bytes| {
            if let Some(event) = decode(bytes) {
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
                    // Most likely by a signal. Whatever it is, it must not keep a CPU busy.
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

impl Drop for Reader {
    /// Nobody waits for the threads: the programs may be running yet.
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}
