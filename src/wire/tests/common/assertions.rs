//! Assertions about verdicts and replies that hold for any packet.

use etherparse::{IpNumber, NetSlice, SlicedPacket};
use tcp_bounce_wire::{Action, Identification, Verdict, XdpAction};

use super::request::{ACK, CWR, ECE, ETHERNET_LENGTH, RST, SYN, URG};
use super::segment::Segment;
use super::setup::Choice;
use super::syn_options::SynOptions;

/// Checks the verdict on `frame` for a setup without filters and with enough room for a reply.
///
/// A TCP segment between two hosts must get the verdict of [`Segment::expected`], unless it has extension headers that
/// tcp-bounce does not skip. A fragment may be dropped. Any other frame must be passed.
pub fn assert_expected(frame: &[u8], verdict: Verdict, settings: &Choice) {
    match Segment::parse(frame) {
        Some(segment) if segment.is_unicast() && segment.has_plain_extensions() => {
            assert_eq!(segment.expected(settings), verdict, "{segment:?}")
        }
        _ if is_fragment(frame) => assert_ne!(verdict.action(), XdpAction::Tx, "{verdict:?} on a fragment"),
        _ => {
            assert_eq!(XdpAction::Pass, verdict.action(), "{verdict:?} on a frame without a segment between two hosts")
        }
    }
}

/// Returns whether the frame is an IP fragment. An IPv6 packet with a fragment header counts even if it is whole (RFC
/// 6946).
fn is_fragment(frame: &[u8]) -> bool {
    let packet =
        SlicedPacket::from_ethernet(frame).or_else(|_| SlicedPacket::from_ethernet(&frame[..frame.len().min(54)]));
    packet.is_ok_and(|packet| {
        let has_header =
            matches!(&packet.net, Some(NetSlice::Ipv6(ipv6)) if ipv6.header().next_header() == IpNumber::IPV6_FRAGMENTATION_HEADER);
        packet.is_ip_payload_fragmented() || has_header
    })
}

/// Checks all fields of the SYN-ACK `reply` to `request`, and that only zeros follow the reply in the frame.
pub fn assert_answer(request: &[u8], reply: &[u8], settings: &Choice) {
    let settings = &settings.resolved();
    let parsed = Segment::parse(request).expect("only a complete segment is answered");
    assert_eq!(parsed.expected(settings), Verdict::Answered, "only a SYN is answered");
    let is_v6 = matches!(parsed.net, NetSlice::Ipv6(_));
    let offer = SynOptions::of(parsed.tcp.options()).only(settings.accepted);
    let client_isn = parsed.tcp.sequence_number();
    let mss = settings.mss(is_v6);
    let window = if offer.window_scale { Choice::scaled_window } else { Choice::window };
    let window = window(settings, mss, offer.timestamp.is_some());
    let following = settings.offset_of(&parsed.tuple()).wrapping_add(client_isn);
    let (isn, mss, window, offer) = match settings.action {
        Action::Echo => (following, 536, 536, SynOptions { window_scale: false, ..offer }),
        Action::Tarpit => (following, mss, window, offer),
        Action::Serve => (settings.service_isn(&parsed.tuple(), client_isn, offer.window_scale), mss, window, offer),
        Action::Close | Action::Discard if !offer.window_scale => {
            (parsed.isn(settings).wrapping_add(1 << 30), mss, window, offer)
        }
        _ => (parsed.isn(settings), mss, window, offer),
    };
    let timestamp = settings.timestamp(&parsed.tuple());
    let options = match settings.system {
        None => offer.taken_up(mss, timestamp, settings.window_scale),
        Some(_) => {
            let segment = Segment::parse(reply).expect("the reply is a complete segment");
            let options = segment.tcp.options().to_vec();
            assert_options_of_system(&options, &offer, mss, timestamp, settings.window_scale);
            options
        }
    };
    let answer = assert_reply(request, reply, settings, options.len(), 0);
    assert_eq!(answer.tcp.sequence_number(), isn, "sequence number");
    assert_eq!(answer.tcp.acknowledgment_number(), client_isn.wrapping_add(1), "acknowledgment number");
    let asks_for_ecn = parsed.flags() & (ECE | CWR) == ECE | CWR && (ecn(&parsed) == 0 || reserved(&parsed) != 0);
    let ecn_echo = if asks_for_ecn && settings.ecn { ECE } else { 0 };
    assert_eq!(answer.flags(), SYN | ACK | ecn_echo, "flags");
    assert_eq!(answer.tcp.window_size(), window, "window");
    assert_eq!(answer.tcp.options(), options, "options");
}

