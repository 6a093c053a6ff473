//! Fields in the payloads of services: each client gets its own address, in fixed width.
//!
//! `Setup::respond` checks the checksums of all answers.

use std::net::SocketAddr;

use crate::common;

use common::{ACK, Choice, PSH, Part, Request, Segment, Setup, TestPayload, TestService, V6, address_text};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tcp_bounce_wire::address::{IpAddress, Ipv4Address, Ipv6Address};
use tcp_bounce_wire::checksum::Sum;
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::ipv4::Ipv4;
use tcp_bounce_wire::render::render_field;
use tcp_bounce_wire::service::MAX_PAYLOAD;
use tcp_bounce_wire::text::PortText;
use tcp_bounce_wire::{Ending, Field, FieldKind, Fields, ProgramConfig, Verdict, identity};
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::services::{Connection, after, answer};

/// Returns `request` from another client.
fn from(request: Request, address: [u8; 16], port: u16) -> Request {
    let [.., a, b, c] = address;
    let v6 = request.v6.clone().map(|v6| V6 { source: [&[0x20], &address[1..]].concat().try_into().unwrap(), ..v6 });
    Request { source: [223 - (address[0] & 63), a, b, c], source_port: port, v6, ..request }
}

/// Returns requests over IPv4 and IPv6, with and without timestamps, VLAN tags and IP options.
fn requests() -> Vec<Request> {
    let timestamps = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let requests = [vec![], timestamps].map(|options| {
        let request = Request { options, ..Request::ack() };
        let with_ip_options = Request { ip_options: vec![1; 8], ..request.clone().tagged() };
        [request.clone(), request.clone().over_ipv6(), request.over_ipv6().twice_tagged(), with_ip_options]
    });
    requests.concat()
}

/// Checks that each client gets its own banner and reply.
fn check(banner: &TestPayload, reply: &TestPayload, requests: impl IntoIterator<Item = Request>) {
    let service = TestService::rendering(banner, &[(b"", reply.clone())], Ending::Stay);
    let setup = Setup::serving(service, Choice::DEFAULT);
    for request in requests {
        let frame = request.frame();
        let segment = Segment::parse(&frame).expect("a segment");
        let key = setup.settings.key.expect("a key");
        let [banner, reply] = [banner, reply].map(|payload| payload.rendered(&segment, &key));
        let connection = Connection::open(&setup, &request, true);
        assert_eq!(connection.send(ACK, 1, 1, b""), (Verdict::Greeted, answer(ACK | PSH, 1, 1, &banner)));
        let start = after(&banner);
        let expected = answer(ACK | PSH, start, after(b"hello\r\n"), &reply);
        assert_eq!(connection.send(ACK, 1, start, b"hello\r\n"), (Verdict::Replied, expected));
    }
}

/// Returns the text of an address as the program writes it, and checks its sum.
fn written<A: IpAddress>(address: A) -> Vec<u8> {
    let mut text = A::Text::new_zeroed();
    let sum = A::write(address.words(), &mut text);
    assert_eq!(sum.fold(), Sum::of_bytes(text.as_bytes()).fold());
    text.as_bytes().to_vec()
}

