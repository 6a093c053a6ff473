//! The length of a reply's frame: 58 bytes, or slightly more if the request's frame was longer.

use crate::common;

use common::{Choice, REPLY_LENGTH, Request, Segment, Setup};
use tcp_bounce_wire::frame::{Buffer, View};
use tcp_bounce_wire::{Action, Frame, Verdict};

/// The largest number of bytes after a reply that does not lead to a resize of the frame.
///
/// A resize is the most expensive step in the kernel.
const PADDING_LIMIT: usize = 23;

/// Returns the frames of SYNs with 0 to 200 additional bytes. `filled` adds them as data or as padding.
fn syns(filled: fn(Vec<u8>) -> Request) -> impl Iterator<Item = Vec<u8>> {
    (0..=200).map(move |more| filled(vec![0xee; more]).frame())
}

fn with_data(bytes: Vec<u8>) -> Request {
    Request { payload: bytes, ..Request::syn() }
}

fn with_padding(bytes: Vec<u8>) -> Request {
    Request { trailer: bytes, ..Request::syn() }
}

#[test]
fn keeps_the_length_of_slightly_longer_frames() {
    let setup = Setup::standard();
    for frame in syns(with_data).chain(syns(with_padding)) {
        let expected = match frame.len() {
            length if (REPLY_LENGTH..=REPLY_LENGTH + PADDING_LIMIT).contains(&length) => length,
            _ => REPLY_LENGTH,
        };
        let (verdict, reply) = setup.respond(&frame);
        assert_eq!((verdict, reply.len()), (Verdict::Answered, expected), "to a frame of {} bytes", frame.len());
    }
}

#[test]
fn answers_short_frames_with_room_to_grow() {
    for frame in syns(with_data).chain(syns(with_padding)) {
        for room in 0..=5 {
            let fits = frame.len() + room >= REPLY_LENGTH;
            let expected = if fits { Verdict::Answered } else { Verdict::NoRoom };
            let setup = Setup { room, ..Setup::standard() };
            assert_eq!(setup.verdict(&frame), expected, "{} bytes and {room} more", frame.len());
        }
    }
}

/// A frame that refuses every resize, as the kernel may.
struct Rigid<'a>(Buffer<'a>);

impl Frame for Rigid<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T> {
        self.0.at(offset)
    }

    fn last<T: View>(&mut self) -> Option<&mut T> {
        self.0.last()
    }

    fn resize(&mut self, _: usize) -> Option<()> {
        None
    }
}

#[test]
fn leaves_frames_unchanged_if_the_resize_fails() {
    for request in syns(with_data).chain(syns(with_padding)) {
        let mut bytes = request.clone();
        let mut frame = Rigid(Buffer::new(&mut bytes, request.len()));
        match Setup::standard().run(&mut frame) {
            Verdict::NoRoom => assert_eq!(bytes, request),
            verdict => {
                assert_eq!(verdict, Verdict::Answered);
                common::assert_answer(&request, &bytes, &Choice::DEFAULT);
            }
        }
    }
}

#[test]
fn echoes_without_a_resize() {
    let setup = Setup::new(Choice { action: Action::Echo, key: Some([6; 16]), ..Choice::DEFAULT });
    for request in [Request::ack(), Request::ack().over_ipv6()] {
        // An echo of equal length needs no resize. A trailer would have to be removed.
        for (trailer, verdict) in [(0, Verdict::Replied), (1, Verdict::Later)] {
            let mut request = Request { payload: b"data".to_vec(), trailer: vec![0; trailer], ..request.clone() };
            let tuple = Segment::parse(&request.frame()).expect("a segment").tuple();
            request.acknowledgment_number = request.sequence_number.wrapping_add(setup.settings.offset_of(&tuple));
            let mut bytes = request.with_checksum().frame();
            let length = bytes.len();
            assert_eq!(setup.run(&mut Rigid(Buffer::new(&mut bytes, length))), verdict);
        }
    }
}
