//! All tests of the packet logic, in one program: so it is built once for all of them.

use std::fs;

mod common;

mod address_set;
mod buffer;
mod checksum;
mod corpus;
mod counters;
mod echo;
mod event;
mod fast_path;
mod filters;
mod flags;
mod golden;
mod header_lengths;
mod host;
mod ipv6;
mod isn;
mod layers;
mod other_traffic;
mod parts;
mod port_set;
mod post_handshake;
mod properties;
mod reply_length;
mod tags;
mod tcp_options;
mod truncation;

// Tests run in the order of their names, and this one takes longer than all others.
#[path = "busy.rs"]
mod z_busy;

#[test]
fn each_file_is_in_the_program() {
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs") else { continue };
        let is_here = include_str!("main.rs")
            .lines()
            .any(|line| line == format!("mod {module};") || line == format!("#[path = \"{name}\"]"));
        assert!(is_here || module == "main", "tests/main.rs has no `mod {module};`");
    }
}
