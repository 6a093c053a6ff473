//! The packets of an interface, as counted by the kernel and by the program.

use tcp_bounce_wire::{Counters, Verdict};

use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::received;
use crate::fixtures::programs::{attached, counters};
use crate::fixtures::until;

/// Compares the counters of a program with the kernel's statistics of its interface.
pub struct Ledger {
    interface: &'static str,
    program: u32,
    /// The packets that the interface received before the program was attached.
    earlier: u64,
}

impl Ledger {
    /// Starts to compare, at a moment without packets.
    pub fn open(host: &Namespace, interface: &'static str) -> Self {
        let program = attached(host, interface).expect("a program is attached");
        let uncounted = || {
            let before = total(counters(program));
            let received = received(host, interface);
            (total(counters(program)) == before).then(|| received - before)
        };
        let earlier = until("for a moment without packets", || {
            let earlier = uncounted()?;
            (uncounted()? == earlier).then_some(earlier)
        });
        Self { interface, program, earlier }
    }

    /// Waits until the program has counted each packet that the interface received, and returns the counters.
    pub fn balance(&self, host: &Namespace) -> Counters {
        until(&format!("for the packets of {} to be counted", self.interface), || {
            let counters = counters(self.program);
            (received(host, self.interface) == self.earlier + total(counters)).then_some(counters)
        })
    }
}

/// Returns the sum of all counters. Each packet has exactly one verdict.
pub fn total(counters: Counters) -> u64 {
    Verdict::ALL.iter().map(|&verdict| counters[verdict]).sum()
}
