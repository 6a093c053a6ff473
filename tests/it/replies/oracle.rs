//! The kernel as the oracle: a listener of the kernel and tcp-bounce get identical segments, and must give identical
//! replies. The kernel has its default settings, then others. tcp-bounce gets no options, except for a tarpit.
//!
//! The ISN, TSval, a flow label that is a hash, and the TCP checksum differ for each connection. The checksums are
//! verified separately.

mod comparison;
mod frame;
mod later;
mod repeated;
mod segment;
mod state;
mod strays;
mod syns;
mod wire;

use std::iter;

use crate::fixtures::network::Mode;
use comparison::{Comparison, assert_identical};
use segment::Family::{V4, V6};
use segment::Segment;
use state::{DEFAULTS, State};
use wire::Wire;

in_each_mode! {
    answers_equal_the_kernels_at_its_defaults,
    answers_equal_the_kernels_with_any_mtu,
    answers_equal_the_kernels_with_any_ecn_setting,
    answers_equal_the_kernels_without_options,
    answers_equal_the_kernels_with_other_windows,
    answers_equal_the_kernels_with_other_hop_limits,
    answers_equal_the_kernels_with_other_flow_labels,
    answers_of_tarpit_equal_the_kernels,
}

/// SYNs that the kernel does not answer with a SYN-ACK.
const UNANSWERED: [&str; 20] = [
    // Since Linux 6.7 the kernel first looks for a signature (`tcp_do_parse_auth_options`). It drops a SYN with an
    // unexpected signature. It also drops a SYN if its options break off with enough bytes left for a signature: 18, or
    // 5 with CONFIG_TCP_AO.
    "length 0: MSS",
    "length 0: unknown",
    "length 1: MSS",
    "length 1: unknown",
    "length 0, 18 bytes before the end",
    "past the header, from the start",
    "MD5 signature (19)",
    "MD5 signature (19) at the end",
    "MD5 signature (19) that is too short",
    "authentication (29) that is too short",
    "authentication (29) twice",
    "FIN",
    "RST",
    "FIN and RST",
    "IP options: loose source route",
    "IP options: strict source route",
    // The kernel answers the following SYNs with an ICMP error.
    "IP options: length 0",
    "IP options: past the header",
    "hop-by-hop: unknown, to be refused",
    "routing: type 0, not at its end",
];

/// SYNs that tcp-bounce treats differently by design.
const BY_DESIGN: [&str; 19] = [
    // The kernel's answer has an IP option too.
    "IP options: timestamp",
    "IP options: timestamps with addresses",
    "IP options: a timestamp that is full",
    "IP options: record route",
    // The program skips IP options and extension headers without reading them.
    "IP options: loose source route",
    "IP options: strict source route",
    "IP options: length 0",
    "IP options: past the header",
    "hop-by-hop: unknown, to be refused",
    // The program passes fragments to the host.
    "fragment: the only one",
    // The program passes signed segments to the host, even if the signature is malformed.
    "MD5 signature (19) that is too short, late",
    "authentication (29)",
    "authentication (29) that is too short, late",
    // Like kernels before 6.7, the program accepts options that break off.
    "length 0: MSS",
    "length 0: unknown",
    "length 1: MSS",
    "length 1: unknown",
    "past the header, from the start",
    "length 0, 18 bytes before the end",
];

/// A SYN whose reply is 4 bytes longer than the SYN itself. The SYN's socket buffer may have no room for 4 more bytes.
const WITHOUT_ROOM: &str = "subset [sok ws]";

#[test]
#[ignore = "needs root: makes network namespaces"]
fn kernel_answers_all_syns_but_the_listed_ones() {
    for state in iter::once(&DEFAULTS).chain(&state::MTUS) {
        let wire = Wire::new(Mode::Skb, state).unwrap();
        let syns = wire.requests(&syns::all());
        for ((family, syn), answer) in iter::zip(&syns, wire.ask_kernel(&syns)) {
            let expected = !UNANSWERED.contains(&&*syn.name);
            assert_eq!(answer.is_some(), expected, "{}, {}", syn.name, wire.setting(*family));
        }
    }
}

/// Checks the premise of the comparisons: the kernel's answers to a SYN do not differ between two runs.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn kernel_gives_equal_answers_twice() {
    let wire = Wire::new(Mode::Skb, &DEFAULTS).unwrap();
    let syns = wire.requests(&compared());
    assert_identical(&wire.comparisons(&syns, wire.ask_kernel(&syns), wire.ask_kernel(&syns)));
}

/// Checks the SYNs of real clients. With `--nocapture`, the test prints the table of
/// docs/internals/linux-comparison.md.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn answers_to_real_clients_equal_the_kernels() {
    let wire = Wire::new(Mode::Skb, &DEFAULTS).unwrap();
    let comparisons = wire.compare(&syns::clients());
    println!("\n| client | IPv4 | IPv6 |\n|---|---|---|");
    for syn in syns::clients() {
        let cells = [V4, V6].map(|family| {
            let setting = wire.setting(family);
            let mut comparisons = comparisons.iter();
            let comparison = comparisons.find(|found| found.segment == syn.name && found.setting == setting);
            comparison.map_or_else(|| "not sent".to_owned(), Comparison::summary)
        });
        println!("| {} | {} |", syn.name, cells.join(" | "));
    }
    println!();
    assert_identical(&comparisons);
}

fn answers_equal_the_kernels_at_its_defaults(mode: Mode) {
    assert_identical_in(mode, &[DEFAULTS]);
}

fn answers_equal_the_kernels_with_any_mtu(mode: Mode) {
    assert_identical_in(mode, &state::MTUS);
}

fn answers_equal_the_kernels_with_any_ecn_setting(mode: Mode) {
    assert_identical_in(mode, &state::ECN);
}

fn answers_equal_the_kernels_without_options(mode: Mode) {
    assert_identical_in(mode, &state::OPTIONS);
}

fn answers_equal_the_kernels_with_other_windows(mode: Mode) {
    assert_identical_in(mode, &state::WINDOWS);
}

fn answers_equal_the_kernels_with_other_hop_limits(mode: Mode) {
    assert_identical_in(mode, &state::HOP_LIMITS);
}

fn answers_equal_the_kernels_with_other_flow_labels(mode: Mode) {
    assert_identical_in(mode, &state::FLOW_LABELS);
}

/// Checks that a tarpit does not differ from a listener before the client sends data.
fn answers_of_tarpit_equal_the_kernels(mode: Mode) {
    for state in [&DEFAULTS, &state::WINDOWS[2], &state::MTUS[5]] {
        let wire = Wire::new(mode, state).unwrap();
        assert_identical(&wire.compare_with(&compared(), "--on-connect tarpit"));
    }
}

/// Checks that tcp-bounce answers each SYN as the kernel does, in each of `states` that the kernel has.
#[track_caller]
fn assert_identical_in(mode: Mode, states: &'static [State]) {
    let wires = states.iter().filter_map(|state| Wire::new(mode, state));
    let comparisons: Vec<_> = wires.flat_map(|wire| wire.compare(&compared())).collect();
    assert!(!comparisons.is_empty());
    assert_identical(&comparisons);
}

/// Returns the SYNs whose answers are compared.
fn compared() -> Vec<Segment> {
    let mut syns = syns::all();
    syns.retain(|syn| !BY_DESIGN.contains(&&*syn.name) && syn.name != WITHOUT_ROOM);
    syns
}
