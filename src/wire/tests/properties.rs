//! Properties that hold for any request with any settings, and for random bytes.
//!
//! `Setup::verdict` checks replies with an independent parser. It also checks that other frames stay unchanged.

use crate::common;

use common::generator::SYSTEMS;
use common::{
    ACK, CWR, Choice, ECE, FIN, LINUX_OPTIONS, MACOS_OPTIONS, PSH, RST, Request, SYN, Setup, SynOptions, TestService,
    URG, V6, WINDOWS_OPTIONS, is_host,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tcp_bounce_wire::address::AddressBits;
use tcp_bounce_wire::address_set::AddressRange;
use tcp_bounce_wire::post_handshake::UNSCALED;
use tcp_bounce_wire::{Action, Ending, PortSet, Verdict};

fn settings() -> impl Strategy<Value = Choice> {
    let isn = number();
    let sizes = (any::<u8>(), 0..15u8, select(vec![68, 576, 1280, 1500, 9000, 65535, 100_000]));
    let chosen = (proptest::option::of(any::<u16>()), proptest::option::of(1..=u16::MAX));
    let accepted = [proptest::bool::weighted(0.9); 3];
    let host = (accepted, any::<u8>(), select(vec![(65536, u32::MAX), (65536, 32767), (1000, u32::MAX)]));
    let rest = (any::<bool>(), any::<u16>(), any::<u32>());
    (isn, sizes, chosen, host, rest).prop_map(
        |(isn, (ttl, window_scale, mtu), (window, mss), (accepted, hop_limit, space), rest)| {
            let (takeover, attach_mode, now) = rest;
            Choice {
                isn,
                key: None,
                ttl,
                hop_limit,
                window_scale,
                accepted,
                ecn: accepted[0],
                flow_labels: accepted,
                timestamp_offsets: (now ^ isn, accepted[1]),
                action: Action::Ignore,
                takeover,
                attach_mode,
                mtu,
                mtu_v6: mtu,
                space,
                mss,
                window,
                now,
                mac: None,
                primary: None,
                system: None,
            }
        },
    )
}

/// Generates settings. Some imitate another system than Linux.
fn any_settings() -> impl Strategy<Value = Choice> {
    let system = proptest::option::weighted(0.3, select(SYSTEMS.to_vec()));
    (settings(), system).prop_map(|(settings, system)| Choice { system, ..settings })
}

/// Generates sequence numbers. Some wrap when they are incremented.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => any::<u32>(), 1 => Just(u32::MAX), 1 => Just(0), 1 => Just(0xffff), 1 => Just(0xffff_0000)]
}

/// Generates IPv4 addresses that a host can have. Many of their octets are 0 or 255.
fn address() -> impl Strategy<Value = [u8; 4]> {
    let octet = || prop_oneof![any::<u8>(), Just(0), Just(255)];
    (prop_oneof![1..=126u8, 128..=223u8, 240..=254u8], octet(), octet(), octet()).prop_map(|(a, b, c, d)| [a, b, c, d])
}

fn mac() -> impl Strategy<Value = [u8; 6]> {
    any::<[u8; 6]>().prop_map(|mut mac| {
        mac[0] &= 0xfe;
        mac
    })
}

/// Generates TCP or IP options of random bytes, in whole 32-bit words.
fn options() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<[u8; 4]>(), 0..=10).prop_map(|words| words.concat())
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![4 => any::<u16>(), 1 => Just(0), 1 => Just(u16::MAX)]
}

/// Generates complete segments from one host to another, with any flags and contents.
fn request() -> impl Strategy<Value = Request> {
    let ethernet = (mac(), mac());
    let ipv4 = (any::<u8>(), any::<u16>(), select(vec![0, 0x4000, 0x8000, 0xc000]), any::<u8>(), any::<u16>());
    let hosts = (address(), address()).prop_filter("two hosts", |(source, destination)| source != destination);
    let numbers = (port(), port(), number(), number());
    let tcp = (0..16u8, any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>());
    let contents = (options(), options(), vec(any::<u8>(), 0..64), vec(any::<u8>(), 0..48));
    let request = (ethernet, ipv4, hosts, numbers, tcp, contents);
    let request = request.prop_map(|(ethernet, ipv4, hosts, numbers, tcp, contents)| Request {
        destination_mac: ethernet.0,
        source_mac: ethernet.1,
        type_of_service: ipv4.0,
        identification: ipv4.1,
        fragment: ipv4.2,
        ttl: ipv4.3,
        header_checksum: ipv4.4,
        source: hosts.0,
        destination: hosts.1,
        source_port: numbers.0,
        destination_port: numbers.1,
        sequence_number: numbers.2,
        acknowledgment_number: numbers.3,
        reserved: tcp.0,
        flags: tcp.1,
        window: tcp.2,
        checksum: tcp.3,
        urgent_pointer: tcp.4,
        ip_options: contents.0,
        options: contents.1,
        payload: contents.2,
        trailer: contents.3,
        ..Request::syn()
    });
    (request, 0..7u8).prop_map(|(request, kind)| match kind {
        0..3 => request,
        3 => request.tagged(),
        4 => request.twice_tagged(),
        5 => request.over_ipv6(),
        _ => request.over_ipv6().tagged(),
    })
}

