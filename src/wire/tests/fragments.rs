//! Multi-buffer XDP frames, of which the program can access only the first buffer.

use crate::common;

use common::{ACK, Choice, FIN, PSH, Request, SYN, Segment, Setup};
use tcp_bounce_wire::frame::View;
use tcp_bounce_wire::{Action, Frame, ProgramConfig, ProgramSettings, Verdict, XdpAction};

/// A multi-buffer frame whose first buffer holds `first` bytes.
struct Fragmented {
    bytes: Vec<u8>,
    first: usize,
}

impl Frame for Fragmented {
    fn len(&self) -> usize {
        self.first
    }

    fn holds(&self, length: usize) -> bool {
        length <= self.bytes.len()
    }

    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T> {
        T::mut_from_prefix(self.bytes[..self.first].get_mut(offset..)?).ok().map(|(view, _)| view)
    }

    fn last<T: View>(&mut self) -> Option<&mut T> {
        T::mut_from_suffix(&mut self.bytes[..self.first]).ok().map(|(_, view)| view)
    }

    fn resize(&mut self, len: usize) -> Option<()> {
        // The kernel adds bytes to the last buffer, even if this is also the first.
        self.first = if self.first == self.bytes.len() { len } else { self.first.min(len) };
        self.bytes.resize(len, 0);
        Some(())
    }
}

/// Checks that a multi-buffer frame gets the same answer as a single-buffer frame, and that no data of the request
/// follows the answer.
///
/// The first buffer ends before, within or after the payload. A frame gets no answer if the data that the answer needs
/// is in another buffer.
#[test]
fn sends_back_nothing_of_the_fragments() {
    let mut answered = 0;
    for action in Action::ALL {
        let setup = Setup::new(Choice { action, key: Some([4; 16]), ..Choice::DEFAULT });
        for request in [Request::ack(), Request::ack().over_ipv6()] {
            for flags in [SYN, ACK, ACK | PSH, ACK | FIN] {
                for (payload, window) in [(1, 65535), (10, 65535), (23, 65535), (24, 65535), (100, 65535), (100, 60)] {
                    let mut request = Request { flags, payload: vec![0x5a; payload], window, ..request.clone() };
                    let tuple = Segment::parse(&request.frame()).expect("a segment").tuple();
                    request.acknowledgment_number = match action.follows_client() {
                        true => request.sequence_number.wrapping_add(setup.settings.offset_of(&tuple)),
                        false => setup.settings.isn_of(&tuple).wrapping_add(1),
                    };
                    let request = request.with_partial_checksum();
                    let frame = request.frame();
                    let (verdict, whole) = setup.respond(&frame);
                    // The offset at which the reply ends and padding begins.
                    let end = Segment::parse(&whole).map_or(0, |reply| reply.end());
                    for first in frame.len() - payload..=frame.len() {
                        let mut fragmented = Fragmented { bytes: frame.clone(), first };
                        let given = setup.run(&mut fragmented);
                        if given.action() == XdpAction::Tx {
                            assert_eq!(given, verdict, "{action:?} {request:?} {first}");
                            let datagram = whole.len().min(fragmented.bytes.len());
                            assert_eq!(
                                fragmented.bytes[..datagram],
                                whole[..datagram],
                                "{action:?} {request:?} {first}"
                            );
                            assert!(
                                fragmented.bytes[datagram..].iter().all(|&byte| byte == 0),
                                "{action:?} {request:?} {first}: {:x?}",
                                &fragmented.bytes[datagram..]
                            );
                            answered += 1;
                        } else {
                            let may_be = [verdict, Verdict::Later, Verdict::NoRoom].contains(&given);
                            let has_no_room = verdict.action() != XdpAction::Tx || first < end;
                            assert!(may_be && has_no_room, "{action:?} {request:?} {first} {given:?}");
                            assert_eq!(fragmented.bytes, frame, "{action:?} {request:?} {first} {given:?}");
                        }
                    }
                }
            }
        }
    }
    assert!(answered > 1000);
}

/// Checks data in another buffer. The program cannot verify its checksum, and the host would reset the connection.
#[test]
fn drops_data_that_it_cannot_read() {
    let setup = Setup::new(Choice { action: Action::Echo, key: Some([4; 16]), ..Choice::DEFAULT });
    for request in [Request::ack(), Request::ack().over_ipv6()] {
        let mut request = Request { flags: ACK | PSH, payload: vec![0x5a; 100], ..request };
        let tuple = Segment::parse(&request.frame()).expect("a segment").tuple();
        request.acknowledgment_number = request.sequence_number.wrapping_add(setup.settings.offset_of(&tuple));
        let frame = request.with_checksum().frame();
        assert_eq!(setup.verdict(&frame), Verdict::Replied);
        for first in frame.len() - 100..frame.len() {
            let mut fragmented = Fragmented { bytes: frame.clone(), first };
            assert_eq!(setup.run(&mut fragmented), Verdict::Later, "{first}");
            assert_eq!(fragmented.bytes, frame, "{first}");
        }
    }
}

#[test]
fn configures_fragments() {
    for frags in [false, true] {
        assert_eq!(
            ProgramConfig::new(ProgramSettings { frags, ..ProgramSettings::DEFAULT }).features.has_frags(),
            frags
        );
    }
}
