//! The settings of a test, and the packet logic running with these settings.

use std::cell::RefCell;

use tcp_bounce_wire::address::{Ipv4Address, Ipv6Address, Mac};
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::ip::Ip;
use tcp_bounce_wire::segment::{self, FourTuple};
use tcp_bounce_wire::service::Reply;
use tcp_bounce_wire::{
    Action, ActionByPort, ActionSet, Block, Ending, EventKind, Filters, Frame, Host, InterfaceState, Isn, Payload,
    Policy, PortSet, ProgramConfig, ProgramSettings, ReplySettings, ReplyStyle, Service, SocketKind, SystemReplies,
    SystemWindow, TelemetrySettings, Verdict, XdpAction, respond,
};
use zerocopy::FromZeros as _;

use super::assertions::{assert_answer, assert_later_answer, assert_service_answer};
use super::payload::TestPayload;
use super::segment::Segment;

/// The settings on which a reply depends: options of the user, properties of the interface, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub isn: u32,
    /// The key from which the ISN is computed, or `None` for the fixed `isn`.
    pub key: Option<[u8; 16]>,
    pub ttl: u8,
    pub hop_limit: u8,
    pub window_scale: u8,
    /// Whether SYN-ACKs accept timestamps, SACK and window scaling.
    pub accepted: [bool; 3],
    /// Whether SYN-ACKs accept ECN.
    pub ecn: bool,
    /// Whether replies over IPv6 have flow labels, whether these labels are marked as stateless, and whether they
    /// reflect the client's labels.
    pub flow_labels: [bool; 3],
    /// The offset of TSvals, and whether a key adds an offset for each connection.
    pub timestamp_offsets: (u32, bool),
    /// The post-handshake action of all ports, except the ports in [`Setup::actions_by_port`].
    pub action: Action,
    pub takeover: bool,
    pub attach_mode: u16,
    pub mtu: u32,
    pub mtu_v6: u32,
    /// The space of the receive buffer, and the largest window, in bytes.
    pub space: (u32, u32),
    pub mss: Option<u16>,
    pub window: Option<u16>,
    /// The value of [`Host::now`].
    pub now: u32,
    /// The interface's MAC address, or `None` to answer frames to any unicast MAC address.
    pub mac: Option<[u8; 6]>,
    /// The primary IPv4 and IPv6 address.
    pub primary: Option<([u8; 4], [u8; 16])>,
    /// The system that replies imitate, or `None` for Linux. It replaces the settings above that it determines.
    pub system: Option<SystemReplies>,
}

impl Choice {
    pub const DEFAULT: Self = Self {
        isn: 0x7463_7062,
        key: None,
        ttl: 64,
        hop_limit: 64,
        window_scale: 7,
        accepted: [true; 3],
        ecn: true,
        flow_labels: [true, false, false],
        timestamp_offsets: (0, true),
        action: Action::Ignore,
        takeover: false,
        attach_mode: 0,
        mtu: 1500,
        mtu_v6: 1500,
        space: (65536, u32::MAX),
        mss: None,
        window: None,
        now: 0x0102_0304,
        mac: None,
        primary: None,
        system: None,
    };

    /// Returns the settings with which the program is loaded, without telemetry.
    pub fn settings(&self, filters_destinations: bool, filters_sources: bool) -> ProgramSettings {
        ProgramSettings {
            isn: self.key.map_or(Isn::Fixed(self.isn), Isn::Keyed),
            hz: 250,
            actions: ActionSet::only(self.action),
            takeover: self.takeover,
            checks_mac: self.mac.is_some(),
            filters_destinations,
            filters_sources,
            filters_vlans: false,
            has_fields: false,
            telemetry: TelemetrySettings::default(),
            style: self.replies().style,
            frags: false,
            attach_mode: self.attach_mode,
        }
    }

    /// Returns the state of the interface that the packet logic reads.
    pub fn interface(&self) -> InterfaceState {
        let link = InterfaceState::new(Mac(self.mac.unwrap_or_default()), &self.replies());
        let (v4, v6) = self.primary.unwrap_or_default();
        link.with_primary_addresses(Ipv4Address(v4), Ipv6Address(v6))
    }

