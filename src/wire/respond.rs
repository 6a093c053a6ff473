//! Turns a packet into its reply: on the fast path, or by the steps locate, filter, classify and reply.

use crate::action::{Action, ActionSet};
use crate::address::IpAddress as _;
use crate::ethernet::{Ethernet, TaggedEthernet};
use crate::event::EventKind;
use crate::fast_path;
use crate::field::Fields;
use crate::frame::{Frame, Span};
use crate::host::{Host, SocketKind};
use crate::ip::Ip;
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::policy::Policy;
use crate::post_handshake::{ECHO_WINDOW, SegmentVariables, UNSCALED, isn_offset};
use crate::reply_options::ReplyOptions;
use crate::segment::Segment;
use crate::serve::{service_isn, service_isn_base};
use crate::service::Request;
use crate::syn_ack::SynAckFields;
use crate::syn_options::{LinuxOptions, MacosOptions, OptionLayout, SynOptions, WindowsOptions};
use crate::tcp::Tcp;
use crate::verdict::{Verdict, XdpAction};

/// Returns the verdict on `frame`, and turns `frame` into the reply if the verdict's XDP action is [`XdpAction::Tx`].
///
/// A frame that is passed to the host stays unchanged.
#[inline(always)]
pub fn respond<F: Frame, H: Host>(frame: &mut F, policy: &Policy<H>) -> Verdict {
    let (Ok(verdict) | Err(verdict)) = try_respond(frame, policy);
    verdict
}

/// Responds to `frame`, like [`respond`].
///
/// # Errors
///
/// The verdict that names the reason to leave the frame unchanged.
#[inline(always)]
fn try_respond<F: Frame, H: Host>(frame: &mut F, policy: &Policy<H>) -> Result<Verdict, Verdict> {
    if let Some(verdict) = respond_fast::<Ipv4, _, _>(frame, policy) {
        return verdict;
    }
    if let Some(verdict) = respond_fast::<Ipv6, _, _>(frame, policy) {
        return verdict;
    }
    let (ethertype, ip_offset) = Ethernet::payload(frame).ok_or(Verdict::Malformed)?;
    match ethertype {
        Ipv4::ETHERTYPE => respond_over::<Ipv4, _, _>(frame, ip_offset, policy),
        Ipv6::ETHERTYPE => respond_over::<Ipv6, _, _>(frame, ip_offset, policy),
        _ => Err(Verdict::NotIp),
    }
}

/// Responds to a plain frame. Returns `None` for a frame that has to take the general path.
#[inline(always)]
fn respond_fast<I: Ip, F: Frame, H: Host>(frame: &mut F, policy: &Policy<H>) -> Option<Result<Verdict, Verdict>> {
    let segment = fast_path::locate::<I, _, _>(frame, policy)?;
    let answered = answer_fast::<I, LinuxOptions, _, _>(segment, frame, policy)
        .or_else(|| answer_fast::<I, MacosOptions, _, _>(segment, frame, policy))
        .or_else(|| answer_fast::<I, WindowsOptions, _, _>(segment, frame, policy));
    if let Some(verdict) = answered {
        return Some(Ok(verdict));
    }
    if !fast_path::is_whole(&segment, frame) {
        return None;
    }
    if let Some(verdict) = segment.drop_fast(frame, policy) {
        return Some(Ok(verdict));
    }
    let header_length = segment.header_length(frame).ok()?;
    Some(segment.dispatch(frame, header_length, false, policy))
}

