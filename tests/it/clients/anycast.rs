//! Several responders with one address and one key: connections go on when the route to the address moves.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;

use nix::libc;
use serde_json::json;
use tcp_bounce::internals::XdpLink;
use tcp_bounce_wire::{Counters, Verdict};
use tempfile::NamedTempFile;

use crate::fixtures::capture::Capture;
use crate::fixtures::command::{BINARY, STARTED, TcpBounce};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, HOST_V6, HOSTS, Mode, open, open_with_data};
use crate::fixtures::probe::{ports, probe};
use crate::fixtures::process::{Process, run};
use crate::fixtures::{programs, until};

in_each_mode! {
    connections_go_on_after_a_move_of_the_route,
    each_write_may_reach_another_host,
    each_segment_may_reach_another_host,
    services_go_on_at_another_host,
    tokens_of_another_host_are_proven,
    replies_of_all_hosts_have_one_flow_label,
    another_key_ends_the_connection,
    each_host_counts_the_segments_that_reach_it,
}

/// The indexes of the hosts.
const FIRST: usize = 0;
const SECOND: usize = 1;

/// The actions of the tests: echo on port 7, discard on 9, close on 11, and identify on the others.
const ACTIONS: &str = "--on-connect echo:7 --on-connect discard:9 --on-connect close:11 --on-connect identify";

/// A client and two hosts, connected by a router.
///
/// The router's interface `port1` leads to the client, `port2` and `port3` to the hosts. The interface of each other
/// machine is `eth1`. In the network of `port2`, the router is 10.0.2.1 and the host 10.0.2.2.
struct Site {
    client: Namespace,
    router: Namespace,
    hosts: [Namespace; 2],
    mode: Mode,
    /// The programs on `port2` and `port3`. A veth pair carries native replies only if the peer has an XDP program.
    _pass: Vec<XdpLink>,
}

impl Site {
    /// Creates the machines. No host has the addresses [`HOSTS`] yet, and no route leads to them.
    fn without_service(mode: Mode) -> Self {
        let [client, router, first, second] = [(); 4].map(|()| Namespace::new());
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv6/conf/all/forwarding", "1");
        // Replies also arrive from the host that the route has left.
        router.sysctl("ipv4/conf/all/rp_filter", "0");
        router.sysctl("ipv4/conf/default/rp_filter", "0");
        for (machine, number) in [(&client, 1), (&first, 2), (&second, 3)] {
            let port = format!("port{number}");
            router.ip(&format!("link add {port} type veth peer name eth1 netns {}", machine.path()));
            for (namespace, interface, host) in [(&router, port.as_str(), 1), (machine, "eth1", 2)] {
                namespace.ip(&format!("address add 10.0.{number}.{host}/24 dev {interface}"));
                namespace.ip(&format!("address add 2001:db8:{number}::{host}/64 dev {interface} nodad"));
                namespace.ip(&format!("link set {interface} up"));
            }
            machine.ip(&format!("route add default via 10.0.{number}.1"));
            machine.ip(&format!("route add default via 2001:db8:{number}::1"));
        }
        let ports: &[&str] = if mode == Mode::Native { &["port2", "port3"] } else { &[] };
        let pass = ports.iter().map(|port| programs::pass(&router, port)).collect();
        Self { client, router, hosts: [first, second], mode, _pass: pass }
    }

    /// Creates the machines. Both hosts have the addresses [`HOSTS`], and the route leads to the first host.
    ///
    /// The router sends a packet with the mark 1 to the first host, and with the mark 2 to the second one.
    fn new(mode: Mode) -> Self {
        let site = Self::without_service(mode);
        for host in &site.hosts {
            host.ip(&format!("address add {HOST} dev lo"));
            host.ip(&format!("address add {HOST_V6} dev lo"));
        }
        for host in [FIRST, SECOND] {
            let mark = host + 1;
            site.router.ip(&format!("-4 rule add fwmark {mark} table {mark}"));
            site.router.ip(&format!("-6 rule add fwmark {mark} table {mark}"));
            site.add_routes(host, &format!("table {mark}"));
        }
        site.router.run("nft", "add table inet steering");
        let hook = "type filter hook prerouting priority mangle ;";
        site.router.run("nft", &format!("add chain inet steering prerouting {{ {hook} }}"));
        site.route_to(FIRST);
        site
    }

    /// Moves the route to a host.
    #[track_caller]
    fn route_to(&self, host: usize) {
        self.add_routes(host, "table main");
    }

