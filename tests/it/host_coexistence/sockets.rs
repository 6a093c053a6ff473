//! The host's sockets, which tcp-bounce recognises by their addresses and ports, from the moment that they exist.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::sockopt::{BindToDevice, Ipv6V6Only, ReceiveTimeout, ReuseAddr, SendTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, SetSockOpt, Shutdown, SockFlag, SockType, SockaddrStorage, bind, connect, listen,
    setsockopt, shutdown, socket,
};
use nix::sys::time::TimeVal;
use tcp_bounce_wire::Verdict;

use crate::fixtures::capture::Capture;
use crate::fixtures::command::TcpBounce;
use crate::fixtures::network::{CLIENT, HOST, HOST_V6, HOSTS, Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::seccomp::{RAW_TRACEPOINTS, deny};
use crate::fixtures::segment::{Endpoint, Injector, SYN, Segment, mac, text};
use crate::fixtures::{DEADLINE, accept, amount, exchange, is_silent, set_tcp_option, until};

in_each_mode! {
    serves_each_listener_at_once,
    serves_listeners_without_bind_at_once,
    listener_excludes_only_its_address,
    listener_excludes_only_its_family,
    excludes_listeners_that_are_bound_to_the_bridge_above,
    closed_listener_is_refused_for_the_grace_time,
    closed_listener_is_refused_for_ten_seconds_by_default,
    closed_listener_is_refused_if_the_kernel_selected_its_port,
    without_grace_a_closed_listener_is_answered_at_once,
    closed_loopback_listener_gets_no_grace_time,
    simultaneous_opens_succeed,
    syns_for_closing_connections_reach_the_host,
    host_answers_syns_for_closing_connections,
    takes_no_segment_of_many_short_connections,
    takeover_takes_segments_with_its_isn,
    quiet_connections_survive_the_upkeep_of_the_table,
    serves_listeners_without_the_tracepoint,
}

/// The maximum time for which a client waits for a listener's first bytes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The fixed ISN of the responder, and of the host's connections that [`open_with_isn`] opens.
const ISN: u32 = 0x5eed_0000;

/// Opens a TCP socket for addresses of the family of `address`, and binds it unless the port is 0.
fn open_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let opened = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&opened, ReuseAddr, &true)?;
    if address.port() != 0 {
        bind(opened.as_raw_fd(), &SockaddrStorage::from(address))?;
    }
    Ok(opened)
}

/// Listens on `address`, after setting an option of the socket.
fn listen_with<O: SetSockOpt>(address: SocketAddr, option: O, value: &O::Val) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let opened = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&opened, option, value)?;
    bind(opened.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&opened, Backlog::new(16)?)?;
    Ok(opened.into())
}

/// Connects from `local` to `remote`, within [`PATIENCE`].
fn connect_from(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    connect_socket(open_socket(local)?, remote)
}

fn connect_socket(opened: OwnedFd, remote: SocketAddr) -> io::Result<TcpStream> {
    setsockopt(&opened, SendTimeout, &TimeVal::new(PATIENCE.as_secs() as i64, 0))?;
    connect(opened.as_raw_fd(), &SockaddrStorage::from(remote))?;
    setsockopt(&opened, SendTimeout, &TimeVal::new(0, 0))?;
    Ok(opened.into())
}

/// Connects from `local` to `remote`, with [`ISN`] as the initial sequence number.
///
/// The other end acknowledges `ISN + 1` until data arrives. To the responder with this ISN, each segment looks like one
/// of a connection that the responder accepted.
fn open_with_isn(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    // `linux/tcp.h`. The kernel selects an ISN only if the socket has no sequence number.
    const TCP_SEND_QUEUE: u32 = 2;
    const TCP_REPAIR_OFF_NO_WP: i32 = -1;
    let opened = open_socket(local)?;
    set_tcp_option(&opened, libc::TCP_REPAIR, 1)?;
    set_tcp_option(&opened, libc::TCP_REPAIR_QUEUE, TCP_SEND_QUEUE as i32)?;
    set_tcp_option(&opened, libc::TCP_QUEUE_SEQ, ISN as i32)?;
    set_tcp_option(&opened, libc::TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)?;
    // The end of the repair mode forbids to share the port with connections in TIME_WAIT.
    setsockopt(&opened, ReuseAddr, &true)?;
    connect_socket(opened, remote)
}