/// Generates SYNs with random PSH, URG, ECE and CWR flags, which have no effect.
fn syn() -> impl Strategy<Value = Request> {
    (request(), any::<u8>())
        .prop_map(|(request, flags)| Request { flags: SYN | flags & (PSH | URG | ECE | CWR), ..request })
}

/// Generates an address filter: all addresses (`Some(true)`), no address (`Some(false)`), or no filter (`None`).
fn set() -> impl Strategy<Value = Option<bool>> {
    prop_oneof![2 => Just(None), 1 => Just(Some(false)), 1 => Just(Some(true))]
}

/// Generates SYNs with a common client's layout over IPv4 and IPv6, between valid and invalid addresses. Sometimes the
/// addresses are equal.
fn common_syn() -> impl Strategy<Value = Request> {
    let first = || select(vec![0, 1, 10, 127, 192, 224, 0xfd, 0xff]);
    let addresses = (first(), first(), any::<bool>(), any::<bool>());
    let odd = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let layout = select(vec![(&LINUX_OPTIONS[..], 8, 19), (&MACOS_OPTIONS, 12, 7), (&WINDOWS_OPTIONS, 0, 7)]);
    (syn(), addresses, odd, layout, any::<([u8; 4], u8)>(), any::<bool>()).prop_map(
        |(request, (source, destination, is_zero, is_loopback), (is_land, is_group), layout, (value, scale), is_v6)| {
            let (options, value_offset, scale_offset) = layout;
            let mut options = options.to_vec();
            if value_offset != 0 {
                options[value_offset..value_offset + 4].copy_from_slice(&value);
            }
            options[scale_offset] = scale;
            let mut request = Request {
                tags: Vec::new(),
                ethertype: 0x0800,
                version: 4,
                v6: None,
                ip_options: Vec::new(),
                options,
                payload: Vec::new(),
                trailer: Vec::new(),
                ..request
            };
            request.source[0] = source;
            request.destination[0] = destination;
            request.source_mac[0] |= u8::from(is_group);
            if is_zero {
                request.destination = [0; 4];
            }
            if is_land {
                request.source = request.destination;
            }
            if !is_v6 {
                return request;
            }
            let mut v6 = V6::new();
            v6.source[0] = source;
            v6.destination[0] = destination;
            if is_zero {
                v6.destination = [0; 16];
                v6.destination[15] = u8::from(is_loopback);
            }
            if is_land {
                v6.source = v6.destination;
            }
            Request { v6: Some(v6), ..request.over_ipv6() }
        },
    )
}