    /// Adds routes to a host to a table, or replaces them.
    #[track_caller]
    fn add_routes(&self, host: usize, table: &str) {
        let number = host + 2;
        self.router.ip(&format!("route replace {HOST} via 10.0.{number}.2 {table}"));
        self.router.ip(&format!("route replace {HOST_V6} via 2001:db8:{number}::2 {table}"));
    }

    /// Marks the client's segments with a statement of nftables.
    #[track_caller]
    fn steer(&self, statement: &str) {
        self.router.run("nft", "flush chain inet steering prerouting");
        self.router.run("nft", &format!("add rule inet steering prerouting iifname port1 {statement}"));
    }

    /// Sends SYNs to the first host, and all other segments to the second one.
    #[track_caller]
    fn split_handshakes(&self) {
        self.route_to(SECOND);
        self.steer("tcp flags & (syn | ack) == syn meta mark set 1");
    }

    /// Alternates between the hosts with each segment.
    #[track_caller]
    fn alternate(&self) {
        self.steer("meta l4proto tcp meta mark set numgen inc mod 2 offset 1");
    }

    /// Starts tcp-bounce on a host.
    #[track_caller]
    fn start(&self, host: usize, key: &Path, arguments: &str) -> TcpBounce {
        let (mode, key) = (self.mode.name(), key.display());
        let options = format!("--mode {mode} --dst {HOST},{HOST_V6} --isn keyed --key-file {key}");
        TcpBounce::start(&self.hosts[host], &format!("{options} {arguments} eth1"))
    }

    /// Starts tcp-bounce on both hosts, with one key.
    #[track_caller]
    fn start_both(&self, key: &NamedTempFile, arguments: &str) -> [TcpBounce; 2] {
        [FIRST, SECOND].map(|host| self.start(host, key.path(), arguments))
    }

    /// Opens a connection from the client.
    #[track_caller]
    fn open(&self, address: IpAddr, port: u16) -> TcpStream {
        open(&self.client, SocketAddr::new(address, port))
    }

    #[track_caller]
    fn wait_until_counted(&self, host: usize, verdict: Verdict, frames: u64) {
        programs::wait_until_counted(&self.hosts[host], "eth1", verdict, frames);
    }

    #[track_caller]
    fn counters(&self, host: usize) -> Counters {
        programs::counters(programs::attached(&self.hosts[host], "eth1").expect("a program is attached"))
    }

    /// Checks that the probe finds tcp-bounce with this key on the ports 80 to 89.
    #[track_caller]
    fn assert_proven(&self, key: &NamedTempFile, address: IpAddr) {
        let report = probe(&self.client, &format!("--key-file {} --ports 80-89 {address}", key.path().display()));
        let ports = ports(&report, 0);
        assert_eq!(ports.len(), 10, "{report}");
        assert!(ports.values().all(|entry| entry["answer"]["is_proven"] == json!(true)), "{report}");
    }

    /// Waits until the client has closed its connections.
    #[track_caller]
    fn wait_for_the_end(&self) {
        until("for the client's connections to end", || {
            self.client.sockets("connected exclude time-wait").is_empty().then_some(())
        });
    }
}

/// Returns a key file.
fn key_file(byte: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, byte.repeat(16)).unwrap();
    file
}

#[track_caller]
fn assert_echoed(stream: &mut TcpStream, data: &[u8]) {
    stream.write_all(data).unwrap();
    assert_received(stream, data);
}

#[track_caller]
fn assert_received(stream: &mut TcpStream, data: &[u8]) {
    let mut received = vec![0; data.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, data);
}

/// Checks that the stream ends without further data.
#[track_caller]
fn assert_ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

/// Checks connections that move to the second host before the first one stops.
fn connections_go_on_after_a_move_of_the_route(mode: Mode) {
    let (site, key) = (Site::new(mode), key_file("5a"));
    let [first, _second] = site.start_both(&key, ACTIONS);
    let mut connections = HOSTS.map(|address| [7, 9, 11].map(|port| site.open(address, port)));
    for [echo, discard, _] in &mut connections {
        assert_echoed(echo, b"before");
        discard.write_all(b"before").unwrap();
    }
    for (verdict, frames) in [(Verdict::Completed, 2), (Verdict::Closed, 2), (Verdict::Replied, 4)] {
        site.wait_until_counted(FIRST, verdict, frames);
    }
    site.route_to(SECOND);
    first.interrupt();
    for [echo, discard, close] in &mut connections {
        assert_echoed(echo, b"after");
        discard.write_all(b"after").unwrap();
        for stream in [echo, discard] {
            stream.shutdown(Shutdown::Write).unwrap();
            assert_ended(stream);
        }
        assert_ended(close);
        close.write_all(b"after").unwrap();
    }
    drop(connections);
    site.wait_for_the_end();
    let counters = site.counters(SECOND);
    assert_eq!((counters[Verdict::Answered], counters[Verdict::OtherTcp]), (0, 0));
}

