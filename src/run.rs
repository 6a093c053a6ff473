//! The library's handle on a run: start, read counters and client events, stop.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tcp_bounce_wire::Counters;

use crate::config::{Config, OutputOptions, isn};
use crate::error::Error;
use crate::host::{Interface, kernel};
use crate::process::ProcessError;
use crate::responder::{self, ResponderSet};
use crate::telemetry::{ClientEvent, Collector, EventSink, RunningCollector};
use crate::xdp::XdpError;

/// The capacity of the queue for [`Run::events`], in batches of events. A full queue takes about 3 MB.
///
/// Batches that do not fit in the queue are dropped.
const BATCHES: usize = 32;

/// A running responder on one or more interfaces. Dropping this value detaches the XDP programs.
///
/// A thread follows the state of the host: it excludes the ports of new listeners and updates changed addresses. If the
/// state of the host cannot be read, the programs keep the last known state. The run ends after a minute of failures.
///
/// The run also ends when [`Config::duration`] has passed, an interface is removed, or another process detaches a
/// program.
///
/// The process needs `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`, and Linux 5.9 or newer. Unlike the command, a run
/// keeps its privileges.
pub struct Run {
    state: Arc<Mutex<State>>,
    events: Receiver<Vec<ClientEvent>>,
    dropped_events: Arc<AtomicU64>,
    stop: Sender<()>,
    follower: Option<JoinHandle<Result<(), Error>>>,
}

/// A handle that stops a [`Run`] from another thread, such as the thread of a signal handler.
#[derive(Clone, Debug)]
pub struct Stopper(Sender<()>);

impl Stopper {
    /// Requests the end of the run, and returns immediately.
    ///
    /// The run's own thread detaches from all interfaces and ends [`Run::events`].
    pub fn stop(&self) {
        // Sending fails if the run has ended already.
        let _ = self.0.send(());
    }
}

/// The state that the follower thread shares with [`Run`].
enum State {
    /// The programs are attached.
    Attached(Box<ResponderSet>),
    /// The run has ended with these counters. `None` if they could not be read.
    Detached(Option<Counters>),
}

impl Run {
    /// Attaches to all interfaces of `config` or to none, and starts to follow the state of the host.
    ///
    /// # Errors
    ///
    /// - A setting of `config` is invalid or contradicts another one, or the key file cannot be read.
    /// - The kernel is too old, or a capability is missing.
    /// - An interface does not exist, is not supported, or has another XDP program.
    /// - The kernel or the driver refuses the program.
    /// - The state of the host cannot be read, or a thread cannot be started.
    pub fn start(config: &Config) -> Result<Self, Error> {
        config.validate()?;
        let interfaces = Interface::find(&config.interfaces)?;
        kernel::check()?;
        interfaces.iter().try_for_each(responder::check_vacant)?;
        let isn = isn::resolve(&config.syn_ack, &config.post_handshake, config.profile.as_ref())?;
        let config = &config.with_ports_of_profile(isn)?;
        let mut responders = ResponderSet::new(config, isn)?;
        responders.attach(&interfaces, || false)?;
        responders.refresh()?;
        let deadline = config.duration.and_then(|duration| Instant::now().checked_add(duration));

        let (sender, events) = mpsc::sync_channel(BATCHES);
        let dropped_events = Arc::new(AtomicU64::new(0));
        let queue = EventQueue { sender, dropped: Arc::clone(&dropped_events) };
        let tables = Arc::new(responders.client_tables()?);
        let collector = Collector::new(config, &OutputOptions::default())?;
        let mut collector = collector.start(&responders, tables, Some(Arc::new(queue)))?;
        collector.release();

        let state = Arc::new(Mutex::new(State::Attached(Box::new(responders))));
        let (stop, stopped) = mpsc::channel();
        let followed = Arc::clone(&state);
        let follow = move || follow(&followed, collector, &stopped, deadline);
        let follower =
            thread::Builder::new().name("follower".to_owned()).spawn(follow).map_err(ProcessError::Thread)?;
        Ok(Self { state, events, dropped_events, stop, follower: Some(follower) })
    }

    /// Returns the packet counters since the start, summed over all interfaces.
    ///
    /// When the run has ended, the counters keep their final values, or are zero if the final values could not be read.
    ///
    /// # Errors
    ///
    /// The kernel denies reading the maps.
    pub fn counters(&self) -> Result<Counters, Error> {
        match &*lock(&self.state) {
            State::Attached(responders) => Ok(responders.samples()?.iter().map(|sample| sample.counters).sum()),
            State::Detached(counters) => Ok(counters.unwrap_or_default()),
        }
    }

    /// Returns an iterator over client events. The iterator blocks until the next event, and ends when the run ends.
    ///
    /// [`Observe::events`](crate::Observe::events) enables events. Events that are not read in time are dropped.
    pub fn events(&self) -> impl Iterator<Item = ClientEvent> {
        self.events.iter().flatten()
    }

    /// Returns the number of events that were dropped because [`Run::events`] was not read in time.
    ///
    /// Events for which the XDP program's ring buffer had no room are not included.
    pub fn dropped_events(&self) -> u64 {
        self.dropped_events.load(Relaxed)
    }

    /// Returns a handle that stops this run from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Detaches from all interfaces, and returns the final counters.
    ///
    /// # Errors
    ///
    /// The run ended earlier with an error, such as a removed interface, or the kernel denies reading the maps.
    pub fn stop(mut self) -> Result<Counters, Error> {
        self.join()?;
        self.counters()
    }

    /// Stops the follower thread, and returns its result. Later calls return `Ok`.
    fn join(&mut self) -> Result<(), Error> {
        self.stopper().stop();
        let Some(follower) = self.follower.take() else { return Ok(()) };
        follower.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stopper().stop();
        // The result is discarded, since a panic of the follower must not cause a panic in `drop`.
        let _ = self.follower.take().map(JoinHandle::join);
    }
}

/// Updates the programs until the run ends, then detaches them and stores the final counters in `state`.
fn follow(
    state: &Mutex<State>,
    collector: RunningCollector,
    stopped: &Receiver<()>,
    deadline: Option<Instant>,
) -> Result<(), Error> {
    let started = Instant::now();
    let result = responder::tick_until(stopped, deadline, || match &mut *lock(state) {
        State::Attached(responders) => Ok(responders.follow().map(drop)?),
        State::Detached(_) => Ok(()),
    });
    // The lock is held until the final counters are known, so that `Run::counters` never reads the temporary `None`.
    let mut state = lock(state);
    let State::Attached(responders) = std::mem::replace(&mut *state, State::Detached(None)) else {
        return result;
    };
    let programs = responders.detach();
    let collected = collector.finish(started.elapsed(), &programs);
    let counters = collected.summary.map(|summary| summary.counters);
    *state = State::Detached(counters.as_ref().ok().copied());
    result.and(counters.map(drop).map_err(XdpError::into))
}

/// The sink that queues events for [`Run::events`].
struct EventQueue {
    sender: SyncSender<Vec<ClientEvent>>,
    dropped: Arc<AtomicU64>,
}

impl EventSink for EventQueue {
    fn deliver(&self, events: Vec<ClientEvent>) {
        if let Err(TrySendError::Full(events) | TrySendError::Disconnected(events)) = self.sender.try_send(events) {
            self.dropped.fetch_add(events.len() as u64, Relaxed);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
