//! The host's own listeners, connections and other protocols, which tcp-bounce leaves alone.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use tcp_bounce_wire::Verdict;

use crate::fixtures::network::{CLIENT, HOST, HOST_V6, Mode, Network};
use crate::fixtures::{DEADLINE, SILENCE, accept, amount, exchange, is_idle, is_silent};

in_each_mode! {
    listener_keeps_serving_while_other_ports_answer,
    host_connections_keep_flowing,
    large_transfer_arrives_unchanged,
    excludes_listeners_on_all_addresses,
    excludes_a_later_listener_while_it_listens,
    excludes_a_thousand_listeners,
    answers_on_the_port_of_a_loopback_listener,
    except_option_excludes_ports,
    takeover_answers_on_the_port_of_a_listener,
    takeover_drops_host_connections,
    except_option_excludes_ports_under_takeover,
    udp_icmp_and_arp_keep_working,
    excludes_listeners_over_ipv6,
    long_host_transfer_is_left_alone,
}

/// Checks that the responder answers on a port: a connection opens, and nothing arrives on it.
#[track_caller]
fn assert_answers(network: &Network, port: u16) {
    let mut connection = network.connect(port).unwrap();
    assert!(is_silent(&mut connection));
}

/// Checks that a connection reaches `listener`.
#[track_caller]
fn assert_serves(network: &Network, listener: &TcpListener) {
    let mut connection = network.connect(listener.local_addr().unwrap().port()).unwrap();
    exchange(&mut connection, &mut accept(listener));
}

fn listener_keeps_serving_while_other_ports_answer(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(2222);
    let mut open = network.connect(2222).unwrap();
    let mut open_at_host = accept(&listener);

    let responder = network.start_responder("");
    assert!(responder.0.stdout.text().contains(": answering on all TCP ports except 2222 (local listener)\n"));
    for port in [2221, 2223, 22, 65535] {
        assert_answers(&network, port);
        assert_serves(&network, &listener);
        exchange(&mut open, &mut open_at_host);
    }
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 4, "{summary:?}");
    assert_eq!(summary.count("passed: to an excluded port"), 4, "{summary:?}");
    assert!(summary.count("passed: other TCP segments") >= 16, "{summary:?}");
    exchange(&mut open, &mut open_at_host);
}

fn host_connections_keep_flowing(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen_at_client(80);
    let mut old = network.connect_back(80).unwrap();
    let mut old_at_client = accept(&listener);

    let responder = network.start_responder("");
    let mut new = network.connect_back(80).unwrap();
    let mut new_at_client = accept(&listener);
    for port in 1..=10 {
        exchange(&mut old, &mut old_at_client);
        network.connect(port).unwrap();
        exchange(&mut new, &mut new_at_client);
    }
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 10, "{summary:?}");
    assert!(summary.count("passed: other TCP segments") >= 20, "{summary:?}");
}

/// Checks a transfer of 4 MB in each direction. The kernel sends it in segments longer than a frame (GSO).
fn large_transfer_arrives_unchanged(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(2222);
    let responder = network.start_responder("");
    let at_client = network.connect(2222).unwrap();
    let at_host = accept(&listener);
    let data: Vec<u8> = (0..4_000_000_u32).map(|number| (number / 7) as u8).collect();
    for (mut from, mut to) in [(&at_client, &at_host), (&at_host, &at_client)] {
        to.set_read_timeout(Some(DEADLINE)).unwrap();
        from.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut received = vec![0; data.len()];
        thread::scope(|scope| {
            scope.spawn(|| from.write_all(&data).unwrap());
            to.read_exact(&mut received).unwrap();
        });
        assert!(received == data);
    }
    responder.interrupt();
}

fn excludes_listeners_on_all_addresses(mode: Mode) {
    let network = Network::new(mode);
    let bind = |address| network.host.enter(move || TcpListener::bind(address)).unwrap();
    // The listener on `[::]` accepts IPv4 connections too.
    let listeners = ["0.0.0.0:2222", "[::]:2223"].map(bind);
    let responder = network.start_responder("");
    for listener in &listeners {
        assert_serves(&network, listener);
    }
    responder.interrupt();
}

fn excludes_a_later_listener_while_it_listens(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("--listener-grace 0");
    assert_answers(&network, 2222);

    let listener = network.listen(2222);
    responder.0.wait_for("now answering on all TCP ports except 2222 (local listener)\n");
    assert_serves(&network, &listener);
    assert_answers(&network, 2223);

    drop(listener);
    responder.0.wait_for("\nnow answering on all TCP ports\n");
    assert_answers(&network, 2222);
    responder.interrupt();
}

/// Checks more listeners than fit in one netlink message.
fn excludes_a_thousand_listeners(mode: Mode) {
    let network = Network::new(mode);
    let listeners: Vec<_> = (20_000..21_000).map(|port| network.listen(port)).collect();
    let responder = network.start_responder("");
    assert!(responder.0.stdout.text().contains("except 20000-20999 (local listeners)"));
    assert_serves(&network, &listeners[0]);
    assert_serves(&network, &listeners[999]);
    assert_answers(&network, 21_000);
    responder.interrupt();
}

/// Checks that a listener on loopback excludes no port, since packets from the network do not reach it.
fn answers_on_the_port_of_a_loopback_listener(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.host.enter(|| TcpListener::bind("127.0.0.1:2222")).unwrap();
    let responder = network.start_responder("");
    assert_answers(&network, 2222);
    assert!(is_idle(&listener));
    responder.interrupt();
}

