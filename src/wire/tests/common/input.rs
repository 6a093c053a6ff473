//! Turns a fuzzer's input into a setup and a packet for it.

use arbitrary::Unstructured;
use tcp_bounce_wire::{Action, BroadcastSet, PortSet};

use super::common::generator::{Choices, Generator, Shape, with_profile};
use super::common::{Setup, assert_expected};

/// The maximum length of a frame, in bytes. Longer frames reach no additional code.
const LONGEST: usize = 2048;

impl Choices for Unstructured<'_> {
    fn below(&mut self, bound: usize) -> usize {
        // At the end of the input, `int_in_range` returns the lower bound, 0.
        self.int_in_range(0..=bound - 1).unwrap_or_default()
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        self.fill_buffer(bytes).expect("`fill_buffer` fills with zeros at the end of the input");
    }
}

/// Decodes a setup and a packet from `bytes`, runs the packet logic on them, and checks all invariants.
pub fn run(bytes: &[u8]) {
    let mut choices = Unstructured::new(bytes);
    let shapes = Shape::all();
    let shape = shapes[choices.below(shapes.len())];
    let mut setup = shape.setup(&mut choices);
    if choices.below(2) == 1 {
        setup = with_profile(setup, &mut choices);
    }
    // The payloads of services need more room than other replies.
    setup.room = choices.below(if setup.service.is_some() { 2049 } else { 65 });
    let mut frame = Generator { choices: &mut choices, setup: &setup }.packet(LONGEST);
    mutate(&mut choices, &mut frame);
    let verdict = setup.verdict(&frame);
    if is_plain(&setup) {
        assert_expected(&frame, verdict, &setup.settings);
    }
}

/// Overwrites bytes of the frame. The rest of the input supplies positions and values.
fn mutate(choices: &mut Unstructured, frame: &mut [u8]) {
    while !choices.is_empty() && !frame.is_empty() {
        let offset = choices.below(frame.len().min(128));
        let mut byte = [0];
        choices.fill(&mut byte);
        frame[offset] = byte[0];
    }
}

/// Returns whether [`assert_expected`] applies: no filters, no answers after the handshake, and room for any reply.
fn is_plain(setup: &Setup) -> bool {
    let is_unfiltered = !setup.filters_destinations
        && !setup.filters_sources
        && !setup.filters_vlans
        && setup.filters.broadcasts == BroadcastSet::new()
        && setup.filters.excluded_ports == PortSet::new();
    let drops = setup.actions_by_port.is_empty() && setup.settings.action == Action::Ignore;
    // 64 bytes of room are enough for any reply.
    is_unfiltered && drops && setup.room == 64
}