/// Answers a SYN that does not request ECN and whose options have the layout `O`, without a call. Returns `None` for
/// any other segment. Also returns `None` if the host may have a socket, if SYN-ACKs do not accept all options, or if
/// the ISN follows the client's.
#[inline(always)]
fn answer_fast<I: Ip, O: OptionLayout, F: Frame, H: Host>(
    segment: Segment<I>,
    frame: &mut F,
    policy: &Policy<H>,
) -> Option<Verdict> {
    let (segment, options) = fast_path::match_syn::<I, O, _>(segment, frame)?;
    let port = segment.tcp(frame).ok()?.destination_port.get();
    let is_simple = policy.interface.accepted_options.is_all()
        && !may_have_socket(port, policy)
        && !segment.actions(frame, policy).ok()?.any_follows_client();
    if !is_simple {
        return None;
    }
    let verdict = segment.answer_simply(frame, options, policy).ok()?;
    segment.report(verdict, Tcp::SYN, policy);
    Some(verdict)
}

/// Responds to the packet whose IP header is at `ip_offset`.
///
/// # Errors
///
/// The verdict that names the reason to leave the frame unchanged.
#[inline(always)]
fn respond_over<I: Ip, F: Frame, H: Host>(
    frame: &mut F,
    ip_offset: usize,
    policy: &Policy<H>,
) -> Result<Verdict, Verdict> {
    let skip_extensions = |frame: &mut F, next_header, offset| policy.host.skip_extensions(frame, next_header, offset);
    let segment = Segment::<I>::new(ip_offset, I::locate_tcp(frame, ip_offset, skip_extensions)?);
    let header_length = segment.header_length(frame)?;
    segment.check_addresses(frame, policy)?;
    segment.check_port(frame, policy)?;
    let is_fragment = segment.ip(frame)?.is_fragment();
    segment.dispatch(frame, header_length, is_fragment, policy)
}

