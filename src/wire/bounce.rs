//! What happens to a packet: all policy, no kernel.

use core::mem::swap;

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::addresses::Number;
use crate::config::{Config, Filters, Link};
use crate::ethernet::Ethernet;
use crate::frame::Frame;
use crate::ip::{Ip, Span};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::isn::isn;
use crate::options::{Offer, Options};
use crate::syn_ack::{Reply, SynAck};
use crate::tcp::{self, Tcp};
use crate::verdict::Verdict;

/// What decides about a packet besides the packet.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a, W> {
    /// What does not change.
    pub config: &'a Config,
    /// What follows the interface.
    pub link: &'a Link,
    /// What is answered, and what is left alone.
    pub filters: &'a Filters,
    /// Where the logic runs.
    pub world: W,
}

/// What the logic asks of where it runs.
pub trait World {
    /// The time for the timestamps of TCP: it runs at 1 Hz to 1 kHz (RFC 7323, 5.4).
    fn now(&self) -> u32;

    /// Whether an address is in [`Filters::to`].
    fn serves(&self, destination: Number) -> bool;

    /// Whether an address is in [`Filters::from`].
    fn admits(&self, source: Number) -> bool;
}

/// Decides what becomes of `frame`, and turns it into the reply if it is a SYN for us.
///
/// The frame is written to only if the verdict is [`Verdict::Answered`].
#[inline(always)]
pub fn bounce<F: Frame, W: World>(frame: &mut F, rules: &Rules<W>) -> Verdict {
    let verdict = match usual::<Ipv4, _, _>(frame, rules) {
        None => usual::<Ipv6, _, _>(frame, rules),
        verdict => verdict,
    };
    verdict.unwrap_or_else(|| unusual(frame, rules).unwrap_or(Verdict::Malformed))
}

/// Nearly every segment has no tags, IP options or extension headers: one bounds check, and all offsets are known.
#[inline(always)]
fn usual<I: Ip, F: Frame, W: World>(frame: &mut F, rules: &Rules<W>) -> Option<Verdict> {
    #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    #[repr(C)]
    struct Headers<I: Unaligned> {
        ethernet: Ethernet,
        ip: I,
        tcp: Tcp,
    }

    let Headers { ethernet, ip, tcp } = *frame.at::<Headers<I>>(0)?;
    if ethernet.ethertype.get() != I::ETHERTYPE || !ip.is_plain() {
        return None;
    }
    Some(match ip.segment(frame, size_of::<Ethernet>()) {
        Ok(span) => Segment { ethernet, ip_offset: size_of::<Ethernet>(), ip, tcp, span }.bounce(frame, rules),
        Err(verdict) => verdict,
    })
}

/// All else, header by header; `None` if a header does not fit in.
#[inline(always)]
fn unusual<F: Frame, W: World>(frame: &mut F, rules: &Rules<W>) -> Option<Verdict> {
    let ethernet = *frame.at::<Ethernet>(0)?;
    let (ethertype, ip_offset) = ethernet.payload(frame)?;
    match ethertype {
        Ipv4::ETHERTYPE => ip::<Ipv4, _, _>(frame, ethernet, ip_offset, rules),
        Ipv6::ETHERTYPE => ip::<Ipv6, _, _>(frame, ethernet, ip_offset, rules),
        _ => Some(Verdict::NotIp),
    }
}

#[inline(always)]
fn ip<I: Ip, F: Frame, W: World>(
    frame: &mut F,
    ethernet: Ethernet,
    ip_offset: usize,
    rules: &Rules<W>,
) -> Option<Verdict> {
    let ip = *frame.at::<I>(ip_offset)?;
    let span = match ip.segment(frame, ip_offset) {
        Ok(span) => span,
        Err(verdict) => return Some(verdict),
    };
    let tcp = *frame.at::<Tcp>(span.offset)?;
    Some(Segment { ethernet, ip_offset, ip, tcp, span }.bounce(frame, rules))
}

/// A TCP segment on its way from one host to another: all that the reply is made from.
struct Segment<I> {
    ethernet: Ethernet,
    /// Where the IP header begins in the frame.
    ip_offset: usize,
    ip: I,
    tcp: Tcp,
    /// Header, options and payload.
    span: Span,
}

