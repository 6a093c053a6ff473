//! The scope of a run: addresses, clients, ports and sequence numbers, and changes of the interface.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::TcpMaxSeg};
use nix::sys::stat::Mode as Permissions;
use nix::unistd::mkfifo;
use serde_json::Value;
use tcp_bounce_wire::Verdict;
use tempfile::NamedTempFile;

use crate::fixtures::capture::Capture;
use crate::fixtures::command::{BINARY, TcpBounce, assert_error, usage_error};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{CLIENT, HOST, HOST_V6, Mode, Network};
use crate::fixtures::process::{Process, run};
use crate::fixtures::segment::{ACK, Endpoint, Injector, Mac, SYN, Segment, mac, text};
use crate::fixtures::{DEADLINE, SILENCE, accept, exchange, until};

in_each_mode! {
    answers_only_for_own_addresses_by_default,
    ignores_foreign_mac_addresses,
    ignores_broadcast_sources_and_unknown_vlan_tags,
    sends_nothing_to_broadcast_sources_and_unknown_vlans,
    follows_address_changes,
    follows_mtu_changes,
    follows_mac_address_changes,
    answers_again_after_the_interface_was_down,
    dst_option_limits_the_addresses,
    dst_local_answers_for_addresses_of_other_interfaces,
    src_option_limits_the_clients,
    ports_option_limits_the_ports,
    accepts_4096_prefixes,
    keyed_isn_differs_per_connection_and_completes,
    only_a_fixed_isn_can_be_forged,
    equal_keys_give_equal_isn,
}

const OWN: &str = "192.0.2.1";
const OWN_V6: &str = "2001:db8::1";
/// Addresses on the networks of `host0` that no host has at first.
const NEIGHBOURS: [&str; 2] = ["192.0.2.77", "2001:db8::77"];
/// Addresses on other networks. The client routes them to the host, which does not have them.
const ROUTED: [&str; 2] = ["203.0.113.5", "2001:db8:1::5"];
/// A MAC address that no host has.
const FOREIGN_MAC: Mac = [2, 0, 0, 0, 0, 0x99];

/// The default ISN.
const ISN: u32 = 0x7463_7062;
const SYN_ACKS: &str = "tcp[tcpflags] = tcp-syn|tcp-ack";

/// Makes packets to [`NEIGHBOURS`] and [`ROUTED`] arrive at the host.
fn route_to_host(network: &Network) {
    let mac = text(mac(&network.host, "host0"));
    for address in NEIGHBOURS {
        network.client.ip(&format!("neighbor replace {address} lladdr {mac} dev client0 nud permanent"));
    }
    network.client.ip(&format!("route add {} via {HOST}", ROUTED[0]));
    network.client.ip(&format!("-6 route add {} via {HOST_V6}", ROUTED[1]));
}

fn connect(network: &Network, address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let address = SocketAddr::new(address.parse().unwrap(), 80);
    network.client.enter(|| TcpStream::connect_timeout(&address, timeout))
}

/// Checks that tcp-bounce answers for an address, on port 80. The host has no listener on this port.
#[track_caller]
fn assert_answers(network: &Network, address: &str) {
    connect(network, address, DEADLINE).unwrap_or_else(|error| panic!("{address}: {error}"));
}

/// Checks that tcp-bounce does not answer for an address. The host's kernel refuses connections to its own addresses,
/// and ignores SYNs to other addresses.
#[track_caller]
fn assert_does_not_answer(network: &Network, address: &str) {
    let is_own = [OWN, OWN_V6].contains(&address);
    let error = connect(network, address, if is_own { DEADLINE } else { SILENCE }).expect_err(address);
    let (kind, timeout) = (error.kind(), ErrorKind::TimedOut);
    assert!(kind == ErrorKind::ConnectionRefused && is_own || kind == timeout && !is_own, "{address}: {error}");
}

