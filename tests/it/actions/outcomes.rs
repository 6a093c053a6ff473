//! Each post-handshake action, as the client's kernel and common tools see it.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;

use etherparse::Ipv4Header;
use siphasher::sip::SipHasher13;
use tcp_bounce_wire::post_handshake::{SegmentVariables, isn_offset};
use tcp_bounce_wire::{Action, ActionSet, Verdict};
use tempfile::NamedTempFile;

use crate::fixtures::capture::Capture;
use crate::fixtures::command::{assert_error, usage_error};
use crate::fixtures::network::{CLIENT, HOST, HOSTS, Mode, Network};
use crate::fixtures::process::{Finished, Process, run};
use crate::fixtures::segment::{ACK, Endpoint, Injector, SYN, Segment, mac};
use crate::fixtures::{DEADLINE, accept, exchange, is_silent, until};

in_each_mode! {
    close_and_discard_end_netcat,
    reset_fails_curl,
    close_ends_the_connection_on_both_sides,
    discard_accepts_100_megabytes,
    echo_returns_data_to_netcat,
    tarpit_accepts_no_data_and_holds_clients,
    tarpit_holds_clients_that_fill_the_window,
    conntrack_sees_the_end_of_connections,
    each_port_has_its_own_action,
    responder_leaves_matching_host_connection_alone,
    echo_leaves_matching_host_connection_alone,
    echo_and_tarpit_refuse_a_fixed_isn,
    fragmented_data_gets_no_reset,
}

/// Reads until the host closes the connection, and returns the data.
#[track_caller]
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    received
}

