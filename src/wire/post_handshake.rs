//! Decides from the fields of a segment whether it follows our handshake. `respond` then excludes the host's own.
//!
//! | action | accepted acknowledgment | answered |
//! |---|---|---|
//! | ignore | ISN + 1 | nothing |
//! | reset | ISN + 1 | everything except RST, with RST |
//! | close | ISN + 1 | everything except RST, with FIN, including the last ACK of the handshake |
//! |  | ISN + 2: the server's FIN | data and FIN, with ACK |
//! | discard | ISN + 1 | data with ACK, FIN with FIN |
//! |  | ISN + 2: the server's FIN | nothing |
//! | echo | the first byte of the segment, give or take a window | data and FIN, with a copy |
//! |  | a later byte: the client already has the copy | data and FIN, with ACK |
//! | tarpit | the first byte of the segment, or the next one | data, and probes, which start one byte early |
//!
//! With echo and tarpit, the ISN is the client's ISN plus an offset. A server that sends as many bytes as it receives,
//! counting SYN and FIN, stays at that offset from the client's sequence numbers. A segment therefore shows how much
//! the client has sent, and how much of the echo it has received.
//!
//! **Two responders cannot keep each other busy.** None answers a RST. A segment without data and FIN is answered in
//! two cases: the last ACK of a handshake, with RST or FIN, and a probe of a tarpit, with a segment that is no probe
//! for the other side (see [`isn_offset`]). Only echo sends data, and an echo on the other side does not accept it, for
//! the same reason. Close and discard answer a FIN with a FIN only if it acknowledges exactly ISN + 1. A reply to that
//! FIN, even from an echo, acknowledges more, and gets an ACK or nothing.

use crate::action::{Action, ActionSet};
use crate::tcp::Tcp;
use crate::verdict::Verdict;

/// The window and the MSS of echo, in bytes.
///
/// A client with full segments then has one segment in flight, which the echo acknowledges at once. Any second segment,
/// after a short one or with a separate FIN, is retransmitted. With a larger window, a segment would fill at most half
/// of it (`tcp_bound_to_half_wnd` of Linux).
pub const ECHO_WINDOW: u16 = 536;

/// The largest number of bytes in one echo, for clients that exceed [`ECHO_WINDOW`]: the payload of a full Ethernet
/// frame.
pub const MAX_ECHO: u32 = 1460;

/// Returns the secret offset of a SYN-ACK's ISN from the client's ISN, given a hash of the connection.
///
/// It is between 2^29 and 2^29 + 2^30, so that no two offsets add up to nearly zero. A reply, seen from the other side,
/// has the negative difference between sequence and acknowledgment number. So where two responders face each other,
/// neither accepts a reply of the other one.
#[inline(always)]
pub const fn isn_offset(hash: u32) -> u32 {
    (hash >> 2) + (1 << 29)
}

/// The fields of a segment with ACK and without SYN that decide about it (RFC 9293, 3.3.1), in host byte order.
#[derive(Clone, Copy, Debug)]
pub struct SegmentVariables {
    /// Sequence number of the first byte.
    pub sequence_number: u32,
    /// Next sequence number expected.
    pub acknowledgment_number: u32,
    /// Length of the data in bytes.
    pub payload_length: u32,
    /// Control bits.
    pub flags: u8,
    /// Receive window as in the header. No window scale is agreed upon with echo, the only action that reads it.
    pub window: u16,
}

/// A reply to a segment after the handshake, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Control bits.
    pub flags: u8,
    /// Sequence number of the first byte.
    pub sequence_number: u32,
    /// Next sequence number expected.
    pub acknowledgment_number: u32,
    /// Receive window as in the header.
    pub window: u16,
    /// Number of bytes to send back, from the first byte of the segment's data.
    pub echo_length: u32,
}

impl SegmentVariables {
    /// Returns the variables of the segment with this header and this number of bytes of data.
    #[inline(always)]
    pub const fn new(tcp: &Tcp, payload_length: u32) -> Self {
        Self {
            sequence_number: tcp.sequence_number.get(),
            acknowledgment_number: tcp.acknowledgment_number.get(),
            payload_length,
            flags: tcp.flags,
            window: tcp.window.get(),
        }
    }

    /// Returns verdict and answer, or `None` if the segment belongs to no connection that tcp-bounce accepted.
    ///
    /// `isn_base` is the ISN of the SYN-ACK, or its [`isn_offset`] for an action that follows the client. `window` is
    /// the receive window of answers in bytes, for actions without a window of their own.
    #[inline(always)]
    pub fn classify(self, actions: ActionSet, isn_base: u32, window: u16) -> Option<(Verdict, Option<Answer>)> {
        if actions.contains(Action::Echo) {
            self.echo(isn_base)
        } else if actions.contains(Action::Tarpit) {
            self.tarpit(isn_base)
        } else {
            match self.acknowledgment_number.wrapping_sub(isn_base) {
                1 => Some(self.after_syn_ack(actions, window)),
                2 if actions.contains(Action::Close) => Some(self.after_fin(window)),
                2 if actions.contains(Action::Discard) => Some((Verdict::Later, None)),
                _ => None,
            }
        }
    }

