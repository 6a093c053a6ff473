//! The scanner: opens connections within the rate and the limit of open files, and collects the state of each port.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::attempt::{self, Attempt, Step};
use super::pace::Pace;
use super::rounds::Rounds;
use super::schedule::Schedule;
use super::state::{PortResult, PortState};
use super::target::Target;
use super::{ProbeError, ScanSettings, limits};

/// The maximum number of attempts that start before events are handled. Otherwise, answers would wait, and the latency
/// would seem longer.
const BATCH: usize = 32;

/// The maximum number of events that one call of `epoll_wait(2)` returns.
const EVENTS: usize = 256;

/// The time between two reports of the progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);

/// The progress of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the round, from 1. Each round tries all ports that have not answered.
    pub round: usize,
    /// The number of ports in this round.
    pub ports: usize,
    /// The number of ports whose attempt in this round has ended.
    pub ended: usize,
    /// The number of open ports, of all hosts.
    pub open: usize,
}

/// A port of a host, as indices of the results.
#[derive(Clone, Copy, Debug)]
struct Place {
    host: usize,
    port: usize,
}

/// An attempt, and its place in the results.
#[derive(Debug)]
struct Slot {
    attempt: Attempt,
    place: Place,
    deadline: Instant,
}

/// A scan that is under way.
struct Scanner<'a> {
    targets: &'a [Target],
    settings: &'a ScanSettings,
    epoll: Epoll,
    results: Vec<Vec<PortResult>>,
    /// The attempts by the data of their events. A free slot is `None`.
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    deadlines: Schedule<usize>,
    /// The rounds of each host.
    rounds: Vec<Rounds>,
    progress: Progress,
}

/// Probes all ports of all `targets`. Returns the results of each target, in the order of the ports.
///
/// Calls `report` with the progress from time to time.
///
/// # Errors
///
/// [`ProbeError::Socket`] or [`ProbeError::Wait`].
pub fn scan(
    targets: &[Target],
    settings: &ScanSettings,
    report: &mut dyn FnMut(Progress),
) -> Result<Vec<Vec<PortResult>>, ProbeError> {
    let mut scanner = Scanner::new(targets, settings)?;
    let mut pace = Pace::new(settings.rate, Instant::now());
    let mut is_continued = vec![true; targets.len()];
    loop {
        let places = scanner.unsettled(&is_continued);
        if places.is_empty() {
            return Ok(scanner.results);
        }
        scanner.round(places, &mut pace, report)?;
        for (is_continued, rounds) in is_continued.iter_mut().zip(&mut scanner.rounds) {
            *is_continued = *is_continued && rounds.another();
        }
    }
}

impl<'a> Scanner<'a> {
    fn new(targets: &'a [Target], settings: &'a ScanSettings) -> Result<Self, ProbeError> {
        let limit = limits::raise();
        Ok(Self {
            targets,
            settings,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(ProbeError::Wait)?,
            results: vec![settings.ports.iter().map(|&port| PortResult::new(port)).collect(); targets.len()],
            slots: (0..limit).map(|_| None).collect(),
            free: (0..limit).rev().collect(),
            deadlines: Schedule::new(settings.timeout),
            rounds: vec![Rounds::new(settings.retries); targets.len()],
            progress: Progress::default(),
        })
    }

    /// Returns the places whose state may still change, of those hosts that `is_continued`. Hosts alternate.
    fn unsettled(&self, is_continued: &[bool]) -> Vec<Place> {
        let ports = 0..self.settings.ports.len();
        let places = ports.flat_map(|port| (0..self.targets.len()).map(move |host| Place { host, port }));
        let is_unsettled =
            |place: &Place| is_continued[place.host] && !self.results[place.host][place.port].state.is_settled();
        places.filter(is_unsettled).collect()
    }

    /// Makes one attempt at each of `places`.
    fn round(
        &mut self,
        places: Vec<Place>,
        pace: &mut Pace,
        report: &mut dyn FnMut(Progress),
    ) -> Result<(), ProbeError> {
        self.progress = Progress { round: self.progress.round + 1, ports: places.len(), ended: 0, ..self.progress };
        let mut waiting = places;
        waiting.reverse();
        let mut reported: Option<Instant> = None;
        while self.progress.ended < self.progress.ports {
            let now = Instant::now();
            if reported.is_none_or(|reported| now >= reported + REPORT_INTERVAL) {
                report(self.progress);
                reported = Some(now);
            }
            let is_paced = self.start_batch(&mut waiting, pace)?;
            let next = is_paced.then(|| now + pace.wait());
            self.wait([next, self.deadlines.first()].into_iter().flatten().min())?;
            self.expire();
        }
        report(self.progress);
        Ok(())
    }