    /// Returns the settings for replies.
    fn replies(&self) -> ReplySettings {
        let [has_timestamps, has_sack, has_window_scale] = self.accepted;
        let (receive_space, largest_window) = self.space;
        let [has_flow_labels, marks_flow_labels, reflects_flow_labels] = self.flow_labels;
        let (timestamp_offset, has_connection_offsets) = self.timestamp_offsets;
        let Self { ttl, hop_limit, mtu, mtu_v6, mss, window, window_scale, .. } = *self;
        let settings = ReplySettings {
            ttl,
            hop_limit,
            mtu,
            mtu_v6,
            mss,
            window,
            receive_space,
            largest_window,
            window_scale,
            has_timestamps,
            has_sack,
            has_window_scale,
            has_ecn: self.ecn,
            has_flow_labels,
            marks_flow_labels,
            reflects_flow_labels,
            seed: 0x0123_4567_89ab_cdef,
            timestamp_offset,
            has_connection_offsets,
            style: ReplyStyle::LINUX,
        };
        self.system.map_or(settings, |system| system.settings(settings))
    }

    /// Returns these settings with those that the imitated system determines.
    pub fn resolved(self) -> Self {
        let Some(system) = self.system else { return self };
        let has_others = system.has_sack_and_window_scale;
        let (window, space) = match system.window {
            SystemWindow::Fixed(window) => (Some(window), self.space),
            SystemWindow::Rounded(window) => (None, (window.into(), u32::MAX)),
        };
        Self {
            ttl: system.ttl,
            hop_limit: system.hop_limit,
            window_scale: system.window_scale,
            accepted: [system.has_timestamps, has_others, has_others],
            ecn: system.has_ecn,
            timestamp_offsets: (self.timestamp_offsets.0, system.has_connection_offsets),
            window,
            space,
            ..self
        }
    }

    /// Returns the offset of the SYN-ACK's ISN from the client's ISN, for actions that follow the client.
    pub fn offset_of(&self, tuple: &[u8]) -> u32 {
        self.isn_of(tuple) / 4 + 0x2000_0000
    }

    /// Returns the ISN of a SYN-ACK under [`Action::Serve`].
    ///
    /// The lower 29 bits are the hash. The next bit shows that there is no window scale. The upper two bits place the
    /// ISN ahead of the client's ISN by 2^29 to 2^29 + 2^30.
    pub fn service_isn(&self, tuple: &[u8], client_isn: u32, has_window_scale: bool) -> u32 {
        let base = self.isn_of(tuple) % (1 << 29) + if has_window_scale { 0 } else { 1 << 29 };
        let mut candidates = (0..4u32).map(|upper| base.wrapping_add(upper << 30));
        let is_ahead = |isn: &u32| (1 << 29..(1 << 29) + (1 << 30)).contains(&isn.wrapping_sub(client_isn));
        candidates.find(is_ahead).expect("an ISN")
    }

    /// Returns the MSS of a SYN-ACK, in bytes.
    ///
    /// It is the MSS that the user chose, if any. Otherwise it is the MTU without headers, but at least Linux's default
    /// minimum (`min_adv_mss`).
    pub fn mss(&self, is_v6: bool) -> u16 {
        let room = if is_v6 { (self.mtu_v6 - 60).max(1220) } else { (self.mtu - 40).max(256) };
        self.mss.unwrap_or(room.min(65535) as u16)
    }

    /// Returns the window of a SYN-ACK, in bytes.
    ///
    /// It is the window that the user chose, if any. Otherwise it is the total data of all full segments that fit in
    /// the space of the receive buffer, or the whole space if not even one fits, up to the largest window.
    pub fn window(&self, mss: u16, timestamps: bool) -> u16 {
        self.receive_window(mss, timestamps).min(65535) as u16
    }

    /// Returns the window of a SYN-ACK with window scaling, in bytes.
    pub fn scaled_window(&self, mss: u16, timestamps: bool) -> u16 {
        match self.system.map(|system| system.window) {
            Some(SystemWindow::Rounded(window)) => window,
            _ => self.window(mss, timestamps),
        }
    }

    /// Returns the receive window of a connection, in bytes. It may exceed the largest value of a window field.
    fn receive_window(&self, mss: u16, timestamps: bool) -> u32 {
        let payload = u32::from(mss).saturating_sub(if timestamps { 12 } else { 0 });
        let (space, largest) = self.space;
        let whole = match space.checked_div(payload) {
            None | Some(0) => space,
            Some(segments) => segments * payload,
        };
        self.window.map_or(whole.min(largest), u32::from)
    }