impl<I: Ip> Segment<I> {
    /// Decides what becomes of `frame`, which holds this segment.
    #[inline(always)]
    fn bounce<F: Frame, W: World>(&self, frame: &mut F, rules: &Rules<W>) -> Verdict {
        let Rules { config, filters, .. } = rules;
        let header_length = self.tcp.header_length();
        if header_length < size_of::<Tcp>() || header_length > self.span.length {
            return Verdict::Malformed;
        }
        if let Some(verdict) = self.is_for_somebody_else(rules) {
            return verdict;
        }
        let isn = isn::<I>(config, self.ip.source(), self.ip.destination(), &self.tcp);
        if filters.spared.contains(self.tcp.destination_port.get()) {
            Verdict::Spared
        } else if self.tcp.is_syn() {
            self.answer(frame, isn, rules)
        } else if self.tcp.is_ack() && self.tcp.acknowledgment_number == tcp::next(isn) {
            if self.is_bare() { Verdict::Completed } else { Verdict::Later }
        } else if config.takeover != 0 {
            Verdict::TakenOver
        } else {
            Verdict::NotOurs
        }
    }

    /// Whether no reply may go to where this came from, or none from where it went to.
    #[inline(always)]
    fn is_for_somebody_else<W: World>(&self, rules: &Rules<W>) -> Option<Verdict> {
        let Rules { config, link, .. } = rules;
        let (source, destination) = (self.ip.source(), self.ip.destination());
        if config.own_mac != 0 && self.ethernet.destination != link.mac {
            Some(Verdict::OtherHost)
        } else if self.ethernet.source.is_group()
            || self.ethernet.destination.is_group()
            || !I::is_unicast(source)
            || !I::is_unicast(destination)
            || source == destination
        {
            Some(Verdict::NotUnicast)
        } else if config.filter_to != 0 && !rules.world.serves(I::number(destination)) {
            Some(Verdict::OtherDestination)
        } else if config.filter_from != 0 && !rules.world.admits(I::number(source)) {
            Some(Verdict::OtherSource)
        } else {
            None
        }
    }

    /// Whether this carries neither data nor the end of the connection.
    #[inline(always)]
    fn is_bare(&self) -> bool {
        self.span.length == self.tcp.header_length() && self.tcp.flags & (Tcp::FIN | Tcp::RST) == 0
    }

    /// Turns `frame`, which holds this SYN, into the SYN-ACK.
    #[inline(always)]
    fn answer<F: Frame, W: World>(&self, frame: &mut F, isn: U32, rules: &Rules<W>) -> Verdict {
        let Rules { config, link, world, .. } = rules;
        let option_bytes =
            Span { offset: self.span.offset + size_of::<Tcp>(), length: self.tcp.header_length() - size_of::<Tcp>() };
        let offer = Offer::read(frame, option_bytes);
        if offer.signed() {
            return Verdict::Signed;
        }
        let options = Options::new(offer, config.window_scale, || world.now());
        let reply = Reply { isn, ttl: config.ttl, announced: I::announced(link) };
        match self.write(frame, reply, &options) {
            Some(()) => Verdict::Answered,
            None => Verdict::NoRoom,
        }
    }

    /// Writes the SYN-ACK over this SYN; `None` if there is no room.
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, reply: Reply, options: &Options) -> Option<()> {
        let options_offset = self.ip_offset + size_of::<SynAck<I>>();
        fit(frame, self.span.offset + self.span.length, options_offset + options.length())?;
        let ethernet = frame.at::<Ethernet>(0)?;
        swap(&mut ethernet.source, &mut ethernet.destination);
        *frame.at(self.ip_offset)? =
            SynAck::<I>::new(reply, self.ip.source(), self.ip.destination(), &self.tcp, options);
        options.write(frame, options_offset)
    }
}

/// Makes `frame` hold a reply of `length` bytes, with nothing behind it of the request, whose datagram ends at
/// `request_end`.
///
/// A frame that is less than 24 bytes longer keeps its length, and what will follow the reply is cleared and becomes
/// padding, which the receiver ignores (RFC 894). To change its length takes a helper call that costs half as much as
/// all the rest.
#[inline(always)]
fn fit<F: Frame>(frame: &mut F, request_end: usize, length: usize) -> Option<()> {
    type Word = [u8; 8];
    const WORD: usize = size_of::<Word>();
    let padding = frame.len().max(request_end).wrapping_sub(length);
    if padding == 0 {
        return Some(());
    }
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
