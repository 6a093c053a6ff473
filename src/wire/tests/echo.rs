//! Echo under loss, duplication, delay and reordering, with a client that sends and reads in pieces of any size.
//!
//! [`Client`] implements only as much of TCP as the test requires. The tests in `tests/it` use the kernel's TCP.

use crate::common;

use std::collections::BTreeMap;

use common::{ACK, Choice, FIN, PSH, Request, Segment, Setup};
use proptest::prelude::*;
use tcp_bounce_wire::{Action, Verdict, XdpAction};

/// A client that sends `data` and a FIN, and expects both back. Positions are offsets in `data`, where the FIN is one
/// more byte at the end.
struct Client {
    setup: Setup,
    request: Request,
    isn: u32,
    server_isn: u32,
    data: Vec<u8>,
    /// The position up to which the server has acknowledged.
    acknowledged: usize,
    /// The position up to which the client has sent.
    sent: usize,
    /// The echoed data received in order.
    received: Vec<u8>,
    has_fin: bool,
    /// The number of received bytes that the application has read.
    read: usize,
    /// Echoed data received out of order, by position, and whether a FIN follows it.
    early: BTreeMap<usize, (Vec<u8>, bool)>,
    /// The size of the receive buffer, in bytes.
    buffer: usize,
}

impl Client {
    fn connect(isn: u32, data: Vec<u8>, buffer: usize, request: Request) -> Self {
        let setup = Setup::new(Choice { action: Action::Echo, key: Some([9; 16]), ..Choice::DEFAULT });
        let request = Request { sequence_number: isn, ..request };
        let (verdict, syn_ack) = setup.respond(&request.frame());
        assert_eq!(verdict, Verdict::Answered);
        let server_isn = Segment::parse(&syn_ack).expect("a segment").tcp.sequence_number();
        Self {
            setup,
            request: Request { flags: ACK, options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], ..request },
            isn,
            server_isn,
            data,
            acknowledged: 0,
            sent: 0,
            received: Vec::new(),
            has_fin: false,
            read: 0,
            early: BTreeMap::new(),
            buffer,
        }
    }

    fn end(&self) -> usize {
        self.data.len() + 1
    }

    fn next(&self) -> usize {
        self.received.len() + usize::from(self.has_fin)
    }

    fn window(&self) -> usize {
        (self.buffer - (self.received.len() - self.read)).min(65535)
    }

    /// Returns a segment with up to `length` bytes from position `at`. The last byte may be the FIN.
    fn segment(&self, at: usize, length: usize) -> Vec<u8> {
        let end = (at + length).min(self.data.len());
        let payload = self.data.get(at..end).unwrap_or_default().to_vec();
        let fin = at + length > self.data.len() && at <= self.data.len();
        let request = Request {
            sequence_number: self.isn.wrapping_add(1 + at as u32),
            acknowledgment_number: self.server_isn.wrapping_add(1 + self.next() as u32),
            flags: ACK | if fin { FIN } else { PSH },
            window: self.window() as u16,
            payload,
            ..self.request.clone()
        };
        request.with_checksum().frame()
    }

    /// Returns a segment with new data, within the window of 536 bytes, and advances `sent`.
    fn send_new(&mut self, length: usize) -> Vec<u8> {
        let at = self.sent;
        let length = length.min(self.acknowledged + 536 - at).min(self.end() - at);
        self.sent += length;
        self.segment(at, length)
    }

    /// Returns a retransmission from the first unacknowledged byte.
    fn retransmit(&self, length: usize) -> Vec<u8> {
        self.retransmit_after(0, length)
    }

    /// Returns a retransmission that skips the first `skipped` unacknowledged bytes, as a tail loss probe does.
    fn retransmit_after(&self, skipped: usize, length: usize) -> Vec<u8> {
        let at = (self.acknowledged + skipped).min(self.sent);
        self.segment(at, length.min(self.sent - at))
    }

    /// Handles an answer as Linux does.
    ///
    /// A segment outside the window is ignored. An acknowledgment is accepted even if there is no room for the data.
    fn receive(&mut self, frame: &[u8]) {
        let segment = Segment::parse(frame).expect("a segment");
        let at = segment.tcp.sequence_number().wrapping_sub(self.server_isn.wrapping_add(1)) as i32;
        let payload = segment.tcp.payload();
        let fin = segment.flags() & FIN != 0;
        let (next, window) = (self.next() as i32, self.window() as i32);
        if at + payload.len() as i32 + i32::from(fin) < next || at > next + window {
            return;
        }
        let at = usize::try_from(at).expect("the server never sends from before the start");
        let acknowledged = segment.tcp.acknowledgment_number().wrapping_sub(self.isn.wrapping_add(1)) as usize;
        assert!(acknowledged <= self.sent, "the server acknowledged data that was not sent");
        self.acknowledged = self.acknowledged.max(acknowledged);

        let room = (next + window) as usize - at;
        let kept = payload.len().min(room);
        let fin = fin && room > payload.len();
        let known = self.early.get(&at).map_or(0, |(payload, fin)| payload.len() + usize::from(*fin));
        if kept + usize::from(fin) > known {
            self.early.insert(at, (payload[..kept].to_vec(), fin));
        }
        while let Some((&at, _)) = self.early.range(..=self.next()).next() {
            let (payload, fin) = self.early.remove(&at).expect("the position was just found");
            if let Some(new) = payload.get(self.received.len() - at..) {
                self.received.extend(new);
                self.has_fin |= fin;
            }
        }
        assert!(self.data.starts_with(&self.received), "the echo differs from the data");
        assert!(
            self.acknowledged <= self.next(),
            "{} bytes are acknowledged, but only {} echoed",
            self.acknowledged,
            self.next()
        );
    }

    /// Returns the server's answer to a frame, or `None` if the server drops the frame.
    fn exchange(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let (verdict, answer) = self.setup.respond(frame);
        match verdict.action() {
            XdpAction::Tx => Some(answer),
            XdpAction::Drop => None,
            XdpAction::Pass => panic!("the segment is not recognised: {verdict:?}"),
        }
    }
}

