//! What happens to a packet: all policy, no kernel.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::config::Config;
use crate::ethernet::{ETHERTYPE_IPV4, Ethernet};
use crate::frame::Frame;
use crate::ipv4::{Address, Ipv4, PROTOCOL_TCP};
use crate::ports::Ports;
use crate::syn_ack::SynAck;
use crate::tcp::{self, Tcp};
use crate::verdict::Verdict;

/// Decides what becomes of `frame`, and turns it into the reply if it is a SYN for us.
///
/// The frame is written to only if the verdict is [`Verdict::Answered`].
#[inline(always)]
pub fn bounce<F: Frame>(frame: &mut F, config: &Config, spared: &Ports) -> Verdict {
    let frame_length = frame.len();
    // Nearly every segment, at the price of one bounds check, and with all offsets known.
    if let Some(headers) = frame.at::<Headers>(0)
        && headers.ethernet.ethertype.get() == ETHERTYPE_IPV4
        && headers.ipv4.version_ihl == Ipv4::VERSION_4_IHL_5
    {
        let segment = carries_tcp(&headers.ipv4, frame_length)
            .and_then(|()| Segment::new(&headers.ethernet, &headers.ipv4, &headers.tcp));
        return respond(segment, frame, config, spared);
    }
    let segment = Segment::parse(frame);
    respond(segment, frame, config, spared)
}

/// Decides what becomes of `frame`, given the segment that is in it, or the verdict if there is none.
#[inline(always)]
fn respond<F: Frame>(segment: Result<Segment, Verdict>, frame: &mut F, config: &Config, spared: &Ports) -> Verdict {
    let segment = match segment {
        Ok(segment) => segment,
        Err(verdict) => return verdict,
    };
    if spared.contains(segment.tcp.destination_port.get()) {
        Verdict::Spared
    } else if segment.tcp.is_syn() {
        match segment.answer(frame, config) {
            Some(()) => Verdict::Answered,
            None => Verdict::NoRoom,
        }
    } else if segment.tcp.is_ack() && segment.acknowledges(config) {
        if segment.is_bare() { Verdict::Completed } else { Verdict::Later }
    } else if config.takeover != 0 {
        Verdict::TakenOver
    } else {
        Verdict::NotOurs
    }
}

/// The headers of a segment without IP options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Headers {
    ethernet: Ethernet,
    ipv4: Ipv4,
    tcp: Tcp,
}

/// A TCP segment on its way from one host to another: all that the reply is made from.
struct Segment {
    /// Where the IP header begins in the frame.
    ip_offset: usize,
    source: Address,
    destination: Address,
    tcp: Tcp,
    payload_length: usize,
}

impl Segment {
    /// Reads the segment that `frame` holds, header by header, or says why there is none.
    #[inline(always)]
    fn parse<F: Frame>(frame: &mut F) -> Result<Self, Verdict> {
        let frame_length = frame.len();
        let ethernet = *frame.at::<Ethernet>(0).ok_or(Verdict::Malformed)?;
        if ethernet.ethertype.get() != ETHERTYPE_IPV4 {
            return Err(Verdict::NotIpv4);
        }
        let ipv4 = *frame.at::<Ipv4>(size_of::<Ethernet>()).ok_or(Verdict::Malformed)?;
        carries_tcp(&ipv4, frame_length)?;
        let tcp = *frame.at::<Tcp>(size_of::<Ethernet>() + ipv4.header_length()).ok_or(Verdict::Malformed)?;
        Self::new(&ethernet, &ipv4, &tcp)
    }

    /// The segment with these headers, of which the first two have been checked; or the reason why it is none.
    #[inline(always)]
    fn new(ethernet: &Ethernet, ipv4: &Ipv4, tcp: &Tcp) -> Result<Self, Verdict> {
        let total_length = ipv4.total_length.get() as usize;
        let headers_length = ipv4.header_length() + tcp.header_length();
        if tcp.header_length() < size_of::<Tcp>() || headers_length > total_length {
            return Err(Verdict::Malformed);
        }

        let (source, destination) = (ipv4.source_address, ipv4.destination_address);
        if ethernet.source.is_group()
            || ethernet.destination.is_group()
            || !source.is_unicast()
            || !destination.is_unicast()
            || source == destination
        {
            return Err(Verdict::NotUnicast);
        }
        let payload_length = total_length - headers_length;
        Ok(Self { ip_offset: size_of::<Ethernet>(), source, destination, tcp: *tcp, payload_length })
    }

    /// Whether this acknowledges our SYN-ACK, and nothing beyond it.
    #[inline(always)]
    fn acknowledges(&self, config: &Config) -> bool {
        self.tcp.acknowledgment_number == tcp::next(config.isn)
    }

    /// Whether this carries neither data nor the end of the connection.
    #[inline(always)]
    fn is_bare(&self) -> bool {
        self.payload_length == 0 && self.tcp.flags & (Tcp::FIN | Tcp::RST) == 0
    }

    /// Turns `frame`, which holds this SYN, into the SYN-ACK; `None` if it has no room for it.
    #[inline(always)]
    fn answer<F: Frame>(&self, frame: &mut F, config: &Config) -> Option<()> {
        fit(frame, self.ip_offset + size_of::<SynAck>())?;
        let ethernet = frame.at::<Ethernet>(0)?;
        core::mem::swap(&mut ethernet.source, &mut ethernet.destination);
        *frame.at(self.ip_offset)? = SynAck::new(config, self.source, self.destination, &self.tcp);
        Some(())
    }
}

/// Checks that a datagram with this header, in a frame of this length, holds a whole TCP segment.
#[inline(always)]
fn carries_tcp(ipv4: &Ipv4, frame_length: usize) -> Result<(), Verdict> {
    if !ipv4.is_version_4() || size_of::<Ethernet>() + ipv4.total_length.get() as usize > frame_length {
        Err(Verdict::Malformed)
    } else if ipv4.protocol != PROTOCOL_TCP {
        Err(Verdict::NotTcp)
    } else if ipv4.is_fragment() {
        Err(Verdict::Fragment)
    } else {
        Ok(())
    }
}

/// Makes `frame` hold a reply of `length` bytes, with nothing of the request behind it.
///
/// A frame that is less than 24 bytes longer keeps its length, and what will follow the reply is cleared and becomes
/// padding, which the receiver ignores (RFC 894). The SYN of any common system is such a frame, and to change its
/// length takes a helper call that costs half as much as all the rest.
#[inline(always)]
fn fit<F: Frame>(frame: &mut F, length: usize) -> Option<()> {
    type Word = [u8; 8];
    const WORD: usize = size_of::<Word>();
    let padding = frame.len().wrapping_sub(length);
    if padding >= 3 * WORD {
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