/// Runs `nc`, which sends `input` and then a FIN.
#[track_caller]
fn netcat(network: &Network, address: IpAddr, port: u16, input: &[u8]) -> Finished {
    let mut command = network.client.command("nc.openbsd");
    command.args(["-N", &address.to_string(), &port.to_string()]);
    let mut process = Process::start_as_is(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut stdin = process.child.stdin.take().unwrap();
    let input = input.to_vec();
    thread::spawn(move || stdin.write_all(&input));
    process.finish()
}

/// Checks that `close` and `discard` answer the FIN of `nc`, which would not end otherwise.
fn close_and_discard_end_netcat(mode: Mode) {
    for action in ["close", "discard"] {
        let network = Network::new(mode);
        let responder = network.start_responder(&format!("--on-connect {action}"));
        for address in HOSTS {
            for input in [&b""[..], b"some words\n", &[b'.'; 100_000]] {
                let finished = netcat(&network, address, 80, input);
                assert!(finished.status.success(), "{action}: {finished:?}");
                assert_eq!(finished.stdout, "");
            }
        }
        until("for the last ACKs", || network.client.sockets("connected exclude time-wait").is_empty().then_some(()));
        let summary = responder.interrupt();
        assert!(summary.count("later segments answered") >= 6, "{summary:?}");
        let closed = summary.count("handshakes completed and closed");
        assert_eq!(closed, if action == "close" { 6 } else { 0 }, "{summary:?}");
    }
}

fn reset_fails_curl(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("--on-connect reset");
    for address in ["192.0.2.1", "[2001:db8::1]"] {
        let mut curl = network.client.command("curl");
        let finished = run(curl.args(["-sS", "-v", "-m", "30", &format!("http://{address}/")]));
        assert!(!finished.status.success(), "{finished:?}");
        assert!(finished.stderr.to_lowercase().contains("connection reset by peer"), "{finished:?}");
    }
    for address in HOSTS {
        // The reset may arrive before `connect` returns.
        let address = SocketAddr::new(address, 80);
        let error = network.client.enter(|| {
            TcpStream::connect_timeout(&address, DEADLINE).and_then(|mut stream| stream.read(&mut [0])).unwrap_err()
        });
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(network.client.sockets("all"), "");
    assert_eq!(responder.interrupt().count("handshakes completed and reset"), 4);
}

fn close_ends_the_connection_on_both_sides(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("--on-connect close");
    for address in HOSTS {
        let mut stream = network.open(address, 80);
        assert_eq!(read_to_end(&mut stream), b"");
        // The responder has closed only its own direction.
        stream.write_all(&[7; 300_000]).unwrap();
        until("for an acknowledgment of all", || {
            network.client.sockets("close-wait").contains("bytes_acked:300001").then_some(())
        });
        drop(stream);
        // The client closed second, so its socket skips TIME-WAIT.
        until("for the end", || network.client.sockets("all").is_empty().then_some(()));
    }
    let summary = responder.interrupt();
    assert_eq!(summary.count("handshakes completed and closed"), 2, "{summary:?}");
}

const SENDER: &str = "
import socket, sys
data = bytes(1000000)
connection = socket.create_connection((sys.argv[1], 9), timeout=60)
for _ in range(100): connection.sendall(data)
connection.shutdown(socket.SHUT_WR)
assert connection.recv(1) == b''
info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
print(int.from_bytes(info[100:104], sys.byteorder), int.from_bytes(info[120:128], sys.byteorder))
";

fn discard_accepts_100_megabytes(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("--on-connect discard");
    for address in HOSTS {
        let mut python = network.client.command("python3");
        let output = run(python.args(["-c", SENDER, &address.to_string()])).success();
        println!("{address}: {output}");
        let (retransmitted, acknowledged) = output.trim().split_once(' ').unwrap();
        // `bytes_acked` also counts the SYN, the FIN, or both.
        let beyond = acknowledged.parse::<u64>().unwrap() - 100_000_000;
        assert!((1..=2).contains(&beyond), "{output}");
        let retransmitted: u32 = retransmitted.parse().unwrap();
        assert!(retransmitted < 1000, "{retransmitted} of about 70,000 segments were retransmitted");
    }
    assert_eq!(network.client.sockets("connected exclude time-wait"), "");
    assert_eq!(responder.interrupt().count("handshakes completed"), 2);
}

fn echo_returns_data_to_netcat(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("--on-connect echo");
    for address in HOSTS {
        for length in [0, 1, 535, 536, 537, 100_000] {
            let input: Vec<u8> = (0..length).map(|byte| b' ' + (byte % 89) as u8).collect();
            let finished = netcat(&network, address, 7, &input);
            assert!(finished.status.success(), "{finished:?}");
            assert_eq!(finished.stdout.as_bytes(), input);
        }
    }
    assert_eq!(network.client.sockets("connected exclude time-wait"), "");
    drop(responder);
}

/// Checks clients that send a line. The kernel retransmits data that is in flight when the window closes. It probes a
/// window that was closed from the start, with another timer.
fn tarpit_accepts_no_data_and_holds_clients(mode: Mode) {
    const LINE: &[u8] = b"SSH-2.0-scanner\r\n";
    for (options, timer) in [("--on-connect tarpit", "timer:(on"), ("--on-connect tarpit --window 0", "timer:(persist")]
    {
        let network = Network::new(mode);
        let responder = network.start_responder(options);
        let mut streams = HOSTS.map(|address| network.open(address, 22));
        network.wait_until_counted(Verdict::Completed, 2);
        assert_eq!(network.counters()[Verdict::Replied], 0, "a last ACK without data gets no answer");
        for stream in &mut streams {
            stream.write_all(LINE).unwrap();
        }
        // Wait for eight answers to data or window probes, about four on each connection.
        network.wait_until_counted(Verdict::Replied, 8);
        let held = network.client.sockets("established");
        assert_eq!(held.matches(timer).count(), 2, "{options}: {held}");
        assert_eq!(held.matches("bytes_acked:1 ").count(), 2, "only the SYN is acknowledged: {held}");
        assert_eq!(send_queues(&held), [LINE.len(); 2], "{held}");
        assert!(streams.iter_mut().all(is_silent));
        drop(streams);
        // The FINs wait behind data that the host does not accept.
        let are_held = || network.client.sockets("fin-wait-1").matches(timer).count() == 2;
        until("for the timers of both clients", || are_held().then_some(()));
        drop(responder);
    }
}

/// Checks clients that have many segments in flight when the window closes. Without SACK, the kernel takes the answers
/// for signs of a loss.
fn tarpit_holds_clients_that_fill_the_window(mode: Mode) {
    const SIZE: usize = 40_000;
    /// The segments of the largest window, at the MTU of Ethernet.
    const MAX_SEGMENTS: u64 = 65_535 / 1428 + 1;

    for has_sack in ["1", "0"] {
        let network = Network::new(mode);
        network.client.sysctl("ipv4/tcp_sack", has_sack);
        let responder = network.start_responder("--on-connect tarpit");
        let mut streams = HOSTS.map(|address| network.open(address, 80));
        for stream in &mut streams {
            stream.write_all(&[b'x'; SIZE]).unwrap();
        }
        // While the kernel retransmits, it shows no timer.
        let held = until("for four retransmissions and a timer on each connection", || {
            let held = network.client.sockets("established");
            let enough = retransmissions(&held).iter().filter(|&&count| count >= 4).count();
            (enough == 2 && held.matches("timer:(on").count() == 2).then_some(held)
        });
        assert_eq!(held.matches("bytes_acked:1 ").count(), 2, "only the SYN is acknowledged: {held}");
        assert_eq!(send_queues(&held), [SIZE; 2], "{held}");
        assert!(streams.iter_mut().all(is_silent));
        let counters = network.counters();
        assert_eq!(counters[Verdict::OtherTcp], 0, "no segment was passed to the host: {counters:?}");
        assert!(counters[Verdict::Replied] <= 2 * (MAX_SEGMENTS + 8), "{counters:?}");
        drop(responder);
    }
}

/// Returns the number of retransmitted segments of each socket in a listing of [`Namespace::sockets`].
///
/// [`Namespace::sockets`]: crate::fixtures::namespace::Namespace::sockets
fn retransmissions(listing: &str) -> Vec<u64> {
    let fields = listing.split_whitespace().filter_map(|field| field.strip_prefix("retrans:"));
    fields.map(|field| field.rsplit('/').next().unwrap().parse().unwrap()).collect()
}

/// Returns the number of unacknowledged bytes of each socket in a listing of [`Namespace::sockets`].
///
/// [`Namespace::sockets`]: crate::fixtures::namespace::Namespace::sockets
fn send_queues(listing: &str) -> Vec<usize> {
    let sockets = listing.lines().filter(|line| !line.starts_with(char::is_whitespace));
    sockets.map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect()
}

/// Checks that conntrack, on which firewalls and load balancers rely, sees the end of connections and can forget them.
fn conntrack_sees_the_end_of_connections(mode: Mode) {
    for (action, ends) in [("close", ["TIME_WAIT", "CLOSE"]), ("reset", ["CLOSE"; 2]), ("discard", ["TIME_WAIT"; 2])] {
        let network = Network::new(mode);
        let client = &network.client;
        client.run("nft", "add table inet track");
        client.run("nft", "add chain inet track input { type filter hook input priority 0 ; }");
        // Drop packets that conntrack assigns to no connection.
        client.run("nft", "add rule inet track input ct state invalid drop");
        let responder = network.start_responder(&format!("--on-connect {action}"));
        for address in HOSTS {
            let target = SocketAddr::new(address, 80);
            let stream = client.enter(|| TcpStream::connect_timeout(&target, DEADLINE));
            if let Ok(mut stream) = stream {
                // The write may fail if the reset arrives first.
                let _ = stream.write_all(b"some words").and_then(|()| stream.shutdown(Shutdown::Write));
                let _ = stream.read(&mut [0]);
            }
        }
        until(&format!("for both connections in {ends:?} after {action}"), || {
            let table = client.enter(|| fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap());
            let lines: Vec<&str> = table.lines().filter(|line| line.contains("dport=80 ")).collect();
            let has_ended = |line: &&str| ends.iter().any(|end| line.contains(&format!(" {end} ")));
            (lines.len() == 2 && lines.iter().all(has_ended)).then_some(())
        });
        drop(responder);
    }
}

fn each_port_has_its_own_action(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder(
        "--on-connect discard:9 --on-connect echo:7 --on-connect tarpit:22-23 --on-connect reset:1 --on-connect ignore:100 --on-connect close",
    );
    let output = responder.0.stdout.text();
    let plan = "discard on 9, echo on 7, tarpit on 22-23, reset on 1, ignore on 100, close on the others";
    assert!(output.contains(&format!("\n  on connect: {plan}\n")), "{output}");
    assert!(output.contains("\n  sequence numbers: keyed (required by echo and tarpit)"), "{output}");
    for address in HOSTS {
        let mut echo = network.open(address, 7);
        echo.write_all(b"there and back").unwrap();
        let mut received = [0; 14];
        echo.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"there and back");

        let mut discard = network.open(address, 9);
        discard.write_all(b"some words").unwrap();
        discard.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut discard), b"");

        assert_eq!(read_to_end(&mut network.open(address, 80)), b"", "close");
        let mut silent = [22, 23, 100].map(|port| network.open(address, port));
        for stream in &mut silent {
            stream.write_all(b"hello?").unwrap();
            assert!(is_silent(stream), "{stream:?}");
        }
        let held = until("for the timers of three clients, which retransmit", || {
            let held = network.client.sockets("established");
            (held.matches("timer:(on").count() == 3).then_some(held)
        });
        // The details of a socket show its window, unless the window is closed.
        let details = held.lines().filter(|line| line.starts_with(char::is_whitespace));
        assert_eq!(details.filter(|line| !line.contains(" snd_wnd:")).count(), 2, "tarpit on 22, 23: {held}");
    }
    drop(responder);
}

