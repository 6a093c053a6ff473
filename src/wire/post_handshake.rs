//! Classifies segments after a handshake by their header fields alone. Segments for sockets of the host are excluded
//! later, by [`Segment::belongs_to_host`](crate::segment::Segment::belongs_to_host).
//!
//! | action | acknowledgment | segments answered |
//! |---|---|---|
//! | ignore | ISN + 1 | none |
//! | reset | ISN + 1 | everything except RST, with RST |
//! | close | ISN + 1 | everything except RST, with FIN, including the last ACK of the handshake |
//! |  | ISN + 2: the server's FIN | data and FIN, with ACK |
//! | discard | ISN + 1 | data with ACK, FIN with FIN |
//! |  | ISN + 2: the server's FIN | none |
//! | echo | the first byte of the segment, plus or minus a window | data and FIN, with a copy |
//! |  | a later byte: the client already has the copy | data and FIN, with ACK |
//! | tarpit | at most 65,536 before the segment's first byte | data, with ACK |
//! |  | the second byte of the segment | probes and data, with ACK |
//!
//! With echo and tarpit, the ISN of the SYN-ACK is the client's ISN plus an offset. A server that sends as many bytes
//! as it receives, counting SYN and FIN, stays at that offset from the client's sequence numbers. A segment therefore
//! shows how much data the client has sent, and how much of the echo it has received.
//!
//! **Two responders cannot answer each other forever.** No action answers a RST. A segment with neither data nor FIN is
//! answered in two cases only. Reset and close answer the last ACK of a handshake, with a RST or a FIN. A tarpit
//! answers a probe, with a segment that the other side does not accept as a probe (see [`isn_offset`]). It does not
//! answer a FIN without data: close would answer the ACK with another FIN.
//!
//! Only echo sends data. The offset also keeps an echo on the other side from accepting this data. Close and discard
//! answer a FIN with a FIN only if the segment acknowledges exactly ISN + 1. Any reply to the server's FIN acknowledges
//! more, so it gets an ACK or nothing. This holds for both ISNs of these actions, which differ by [`UNSCALED`].

use crate::action::{Action, ActionSet};
use crate::interface::ReceiveWindows;
use crate::tcp::Tcp;
use crate::verdict::Verdict;

/// The advertised window and MSS of echo, in bytes.
///
/// A client that sends full segments has one segment in flight, which the echo acknowledges at once. The client has to
/// retransmit a second segment, for example a FIN after data. Larger windows do not help: Linux then fills only half of
/// the window with a segment (`tcp_bound_to_half_wnd`).
pub const ECHO_WINDOW: u16 = 536;

/// The largest number of bytes in one echo, for clients that exceed [`ECHO_WINDOW`]. A full Ethernet frame carries this
/// payload over IPv4.
pub const MAX_ECHO: u32 = 1460;

/// The largest distance of a segment from the byte before the client's data, under [`Action::Tarpit`].
///
/// A SYN-ACK advertises at most 65,535 bytes, because its window is not scaled. A client that has used this window and
/// sent a FIN continues with the sequence number after the FIN.
const TARPIT_REACH: u32 = u16::MAX as u32 + 2;

/// The number that is added to the ISN of a SYN-ACK without window scaling, for the actions close and discard.
///
/// A later segment does not show whether window scaling was negotiated. Its acknowledgment number then shows it, so
/// that answers advertise the window in the right unit.
pub const UNSCALED: u32 = 1 << 30;

/// Returns the secret offset of a SYN-ACK's ISN from the client's ISN, given a hash of the connection.
///
/// The offset is at least 2^29 and less than 2^29 + 2^30. The sum of two offsets is therefore never close to 0 modulo
/// 2^32. Seen from the other side, a reply has the negated offset between its sequence number and its acknowledgment
/// number. If two responders face each other, neither accepts a reply from the other.
#[inline(always)]
pub const fn isn_offset(hash: u32) -> u32 {
    (hash >> 2) + (1 << 29)
}