fn answers_only_for_own_addresses_by_default(mode: Mode) {
    let network = Network::new(mode);
    route_to_host(&network);
    let responder = network.start_responder("");
    assert!(
        responder.0.stdout.text().contains("\n  addresses: 192.0.2.1, 2001:db8::1"),
        "{}",
        responder.0.stdout.text()
    );
    for address in [OWN, OWN_V6] {
        assert_answers(&network, address);
    }
    for address in [NEIGHBOURS, ROUTED].concat() {
        assert_does_not_answer(&network, address);
    }
    network.wait_until_counted(Verdict::OtherDestination, 4);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 2, "{summary:?}");
}

/// Checks frames to another host's MAC address. A switch floods them to all ports until it learns the right port.
fn ignores_foreign_mac_addresses(mode: Mode) {
    let network = Network::new(mode);
    for (address, route) in [(OWN, ""), (OWN_V6, "-6")] {
        network
            .client
            .ip(&format!("{route} neighbor replace {address} lladdr {} dev client0 nud permanent", text(FOREIGN_MAC)));
    }
    for arguments in ["", "--dst any", "--takeover", "--takeover --dst any"] {
        let responder = network.start_responder(arguments);
        for address in [OWN, OWN_V6] {
            let error = connect(&network, address, SILENCE).expect_err(address);
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{arguments} {address}");
        }
        network.wait_until_counted(Verdict::OtherHost, 2);
        let summary = responder.interrupt();
        for words in ["SYNs answered", "other TCP segments dropped"] {
            assert_eq!(summary.count(words), 0, "{arguments} {summary:?}");
        }
    }
}

/// Waits until `is_right` accepts the last list of addresses that tcp-bounce has printed.
#[track_caller]
fn wait_for_destinations(responder: &TcpBounce, is_right: impl Fn(&str) -> bool) {
    let list =
        |text: &str| text.lines().rev().find_map(|line| Some(line.split_once(": now answering for ")?.1.to_owned()));
    let found = responder.0.stdout.wait(|text, _| list(text).filter(|list| is_right(list)));
    assert!(found.is_some(), "{}", responder.0.stdout.text());
}

fn follows_address_changes(mode: Mode) {
    let network = Network::new(mode);
    route_to_host(&network);
    let responder = network.start_responder("");
    for (address, length) in NEIGHBOURS.into_iter().zip(["24", "64 nodad"]) {
        assert_does_not_answer(&network, address);
        network.host.ip(&format!("address add {address}/{length} dev host0"));
        wait_for_destinations(&responder, |list| list.contains(address));
        assert_answers(&network, address);
        assert_answers(&network, OWN);

        network.host.ip(&format!("address del {address}/{} dev host0", length.split(' ').next().unwrap()));
        wait_for_destinations(&responder, |list| !list.contains(address));
        assert_does_not_answer(&network, address);
        assert_answers(&network, OWN);
    }
    responder.interrupt();
}

fn follows_mtu_changes(mode: Mode) {
    /// The length of the padded timestamps option, in bytes. The kernel subtracts it from the MSS.
    const TIMESTAMPS: u32 = 12;
    let network = Network::new(mode);
    let responder = network.start_responder("");
    for (mtu, mss) in [(1500, 1460), (1300, 1260), (1400, 1360)] {
        network.host.ip(&format!("link set host0 mtu {mtu}"));
        // `TCP_MAXSEG` returns the MSS that the client's kernel derived from the SYN-ACK.
        until("for another MSS", || {
            let connection = network.connect(80).unwrap();
            (getsockopt(&connection, TcpMaxSeg) == Ok(mss - TIMESTAMPS)).then_some(())
        });
        for (address, filter, mss) in [(OWN, SYN_ACKS, mss), (OWN_V6, "ip6 and tcp and ip6[53] = 0x12", mss - 20)] {
            let capture = Capture::start(&network.client, "client0", filter, 1, &["tcp.options.mss_val"]);
            assert_answers(&network, address);
            assert_eq!(capture.packets(), [[mss.to_string()]], "{mtu} {address}");
        }
    }
    responder.interrupt();
}