/// Checks the options of a SYN-ACK in any order: the MSS comes first, and each accepted option occurs.
///
/// `tests/systems.rs` checks the order of each system.
fn assert_options_of_system(options: &[u8], offer: &SynOptions, mss: u16, timestamp: u32, window_scale: u8) {
    assert!(options.starts_with(&[&[2, 4][..], &mss.to_be_bytes()].concat()), "MSS: {options:x?}");
    let expected = SynOptions {
        timestamp: offer.timestamp.map(|_| timestamp.to_be_bytes()),
        echo_reply: offer.timestamp.unwrap_or_default(),
        ..offer.clone()
    };
    assert_eq!(SynOptions::of(options), expected, "options: {options:x?}");
    let has_scale = options.windows(3).any(|option| option == [3, 3, window_scale]);
    assert!(has_scale || !offer.window_scale, "window scale: {options:x?}");
}

/// Checks the properties that all answers of services share: those of every reply, and swapped timestamps.
pub fn assert_service_answer(request: &[u8], reply: &[u8], settings: &Choice) {
    let settings = &settings.resolved();
    let (asked, answer) = (Segment::parse(request), Segment::parse(reply));
    let (asked, answer) = (asked.expect("a complete segment"), answer.expect("a complete segment"));
    let asked_for = SynOptions::of(asked.tcp.options());
    let timestamps = asked_for
        .timestamp
        .map(|value| [&[1, 1, 8, 10], &asked_for.echo_reply[..], &value].concat())
        .unwrap_or_default();
    assert_eq!(answer.tcp.options(), timestamps, "timestamps");
    let answer = assert_reply(request, reply, settings, timestamps.len(), answer.tcp.payload().len());
    assert_eq!(answer.flags() & (SYN | URG | ACK), ACK, "flags");
}

/// Checks the properties that all answers to later segments share, except those of services.
///
/// The frame of the answer is not longer than the frame of the request. The answer's data is a prefix of the request's
/// data. If the request has timestamps, the answer has them with TSval and TSecr swapped.
pub fn assert_later_answer(request: &[u8], reply: &[u8], settings: &Choice) {
    let settings = &settings.resolved();
    assert!(reply.len() <= request.len(), "{} bytes are more than {}", reply.len(), request.len());
    let (asked, answer) = (Segment::parse(request), Segment::parse(reply));
    let (asked, answer) = (asked.expect("a complete segment"), answer.expect("a complete segment"));
    let payload = answer.tcp.payload();
    assert!(
        asked.tcp.payload().starts_with(payload),
        "data other than the client's: {payload:x?} {asked:?} {answer:?}"
    );
    let mut options = answer.tcp.options();
    let asked_for = SynOptions::of(asked.tcp.options());
    if let Some(value) = asked_for.timestamp {
        let expected = [&[1, 1, 8, 10], &asked_for.echo_reply[..], &value].concat();
        options = options.strip_prefix(&expected[..]).expect("timestamps");
    }
    assert!(options.iter().all(|&byte| byte == 1), "options other than NOP: {options:x?}");
    assert!(!payload.is_empty() || options.is_empty(), "unneeded padding");
    let answer = assert_reply(request, reply, settings, answer.tcp.options().len(), payload.len());
    let is_marked = ecn(&asked) == 3 && !asked.tcp.payload().is_empty() && answer.flags() & RST == 0;
    let ecn_echo = if is_marked && settings.ecn { ECE } else { 0 };
    assert_eq!(answer.flags() & (SYN | URG | ECE | CWR), ecn_echo, "flags");
    if matches!(settings.action, Action::Close | Action::Discard) {
        let scaled = asked.tcp.acknowledgment_number().wrapping_sub(asked.isn(settings)) < 1 << 29;
        let received = answer.tcp.acknowledgment_number().wrapping_sub(asked.tcp.sequence_number());
        let mss = settings.mss(matches!(asked.net, NetSlice::Ipv6(_)));
        let window = settings.later_window(mss, asked_for.timestamp.is_some(), scaled, received);
        assert_eq!(answer.tcp.window_size(), window, "window");
    }
    assert_ne!(answer.flags() & ACK, 0, "flags");
}

/// Checks the flow label of a reply to a packet with the label `requested`.
fn assert_flow_label(requested: u32, label: u32, settings: &Choice) {
    match settings.flow_labels {
        [_, _, true] if requested != 0 => assert_eq!(label, requested, "reflected flow label"),
        [true, is_marked, _] => assert!(!is_marked || label & 1 << 19 != 0, "flow label {label:#x}"),
        [false, ..] => assert_eq!(label, 0, "flow label"),
    }
}

