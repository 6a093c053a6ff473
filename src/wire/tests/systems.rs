//! Replies in the style of other operating systems: options, header fields and identifications.
//!
//! The expected values come from the descriptions of SYN-ACKs in nmap's and p0f's databases. etherparse parses the
//! replies.

use std::collections::BTreeSet;

use crate::common;

use common::{
    ACK, CWR, Choice, ECE, ETHERNET_LENGTH, FIN, LINUX_OPTIONS, MACOS_OPTIONS, PSH, RST, Request, SYN, Segment, Setup,
    SynOptions, WINDOWS_OPTIONS,
};
use etherparse::{NetSlice, TcpOptionElement};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{Action, Frame, Identification, Isn, OptionOrder, SystemReplies, Verdict, XdpAction};

/// An operating system, and the SYN-ACKs that it sends according to the databases.
#[derive(Clone, Copy)]
struct Expected {
    name: &'static str,
    system: SystemReplies,
    ttl: u8,
    dont_fragment: bool,
    accepts_ecn: bool,
    /// The windows without and with window scaling, with an MSS of 1460 bytes.
    windows: [u16; 2],
    /// The options in the answers to SYNs with each combination of options: W for window scale, S for SACK permitted, T
    /// for timestamps.
    options: [(&'static str, &'static str); 8],
}

const SYSTEMS: [Expected; 7] = [
    Expected {
        name: "Windows 10 1709",
        system: SystemReplies::WINDOWS_10,
        ttl: 128,
        dont_fragment: true,
        accepts_ecn: false,
        windows: [44 * 1460, 65535],
        options: [
            ("", "M"),
            ("W", "M N W8"),
            ("S", "M N N S"),
            ("T", "M"),
            ("WS", "M N W8 N N S"),
            ("WT", "M N W8"),
            ("ST", "M N N S"),
            ("WST", "M N W8 N N S"),
        ],
    },
    Expected {
        name: "Windows Server 2016",
        system: SystemReplies::WINDOWS_SERVER_2016,
        ttl: 128,
        dont_fragment: true,
        accepts_ecn: true,
        windows: [8192; 2],
        options: [
            ("", "M"),
            ("W", "M N W8"),
            ("S", "M N N S"),
            ("T", "M N N T"),
            ("WS", "M N W8 N N S"),
            ("WT", "M N W8 N N T"),
            ("ST", "M S T"),
            ("WST", "M N W8 S T"),
        ],
    },
    Expected {
        name: "FreeBSD 12",
        system: SystemReplies::FREEBSD,
        ttl: 64,
        dont_fragment: true,
        accepts_ecn: true,
        windows: [65535; 2],
        options: [
            ("", "M"),
            ("W", "M N W6"),
            ("S", "M S E E"),
            ("T", "M N N T"),
            ("WS", "M N W6 S E E"),
            ("WT", "M N W6 N N T"),
            ("ST", "M S T"),
            ("WST", "M N W6 S T"),
        ],
    },
    Expected {
        name: "macOS 10.14",
        system: SystemReplies::MACOS,
        ttl: 64,
        dont_fragment: true,
        accepts_ecn: false,
        windows: [65535; 2],
        options: [
            ("", "M"),
            ("W", "M N W6"),
            ("S", "M S E E"),
            ("T", "M N N T"),
            ("WS", "M N W6 S E E"),
            ("WT", "M N W6 N N T"),
            ("ST", "M N N T S E E"),
            ("WST", "M N W6 N N T S E E"),
        ],
    },
    Expected {
        name: "OpenBSD 6",
        system: SystemReplies::OPENBSD,
        ttl: 64,
        dont_fragment: true,
        accepts_ecn: false,
        windows: [16384; 2],
        options: [
            ("", "M"),
            ("W", "M N W6"),
            ("S", "M N N S"),
            ("T", "M N N T"),
            ("WS", "M N N S N W6"),
            ("WT", "M N W6 N N T"),
            ("ST", "M N N S N N T"),
            ("WST", "M N N S N W6 N N T"),
        ],
    },
    Expected {
        name: "Cisco IOS 15",
        system: SystemReplies::CISCO_IOS,
        ttl: 255,
        dont_fragment: false,
        accepts_ecn: false,
        windows: [4128; 2],
        options: [("", "M"), ("W", "M"), ("S", "M"), ("T", "M"), ("WS", "M"), ("WT", "M"), ("ST", "M"), ("WST", "M")],
    },
    Expected {
        name: "lwIP",
        system: SystemReplies::LWIP,
        ttl: 255,
        dont_fragment: false,
        accepts_ecn: false,
        windows: [5840; 2],
        options: [("", "M"), ("W", "M"), ("S", "M"), ("T", "M"), ("WS", "M"), ("WT", "M"), ("ST", "M"), ("WST", "M")],
    },
];