fn follows_mac_address_changes(mode: Mode) {
    const NEW: Mac = [2, 0, 0, 0, 0, 0x55];
    let network = Network::new(mode);
    let responder = network.start_responder("");
    assert_answers(&network, OWN);
    let old = mac(&network.host, "host0");
    network.host.ip(&format!("link set host0 address {}", text(NEW)));
    network.client.ip("neighbor flush dev client0");
    // The host refuses connections until tcp-bounce has seen the new MAC address.
    until("for an answer", || connect(&network, OWN, DEADLINE).ok());
    assert!(network.client.ip(&format!("neighbor show to {HOST}")).contains(&text(NEW)));
    assert_answers(&network, OWN_V6);

    let counted = network.counters()[Verdict::OtherHost];
    inject(&network, old, SYN, 0);
    network.wait_until_counted(Verdict::OtherHost, counted + 1);
    let answered = network.counters()[Verdict::Answered];
    inject(&network, NEW, SYN, 0);
    network.wait_until_counted(Verdict::Answered, answered + 1);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), answered + 1, "{summary:?}");
}

/// Checks SYNs from impossible and from unusual clients. `host0` has no VLAN devices.
fn ignores_broadcast_sources_and_unknown_vlan_tags(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let injector = Injector::new(&network.client, "client0");
    let to = Endpoint { mac: mac(&network.host, "host0"), address: HOST.into(), port: 80 };
    let syn = |source: Ipv4Addr| {
        let from = Endpoint { mac: mac(&network.client, "client0"), address: source.into(), port: 7777 };
        Segment { from, to, flags: SYN, sequence_number: 1, acknowledgment_number: 0, payload: b"" }.frame()
    };
    let assert_verdict = |frame: &[u8], verdict| {
        let counted = network.counters()[verdict];
        injector.send_frame(frame);
        network.wait_until_counted(verdict, counted + 1);
    };
    assert_verdict(&syn(CLIENT), Verdict::Answered);
    assert_verdict(&syn(Ipv4Addr::new(240, 0, 0, 1)), Verdict::Answered);
    assert_verdict(&syn(Ipv4Addr::new(192, 0, 2, 255)), Verdict::NotUnicast);
    let tagged = |tag: [u8; 4]| [&syn(CLIENT)[..12], &tag, &syn(CLIENT)[12..]].concat();
    assert_verdict(&tagged([0x81, 0, 0, 5]), Verdict::OtherVlan);
    // A tag with the identifier 0 only gives a priority.
    assert_verdict(&tagged([0x81, 0, 0xe0, 0]), Verdict::Answered);
    responder.interrupt();

    // Another subnet, and explicit destinations.
    network.host.ip("address add 203.0.113.1/26 dev host0");
    let responder = network.start_responder("--dst 192.0.2.0/24");
    assert_verdict(&syn(Ipv4Addr::new(203, 0, 113, 63)), Verdict::NotUnicast);
    assert_verdict(&syn(Ipv4Addr::new(203, 0, 113, 127)), Verdict::Answered);
    assert_verdict(&tagged([0x81, 0, 0, 5]), Verdict::Answered);
    responder.interrupt();
}

/// Checks what the client receives after a SYN that gets no answer, and a SYN from a reserved address that gets one.
fn sends_nothing_to_broadcast_sources_and_unknown_vlans(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let injector = Injector::new(&network.client, "client0");
    let to = Endpoint { mac: mac(&network.host, "host0"), address: HOST.into(), port: 80 };
    let syn = |source: Ipv4Addr| {
        let from = Endpoint { mac: mac(&network.client, "client0"), address: source.into(), port: 7777 };
        Segment { from, to, flags: SYN, sequence_number: 1, acknowledgment_number: 0, payload: b"" }.frame()
    };
    let reserved = Ipv4Addr::new(240, 0, 0, 1);
    let from_client = syn(CLIENT);
    let tagged = [&from_client[..12], &[0x81, 0, 0, 5], &from_client[12..]].concat();
    let first_answered = [syn(Ipv4Addr::new(192, 0, 2, 255)), tagged].map(|unanswered| {
        let filter = format!("{SYN_ACKS} or (vlan and {SYN_ACKS})");
        let capture = Capture::start(&network.client, "client0", &filter, 1, &["ip.dst"]);
        injector.send_frame(&unanswered);
        injector.send_frame(&syn(reserved));
        capture.packets().concat()
    });
    assert_eq!(first_answered, [[reserved.to_string()], [reserved.to_string()]]);
    responder.interrupt();
}