fn payloads() -> impl Strategy<Value = TestPayload> {
    let bytes = || vec(any::<u8>(), 0..12).prop_map(Part::Bytes);
    let fields = vec((select(&FieldKind::ALL[..]), bytes()), 0..=Fields::MAX_COUNT);
    (any::<u8>(), bytes(), fields).prop_map(|(byte, first, fields)| {
        let rest = fields.into_iter().flat_map(|(kind, bytes)| [Part::Field(kind), bytes]);
        TestPayload([Part::Bytes(vec![byte]), first].into_iter().chain(rest).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_client_gets_its_own_payloads(
        banner in payloads(), reply in payloads(), address: [u8; 16], port: u16,
    ) {
        check(&banner, &reply, requests().into_iter().map(|request| from(request, address, port)));
    }

    #[test]
    fn ipv6_addresses_have_their_full_form(address: [u8; 16]) {
        prop_assert_eq!(written(Ipv6Address(address)), address_text(&address).into_bytes());
    }

    #[test]
    fn ipv4_addresses_are_padded(address: [u8; 4]) {
        prop_assert_eq!(written(Ipv4Address(address)), address_text(&address).into_bytes());
    }

    #[test]
    fn endpoints_end_with_the_byte_before_them(address: [u8; 16], port: u16, first: bool) {
        let kinds = [FieldKind::ServerEndpoint, FieldKind::ClientEndpoint];
        let [own, other] = if first { kinds } else { [kinds[1], kinds[0]] }.map(Part::Field);
        let text = |text: &[u8]| Part::Bytes(text.to_vec());
        let parts = vec![text(b"\""), own, text(b",\""), other, text(b" "), Part::Field(FieldKind::Token), text(b"\n")];
        let payload = TestPayload(parts);
        check(&payload, &payload, requests().into_iter().map(|request| from(request, address, port)));
    }

    #[test]
    fn tokens_are_hashes_under_a_key_of_their_own(
        key: [u8; 16], client: [u8; 16], server: [u8; 16], ports: [u16; 2], is_v6: bool,
    ) {
        let width = if is_v6 { 16 } else { 4 };
        let end = |address: [u8; 16], port| match <[u8; 4]>::try_from(&address[..width]) {
            Ok(v4) => SocketAddr::from((v4, port)),
            Err(_) => SocketAddr::from((address, port)),
        };
        let [a, b] = ports;
        let tuple = [&client[..width], &server[..width], &a.to_be_bytes(), &b.to_be_bytes()].concat();
        let token = identity::token(&key, end(client, a), end(server, b));
        prop_assert_eq!(token, Some(common::token(&key, &tuple)));
    }

    #[test]
    fn fields_keep_their_offsets_and_kinds(
        fields in vec((select(&FieldKind::ALL[..]), 0..=Fields::MAX_OFFSET), 0..=Fields::MAX_COUNT),
    ) {
        let list: Vec<Field> = fields.iter().map(|&(kind, offset)| Field { kind, offset }).collect();
        let mut packed = Fields::new(&list);
        prop_assert_eq!(packed.is_empty(), list.is_empty());
        for field in &list {
            prop_assert_eq!(packed.pop(), Some((usize::from(field.offset), field.kind as u16)));
        }
        prop_assert_eq!(packed.pop(), None);
        let five = [&list[..], &[Field { kind: FieldKind::Server, offset: 9 }; 4]].concat();
        prop_assert_eq!(Fields::new(&five), Fields::new(&five[..4]));
    }

    #[test]
    fn a_sum_of_bytes_at_an_odd_offset_is_swapped(bytes in vec(any::<u8>(), 0..60)) {
        let shifted = Sum::of_bytes(&[&[0], &bytes[..]].concat());
        prop_assert_eq!(Sum::of_bytes(&bytes).swapped().fold(), shifted.fold());
        let swapped_twice = Sum::of_bytes(&bytes).swapped().swapped();
        prop_assert_eq!(swapped_twice.fold(), Sum::of_bytes(&bytes).fold());
    }
}

#[test]
fn every_port_has_its_text() {
    for port in 0..=u16::MAX {
        let mut text = PortText::new_zeroed();
        let sum = text.set(port);
        assert_eq!(sum.fold(), Sum::of_bytes(text.as_bytes()).fold());
        assert_eq!(text.as_bytes(), format!("{port:<5}").as_bytes(), "{port}");
    }
}

#[test]
fn tokens_have_the_values_of_another_implementation() {
    // Computed with an implementation of SipHash-1-3 in Python.
    for (key, client, server, token) in [
        ([7; 16], "203.0.113.7:53211", "192.0.2.1:8443", 0x5b48_2915_2c0a_1b27),
        (std::array::from_fn(|index| index as u8), "[2001:db8::7]:65535", "[2001:db8::1]:80", 0x74b4_dcc0_0746_9c3d),
    ] {
        assert_eq!(identity::token(&key, client.parse().unwrap(), server.parse().unwrap()), Some(token));
    }
    let mixed = identity::token(&[7; 16], "192.0.2.1:1".parse().unwrap(), "[::1]:1".parse().unwrap());
    assert_eq!(mixed, None);
}

#[test]
fn every_octet_and_every_group_has_its_text() {
    for index in 0..4 {
        for octet in 0..=255 {
            for rest in [0, 10, 255] {
                let mut address = [rest; 4];
                address[index] = octet;
                assert_eq!(written(Ipv4Address(address)), address_text(&address).as_bytes());
            }
        }
    }
    for group in 0..=u16::MAX {
        let address = [group, !group, 0, 0xffff, group, 0x1234, 0xabcd, group].map(u16::to_be_bytes).concat();
        let written = written(Ipv6Address(address[..].try_into().unwrap()));
        assert_eq!(written, address_text(&address).as_bytes());
    }
}

#[test]
fn fields_fit_at_both_ends_of_the_longest_payload() {
    let addresses = [FieldKind::Client, FieldKind::Server].map(Part::Field);
    let [client, server] = &addresses;
    for length in [MAX_PAYLOAD - 4 * 39, MAX_PAYLOAD - 4 * 39 - 1, 0, 1] {
        let middle = Part::Bytes((0..length).map(|index| index as u8).collect());
        let payload = TestPayload(vec![client.clone(), server.clone(), middle.clone(), server.clone(), client.clone()]);
        check(&payload, &payload, requests());
    }
}

#[test]
fn payloads_without_fields_stay_as_they_are() {
    let field = TestPayload(vec![Part::Field(FieldKind::ClientPort)]);
    check(&b"\0\0\0\0\0 and zeros"[..].into(), &field, requests());
    check(&field, &b"\0\0\0"[..].into(), requests());
}

#[test]
fn a_field_after_the_end_of_the_frame_is_refused() {
    let frame = Request::ack().with_checksum().frame();
    let headers = 14 + 20 + 20;
    for (padding, is_rendered) in [(5, true), (4, false), (0, false)] {
        let mut bytes = [&frame[..headers], &vec![0; padding]].concat();
        let length = bytes.len();
        let mut frame = Buffer::new(&mut bytes, length);
        let field = (0, FieldKind::ClientPort as u16);
        let rendered = render_field::<Ipv4, _>(&mut frame, 14, field, &ProgramConfig::BUILT_IN);
        assert_eq!(rendered.is_some(), is_rendered, "{padding}");
    }
}