fn each_write_may_reach_another_host(mode: Mode) {
    let (site, key) = (Site::new(mode), key_file("5a"));
    let _responders = site.start_both(&key, ACTIONS);
    let mut connections = HOSTS.map(|address| site.open(address, 7));
    for turn in 0..6 {
        let host = turn % 2;
        site.route_to(host);
        for echo in &mut connections {
            let replied = site.counters(host)[Verdict::Replied];
            assert_echoed(echo, format!("turn {turn}").as_bytes());
            assert!(site.counters(host)[Verdict::Replied] > replied, "{turn}");
        }
    }
}

fn each_segment_may_reach_another_host(mode: Mode) {
    let (site, key) = (Site::new(mode), key_file("5a"));
    let _responders = site.start_both(&key, ACTIONS);
    site.alternate();
    for address in HOSTS {
        let [mut echo, mut discard, mut close] = [7, 9, 11].map(|port| site.open(address, port));
        for round in 0..10 {
            assert_echoed(&mut echo, &[round; 100]);
            discard.write_all(&[round; 100]).unwrap();
        }
        for stream in [&mut echo, &mut discard] {
            stream.shutdown(Shutdown::Write).unwrap();
            assert_ended(stream);
        }
        assert_ended(&mut close);
        site.assert_proven(&key, address);
    }
    site.wait_for_the_end();
    for host in [FIRST, SECOND] {
        let counters = site.counters(host);
        let recognised = [Verdict::Later, Verdict::Replied].map(|verdict| counters[verdict]).iter().sum::<u64>();
        assert!(recognised > 0 && counters[Verdict::OtherTcp] == 0, "{host}: {counters:?}");
    }
}

/// Checks a service whose SYN-ACK, banner and reply come from alternating hosts, and then curl.
fn services_go_on_at_another_host(mode: Mode) {
    let (site, key) = (Site::new(mode), key_file("5a"));
    let _responders = site.start_both(&key, "--profile linux-server");
    site.split_handshakes();
    let mut connections = HOSTS.map(|address| site.open(address, 21));
    for ftp in &mut connections {
        assert_received(ftp, b"220 (vsFTPd 3.0.3)\r\n");
    }
    let [first, second] = [FIRST, SECOND].map(|host| site.counters(host));
    assert_eq!((first[Verdict::Greeted], second[Verdict::Answered]), (0, 0));
    assert!(second[Verdict::Greeted] >= 2, "{second:?}");
    site.route_to(FIRST);
    for ftp in &mut connections {
        ftp.write_all(b"USER anonymous\r\n").unwrap();
        assert_received(ftp, b"331 Please specify the password.\r\n");
    }
    assert!(site.counters(FIRST)[Verdict::Replied] >= 2);
    site.alternate();
    for url in ["http://192.0.2.1/", "http://[2001:db8::1]/"] {
        let page = site.client.run("curl", &format!("--silent --show-error --max-time 20 {url}"));
        assert!(page.contains("<title>web01</title>"), "{page}");
    }
}

/// Checks that a host sends the token for a connection whose SYN another host answered.
fn tokens_of_another_host_are_proven(mode: Mode) {
    let (site, key) = (Site::new(mode), key_file("5a"));
    let _responders = site.start_both(&key, "--on-connect identify");
    site.split_handshakes();
    for address in HOSTS {
        site.assert_proven(&key, address);
    }
    let [first, second] = [FIRST, SECOND].map(|host| site.counters(host));
    assert_eq!((first[Verdict::Greeted], second[Verdict::Answered]), (0, 0));
}

/// Checks the labels of a SYN-ACK and of a later reply, which come from different hosts.
fn replies_of_all_hosts_have_one_flow_label(mode: Mode) {
    let (site, key) = (Site::new(mode), key_file("5a"));
    let _responders = site.start_both(&key, ACTIONS);
    site.split_handshakes();
    // The byte of the TCP flags, and the bit of SYN.
    let captures = ["ip6[53] & 2 != 0", "ip6[53] & 2 == 0"].map(|syn| {
        Capture::start(&site.client, "eth1", &format!("ip6 and tcp src port 9 and {syn}"), 1, &["ipv6.flow"])
    });
    site.open(HOST_V6.into(), 9).write_all(b"data").unwrap();
    let [syn_ack, later] = captures.map(|capture| capture.packets()[0][0].clone());
    assert_ne!(syn_ack, "0x000000");
    assert_eq!(syn_ack, later);
}