/// Connects from the client to `address`, and returns whether a listener of the host serves the connection.
fn is_served(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read(&mut [0]).is_ok_and(|length| length == 1)
}

/// Checks that the responder answers at `address`.
#[track_caller]
fn assert_answers(network: &Network, address: impl Into<IpAddr>, port: u16) {
    let address = SocketAddr::new(address.into(), port);
    let mut stream = network.client.enter(|| TcpStream::connect_timeout(&address, DEADLINE)).unwrap();
    assert!(is_silent(&mut stream), "{address}");
}

/// Checks that a listener on `address` serves the client.
#[track_caller]
fn assert_serves(network: &Network, address: impl Into<IpAddr>, listener: &TcpListener) {
    let address = SocketAddr::new(address.into(), listener.local_addr().unwrap().port());
    let mut stream = network.client.enter(|| TcpStream::connect_timeout(&address, DEADLINE)).unwrap();
    exchange(&mut stream, &mut accept(listener));
}

/// Opens `number` listeners on the host, one after another, and returns how many of them serve a client that connects
/// as soon as it knows the port.
fn count_served(network: &Network, number: usize, open: impl Fn() -> (TcpListener, SocketAddr) + Send) -> usize {
    let (sender, addresses) = mpsc::channel();
    let serve = move || {
        for _ in 0..number {
            let (listener, address) = open();
            sender.send(address).unwrap();
            accept(&listener).write_all(b"x").unwrap();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| network.host.enter(serve));
        network.client.enter(move || addresses.iter().filter(|&address| is_served(address)).count())
    })
}