/// Checks that a host connection keeps working if its segments acknowledge the responder's ISN plus one.
fn responder_leaves_matching_host_connection_alone(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen_at_client(5000);
    let capture = Capture::start(&network.host, "host0", "tcp port 5000", 3, &["tcp.seq_raw"]);
    let mut host_end = network.connect_back(5000).unwrap();
    let mut client_end = accept(&listener);
    let handshake = capture.packets();
    let acknowledged: u32 = handshake[2][0].parse().unwrap();
    host_end.set_read_timeout(Some(DEADLINE)).unwrap();
    for action in ["ignore", "reset", "close", "discard"] {
        let isn = acknowledged.wrapping_sub(1);
        let responder = network.start_responder(&format!("--isn {isn} --on-connect {action}"));
        for _ in 0..3 {
            client_end.write_all(b"for the host").unwrap();
            let mut received = [0; 12];
            host_end.read_exact(&mut received).unwrap();
            assert_eq!(&received, b"for the host");
        }
        let summary = responder.interrupt();
        assert!(summary.count("passed: other TCP segments") >= 3, "{action} {summary:?}");
        assert_eq!(summary.count("later segments answered"), 0, "{action} {summary:?}");
        assert_eq!(summary.count("later segments dropped"), 0, "{action} {summary:?}");
    }
    exchange(&mut host_end, &mut client_end);
}