fn another_key_ends_the_connection(mode: Mode) {
    let (site, keys) = (Site::new(mode), [key_file("5a"), key_file("5b")]);
    let _responders = [FIRST, SECOND].map(|host| site.start(host, keys[host].path(), "--on-connect discard"));
    for (address, handshakes) in HOSTS.into_iter().zip(1..) {
        site.route_to(FIRST);
        let mut stream = site.open(address, 80);
        site.wait_until_counted(FIRST, Verdict::Completed, handshakes);
        site.route_to(SECOND);
        stream.write_all(b"data").unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

/// Returns the events in the output of tcp-bounce, each as a port and the name of the event.
fn events(responder: &TcpBounce) -> BTreeSet<(u16, String)> {
    let text = responder.0.stdout.text();
    let events = text.lines().filter_map(|line| {
        let mut words = line.split_once(&format!(" > {HOST}:"))?.1.split(' ');
        Some((words.next()?.parse().unwrap(), words.next()?.to_owned()))
    });
    events.collect()
}

/// Checks that the halves of a handshake count at their hosts. A host that did not answer the SYN neither recognises a
/// last ACK with data, nor reports the client's first data.
fn each_host_counts_the_segments_that_reach_it(mode: Mode) {
    let (site, key) = (Site::new(mode), key_file("5a"));
    let [first, second] = site.start_both(&key, "--on-connect discard --events --payload 16");
    site.split_handshakes();
    let mut plain = site.open(HOST.into(), 9001);
    plain.write_all(b"plain").unwrap();
    let _with_data = open_with_data(&site.client, (HOST, 9002).into(), (libc::TCP_QUICKACK, 0), b"with data");
    site.wait_until_counted(SECOND, Verdict::Replied, 2);
    // All segments reach the second host.
    site.steer("meta mark set 2");
    let mut whole = site.open(HOST.into(), 9003);
    whole.write_all(b"whole").unwrap();
    second.0.wait_for("data \"whole\"");
    first.0.wait_for(":9002 syn");
    let named = |events: &[(u16, &str)]| events.iter().map(|&(port, name)| (port, name.to_owned())).collect();
    assert_eq!(events(&first), named(&[(9001, "syn"), (9002, "syn")]));
    assert_eq!(events(&second), named(&[(9001, "completed"), (9003, "syn"), (9003, "completed"), (9003, "data")]));
    let [first, second] = [FIRST, SECOND].map(|host| site.counters(host));
    assert_eq!((first.completed(), second[Verdict::Accepted]), (0, 0));
    assert!(second[Verdict::Completed] >= 2, "{second:?}");
}

/// Returns the commands of a section of the recipe, without `sudo`.
fn commands(heading: &str) -> Vec<String> {
    let page = fs::read_to_string("docs/recipes/anycast.md").unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let (_, block) = section.split_once("```sh\n").expect(heading);
    let lines = block.split("```").next().unwrap().lines();
    lines.map(|line| line.trim_start_matches("sudo ").replacen("tcp-bounce", BINARY, 1)).collect()
}

/// Runs the commands of the recipe on the machines that it names, and checks that both hosts answer the probe.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn commands_of_the_recipe_share_the_connections() {
    let site = Site::without_service(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "5a".repeat(16)).unwrap();
    let shell = |namespace: &Namespace, line: &str| {
        let mut command = namespace.command("sh");
        command.args(["-c", &format!("exec {line}")]).current_dir(folder.path());
        command
    };
    let mut responders = Vec::new();
    for host in &site.hosts {
        for line in commands("Configure each host") {
            if line.starts_with(BINARY) {
                let responder = Process::start(&mut shell(host, &line));
                responder.wait_for(STARTED);
                responders.push(responder);
            } else {
                run(&mut shell(host, &line)).success();
            }
        }
    }
    for line in commands("Add the routes") {
        run(&mut shell(&site.router, &line)).success();
    }
    for line in commands("Check the result") {
        let report = run(&mut shell(&site.client, &line)).success();
        assert!(report.contains(": 64 open (64 tcp-bounce)"), "{report}");
    }
    for host in [FIRST, SECOND] {
        assert!(site.counters(host)[Verdict::Answered] > 0, "{host}");
    }
    assert_eq!(responders.len(), 2);
}