/// Sends a segment from the client to port 80 of the host. `destination` is the destination MAC address.
fn inject(network: &Network, destination: Mac, flags: u8, acknowledgment_number: u32) {
    let from = Endpoint { mac: mac(&network.client, "client0"), address: CLIENT.into(), port: 7777 };
    let to = Endpoint { mac: destination, address: HOST.into(), port: 80 };
    Injector::new(&network.client, "client0").send(&Segment {
        from,
        to,
        flags,
        sequence_number: 1_000_000,
        acknowledgment_number,
        payload: b"",
    });
}

/// Checks that answering resumes. An interface that goes down loses its IPv6 addresses, so the test adds one again.
fn answers_again_after_the_interface_was_down(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    for _ in 0..2 {
        assert_answers(&network, OWN);
        assert_answers(&network, OWN_V6);
        network.host.ip("link set host0 down");
        wait_for_destinations(&responder, |list| list == OWN);

        network.host.ip("link set host0 up");
        network.host.ip(&format!("address add {HOST_V6}/64 dev host0 nodad"));
        wait_for_destinations(&responder, |list| list.contains(OWN_V6));
    }
    assert_answers(&network, OWN);
    assert_answers(&network, OWN_V6);
    let summary = responder.interrupt();
    assert!(summary.count("handshakes completed") >= 6, "{summary:?}");
}

fn dst_option_limits_the_addresses(mode: Mode) {
    let network = Network::new(mode);
    route_to_host(&network);
    let all = [OWN, OWN_V6, NEIGHBOURS[0], NEIGHBOURS[1], ROUTED[0], ROUTED[1]];
    for (arguments, answered) in [
        ("--dst 192.0.2.1", &all[..1]),
        ("--dst 2001:db8::1", &all[1..2]),
        ("--dst 192.0.2.0/26,2001:db8::/64", &[OWN, OWN_V6, NEIGHBOURS[1]]),
        ("--dst 192.0.2.1 --dst 203.0.113.0/24,2001:db8::1", &[OWN, OWN_V6, ROUTED[0]]),
        ("--dst 192.0.2.77/24", &[OWN, NEIGHBOURS[0]]),
        ("--dst 203.0.113.0/24", &[ROUTED[0]]),
        ("--dst 0.0.0.0/0", &[OWN, NEIGHBOURS[0], ROUTED[0]]),
        ("--dst ::/0", &[OWN_V6, NEIGHBOURS[1], ROUTED[1]]),
        ("--dst any", &all),
        ("--dst 203.0.113.0/24,any", &all),
        ("--takeover", &all[..2]),
        ("--takeover --dst any", &all),
        ("--takeover --dst 192.0.2.1", &all[..1]),
    ] {
        let responder = network.start_responder(arguments);
        for address in all {
            if answered.contains(&address) {
                assert_answers(&network, address);
            } else {
                assert_does_not_answer(&network, address);
            }
        }
        let summary = responder.interrupt();
        assert_eq!(summary.count("SYNs answered"), answered.len() as u64, "{arguments} {summary:?}");
    }
}

/// Adds the addresses [`ROUTED`] to `lo` of the host.
fn add_local_addresses(network: &Network) {
    network.host.ip("link set lo up");
    network.host.ip(&format!("address add {}/32 dev lo", ROUTED[0]));
    network.host.ip(&format!("address add {}/128 dev lo nodad", ROUTED[1]));
}

