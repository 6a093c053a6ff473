//! The integration tests of tcp-bounce: one crate, with a module for each subject.
//!
//! `cargo test --release --test it actions` runs one subject. `docs/internals/testing.md` describes all tests.

#[macro_use]
#[allow(dead_code, reason = "the benchmarks and tests/kernel.rs use the rest")]
mod fixtures;

/// Post-handshake actions.
mod actions {
    mod loops;
    mod lossy;
    mod outcomes;
}
/// Attaching to interfaces, and detaching from them.
mod attach {
    mod detachment;
    mod duration;
    mod leaks;
    mod modes;
    mod occupied;
    mod other_loaders;
    mod several;
}
mod cli;
/// Connections from many kinds of clients.
mod clients {
    mod connections;
    mod fingerprints;
    mod tools;
}
mod docs;
mod events;
mod faults;
/// The host's own listeners, connections and forwarded traffic.
mod host_coexistence {
    mod listeners;
    mod routing;
    mod sockets;
    mod takeover;
}
mod library;
mod metrics;
/// Messages and their destinations: the terminal, the journal and the service manager.
mod output {
    mod journal;
    mod messages;
    mod service_manager;
    mod tui;
    mod unread;
}
/// The loaded program, one packet at a time.
mod packets {
    mod agreement;
    mod cases;
    mod databases;
    mod services;
    mod systems;
    mod telemetry;
}
mod pages;
mod preflight;
/// Required privileges, and dropped privileges.
mod privileges {
    mod dropped;
    mod gaps;
    mod required;
}
/// Hosts with the services of a profile.
mod profiles {
    mod clients;
    mod scanners;
}
/// Replies on the wire.
mod replies {
    mod oracle;
    mod sysctls;
    mod wire;
}
mod scope;
/// Large numbers of connections and packets. These tests run alone. They start late, because tests start in the order
/// of their names.
mod stress {
    mod crowd;
    mod endurance;
    mod flood;
    mod malformed;
}
mod structure;
