//! Writes a reply over the segment that it answers.

use core::mem::swap;

use zerocopy::byteorder::network_endian::{U16, U32};

use crate::address::Ipv6Address;
use crate::checksum::Sum;
use crate::ethernet::Ethernet;
use crate::frame::{Frame, Span};
use crate::host::Host;
use crate::ip::{CONGESTION, Ip, PROTOCOL_TCP};
use crate::policy::Policy;
use crate::post_handshake::{Answer, MAX_ECHO};
use crate::reply_options::ReplyOptions;
use crate::segment::Segment;
use crate::syn_ack::{SynAck, SynAckFields};
use crate::tcp::{Tcp, ports};
use crate::tcp_options::NOP;

// `write_checksum` sums an answer and the IP addresses before it as one span.
const _: () = assert!(2 * size_of::<Ipv6Address>() + Tcp::MAX_LENGTH + MAX_ECHO as usize <= Sum::MAX_LENGTH);

impl<I: Ip> Segment<I> {
    /// Writes the SYN-ACK over this SYN. Returns `None` if the frame has no room for it.
    #[inline(always)]
    pub fn write_syn_ack<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        mut fields: SynAckFields,
        options: &ReplyOptions,
        policy: &Policy<H>,
    ) -> Option<()> {
        let options_offset = self.ip_offset + size_of::<SynAck<I>>();
        let ip = self.ip(frame).ok()?;
        let (source, destination) = (ip.source(), ip.destination());
        // Copied first. After IP options or extension headers, the TCP header may lie beyond the new end of the frame.
        let tcp = *self.tcp(frame).ok()?;
        let Policy { interface, host, .. } = policy;
        fit(frame, self.end(), options_offset + options.length())?;
        swap_macs(frame)?;
        let reply: &mut SynAck<I> = frame.at(self.ip_offset)?;
        if I::HAS_FLOW_LABEL {
            let (requested, addresses) = (reply.ip.flow_label(), I::sum(source) + I::sum(destination));
            fields.flow_label = host.flow_label(&interface.flow_labels, requested, addresses, tcp.ports());
        }
        *reply = SynAck::<I>::new(fields, source, destination, &tcp, options);
        options.write(frame, options_offset)
    }

    /// Writes `answer` over this segment. The segment is at least as long as its answer.
    ///
    /// `header_length` is the length of this segment's TCP header with options, in bytes. Returns `None` if bytes to
    /// read or write lie outside the accessible part of the frame. Also returns `None` if the answer needs a TCP header
    /// of more than 60 bytes.
    #[inline(always)]
    pub fn write_answer<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        header_length: usize,
        answer: Answer,
        policy: &Policy<H>,
    ) -> Option<()> {
        let options = ReplyOptions::for_later_segment(frame, self.options(header_length), &policy.host);
        let tcp_offset = self.ip_offset + size_of::<I>();
        let options_offset = tcp_offset + size_of::<Tcp>();
        let options_end = options_offset + options.length();
        // The mask gives the verifier an upper bound for the length.
        let payload = (answer.echo_length & (MAX_ECHO.next_power_of_two() - 1)) as usize;
        // Echoed data stays in place. NOPs fill the space of options that the reply omits, including IP options.
        let payload_offset = if payload > 0 { self.span.offset + header_length } else { options_end };
        let data_offset = payload_offset - tcp_offset;
        if data_offset > Tcp::MAX_LENGTH {
            return None;
        }
        // Copied first. After IP options or extension headers, the TCP header may lie beyond the new end of the frame.
        let Tcp { source_port, destination_port, sequence_number, .. } = *self.tcp(frame).ok()?;
        let received = answer.acknowledgment_number.wrapping_sub(sequence_number.get());
        let (windows, scale) = policy.interface.receive_windows::<I>();
        let window = answer.window.field(windows, scale, options.has_timestamps(), received);
        let length = data_offset + payload;
        let end = tcp_offset + length;
        if payload == 0 {
            fit(frame, self.end(), end)?;
        } else {
            fit_echo(frame, payload_offset + payload, end)?;
        }

        swap_macs(frame)?;
        let flow_label = self.flow_label(frame, ports(source_port, destination_port), policy)?;
        let ip: &mut I = frame.at(self.ip_offset)?;
        // Linux echoes the marks of segments with data.
        let is_congested = ip.ecn() == CONGESTION && self.span.length > header_length && answer.flags & Tcp::RST == 0;
        let ecn_echo = if is_congested { policy.interface.ecn_echo } else { 0 };
        let ttl = policy.interface.advertised::<I>().ttl;
        *ip = I::reply(ip.destination(), ip.source(), length as u16, ttl, flow_label);
        *frame.at(tcp_offset)? = Tcp {
            source_port: destination_port,
            destination_port: source_port,
            sequence_number: U32::new(answer.sequence_number),
            acknowledgment_number: U32::new(answer.acknowledgment_number),
            data_offset: (data_offset as u8 / 4) << 4,
            flags: answer.flags | ecn_echo,
            window: U16::new(window),
            checksum: [0; 2],
            urgent_pointer: U16::new(0),
        };
        options.write(frame, options_offset)?;
        pad(frame, options_end, payload_offset)?;
        write_checksum::<I, _, _>(frame, Span { offset: tcp_offset, length }, &policy.host)
    }

    /// Returns the flow label of the reply to this segment with these ports, or 0 over IPv4. Returns `None` if the IP
    /// header is not accessible.
    #[inline(always)]
    pub(crate) fn flow_label<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        ports: [u8; 4],
        policy: &Policy<H>,
    ) -> Option<u32> {
        if !I::HAS_FLOW_LABEL {
            return Some(0);
        }
        // The addresses are the last fields of the IP header. A call takes less stack than a sum of both addresses
        // here.
        let length = 2 * size_of::<I::Address>();
        let addresses = policy.host.sum(frame, Span { offset: self.ip_offset + size_of::<I>() - length, length })?;
        let requested = self.ip(frame).ok()?.flow_label();
        Some(policy.host.flow_label(&policy.interface.flow_labels, requested, addresses, ports))
    }

    /// Returns whether the TCP checksum is correct, or `None` if part of the segment is not accessible.
    ///
    /// A checksum of the pseudo-header alone is also accepted. Linux leaves the rest to the NIC (`CHECKSUM_PARTIAL`),
    /// and a segment within one machine reaches no NIC. Any other segment longer than [`Sum::MAX_LENGTH`] bytes seems
    /// damaged, because [`Sum::of`] skips part of it.
    #[inline(always)]
    pub fn is_intact<F: Frame, H: Host>(&self, frame: &mut F, host: &H) -> Option<bool> {
        let ip = self.ip(frame).ok()?;
        let addresses = I::sum(ip.source()) + I::sum(ip.destination());
        let pseudo_header = addresses.word([0, PROTOCOL_TCP]).word((self.span.length as u16).to_be_bytes());
        let checksum = self.tcp(frame).ok()?.checksum;
        if checksum == pseudo_header.fold().to_ne_bytes() {
            return Some(true);
        }
        let sum = pseudo_header + host.sum(frame, self.span)?;
        Some(sum.fold() == u16::MAX)
    }
}

