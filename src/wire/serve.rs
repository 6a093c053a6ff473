//! Classifies the segments of a connection to a service, and selects the payload to send.
//!
//! | acknowledged by the client | segment | answer |
//! |---|---|---|
//! | less than the banner | any but a RST | the banner, unless the client has no room |
//! | the banner, or more | data | the first reply that answers it, or an ACK |
//! |  | FIN without data | FIN |
//! |  | ACK without data | none, or a RST if the service ends with one |
//! | the banner and a FIN | ACK without data | ACK |
//!
//! The acknowledgment number minus the ISN tells how much the client has received. No state is needed: a payload is
//! sent again until the client acknowledges it, and never afterwards.
//!
//! The banner acknowledges only what precedes the segment. A client that sends its request before it has the banner
//! retransmits it, and gets the reply then.
//!
//! **Two responders cannot answer each other forever.** The ISN of a SYN-ACK is the keyed hash in its lower bits. Its
//! upper bits place it ahead of the client's ISN by a quarter of the sequence space, give or take an eighth. A segment
//! is recognised only if its acknowledgment number lies ahead of its sequence number, too. In an answer, it lies
//! behind.

use crate::post_handshake::{AnswerWindow, SegmentVariables};
use crate::service::{Ending, MAX_PAYLOAD, Payload, Request, Service};
use crate::tcp::Tcp;
use crate::verdict::Verdict;

/// The bits of the ISN that come from the keyed hash.
const HASHED: u32 = (1 << 29) - 1;

/// The bit of the ISN that is set if the SYN-ACK has no window scale (see
/// [`UNSCALED`](crate::post_handshake::UNSCALED)).
const WITHOUT_SCALE: u32 = 1 << 29;

/// The smallest distance from the client's ISN to the ISN of the SYN-ACK.
const LEAD: u32 = 1 << 29;

/// The number of bytes that the distance may change during a connection.
const LEAD_CHANGE: u32 = 1 << 28;

/// The largest number of bytes after the banner for which a segment is recognised. A client cannot receive more
/// replies.
///
/// The limit keeps the share of acknowledgment numbers small that a segment can have by chance.
pub const MAX_REPLIED: u32 = 1 << 12;

/// Returns the ISN of the SYN-ACK for a service, given the hash of the connection and the client's ISN.
#[inline(always)]
pub const fn service_isn(hash: u32, client_isn: u32, has_window_scale: bool) -> u32 {
    let flag = if has_window_scale { 0 } else { WITHOUT_SCALE };
    let isn = (hash & HASHED) + flag;
    // Subtracting these bits leaves a distance of less than a quarter of the sequence space beyond `LEAD`.
    let upper = isn.wrapping_sub(client_isn).wrapping_sub(LEAD) & (3 << 30);
    isn.wrapping_sub(upper)
}

/// Returns the lower bits of the ISN, given the hash of the connection.
#[inline(always)]
pub const fn service_isn_base(hash: u32) -> u32 {
    hash & HASHED
}

/// The progress of a connection to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of bytes that the client has acknowledged, counting the SYN.
    pub acknowledged: u32,
    /// Whether window scaling was negotiated.
    has_window_scale: bool,
}

/// The answer of a service: its header fields in host byte order, and its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceAnswer {
    /// The TCP flags.
    pub flags: u8,
    /// Sequence number of the first byte.
    pub sequence_number: u32,
    /// Acknowledgment number: the next sequence number that tcp-bounce expects.
    pub acknowledgment_number: u32,
    /// The window.
    pub window: AnswerWindow,
    /// The payload.
    pub payload: Payload,
}