    /// Returns the window field in an answer of close or discard to a segment with `received` bytes, counting a FIN.
    pub fn later_window(&self, mss: u16, timestamps: bool, is_scaled: bool, received: u32) -> u16 {
        let window = self.receive_window(mss, timestamps);
        let room = if received > window / 2 { window } else { window - received };
        let unit = if is_scaled { 1 << self.window_scale } else { 1 };
        room.div_ceil(unit).min(65535) as u16
    }

    /// Returns the TSval of a SYN-ACK of the connection with these addresses and ports.
    pub fn timestamp(&self, tuple: &[u8]) -> u32 {
        self.now.wrapping_add(self.timestamp_offset(tuple))
    }

    /// Returns the offset of the TSvals of this connection from the clock.
    pub fn timestamp_offset(&self, tuple: &[u8]) -> u32 {
        let (offset, of_connections) = self.timestamp_offsets;
        let of_connections = self.system.map_or(of_connections, |system| system.has_connection_offsets);
        let own = self.key.filter(|_| of_connections).map_or(0, |key| hash(key, tuple) >> 32);
        offset.wrapping_add(own as u32)
    }

    /// Returns the ISN for the connection with these addresses and ports. The siphasher crate computes a keyed ISN.
    pub fn isn_of(&self, tuple: &[u8]) -> u32 {
        self.key.map_or(self.isn, |key| hash(key, tuple) as u32)
    }
}

/// Returns the keyed hash of a connection.
fn hash(key: [u8; 16], tuple: &[u8]) -> u64 {
    siphasher::sip::SipHasher13::new_with_key(&key).hash(tuple)
}

/// The settings, filters and connections of a test.
#[derive(Clone, Debug)]
pub struct Setup {
    pub settings: Choice,
    pub filters: Box<Filters>,
    /// Ports with a post-handshake action other than `settings.action`.
    pub actions_by_port: Vec<(u16, Action)>,
    /// The client port of the host's own connections.
    pub connected: Option<u16>,
    /// The port of the host's listener.
    pub listening: Option<u16>,
    /// The port of a listener that was closed recently.
    pub closed: Option<u16>,
    /// Whether [`Host::may_have_socket`] is true for every port.
    pub tracks_no_sockets: bool,
    pub filters_destinations: bool,
    pub filters_sources: bool,
    pub filters_vlans: bool,
    pub telemetry: TelemetrySettings,
    /// Whether every connection has an open handshake, for [`Host::complete_handshake`].
    pub has_open_handshake: bool,
    /// The number of bytes by which a frame can grow.
    pub room: usize,
    /// The service of all ports, for [`Action::Serve`].
    pub service: Option<TestService>,
}

/// A service, and the table of its payloads.
#[derive(Clone, Debug)]
pub struct TestService {
    /// The service for clients over IPv4, and over IPv6. Without fields, both are equal.
    pub services: [Service; 2],
    pub blocks: Vec<Block>,
    /// Whether a payload has fields.
    pub has_fields: bool,
}

impl TestService {
    /// Returns a service that sends `banner`, and answers each prefix in `replies` with a payload.
    pub fn new(banner: &[u8], replies: &[(&[u8], &[u8])], ending: Ending) -> Self {
        let replies: Vec<_> = replies.iter().map(|&(prefix, payload)| (prefix, payload.into())).collect();
        Self::rendering(&banner.into(), &replies, ending)
    }

    /// Returns a service like [`Self::new`], whose payloads may have fields.
    pub fn rendering(banner: &TestPayload, replies: &[(&[u8], TestPayload)], ending: Ending) -> Self {
        let has_fields = banner.has_fields() || replies.iter().any(|(_, payload)| payload.has_fields());
        let mut blocks = Vec::new();
        let services = [false, true].map(|is_v6| {
            let mut add = |payload: &TestPayload| {
                let first = blocks.len() as u32;
                let (bytes, fields) = payload.stored(is_v6);
                blocks.extend(Block::split(&bytes));
                Payload::new(&bytes, fields, first)
            };
            let banner = add(banner);
            let replies: Vec<Reply> =
                replies.iter().map(|(prefix, payload)| Reply::new(prefix, &[0xff; 8], add(payload))).collect();
            Service::new(banner, &replies, ending)
        });
        Self { services, blocks, has_fields }
    }
}