/// Fills in the checksum of the TCP segment in `span`. The IP addresses must directly precede the segment, and the
/// checksum field must be zero.
///
/// Returns `None` if a part of the segment is not accessible.
#[inline(always)]
fn write_checksum<I: Ip, F: Frame, H: Host>(frame: &mut F, Span { offset, length }: Span, host: &H) -> Option<()> {
    // The sum starts at the IP addresses, which belong to the pseudo-header.
    let addresses = 2 * size_of::<I::Address>();
    let sum = host.sum(frame, Span { offset: offset - addresses, length: addresses + length })?;
    let checksum = sum.word([0, PROTOCOL_TCP]).word((length as u16).to_be_bytes()).checksum();
    frame.at::<Tcp>(offset)?.checksum = checksum;
    Some(())
}

/// Swaps the MAC addresses, so that the frame goes back to its sender. Returns `None` if the frame is too short.
#[inline(always)]
pub fn swap_macs<F: Frame>(frame: &mut F) -> Option<()> {
    let ethernet = frame.at::<Ethernet>(0)?;
    swap(&mut ethernet.source, &mut ethernet.destination);
    Some(())
}

/// Fills the TCP options between two offsets in the frame with NOPs. Returns `None` if the frame is too short.
#[inline(always)]
fn pad<F: Frame>(frame: &mut F, from: usize, to: usize) -> Option<()> {
    type Word = [u8; 4];
    for index in 0..(Tcp::MAX_LENGTH - size_of::<Tcp>()) / size_of::<Word>() {
        let offset = from + index * size_of::<Word>();
        if offset >= to {
            break;
        }
        *frame.at::<Word>(offset)? = [NOP; 4];
    }
    Some(())
}

/// Resizes the frame to end at offset `end`. Returns `None` if that fails, or if the echoed data is not accessible.
///
/// The echoed data ends at offset `data_end`. It must be accessible, because the checksum of the reply covers it.
#[inline(always)]
fn fit_echo<F: Frame>(frame: &mut F, data_end: usize, end: usize) -> Option<()> {
    if data_end > frame.len() {
        return None;
    }
    if frame.len() != end || frame.holds(end + 1) {
        frame.resize(end)?;
    }
    Some(())
}

/// Makes the frame of a request fit a reply frame of `length` bytes, by resizing it or by clearing leftover bytes. The
/// packet of the request ends at offset `request_end`. Returns `None` if there is no room.
///
/// If fewer than 24 bytes are left over, the frame keeps its length. Zeros replace these bytes, which receivers ignore
/// as padding (RFC 894). Zeros may also replace up to 7 bytes before them, so the reply must be written afterwards.
/// Resizing takes a helper call. On a kernel that mitigates speculation at function returns, this call costs more than
/// all other steps.
#[inline(always)]
pub fn fit<F: Frame>(frame: &mut F, request_end: usize, length: usize) -> Option<()> {
    type Word = [u8; 8];
    const WORD: usize = size_of::<Word>();
    let padding = frame.len().max(request_end).wrapping_sub(length);
    if padding == 0 {
        return Some(());
    }
    // Bytes outside the accessible part can only be removed by resizing. If the reply is longer than the request,
    // `padding` wraps to a large number, so that the frame is extended.
    if padding >= 3 * WORD || request_end > frame.len() {
        if length > frame.len() && frame.holds(frame.len() + 1) {
            return None;
        }
        return frame.resize(length);
    }
    for offset in [length, length + WORD] {
        if let Some(word) = frame.at::<Word>(offset) {
            *word = Word::default();
        }
    }
    if !padding.is_multiple_of(WORD) {
        *frame.last::<Word>()? = Word::default();
    }
    Some(())
}
