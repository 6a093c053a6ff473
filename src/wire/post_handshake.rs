//! Which later segments belong to a bounced connection, and what is answered: all from their own numbers.
//!
//! | mode | a segment is ours if it acknowledges | answered are |
//! |---|---|---|
//! | drop | ISN + 1 | none |
//! | reset | ISN + 1 | all but RST, with RST |
//! | close | ISN + 1 | all but RST, with FIN: the last ACK of the handshake, too |
//! |  | ISN + 2, our FIN | data and FIN, with ACK |
//! | discard | ISN + 1 | data with ACK, FIN with FIN |
//! |  | ISN + 2, our FIN | none |
//! | echo | what it begins with itself, a window more or less | data and FIN, with the same; what the client has back already, with ACK |
//! | tarpit | what it begins with itself, or the byte after that | data, and probes: what begins with that byte before |
//!
//! In echo and tarpit the ISN is the client's plus an offset. A server that sends as many bytes as it receives, counting
//! SYN and FIN, has sequence numbers that are the client's plus that offset at any time; so a segment tells how far the
//! client is, and how much of what was sent back it has.
//!
//! **No two responders can keep each other busy.** A RST is never answered. A segment without data or FIN is answered in two
//! cases: the last ACK of a handshake in reset and close, by RST or FIN; and a probe in tarpit, by one that is no probe on
//! the other side (see [`isn_offset`]). Only echo sends data, and what it sends is not ours for an echo on the other side, for the
//! same reason. Close and discard answer a FIN with a FIN only if it acknowledges ISN + 1 and no more. Whoever answers that
//! one, an echo too, acknowledges more, and gets an ACK or nothing.

use crate::action::{Action, ActionSet};
use crate::tcp::Tcp;
use crate::verdict::Verdict;

/// What a segment says that has ACK and no SYN, in the host's byte order. Its flags may be any others.
#[derive(Clone, Copy, Debug)]
pub struct SegmentVariables {
    /// Sequence number of the first byte.
    pub sequence_number: u32,
    /// The next sequence number expected.
    pub acknowledgment_number: u32,
    /// How much data it has, in bytes.
    pub payload_length: u32,
    /// The control bits.
    pub flags: u8,
    /// Receive window, in bytes if no scale was agreed on.
    pub window: u16,
}

/// An answer to a segment, in the host's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The control bits.
    pub flags: u8,
    /// Sequence number of the first byte.
    pub sequence_number: u32,
    /// The next sequence number expected.
    pub acknowledgment_number: u32,
    /// Receive window, as it stands in the header.
    pub window: u16,
    /// How many bytes, from the first of the segment's, are sent back.
    pub echoed: u32,
}

/// How much data echo takes at a time, in bytes: its MSS, and its window.
///
/// A client that sends full segments has then one under way and no more, which is what echo acknowledges at once; a second,
/// as after a short one, or a FIN right behind data, has to be sent again. It is the largest that does: of a larger window a
/// segment takes half at most (Linux, `tcp_bound_to_half_wnd`).
pub const ECHO_WINDOW: u16 = 536;

/// The most that is sent back at once, in bytes, whatever the client makes of that window: what fits an Ethernet.
pub const MOST_ECHOED: u32 = 1460;

/// The offset of the ISN from the client's, from a hash.
///
/// It lies in a range in which no two of them add up to nearly zero. So where two hosts face each other, what is ours for
/// one is not for the other, whoever knows what: a reply, seen from the other side, has the difference of sequence and
/// acknowledgment number reversed.
#[inline(always)]
pub const fn isn_offset(hash: u32) -> u32 {
    (hash >> 2) + (1 << 29)
}

impl SegmentVariables {
    /// The verdict on the segment, and the answer to it, if there is one. `None`: it is not ours.
    ///
    /// `then` is the mode of its port, and `isn`, in the host's byte order, the ISN of our SYN-ACK; in the modes that follow
    /// the client, its [`isn_offset`]. `window`, in bytes, is the receive window of answers, where the mode has none of its own.
    #[inline(always)]
    pub fn judge(self, action: ActionSet, isn: u32, window: u16) -> Option<(Verdict, Option<Answer>)> {
        if action.contains(Action::Echo) {
            self.echo(isn)
        } else if action.contains(Action::Tarpit) {
            self.tarpit(isn)
        } else {
            match self.acknowledgment_number.wrapping_sub(isn) {
                1 => Some(self.after_handshake(action, window)),
                2 if action.contains(Action::Close) => Some(self.after_close(window)),
                2 if action.contains(Action::Discard) => Some((Verdict::Later, None)),
                _ => None,
            }
        }
    }

