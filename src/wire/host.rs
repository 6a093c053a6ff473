//! The interface between the packet logic and the host on which it runs: the kernel, or a test.

use crate::address::AddressBits;
use crate::checksum::Sum;
use crate::event::EventKind;
use crate::field::Fields;
use crate::flow_label::FlowLabels;
use crate::frame::{Frame, Span};
use crate::ip::Ip;
use crate::ipv6::skip_extensions;
use crate::policy::Policy;
use crate::render::{render_field, render_fields};
use crate::segment::{FourTuple, Segment};
use crate::service::{Block, Payload, Service};
use crate::syn_options::SynOptions;
use crate::verdict::Verdict;

/// A TCP socket of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// A listening socket.
    Listener,
    /// Any other socket: connecting, connected, closing, or in TIME_WAIT.
    Connection,
}

/// The services of the host that the packet logic uses.
///
/// In the kernel, most methods call a global function of the XDP program. The verifier checks a global function once,
/// for any arguments. It would check inlined code on each path.
pub trait Host: Sized {
    /// Returns the current value of the timestamp clock, in milliseconds.
    fn now(&self) -> u32;

    /// Returns whether the host may have a TCP socket on `port` ([`LocalPorts::may_contain`](crate::LocalPorts)).
    fn may_have_socket(&self, port: u16) -> bool;

    /// Returns whether a listener on `port` was closed recently
    /// ([`LocalPorts::has_closed_listener`](crate::LocalPorts)).
    fn has_closed_listener(&self, port: u16) -> bool;

    /// Finds the host's TCP socket for a segment between these endpoints. The source is the remote endpoint.
    fn find_socket<I: Ip>(&self, ends: &FourTuple<I>) -> Option<SocketKind>;

    /// Calls [`Segment::belongs_to_host`].
    #[inline(always)]
    fn owns<I: Ip, F: Frame>(&self, frame: &mut F, segment: Segment<I>, policy: &Policy<Self>) -> Option<Verdict> {
        segment.belongs_to_host(frame, policy)
    }

    /// Records that the SYN of the connection with this [`Segment::id`] is answered. The default implementation does
    /// nothing.
    #[inline(always)]
    fn open_handshake(&self, _id: u64) {}

    /// Returns whether the connection with this [`Segment::id`] has an open handshake, and completes it. The default
    /// implementation knows no handshakes.
    #[inline(always)]
    fn complete_handshake(&self, _id: u64) -> bool {
        false
    }

    /// Returns whether the next data of the connection with this [`Segment::id`] is its first, and forgets the
    /// connection. The default implementation knows no connections.
    #[inline(always)]
    fn expects_first_data(&self, _id: u64) -> bool {
        false
    }

    /// Calls [`Segment::answer_syn`]. The host may resize the frame through another view, so the caller must not use
    /// `frame` afterwards.
    #[inline(always)]
    fn answer_syn<I: Ip, F: Frame>(&self, frame: &mut F, segment: Segment<I>, policy: &Policy<Self>) -> Verdict {
        segment.answer_syn(frame, policy)
    }

    /// Calls [`Segment::answer_styled_syn`]. The host may resize the frame through another view, so the caller must not
    /// use `frame` afterwards.
    #[inline(always)]
    fn answer_styled_syn<I: Ip, F: Frame>(&self, frame: &mut F, segment: Segment<I>, policy: &Policy<Self>) -> Verdict {
        segment.answer_styled_syn(frame, policy)
    }

    /// Calls [`Segment::answer_later`]. The host may resize the frame through another view, so the caller must not use
    /// `frame` afterwards.
    #[inline(always)]
    fn answer_later<I: Ip, F: Frame>(
        &self,
        frame: &mut F,
        segment: Segment<I>,
        isn_base: u32,
        policy: &Policy<Self>,
    ) -> Verdict {
        segment.answer_later(frame, isn_base, policy)
    }

    /// Calls [`Segment::answer_request`]. The host may resize the frame through another view, so the caller must not
    /// use `frame` afterwards, except for [`Host::render_fields`].
    #[inline(always)]
    fn answer_request<I: Ip, F: Frame>(
        &self,
        frame: &mut F,
        segment: Segment<I>,
        isn_base: u32,
        policy: &Policy<Self>,
    ) -> (Verdict, Fields) {
        segment.answer_request(frame, isn_base, policy)
    }

    /// Returns the service of `port` for clients of this IP version. The default implementation has no services.
    #[inline(always)]
    fn service<I: Ip>(&self, _port: u16) -> Option<&Service> {
        None
    }

    /// Returns the block of payloads with this index. The default implementation has no payloads.
    #[inline(always)]
    fn block(&self, _index: u32) -> Option<&Block> {
        None
    }

    /// Calls [`Payload::write`] with the blocks of this host.
    #[inline(always)]
    fn write_payload<F: Frame>(&self, frame: &mut F, start: usize, payload: Payload) -> Option<()> {
        payload.write(frame, start, |index| self.block(index))
    }

    /// Calls [`render_fields`].
    #[inline(always)]
    fn render_fields<I: Ip, F: Frame>(
        &self,
        frame: &mut F,
        ip_offset: usize,
        fields: Fields,
        policy: &Policy<Self>,
    ) -> Option<()> {
        render_fields::<I, F>(frame, ip_offset, fields, |frame, field| {
            self.render_field::<I, F>(frame, ip_offset, field, policy)
        })
    }

    /// Calls [`render_field`].
    #[inline(always)]
    fn render_field<I: Ip, F: Frame>(
        &self,
        frame: &mut F,
        ip_offset: usize,
        field: (usize, u16),
        policy: &Policy<Self>,
    ) -> Option<Sum> {
        render_field::<I, F>(frame, ip_offset, field, policy.config)
    }

    /// Calls [`Filters::check_scope`](crate::Filters::check_scope).
    #[inline(always)]
    fn check_scope(
        &self,
        source: AddressBits,
        destination: AddressBits,
        checks_destination: bool,
        policy: &Policy<Self>,
    ) -> Result<(), Verdict> {
        policy.filters.check_scope(source, destination, checks_destination, policy.features)
    }

    /// Returns whether [`Filters::broadcasts`](crate::Filters::broadcasts) contains `address`.
    #[inline(always)]
    fn is_broadcast<I: Ip>(&self, address: I::Address, policy: &Policy<Self>) -> bool {
        policy.filters.broadcasts.contains(address)
    }

    /// Calls [`skip_extensions`].
    #[inline(always)]
    fn skip_extensions<F: Frame>(&self, frame: &mut F, next_header: u8, offset: usize) -> Result<(u8, usize), Verdict> {
        skip_extensions(frame, next_header, offset)
    }

    /// Parses the TCP options in `span`.
    #[inline(always)]
    fn parse_options<F: Frame>(&self, frame: &mut F, span: Span) -> SynOptions {
        SynOptions::parse(frame, span, SynOptions::NONE)
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

    /// Reports the data of `segment`, the first of its connection. `header_length` is the length of the TCP header with
    /// options, in bytes. The default implementation does nothing.
    #[inline(always)]
    fn report_data<I: Ip>(&self, _segment: Segment<I>, _header_length: usize) {}

    /// Counts a SYN to an excluded port. The default implementation does nothing.
    #[inline(always)]
    fn count_excluded_syn(&self, _port: u16) {}
}
