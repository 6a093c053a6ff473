//! The host on which the packet logic runs: the kernel, or a test.

use crate::address::AddressBits;
use crate::checksum::Sum;
use crate::event::EventKind;
use crate::frame::{Frame, Span};
use crate::ip::Ip;
use crate::policy::Policy;
use crate::segment::{FourTuple, Segment};
use crate::syn_options::SynOptions;
use crate::verdict::Verdict;

/// The services of the host that the packet logic uses.
///
/// In the kernel, most of these are global functions of the XDP program. The verifier checks such a function once, for
/// any arguments, instead of once on each path that leads to a call.
pub trait Host: Sized {
    /// Returns the time for TCP timestamps, at 1 Hz to 1 kHz (RFC 7323, 5.4).
    fn now(&self) -> u32;

    /// Returns whether [`Filters::destinations`](crate::Filters::destinations) contains an address.
    fn answers_for(&self, destination: AddressBits) -> bool;

    /// Returns whether the host has a connection of its own with these ends. Their source is the remote host.
    fn has_connection<I: Ip>(&self, ends: &FourTuple<I>) -> bool;

    /// Calls [`Segment::handle_post_handshake`]. The host may use its own view of the frame, so the caller must not use
    /// `frame` again.
    fn handle_post_handshake<I: Ip, F: Frame>(
        &self,
        frame: &mut F,
        segment: Segment<I>,
        isn_base: u32,
        policy: &Policy<Self>,
    ) -> Option<Verdict>;

    /// Parses the TCP options in this span of `frame`.
    #[inline(always)]
    fn parse_options<F: Frame>(&self, frame: &mut F, span: Span) -> SynOptions {
        SynOptions::parse(frame, span)
    }

    /// Returns the sum of this span of `frame`, or `None` unless it lies within the accessible part.
    #[inline(always)]
    fn sum<F: Frame>(&self, frame: &mut F, span: Span) -> Option<Sum> {
        Sum::of(frame, span)
    }

    /// Reports an event of the client that sent `segment` or, if that `is_reply`, to which it is addressed.
    #[inline(always)]
    fn report<I: Ip>(&self, _segment: Segment<I>, _is_reply: bool, _kind: EventKind) {}
}
