//! The scope of a run: addresses, clients, ports and sequence numbers, and changes of the interface.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::TcpMaxSeg};
use tcp_bounce_wire::Verdict;
use tempfile::NamedTempFile;

use crate::fixtures::capture::Capture;
use crate::fixtures::command::{BINARY, TcpBounce, assert_error, refusal};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{CLIENT, HOST, HOST_V6, Mode, Network};
use crate::fixtures::process::run;
use crate::fixtures::segment::{ACK, Endpoint, Injector, Mac, SYN, Segment, mac, text};
use crate::fixtures::{DEADLINE, SILENCE, accept, exchange, until};

in_each_mode! {
    answers_only_for_own_addresses_by_default,
    ignores_foreign_mac_addresses,
    follows_address_changes,
    follows_mtu_changes,
    follows_mac_address_changes,
    answers_again_after_the_interface_was_down,
    to_option_limits_the_addresses,
    from_option_limits_the_clients,
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
    assert!(responder.0.stdout.text().contains(" for 192.0.2.1, 2001:db8::1"), "{}", responder.0.stdout.text());
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
    let list = |text: &str| text.lines().rev().find_map(|line| Some(line.split_once("from now on for ")?.1.to_owned()));
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

fn to_option_limits_the_addresses(mode: Mode) {
    let network = Network::new(mode);
    route_to_host(&network);
    let all = [OWN, OWN_V6, NEIGHBOURS[0], NEIGHBOURS[1], ROUTED[0], ROUTED[1]];
    for (arguments, answered) in [
        ("--dst 192.0.2.1", &all[..1]),
        ("--dst 2001:db8::1", &all[1..2]),
        ("--dst 192.0.2.0/26 --dst 2001:db8::/64", &[OWN, OWN_V6, NEIGHBOURS[1]]),
        ("--dst 192.0.2.77/24", &[OWN, NEIGHBOURS[0]]),
        ("--dst 203.0.113.0/24", &[ROUTED[0]]),
        ("--dst 0.0.0.0/0", &[OWN, NEIGHBOURS[0], ROUTED[0]]),
        ("--dst ::/0", &[OWN_V6, NEIGHBOURS[1], ROUTED[1]]),
        ("--dst any", &all),
        ("--dst 203.0.113.0/24 --dst any", &all),
        ("--takeover", &all),
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

fn from_option_limits_the_clients(mode: Mode) {
    let network = Network::new(mode);
    for (arguments, v4, v6) in [
        ("--src 192.0.2.2", true, false),
        ("--src 2001:db8::2", false, true),
        ("--src 192.0.2.0/24 --src 2001:db8::/32", true, true),
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
        let others = summary.count("passed: from an address that is not answered");
        assert!(others >= u64::from(!v4) + u64::from(!v6), "{arguments} {summary:?}");
    }
}

fn ports_option_limits_the_ports(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(8002);
    let responder = network.start_responder("--ports 80,8000-8003 --ports 65535 --exclude-ports 8001");
    let words = "of the TCP ports 80,8000-8003,65535 answer but 8002 (the host listens) and 8001 (--exclude-ports)\n";
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
        let reason = refusal(&network.host, &network.arguments(&separate_prefixes(option, 4097)));
        let words = [option, "4097 prefixes", "are too many: 4096 are possible"];
        assert_error(&reason, &words, "join some of them");
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
            "",
            " ",
            "x",
            "ANY",
            "any/0",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.1/",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/255.255.255.0",
            "192.0.2.1-9",
            "192.0.2.1,192.0.2.2",
            "2001:db8::/129",
            "2001:db8",
            "fe80::1%eth0",
            "[2001:db8::1]",
            "localhost",
        ] {
            let finished = run(Command::new(BINARY).args([&format!("{option}={prefix}"), "nosuch0"]));
            assert_eq!(finished.status.code(), Some(2), "{finished:?}");
            assert_eq!(finished.stdout, "");
            for words in [option, "not one address or prefix, which look like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"]
            {
                assert!(finished.stderr.contains(words), "{prefix:?} {finished:?}");
            }
            assert_eq!(finished.stderr.contains("or `any`"), option == "--dst", "{prefix:?} {finished:?}");
        }
    }
    let finished = run(Command::new(BINARY).args(["--src", "any", "nosuch0"]));
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
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

fn equal_keys_give_equal_isn(mode: Mode) {
    let network = Network::new(mode);
    let host = mac(&network.host, "host0");
    let number = |arguments: &str| {
        let responder = network.start_responder(&format!("--isn keyed {arguments}"));
        let capture = Capture::start(&network.client, "client0", SYN_ACKS, 1, &["tcp.seq_raw"]);
        inject(&network, host, SYN, 0);
        let number = capture.packets().concat();
        responder.interrupt();
        number
    };
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

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_an_endless_key_file() {
    let host = Namespace::new();
    host.ip("link add bridge0 type bridge");
    let reason = refusal(&host, "--isn keyed --key-file /dev/zero bridge0");
    assert_error(&reason, &["/dev/zero is no key"], "openssl rand -hex 16");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_malformed_keys() {
    const RIGHT: &str = "000102030405060708090a0b0c0d0e0f";
    const HINT: &str = "openssl rand -hex 16";
    let network = Network::new(Mode::Skb);
    let refusal = |arguments: &str| refusal(&network.host, &network.arguments(arguments));
    let long = "0".repeat(1_000_000);
    let contents = ["", "\n", &RIGHT[1..], &format!("{RIGHT}0"), &format!("0x{}", &RIGHT[2..]), &long];
    let contents = contents.into_iter().map(str::to_owned);
    let more =
        [format!("+{}", &RIGHT[1..]), format!("{RIGHT}\n{RIGHT}"), RIGHT.replace('f', "g"), RIGHT.replace("00", "0 ")];
    for text in contents.chain(more) {
        let file = key_file(&text);
        let path = file.path().display().to_string();
        let reason = refusal(&format!("--isn keyed --key-file {path}"));
        assert_error(&reason, &[&path, "is no key: it must have 32 hexadecimal digits"], HINT);
    }

    let file = key_file("");
    fs::write(file.path(), [0xff; 32]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for path in [file.path(), folder.path(), &folder.path().join("none")] {
        let path = path.display().to_string();
        assert_error(&refusal(&format!("--isn keyed --key-file {path}")), &["cannot read the key in", &path], HINT);
    }

    let file = key_file(RIGHT);
    let reason = refusal(&format!("--key-file {}", file.path().display()));
    assert_error(&reason, &["--key-file is only for --isn keyed"], "add --isn keyed");
    network.assert_nothing_is_attached();
}