impl<I: Ip> Segment<I> {
    /// Checks that the frame is unicast from another host, and that its VLAN tags and IP addresses are in scope. If
    /// [`ProgramSettings::checks_mac`](crate::ProgramSettings::checks_mac) is set, the frame must also be addressed to
    /// this interface.
    ///
    /// # Errors
    ///
    /// The first reason against an answer: `OtherVlan`, `OtherHost`, `NotUnicast`, `OtherDestination` or `OtherSource`.
    /// `Malformed` if a header is truncated.
    #[inline(always)]
    fn check_addresses<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Result<(), Verdict> {
        let Policy { features, interface, filters, host, .. } = policy;
        if features.filters_vlans() && !filters.vlans.contains(frame, self.ip_offset) {
            return Err(Verdict::OtherVlan);
        }
        let ethernet = frame.at::<Ethernet>(0).ok_or(Verdict::Malformed)?;
        if features.checks_mac() && !ethernet.destination.is(&interface.mac) {
            return Err(Verdict::OtherHost);
        }
        // The interface's own MAC address is never a group address, so no second check is needed once the destination
        // matched.
        let is_group = ethernet.source.is_group() || (!features.checks_mac() && ethernet.destination.is_group());
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source(), ip.destination());
        let is_broadcast = || filters.broadcasts.may_contain(source) && host.is_broadcast::<I>(source, policy);
        if is_group || !source.is_unicast() || !destination.is_unicast() || source == destination || is_broadcast() {
            return Err(Verdict::NotUnicast);
        }
        // Both branches could be one. With this order, the verifier checks the code after them on fewer paths.
        if features.filters_sources() {
            let checks_destination = features.filters_destinations() && !interface.is_primary::<I>(destination);
            host.check_scope(source.bits(), destination.bits(), checks_destination, policy)
        } else if features.filters_destinations() && !interface.is_primary::<I>(destination) {
            host.check_scope(source.bits(), destination.bits(), true, policy)
        } else {
            Ok(())
        }
    }

    /// Checks that the destination port is not excluded. Counts a SYN to an excluded port if ports are counted.
    ///
    /// # Errors
    ///
    /// `Excluded` if the port is excluded, `Malformed` if the TCP header is truncated.
    #[inline(always)]
    fn check_port<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Result<(), Verdict> {
        let tcp = self.tcp(frame)?;
        let port = tcp.destination_port.get();
        if !policy.filters.excluded_ports.contains(port) {
            return Ok(());
        }
        if policy.features.counts_ports() && Tcp::is_syn(tcp.flags) {
            policy.host.count_excluded_syn(port);
        }
        Err(Verdict::Excluded)
    }

    /// Handles a SYN, or a later segment of a connection that tcp-bounce accepted: answers it if its options and the
    /// post-handshake action allow an answer, and reports the client event.
    ///
    /// The first fragment of a later segment is dropped without an answer. Without its first fragment, the host never
    /// assembles the segment, and so never resets the connection.
    ///
    /// # Errors
    ///
    /// `Excluded` or `OtherTcp` if the host has a socket; `Later`, `WithoutAck`, `TakenOver`, `Fragment` or `OtherTcp`
    /// for segments without an answer; `Malformed` if a header is truncated.
    #[inline(always)]
    fn dispatch<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        header_length: usize,
        is_fragment: bool,
        policy: &Policy<H>,
    ) -> Result<Verdict, Verdict> {
        let flags = self.tcp(frame)?.flags;
        if Tcp::is_syn(flags) && !is_fragment {
            self.check_sockets(frame, policy)?;
            let verdict = if policy.features.has_style() {
                policy.host.answer_styled_syn(frame, *self, policy)
            } else {
                policy.host.answer_syn(frame, *self, policy)
            };
            self.report(verdict, flags, policy);
            Ok(verdict)
        } else if Tcp::is_ack(flags)
            && let Some(Recognised { verdict, is_answered, may_complete, isn_base }) =
                self.recognise(frame, header_length, policy)?
        {
            self.check_sockets(frame, policy)?;
            if is_fragment {
                return Err(Verdict::Later);
            }
            let completes = may_complete && self.completes_handshake(frame, policy)?;
            self.report_first_data(frame, header_length, policy)?;
            let verdict = if !is_answered {
                verdict
            } else if policy.actions.contains(Action::Serve) && self.actions(frame, policy)?.contains(Action::Serve) {
                let (verdict, fields) = policy.host.answer_request(frame, *self, isn_base, policy);
                self.render(frame, fields, policy).map_or(Verdict::NoRoomForPayload, |()| verdict)
            } else {
                policy.host.answer_later(frame, *self, isn_base, policy)
            };
            let verdict = if completes { verdict.completing_handshake() } else { verdict };
            // The handshake is complete even if the frame has no room for the banner.
            let lacks_room = completes && verdict == Verdict::NoRoomForPayload;
            self.report(if lacks_room { Verdict::Completed } else { verdict }, flags, policy);
            Ok(verdict)
        } else if policy.features.takes_over() {
            Err(Verdict::TakenOver)
        } else if is_fragment {
            Err(Verdict::Fragment)
        } else if Tcp::is_without_ack(flags) {
            self.check_sockets(frame, policy)?;
            Err(Verdict::WithoutAck)
        } else {
            Err(Verdict::OtherTcp)
        }
    }

    /// Checks that the host has no socket for this segment. Under takeover, its sockets are ignored.
    ///
    /// # Errors
    ///
    /// The verdict of [`Self::belongs_to_host`], `Malformed` if the TCP header is truncated.
    #[inline(always)]
    fn check_sockets<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Result<(), Verdict> {
        let port = self.tcp(frame)?.destination_port.get();
        if !may_have_socket(port, policy) {
            return Ok(());
        }
        policy.host.owns(frame, *self, policy).map_or(Ok(()), Err)
    }

    /// Returns the verdict on an ACK without data if it belongs to a connection that tcp-bounce accepted, and is
    /// neither answered nor reported. Returns `None` for any other segment, and if the host may have a socket.
    ///
    /// [`Self::dispatch`] gives the same verdict, in more instructions. Here, the flags and the length are constants,
    /// so the compiler leaves little of [`SegmentVariables::classify`].
    #[inline(always)]
    fn drop_fast<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Option<Verdict> {
        if policy.features.has_telemetry() || !Tcp::is_bare_ack(self.offset_and_flags(frame)?, self.span.length) {
            return None;
        }
        let actions = self.actions(frame, policy).ok()?;
        let isn_base = isn_base(self.hash(frame, policy).ok()?, actions);
        let tcp = self.tcp(frame).ok()?;
        let port = tcp.destination_port.get();
        let variables = SegmentVariables { flags: Tcp::ACK, ..SegmentVariables::new(tcp, 0) };
        match variables.classify(actions, isn_base)? {
            (verdict, None) if !may_have_socket(port, policy) => Some(verdict),
            _ => None,
        }
    }

    /// Returns the verdict on this segment if it belongs to a socket of the host, or to a listener that was closed
    /// recently. Counts a SYN to a listener if ports are counted.
    #[inline(always)]
    pub fn belongs_to_host<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Option<Verdict> {
        let Policy { features, host, .. } = policy;
        let Tcp { destination_port, flags, .. } = *self.tcp(frame).ok()?;
        let port = destination_port.get();
        match host.find_socket(&self.four_tuple(frame).ok()?) {
            Some(SocketKind::Connection) => return Some(Verdict::OtherTcp),
            Some(SocketKind::Listener) => {}
            None if host.has_closed_listener(port) => {}
            None => return None,
        }
        if features.counts_ports() && Tcp::is_syn(flags) {
            host.count_excluded_syn(port);
        }
        Some(Verdict::Excluded)
    }

    /// Reports a client event for this segment if telemetry is enabled. `verdict` and `flags` determine the kind of
    /// event.
    #[inline(always)]
    fn report<H: Host>(&self, verdict: Verdict, flags: u8, policy: &Policy<H>) {
        if policy.features.has_telemetry()
            && let Some(kind) = EventKind::of(verdict, flags)
        {
            let is_reply = verdict.action() == XdpAction::Tx;
            // A reply has no IP options or extension headers, so its TCP header directly follows the fixed IP header.
            let offset = if is_reply { self.ip_offset + size_of::<I>() } else { self.span.offset };
            let segment = Self::new(self.ip_offset, Span { offset, ..self.span });
            policy.host.report(segment, is_reply, kind);
        }
    }

    /// Reports the data of this segment if it is the first of its connection. An answer overwrites the data, so the
    /// caller reports it first.
    ///
    /// # Errors
    ///
    /// `Malformed` if a header is truncated.
    #[inline(always)]
    fn report_first_data<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        header_length: usize,
        policy: &Policy<H>,
    ) -> Result<(), Verdict> {
        if policy.features.reports_data()
            && self.span.length > header_length
            && policy.host.expects_first_data(self.id(frame)?)
        {
            policy.host.report_data(*self, header_length);
        }
        Ok(())
    }

    /// Answers this SYN, whose options are known, for a port whose action does not follow the client.
    ///
    /// # Errors
    ///
    /// `Malformed` if a header is truncated.
    #[inline(always)]
    fn answer_simply<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        options: SynOptions,
        policy: &Policy<H>,
    ) -> Result<Verdict, Verdict> {
        let Policy { actions, interface, .. } = policy;
        let advertised = interface.advertised::<I>();
        let options = ReplyOptions::for_syn(options, advertised.window_scale, || policy.host.now());
        // Hashed after the clock was read, so that the hash takes no stack during that call.
        let hash = self.hash(frame, policy)?;
        let options = options.with_timestamp_offset(timestamp_offset(hash, policy));
        let mut isn = hash as u32;
        if actions.contains(Action::Serve) && self.actions(frame, policy)?.contains(Action::Serve) {
            isn = service_isn(isn, self.tcp(frame)?.sequence_number.get(), options.has_window_scale());
        } else if actions.any_advertises_window()
            && !options.has_window_scale()
            && self.actions(frame, policy)?.any_advertises_window()
        {
            isn = isn.wrapping_add(UNSCALED);
        }
        self.open_handshake(frame, policy)?;
        let fields = SynAckFields::new(isn, advertised);
        Ok(self.write_syn_ack(frame, fields, &options, policy).map_or(Verdict::NoRoom, |()| Verdict::Answered))
    }

    /// Answers this SYN in the style of Linux, unless it is signed, and returns the verdict.
    #[inline(always)]
    pub fn answer_syn<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Verdict {
        let (Ok(verdict) | Err(verdict)) = self.try_answer_syn::<false, _, _>(frame, policy);
        verdict
    }

    /// Answers this SYN in the style of the interface, unless it is signed, and returns the verdict.
    #[inline(always)]
    pub fn answer_styled_syn<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Verdict {
        let (Ok(verdict) | Err(verdict)) = self.try_answer_syn::<true, _, _>(frame, policy);
        verdict
    }

    #[inline(always)]
    fn try_answer_syn<const IS_STYLED: bool, F: Frame, H: Host>(
        &self,
        frame: &mut F,
        policy: &Policy<H>,
    ) -> Result<Verdict, Verdict> {
        let Policy { interface, host, .. } = policy;
        // The caller has checked this length. The verifier does not know that, because it checks a global function
        // separately.
        let span = self.options(self.header_length(frame)?);
        let options = SynOptions::parse_common(frame, span);
        let options = options.unwrap_or_else(|| host.parse_options(frame, span));
        let options = options.accepted_by(interface.accepted_options);
        if options.is_signed() {
            return Ok(Verdict::Signed);
        }
        let mut advertised = *interface.advertised::<I>();
        let options = ReplyOptions::for_syn(options, advertised.window_scale, || policy.host.now());
        let hash = self.hash(frame, policy)?;
        let mut options = options.with_timestamp_offset(timestamp_offset(hash, policy));
        let actions = self.actions(frame, policy)?;
        if IS_STYLED && options.has_window_scale() {
            advertised = interface.with_scaled_window(advertised);
        }
        let mut isn = isn_base(hash, actions);
        if actions.contains(Action::Serve) {
            isn = service_isn(isn, self.tcp(frame)?.sequence_number.get(), options.has_window_scale());
        } else if actions.any_follows_client() {
            isn = isn.wrapping_add(self.tcp(frame)?.sequence_number.get());
        } else if actions.any_advertises_window() && !options.has_window_scale() {
            isn = isn.wrapping_add(UNSCALED);
        }
        if actions.contains(Action::Echo) {
            advertised = advertised.with_one_segment(ECHO_WINDOW);
            options = options.without_window_scale();
        }
        self.open_handshake(frame, policy)?;
        let ecn = self.ip(frame)?.ecn();
        let ecn = self.tcp(frame)?.requests_ecn(ecn).wrapping_neg() & interface.ecn_echo;
        let fields = SynAckFields::new(isn, &advertised).with_flags(ecn);
        if IS_STYLED {
            let written = self.write_styled_syn_ack(frame, fields, &options, policy);
            return Ok(written.map_or(Verdict::NoRoom, |()| Verdict::Answered));
        }
        Ok(self.write_syn_ack(frame, fields, &options, policy).map_or(Verdict::NoRoom, |()| Verdict::Answered))
    }

    /// Records that this SYN is answered, if telemetry is enabled.
    ///
    /// # Errors
    ///
    /// `Malformed` if a header is truncated.
    #[inline(always)]
    fn open_handshake<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Result<(), Verdict> {
        if policy.features.has_telemetry() {
            policy.host.open_handshake(self.id(frame)?);
        }
        Ok(())
    }

    /// Returns whether this segment completes an open handshake. Without telemetry, no handshakes are recorded.
    ///
    /// # Errors
    ///
    /// `Malformed` if a header is truncated.
    #[inline(always)]
    fn completes_handshake<F: Frame, H: Host>(&self, frame: &mut F, policy: &Policy<H>) -> Result<bool, Verdict> {
        Ok(policy.features.has_telemetry() && policy.host.complete_handshake(self.id(frame)?))
    }

    /// Returns the action of the destination port, as a set of at most one action.
    ///
    /// # Errors
    ///
    /// `Malformed` if the TCP header is truncated.
    #[inline(always)]
    fn actions<F: Frame, H>(&self, frame: &mut F, policy: &Policy<H>) -> Result<ActionSet, Verdict> {
        let port = self.tcp(frame)?.destination_port.get();
        let Policy { features, actions, actions_by_port, .. } = policy;
        Ok(if features.actions_vary() { actions.of_port(actions_by_port, port) } else { *actions })
    }

    /// Returns the keyed hash of the connection, for a segment from the client. With a fixed ISN, returns the ISN.
    ///
    /// # Errors
    ///
    /// `Malformed` if a header is truncated.
    #[inline(always)]
    fn hash<F: Frame, H>(&self, frame: &mut F, policy: &Policy<H>) -> Result<u64, Verdict> {
        if !policy.features.is_keyed() {
            return Ok(policy.config.isn.get().into());
        }
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source(), ip.destination());
        let ports = self.tcp(frame)?.ports();
        Ok(I::hash(policy.config.keyed_hash, source, destination, ports))
    }

    /// Recognises this segment if its sequence numbers fit a connection that tcp-bounce accepted. The segment must have
    /// ACK set and SYN clear.
    ///
    /// # Errors
    ///
    /// `Malformed` if a header is truncated.
    #[inline(always)]
    fn recognise<F: Frame, H>(
        &self,
        frame: &mut F,
        header_length: usize,
        policy: &Policy<H>,
    ) -> Result<Option<Recognised>, Verdict> {
        let actions = self.actions(frame, policy)?;
        let isn_base = isn_base(self.hash(frame, policy)?, actions);
        let variables = self.variables(frame, header_length)?;
        if actions.contains(Action::Serve) {
            let is_answered = !variables.has(Tcp::RST);
            return Ok(variables.progress(isn_base).map(|progress| {
                let may_complete = is_answered && progress.acknowledged == 1;
                Recognised { verdict: Verdict::Later, is_answered, may_complete, isn_base }
            }));
        }
        Ok(variables.classify(actions, isn_base).map(|(verdict, answer)| {
            let may_complete = variables.may_complete(actions, isn_base);
            Recognised { verdict, is_answered: answer.is_some(), may_complete, isn_base }
        }))
    }

    #[inline(always)]
    fn variables<F: Frame>(&self, frame: &mut F, header_length: usize) -> Result<SegmentVariables, Verdict> {
        Ok(SegmentVariables::new(self.tcp(frame)?, (self.span.length - header_length) as u32))
    }

    /// Turns `frame` into the answer to this segment, which [`respond`] has recognised, and returns the verdict.
    ///
    /// `isn_base` is the ISN of the SYN-ACK, or its offset from the client's ISN if the action follows the client. If
    /// the answer cannot be written, or if a part of the segment is not accessible, the segment is dropped: the host
    /// would reset a connection that it does not know.
    #[inline(always)]
    pub fn answer_later<F: Frame, H: Host>(&self, frame: &mut F, isn_base: u32, policy: &Policy<H>) -> Verdict {
        self.try_answer_later(frame, isn_base, policy).unwrap_or(Verdict::Later)
    }

    #[inline(always)]
    fn try_answer_later<F: Frame, H: Host>(&self, frame: &mut F, isn_base: u32, policy: &Policy<H>) -> Option<Verdict> {
        // The caller has classified this segment. The verifier does not know that, because it checks a global function
        // separately.
        let header_length = self.header_length(frame).ok()?;
        let actions = self.actions(frame, policy).ok()?;
        let (verdict, answer) = self.variables(frame, header_length).ok()?.classify(actions, isn_base)?;
        // A damaged segment gets no echo. The echo would carry the damaged data with a correct checksum.
        if actions.contains(Action::Echo) && !self.is_intact(frame, &policy.host)? {
            return None;
        }
        let answer = answer?;
        self.write_answer(frame, header_length, answer, policy)?;
        self.apply_style(frame, answer.sequence_number, policy)?;
        Some(verdict)
    }
}