fn except_option_excludes_ports(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(443);
    let responder = network.start_responder("--exclude-ports 22,440-450,65535");
    assert!(
        responder.0.stdout.text().contains("except 443 (local listener) and 22,440-450,65535 (--exclude-ports)\n"),
        "{}",
        responder.0.stdout.text()
    );
    for port in [22, 440, 442, 444, 450, 65535] {
        network.assert_refused(port);
    }
    assert_serves(&network, &listener);
    for port in [21, 23, 439, 451, 65534] {
        assert_answers(&network, port);
    }
    responder.interrupt();
}

fn takeover_answers_on_the_port_of_a_listener(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(2222);
    let responder = network.start_responder("--takeover");
    assert!(responder.0.stdout.text().contains("\n  takeover: all other TCP to these addresses is dropped\n"));
    assert_answers(&network, 2222);
    assert!(is_idle(&listener));
    responder.interrupt();
    assert_serves(&network, &listener);
}

fn takeover_drops_host_connections(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen_at_client(80);
    let mut open = network.connect_back(80).unwrap();
    let mut open_at_client = accept(&listener);
    exchange(&mut open, &mut open_at_client);

    let responder = network.start_responder("--takeover");
    open_at_client.write_all(b"lost").unwrap();
    assert!(is_silent(&mut open));
    let address = SocketAddr::from((CLIENT, 80));
    let error = network.host.enter(|| TcpStream::connect_timeout(&address, SILENCE)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    network.wait_until_counted(Verdict::TakenOver, 2);
    let summary = responder.interrupt();
    assert!(summary.count("other TCP segments dropped") >= 2, "{summary:?}");
    assert_eq!(summary.count("SYNs answered"), 0, "{summary:?}");
}

fn except_option_excludes_ports_under_takeover(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(2222);
    let responder = network.start_responder("--takeover --exclude-ports 22,2222");
    assert_serves(&network, &listener);
    network.assert_refused(22);
    assert_answers(&network, 23);
    responder.interrupt();
}

fn udp_icmp_and_arp_keep_working(mode: Mode) {
    let network = Network::new(mode);
    let server = network.host.enter(|| UdpSocket::bind((HOST, 53))).unwrap();
    let client = network.client.enter(|| UdpSocket::bind((CLIENT, 0))).unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
    }
    let responder = network.start_responder("--takeover");

    let mut buffer = [0; 100];
    client.send_to(b"there", (HOST, 53)).unwrap();
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"there");
    server.send_to(b"and back", from).unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 8);

    // No socket has UDP port 54, so the host answers with an ICMP error.
    client.connect((HOST, 54)).unwrap();
    client.send(b"nobody").unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    for (here, there) in [(&network.client, HOST), (&network.host, CLIENT)] {
        here.ip(&format!("neighbor flush to {there}"));
        here.run("ping", &format!("-n -c 3 -i 0.01 -W 30 {there}"));
        assert!(here.ip(&format!("neighbor show to {there}")).contains("lladdr"));
    }
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 0, "{summary:?}");
    assert!(summary.count("passed: not IP") >= 2, "{summary:?}");
    assert!(summary.count("passed: not TCP") >= 8, "{summary:?}");
}

fn excludes_listeners_over_ipv6(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.host.enter(|| TcpListener::bind((HOST_V6, 2222))).unwrap();
    let connect = |port| network.client.enter(|| TcpStream::connect_timeout(&(HOST_V6, port).into(), DEADLINE));

    let responder = network.start_responder("");
    exchange(&mut connect(2222).unwrap(), &mut accept(&listener));
    let mut answered = connect(2223).unwrap();
    assert!(is_silent(&mut answered));
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 1, "{summary:?}");
    assert_eq!(summary.count("handshakes completed"), 1, "{summary:?}");
    assert_eq!(connect(2223).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// Checks that no segment of a long transfer is mistaken for a segment to the responder.
///
/// In a long test run, each direction carries more than 4 GiB, and so uses every sequence number. These include all
/// numbers by which the responder recognises its clients. In native mode, segments are small, so most likely one of
/// them starts with such a number.
fn long_host_transfer_is_left_alone(mode: Mode) {
    let pieces = amount("MEGABYTES", 400, 4200);
    let network = Network::new(mode);
    let listener = network.listen_at_client(5000);
    let responder = network.start_responder("--on-connect echo");
    let mut host_end = network.connect_back(5000).unwrap();
    let mut client_end = accept(&listener);
    let piece: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    let carry = |from: &mut TcpStream, to: &mut TcpStream| {
        to.set_read_timeout(Some(DEADLINE)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| (0..pieces).for_each(|_| from.write_all(&piece).unwrap()));
            let mut received = vec![0; piece.len()];
            for _ in 0..pieces {
                to.read_exact(&mut received).unwrap();
                assert!(received == piece);
            }
        });
    };
    carry(&mut client_end, &mut host_end);
    carry(&mut host_end, &mut client_end);
    let summary = responder.interrupt();
    assert!(summary.count("passed: other TCP segments") > pieces as u64 * 2, "{summary:?}");
    assert_eq!(summary.count("later segments answered"), 0, "{summary:?}");
    assert_eq!(summary.count("later segments dropped"), 0, "{summary:?}");
    exchange(&mut host_end, &mut client_end);
}
