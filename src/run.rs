//! The library's handle on a run: start, read counters and client events, stop.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tcp_bounce_wire::Counters;

use crate::config::{Config, isn};
use crate::error::Error;
use crate::host::{Interface, kernel};
use crate::process::ProcessError;
use crate::responder::{self, REFRESH_INTERVAL, ResponderSet};
use crate::telemetry::{ClientEvent, Collector, EventSink, RunningCollector};
use crate::xdp::XdpError;

/// The number of event batches that wait for [`Run::events`]. Further ones are dropped.
const BATCHES: usize = 1024;

/// A running responder on one or more interfaces. It stays attached as long as this value lives.
///
/// A thread follows the host: it excludes the ports of new listeners, follows changed addresses, and ends the run when
/// an interface is removed or [`Config::duration`] is over. If the host cannot be read, the last known state stays in
/// force, and the run ends after a minute of failures.
///
/// The process needs `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`, and Linux 5.9 or newer. Unlike the command, a run
/// keeps its privileges.
pub struct Run {
    state: Arc<Mutex<State>>,
    events: Receiver<Vec<ClientEvent>>,
    stop: Sender<()>,
    follower: Option<JoinHandle<Result<(), Error>>>,
}

/// The state that the follower thread shares with the handle.
enum State {
    /// The responders, which answer.
    Attached(Box<ResponderSet>),
    /// The counters at the end.
    Detached(Counters),
}

impl Run {
    /// Attaches to all interfaces of `config` or to none, and starts to follow the host.
    ///
    /// # Errors
    ///
    /// Settings of `config` contradict each other; an interface is unfit or has another XDP program; the kernel refuses
    /// the program.
    pub fn start(config: &Config) -> Result<Self, Error> {
        config.validate()?;
        let interfaces = Interface::find(&config.interfaces)?;
        kernel::check()?;
        interfaces.iter().try_for_each(responder::check_vacant)?;
        let isn = isn::resolve(&config.syn_ack, &config.post_handshake)?;
        let mut responders = ResponderSet::new(config, isn);
        interfaces.iter().try_for_each(|interface| responders.attach(interface))?;
        responders.refresh()?;
        let deadline = config.duration.and_then(|duration| Instant::now().checked_add(duration));

        let (sender, events) = mpsc::sync_channel(BATCHES);
        let tables = Arc::new(responders.client_tables()?);
        let collector = Collector::new(config.observe, false, None)?;
        let mut collector = collector.start(&responders, tables, Some(Arc::new(EventQueue(sender))))?;
        collector.release();

        let state = Arc::new(Mutex::new(State::Attached(Box::new(responders))));
        let (stop, stopped) = mpsc::channel();
        let followed = Arc::clone(&state);
        let follow = move || follow(&followed, collector, &stopped, deadline);
        let follower =
            thread::Builder::new().name("follower".to_owned()).spawn(follow).map_err(ProcessError::Thread)?;
        Ok(Self { state, events, stop, follower: Some(follower) })
    }

    /// Returns the counters since the start, summed over all interfaces. After the run they stay as they were at its
    /// end.
    ///
    /// # Errors
    ///
    /// The kernel denies reading the maps.
    pub fn counters(&self) -> Result<Counters, Error> {
        match &*lock(&self.state) {
            State::Attached(responders) => Ok(responders.samples()?.iter().map(|sample| sample.counters).sum()),
            State::Detached(counters) => Ok(*counters),
        }
    }

    /// Returns an iterator over client events. It blocks until the next event, and ends with the run.
    ///
    /// [`Observe::events`](crate::Observe::events) enables events. Those that are not read in time are dropped.
    pub fn events(&self) -> impl Iterator<Item = ClientEvent> {
        self.events.iter().flatten()
    }

    /// Detaches from all interfaces, and returns the counters.
    ///
    /// # Errors
    ///
    /// The error that ended the run earlier, such as a removed interface.
    pub fn stop(mut self) -> Result<Counters, Error> {
        self.join()?;
        self.counters()
    }

    /// Ends the follower thread, and returns its result the first time.
    fn join(&mut self) -> Result<(), Error> {
        // The follower may have ended already.
        let _ = self.stop.send(());
        let Some(follower) = self.follower.take() else { return Ok(()) };
        follower.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

/// Follows the host until the run ends, and detaches then.
fn follow(
    state: &Mutex<State>,
    collector: RunningCollector,
    stopped: &Receiver<()>,
    deadline: Option<Instant>,
) -> Result<(), Error> {
    let started = Instant::now();
    let result = loop {
        let left = deadline.map_or(REFRESH_INTERVAL, |deadline| deadline.saturating_duration_since(Instant::now()));
        match stopped.recv_timeout(left.min(REFRESH_INTERVAL)) {
            Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
            _ => break Ok(()),
        }
        if let State::Attached(responders) = &mut *lock(state)
            && let Err(error) = responders.follow()
        {
            break Err(error.into());
        }
    };
    // Locked until the final counters are known, so that nobody reads the placeholder.
    let mut state = lock(state);
    let State::Attached(responders) = std::mem::replace(&mut *state, State::Detached(Counters::default())) else {
        return result;
    };
    let programs = responders.detach();
    let (summary, _) = collector.finish(started.elapsed(), &programs);
    let counters = summary.map(|summary| summary.counters);
    *state = State::Detached(counters.as_ref().copied().unwrap_or_default());
    result.and(counters.map(drop).map_err(XdpError::into))
}

/// The sink that feeds [`Run::events`].
struct EventQueue(SyncSender<Vec<ClientEvent>>);

impl EventSink for EventQueue {
    fn deliver(&self, events: Vec<ClientEvent>) {
        let _ = self.0.try_send(events);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
