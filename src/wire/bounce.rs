//! What happens to a packet: all policy, no kernel.

use core::marker::PhantomData;
use core::mem::swap;

use zerocopy::byteorder::network_endian::U32;

use crate::addresses::Number;
use crate::config::{Config, Filters, Link};
use crate::ethernet::Ethernet;
use crate::express;
use crate::frame::Frame;
use crate::ip::{Ip, Span};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::options::{LinuxOptions, Offer, Options};
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
}

/// Decides what becomes of `frame`, and turns it into the reply if it is a SYN for us.
///
/// The frame is written to only if the verdict is [`Verdict::Answered`].
#[inline(always)]
pub fn bounce<F: Frame, W: World>(frame: &mut F, rules: &Rules<W>) -> Verdict {
    // What does not fit into the frame is malformed.
    try_bounce(frame, rules).unwrap_or(Verdict::Malformed)
}

#[inline(always)]
fn try_bounce<F: Frame, W: World>(frame: &mut F, rules: &Rules<W>) -> Option<Verdict> {
    if let Some(verdict) = express::<Ipv4, _, _>(frame, rules).or_else(|| express::<Ipv6, _, _>(frame, rules)) {
        return Some(verdict);
    }
    let (ethertype, ip_offset) = Ethernet::payload(frame)?;
    match ethertype {
        Ipv4::ETHERTYPE => datagram::<Ipv4, _, _>(frame, ip_offset, rules),
        Ipv6::ETHERTYPE => datagram::<Ipv6, _, _>(frame, ip_offset, rules),
        _ => Some(Verdict::NotIp),
    }
}

/// The verdict on the SYN that most clients send.
#[inline(always)]
fn express<I: Ip, F: Frame, W: World>(frame: &mut F, rules: &Rules<W>) -> Option<Verdict> {
    let offer = express::offer::<I, _, _>(frame, rules)?;
    let ip_offset = size_of::<Ethernet>();
    let span = Span { offset: ip_offset + size_of::<I>(), length: express::TCP_LENGTH };
    Segment::<I> { ip_offset, span, ip: PhantomData }.answer(frame, offer, rules)
}

/// Decides about the datagram at `ip_offset`.
#[inline(always)]
fn datagram<I: Ip, F: Frame, W: World>(frame: &mut F, ip_offset: usize, rules: &Rules<W>) -> Option<Verdict> {
    match I::segment(frame, ip_offset)? {
        Ok(span) => Segment::<I> { ip_offset, span, ip: PhantomData }.bounce(frame, rules),
        Err(verdict) => Some(verdict),
    }
}

/// Where in a frame there is a TCP segment. Headers are read where they are needed: what is kept must be spilled.
struct Segment<I> {
    /// Where the IP header begins.
    ip_offset: usize,
    /// TCP header, options and payload.
    span: Span,
    ip: PhantomData<I>,
}

