//! All tests of the packet logic, in one binary, so that they link only once.

use std::fs;

mod common;

mod buffer;
mod checksum;
mod corpus;
mod counters;
mod echo;
mod fast_path;
mod fields;
mod filters;
mod flags;
mod flow_labels;
mod fragments;
mod golden;
mod header_lengths;
mod host;
mod ipv6;
mod isn;
mod layers;
mod local_ports;
mod open_handshakes;
mod other_traffic;
mod port_set;
mod post_handshake;
mod properties;
mod reply_length;
mod services;
mod sockets;
mod systems;
mod tcp_options;
mod telemetry;
mod truncation;
mod unicast;
mod vlan_tags;

// Tests start in the order of their names. This name makes the slowest test start last.
#[path = "reply_loops.rs"]
mod z_reply_loops;

#[test]
fn includes_each_file() {
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs") else { continue };
        let is_included = include_str!("main.rs")
            .lines()
            .any(|line| line == format!("mod {module};") || line == format!("#[path = \"{name}\"]"));
        assert!(is_included || module == "main", "tests/main.rs has no `mod {module};`");
    }
}