impl Setup {
    /// Returns a setup without filters, and with enough room for any reply.
    pub fn new(settings: Choice) -> Self {
        let filters = Filters::new_box_zeroed().expect("memory");
        Self {
            settings,
            filters,
            actions_by_port: Vec::new(),
            connected: None,
            listening: None,
            closed: None,
            tracks_no_sockets: false,
            filters_destinations: false,
            filters_sources: false,
            filters_vlans: false,
            telemetry: TelemetrySettings::default(),
            has_open_handshake: false,
            room: 64,
            service: None,
        }
    }

    /// Returns a setup in which all ports have `service`, with a keyed ISN.
    pub fn serving(service: TestService, settings: Choice) -> Self {
        let key = settings.key.or(Some([7; 16]));
        let settings = Choice { action: Action::Serve, key, ..settings };
        Self { room: 2048, service: Some(service), ..Self::new(settings) }
    }

    /// Returns this setup with the given excluded ports.
    pub fn excluding_ports(mut self, excluded: PortSet) -> Self {
        self.filters.excluded_ports = excluded;
        self
    }

    /// Returns a setup with the default settings.
    pub fn standard() -> Self {
        Self::new(Choice::DEFAULT)
    }

    /// Returns a setup with the default settings and takeover.
    pub fn takeover() -> Self {
        Self::new(Choice { takeover: true, ..Choice::DEFAULT })
    }

    /// Returns setups with the default settings, without and with takeover.
    pub fn both() -> [Self; 2] {
        [Self::standard(), Self::takeover()]
    }

    /// Returns the settings with which the program is loaded.
    pub fn settings(&self) -> ProgramSettings {
        let settings = self.settings.settings(self.filters_destinations, self.filters_sources);
        ProgramSettings {
            filters_vlans: self.filters_vlans,
            has_fields: self.service.as_ref().is_some_and(|service| service.has_fields),
            telemetry: self.telemetry,
            actions: self.actions_by_port.iter().fold(settings.actions, |modes, &(_, action)| modes.with(action)),
            ..settings
        }
    }

    /// Returns the table with the action of each port.
    pub fn actions_by_port(&self) -> Box<ActionByPort> {
        let mut by_port = Box::new(ActionByPort::new());
        if self.settings.action != Action::Ignore {
            (0..=u16::MAX).for_each(|port| by_port.set(port, self.settings.action));
        }
        self.actions_by_port.iter().for_each(|&(port, action)| by_port.set(port, action));
        by_port
    }

    /// Returns the action of `port`.
    pub fn action(&self, port: u16) -> Action {
        self.actions_by_port.iter().find(|(own, _)| *own == port).map_or(self.settings.action, |&(_, action)| action)
    }

    /// Runs the packet logic on `frame`, without checking the result.
    pub fn run(&self, frame: &mut impl Frame) -> Verdict {
        self.run_and_count(frame).0
    }

    /// Runs the packet logic on `frame`. Returns the verdict, and the ports of counted SYNs to excluded ports.
    pub fn run_and_count(&self, frame: &mut impl Frame) -> (Verdict, Vec<u16>) {
        let (verdict, host) = self.run_on_host(frame);
        (verdict, host.excluded_syns.into_inner())
    }

    /// Runs the packet logic on `frame`. Returns the verdict and the reported client events.
    pub fn run_and_report(&self, frame: &mut impl Frame) -> (Verdict, Vec<EventKind>) {
        let (verdict, host) = self.run_on_host(frame);
        (verdict, host.events.into_inner())
    }

    fn run_on_host(&self, frame: &mut impl Frame) -> (Verdict, TestHost<'_>) {
        let config = ProgramConfig::new(self.settings());
        let host = TestHost { setup: self, excluded_syns: RefCell::default(), events: RefCell::default() };
        static NONE: ActionByPort = ActionByPort::new();
        let by_port = (!self.actions_by_port.is_empty()).then(|| self.actions_by_port());
        let actions_by_port = by_port.as_deref().unwrap_or(&NONE);
        let interface = &self.settings.interface();
        let policy = Policy::new(&config, interface, &self.filters, actions_by_port, host);
        let verdict = respond(frame, &policy);
        (verdict, policy.host)
    }

