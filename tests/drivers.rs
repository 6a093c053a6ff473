//! Tests of native and skb mode with the driver of a NIC, in the virtual machines of `make test-drivers`.
//!
//! The lines that start with `measured:` are the source of `docs/reference/drivers.md`.

#[path = "it/fixtures/mod.rs"]
#[allow(dead_code, unused_macros, reason = "the tests in `it` use the rest")]
mod fixtures;
#[path = "drivers/lab.rs"]
mod lab;
#[path = "drivers/tap.rs"]
mod tap;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tcp_bounce_wire::Verdict;

use fixtures::host_service::Service;
use fixtures::namespace::Namespace;
use fixtures::network::{HOST, HOSTS, Mode};
use fixtures::{DEADLINE, is_silent, until};
use lab::Lab;

/// The MTUs that are tested, in bytes: that of Ethernet, and one that requires multi-buffer frames in native mode.
const MTUS: [u32; 2] = [1500, 9000];

/// The length, in bytes, of the data in a segment that fills a jumbo frame.
const JUMBO_SEGMENT: usize = 8900;

/// The address of the host's VLAN device.
const VLAN_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

#[test]
fn start_agrees_with_the_check() {
    let mut lab = Lab::new(Mode::Skb);
    for mtu in MTUS {
        if !lab.set_mtu(mtu) {
            println!("measured: MTU {mtu}: not supported");
            continue;
        }
        for mode in ["auto", "native", "skb"] {
            let (predicted, actual) = (lab.check(&format!("--mode {mode}")), lab.run_briefly(mode));
            println!("measured: MTU {mtu}, --mode {mode}: {actual}; predicted: {predicted}");
            if !predicted.has_doubts() {
                assert_eq!(actual.mode, predicted.starts.then_some(predicted.mode), "MTU {mtu}, --mode {mode}");
            }
            if mtu == MTUS[0] {
                assert_eq!(actual.mode, lab.driver().expected(mode), "--mode {mode}");
            }
        }
    }
    lab.finish();
}

/// Follows the hint of `--check` about a large MTU.
#[test]
fn native_mode_works_with_the_mtu_of_the_hint() {
    let mut lab = Lab::new(Mode::Native);
    if !lab.driver().is_native() || !lab.set_mtu(MTUS[1]) {
        return;
    }
    if let Some(command) = lab.check("").command("mtu") {
        println!("measured: MTU {}: {command}", MTUS[1]);
        lab.network.host.ip(command.strip_prefix("ip ").unwrap());
        lab.wait_for_link();
        assert!(lab.check("").command("mtu").is_none());
        assert_eq!(lab.run_briefly("native").mode, Some(Mode::Native), "{command}");
    }
    lab.finish();
}

/// Checks each action with a client of the kernel, over IPv4 and IPv6.
#[test]
fn each_action_answers() {
    for mode in lab::modes() {
        let lab = Lab::new(mode);
        let responder = lab.start(
            "--on-connect reset:1 --on-connect close:2 --on-connect discard:3 --on-connect echo:4 \
             --on-connect tarpit:5 --on-connect identify:6",
        );
        for address in HOSTS {
            let open = |port| lab.network.open(address, port);
            let reset = lab.network.client.enter(|| {
                // The reset may arrive before `connect` returns.
                let server = SocketAddr::new(address, 1);
                TcpStream::connect_timeout(&server, DEADLINE).and_then(|mut stream| stream.read(&mut [0])).unwrap_err()
            });
            assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{mode:?} {reset}");
            assert_eq!(read_to_end(open(2)), "", "close");
            let mut discard = open(3);
            discard.write_all(&[b'.'; 100_000]).unwrap();
            discard.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(discard), "", "discard");
            let mut echo = open(4);
            let sent = "to and fro ".repeat(100);
            echo.write_all(sent.as_bytes()).unwrap();
            echo.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(echo), sent);
            for port in [5, 80] {
                let mut held = open(port);
                held.write_all(b"hello?").unwrap();
                assert!(is_silent(&mut held), "{mode:?} {port}");
            }
            let identified = read_to_end(open(6));
            assert!(identified.contains(" reached from "), "{mode:?} {identified:?}");
        }
        let summary = responder.interrupt();
        assert_eq!(summary.count("handshakes completed and reset"), 2, "{summary:?}");
        assert_eq!(summary.count("handshakes completed, banner sent"), 2, "{summary:?}");
        assert_eq!(summary.count("segments dropped: no room for the payload"), 0, "{summary:?}");
        println!("measured: {mode:?} mode: every action answers over IPv4 and IPv6");
        lab.finish();
    }
}

