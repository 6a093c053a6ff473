//! The upkeep of the table of local ports: it becomes complete, and stays small.
//!
//! The upkeep works in cycles:
//!
//! 1. Begin an epoch.
//! 2. Wait for [`SETTLE`]. The kernel reports a socket shortly before a dump lists it. A dump that begins now therefore
//!    lists each socket that was reported before the epoch and still exists.
//! 3. Dump the local ports of all sockets, and add them to the table.
//! 4. End the epoch: remove the ports that were seen in neither of the last two epochs.
//!
//! A dump may miss a socket if another socket in the same bucket of the kernel's hash table is closed meanwhile. A port
//! leaves the table only if two dumps missed all its sockets, and the kernel reported none of them for as long.
//!
//! The kernel may report a listener before it selects the port. It then marks the table as incomplete. The next cycle
//! dumps all sockets twice and completes the table, unless the kernel marks it again during that cycle.

use std::io;
use std::time::{Duration, Instant};

use super::local_port_table::LocalPortTable;

/// The time after which a dump lists a socket that the kernel has reported.
const SETTLE: Duration = Duration::from_millis(400);

/// The minimum time between the starts of two cycles, while the table is complete.
const PERIOD: Duration = Duration::from_secs(10);

/// The time after which a dump pauses. In tests, it pauses after each list of ports.
const SLICE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_millis(5) };

/// The time from one slice of a dump to the next, as a multiple of the slice. The dump takes at most 1% of a CPU.
const INTERVAL: u32 = 100;

/// The state of the upkeep. `Dump` yields the local ports of all sockets, some at a time.
#[derive(Debug)]
pub struct Upkeep<Dump> {
    /// The start of the current or the last cycle.
    began: Instant,
    phase: Phase<Dump>,
    /// The number of dumps until the end of the cycle.
    dumps: u32,
}

#[derive(Debug)]
enum Phase<Dump> {
    /// The cycle is over.
    Resting,
    /// A dump is to begin.
    Settling,
    /// A dump has begun, and continues at `resume`.
    Dumping { dump: Dump, resume: Instant },
}

impl<Dump: Iterator<Item = io::Result<Vec<u16>>>> Upkeep<Dump> {
    /// Begins the first cycle of `table`.
    pub fn new(table: &LocalPortTable, now: Instant) -> Self {
        let dumps = if table.is_complete() { 1 } else { 2 };
        table.begin_epoch();
        Self { began: now, phase: Phase::Settling, dumps }
    }

    /// Takes the next step that is due at `now`. `start` starts a dump.
    ///
    /// If the sockets cannot be dumped, the step is repeated in the next call. The table keeps all ports until then.
    pub fn tick(&mut self, table: &LocalPortTable, now: Instant, start: impl FnOnce() -> io::Result<Dump>) {
        let age = now.saturating_duration_since(self.began);
        match &mut self.phase {
            Phase::Resting if age >= PERIOD || !table.is_complete() => *self = Self::new(table, now),
            Phase::Settling if age >= SETTLE => {
                if let Ok(dump) = start() {
                    self.advance(dump, table);
                }
            }
            Phase::Dumping { resume, .. } if *resume <= now => {
                if let Phase::Dumping { dump, .. } = std::mem::replace(&mut self.phase, Phase::Settling) {
                    self.advance(dump, table);
                }
            }
            _ => {}
        }
    }

    /// Continues `dump` for one slice of time, and ends the cycle after its last dump.
    fn advance(&mut self, mut dump: Dump, table: &LocalPortTable) {
        let begin = Instant::now();
        self.phase = loop {
            match dump.next() {
                None => {
                    self.dumps -= 1;
                    if self.dumps > 0 {
                        break Phase::Settling;
                    }
                    table.end_epoch();
                    break Phase::Resting;
                }
                // Starts another dump in the same epoch.
                Some(Err(_)) => break Phase::Settling,
                Some(Ok(ports)) => ports.into_iter().for_each(|port| table.add(port)),
            }
            let elapsed = begin.elapsed();
            if elapsed >= SLICE {
                break Phase::Dumping { dump, resume: begin + elapsed * INTERVAL };
            }
        };
    }
}

#[cfg(test)]
mod tests;