const MSS: &[u8] = &[2, 4, 5, 0xb4];
const WINDOW_SCALE: &[u8] = &[1, 3, 3, 10];
const SACK: &[u8] = &[1, 1, 4, 2];
const TIMESTAMPS: &[u8] = &[1, 1, 8, 10, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0];

fn choice(system: SystemReplies) -> Choice {
    Choice { system: Some(system), key: Some([9; 16]), ..Choice::DEFAULT }
}

/// Returns a SYN with MSS and the options with these letters.
fn syn(letters: &str) -> Request {
    let options = letters.chars().map(|letter| match letter {
        'W' => WINDOW_SCALE,
        'S' => SACK,
        'T' => TIMESTAMPS,
        _ => unreachable!("{letter}"),
    });
    Request { options: [MSS].into_iter().chain(options).collect::<Vec<_>>().concat(), ..Request::syn() }
}

/// Returns the verdict on `frame` and the resulting frame.
fn run(setup: &Setup, frame: &[u8]) -> (Verdict, Vec<u8>) {
    let mut bytes = frame.to_vec();
    bytes.resize(frame.len() + setup.room, 0xa5);
    let mut buffer = Buffer::new(&mut bytes, frame.len());
    let verdict = setup.run(&mut buffer);
    let length = buffer.len();
    bytes.truncate(length);
    (verdict, bytes)
}

/// Returns the SYN-ACK that answers `request`.
fn answer(choice: Choice, request: &Request) -> Vec<u8> {
    let (verdict, reply) = run(&Setup::new(choice), &request.frame());
    assert_eq!(verdict, Verdict::Answered, "{request:?}");
    reply
}