    /// Decides about a segment that acknowledges the SYN-ACK and nothing more.
    #[inline(always)]
    fn after_syn_ack(self, actions: ActionSet, window: u16) -> (Verdict, Option<Answer>) {
        let verdict = if self.is_bare_ack() { Verdict::Completed } else { Verdict::Later };
        if self.has(Tcp::RST) {
            (verdict, None)
        } else if actions.contains(Action::Reset) {
            let verdict = if self.is_bare_ack() { Verdict::Reset } else { Verdict::Replied };
            (verdict, Some(self.answer(Tcp::RST | Tcp::ACK, self.end(), 0)))
        } else if actions.contains(Action::Close) {
            let verdict = if self.is_bare_ack() { Verdict::Closed } else { Verdict::Replied };
            (verdict, Some(self.answer(Tcp::FIN | Tcp::ACK, self.end(), window)))
        } else if actions.contains(Action::Discard) && !self.is_bare_ack() {
            let flags = Tcp::ACK | self.flags & Tcp::FIN;
            (Verdict::Replied, Some(self.answer(flags, self.end(), window)))
        } else {
            (verdict, None)
        }
    }

    /// Decides about a segment that acknowledges the FIN of [`Action::Close`].
    #[inline(always)]
    fn after_fin(self, window: u16) -> (Verdict, Option<Answer>) {
        if self.has(Tcp::RST) || self.is_bare_ack() {
            (Verdict::Later, None)
        } else {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, self.end(), window)))
        }
    }

    /// Decides about a segment under [`Action::Echo`].
    ///
    /// Data that the client has already received back is acknowledged. Other data is sent back. That echo acknowledges
    /// the data only if no earlier byte is missing at the client and the client has room for it. Otherwise the client
    /// would never retransmit data that tcp-bounce does not keep.
    #[inline(always)]
    fn echo(self, offset: u32) -> Option<(Verdict, Option<Answer>)> {
        const WINDOW: i32 = ECHO_WINDOW as i32;
        // The client's sequence number up to which it has received the echo, and its distance from the segment's start.
        let confirmed = self.acknowledgment_number.wrapping_sub(offset);
        let known = confirmed.wrapping_sub(self.sequence_number) as i32;
        // A FIN or a keepalive may be one byte outside the window.
        if !(-WINDOW - 1..=WINDOW + 1).contains(&known) {
            return None;
        }
        if self.has(Tcp::RST) || self.is_bare_ack() {
            return Some((Verdict::Later, None));
        }
        let length = self.payload_length as i32;
        let room = known + self.window as i32;
        let echo_length = length.min(room).min(MAX_ECHO as i32);
        let has_fin = self.has(Tcp::FIN) && echo_length == length && room > length;
        let end = echo_length + has_fin as i32;
        Some(if end > known.max(0) {
            let acknowledged = if known < 0 { known } else { end };
            let answer = Answer {
                flags: Tcp::ACK | self.flags & Tcp::PSH | if has_fin { Tcp::FIN } else { 0 },
                sequence_number: self.sequence_number.wrapping_add(offset),
                acknowledgment_number: self.sequence_number.wrapping_add(acknowledged as u32),
                window: ECHO_WINDOW,
                echo_length: echo_length as u32,
            };
            (Verdict::Replied, Some(answer))
        } else if known > 0 {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, confirmed, ECHO_WINDOW)))
        } else {
            (Verdict::Later, None)
        })
    }

    /// Decides about a segment under [`Action::Tarpit`], which accepts no data and acknowledges no FIN.
    #[inline(always)]
    fn tarpit(self, offset: u32) -> Option<(Verdict, Option<Answer>)> {
        // The client's first sequence number after its SYN, and its distance from the segment's start.
        let first = self.acknowledgment_number.wrapping_sub(offset);
        let is_probe = match first.wrapping_sub(self.sequence_number) {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(if self.has(Tcp::FIN | Tcp::RST) {
            (Verdict::Later, None)
        } else if is_probe || self.payload_length > 0 {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, first, 0)))
        } else {
            (Verdict::Completed, None)
        })
    }

    /// Returns an answer without data. Its sequence number is the one that the client expects next.
    #[inline(always)]
    const fn answer(self, flags: u8, acknowledgment_number: u32, window: u16) -> Answer {
        let sequence_number = self.acknowledgment_number;
        Answer { flags, sequence_number, acknowledgment_number, window, echo_length: 0 }
    }

    /// Returns the sequence number after data and FIN.
    #[inline(always)]
    const fn end(self) -> u32 {
        self.sequence_number.wrapping_add(self.payload_length).wrapping_add(self.has(Tcp::FIN) as u32)
    }

    /// Returns whether the segment has neither data nor FIN nor RST.
    #[inline(always)]
    const fn is_bare_ack(self) -> bool {
        self.payload_length == 0 && !self.has(Tcp::FIN | Tcp::RST)
    }

    #[inline(always)]
    const fn has(self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}