impl<I: Ip> Segment<I> {
    #[inline(always)]
    fn ip<'a, F: Frame>(&self, frame: &'a mut F) -> Option<&'a I> {
        frame.at(self.ip_offset).map(|ip| &*ip)
    }

    #[inline(always)]
    fn tcp<'a, F: Frame>(&self, frame: &'a mut F) -> Option<&'a Tcp> {
        frame.at(self.span.offset).map(|tcp| &*tcp)
    }

    /// Decides what becomes of `frame`, which holds this segment; `None` if it does not.
    #[inline(always)]
    fn bounce<F: Frame, W: World>(&self, frame: &mut F, rules: &Rules<W>) -> Option<Verdict> {
        let Rules { config, filters, .. } = rules;
        let header_length = self.tcp(frame)?.header_length();
        if header_length < size_of::<Tcp>() || header_length > self.span.length {
            return None;
        }
        if let Some(verdict) = self.is_for_somebody_else(frame, rules)? {
            return Some(verdict);
        }
        let tcp = self.tcp(frame)?;
        let (flags, acknowledgment_number) = (tcp.flags, tcp.acknowledgment_number);
        Some(if filters.spared.contains(tcp.destination_port.get()) {
            Verdict::Spared
        } else if Tcp::is_syn(flags) {
            let offset = self.span.offset + size_of::<Tcp>();
            let options = Span { offset, length: header_length - size_of::<Tcp>() };
            let offer = LinuxOptions::offer_at(frame, options).unwrap_or_else(|| frame.offer(options));
            return self.answer(frame, offer, rules);
        } else if Tcp::is_ack(flags) && acknowledgment_number == tcp::next(self.isn(frame, rules)?) {
            let is_bare = self.span.length == header_length && flags & (Tcp::FIN | Tcp::RST) == 0;
            if is_bare { Verdict::Completed } else { Verdict::Later }
        } else if config.takeover != 0 {
            Verdict::TakenOver
        } else {
            Verdict::NotOurs
        })
    }

    /// Whether no reply may go to where this came from, or none from where it went to.
    #[inline(always)]
    fn is_for_somebody_else<F: Frame, W: World>(&self, frame: &mut F, rules: &Rules<W>) -> Option<Option<Verdict>> {
        let Rules { config, link, filters, world } = rules;
        let ethernet = frame.at::<Ethernet>(0)?;
        if config.own_mac != 0 && !ethernet.destination.is(&link.mac) {
            return Some(Some(Verdict::OtherHost));
        }
        // What is for this interface's own address is for no group.
        let is_group = ethernet.source.is_group() || (config.own_mac == 0 && ethernet.destination.is_group());
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source(), ip.destination());
        Some(if is_group || !I::is_unicast(source) || !I::is_unicast(destination) || source == destination {
            Some(Verdict::NotUnicast)
        } else if config.filter_to != 0 && !I::is_usual(destination, link) && !world.serves(I::number(destination)) {
            Some(Verdict::OtherDestination)
        } else if config.filter_from != 0 && !filters.from.contains(I::number(source)) {
            Some(Verdict::OtherSource)
        } else {
            None
        })
    }

    /// The ISN of our SYN-ACK in the connection that this belongs to.
    #[inline(always)]
    fn isn<F: Frame, W: World>(&self, frame: &mut F, rules: &Rules<W>) -> Option<U32> {
        if rules.config.keyed == 0 {
            return Some(rules.config.isn);
        }
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source(), ip.destination());
        let tcp = self.tcp(frame)?;
        let ([a, b], [c, d]) = (tcp.source_port.to_bytes(), tcp.destination_port.to_bytes());
        Some(U32::new(I::keyed_isn(rules.config.key, source, destination, [a, b, c, d])))
    }

    /// Turns `frame`, which holds this SYN with this offer, into the SYN-ACK.
    #[inline(always)]
    fn answer<F: Frame, W: World>(&self, frame: &mut F, offer: Offer, rules: &Rules<W>) -> Option<Verdict> {
        let Rules { config, link, world, .. } = rules;
        if offer.signed() {
            return Some(Verdict::Signed);
        }
        let options = Options::new(offer, config.window_scale, || world.now());
        let reply = Reply { isn: self.isn(frame, rules)?, ttl: config.ttl, announced: I::announced(link) };
        Some(match self.write(frame, reply, &options) {
            Some(()) => Verdict::Answered,
            None => Verdict::NoRoom,
        })
    }

    /// Writes the SYN-ACK over this SYN; `None` if there is no room.
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, reply: Reply, options: &Options) -> Option<()> {
        let options_offset = self.ip_offset + size_of::<SynAck<I>>();
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source(), ip.destination());
        // With IP options it may lie where the frame will be no more.
        let tcp = *self.tcp(frame)?;
        fit(frame, self.span.offset + self.span.length, options_offset + options.length())?;
        let ethernet = frame.at::<Ethernet>(0)?;
        swap(&mut ethernet.source, &mut ethernet.destination);
        *frame.at(self.ip_offset)? = SynAck::<I>::new(reply, source, destination, &tcp, options);
        options.write(frame, options_offset)
    }
}

/// Makes `frame` hold a reply of `length` bytes, with nothing behind it of the request, whose datagram ends at
/// `request_end`.
///
/// A frame that is less than 24 bytes longer keeps its length, and what will follow the reply is cleared and becomes
/// padding, which the receiver ignores (RFC 894). To change its length takes a helper call, which costs more than all the
/// rest where calls are guarded.
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