/// Returns the letters of TCP options, as in nmap's database but with spaces. The bytes after the end of the list must
/// be zero.
fn letters(segment: &Segment) -> String {
    let options = segment.tcp.options();
    let mut letters = Vec::new();
    let mut iterator = segment.tcp.options_iterator();
    for element in iterator.by_ref() {
        letters.push(match element.expect("well-formed options") {
            TcpOptionElement::Noop => "N".to_owned(),
            TcpOptionElement::MaximumSegmentSize(_) => "M".to_owned(),
            TcpOptionElement::WindowScale(scale) => format!("W{scale}"),
            TcpOptionElement::SelectiveAcknowledgementPermitted => "S".to_owned(),
            TcpOptionElement::Timestamp(..) => "T".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    let lengths = letters.iter().map(|letter| match &letter[..1] {
        "N" => 1,
        "M" => 4,
        "W" => 3,
        "S" => 2,
        _ => 10,
    });
    let rest = &options[lengths.sum::<usize>()..];
    assert!(rest.iter().all(|&byte| byte == 0), "after the end: {options:x?}");
    letters.extend(rest.iter().map(|_| "E".to_owned()));
    letters.join(" ")
}

/// The fields of an IP header that depend on the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IpFields {
    ttl: u8,
    /// Identification, and whether DF is set. Only over IPv4.
    v4: Option<(u16, bool)>,
}

/// Returns the fields of the IP header of `segment`. All other fields of an IPv4 header must be those of any reply.
fn ip_fields(segment: &Segment) -> IpFields {
    match &segment.net {
        NetSlice::Ipv4(ipv4) => {
            let header = ipv4.header();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IPv4 checksum");
            assert_eq!((header.ihl(), header.slice()[1]), (5, 0), "IHL and type of service");
            assert!(!header.more_fragments() && header.fragments_offset().value() == 0, "no fragment");
            assert_eq!(header.slice()[6] & 0x80, 0, "reserved flag");
            IpFields { ttl: header.ttl(), v4: Some((header.identification(), header.dont_fragment())) }
        }
        NetSlice::Ipv6(ipv6) => IpFields { ttl: ipv6.header().hop_limit(), v4: None },
        NetSlice::Arp(_) => unreachable!("ARP carries no TCP"),
    }
}

fn identification(reply: &[u8]) -> u16 {
    ip_fields(&Segment::parse(reply).expect("a segment")).v4.expect("IPv4").0
}

#[test]
fn syn_acks_match_the_databases() {
    for Expected { name, system, ttl, dont_fragment, windows, options, .. } in SYSTEMS {
        assert_eq!(options.iter().map(|(offered, _)| offered).collect::<BTreeSet<_>>().len(), 8, "{name}");
        for (offered, expected) in options {
            let reply = answer(choice(system), &syn(offered));
            let reply = Segment::parse(&reply).expect("a segment");
            assert_eq!(letters(&reply), expected, "{name}, offered {offered}");
            let is_scaled = expected.contains('W');
            assert_eq!(reply.tcp.window_size(), windows[usize::from(is_scaled)], "{name}, offered {offered}");
            let fields = ip_fields(&reply);
            assert_eq!((fields.ttl, fields.v4.map(|(_, flag)| flag)), (ttl, Some(dont_fragment)), "{name}");
            assert_eq!(reply.tcp.checksum(), reply.checksum(), "{name}, offered {offered}");

            let over_ipv6 = answer(choice(system), &syn(offered).over_ipv6());
            let over_ipv6 = Segment::parse(&over_ipv6).expect("a segment");
            assert_eq!(letters(&over_ipv6), expected, "{name}, offered {offered} over IPv6");
            assert_eq!(over_ipv6.tcp.checksum(), over_ipv6.checksum(), "{name}, offered {offered} over IPv6");
        }
    }
}

#[test]
fn answers_ecn_as_the_system_does() {
    for Expected { name, system, accepts_ecn, .. } in SYSTEMS {
        let setup = SYN | if accepts_ecn { ACK | ECE } else { ACK };
        for (flags, expected) in [(SYN, SYN | ACK), (SYN | ECE | CWR, setup)] {
            let reply = answer(choice(system), &Request { flags, ..syn("WST") });
            assert_eq!(Segment::parse(&reply).expect("a segment").flags(), expected, "{name}");
        }
    }
}

#[test]
fn advertises_the_mss_of_the_interface() {
    for Expected { name, system, .. } in SYSTEMS {
        for (mtu, mss) in [(1500, [5, 0xb4]), (1400, [5, 0x50])] {
            let reply = answer(Choice { mtu, ..choice(system) }, &syn("WST"));
            assert_eq!(Segment::parse(&reply).expect("a segment").tcp.options()[..4], [2, 4, mss[0], mss[1]], "{name}");
        }
    }
    // Windows rounds its window down to whole segments, unless it is scaled.
    let reply = answer(Choice { mtu: 1400, ..choice(SystemReplies::WINDOWS_10) }, &syn("S"));
    assert_eq!(Segment::parse(&reply).expect("a segment").tcp.window_size(), 48 * 1360);
}

#[test]
fn timestamp_offsets_differ_between_connections_where_the_system_does_so() {
    for Expected { name, system, .. } in SYSTEMS.into_iter().filter(|it| it.system.has_timestamps) {
        let timestamps: BTreeSet<_> = (1000..1010)
            .map(|source_port| {
                let reply = answer(choice(system), &Request { source_port, ..syn("WST") });
                SynOptions::of(Segment::parse(&reply).expect("a segment").tcp.options()).timestamp
            })
            .collect();
        let randomizes = ["FreeBSD 12", "OpenBSD 6"].contains(&name);
        assert_eq!(timestamps.len(), if randomizes { 10 } else { 1 }, "{name}");
    }
}

/// The class of a list of identifications, by the rules of nmap (`TI` in its documentation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Zero,
    Random,
    Incremental,
    Other,
}

fn class(identifications: &[u16]) -> Class {
    let differences: Vec<u16> = identifications.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    if identifications.iter().all(|&number| number == 0) {
        Class::Zero
    } else if differences.iter().any(|&difference| difference > 20_000) {
        Class::Random
    } else if differences.iter().all(|&difference| difference < 10) && differences.iter().any(|&it| it > 0) {
        Class::Incremental
    } else {
        Class::Other
    }
}

#[test]
fn nmap_sees_the_identifications_of_the_system() {
    // nmap sends six probes from different ports, 100 ms apart.
    let expected = |name| match name {
        "Windows 10 1709" | "Windows Server 2016" | "lwIP" => Class::Incremental,
        "FreeBSD 12" | "macOS 10.14" => Class::Zero,
        "OpenBSD 6" | "Cisco IOS 15" => Class::Random,
        _ => unreachable!("{name}"),
    };
    for Expected { name, system, .. } in SYSTEMS {
        for start in (0..100).map(|step| 0x0020_0000_u32.wrapping_sub(step * 1031)) {
            let identifications: Vec<u16> = (0..6)
                .map(|probe| {
                    let now = start + u32::from(probe) * 100;
                    let request = Request { source_port: 40000 + probe, ..syn("WST") };
                    identification(&answer(Choice { now, ..choice(system) }, &request))
                })
                .collect();
            assert_eq!(class(&identifications), expected(name), "{name}: {identifications:?}");
        }
    }
}

#[test]
fn identifications_rise_for_all_clients_together() {
    // A counter of the host gives close numbers to clients that connect at about the same time.
    let numbers: Vec<u16> = (0..50)
        .map(|client| {
            let choice = Choice { now: 70_000 + u32::from(client) * 20, ..choice(SystemReplies::WINDOWS_10) };
            identification(&answer(choice, &Request { source: [10, 0, client, 9], ..syn("") }))
        })
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) <= 1), "{numbers:?}");
    assert!(numbers[49].wrapping_sub(numbers[0]) > 20, "{numbers:?}");
}