fn echo_and_tarpit_refuse_a_fixed_isn(mode: Mode) {
    let network = Network::new(mode);
    for action in ["echo:7", "tarpit"] {
        let reason = usage_error(&network.host, &network.arguments(&format!("--isn 5 --on-connect {action}")));
        assert_error(&reason, &["--isn keyed", action.split(':').next().unwrap()], "remove --isn");
    }
    network.assert_nothing_is_attached();
}

/// Checks that a host connection keeps working if its sequence numbers are valid for an echo connection. The test
/// searches for a key that makes them valid.
fn echo_leaves_matching_host_connection_alone(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen_at_client(5000);
    // In one connection of four, the difference between the two ends' sequence numbers is a possible ISN offset.
    let (mut host_end, mut client_end, distance) = until("for a connection with fitting numbers", || {
        let capture = Capture::start(&network.host, "host0", "tcp port 5000", 3, &["tcp.seq_raw", "tcp.ack_raw"]);
        let host_end = network.connect_back(5000).unwrap();
        let client_end = accept(&listener);
        let packets = capture.packets();
        let [sequence, acknowledgment] = [0, 1].map(|field| packets[1][field].parse::<u32>().unwrap());
        let distance = acknowledgment.wrapping_sub(sequence.wrapping_add(1));
        (isn_offset(0)..=isn_offset(u32::MAX)).contains(&distance).then_some((host_end, client_end, distance))
    });
    let port = host_end.local_addr().unwrap().port();
    let ends = [&CLIENT.octets()[..], &HOST.octets(), &5000u16.to_be_bytes(), &port.to_be_bytes()].concat();
    let offset_of = |key: u128| isn_offset(SipHasher13::new_with_key(&key.to_be_bytes()).hash(&ends) as u32);
    let key = (0..u128::MAX).find(|&key| offset_of(key).abs_diff(distance) < 100).unwrap();
    let segment = SegmentVariables {
        sequence_number: 0,
        acknowledgment_number: distance,
        payload_length: 12,
        flags: ACK,
        window: 65535,
    };
    assert!(segment.classify(ActionSet::only(Action::Echo), offset_of(key)).is_some(), "the segment matches the key");

    let mut file = NamedTempFile::new().unwrap();
    write!(file, "{key:032x}").unwrap();
    let responder =
        network.start_responder(&format!("--on-connect echo --isn keyed --key-file {}", file.path().display()));
    for _ in 0..3 {
        exchange(&mut host_end, &mut client_end);
    }
    let summary = responder.interrupt();
    assert!(summary.count("passed: other TCP segments") >= 3, "{summary:?}");
    assert_eq!(summary.count("later segments answered"), 0, "{summary:?}");
    assert_eq!(summary.count("later segments dropped"), 0, "{summary:?}");
}

