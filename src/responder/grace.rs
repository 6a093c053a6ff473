//! The grace times of ports whose listeners were closed. Until a grace time ends, the host refuses connections to the
//! port, as it would without tcp-bounce.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::xdp::LocalPortTable;

/// The ports in a grace time.
#[derive(Debug)]
pub struct GraceTimes {
    length: Duration,
    /// The start of each port's grace time.
    starts: BTreeMap<u16, Instant>,
}

impl GraceTimes {
    /// Creates grace times of this `length`, and has the kernel mark closed listeners in `table`. If `length` is zero,
    /// there are no grace times.
    pub fn new(length: Duration, table: &LocalPortTable) -> Self {
        table.set_has_grace(!length.is_zero());
        Self { length, starts: BTreeMap::new() }
    }

    /// Starts the grace times of newly closed listeners, and ends those that are over at `now`.
    ///
    /// The kernel marks most closed listeners in `table`. It marks none whose port it had selected, so `vanished` are
    /// ports that had a listener before, and have none now.
    pub fn update(&mut self, table: &LocalPortTable, vanished: impl Iterator<Item = u16>, now: Instant) {
        if self.length.is_zero() {
            return;
        }
        vanished.filter(|port| !self.contains(*port)).for_each(|port| table.mark_closed_listener(port));
        self.starts.extend(table.start_graces().map(|port| (port, now)));
        self.starts.retain(|&port, start| {
            let is_over = now.saturating_duration_since(*start) >= self.length;
            if is_over {
                table.end_grace(port);
            }
            !is_over
        });
    }

    /// Returns whether `port` is in a grace time.
    pub fn contains(&self, port: u16) -> bool {
        self.starts.contains_key(&port)
    }
}

#[cfg(test)]
mod tests {
    use tcp_bounce_wire::local_ports::{StateChange, TCP_CLOSE, TCP_LISTEN};

    use super::*;

    const NAMESPACE: u64 = 1;
    const SECOND: Duration = Duration::from_secs(1);

    /// Returns a complete table without ports, and grace times of this length.
    fn set_up(length: Duration) -> (LocalPortTable, GraceTimes) {
        let table = LocalPortTable::fake(NAMESPACE);
        table.begin_epoch();
        table.end_epoch();
        let graces = GraceTimes::new(length, &table);
        (table, graces)
    }

    /// Opens and closes a listener.
    fn close_listener(table: &LocalPortTable, port: u16, is_loopback: bool) {
        for (old_state, new_state) in [(TCP_CLOSE, TCP_LISTEN), (TCP_LISTEN, TCP_CLOSE)] {
            table.kernel().record(StateChange { namespace: NAMESPACE, port, old_state, new_state, is_loopback });
        }
    }

    /// Returns whether the program excludes a port without a socket.
    fn excludes(table: &LocalPortTable, port: u16) -> bool {
        table.kernel().may_contain(port) && table.kernel().has_closed_listener(port)
    }

    #[test]
    fn ports_stay_excluded_for_the_grace_time() {
        let (table, mut graces) = set_up(10 * SECOND);
        let start = Instant::now();
        close_listener(&table, 80, false);
        close_listener(&table, 81, true);
        assert_eq!([80, 81].map(|port| excludes(&table, port)), [true, false]);
        graces.update(&table, [8080].into_iter(), start);
        assert_eq!([80, 81, 8080].map(|port| graces.contains(port)), [true, false, true]);
        // The table forgets ports without sockets after two epochs, but not during a grace time.
        (0..3).for_each(|_| {
            table.begin_epoch();
            table.end_epoch();
        });
        assert!(excludes(&table, 80) && excludes(&table, 8080));
        // Another listener on the port starts its grace time again.
        close_listener(&table, 80, false);
        graces.update(&table, [80, 8080].into_iter(), start + 9 * SECOND);
        graces.update(&table, [80, 8080].into_iter(), start + 10 * SECOND);
        assert_eq!([80, 8080].map(|port| excludes(&table, port)), [true, false]);
        assert_eq!([80, 8080].map(|port| graces.contains(port)), [true, false]);
        graces.update(&table, [80].into_iter(), start + 19 * SECOND);
        assert!(!excludes(&table, 80) && !graces.contains(80));
    }

    #[test]
    fn listener_that_closes_at_the_end_of_a_grace_time_gets_another() {
        let (table, mut graces) = set_up(SECOND);
        let start = Instant::now();
        close_listener(&table, 80, false);
        graces.update(&table, [].into_iter(), start);
        close_listener(&table, 80, false);
        graces.update(&table, [].into_iter(), start + SECOND);
        assert!(excludes(&table, 80) && graces.contains(80));
    }

    #[test]
    fn zero_excludes_nothing() {
        let (table, mut graces) = set_up(Duration::ZERO);
        close_listener(&table, 80, false);
        graces.update(&table, [81].into_iter(), Instant::now());
        assert_eq!([80, 81].map(|port| excludes(&table, port)), [false; 2]);
    }
}