#[test]
fn random_identifications_differ_for_retransmitted_syns() {
    let numbers: BTreeSet<u16> = (0..100)
        .map(|second| {
            let now = second * 1000;
            identification(&answer(Choice { now, ..choice(SystemReplies::OPENBSD) }, &syn("")))
        })
        .collect();
    assert!(numbers.len() > 95, "{numbers:?}");
}

#[test]
fn later_replies_have_the_headers_of_the_system() {
    for Expected { name, system, ttl, dont_fragment, .. } in SYSTEMS {
        for (action, flags, payload) in [
            (Action::Reset, ACK, &b""[..]),
            (Action::Close, ACK, b""),
            (Action::Discard, ACK | PSH, b"data"),
            (Action::Discard, ACK | FIN, b""),
            (Action::Echo, ACK | PSH, b"data"),
            (Action::Tarpit, ACK | PSH, b"data"),
        ] {
            for is_v6 in [false, true] {
                let settings = Choice { action, ..choice(system) };
                let options = vec![1, 1, 8, 10, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
                let request = Request { flags, payload: payload.to_vec(), options, ..Request::ack() };
                let request = if is_v6 { request.over_ipv6() } else { request };
                let request = request.acknowledging(&settings).with_checksum();
                let (verdict, reply) = run(&Setup::new(settings), &request.frame());
                assert_eq!(verdict.action(), XdpAction::Tx, "{name}, {action:?}: {verdict:?}");
                let reply = Segment::parse(&reply).expect("a segment");
                let fields = ip_fields(&reply);
                let ttl = if is_v6 { system.hop_limit } else { ttl };
                assert_eq!((fields.ttl, fields.v4.map(|(_, flag)| flag)), (ttl, (!is_v6).then_some(dont_fragment)));
                assert_eq!(reply.tcp.checksum(), reply.checksum(), "{name}, {action:?}");
                if let Some((number, _)) = fields.v4 {
                    assert_eq!(number == 0, system.identification == Identification::Zero, "{name}: {number}");
                }
            }
        }
    }
}

#[test]
fn styled_options_in_the_order_of_linux_are_those_of_linux() {
    let system = SystemReplies {
        option_order: OptionOrder::Linux,
        window_scale: 7,
        ttl: 64,
        hop_limit: 64,
        ..SystemReplies::OPENBSD
    };
    let plain = Choice { window: Some(16384), ecn: false, system: None, ..choice(system) };
    for (offered, _) in SYSTEMS[0].options {
        for request in [syn(offered), syn(offered).over_ipv6(), syn(offered).twice_tagged()] {
            let without_identification = |mut frame: Vec<u8>| {
                let ip = ETHERNET_LENGTH + request.tags.len();
                if request.v6.is_none() {
                    frame[ip + 4..ip + 6].fill(0);
                    frame[ip + 10..ip + 12].fill(0);
                }
                frame
            };
            let styled = answer(choice(system), &request);
            assert_eq!(without_identification(styled), without_identification(answer(plain, &request)), "{offered}");
        }
    }
}

#[test]
fn fixed_isn_has_no_effect_on_the_style() {
    for Expected { name, system, options, .. } in SYSTEMS {
        let settings = Choice { key: None, ..choice(system) };
        assert_eq!(settings.settings(false, false).isn, Isn::Fixed(settings.isn));
        for (offered, expected) in options {
            let reply = answer(settings, &syn(offered));
            assert_eq!(letters(&Segment::parse(&reply).expect("a segment")), expected, "{name}, offered {offered}");
        }
    }
}

/// Generates the options of SYNs: those of common clients, or any valid and invalid options in any order.
fn syn_options() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => select(vec![MSS, WINDOW_SCALE, SACK, TIMESTAMPS, &[1][..], &[3, 3, 2], &[4, 2], &TIMESTAMPS[2..]])
            .prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..6),
    ];
    let any_order = vec(piece, 0..8).prop_map(|pieces| {
        let mut options = pieces.concat();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 1);
        options
    });
    let common = select(vec![LINUX_OPTIONS.to_vec(), MACOS_OPTIONS.to_vec(), WINDOWS_OPTIONS.to_vec()]);
    prop_oneof![3 => any_order, 1 => common]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_syn_gets_a_valid_answer_in_the_style_of_the_system(
        system in 0..SYSTEMS.len(),
        options in syn_options(),
        action in select(Action::ALL.to_vec()),
        (is_v6, tags, is_primary, is_keyed) in (any::<bool>(), 0..3, any::<bool>(), any::<bool>()),
        (source_port, sequence_number, now) in (any::<u16>(), any::<u32>(), any::<u32>()),
        (payload, trailer) in (vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..20)),
    ) {
        let Expected { system, options: in_databases, .. } = SYSTEMS[system];
        let is_keyed = is_keyed || action.follows_client();
        let request = Request { options, source_port, sequence_number, payload, trailer, ..Request::syn() };
        let request = if is_v6 { request.over_ipv6() } else { request };
        let request = [Request::clone, |it: &Request| it.clone().tagged(), |it: &Request| it.clone().twice_tagged()]
            [tags as usize](&request);
        let primary = is_primary.then(|| (request.destination, common::V6::new().destination));
        let mac = is_primary.then_some(request.destination_mac);
        let key = is_keyed.then_some([3; 16]);
        let setup = Setup::new(Choice { action, now, primary, mac, key, ..choice(system) });
        let frame = request.frame();
        let (verdict, reply) = run(&setup, &frame);
        let offered = SynOptions::of(&request.options);
        if offered.signed {
            prop_assert_eq!(verdict, Verdict::Signed);
            prop_assert_eq!(reply, frame);
            return Ok(());
        }
        prop_assert_eq!(verdict, Verdict::Answered);
        let parsed = Segment::parse(&reply).expect("a segment");
        ip_fields(&parsed);
        prop_assert_eq!(parsed.tcp.checksum(), parsed.checksum());
        prop_assert_eq!(parsed.flags(), SYN | ACK);
        prop_assert_eq!(parsed.tcp.acknowledgment_number(), sequence_number.wrapping_add(1));
        prop_assert_eq!(parsed.tcp.payload(), b"");
        prop_assert!(reply[parsed.end()..].iter().all(|&byte| byte == 0), "after the reply: {:x?}", reply);
        prop_assert!(parsed.end() <= Segment::parse(&frame).expect("a segment").end() + 8);
        let has = [offered.window_scale && action != Action::Echo, offered.sack, offered.timestamp.is_some()];
        let combination: String = "WST".chars().zip(has).filter(|(_, has)| *has).map(|(letter, _)| letter).collect();
        let expected = in_databases.into_iter().find(|(offered, _)| *offered == combination).map(|(_, answer)| answer);
        let listed = letters(&parsed);
        prop_assert_eq!(Some(listed.as_str()), expected, "offered {}", combination);
        let accepted = SynOptions::of(parsed.tcp.options());
        let echoed = offered.timestamp.filter(|_| system.has_timestamps);
        prop_assert_eq!(accepted.timestamp.map(|_| accepted.echo_reply), echoed);
        let window = parsed.tcp.window_size();
        match action {
            Action::Echo => prop_assert_eq!(window, 536),
            _ => prop_assert_ne!(window, 0),
        }
        if let Some((_, dont_fragment)) = ip_fields(&parsed).v4 {
            prop_assert_eq!(dont_fragment, system.dont_fragment);
        }
    }

    #[test]
    fn later_segments_without_an_answer_stay_unchanged(
        system in 0..SYSTEMS.len(),
        flags in any::<u8>(),
        payload in vec(any::<u8>(), 0..20),
    ) {
        let setup = Setup::new(choice(SYSTEMS[system].system));
        let request = Request { flags: flags & !SYN & !RST, payload, ..Request::ack() };
        let frame = request.acknowledging(&setup.settings).frame();
        let (verdict, result) = run(&setup, &frame);
        prop_assert_ne!(verdict.action(), XdpAction::Tx);
        prop_assert_eq!(result, frame);
    }
}
