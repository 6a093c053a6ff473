//! The interface between the packet logic and the host on which it runs: the kernel, or a test.

use crate::address::AddressBits;
use crate::checksum::Sum;
use crate::event::EventKind;
use crate::flow_label::FlowLabels;
use crate::frame::{Frame, Span};
use crate::ip::Ip;
use crate::policy::Policy;
use crate::segment::{FourTuple, Segment};
use crate::syn_options::SynOptions;
use crate::verdict::Verdict;

/// The services of the host that the packet logic uses.
///
/// In the kernel, most methods call a global function of the XDP program. The verifier checks a global function once,
/// for any arguments. It would check inlined code on each path.
pub trait Host: Sized {
    /// Returns the current value of the timestamp clock, in milliseconds.
    fn now(&self) -> u32;

    /// Returns whether the active set of [`Filters::destinations`](crate::Filters::destinations) contains
    /// `destination`.
    fn answers_for(&self, destination: AddressBits) -> bool;

    /// Returns whether the host itself has a TCP connection between these endpoints. The source is the remote endpoint.
    fn has_connection<I: Ip>(&self, ends: &FourTuple<I>) -> bool;

    /// Calls [`Segment::handle_post_handshake`]. The host may resize the frame through another view, so the caller must
    /// not use `frame` afterwards.
    fn handle_post_handshake<I: Ip, F: Frame>(
        &self,
        frame: &mut F,
        segment: Segment<I>,
        isn_base: u32,
        policy: &Policy<Self>,
    ) -> Option<Verdict>;

    /// Parses the TCP options in `span`.
    #[inline(always)]
    fn parse_options<F: Frame>(&self, frame: &mut F, span: Span) -> SynOptions {
        SynOptions::parse(frame, span)
    }

    /// Returns the sum of a span of at most [`Sum::MAX_LENGTH`] bytes for a checksum, or `None` if the span exceeds the
    /// accessible part of `frame`.
    #[inline(always)]
    fn sum<F: Frame>(&self, frame: &mut F, span: Span) -> Option<Sum> {
        Sum::of(frame, span)
    }

    /// Returns [`FlowLabels::label`] for the labels of the interface.
    #[inline(always)]
    fn flow_label(&self, labels: &FlowLabels, requested: u32, addresses: Sum, ports: [u8; 4]) -> u32 {
        labels.label(requested, addresses, ports)
    }

    /// Reports a client event. The client is the source of `segment`, or its destination if `is_reply`. The default
    /// implementation does nothing.
    #[inline(always)]
    fn report<I: Ip>(&self, _segment: Segment<I>, _is_reply: bool, _kind: EventKind) {}

    /// Counts a SYN to an excluded port. The default implementation does nothing.
    #[inline(always)]
    fn count_excluded_syn(&self, _port: u16) {}
}