/// The fields of a segment that determine its verdict (RFC 9293, 3.3.1), in host byte order. The segment has ACK set
/// and SYN clear.
#[derive(Clone, Copy, Debug)]
pub struct SegmentVariables {
    /// Sequence number of the first byte.
    pub sequence_number: u32,
    /// Acknowledgment number: the next sequence number that the client expects.
    pub acknowledgment_number: u32,
    /// Length of the data in bytes.
    pub payload_length: u32,
    /// The TCP flags.
    pub flags: u8,
    /// The window field of the segment. With [`Action::Echo`], it is the receive window in bytes: a SYN-ACK under this
    /// action does not accept window scaling.
    pub window: u16,
}

/// A reply to a segment after the handshake: its header fields, and the length of the echoed data. Numbers are in host
/// byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The TCP flags.
    pub flags: u8,
    /// Sequence number of the first byte.
    pub sequence_number: u32,
    /// Acknowledgment number: the next sequence number that tcp-bounce expects.
    pub acknowledgment_number: u32,
    /// The window.
    pub window: AnswerWindow,
    /// The number of bytes to send back, from the first byte of the segment's payload.
    pub echo_length: u32,
}

/// The window of an [`Answer`]: a value of the window field, or one of the constants. A number takes less stack than an
/// `enum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerWindow(u32);

impl AnswerWindow {
    /// The window that a listener of Linux would advertise, in units of the window scale.
    pub const SCALED: Self = Self(1 << 16);
    /// The window that a listener of Linux would advertise, in bytes.
    pub const UNSCALED: Self = Self(1 << 17);

    /// Returns the window with this value of the window field.
    #[inline(always)]
    pub const fn value(field: u16) -> Self {
        Self(field as u32)
    }

    /// Returns the window field, given the window scale, whether the connection has timestamps, and the length of the
    /// received data in bytes, counting a FIN as one.
    #[inline(always)]
    pub(crate) const fn field(self, windows: &ReceiveWindows, scale: u8, has_timestamps: bool, received: u32) -> u16 {
        match self {
            Self::SCALED => windows.field(scale, has_timestamps, received),
            Self::UNSCALED => windows.field(0, has_timestamps, received),
            Self(field) => field as u16,
        }
    }
}

impl SegmentVariables {
    /// Returns the variables of a segment with this header and `payload_length` bytes of data.
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

    /// Returns the verdict and the answer, if any. Returns `None` if the segment belongs to no connection that
    /// tcp-bounce accepted.
    ///
    /// `actions` contains at most one action. `isn_base` is the ISN of the SYN-ACK, or its [`isn_offset`] for an action
    /// that follows the client.
    #[inline(always)]
    pub fn classify(self, actions: ActionSet, isn_base: u32) -> Option<(Verdict, Option<Answer>)> {
        if actions.contains(Action::Serve) {
            // [`Self::serve`](crate::serve) decides about the answer.
            None
        } else if actions.contains(Action::Echo) {
            self.echo(isn_base)
        } else if actions.contains(Action::Tarpit) {
            self.tarpit(isn_base)
        } else {
            let mut distance = self.acknowledgment_number.wrapping_sub(isn_base);
            let is_scaled = !actions.any_advertises_window() || distance & UNSCALED == 0;
            if !is_scaled {
                distance ^= UNSCALED;
            }
            let window = if is_scaled { AnswerWindow::SCALED } else { AnswerWindow::UNSCALED };
            match distance {
                1 => Some(self.after_syn_ack(actions, window)),
                2 if actions.contains(Action::Close) => Some(self.after_fin(window)),
                2 if actions.contains(Action::Discard) => Some((Verdict::Later, None)),
                _ => None,
            }
        }
    }

    /// Returns whether this segment may be the last ACK of a handshake, with or without data. The segment must belong
    /// to a connection that tcp-bounce accepted. The arguments are those of [`Self::classify`].
    ///
    /// With echo, the last ACK looks like any other segment. With tarpit, it is the client's first segment, or a probe.
    #[inline(always)]
    pub fn may_complete(self, actions: ActionSet, isn_base: u32) -> bool {
        let acknowledges_syn_ack = match self.acknowledgment_number.wrapping_sub(isn_base) {
            first if actions.contains(Action::Tarpit) => first.wrapping_sub(self.sequence_number) <= 1,
            _ if actions.any_follows_client() => false,
            distance => distance & !UNSCALED == 1,
        };
        acknowledges_syn_ack && !self.has(Tcp::RST)
    }