    /// Starts attempts at the last of the `waiting` places. Returns whether more can start when the pace allows it.
    fn start_batch(&mut self, waiting: &mut Vec<Place>, pace: &mut Pace) -> Result<bool, ProbeError> {
        for _ in 0..BATCH {
            if waiting.is_empty() || self.free.is_empty() {
                return Ok(false);
            }
            let now = Instant::now();
            if !pace.take(now) {
                break;
            }
            if let Some(place) = waiting.pop()
                && !self.start(place, now)?
            {
                waiting.push(place);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Starts an attempt. Returns `false` if this host is short of sockets, memory or ports.
    fn start(&mut self, place: Place, now: Instant) -> Result<bool, ProbeError> {
        let target = &self.targets[place.host];
        let address = target.endpoint(self.settings.ports[place.port]);
        let attempt = match Attempt::start(address, now) {
            Ok(attempt) => attempt,
            // Without a source address, EADDRNOTAVAIL is no shortage of ports.
            Err(errno) if attempt::is_shortage(errno) && (errno != Errno::EADDRNOTAVAIL || target.source.is_some()) => {
                return self.lower_limit(errno).map(|()| false);
            }
            Err(errno) => {
                self.record(place, attempt::unsent(errno), None);
                return Ok(true);
            }
        };
        let Some(index) = self.free.pop() else { return Ok(false) };
        let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let added = self.epoll.add(attempt.socket(), EpollEvent::new(events, index as u64));
        if let Err(errno) = added {
            self.free.push(index);
            return self.lower_limit(errno).map(|()| false);
        }
        let deadline = self.deadlines.add(now, index);
        self.slots[index] = Some(Slot { attempt, place, deadline });
        Ok(true)
    }

    /// Limits the attempts at a time to those that have started.
    fn lower_limit(&mut self, errno: Errno) -> Result<(), ProbeError> {
        self.free.clear();
        if self.slots.iter().all(Option::is_none) { Err(ProbeError::Socket(errno)) } else { Ok(()) }
    }

    /// Handles all events. Waits for the first one, at most until `end`.
    fn wait(&mut self, end: Option<Instant>) -> Result<(), ProbeError> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let wait = end.map_or(REPORT_INTERVAL, |end| end.saturating_duration_since(Instant::now()));
        // Rounds up, because a wait that ends too early would be repeated.
        let mut timeout = EpollTimeout::from(wait.min(REPORT_INTERVAL).as_micros().div_ceil(1000) as u8);
        loop {
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => Some(count),
                Err(Errno::EINTR) => None,
                Err(errno) => return Err(ProbeError::Wait(errno)),
            };
            let now = Instant::now();
            for event in events.iter().take(count.unwrap_or_default()) {
                self.advance(event.data() as usize, event.events(), now);
            }
            if count.is_some_and(|count| count < EVENTS) {
                return Ok(());
            }
            // More events may be ready. They come before the end of their attempts, even if it has passed.
            timeout = EpollTimeout::ZERO;
        }
    }

    fn advance(&mut self, index: usize, events: EpollFlags, now: Instant) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        match slot.attempt.advance(events, now, self.settings.tokens) {
            Step::Pending => {}
            Step::Connected => slot.deadline = self.deadlines.add(now, index),
            Step::Ended(state) => self.end(index, state, now),
        }
    }

    /// Ends the attempts whose deadlines have passed.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((deadline, index)) = self.deadlines.expire(now) {
            // The slot may have a new deadline, or another attempt.
            if let Some(slot) = self.slots[index].as_mut().filter(|slot| slot.deadline == deadline) {
                let state = slot.attempt.expire();
                self.end(index, state, now);
            }
        }
    }

    /// Frees the slot of an attempt, and records its result.
    fn end(&mut self, index: usize, state: PortState, now: Instant) {
        if let Some(Slot { attempt, place, .. }) = self.slots[index].take() {
            self.free.push(index);
            let latency = (state != PortState::Filtered).then(|| attempt.latency(now));
            self.record(place, state, latency);
        }
    }

    fn record(&mut self, place: Place, state: PortState, latency: Option<Duration>) {
        let result = &mut self.results[place.host][place.port];
        let was_open = matches!(result.state, PortState::Open(_));
        if result.add(state, latency) {
            self.rounds[place.host].add_answer(result.attempts - 1);
        }
        self.progress.open += usize::from(!was_open && matches!(result.state, PortState::Open(_)));
        self.progress.ended += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::probe::Family;

    /// The kernel answers the SYNs, because they are to one of its own addresses.
    #[test]
    fn answers_count_even_if_they_are_read_after_the_time_out() {
        const PORTS: usize = 2 * EVENTS + 1;
        let targets = [Target::resolve("127.0.0.1", Family::V4).unwrap()];
        let ports = (20_000..).take(PORTS).collect();
        let settings = ScanSettings { timeout: Duration::from_millis(1), ..ScanSettings::new(ports) };
        let mut scanner = Scanner::new(&targets, &settings).unwrap();
        for port in 0..PORTS {
            assert!(scanner.start(Place { host: 0, port }, Instant::now()).unwrap());
        }
        for slot in scanner.slots.iter().flatten() {
            let mut sockets = [PollFd::new(slot.attempt.socket(), PollFlags::POLLOUT)];
            assert_eq!(poll(&mut sockets, PollTimeout::from(10_000u16)), Ok(1));
        }
        thread::sleep(2 * settings.timeout);
        scanner.wait(None).unwrap();
        scanner.expire();
        assert!(scanner.results[0].iter().all(|result| result.state != PortState::Filtered));
    }
}