/// Returns the flow label of a packet, or 0 over IPv4.
pub fn label(segment: &Segment) -> u32 {
    match &segment.net {
        NetSlice::Ipv6(ipv6) => ipv6.header().flow_label().value(),
        _ => 0,
    }
}

/// Returns the ECN field of a packet.
fn ecn(segment: &Segment) -> u8 {
    match &segment.net {
        NetSlice::Ipv4(ipv4) => ipv4.header().slice()[1] & 3,
        NetSlice::Ipv6(ipv6) => ipv6.header().slice()[1] >> 4 & 3,
        NetSlice::Arp(_) => unreachable!("ARP carries no TCP"),
    }
}

/// Returns the reserved bits of the TCP header.
fn reserved(segment: &Segment) -> u8 {
    segment.tcp.slice()[12] & 0xf
}

/// Checks the properties that all replies share, and that only zeros follow the reply. Returns the parsed reply.
///
/// `options` and `payload` are the expected lengths of TCP options and data, in bytes.
fn assert_reply<'a>(request: &[u8], reply: &'a [u8], settings: &Choice, options: usize, payload: usize) -> Segment<'a> {
    let request_bytes = request;
    let request = Segment::parse(request).expect("only a complete segment is answered");
    assert!(request.is_unicast(), "only unicast segments are answered");
    let is_v6 = matches!(request.net, NetSlice::Ipv6(_));
    let ip_offset = ETHERNET_LENGTH + request.tags * 4;
    let length = ip_offset + if is_v6 { 40 } else { 20 } + 20 + options + payload;

    assert!(reply.len() <= request_bytes.len().max(length), "{} bytes are too many", reply.len());
    let padding = reply.get(length..).expect("the frame is long enough for the reply");
    assert!(padding.iter().all(|&byte| byte == 0), "after the reply: {padding:02x?}");
    assert_eq!(reply[12..ip_offset], request_bytes[12..ip_offset], "tags and ethertype");
    let reply = Segment::parse(reply).expect("the reply is a complete segment");

    assert_eq!(reply.destination_mac, request.source_mac, "destination MAC");
    assert_eq!(reply.source_mac, request.destination_mac, "source MAC");
    let (source, destination) = request.addresses();
    assert_eq!(reply.addresses(), (destination, source), "addresses");
    match &reply.net {
        NetSlice::Ipv4(ipv4) => {
            let header = ipv4.header();
            assert_eq!(header.ihl(), 5, "IHL");
            assert_eq!(header.slice()[1], 0, "type of service");
            assert_eq!(usize::from(header.total_len()), length - ip_offset, "total length");
            let has_zero = settings.system.is_none_or(|system| system.identification == Identification::Zero);
            assert!(!has_zero || header.identification() == 0, "identification");
            let dont_fragment = settings.system.is_none_or(|system| system.dont_fragment);
            assert_eq!(header.slice()[6..8], [u8::from(dont_fragment) << 6, 0], "DF alone, and no fragment offset");
            assert_eq!(header.ttl(), settings.ttl, "TTL");
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IPv4 checksum");
        }
        NetSlice::Ipv6(ipv6) => {
            let header = ipv6.header();
            assert_eq!(
                header.slice()[..2].first_chunk().map(|&word| u16::from_be_bytes(word) >> 4),
                Some(0x600),
                "class"
            );
            assert_flow_label(label(&request), label(&reply), settings);
            assert_eq!(usize::from(header.payload_length()), length - ip_offset - 40, "payload length");
            assert_eq!(header.slice()[6], 6, "next header");
            assert_eq!(header.hop_limit(), settings.hop_limit, "hop limit");
        }
        NetSlice::Arp(_) => unreachable!("ARP carries no TCP"),
    }

    let (asked, tcp) = (&request.tcp, &reply.tcp);
    assert_eq!(tcp.source_port(), asked.destination_port(), "source port");
    assert_eq!(tcp.destination_port(), asked.source_port(), "destination port");
    assert_eq!(usize::from(tcp.slice()[12]), ((20 + options) / 4) << 4, "data offset, and reserved bits of zero");
    assert_eq!(tcp.urgent_pointer(), 0, "urgent pointer");
    assert_eq!(tcp.payload().len(), payload, "payload");
    assert_eq!(tcp.checksum(), reply.checksum(), "TCP checksum");
    reply
}
