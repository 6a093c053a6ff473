//! The integration tests of tcp-bounce: one crate, with a module for each subject.
//!
//! `cargo test --release --test it actions` runs one subject. `docs/internals/testing.md` describes all tests.

#[macro_use]
#[allow(dead_code, reason = "the benchmarks and tests/kernel.rs use the rest")]
mod fixtures;

/// Post-handshake actions.
mod actions {
    mod identity;
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
    mod anycast;
    mod connections;
    mod fingerprints;
    mod tools;
}
mod docs;
mod events;
mod expectations;
mod faults;
/// The host's own listeners, connections and forwarded traffic.
mod host_coexistence {
    mod listeners;
    mod routing;
    mod sockets;
    mod takeover;
}
mod kubernetes;
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
    mod captures;
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
/// The client of `tcp-bounce probe`.
mod probe {
    mod far;
    mod firewall;
    mod identity;
    mod policies;
    mod router;
    mod states;
}
/// Hosts with the services of a profile.
mod profiles {
    mod clients;
    mod encryption;
    mod file;
    mod logins;
    mod memory;
    mod placeholders;
    mod scanner_rules;
    mod scanners;
    mod systems;
}
mod project;
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
    mod day;
    mod endurance;
    mod flood;
    mod malformed;
    mod probe;
}
mod structure;
