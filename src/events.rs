//! What clients do, as it happens: the program puts it into a ring buffer, and a thread reads it.

use std::collections::BTreeMap;
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
use tcp_bounce_wire::{Event, EventCount, Kind};
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
    fn new(event: &Event, clock: &Clock, interfaces: &BTreeMap<u32, Arc<str>>) -> Self {
        let kind = Kind::ALL.into_iter().find(|&kind| kind as u32 == event.kind);
        Self {
            time: clock.at(event.time),
            interface: interfaces.get(&event.ifindex).cloned().unwrap_or_default(),
            source: address(event.source),
            source_port: event.source_port.get(),
            destination: address(event.destination),
            port: event.destination_port.get(),
            event: match kind {
                Some(Kind::Syn) => "syn",
                Some(Kind::Completed) => "completed",
                Some(Kind::Closed) => "closed",
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
pub fn count(program: &TcpBounceSkel) -> libbpf_rs::Result<EventCount> {
    let cpus = program.maps.EVENT_COUNTS.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)?.unwrap_or_default();
    let counts = cpus.iter().filter_map(|cpu| words(cpu));
    let sum = |sum: EventCount, [seen, told, lost]: [u64; 3]| EventCount {
        seen: sum.seen + seen,
        told: sum.told + told,
        lost: sum.lost + lost,
    };
    Ok(counts.fold(EventCount::default(), sum))
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

/// What reads events, and hands them on.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

/// What has been read and not been handed on.
struct Outbox<F> {
    interfaces: BTreeMap<u32, Arc<str>>,
    batch: Vec<Event>,
    take: F,
    handed: u64,
}

impl<F: FnMut(Vec<Knock>) -> bool> Outbox<F> {
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
            let knocks = events.iter().map(|event| Knock::new(event, &clock, &self.interfaces)).collect();
            if (self.take)(knocks) {
                self.handed += events.len() as u64;
            }
        }
    }
}

impl Reader {
    /// Starts to read what these programs tell, each on an interface with an index and a name, and to hand it to `take`, which
    /// says whether it was taken. That may take its time: what there is no room for meanwhile is lost, and counted by the
    /// program.
    pub fn start(
        programs: &[(u32, &str, &TcpBounceSkel)],
        take: impl FnMut(Vec<Knock>) -> bool + Send + 'static,
    ) -> libbpf_rs::Result<Self> {
        let interfaces = programs.iter().map(|&(index, name, _)| (index, name.into())).collect();
        let outbox = Arc::new(Mutex::new(Outbox { interfaces, batch: Vec::new(), take, handed: 0 }));
        let mut builder = RingBufferBuilder::new();
        for (_, _, program) in programs {
            let outbox = Arc::clone(&outbox);
            builder.add(&program.maps.EVENTS, move |bytes| {
                if let Some(event) = decode(bytes) {
                    outbox.lock().unwrap_or_else(PoisonError::into_inner).put(event);
                }
                0
            })?;
        }
        let ring = builder.build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let read = move || {
            loop {
                // What has come before it was stopped is read all the same.
                let is_last = is_stopped.load(Relaxed);
                // Interrupted by a signal, it has read what there was.
                let _ = ring.poll(if is_last { Duration::ZERO } else { TICK });
                let mut outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
                outbox.flush();
                if is_last {
                    return outbox.handed;
                }
            }
        };
        let thread = thread::Builder::new().name("events".to_owned()).spawn(read)?;
        Ok(Self { stop, thread })
    }

    /// Reads what is left, and returns how many events have been taken in all. No program must be running any more, or
    /// there may be no end.
    pub fn finish(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
