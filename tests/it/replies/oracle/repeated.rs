//! Answers to several SYNs: to a retransmitted SYN, after some time, and from several ports.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::frame::Frame;
use super::segment::Family;
use super::state::{DEFAULTS, OPTIONS, State};
use super::syns;
use super::wire::{Source, Wire};
use crate::fixtures::network::Mode;

in_each_mode! {
    retransmitted_syn_gets_the_same_answer,
    timestamps_tick_in_milliseconds,
    timestamps_without_an_offset_equal_the_kernels,
    timestamps_of_two_runs_are_unrelated,
    flow_labels_differ_between_connections,
}

const PORT: u16 = 10_000;

/// The maximum error of TSval in milliseconds: a jiffy with 100 Hz, and one for rounding.
const TOLERANCE: i64 = 11;

/// A difference between two clocks that is not accidental, in milliseconds.
///
/// A random offset is smaller once in 200,000 runs.
const UNRELATED: i64 = 10_000;

/// Returns the answer to the SYN of a Linux client.
#[track_caller]
fn answer(wire: &Wire, family: Family, port: u16) -> Frame {
    let syn = &syns::clients()[0];
    let replies = wire.replies(family, syn, Source::Client, port);
    let answer = replies.into_iter().find(Frame::is_syn_ack);
    answer.unwrap_or_else(|| panic!("no answer, {}", wire.setting(family)))
}

/// Returns TSval of the answer to the SYN of a Linux client.
#[track_caller]
fn tsval(wire: &Wire, family: Family, port: u16) -> u32 {
    answer(wire, family, port).tsval().expect("a Linux client gets timestamps")
}

/// Returns the time from `earlier` to `later`, two values of TSval, in milliseconds.
fn between(earlier: u32, later: u32) -> i64 {
    i64::from(later.wrapping_sub(earlier) as i32)
}

fn milliseconds(duration: Duration) -> i64 {
    duration.as_millis() as i64
}

/// Calls `check` for the kernel's listeners, for tcp-bounce, and for tcp-bounce with keyed sequence numbers.
fn for_each_responder(mode: Mode, state: &'static State, check: impl Fn(&Wire, Family)) {
    let wire = Wire::new(mode, state).unwrap();
    let check = || state.families.iter().for_each(|&family| check(&wire, family));
    let listeners = wire.listen();
    check();
    drop(listeners);
    for_each_choice_of_isn(&wire, |_| check());
}

/// Calls `check` while tcp-bounce answers, first with the default ISN, then with keyed ones.
fn for_each_choice_of_isn(wire: &Wire, check: impl Fn(&str)) {
    for arguments in ["", "--isn keyed"] {
        let responder = wire.respond(arguments);
        check(arguments);
        responder.interrupt();
    }
}

fn retransmitted_syn_gets_the_same_answer(mode: Mode) {
    let wire = Wire::new(mode, &DEFAULTS).unwrap();
    for_each_choice_of_isn(&wire, |arguments| {
        for &family in wire.state.families {
            let [first, second] = [(); 2].map(|()| {
                thread::sleep(Duration::from_millis(20));
                answer(&wire, family, PORT)
            });
            assert_eq!(second.without_time(), first.without_time(), "{arguments:?}, {}", wire.setting(family));
        }
    });
}

fn timestamps_tick_in_milliseconds(mode: Mode) {
    for_each_responder(mode, &DEFAULTS, |wire, family| {
        let sent = Instant::now();
        let first = tsval(wire, family, PORT);
        let pause = Instant::now();
        thread::sleep(Duration::from_millis(500));
        let least = milliseconds(pause.elapsed());
        let second = tsval(wire, family, PORT);
        let range = least - TOLERANCE..=milliseconds(sent.elapsed()) + TOLERANCE;
        assert!(range.contains(&between(first, second)), "{first} {second} {range:?}, {}", wire.setting(family));
    });
}

fn timestamps_without_an_offset_equal_the_kernels(mode: Mode) {
    let state = OPTIONS.iter().find(|state| state.name == "tcp_timestamps=2").unwrap();
    for_each_responder(mode, state, |wire, family| {
        let earliest = uptime();
        let tsval = tsval(wire, family, PORT);
        let range = -TOLERANCE..=between(earliest, uptime()) + TOLERANCE;
        assert!(range.contains(&between(earliest, tsval)), "{tsval} {earliest} {range:?}, {}", wire.setting(family));
    });
}

/// Checks that the timestamps of two runs have different offsets, so that they do not show the uptime.
fn timestamps_of_two_runs_are_unrelated(mode: Mode) {
    let wire = Wire::new(mode, &DEFAULTS).unwrap();
    for arguments in ["", "--isn keyed"] {
        for &family in wire.state.families {
            let [first, second] = [(); 2].map(|()| {
                let responder = wire.respond(arguments);
                let tsval = tsval(&wire, family, PORT);
                responder.interrupt();
                tsval
            });
            let setting = wire.setting(family);
            assert!(between(first, second).abs() > UNRELATED, "{first} {second}, {arguments:?}, {setting}");
            assert!(between(uptime(), second).abs() > UNRELATED, "{second}, {arguments:?}, {setting}");
        }
    }
}

/// Returns the kernel's clock of timestamps without an offset, in milliseconds.
fn uptime() -> u32 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    milliseconds(time.into()) as u32
}

fn flow_labels_differ_between_connections(mode: Mode) {
    const CONNECTIONS: u16 = 64;
    for_each_responder(mode, &DEFAULTS, |wire, family| {
        if family == Family::V4 {
            return;
        }
        let labels: BTreeSet<u32> =
            (PORT..PORT + CONNECTIONS).map(|port| answer(wire, family, port).flow_label()).collect();
        // Two of 64 random labels are equal once in 500 runs.
        assert!(labels.len() > 60, "{labels:x?}");
        let bits = |fold: fn(u32, u32) -> u32| labels.iter().copied().reduce(fold).unwrap();
        assert_eq!((bits(|one, other| one | other), bits(|one, other| one & other)), (0xfffff, 0), "{labels:x?}");
    });
}