/// Returns the bytes with all bits inverted.
fn inverted(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

/// Damage to a frame, by accident or by an attacker.
#[derive(Clone, Debug)]
enum Damage {
    /// Replaces a byte.
    Change(Index, u8),
    /// Replaces one of the first 54 bytes: the headers of an IPv4 frame without options.
    ChangeHeader(usize, u8),
    /// Truncates the frame.
    Cut(Index),
    /// Appends bytes.
    Extend(Vec<u8>),
    /// Removes the bytes between two positions.
    Remove(Index, Index),
}

impl Damage {
    fn strategy() -> impl Strategy<Value = Self> {
        let value = || prop_oneof![any::<u8>(), Just(0), Just(0xff), (0..8u32).prop_map(|bit| 1 << bit)];
        prop_oneof![
            2 => (any::<Index>(), value()).prop_map(|(at, value)| Self::Change(at, value)),
            4 => (0..54usize, value()).prop_map(|(at, value)| Self::ChangeHeader(at, value)),
            1 => any::<Index>().prop_map(Self::Cut),
            1 => vec(any::<u8>(), 1..40).prop_map(Self::Extend),
            1 => any::<(Index, Index)>().prop_map(|(from, to)| Self::Remove(from, to)),
        ]
    }

    fn apply(self, frame: &mut Vec<u8>) {
        if frame.is_empty() {
            return;
        }
        match self {
            Self::Change(at, value) => *at.get_mut(frame) = value,
            Self::ChangeHeader(at, value) => {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            Self::Cut(length) => frame.truncate(length.index(frame.len())),
            Self::Extend(bytes) => frame.extend(bytes),
            Self::Remove(from, to) => {
                let (from, to) = (from.index(frame.len()), to.index(frame.len()));
                frame.drain(from.min(to)..from.max(to));
            }
        }
    }
}

/// Generates flags and data of later segments, and the distance of the acknowledgment number from the expected one.
fn later() -> impl Strategy<Value = (u8, Vec<u8>, u32)> {
    let flags = select(vec![ACK, ACK, ACK | PSH, ACK | FIN, ACK | RST, ACK | URG, ACK | ECE, ACK | SYN, FIN, RST]);
    let distance = prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(UNSCALED), 1 => any::<u32>()];
    (flags, vec(any::<u8>(), 0..3), distance)
}

/// Generates post-handshake actions that work with this key.
fn actions(key: Option<[u8; 16]>) -> impl Strategy<Value = (Option<[u8; 16]>, Action)> {
    let works = move |action: &Action| key.is_some() || !action.follows_client();
    select(Action::ALL.into_iter().filter(works).collect::<Vec<_>>()).prop_map(move |action| (key, action))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_each_syn_as_specified(request in syn(), settings in settings(), room in 0..8usize) {
        let frame = request.frame();
        let offer = SynOptions::of(&request.options).only(settings.accepted);
        let options = offer.taken_up(0, 0, 0).len() - 4;
        let expected = match frame.len() + room >= request.reply_length(options) {
            _ if offer.signed => Verdict::Signed,
            true => Verdict::Answered,
            false => Verdict::NoRoom,
        };
        prop_assert_eq!(Setup { room, ..Setup::new(settings) }.verdict(&frame), expected);
    }

    #[test]
    fn replies_independently_of_other_fields(request in syn(), settings in any_settings()) {
        // A signed SYN gets no reply.
        prop_assume!(!SynOptions::of(&request.options).signed);
        // None of these fields has an effect on the reply, not even on its checksum.
        let other = Request {
            // The ECN field matters to a SYN with ECE and CWR.
            type_of_service: request.type_of_service ^ 0xfc,
            identification: !request.identification,
            fragment: request.fragment ^ 0x4000,
            ttl: !request.ttl,
            header_checksum: !request.header_checksum,
            ip_options: inverted(&request.ip_options),
            acknowledgment_number: !request.acknowledgment_number,
            flags: request.flags ^ (PSH | URG),
            window: !request.window,
            checksum: !request.checksum,
            urgent_pointer: !request.urgent_pointer,
            payload: inverted(&request.payload),
            trailer: inverted(&request.trailer),
            ..request.clone()
        };
        let setup = Setup::new(settings);
        prop_assert_eq!(setup.respond(&request.frame()), setup.respond(&other.frame()));
    }

    #[test]
    fn decides_by_flags_and_acknowledgment(
        request in request(),
        settings in any_settings(),
        beyond_isn in select(vec![Some(0), Some(1), Some(2), None]),
    ) {
        let acknowledgment_number = match beyond_isn {
            Some(beyond) => settings.isn.wrapping_add(beyond),
            None => request.acknowledgment_number,
        };
        let request = Request { acknowledgment_number, ..request };
        let is_ours = acknowledgment_number == settings.isn.wrapping_add(1);
        let expected = match common::expected(request.flags, is_ours, !request.payload.is_empty(), settings.takeover) {
            Verdict::Answered if SynOptions::of(&request.options).signed => Verdict::Signed,
            expected => expected,
        };
        prop_assert_eq!(Setup::new(settings).verdict(&request.frame()), expected);
    }

    #[test]
    fn answers_the_same_on_both_paths(
        request in common_syn(),
        later in proptest::option::of(later()),
        settings in any_settings(),
        is_serving in proptest::bool::weighted(0.2),
        (key, action) in proptest::option::of(any::<[u8; 16]>()).prop_flat_map(actions),
        is_own in any::<bool>(),
        (to, from) in (set(), set()),
        is_excluded in any::<bool>(),
        is_listening in any::<bool>(),
        damage in vec(Damage::strategy(), 0..2),
    ) {
        let settings = match is_serving {
            true => Choice { key: key.or(Some([7; 16])), action: Action::Serve, ..settings },
            false => Choice { key, action, ..settings },
        };
        let service = TestService::new(b"ready\n", &[(b"", b"reply\n")], Ending::Close);
        let request = match later {
            Some((flags, payload, beyond)) => {
                let request = Request { flags, payload, ..request }.acknowledging(&settings);
                Request { acknowledgment_number: request.acknowledgment_number.wrapping_add(beyond), ..request }
            }
            None => request,
        };
        let v6 = request.v6.clone().unwrap_or_else(V6::new).destination;
        // With `others` as primary addresses, no frame takes the fast path.
        let others = (request.destination.map(|octet| !octet), v6.map(|octet| !octet));
        // A primary address is a valid host address among the destinations. All zeros stand for no address.
        let mut primary = (request.destination, v6);
        if !is_own || to == Some(false) || !is_host(&primary.0) {
            primary.0 = [0; 4];
        }
        if !is_own || to == Some(false) || !is_host(&primary.1) {
            primary.1 = [0; 16];
        }
        let mut excluded = PortSet::new();
        if is_excluded {
            excluded.insert(request.destination_port);
        }
        let [with, without] = [primary, others].map(|primary| {
            let choice = Choice { mac: Some(request.destination_mac), primary: Some(primary), ..settings };
            let setup = if is_serving { Setup::serving(service.clone(), choice) } else { Setup::new(choice) };
            let mut setup = setup.excluding_ports(excluded);
            setup.listening = is_listening.then_some(request.destination_port);
            (setup.filters_destinations, setup.filters_sources) = (to.is_some(), from.is_some());
            let (first, last) = (AddressBits { high: 0, low: 0 }, AddressBits { high: u64::MAX, low: u64::MAX });
            let every = [AddressRange { first, last }];
            let ranges = |is_full: Option<bool>| if is_full == Some(true) { &every[..] } else { &[] };
            setup.filters.destinations[0].fill(ranges(to)).expect("one range");
            setup.filters.sources.fill(ranges(from)).expect("one range");
            setup
        });
        let mut frame = request.frame();
        damage.into_iter().for_each(|damage| damage.apply(&mut frame));
        prop_assert_eq!(with.respond(&frame), without.respond(&frame));
    }

    #[test]
    fn handles_random_bytes(frame in vec(any::<u8>(), 0..200), settings in any_settings()) {
        common::assert_expected(&frame, Setup::new(settings).verdict(&frame), &settings);
    }

    #[test]
    fn handles_random_packets(
        mut frame in vec(any::<u8>(), 34..200),
        ihl in 4..16u8,
        data_offset in 4..16u8,
        short_by in 0..3usize,
        settings in any_settings(),
    ) {
        // A valid ethertype and plausible lengths let the random bytes reach deeper into the parser.
        let total_length = frame.len() - 14 - short_by;
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x40 | ihl;
        frame[16..18].copy_from_slice(&(total_length as u16).to_be_bytes());
        frame[20..22].copy_from_slice(&[0, 0]);
        frame[23] = 6;
        // With these first bytes, the MAC and IP addresses are addresses that a host can have.
        [frame[0], frame[6], frame[26], frame[30]] = [2, 2, 10, 11];
        let tcp = 14 + usize::from(ihl) * 4;
        if let Some(byte) = frame.get_mut(tcp + 12) {
            *byte = data_offset << 4;
        }
        common::assert_expected(&frame, Setup::new(settings).verdict(&frame), &settings);
    }

    #[test]
    fn answers_damaged_segments_only_if_whole(
        request in request(),
        flags in select(vec![SYN, SYN, SYN, ACK, ACK | PSH, FIN | ACK, RST]),
        damage in vec(Damage::strategy(), 1..4),
        settings in any_settings(),
    ) {
        let acknowledgment_number = settings.isn.wrapping_add(1);
        let mut frame = Request { flags, acknowledgment_number, ..request }.frame();
        damage.into_iter().for_each(|damage| damage.apply(&mut frame));
        common::assert_expected(&frame, Setup::new(settings).verdict(&frame), &settings);
    }
}