    /// Returns the verdict on `frame`, with the checks of [`Self::respond`].
    pub fn verdict(&self, frame: &[u8]) -> Verdict {
        self.respond(frame).0
    }

    /// Returns the verdict on `frame` and the resulting frame, and checks the invariants of all tests:
    ///
    /// - Memory after the frame has no effect and stays unchanged.
    /// - A frame that is not answered stays unchanged.
    /// - An answer passes [`assert_answer`] or [`assert_later_answer`].
    pub fn respond(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let outcome = self.respond_before_junk(frame, 0xa5);
        assert_eq!(outcome, self.respond_before_junk(frame, 0x5a), "the memory after the frame has an effect");
        let (verdict, result) = outcome;
        match (verdict, verdict.action()) {
            (Verdict::Answered, _) => {
                let port = Segment::parse(frame).map(|segment| segment.tcp.destination_port());
                let settings = Choice { action: self.action(port.unwrap_or_default()), ..self.settings };
                assert_answer(frame, &result, &settings);
            }
            (_, XdpAction::Tx) => {
                let port = Segment::parse(frame).map(|segment| segment.tcp.destination_port());
                let settings = Choice { action: self.action(port.unwrap_or_default()), ..self.settings };
                if settings.action == Action::Serve {
                    assert_service_answer(frame, &result, &settings);
                } else {
                    assert_later_answer(frame, &result, &settings);
                }
            }
            // A frame that is dropped may be changed.
            (Verdict::NoRoomForPayload, _) => {}
            _ => assert_eq!(frame, result, "not answered ({verdict:?}), but changed"),
        }
        (verdict, result)
    }

    /// Returns the verdict on `frame` and the resulting frame. Bytes of value `junk` fill the memory after the frame.
    fn respond_before_junk(&self, frame: &[u8], junk: u8) -> (Verdict, Vec<u8>) {
        let mut bytes = frame.to_vec();
        bytes.resize(frame.len() + self.room, junk);
        let mut buffer = Buffer::new(&mut bytes, frame.len());
        let verdict = self.run(&mut buffer);
        let length = buffer.len();
        let behind = &bytes[frame.len().max(length)..];
        assert!(behind.iter().all(|&byte| byte == junk), "{verdict:?} wrote after the frame: {behind:02x?}");
        bytes.truncate(length);
        (verdict, bytes)
    }
}

/// A [`Host`] with a fixed time and the sockets of a setup.
struct TestHost<'a> {
    setup: &'a Setup,
    /// The ports of counted SYNs to excluded ports.
    excluded_syns: RefCell<Vec<u16>>,
    /// The reported client events.
    events: RefCell<Vec<EventKind>>,
}

impl Host for TestHost<'_> {
    fn now(&self) -> u32 {
        self.setup.settings.now
    }

    /// The host's own connections may use any port.
    fn may_have_socket(&self, port: u16) -> bool {
        let Setup { connected, listening, closed, tracks_no_sockets, .. } = self.setup;
        *tracks_no_sockets || connected.is_some() || [*listening, *closed].contains(&Some(port))
    }

    fn has_closed_listener(&self, port: u16) -> bool {
        self.setup.closed == Some(port)
    }

    fn find_socket<I: Ip>(&self, ends: &FourTuple<I>) -> Option<SocketKind> {
        if self.setup.connected == Some(ends.source_port.get()) {
            return Some(SocketKind::Connection);
        }
        (self.setup.listening == Some(ends.destination_port.get())).then_some(SocketKind::Listener)
    }

    fn complete_handshake(&self, _id: u64) -> bool {
        self.setup.has_open_handshake
    }

    fn report<I: Ip>(&self, _segment: segment::Segment<I>, _is_reply: bool, kind: EventKind) {
        self.events.borrow_mut().push(kind);
    }

    fn service<I: Ip>(&self, _port: u16) -> Option<&Service> {
        let [v4, v6] = &self.setup.service.as_ref()?.services;
        Some(I::choose(v4, v6))
    }

    fn block(&self, index: u32) -> Option<&Block> {
        self.setup.service.as_ref()?.blocks.get(index as usize)
    }

    fn count_excluded_syn(&self, port: u16) {
        self.excluded_syns.borrow_mut().push(port);
    }
}