/// Finds the longest banner that fits into the frame of a handshake's last ACK.
#[test]
fn banners_of_150_bytes_fit() {
    const LENGTHS: [u16; 7] = [150, 200, 250, 400, 600, 900, 1208];
    let mut profile = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    for length in LENGTHS {
        let banner = "x".repeat(length.into());
        let service = format!("name = \"s{length}\"\nports = \"{length}\"\nbanner = \"{banner}\"\nend = \"close\"\n");
        write!(profile, "[[service]]\n{service}").unwrap();
    }
    for mode in lab::modes() {
        let lab = Lab::new(mode);
        let responder = lab.start(&format!("--profile {}", profile.path().display()));
        let mut longest = 0;
        for (index, length) in LENGTHS.into_iter().enumerate() {
            let stream = lab.network.open(HOST.into(), length);
            let fits = until("for the end of the handshake", || {
                let counters = lab.network.counters();
                let (sent, dropped) = (counters[Verdict::Greeted], counters[Verdict::NoRoomForPayload]);
                (sent + dropped > index as u64).then_some(dropped == 0)
            });
            if !fits {
                break;
            }
            assert_eq!(read_to_end(stream).len(), usize::from(length));
            longest = length;
        }
        println!("measured: {mode:?} mode: banners of {longest} bytes fit");
        assert!(longest >= LENGTHS[0], "{mode:?}");
        drop(responder);
        lab.finish();
    }
}

/// Checks replies to jumbo frames. In native mode, a reply is shorter than its multi-buffer frame. Afterwards, a
/// service of the host must receive its data unchanged, so the kernel uses no memory twice.
#[test]
fn answers_jumbo_frames() {
    const SEGMENTS: usize = 400;
    for mode in lab::modes() {
        let mut lab = Lab::new(mode);
        if !lab.set_mtu(MTUS[1]) {
            return;
        }
        if lab.run_briefly(mode.name()).mode.is_none() {
            println!("measured: MTU {}, {mode:?} mode: refused", MTUS[1]);
            lab.finish();
            continue;
        }
        let responder = lab.start("--on-connect discard:3");
        let mut discard = lab.network.open(HOST.into(), 3);
        discard.write_all(&vec![0xee; SEGMENTS * JUMBO_SEGMENT]).unwrap();
        discard.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(discard), "");
        lab.transfer_to_host();
        println!("measured: MTU {}, {mode:?} mode: {SEGMENTS} jumbo segments answered", MTUS[1]);
        drop(responder);
        lab.finish();
    }
}

/// Checks that `--check` warns if and only if replies for a VLAN device are lost, and that its hint helps.
#[test]
fn warns_if_tags_are_stripped() {
    /// The time for a handshake that must fail. If it is too short, it can hide a failure, but not cause one.
    const BRIEFLY: Duration = Duration::from_secs(5);
    for mode in lab::modes() {
        let lab = Lab::new(mode);
        // The client's VLAN device has its own namespace. Otherwise the client would accept replies without a tag.
        let client = Namespace::new();
        lab.network.client.ip("link add link client0 name vlan5 type vlan id 5");
        lab.network.client.ip(&format!("link set vlan5 netns {}", client.path()));
        lab.network.host.ip("link add link host0 name vlan5 type vlan id 5");
        for (namespace, address) in [(&lab.network.host, VLAN_ADDRESS), (&client, Ipv4Addr::new(198, 51, 100, 2))] {
            namespace.ip(&format!("address add {address}/24 dev vlan5"));
            namespace.ip("link set vlan5 up");
        }
        for offloads in ["rxvlan on txvlan on", "rxvlan on txvlan off", "rxvlan off"] {
            if !lab.set_vlan_offloads(offloads) {
                println!("measured: {mode:?} mode, {offloads}: not supported");
                continue;
            }
            let warns = lab.check(&format!("--mode {}", mode.name())).command("vlan_tags").is_some();
            let responder = lab.start("");
            let patience = if warns { BRIEFLY } else { DEADLINE };
            let connect = || TcpStream::connect_timeout(&SocketAddr::new(VLAN_ADDRESS.into(), 80), patience);
            let connects = client.enter(connect).is_ok();
            println!("measured: {mode:?} mode, {offloads}: replies arrive: {connects}, warning: {warns}");
            assert_eq!(connects, !warns, "{mode:?} mode, {offloads}");
            drop(responder);
        }
        lab.set_vlan_offloads("rxvlan on txvlan on");
        // The kernel deletes the devices of a namespace some time after its end, but the next mode has the same NICs.
        for namespace in [&lab.network.host, &client] {
            namespace.ip("link delete vlan5");
        }
        lab.finish();
    }
}

/// Checks that a client of the host is served while the program is attached and detached, and that the link comes back.
#[test]
fn link_survives_attachments_under_traffic() {
    const ATTACHMENTS: u32 = 5;
    for mode in lab::modes() {
        let lab = Lab::new(mode);
        let service = Service::new(&lab.network, HOST);
        let ((), times) = service.during(|| {
            for _ in 0..ATTACHMENTS {
                let responder = lab.start("");
                lab.network.connect(80).unwrap();
                responder.interrupt();
                lab.wait_for_link();
            }
        });
        let longest = times.last().unwrap();
        println!(
            "measured: {mode:?} mode: the link came back {ATTACHMENTS} times, the longest request took {longest:?}"
        );
        lab.finish();
    }
}

/// Reads until the host closes the connection, and returns the text.
#[track_caller]
fn read_to_end(mut stream: TcpStream) -> String {
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    received
}
