//! Two hosts that run tcp-bounce do not keep each other busy, whatever their modes, and whatever is forged in their names:
//! also what only those can forge who know all keys.

use crate::common;

use common::{ACK, Choice, FIN, PSH, Request, Segment, Setup};
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::post_handshake::isn_offset;
use tcp_bounce_wire::{Action, Frame, XdpAction};

/// More answers than any chain has: a FIN to the last ACK of a handshake, a FIN to that, an ACK to that.
const MOST: usize = 4;

/// How many answers there are, one to the other, until there is none.
fn answers(setups: [&Setup; 2], frame: &[u8]) -> usize {
    let mut frame = frame.to_vec();
    for turn in 0..2 * MOST {
        let length = frame.len();
        let mut buffer = Buffer::new(&mut frame, length);
        let verdict = setups[turn % 2].run(&mut buffer);
        let length = buffer.len();
        if verdict.action() != XdpAction::Tx {
            return turn;
        }
        frame.truncate(length);
    }
    2 * MOST
}

/// What the first of the two counts from in a segment with these ends: its ISN, or its offset.
fn base(setup: &Setup, frame: &[u8]) -> u32 {
    let tuple = Segment::parse(frame).expect("a segment").tuple();
    if setup.settings.action.follows_client() {
        setup.settings.offset_of(&tuple)
    } else {
        setup.settings.isn_of(&tuple)
    }
}

/// Checks all that can be forged to `first` in the name of `second`, numbers chosen so that the answers fit where they can.
fn check(first: &Setup, second: &Setup, request: &Request) -> usize {
    let forward = request.frame();
    let mut back = request.clone();
    std::mem::swap(&mut back.source_port, &mut back.destination_port);
    std::mem::swap(&mut back.source, &mut back.destination);
    if let Some(v6) = &mut back.v6 {
        std::mem::swap(&mut v6.source, &mut v6.destination);
    }
    let (own, other) = (base(first, &forward), base(second, &back.frame()));
    let mut most = 0;
    for near in -3..=3i32 {
        // The sequence number is near what the second counts from, as an acknowledgment of it will be.
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
                                count <= MOST,
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
fn no_two_modes_keep_each_other_busy() {
    let mut most = 0;
    for first in Action::ALL {
        for second in Action::ALL {
            // Nobody has a key who needs none; all have the same; each has its own.
            for keys in [[None, None], [Some([5; 16]), Some([5; 16])], [Some([1; 16]), Some([2; 16])]] {
                for window in [None, Some(0)] {
                    let key =
                        |action: Action, key: Option<[u8; 16]>| key.or(action.follows_client().then_some([3; 16]));
                    let setup =
                        |action, own| Setup::new(Choice { action, key: key(action, own), window, ..Choice::DEFAULT });
                    let (a, b) = (setup(first, keys[0]), setup(second, keys[1]));
                    for request in [Request::ack(), Request::ack().over_ipv6()] {
                        let longest = check(&a, &b, &request);
                        let answers = first != Action::Ignore;
                        assert_eq!(longest > 0, answers, "{first:?} and {second:?}: what was forged does not fit");
                        most = most.max(longest);
                    }
                }
            }
        }
    }
    assert!(most >= 2, "nothing that was forged had a chain of answers: it was not what fits");
}

/// What fits an echo or a tarpit differs from its offset by no more than a window. A reply, seen from the other side, has the
/// difference of its two numbers reversed, so it would fit both if the offsets added up to as little.
#[test]
fn no_two_offsets_add_up_to_nearly_zero() {
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
