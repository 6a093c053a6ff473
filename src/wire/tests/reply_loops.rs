//! Two hosts that run tcp-bounce never exchange replies endlessly, whatever their actions.
//!
//! The forged segments that start an exchange may come from an attacker who knows all keys.

use crate::common;

use common::{ACK, Choice, FIN, PSH, Request, Segment, Setup};
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::post_handshake::{UNSCALED, isn_offset};
use tcp_bounce_wire::{Action, Frame, XdpAction};

/// An upper limit for the answers in a chain. The longest chain has fewer: a FIN to the last ACK of a handshake, a FIN
/// to that FIN, and an ACK to the second FIN.
const MAX_ANSWERS: usize = 4;

/// Returns the number of answers that the hosts send each other after the first host receives `frame`, up to twice
/// [`MAX_ANSWERS`].
fn answers(setups: [&Setup; 2], frame: &[u8]) -> usize {
    let mut frame = frame.to_vec();
    for turn in 0..2 * MAX_ANSWERS {
        let length = frame.len();
        let mut buffer = Buffer::new(&mut frame, length);
        let verdict = setups[turn % 2].run(&mut buffer);
        let length = buffer.len();
        if verdict.action() != XdpAction::Tx {
            return turn;
        }
        frame.truncate(length);
    }
    2 * MAX_ANSWERS
}

/// Returns the ISN of this host in the connection of `frame` or, for an action that follows the client, the offset
/// from the client's ISN.
fn isn_base(setup: &Setup, frame: &[u8]) -> u32 {
    let tuple = Segment::parse(frame).expect("a segment").tuple();
    if setup.settings.action.follows_client() {
        setup.settings.offset_of(&tuple)
    } else {
        setup.settings.isn_of(&tuple)
    }
}

/// Returns the length of the longest chain of answers to forged segments.
///
/// The segments go to `first`, with the spoofed source `second`. Their numbers are close to numbers that both hosts
/// accept.
fn longest_chain(first: &Setup, second: &Setup, request: &Request) -> usize {
    let forward = request.frame();
    let mut back = request.clone();
    std::mem::swap(&mut back.source_port, &mut back.destination_port);
    std::mem::swap(&mut back.source, &mut back.destination);
    if let Some(v6) = &mut back.v6 {
        std::mem::swap(&mut v6.source, &mut v6.destination);
    }
    let mut most = 0;
    for (own, other) in bases([first, second]) {
        let own = own.wrapping_add(isn_base(first, &forward));
        let other = other.wrapping_add(isn_base(second, &back.frame()));
        most = most.max(longest_chain_near([first, second], request, own, other));
    }
    most
}

/// Returns the combinations of numbers that connections with and without window scaling add to the ISNs of two hosts.
fn bases(setups: [&Setup; 2]) -> Vec<(u32, u32)> {
    let [own, other] = setups.map(|setup| match setup.settings.action {
        Action::Close | Action::Discard => vec![0, UNSCALED],
        _ => vec![0],
    });
    own.iter().flat_map(|&own| other.iter().map(move |&other| (own, other))).collect()
}

/// Returns the length of the longest chain of answers to segments with numbers close to `own` and `other`, the ISNs of
/// the two hosts or their offsets from the client's ISN.
fn longest_chain_near([first, second]: [&Setup; 2], request: &Request, own: u32, other: u32) -> usize {
    let mut most = 0;
    for near in -3..=3i32 {
        // The first host's answer acknowledges this number. The second host accepts only acknowledgments close to its
        // own base.
        for sequence_number in [other.wrapping_add_signed(near), own.wrapping_add_signed(near), near as u32] {
            for acknowledgment in 0..=3 {
                let acknowledgment_number = match first.settings.action.follows_client() {
                    true => sequence_number.wrapping_add(own).wrapping_add(acknowledgment).wrapping_sub(1),
                    false => own.wrapping_add(acknowledgment),
                };
                for payload in [0, 1, 2, 600] {
                    for flags in [ACK, ACK | FIN, ACK | PSH] {
                        for window in [0, 1, 65535] {
                            let request = Request {
                                sequence_number,
                                acknowledgment_number,
                                payload: vec![0; payload],
                                flags,
                                window,
                                ..request.clone()
                            };
                            let request = request.with_checksum();
                            let count = answers([first, second], &request.frame());
                            assert!(
                                count <= MAX_ANSWERS,
                                "{:?} and {:?} keep each other busy: {request:?}",
                                first.settings,
                                second.settings
                            );
                            most = most.max(count);
                        }
                    }
                }
            }
        }
    }
    most
}

#[test]
fn ends_chains_of_answers_between_any_two_actions() {
    let mut most = 0;
    for first in Action::ALL {
        for second in Action::ALL {
            // The hosts have no keys (unless an action needs a key), equal keys, or different keys.
            for keys in [[None, None], [Some([5; 16]), Some([5; 16])], [Some([1; 16]), Some([2; 16])]] {
                for window in [None, Some(0)] {
                    let key =
                        |action: Action, key: Option<[u8; 16]>| key.or(action.follows_client().then_some([3; 16]));
                    let setup =
                        |action, own| Setup::new(Choice { action, key: key(action, own), window, ..Choice::DEFAULT });
                    let (a, b) = (setup(first, keys[0]), setup(second, keys[1]));
                    for request in [Request::ack(), Request::ack().over_ipv6()] {
                        let longest = longest_chain(&a, &b, &request);
                        let answers = first != Action::Ignore;
                        assert_eq!(
                            longest > 0,
                            answers,
                            "{first:?} and {second:?}: the forged segments are not accepted"
                        );
                        most = most.max(longest);
                    }
                }
            }
        }
    }
    assert!(most >= 2, "no answer to a forged segment was itself answered");
}

#[test]
fn never_adds_two_offsets_up_to_nearly_zero() {
    // Echo and tarpit accept a segment if its acknowledgment number minus its sequence number is close to the offset.
    // In a reply, this difference has the opposite sign. If the offsets of two hosts added up to nearly zero, each host
    // would accept the replies of the other.
    let hashes = [0, 1, 2, 3, 4, 1 << 30, 1 << 31, 3 << 30, u32::MAX - 3, u32::MAX];
    let mut random = (0..100_000u32).map(|number| number.wrapping_mul(0x9e37_79b9));
    let check = |a, b| {
        let sum = isn_offset(a).wrapping_add(isn_offset(b)) as i32;
        assert!(sum.unsigned_abs() > 1 << 20, "{a:#x} and {b:#x}: {sum}");
    };
    hashes.into_iter().for_each(|a| hashes.into_iter().for_each(|b| check(a, b)));
    while let (Some(a), Some(b)) = (random.next(), random.next_back()) {
        check(a, b);
    }
}