impl<I: Ip> Segment<I> {
    /// Turns `frame` into the answer of a service to this segment, which [`respond`] has recognised. Returns the
    /// verdict, and the fields of the payload, which the caller renders. `isn_base` is the result of
    /// [`service_isn_base`].
    #[inline(always)]
    pub fn answer_request<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        isn_base: u32,
        policy: &Policy<H>,
    ) -> (Verdict, Fields) {
        self.try_answer_request(frame, isn_base, policy).unwrap_or((Verdict::Later, Fields::NONE))
    }

    #[inline(always)]
    fn try_answer_request<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        isn_base: u32,
        policy: &Policy<H>,
    ) -> Option<(Verdict, Fields)> {
        // Checked first. After a check at a variable offset, the compiler omits this check, and the verifier does not
        // know why.
        frame.at::<TaggedEthernet>(0)?;
        let header_length = self.header_length(frame).ok()?;
        let data = Span { offset: self.span.offset + header_length, length: self.span.length - header_length };
        let request = Request::read(frame, data)?;
        let service = policy.host.service::<I>(self.tcp(frame).ok()?.destination_port.get())?;
        let (verdict, answer) = self.variables(frame, header_length).ok()?.serve(service, isn_base, request)?;
        let Some(answer) = answer else { return Some((verdict, Fields::NONE)) };
        let fields = if policy.features.has_fields() { answer.payload.fields } else { Fields::NONE };
        let written = self.write_service_answer(frame, header_length, &answer, policy);
        Some(written.map_or((Verdict::NoRoomForPayload, Fields::NONE), |()| (verdict, fields)))
    }

    /// Renders the fields of the payload in the answer to this segment. Returns `None` if the frame is too short.
    #[inline(always)]
    fn render<F: Frame, H: Host>(&self, frame: &mut F, fields: Fields, policy: &Policy<H>) -> Option<()> {
        if policy.features.has_fields() && !fields.is_empty() {
            policy.host.render_fields::<I, _>(frame, self.ip_offset, fields, policy)?;
        }
        Some(())
    }
}