/// Checks a server that opens a port and names it at once, such as an FTP server in passive mode.
fn serves_each_listener_at_once(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    for address in HOSTS {
        let open = || {
            let listener = TcpListener::bind((address, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            (listener, address)
        };
        assert_eq!(count_served(&network, 200, open), 200, "{address}");
    }
    assert_answers(&network, HOST, 80);
    responder.interrupt();
}

/// Checks listeners whose port the kernel selects in `listen(2)`. It does not report this port.
fn serves_listeners_without_bind_at_once(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let open = || {
        let opened = open_socket((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        listen(&opened, Backlog::new(1).unwrap()).unwrap();
        let listener = TcpListener::from(opened);
        let port = listener.local_addr().unwrap().port();
        (listener, SocketAddr::from((HOST, port)))
    };
    assert_eq!(count_served(&network, 50, open), 50);
    // The upkeep completes the table after about a second.
    let (listener, address) = network.host.enter(open);
    for _ in 0..30 {
        thread::sleep(Duration::from_millis(100));
        assert_serves(&network, address.ip(), &listener);
    }
    responder.interrupt();
}

fn listener_excludes_only_its_address(mode: Mode) {
    const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
    let network = Network::new(mode);
    network.host.ip(&format!("address add {SECOND}/24 dev host0"));
    let listener = network.listen(81);
    let responder = network.start_responder("");
    for _ in 0..2 {
        assert_serves(&network, HOST, &listener);
        assert_answers(&network, SECOND, 81);
        assert_answers(&network, HOST_V6, 81);
    }
    responder.interrupt();
}

fn listener_excludes_only_its_family(mode: Mode) {
    let network = Network::new(mode);
    let open = || listen_with((Ipv6Addr::UNSPECIFIED, 82).into(), Ipv6V6Only, &true);
    let v6_only = network.host.enter(open).unwrap();
    let dual = network.host.enter(|| TcpListener::bind("[::]:83")).unwrap();
    let responder = network.start_responder("");
    assert_serves(&network, HOST_V6, &v6_only);
    assert_answers(&network, HOST, 82);
    HOSTS.into_iter().for_each(|address| assert_serves(&network, address, &dual));
    responder.interrupt();
}

/// Checks a listener that a lookup from the interface does not find, so the filter excludes its port.
fn excludes_listeners_that_are_bound_to_the_bridge_above(mode: Mode) {
    let network = Network::new(mode);
    network.host.ip("link add bridge0 type bridge");
    network.host.ip("address flush dev host0");
    network.host.ip("link set host0 master bridge0");
    network.host.ip(&format!("address add {HOST}/24 dev bridge0"));
    // Frames to the bridge have its MAC address.
    network.host.ip(&format!("link set bridge0 up address {}", text(mac(&network.host, "host0"))));
    let open = || listen_with((HOST, 84).into(), BindToDevice, &"bridge0".into());
    let listener = network.host.enter(open).unwrap();
    let responder = network.start_responder("--dst any");
    assert_serves(&network, HOST, &listener);
    assert_answers(&network, HOST, 85);
    responder.interrupt();
}

/// Closes a listener, and its copies in processes that other tests start at this moment.
fn close(listener: TcpListener) {
    shutdown(listener.as_raw_fd(), Shutdown::Read).unwrap();
}

fn closed_listener_is_refused_for_the_grace_time(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(2222);
    let responder = network.start_responder("--listener-grace 2s");
    assert!(responder.0.stdout.text().contains("\n  listener grace: 2s\n"), "{}", responder.0.stdout.text());
    assert_serves(&network, HOST, &listener);
    close(listener);
    until("for the port to be refused", || network.connect(2222).err());
    // A service that starts again is served at once.
    let listener = network.listen(2222);
    assert_serves(&network, HOST, &listener);
    let closed = Instant::now();
    close(listener);
    until("for the port to be refused", || network.connect(2222).err());
    responder.0.wait_for("\nnow answering on all TCP ports\n");
    assert!(closed.elapsed() >= Duration::from_secs(2), "{:?}", closed.elapsed());
    assert_answers(&network, HOST, 2222);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 1, "{summary:?}");
}

fn closed_listener_is_refused_for_ten_seconds_by_default(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen(2222);
    let responder = network.start_responder("");
    assert_serves(&network, HOST, &listener);
    let closed = Instant::now();
    close(listener);
    until("for the port to be refused", || network.connect(2222).err());
    responder.0.wait_for("\nnow answering on all TCP ports\n");
    assert!(closed.elapsed() >= Duration::from_secs(10), "{:?}", closed.elapsed());
    assert_answers(&network, HOST, 2222);
    responder.interrupt();
}

/// Checks a listener whose port the kernel does not report when it is closed. tcp-bounce misses it in the list.
fn closed_listener_is_refused_if_the_kernel_selected_its_port(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.host.enter(|| TcpListener::bind((HOST, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    let responder = network.start_responder("--listener-grace 5s");
    assert!(responder.0.stdout.text().contains(&format!("except {port} (local listener)\n")));
    close(listener);
    until("for the port to be refused", || network.connect(port).err());
    network.assert_refused(port);
    responder.0.wait_for("\nnow answering on all TCP ports\n");
    assert_answers(&network, HOST, port);
    responder.interrupt();
}

fn without_grace_a_closed_listener_is_answered_at_once(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("--listener-grace 0");
    for _ in 0..20 {
        let listener = network.listen(2222);
        assert_serves(&network, HOST, &listener);
        close(listener);
        network.connect(2222).unwrap();
    }
    assert_answers(&network, HOST, 2222);
    responder.interrupt();
}

fn closed_loopback_listener_gets_no_grace_time(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    for address in ["127.0.0.1:2222", "[::1]:2223"] {
        drop(network.host.enter(|| TcpListener::bind(address)).unwrap());
    }
    [2222, 2223].into_iter().for_each(|port| assert_answers(&network, HOST, port));
    responder.interrupt();
}

/// Checks connections that both ends open at the same time, as programs do to pass through NAT.
fn simultaneous_opens_succeed(mode: Mode) {
    let network = Network::new(mode);
    // The host's SYN is lost, so the client opens the connection while the host waits for a SYN-ACK.
    network.client.run("nft", "add table inet loss");
    network.client.run("nft", "add chain inet loss input { type filter hook input priority 0 ; }");
    network.client.run("nft", "add rule inet loss input tcp flags & (syn | ack) == syn drop");
    for options in ["", "--on-connect tarpit"] {
        let responder = network.start_responder(options);
        let opened = (4001..=4025).filter(|&port| opens_from_both_ends(&network, port)).count();
        assert_eq!(opened, 25, "{options:?}");
        responder.interrupt();
    }
}

/// Opens a connection from the host, and then from the client. Returns whether both become one connection.
fn opens_from_both_ends(network: &Network, port: u16) -> bool {
    let [host, client] = [HOST, CLIENT].map(|address| SocketAddr::from((address, port)));
    thread::scope(|scope| {
        let at_host = scope.spawn(|| network.host.enter(|| connect_from(host, client)));
        until("for the host's SYN", || network.host.sockets("syn-sent").contains(&host.to_string()).then_some(()));
        let at_client = network.client.enter(|| connect_from(client, host));
        let (Ok(mut at_host), Ok(mut at_client)) = (at_host.join().unwrap(), at_client) else { return false };
        exchange(&mut at_host, &mut at_client);
        true
    })
}

/// Returns a SYN from port 80 of the client to a port of the host.
fn syn_to(network: &Network, port: u16) -> Segment {
    let end = |namespace, interface, address: Ipv4Addr, port| Endpoint {
        mac: mac(namespace, interface),
        address: address.into(),
        port,
    };
    Segment {
        from: end(&network.client, "client0", CLIENT, 80),
        to: end(&network.host, "host0", HOST, port),
        flags: SYN,
        sequence_number: 1,
        acknowledgment_number: 0,
        payload: b"",
    }
}

/// Checks SYNs with the addresses and ports of a connection that the host has closed.
fn syns_for_closing_connections_reach_the_host(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let listener = network.listen_at_client(80);
    let at_host = network.connect_back(80).unwrap();
    let mut at_client = accept(&listener);
    let syn = syn_to(&network, at_host.local_addr().unwrap().port());
    let injector = Injector::new(&network.client, "client0");
    let assert_passed = |state: &str| {
        until(&format!("for {state}"), || network.host.sockets(state).contains(":80").then_some(()));
        let before = network.counters();
        injector.send(&syn);
        network.wait_until_counted(Verdict::OtherTcp, before[Verdict::OtherTcp] + 1);
        assert_eq!(network.counters()[Verdict::Answered], before[Verdict::Answered], "{state}");
    };
    drop(at_host);
    assert_passed("fin-wait-2");
    assert_eq!(at_client.read(&mut [0]).unwrap(), 0);
    drop(at_client);
    assert_passed("time-wait");
    responder.interrupt();
}

/// Checks the answer to a SYN with the addresses and ports of a connection that the host has closed: an ACK, no
/// SYN-ACK.
fn host_answers_syns_for_closing_connections(mode: Mode) {
    let network = Network::new(mode);
    // Otherwise, the kernel sends at most one such ACK in half a second.
    network.host.sysctl("ipv4/tcp_invalid_ratelimit", "0");
    let responder = network.start_responder("");
    let listener = network.listen_at_client(80);
    let at_host = network.connect_back(80).unwrap();
    let at_client = accept(&listener);
    let port = at_host.local_addr().unwrap().port();
    let syn = syn_to(&network, port);
    let injector = Injector::new(&network.client, "client0");
    let assert_acknowledged = |state: &str| {
        until(&format!("for {state}"), || network.host.sockets(state).contains(":80").then_some(()));
        let filter = format!("src host {HOST} and tcp src port {port}");
        let capture = Capture::start(&network.client, "client0", &filter, 1, &["tcp.flags"]);
        injector.send(&syn);
        assert_eq!(capture.packets(), [["0x0010"]], "{state}");
    };
    drop(at_host);
    assert_acknowledged("fin-wait-2");
    drop(at_client);
    assert_acknowledged("time-wait");
    responder.interrupt();
}

/// Checks that no segment of the host's own connections is taken while sockets come and go, even though each segment
/// looks like one of a connection that the responder accepted.
fn takes_no_segment_of_many_short_connections(mode: Mode) {
    let connections = amount("HOST_CONNECTIONS", 2000, 1_000_000);
    let network = Network::new(mode);
    let listener = network.listen_at_client(80);
    // If a connection fails, the server does not wait for it forever.
    setsockopt(&listener, ReceiveTimeout, &TimeVal::new(2 * PATIENCE.as_secs() as i64, 0)).unwrap();
    let responder = network.start_responder(&format!("--isn {ISN} --listener-grace 0"));
    let serve = || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            (0..3).for_each(|_| stream.write_all(b"data").unwrap());
        }
    };
    let open = || {
        for number in 0..connections {
            // Ports 1 to 1023, and ports that the kernel selects.
            let port = if number % 4 == 0 { 0 } else { 1 + (number % 1023) as u16 };
            let open_from = |port| open_with_isn((HOST, port).into(), (CLIENT, 80).into());
            // On a busy machine, the last ACK of an earlier connection from this port may still be on its way.
            let mut stream = open_from(port)
                .or_else(|error| if error.kind() == ErrorKind::AddrInUse { open_from(0) } else { Err(error) })
                .unwrap_or_else(|error| panic!("connection {number} from port {port}: {error}"));
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap_or_else(|error| panic!("connection {number}: {error}"));
            assert_eq!(received, b"datadatadata");
            // Listeners come and go on the same ports.
            drop(TcpListener::bind((HOST, 1 + (number * 7 % 1023) as u16)));
        }
    };
    thread::scope(|scope| {
        scope.spawn(serve);
        network.host.enter(open);
    });
    let summary = responder.interrupt();
    assert_eq!(summary.count("later segments dropped"), 0, "{summary:?}");
    assert_eq!(summary.count("handshakes completed"), 0, "{summary:?}");
}

/// Checks connections that are reported only before the start, or only once. Dumps keep their ports in the table.
fn quiet_connections_survive_the_upkeep_of_the_table(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen_at_client(80);
    let open = |port| network.host.enter(|| open_with_isn((HOST, port).into(), (CLIENT, 80).into())).unwrap();
    let (mut old, mut old_at_client) = (open(1001), accept(&listener));
    let responder = network.start_responder(&format!("--isn {ISN}"));
    let (mut new, mut new_at_client) = (open(1002), accept(&listener));
    // Epochs begin and end in this time.
    thread::sleep(Duration::from_secs(amount("QUIET_SECONDS", 24, 90) as u64));
    for (host_end, client_end) in [(&mut old, &mut old_at_client), (&mut new, &mut new_at_client)] {
        client_end.write_all(b"data").unwrap();
        host_end.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut received = [0; 4];
        host_end.read_exact(&mut received).unwrap();
    }
    let summary = responder.interrupt();
    assert_eq!(summary.count("later segments dropped"), 0, "{summary:?}");
}

/// Checks that the segments of [`open_with_isn`] look like those of the responder's connections: under takeover, the
/// responder takes them.
fn takeover_takes_segments_with_its_isn(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen_at_client(80);
    let _host_end = network.host.enter(|| open_with_isn((HOST, 0).into(), (CLIENT, 80).into())).unwrap();
    let mut client_end = accept(&listener);
    let responder = network.start_responder(&format!("--takeover --isn {ISN}"));
    client_end.write_all(b"data").unwrap();
    network.wait_until_counted(Verdict::Later, 1);
    responder.interrupt();
}

/// Checks that listeners are recognised if the kernel does not report sockets: each SYN costs a lookup.
fn serves_listeners_without_the_tracepoint(mode: Mode) {
    let network = Network::new(mode);
    let mut command = TcpBounce::command(&network.host, &network.arguments("--listener-grace 2s"));
    deny(&mut command, RAW_TRACEPOINTS);
    let process = Process::start(&mut command);
    let warning = "warning: each SYN and ACK costs a socket lookup, because the tracepoint inet_sock_set_state cannot be \
                   used: ";
    process.wait_for(warning);
    let open = || {
        let listener = TcpListener::bind((HOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    assert_eq!(count_served(&network, 50, open), 50);
    let listener = network.listen(2222);
    process.wait_for("except 2222 (local listener)\n");
    close(listener);
    until("for the port to be refused", || network.connect(2222).err());
    process.wait_for("\nnow answering on all TCP ports\n");
    assert_answers(&network, HOST, 2222);
    TcpBounce(process).interrupt();
}