    /// Classifies a segment that acknowledges exactly the SYN-ACK.
    #[inline(always)]
    fn after_syn_ack(self, actions: ActionSet, window: AnswerWindow) -> (Verdict, Option<Answer>) {
        let verdict = if self.is_bare_ack() { Verdict::Completed } else { Verdict::Later };
        if self.has(Tcp::RST) {
            (verdict, None)
        } else if actions.contains(Action::Reset) {
            let verdict = if self.is_bare_ack() { Verdict::Reset } else { Verdict::Replied };
            (verdict, Some(self.answer(Tcp::RST | Tcp::ACK, self.end(), AnswerWindow::value(0))))
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

    /// Classifies a segment that acknowledges the server's FIN, under [`Action::Close`].
    #[inline(always)]
    fn after_fin(self, window: AnswerWindow) -> (Verdict, Option<Answer>) {
        if self.has(Tcp::RST) || self.is_bare_ack() {
            (Verdict::Later, None)
        } else {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, self.end(), window)))
        }
    }

    /// Classifies a segment under [`Action::Echo`].
    ///
    /// Data whose echo the client has received is acknowledged. Other data is sent back. The reply acknowledges this
    /// data only if the client has received all earlier echoes and has room for this one. In all other cases the client
    /// has to retransmit the data, because tcp-bounce does not keep it.
    #[inline(always)]
    fn echo(self, offset: u32) -> Option<(Verdict, Option<Answer>)> {
        const WINDOW: i32 = ECHO_WINDOW as i32;
        // The client has received the echo of all data before the sequence number `confirmed`. `known` is the distance
        // from the start of the segment to `confirmed`.
        let confirmed = self.acknowledgment_number.wrapping_sub(offset);
        let known = confirmed.wrapping_sub(self.sequence_number) as i32;
        // A FIN or a keepalive may lie one byte outside the window.
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
                window: AnswerWindow::value(ECHO_WINDOW),
                echo_length: echo_length as u32,
            };
            (Verdict::Replied, Some(answer))
        } else if known > 0 {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, confirmed, AnswerWindow::value(ECHO_WINDOW))))
        } else {
            (Verdict::Later, None)
        })
    }

    /// Classifies a segment under [`Action::Tarpit`], which acknowledges neither data nor FIN.
    ///
    /// The SYN-ACK advertises a window. Each answer closes it, so that the client keeps its data. Linux then
    /// retransmits its first segment. A client without data in flight probes the window.
    #[inline(always)]
    fn tarpit(self, offset: u32) -> Option<(Verdict, Option<Answer>)> {
        // The client's first sequence number after its SYN. The tarpit always expects this number next.
        let first = self.acknowledgment_number.wrapping_sub(offset);
        // Probes start one byte before this number.
        let distance = self.sequence_number.wrapping_sub(first).wrapping_add(1);
        if distance > TARPIT_REACH {
            return None;
        }
        let is_probe = distance == 0 && self.is_bare_ack();
        Some(if !self.has(Tcp::RST) && (is_probe || self.payload_length > 0) {
            (Verdict::Replied, Some(self.answer(Tcp::ACK, first, AnswerWindow::value(0))))
        } else if self.is_bare_ack() && distance == 1 {
            (Verdict::Completed, None)
        } else {
            (Verdict::Later, None)
        })
    }

    /// Returns an answer without data, with the sequence number that the client expects next.
    #[inline(always)]
    const fn answer(self, flags: u8, acknowledgment_number: u32, window: AnswerWindow) -> Answer {
        let sequence_number = self.acknowledgment_number;
        Answer { flags, sequence_number, acknowledgment_number, window, echo_length: 0 }
    }

    /// Returns the sequence number after the segment's data and FIN.
    #[inline(always)]
    pub(crate) const fn end(self) -> u32 {
        self.sequence_number.wrapping_add(self.payload_length).wrapping_add(self.has(Tcp::FIN) as u32)
    }

    /// Returns whether the segment has neither data nor FIN nor RST.
    #[inline(always)]
    pub(crate) const fn is_bare_ack(self) -> bool {
        self.payload_length == 0 && !self.has(Tcp::FIN | Tcp::RST)
    }

    #[inline(always)]
    pub(crate) const fn has(self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}
