//! Writes the answer of a service over the segment that it answers, and makes room for the payload.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Sum;
use crate::ethernet::TaggedEthernet;
use crate::frame::{Frame, HEADROOM};
use crate::host::Host;
use crate::ip::{CONGESTION, Ip, PROTOCOL_TCP};
use crate::policy::Policy;
use crate::reply::{fit, swap_macs};
use crate::reply_options::ReplyOptions;
use crate::segment::Segment;
use crate::serve::ServiceAnswer;
use crate::service::{MAX_PAYLOAD, Payload};
use crate::tcp::{Tcp, ports};

/// The bits of a number up to [`HEADROOM`]. As a mask, it gives the verifier an upper bound.
const HEADROOM_MASK: usize = HEADROOM.next_power_of_two() - 1;

impl<I: Ip> Segment<I> {
    /// Writes `answer` over this segment. `header_length` is the length of this segment's TCP header with options, in
    /// bytes.
    ///
    /// Returns `None` if the frame has no room for the payload, or if parts of the segment are not accessible.
    #[inline(always)]
    pub fn write_service_answer<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        header_length: usize,
        answer: &ServiceAnswer,
        policy: &Policy<H>,
    ) -> Option<()> {
        let options = ReplyOptions::for_later_segment(frame, self.options(header_length), &policy.host);
        let Tcp { source_port, destination_port, sequence_number, .. } = *self.tcp(frame).ok()?;
        let flow_label = self.flow_label(frame, ports(source_port, destination_port), policy)?;
        let received = answer.acknowledgment_number.wrapping_sub(sequence_number.get());
        let (windows, scale) = policy.interface.receive_windows::<I>();
        let window = answer.window.field(windows, scale, options.has_timestamps(), received);
        let has_data = self.span.length > header_length;
        let Payload { length, sum, .. } = answer.payload;
        let header_length = size_of::<Tcp>() + options.length();
        // The mask gives the verifier an upper bound for the length.
        let length = header_length as u16 + (length & (MAX_PAYLOAD.next_power_of_two() - 1) as u16);
        let tcp_offset = self.ip_offset + size_of::<I>();
        let end = tcp_offset + usize::from(length);
        make_room::<I, _>(frame, self.end(), end)?;
        let padded_length = answer.payload.padded_length();
        policy.host.write_payload(frame, end.checked_sub(padded_length)?, answer.payload)?;

        swap_macs(frame)?;
        let ttl = policy.interface.advertised::<I>().ttl;
        let ip: &mut I = frame.at(self.ip_offset)?;
        let ecn = ip.ecn();
        *ip = I::reply(ip.destination(), ip.source(), length, ttl, flow_label);
        let addresses = I::sum(ip.source()) + I::sum(ip.destination());
        // Linux echoes the marks of segments with data.
        let is_congested = ecn == CONGESTION && has_data && answer.flags & Tcp::RST == 0;
        let ecn_echo = if is_congested { policy.interface.ecn_echo } else { 0 };
        let header = Tcp {
            source_port: destination_port,
            destination_port: source_port,
            sequence_number: U32::new(answer.sequence_number),
            acknowledgment_number: U32::new(answer.acknowledgment_number),
            data_offset: (header_length as u8 / 4) << 4,
            flags: answer.flags | ecn_echo,
            window: U16::new(window),
            checksum: [0; 2],
            urgent_pointer: U16::new(0),
        };
        let checksum = (header.sum() + options.sum() + addresses)
            .word([0, PROTOCOL_TCP])
            .word(length.to_be_bytes())
            .word(sum)
            .checksum();
        *frame.at(tcp_offset)? = Tcp { checksum, ..header };
        self.apply_style(frame, answer.sequence_number, policy)?;
        options.write(frame, tcp_offset + size_of::<Tcp>())
    }
}

/// The headers before TCP. If there are fewer than two VLAN tags, these bytes end after the IP header.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Headers<I: Unaligned> {
    ethernet: TaggedEthernet,
    ip: I,
}

/// Makes the frame end at offset `end`, or after it with zeros as padding. The packet of the request ends at offset
/// `request_end`. Returns `None` if there is no room.
///
/// If the frame grows at its start, the Ethernet header, the VLAN tags and the fixed IP header move there.
#[inline(always)]
fn make_room<I: Ip, F: Frame>(frame: &mut F, request_end: usize, end: usize) -> Option<()> {
    if end <= frame.len() {
        return fit(frame, request_end, end);
    }
    if frame.holds(frame.len() + 1) {
        return None;
    }
    let added = frame.extend(end - frame.len())?;
    // Checked first. After a check at a variable offset, the compiler omits this check, and the verifier does not know
    // why.
    frame.at::<Headers<I>>(0)?;
    let headers = *frame.at::<Headers<I>>(added & HEADROOM_MASK)?;
    *frame.at(0)? = headers;
    Some(())
}

impl Tcp {
    /// Returns the sum of the header, for a checksum. The checksum field must be zero.
    #[inline(always)]
    fn sum(&self) -> Sum {
        let [a, b] = self.window.to_bytes();
        Sum::ZERO
            .words(self.ports())
            .words(self.sequence_number.to_bytes())
            .words(self.acknowledgment_number.to_bytes())
            .words([self.data_offset, self.flags, a, b])
    }
}
