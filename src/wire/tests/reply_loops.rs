//! Two hosts that run tcp-bounce never exchange replies endlessly, whatever their actions.
//!
//! The forged segments that start an exchange may come from an attacker who knows all keys.

use std::thread;

use crate::common;

use common::{ACK, Choice, FIN, PSH, Part, Request, Segment, Setup, TestPayload, TestService};
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::post_handshake::{UNSCALED, isn_offset};
use tcp_bounce_wire::{Action, Ending, FieldKind, Frame, XdpAction};

/// An upper limit for the answers in a chain. The longest chain has fewer: a FIN to the last ACK of a handshake, a FIN
/// to that FIN, and an ACK to the second FIN.
const MAX_ANSWERS: usize = 4;

/// An upper limit for the answers in a chain with a service, whose banner is sent before it answers a FIN.
const MAX_ANSWERS_OF_SERVICES: usize = 8;

/// The number of answers after which a chain counts as endless.
const ENDLESS: usize = 16;

/// Returns the number of answers that the hosts send each other after the first host receives `frame`, up to
/// [`ENDLESS`].
fn answers(setups: [&Setup; 2], frame: &[u8]) -> usize {
    let mut frame = frame.to_vec();
    for turn in 0..ENDLESS {
        let length = frame.len();
        frame.resize(length + setups[turn % 2].room, 0);
        let mut buffer = Buffer::new(&mut frame, length);
        let verdict = setups[turn % 2].run(&mut buffer);
        let length = buffer.len();
        if verdict.action() != XdpAction::Tx {
            return turn;
        }
        frame.truncate(length);
    }
    ENDLESS
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
    let acknowledgments = match first.settings.action {
        // The client may have sent a part of the window, or all of it and a FIN.
        Action::Tarpit => &[0, 1, 2, 3, 0u32.wrapping_sub(1000), 0u32.wrapping_sub(65_536)][..],
        _ => &[0, 1, 2, 3],
    };
    let mut most = 0;
    for near in -3..=3i32 {
        // The first host's answer acknowledges this number. The second host accepts only acknowledgments close to its
        // own base.
        for sequence_number in [other.wrapping_add_signed(near), own.wrapping_add_signed(near), near as u32] {
            for &acknowledgment in acknowledgments {
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

/// Returns the length of the longest chain of answers between hosts with the actions `first` and `second`, over IPv4
/// and IPv6.
fn longest_chain_between(first: Action, second: Action) -> usize {
    let mut most = 0;
    // The hosts have no keys (unless an action needs a key), equal keys, or different keys.
    for keys in [[None, None], [Some([5; 16]), Some([5; 16])], [Some([1; 16]), Some([2; 16])]] {
        for window in [None, Some(0)] {
            let key = |action: Action, key: Option<[u8; 16]>| key.or(action.follows_client().then_some([3; 16]));
            let setup = |action, own| Setup::new(Choice { action, key: key(action, own), window, ..Choice::DEFAULT });
            let (a, b) = (setup(first, keys[0]), setup(second, keys[1]));
            for request in [Request::ack(), Request::ack().over_ipv6()] {
                let longest = longest_chain(&a, &b, &request);
                let answers = first != Action::Ignore;
                assert_eq!(longest > 0, answers, "{first:?} and {second:?}: the forged segments are not accepted");
                most = most.max(longest);
            }
        }
    }
    most
}

#[test]
fn ends_chains_of_answers_between_any_two_actions() {
    // This is the slowest test, so it uses all CPUs.
    let most = thread::scope(|scope| {
        let longest = |first| Action::ALL.into_iter().map(|second| longest_chain_between(first, second)).max();
        let threads = Action::ALL.map(|first| scope.spawn(move || longest(first)));
        threads.map(|thread| thread.join().unwrap()).into_iter().max()
    });
    assert!(most >= Some(Some(2)), "no answer to a forged segment was itself answered");
}

/// Returns a host on which every port has a service with a banner, a reply and the given ending.
fn serving(ending: Ending, key: [u8; 16]) -> Setup {
    let service = TestService::new(b"ready\n", &[(b"", b"reply\n")], ending);
    Setup::serving(service, Choice { key: Some(key), ..Choice::DEFAULT })
}

/// Returns a host on which every port identifies the connection, as `--on-connect identify` does.
fn identifying(key: [u8; 16]) -> Setup {
    let banner = TestPayload(vec![Part::Field(FieldKind::Token), Part::Bytes(vec![b'\n'])]);
    let service = TestService::rendering(&banner, &[], Ending::Close);
    Setup::serving(service, Choice { key: Some(key), ..Choice::DEFAULT })
}

/// Returns numbers close to the ISNs that a connection to this host can have: for a service, with each value of the
/// upper bits; for close and discard, with and without window scaling.
fn possible_isns(setup: &Setup, frame: &[u8]) -> Vec<u32> {
    let tuple = Segment::parse(frame).expect("a segment").tuple();
    let base = match setup.settings.action {
        Action::Serve => setup.settings.isn_of(&tuple) % (1 << 29),
        _ => isn_base(setup, frame),
    };
    (0..8).map(|upper: u32| base.wrapping_add(upper << 29)).collect()
}

/// Returns the length of the longest chain of answers that starts with a segment of `request`'s addresses. `received`
/// lists the numbers of bytes that a client may have acknowledged, counting the SYN.
fn longest_chain_of_services(setups: [&Setup; 2], request: &Request, received: &[u32]) -> usize {
    let mut back = request.clone();
    std::mem::swap(&mut back.source_port, &mut back.destination_port);
    std::mem::swap(&mut back.source, &mut back.destination);
    let [own, other] = [possible_isns(setups[0], &request.frame()), possible_isns(setups[1], &back.frame())];
    let mut most = 0;
    for acknowledgment in own.iter().flat_map(|own| received.iter().map(|length| own.wrapping_add(*length))) {
        for sequence in other.iter().flat_map(|other| received.iter().map(|length| other.wrapping_add(*length))) {
            for (flags, payload) in [(ACK, 0), (ACK, 6), (ACK | FIN, 0), (ACK | FIN, 6)] {
                let request = Request {
                    sequence_number: sequence,
                    acknowledgment_number: acknowledgment,
                    payload: vec![0; payload],
                    flags,
                    ..request.clone()
                };
                most = most.max(answers(setups, &request.with_checksum().frame()));
            }
        }
    }
    most
}

#[test]
fn ends_chains_of_answers_to_services() {
    let keys = [[5; 16], [6; 16]];
    let mut most = 0;
    for ending in [Ending::Stay, Ending::Close, Ending::Reset] {
        let own = serving(ending, keys[0]);
        let services = [Ending::Stay, Ending::Close].map(|ending| serving(ending, keys[1]));
        let same_key = serving(ending, keys[0]);
        let actions = Action::ALL.map(|action| Setup::new(Choice { action, key: Some(keys[1]), ..Choice::DEFAULT }));
        for other in services.iter().chain([&same_key]).chain(&actions) {
            for setups in [[&own, other], [other, &own]] {
                let longest = longest_chain_of_services(setups, &Request::ack(), &[1, 2, 7, 8, 13, 14]);
                assert!(longest <= MAX_ANSWERS_OF_SERVICES, "{ending:?} and {:?}: {longest}", other.settings.action);
                most = most.max(longest);
            }
        }
    }
    let identifying = keys.map(identifying);
    let other = serving(Ending::Close, keys[1]);
    for other in identifying.iter().chain([&other]) {
        // The banners have 17 and 6 bytes.
        let received = [1, 2, 7, 8, 18, 19];
        let longest = longest_chain_of_services([&identifying[0], other], &Request::ack(), &received);
        assert!(longest <= MAX_ANSWERS_OF_SERVICES, "a host that identifies: {longest}");
        most = most.max(longest);
    }
    assert!(most >= 1, "no forged segment was accepted");
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