fn dst_local_answers_for_addresses_of_other_interfaces(mode: Mode) {
    /// An address of `host1`, which the client reaches through `host0`.
    const ELSEWHERE: &str = "203.0.113.9";
    let network = Network::new(mode);
    route_to_host(&network);
    add_local_addresses(&network);
    network.add_cable();
    network.host.ip(&format!("address add {ELSEWHERE}/32 dev host1"));
    network.client.ip(&format!("route add {ELSEWHERE} via {HOST}"));
    let responder = network.start_responder("");
    for address in [&ROUTED[..], &[ELSEWHERE]].concat() {
        let error = connect(&network, address, DEADLINE).expect_err(address);
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}");
    }
    responder.interrupt();

    let responder = network.start_responder("--dst local");
    for address in [&[OWN, OWN_V6, ELSEWHERE], &ROUTED[..]].concat() {
        assert_answers(&network, address);
    }
    assert_does_not_answer(&network, NEIGHBOURS[0]);
    network.host.ip(&format!("address add {}/32 dev lo", NEIGHBOURS[0]));
    until("for the new address to be answered", || connect(&network, NEIGHBOURS[0], DEADLINE).ok());
    network.host.ip(&format!("address del {}/32 dev lo", NEIGHBOURS[0]));
    until("for the removed address", || connect(&network, NEIGHBOURS[0], SILENCE).err());
    responder.interrupt();
}

