//! What happens to a packet: all policy, no kernel.

use core::marker::PhantomData;

use zerocopy::byteorder::network_endian::U32;

use crate::action::{Action, ActionByPort, ActionSet};
use crate::address_set::AddressBits;
use crate::config::{Advertised, Filters, InterfaceState, ProgramConfig};
use crate::ethernet::Ethernet;
use crate::event::EventKind;
use crate::fast_path;
use crate::frame::Frame;
use crate::ip::{Ip, Span};
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::post_handshake;
use crate::segment::{FourTuple, Segment};
use crate::syn_ack::Reply;
use crate::tcp::Tcp;
use crate::tcp_options::{Options, SynOptions};
use crate::verdict::{Verdict, XdpAction};

/// What decides about a packet besides the packet.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a, H> {
    /// What does not change.
    pub config: &'a ProgramConfig,
    /// What follows the interface.
    pub interface: &'a InterfaceState,
    /// What is answered, and what is left alone.
    pub filters: &'a Filters,
    /// What becomes of connections, where that depends on the port.
    pub actions_by_port: &'a ActionByPort,
    /// Where the logic runs.
    pub host: H,
}

/// What the logic asks of where it runs.
pub trait Host {
    /// The time for the timestamps of TCP: it runs at 1 Hz to 1 kHz (RFC 7323, 5.4).
    fn now(&self) -> u32;

    /// Whether an address is in [Filters::destinations`].
    fn serves(&self, destination: AddressBits) -> bool;

    /// Whether the host has a connection of its own with these ends, of which the source is the other host's.
    fn is_connected<I: Ip>(&self, ends: &FourTuple<I>) -> bool;

    /// [`Segment::follow_up`]. In the kernel it is a function of its own, which the verifier goes over once, and not on each
    /// way to it. It has a view of its own of the frame, so `frame` must not be used any more.
    #[inline(always)]
    fn follow<I: Ip, F: Frame>(
        &self,
        frame: &mut F,
        segment: Segment<I>,
        isn: u32,
        rules: &Policy<Self>,
    ) -> Option<Verdict>
    where
        Self: Sized,
    {
        segment.follow_up(frame, isn, rules)
    }

    /// Takes note of what the client did that sent `segment`; if `is_reply`, that of the segment to which it is the answer.
    #[inline(always)]
    fn note<I: Ip>(&self, _segment: Segment<I>, _is_reply: bool, _kind: EventKind) {}
}

/// Decides what becomes of `frame`, and turns it into the reply if there is one.
///
/// The frame is written to only if the verdict's action is [`crate::XdpAction::Tx`].
#[inline(always)]
pub fn respond<F: Frame, H: Host>(frame: &mut F, rules: &Policy<H>) -> Verdict {
    // What does not fit into the frame is malformed.
    try_respond(frame, rules).unwrap_or(Verdict::Malformed)
}