/// A step of the simulation.
#[derive(Clone, Copy, Debug)]
enum Step {
    SendNew(usize),
    Retransmit {
        skipped: usize,
        length: usize,
    },
    Read(usize),
    /// A segment arrives at the server, and stays in flight as a duplicate if `again`.
    Request {
        which: usize,
        again: bool,
    },
    /// An answer arrives at the client, and stays in flight as a duplicate if `again`.
    Answer {
        which: usize,
        again: bool,
    },
    LoseRequest(usize),
    LoseAnswer(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = any::<usize>;
    let length = || prop_oneof![1..600usize, 1..4usize];
    let step = prop_oneof![
        3 => length().prop_map(Step::SendNew),
        2 => (prop_oneof![Just(0), 1..600usize], length())
            .prop_map(|(skipped, length)| Step::Retransmit { skipped, length }),
        2 => (0..2000usize).prop_map(Step::Read),
        5 => (which(), any::<bool>()).prop_map(|(which, again)| Step::Request { which, again }),
        5 => (which(), any::<bool>()).prop_map(|(which, again)| Step::Answer { which, again }),
        1 => which().prop_map(Step::LoseRequest),
        1 => which().prop_map(Step::LoseAnswer),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledges_only_echoed_data(
        isn in prop_oneof![any::<u32>(), u32::MAX - 2000..=u32::MAX],
        data in proptest::collection::vec(any::<u8>(), 0..3000),
        buffer in prop_oneof![Just(65535usize), 1..3000usize],
        over_ipv6 in any::<bool>(),
        steps in steps(),
    ) {
        let request = if over_ipv6 { Request::syn().over_ipv6() } else { Request::syn() };
        let mut client = Client::connect(isn, data, buffer, request);
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::SendNew(length) => requests.push(client.send_new(length)),
                Step::Retransmit { skipped, length } => requests.push(client.retransmit_after(skipped, length)),
                Step::Read(length) => client.read = (client.read + length).min(client.received.len()),
                Step::Request { which, again } if !requests.is_empty() => {
                    let which = which % requests.len();
                    answers.extend(client.exchange(&requests[which]));
                    if !again {
                        requests.swap_remove(which);
                    }
                }
                Step::Answer { which, again } if !answers.is_empty() => {
                    let which = which % answers.len();
                    client.receive(&answers[which]);
                    if !again {
                        answers.swap_remove(which);
                    }
                }
                Step::LoseRequest(which) if !requests.is_empty() => drop(requests.swap_remove(which % requests.len())),
                Step::LoseAnswer(which) if !answers.is_empty() => drop(answers.swap_remove(which % answers.len())),
                _ => {}
            }
        }
        // From here on, no segment is lost.
        for _ in 0..10_000 {
            client.read = client.received.len();
            let frame = if client.sent > client.acknowledged { client.retransmit(536) } else { client.send_new(536) };
            if let Some(answer) = client.exchange(&frame) {
                client.receive(&answer);
            }
            if client.acknowledged == client.end() {
                break;
            }
        }
        prop_assert_eq!(client.acknowledged, client.end(), "the connection is stuck");
        prop_assert!(client.has_fin && client.received == client.data);
    }
}