impl SegmentVariables {
    /// Returns the progress of the connection, or `None` if the segment belongs to no connection that a service
    /// accepted. `isn_base` is the result of [`service_isn_base`].
    #[inline(always)]
    pub const fn progress(self, isn_base: u32) -> Option<Progress> {
        const MAX: u32 = 1 + MAX_PAYLOAD as u32 + MAX_REPLIED;
        let distance = self.acknowledgment_number.wrapping_sub(isn_base);
        let acknowledged = distance & HASHED;
        let lead = self.acknowledgment_number.wrapping_sub(self.sequence_number).wrapping_sub(LEAD - LEAD_CHANGE);
        if acknowledged == 0 || acknowledged > MAX || lead >= (1 << 30) + 2 * LEAD_CHANGE {
            return None;
        }
        Some(Progress { acknowledged, has_window_scale: distance & WITHOUT_SCALE == 0 })
    }

    /// Returns the verdict and the answer of `service`, if any. Returns `None` if the segment belongs to no connection
    /// that a service accepted.
    ///
    /// `isn_base` is the result of [`service_isn_base`]. `request` is the data of the segment.
    #[inline(always)]
    pub fn serve(self, service: &Service, isn_base: u32, request: Request) -> Option<(Verdict, Option<ServiceAnswer>)> {
        let Progress { acknowledged, has_window_scale } = self.progress(isn_base)?;
        let banner = service.banner();
        let acknowledges_banner = acknowledged > banner.length.into();
        let acknowledges_last = acknowledged > u32::from(banner.length) + service.has_replies() as u32;
        let answer = ServiceAnswer {
            flags: Tcp::ACK,
            sequence_number: self.acknowledgment_number,
            acknowledgment_number: self.end(),
            window: if has_window_scale { AnswerWindow::SCALED } else { AnswerWindow::UNSCALED },
            payload: Payload::EMPTY,
        };
        Some(if self.has(Tcp::RST) {
            (Verdict::Later, None)
        } else if !acknowledges_banner && self.is_bare_ack() && self.window == 0 {
            // A client without room acknowledges each banner that it cannot take. It would get the banner again,
            // endlessly. When it has room, it sends another ACK.
            (if acknowledged == 1 { Verdict::Completed } else { Verdict::Later }, None)
        } else if !acknowledges_banner {
            let completes = self.is_bare_ack() && acknowledged == 1;
            let verdict = if completes { Verdict::Greeted } else { Verdict::Replied };
            let closes = service.ends_with(Ending::Close) && !service.has_replies();
            let answer = ServiceAnswer {
                flags: Tcp::PSH | Tcp::ACK | if closes { Tcp::FIN } else { 0 },
                sequence_number: self.acknowledgment_number.wrapping_sub(acknowledged - 1),
                acknowledgment_number: self.sequence_number,
                payload: banner,
                ..answer
            };
            (verdict, Some(answer))
        } else if self.payload_length > 0 {
            let payload = service.reply_to(request);
            let pushes = if payload.is_empty() { 0 } else { Tcp::PSH };
            let closes = !payload.is_empty() && service.ends_with(Ending::Close);
            let closes = if closes { Tcp::FIN } else { self.flags & Tcp::FIN };
            (Verdict::Replied, Some(ServiceAnswer { flags: Tcp::ACK | pushes | closes, payload, ..answer }))
        } else if self.has(Tcp::FIN) {
            // Before the first reply is acknowledged, the client may have sent a request. If the reply is on its way,
            // this FIN arrives too late and changes nothing. The client's FIN is not acknowledged, so that the client
            // repeats it after the reply.
            let end = if acknowledges_last { self.end() } else { self.sequence_number };
            (Verdict::Replied, Some(ServiceAnswer { flags: Tcp::FIN | Tcp::ACK, acknowledgment_number: end, ..answer }))
        } else if service.ends_with(Ending::Reset) && acknowledges_last {
            let window = AnswerWindow::value(0);
            (Verdict::Replied, Some(ServiceAnswer { flags: Tcp::RST | Tcp::ACK, window, ..answer }))
        } else if service.has_replies() && acknowledged == u32::from(banner.length) + 2 {
            // The client acknowledges the FIN above, so it waits for the acknowledgment of its own. If the byte after
            // the banner was a reply instead, this ACK changes nothing.
            (Verdict::Replied, Some(answer))
        } else {
            (if acknowledged == 1 { Verdict::Completed } else { Verdict::Later }, None)
        })
    }
}