/// Splits a frame with an IPv4 packet into two fragments. The first one has 40 bytes after the IPv4 header.
fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    let (ethernet, packet) = frame.split_at(14);
    let (header, payload) = Ipv4Header::from_slice(packet).unwrap();
    [(0, true, &payload[..40]), (5, false, &payload[40..])].map(|(offset, more_fragments, part): (u16, bool, &[u8])| {
        let mut header = Ipv4Header { dont_fragment: false, more_fragments, ..header.clone() };
        header.fragment_offset = offset.try_into().unwrap();
        header.set_payload_len(part.len()).unwrap();
        let mut fragment = ethernet.to_vec();
        header.write(&mut fragment).unwrap();
        fragment.extend(part);
        fragment
    })
}

/// Checks data in IP fragments. The host would reset it, since it does not know the connection.
fn fragmented_data_gets_no_reset(mode: Mode) {
    const ISN: u32 = 7;
    let network = Network::new(mode);
    let responder = network.start_responder(&format!("--isn {ISN}"));
    let end = |namespace, interface, address: Ipv4Addr, port| Endpoint {
        mac: mac(namespace, interface),
        address: address.into(),
        port,
    };
    let data = Segment {
        from: end(&network.client, "client0", CLIENT, 7777),
        to: end(&network.host, "host0", HOST, 80),
        flags: ACK,
        sequence_number: 1,
        acknowledgment_number: ISN + 1,
        payload: &[b'.'; 44],
    };
    let syn = Segment { flags: SYN, acknowledgment_number: 0, payload: b"", ..data };
    let filter = format!("src host {HOST} and tcp src port 80");
    let capture = Capture::start(&network.client, "client0", &filter, 1, &["tcp.flags"]);
    let injector = Injector::new(&network.client, "client0");
    fragments(&data.frame()).iter().for_each(|fragment| injector.send_frame(fragment));
    // The reply leaves the host after a reset would.
    network.client.run("ping", &format!("-n -c 1 -W 30 {HOST}"));
    injector.send(&syn);
    assert_eq!(capture.packets(), [["0x0012"]]);
    responder.interrupt();
}