/// Returns whether a segment to `port` may belong to a socket of the host. Under takeover, its sockets are ignored.
#[inline(always)]
fn may_have_socket<H: Host>(port: u16, policy: &Policy<H>) -> bool {
    !policy.features.takes_over() && policy.host.may_have_socket(port)
}

/// A segment of a connection that tcp-bounce accepted.
struct Recognised {
    /// The verdict, if the segment does not complete a handshake with data.
    verdict: Verdict,
    /// Whether the segment is answered.
    is_answered: bool,
    /// Whether the segment may be the last ACK of the handshake.
    may_complete: bool,
    /// The result of [`isn_base`].
    isn_base: u32,
}

/// Returns the ISN of the SYN-ACK, given the hash of the connection. For an action that follows the client, returns the
/// offset from the client's ISN instead. With [`UNSCALED`], the ISN is larger by this number.
#[inline(always)]
const fn isn_base(hash: u64, actions: ActionSet) -> u32 {
    let isn = hash as u32;
    if actions.contains(Action::Serve) {
        service_isn_base(isn)
    } else if actions.any_follows_client() {
        isn_offset(isn)
    } else {
        isn
    }
}

/// Returns the offset of a connection's TSvals from the host's clock, given the hash of the connection.
///
/// The offset of the interface hides the time since the host booted. With a keyed ISN, the upper half of the hash makes
/// the offset differ between connections, as in Linux.
#[inline(always)]
fn timestamp_offset<H>(hash: u64, policy: &Policy<H>) -> u32 {
    let Policy { features, interface, .. } = policy;
    let own = if features.is_keyed() { (hash >> 32) as u32 & interface.connection_offset_mask } else { 0 };
    own.wrapping_add(interface.timestamp_offset)
}