#[inline(always)]
fn try_respond<F: Frame, H: Host>(frame: &mut F, rules: &Policy<H>) -> Option<Verdict> {
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
fn express<I: Ip, F: Frame, H: Host>(frame: &mut F, rules: &Policy<H>) -> Option<Verdict> {
    let offer = fast_path::offer::<I, _, _>(frame, rules)?;
    let ip_offset = size_of::<Ethernet>();
    let span = Span { offset: ip_offset + size_of::<I>(), length: fast_path::TCP_LENGTH };
    let segment = Segment::<I> { ip_offset, span, ip: PhantomData };
    let verdict = segment.answer(frame, offer, rules)?;
    segment.note(verdict, Tcp::SYN, rules);
    Some(verdict)
}

/// Decides about the datagram at `ip_offset`.
#[inline(always)]
fn datagram<I: Ip, F: Frame, H: Host>(frame: &mut F, ip_offset: usize, rules: &Policy<H>) -> Option<Verdict> {
    match I::segment(frame, ip_offset)? {
        Ok(span) => Segment::<I> { ip_offset, span, ip: PhantomData }.respond(frame, rules),
        Err(verdict) => Some(verdict),
    }
}

impl<I: Ip> Segment<I> {
    /// Decides what becomes of `frame`, which holds this segment; `None` if it does not.
    #[inline(always)]
    fn respond<F: Frame, H: Host>(&self, frame: &mut F, rules: &Policy<H>) -> Option<Verdict> {
        let Policy { config, filters, .. } = rules;
        let header_length = self.tcp(frame)?.header_length();
        if header_length < size_of::<Tcp>() || header_length > self.span.length {
            return None;
        }
        if let Some(verdict) = self.is_for_somebody_else(frame, rules)? {
            return Some(verdict);
        }
        let tcp = self.tcp(frame)?;
        let flags = tcp.flags;
        Some(if filters.excluded_ports.contains(tcp.destination_port.get()) {
            Verdict::Excluded
        } else if Tcp::is_syn(flags) {
            let offer = self.offer(frame, header_length);
            let verdict = if config.actions.any_follows_client() {
                self.answer_following(frame, offer, rules)?
            } else {
                self.answer(frame, offer, rules)?
            };
            self.note(verdict, flags, rules);
            verdict
        } else if Tcp::is_ack(flags)
            && let Some(verdict) = self.follow(frame, header_length, rules)?
        {
            self.note(verdict, flags, rules);
            verdict
        } else if config.takeover != 0 {
            Verdict::TakenOver
        } else {
            Verdict::OtherTcp
        })
    }

    /// Has the host take note of what the client did that sent this segment with these control bits, which got `verdict`; if
    /// anybody wants to know.
    #[inline(always)]
    fn note<H: Host>(&self, verdict: Verdict, flags: u8, rules: &Policy<H>) {
        if rules.config.observes()
            && let Some(kind) = EventKind::of(verdict, flags)
        {
            let is_reply = verdict.action() == XdpAction::Tx;
            // A reply has no options of IP's, nor extension headers.
            let offset = if is_reply { self.ip_offset + size_of::<I>() } else { self.span.offset };
            let segment = Segment { span: Span { offset, ..self.span }, ..*self };
            rules.host.note(segment, is_reply, kind);
        }
    }

    /// Whether no reply may go to where this came from, or none from where it went to.
    #[inline(always)]
    fn is_for_somebody_else<F: Frame, H: Host>(&self, frame: &mut F, rules: &Policy<H>) -> Option<Option<Verdict>> {
        let Policy { config, interface, filters, host, .. } = rules;
        let ethernet = frame.at::<Ethernet>(0)?;
        if config.checks_mac != 0 && !ethernet.destination.is(&interface.mac) {
            return Some(Some(Verdict::OtherHost));
        }
        // What is for this interface's own address is for no group.
        let is_group = ethernet.source.is_group() || (config.checks_mac == 0 && ethernet.destination.is_group());
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source(), ip.destination());
        Some(if is_group || !I::is_unicast(source) || !I::is_unicast(destination) || source == destination {
            Some(Verdict::NotUnicast)
        } else if config.filters_destinations != 0
            && !I::is_primary(destination, interface)
            && !host.serves(I::number(destination))
        {
            Some(Verdict::OtherDestination)
        } else if config.filters_sources != 0 && !filters.sources.contains(I::number(source)) {
            Some(Verdict::OtherSource)
        } else {
            None
        })
    }

    /// What becomes of connections to its port.
    #[inline(always)]
    fn actions<F: Frame, H: Host>(&self, frame: &mut F, rules: &Policy<H>) -> Option<ActionSet> {
        let port = self.tcp(frame)?.destination_port.get();
        Some(rules.config.actions.of_port(rules.actions_by_port, port))
    }

    /// The ISN of our SYN-ACK in the connection that this belongs to, whose port has the mode `then`; if that follows the
    /// client, the offset of that ISN from the client's.
    #[inline(always)]
    fn isn<F: Frame, H: Host>(&self, frame: &mut F, action: ActionSet, rules: &Policy<H>) -> Option<u32> {
        if rules.config.keyed == 0 {
            return Some(rules.config.isn.get());
        }
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source(), ip.destination());
        let tcp = self.tcp(frame)?;
        let ([a, b], [c, d]) = (tcp.source_port.to_bytes(), tcp.destination_port.to_bytes());
        let hash = I::hash(rules.config.key, source, destination, [a, b, c, d]) as u32;
        Some(if action.any_follows_client() { post_handshake::isn_offset(hash) } else { hash })
    }

    /// Turns `frame`, which holds this SYN with this offer, into the SYN-ACK.
    #[inline(always)]
    fn answer<F: Frame, H: Host>(&self, frame: &mut F, offer: SynOptions, rules: &Policy<H>) -> Option<Verdict> {
        let Policy { config, interface, host, .. } = rules;
        if offer.signed() {
            return Some(Verdict::Signed);
        }
        let options = Options::new(offer, config.window_scale, || host.now());
        let isn = U32::new(self.isn(frame, config.actions, rules)?);
        let reply = Reply { isn, ttl: config.ttl, advertised: I::advertised(interface) };
        Some(self.write_syn_ack(frame, reply, &options).map_or(Verdict::NoRoom, |()| Verdict::Answered))
    }

    /// The same where some modes follow the client: a copy of its own, so that where none does, nothing is kept for it.
    #[inline(always)]
    fn answer_following<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        offer: SynOptions,
        rules: &Policy<H>,
    ) -> Option<Verdict> {
        let Policy { config, interface, host, .. } = rules;
        if offer.signed() {
            return Some(Verdict::Signed);
        }
        let mut options = Options::new(offer, config.window_scale, || host.now());
        let action = self.actions(frame, rules)?;
        let mut isn = self.isn(frame, action, rules)?;
        if action.any_follows_client() {
            isn = isn.wrapping_add(self.tcp(frame)?.sequence_number.get());
        }
        let mut advertised = *I::advertised(interface);
        if action.contains(Action::Echo) {
            advertised = Advertised::ECHO;
            options = options.without_window_scale();
        } else if action.contains(Action::Tarpit) {
            advertised = advertised.closed();
        }
        let reply = Reply { isn: U32::new(isn), ttl: config.ttl, advertised: &advertised };
        Some(self.write_syn_ack(frame, reply, &options).map_or(Verdict::NoRoom, |()| Verdict::Answered))
    }

    /// Whether this segment, which has ACK and no SYN, seems to belong to a bounced connection: if so, the verdict.
    #[inline(always)]
    fn follow<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        header_length: usize,
        rules: &Policy<H>,
    ) -> Option<Option<Verdict>> {
        let action = self.actions(frame, rules)?;
        let isn = self.isn(frame, action, rules)?;
        let is_ours = self.numbers(frame, header_length)?.judge(action, isn, 0).is_some();
        Some(if is_ours { rules.host.follow(frame, *self, isn, rules) } else { None })
    }

    /// The verdict on this segment, which seems to belong to a bounced connection whose SYN-ACK had the ISN `isn` (or that
    /// offset from the client's), if it does so. Turns `frame` into the answer, if there is one.
    #[inline(always)]
    pub fn follow_up<F: Frame, H: Host>(&self, frame: &mut F, isn: u32, rules: &Policy<H>) -> Option<Verdict> {
        let Policy { config, interface, host, .. } = rules;
        // That has been checked, but the verifier knows nothing of it here.
        let header_length = self.tcp(frame)?.header_length();
        if header_length < size_of::<Tcp>() || header_length > self.span.length {
            return None;
        }
        let action = self.actions(frame, rules)?;
        let window = I::advertised(interface).window.get();
        let (verdict, answer) = self.numbers(frame, header_length)?.judge(action, isn, window)?;
        if host.is_connected(&self.four_tuple(frame)?) {
            return None;
        }
        let Some(answer) = answer else { return Some(verdict) };
        // What was damaged on the way would come back as if it were not.
        if action.contains(Action::Echo) && !self.is_intact(frame)? {
            return Some(Verdict::Later);
        }
        let options = Options::of_later(frame, self.options(header_length));
        // What cannot be answered is not passed: the host knows nothing of the connection, and would reset it.
        Some(self.write_answer(frame, header_length, answer, &options, config).map_or(Verdict::Later, |()| verdict))
    }
}