    /// To the client we have sent our SYN-ACK alone, as far as it knows.
    #[inline(always)]
    fn after_handshake(self, action: ActionSet, window: u16) -> (Verdict, Option<Answer>) {
        let verdict = if self.is_bare() { Verdict::Completed } else { Verdict::Later };
        if self.has(Tcp::RST) {
            (verdict, None)
        } else if action.contains(Action::Reset) {
            let verdict = if self.is_bare() { Verdict::Reset } else { Verdict::Replied };
            (verdict, Some(self.answer(Tcp::RST | Tcp::ACK, self.end(), 0)))
        } else if action.contains(Action::Close) {
            let verdict = if self.is_bare() { Verdict::Closed } else { Verdict::Replied };
            (verdict, Some(self.answer(Tcp::FIN | Tcp::ACK, self.end(), window)))
        } else if action.contains(Action::Discard) && !self.is_bare() {
            let flags = Tcp::ACK | self.flags & Tcp::FIN;
            (Verdict::Replied, Some(self.answer(flags, self.end(), window)))
        } else {
            (verdict, None)
        }
    }

    /// The client has our FIN.
    #[inline(always)]
    fn after_close(self, window: u16) -> (Verdict, Option<Answer>) {
        if self.has(Tcp::RST) || self.is_bare() {
            (Verdict::Later, None)
        } else {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, self.end(), window)))
        }
    }

    /// What the client has got back is acknowledged. What it has not yet is sent back, and acknowledged with that if there
    /// is nothing missing before it, and the client has room: else the client would think that all is well, and would
    /// not send again what we do not keep.
    #[inline(always)]
    fn echo(self, offset: u32) -> Option<(Verdict, Option<Answer>)> {
        const WINDOW: i32 = ECHO_WINDOW as i32;
        // The client's sequence number up to which it has got all back; and how far that is into this segment.
        let confirmed = self.acknowledgment_number.wrapping_sub(offset);
        let known = confirmed.wrapping_sub(self.sequence_number) as i32;
        // One more: a FIN, or a keepalive.
        if !(-WINDOW - 1..=WINDOW + 1).contains(&known) {
            return None;
        }
        if self.has(Tcp::RST) || self.is_bare() {
            return Some((Verdict::Later, None));
        }
        let length = self.payload_length as i32;
        let room = known + self.window as i32;
        let echoed = length.min(room).min(MOST_ECHOED as i32);
        let fin = self.has(Tcp::FIN) && echoed == length && room > length;
        let end = echoed + fin as i32;
        Some(if end > known.max(0) {
            let acknowledged = if known < 0 { known } else { end };
            let answer = Answer {
                flags: Tcp::ACK | self.flags & Tcp::PSH | if fin { Tcp::FIN } else { 0 },
                sequence_number: self.sequence_number.wrapping_add(offset),
                acknowledgment_number: self.sequence_number.wrapping_add(acknowledged as u32),
                window: ECHO_WINDOW,
                echoed: echoed as u32,
            };
            (Verdict::Replied, Some(answer))
        } else if known > 0 {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, confirmed, ECHO_WINDOW)))
        } else {
            (Verdict::Later, None)
        })
    }

    /// Nothing that the client sends is ever taken, and its FIN is never acknowledged.
    #[inline(always)]
    fn tarpit(self, offset: u32) -> Option<(Verdict, Option<Answer>)> {
        // The first byte after the SYN, and how far that is into this segment.
        let first = self.acknowledgment_number.wrapping_sub(offset);
        let is_early = match first.wrapping_sub(self.sequence_number) {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(if self.has(Tcp::FIN | Tcp::RST) {
            (Verdict::Later, None)
        } else if is_early || self.payload_length > 0 {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, first, 0)))
        } else {
            (Verdict::Completed, None)
        })
    }

    /// An answer without data. Its sequence number is the one that the client expects.
    #[inline(always)]
    const fn answer(self, flags: u8, acknowledgment_number: u32, window: u16) -> Answer {
        let sequence_number = self.acknowledgment_number;
        Answer { flags, sequence_number, acknowledgment_number, window, echoed: 0 }
    }

    /// The sequence number after its data and its FIN.
    #[inline(always)]
    const fn end(self) -> u32 {
        self.sequence_number.wrapping_add(self.payload_length).wrapping_add(self.has(Tcp::FIN) as u32)
    }

    #[inline(always)]
    const fn is_bare(self) -> bool {
        self.payload_length == 0 && !self.has(Tcp::FIN | Tcp::RST)
    }

    #[inline(always)]
    const fn has(self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}