/// Runs `--check --json` with `arguments`, and returns the report of `host0` and all findings about the host.
#[track_caller]
fn check(network: &Network, arguments: &str) -> (Value, Value) {
    let output = run(&mut TcpBounce::command(&network.host, &format!("--check --json {arguments} host0"))).success();
    let report: Value = serde_json::from_str(&output).unwrap();
    (report["interfaces"][0].clone(), report["host"]["findings"].clone())
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn dst_local_lists_the_addresses_in_json() {
    let network = Network::new(Mode::Skb);
    add_local_addresses(&network);
    let (interface, _) = check(&network, "--dst local");
    let destinations: Vec<&str> =
        interface["destinations"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
    for address in [[OWN, OWN_V6], ROUTED].concat() {
        assert!(destinations.contains(&address), "{address} {destinations:?}");
    }
    for address in ["127.0.0.1", "::1"] {
        assert!(!destinations.contains(&address), "{address} {destinations:?}");
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn unanswered_local_addresses_are_a_warning() {
    let network = Network::new(Mode::Skb);
    let codes = |arguments: &str| {
        let findings = check(&network, arguments).0["findings"].clone();
        findings
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    network.host.ip("link set lo up");
    assert_eq!(codes(""), [""; 0]);
    add_local_addresses(&network);
    assert_eq!(codes(""), ["local_addresses"]);
    for arguments in ["--dst local", "--dst any", "--dst 192.0.2.1"] {
        assert_eq!(codes(arguments), [""; 0], "{arguments}");
    }
    let finding = check(&network, "").0["findings"][0].clone();
    let [message, hint] = ["message", "hint"].map(|member| finding[member].as_str().unwrap());
    assert!(ROUTED.iter().all(|address| message.contains(address)) && hint.contains("--dst local"), "{finding}");

    let responder = network.start_responder("");
    let start = responder.0.stdout.wait_for(ROUTED[0]);
    assert!(start.is_some_and(|text| text.contains("warning: ")));
    responder.interrupt();
}

fn src_option_limits_the_clients(mode: Mode) {
    let network = Network::new(mode);
    for (arguments, v4, v6) in [
        ("--src 192.0.2.2", true, false),
        ("--src 2001:db8::2", false, true),
        ("--src 192.0.2.0/24,2001:db8::/32", true, true),
        ("--src 10.0.0.0/8,192.0.2.2 --src 2001:db8:1::/48", true, false),
        ("--src 192.0.2.0/31 --src 192.0.2.3 --src 2001:db8::/127 --src 2001:db8::3", false, false),
        ("--src 0.0.0.0/0", true, false),
        ("--src ::/0", false, true),
        ("--takeover --src 192.0.2.2", true, false),
    ] {
        let responder = network.start_responder(arguments);
        for (address, is_answered) in [(OWN, v4), (OWN_V6, v6)] {
            if is_answered {
                assert_answers(&network, address);
            } else {
                assert_does_not_answer(&network, address);
            }
        }
        let summary = responder.interrupt();
        assert_eq!(summary.count("SYNs answered"), u64::from(v4) + u64::from(v6), "{arguments} {summary:?}");
        // The client may still retransmit FINs of earlier connections.
        let others = summary.count("passed: from an unselected source");
        assert!(others >= u64::from(!v4) + u64::from(!v6), "{arguments} {summary:?}");
    }
}

fn ports_option_limits_the_ports(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(8002);
    let responder = network.start_responder("--ports 80,8000-8003 --ports 65535 --exclude-ports 8001");
    let words = ": answering on TCP ports 80,8000-8003,65535 except 8002 (local listener) and 8001 (--exclude-ports)\n";
    assert!(responder.0.stdout.text().contains(words), "{}", responder.0.stdout.text());
    for port in [80, 8000, 8003, 65535] {
        network.connect(port).unwrap();
    }
    for port in [1, 79, 81, 7999, 8001, 8004, 65534] {
        network.assert_refused(port);
    }
    exchange(&mut network.connect(8002).unwrap(), &mut accept(&listener));
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 4, "{summary:?}");
}

/// Returns `count` options with prefixes that cannot be merged.
fn separate_prefixes(option: &str, count: u32) -> String {
    (0..count).map(|number| format!("{option} {}/31 ", Ipv4Addr::from(0x0a00_0000 + 4 * number))).collect()
}

fn accepts_4096_prefixes(mode: Mode) {
    let network = Network::new(mode);
    route_to_host(&network);
    // In the first list, only the last prefix matches the client. The second list has matching prefixes near both ends.
    let responder = network.start_responder(&format!("{} --src 192.0.2.2", separate_prefixes("--src", 4095)));
    assert_answers(&network, OWN);
    assert_does_not_answer(&network, OWN_V6);
    responder.interrupt();

    let responder = network.start_responder(&format!(
        "--dst 2001:db8:1::5 {} --dst 192.0.2.77 --dst 9.0.0.0/8",
        separate_prefixes("--dst", 2000)
    ));
    for address in [NEIGHBOURS[0], ROUTED[1]] {
        assert_answers(&network, address);
    }
    for address in [OWN, OWN_V6, NEIGHBOURS[1], ROUTED[0]] {
        assert_does_not_answer(&network, address);
    }
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_more_than_4096_prefixes() {
    let network = Network::new(Mode::Skb);
    for option in ["--src", "--dst"] {
        let reason = usage_error(&network.host, &network.arguments(&separate_prefixes(option, 4097)));
        let words = [option, "lists 4097 separate prefixes", "at most 4096"];
        assert_error(&reason, &words, "merge prefixes");
    }
    network.assert_nothing_is_attached();
    // Adjacent prefixes are merged into one range.
    let halves =
        (0..5000).map(|number| format!("--src 192.0.{}.{}/32 ", number / 256, number % 256)).collect::<String>();
    let responder = network.start_responder(&halves);
    assert_answers(&network, OWN);
    responder.interrupt();
}

#[test]
fn malformed_prefix_error_shows_an_example() {
    for option in ["--dst", "--src"] {
        for prefix in [
            "x",
            "ANY",
            "LOCAL",
            "-1",
            "any/0",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.1/",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/255.255.255.0",
            "192.0.2.1-9",
            "192.0.2.1 192.0.2.2",
            "2001:db8::/129",
            "2001:db8",
            "fe80::1%eth0",
            "[2001:db8::1]",
            "localhost",
        ] {
            let finished = run(Command::new(BINARY).args([option, &format!("10.0.0.0/8,{prefix}"), "nosuch0"]));
            assert_eq!(finished.status.code(), Some(2), "{finished:?}");
            assert_eq!(finished.stdout, "");
            let reason = format!(": \"{prefix}\" is not an address or a prefix\n");
            for words in [option, &reason, "\n  hint: a list looks like 192.0.2.1,10.0.0.0/8,2001:db8::/32"] {
                assert!(finished.stderr.contains(words), "{prefix:?} {finished:?}");
            }
            assert_eq!(finished.stderr.contains("local or any"), option == "--dst", "{prefix:?} {finished:?}");
        }
        for list in ["", " ", "192.0.2.1,", ",192.0.2.1"] {
            let finished = run(Command::new(BINARY).args([option, list, "nosuch0"]));
            assert_eq!(finished.status.code(), Some(2), "{finished:?}");
            assert!(finished.stderr.contains(": empty entry in the list\n"), "{list:?} {finished:?}");
        }
    }
    for word in ["any", "local"] {
        let finished = run(Command::new(BINARY).args(["--src", word, "nosuch0"]));
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    }
}

fn keyed_isn_differs_per_connection_and_completes(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("--isn keyed");
    let capture = Capture::start(&network.client, "client0", SYN_ACKS, 3, &["tcp.seq_raw"]);
    for port in [80, 80, 81] {
        network.connect(port).unwrap();
    }
    let mut numbers = capture.packets().concat();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 3, "{numbers:?}");
    assert!(!numbers.contains(&ISN.to_string()), "{numbers:?}");
    assert_answers(&network, OWN_V6);
    network.wait_until_counted(Verdict::Completed, 4);
    let summary = responder.interrupt();
    assert_eq!(summary.count("handshakes completed"), 4, "{summary:?}");
}

/// Checks an ACK without a SYN before it. The ACK completes a handshake only if the ISN is fixed.
fn only_a_fixed_isn_can_be_forged(mode: Mode) {
    let network = Network::new(mode);
    let host = mac(&network.host, "host0");
    for (arguments, verdict, completed) in [("", Verdict::Completed, 1), ("--isn keyed", Verdict::OtherTcp, 0)] {
        let responder = network.start_responder(arguments);
        inject(&network, host, ACK, ISN + 1);
        network.wait_until_counted(verdict, 1);
        let summary = responder.interrupt();
        assert_eq!(summary.count("handshakes completed"), completed, "{summary:?}");
    }
}

fn key_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Starts tcp-bounce with `arguments`. Returns its start message, and the ISN of its SYN-ACK from port 80.
fn start_and_isn(network: &Network, arguments: &str) -> (String, Vec<String>) {
    let responder = network.start_responder(arguments);
    let start = responder.0.stdout.text();
    let capture = Capture::start(&network.client, "client0", SYN_ACKS, 1, &["tcp.seq_raw"]);
    inject(network, mac(&network.host, "host0"), SYN, 0);
    let number = capture.packets().concat();
    responder.interrupt();
    (start, number)
}

fn equal_keys_give_equal_isn(mode: Mode) {
    let network = Network::new(mode);
    let number = |arguments: &str| start_and_isn(&network, &format!("--isn keyed {arguments}")).1;
    let with_key = |text: &str| {
        let file = key_file(text);
        number(&format!("--key-file {}", file.path().display()))
    };
    let first = with_key("000102030405060708090a0b0c0d0e0f\n");
    assert_eq!(with_key("  000102030405060708090A0B0C0D0E0F"), first);
    let others = [with_key("000102030405060708090a0b0c0d0e0e"), number(""), number("")];
    for (index, other) in others.iter().enumerate() {
        assert!(*other != first && !others[..index].contains(other), "{first:?} {others:?}");
    }
}

/// Checks a key file that can be read only once, as `/dev/stdin` or the output of a command.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn key_file_may_be_a_fifo() {
    const KEY: &str = "000102030405060708090a0b0c0d0e0f";
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let (fifo, file) = (folder.path().join("fifo"), key_file(KEY));
    mkfifo(&fifo, Permissions::S_IRUSR | Permissions::S_IWUSR).unwrap();
    let [configuration, signatures] = ["portspoof.conf", "signatures.conf"].map(|name| folder.path().join(name));
    fs::write(&configuration, "80 \"[a-z]+\"\n").unwrap();
    fs::write(&signatures, "[a-z]+\n").unwrap();
    for arguments in [
        "--isn keyed",
        "--isn keyed --ports 80,random:3",
        &format!("--profile {} --profile-format portspoof", configuration.display()),
        &format!("--profile {} --profile-format portspoof-signatures", signatures.display()),
    ] {
        let with_key = |path: &Path| start_and_isn(&network, &format!("{arguments} --key-file {}", path.display()));
        let expected = with_key(file.path());
        // After the key, the FIFO has no writer, so a second reader would wait.
        let mut writer = Command::new("sh");
        let writer = Process::start(writer.args(["-c", "printf \"$1\" >\"$0\""]).arg(&fifo).arg(KEY));
        assert_eq!(with_key(&fifo), expected, "{arguments}");
        drop(writer);
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_an_endless_key_file() {
    let host = Namespace::new();
    host.ip("link add bridge0 type bridge");
    let reason = usage_error(&host, "--isn keyed --key-file /dev/zero bridge0");
    assert_error(&reason, &["/dev/zero", "32 hexadecimal digits"], "openssl rand -hex 16");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_malformed_keys() {
    const RIGHT: &str = "000102030405060708090a0b0c0d0e0f";
    const HINT: &str = "openssl rand -hex 16";
    let network = Network::new(Mode::Skb);
    let refusal = |arguments: &str| usage_error(&network.host, &network.arguments(arguments));
    let long = "0".repeat(1_000_000);
    let contents = ["", "\n", &RIGHT[1..], &format!("{RIGHT}0"), &format!("0x{}", &RIGHT[2..]), &long];
    let contents = contents.into_iter().map(str::to_owned);
    let more =
        [format!("+{}", &RIGHT[1..]), format!("{RIGHT}\n{RIGHT}"), RIGHT.replace('f', "g"), RIGHT.replace("00", "0 ")];
    for text in contents.chain(more) {
        let file = key_file(&text);
        let path = file.path().display().to_string();
        let reason = refusal(&format!("--isn keyed --key-file {path}"));
        assert_error(&reason, &[&path, "does not consist of 32 hexadecimal digits"], HINT);
    }

    let file = key_file("");
    fs::write(file.path(), [0xff; 32]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for path in [file.path(), folder.path(), &folder.path().join("none")] {
        let path = path.display().to_string();
        assert_error(&refusal(&format!("--isn keyed --key-file {path}")), &["cannot read the key file", &path], HINT);
    }

    let file = key_file(RIGHT);
    let reason = refusal(&format!("--key-file {}", file.path().display()));
    assert_error(&reason, &["--key-file requires --isn keyed"], "add --isn keyed");
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn key_file_that_everyone_can_read_is_a_warning() {
    let network = Network::new(Mode::Skb);
    let file = key_file("000102030405060708090a0b0c0d0e0f");
    let path = file.path().display().to_string();
    let arguments = format!("--isn keyed --key-file {path}");
    let set_mode = |mode| fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
    for mode in [0o600, 0o640, 0o660] {
        set_mode(mode);
        assert_eq!(check(&network, &arguments).1, Value::Array(vec![]), "{mode:o}");
    }
    set_mode(0o644);
    let finding = check(&network, &arguments).1[0].clone();
    assert_eq!((&finding["code"], &finding["severity"]), (&"key_readable".into(), &"warning".into()), "{finding}");
    assert_eq!(finding["message"], format!("everyone can read the key file {path}"));
    assert_eq!(finding["command"], format!("chmod 600 {path}"));

    let responder = network.start_responder(&arguments);
    let start = responder.0.stdout.wait_for(&format!("chmod 600 {path}")).unwrap_or_default();
    assert!(start.contains(&format!("warning: everyone can read the key file {path}\n")), "{start}");
    responder.interrupt();
}
