//! The state of each kind of port: refused, rejected, dropped, silent, and with answers.

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};

use crate::fixtures::command::BINARY;
use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, HOSTS, Mode, Network};
use crate::fixtures::probe::{Server, identify, parse, ports, ports_in_state, probe};
use crate::fixtures::process::{Process, run};
use crate::fixtures::until;

in_each_mode! {
    actions_of_a_responder_have_different_answers,
}

/// Returns the address of `client0` in the IP version of `host`.
fn client(host: IpAddr) -> IpAddr {
    if host.is_ipv4() { CLIENT.into() } else { CLIENT_V6.into() }
}

/// Creates a network whose host rejects ports 1001 to 1005 in different ways, and drops SYNs to port 1006.
fn network_with_rejects() -> Network {
    let network = Network::without_program(Mode::Skb);
    network.host.sysctl("ipv4/icmp_ratelimit", "0");
    network.host.sysctl("ipv6/icmp/ratelimit", "0");
    network.host.run("nft", "add table inet filter");
    network.host.run("nft", "add chain inet filter input { type filter hook input priority 0 ; }");
    for (port, verdict) in [
        (1001, "reject with tcp reset"),
        (1002, "reject with icmpx admin-prohibited"),
        (1003, "reject with icmpx port-unreachable"),
        (1004, "reject with icmpx host-unreachable"),
        (1005, "reject with icmpx no-route"),
        (1006, "drop"),
    ] {
        network.host.run("nft", &format!("add rule inet filter input tcp dport {port} {verdict}"));
    }
    network
}

/// The numbers of the ICMP messages are those of RFC 792, 1812 and 4443.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn reset_icmp_and_silence_are_told_apart() {
    let network = network_with_rejects();
    for host in HOSTS {
        let report = probe(&network.client, &format!("--timeout 300ms --ports 1001-1007 {host}"));
        let ports = ports(&report, 0);
        for port in [1001, 1007] {
            assert_eq!(ports[&port]["state"], "refused", "{host}: {report}");
            assert_eq!(ports[&port]["attempts"], 1);
        }
        assert_eq!((&ports[&1006]["state"], &ports[&1006]["attempts"]), (&json!("filtered"), &json!(3)));
        let icmp = if host.is_ipv4() {
            [("EHOSTUNREACH", 3, 13), ("ECONNREFUSED", 3, 3), ("EHOSTUNREACH", 3, 1), ("ENETUNREACH", 3, 0)]
        } else {
            [("EACCES", 1, 1), ("ECONNREFUSED", 1, 4), ("EHOSTUNREACH", 1, 3), ("ENETUNREACH", 1, 0)]
        };
        for (port, (errno, kind, code)) in (1002..).zip(icmp) {
            let expected = json!({"errno": errno, "icmp": {"type": kind, "code": code, "sender": host.to_string()}});
            assert_eq!((&ports[&port]["state"], &ports[&port]["error"]), (&json!("unreachable"), &expected), "{port}");
        }
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn answers_of_listeners_are_told_apart() {
    let network = Network::without_program(Mode::Skb);
    for host in HOSTS {
        let at = |port| SocketAddr::new(host, port);
        let _silent = network.host.enter(|| TcpListener::bind(at(2001))).unwrap();
        let _servers = [
            Server::start(&network.host, at(2002), |_| b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
            Server::start(&network.host, at(2003), identify),
            Server::start(&network.host, at(2004), |_| Vec::new()),
            Server::start(&network.host, at(2005), |stream| {
                setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
                Vec::new()
            }),
            Server::start(&network.host, at(2006), |_| b"HTTP/1.0 200 OK\r\n\r\nIt works!".to_vec()),
        ];
        let report = probe(&network.client, &format!("--timeout 500ms --ports 2001-2006 {host}"));
        let ports = ports(&report, 0);
        assert!(ports.values().all(|port| port["state"] == "open"), "{report}");
        let answer = |port: u16, name: &str| ports[&port]["answer"][name].clone();
        let kinds: Vec<Value> = (2001..=2006).map(|port| answer(port, "kind")).collect();
        assert_eq!(kinds, ["silent", "data", "tcp-bounce", "silent", "silent", "data"]);
        assert_eq!([2001, 2004, 2005].map(|port| answer(port, "end")), [Value::Null, "closed".into(), "reset".into()]);
        assert_eq!(answer(2002, "data"), "SSH-2.0-OpenSSH_9.2p1\\r\\n");
        assert_eq!(answer(2006, "data"), "HTTP/1.0 200 OK\\r\\n\\r\\nIt works!");
        assert_eq!(answer(2003, "destination"), at(2003).to_string());
        assert_eq!(answer(2003, "source"), answer(2003, "local"));
        let source: SocketAddr = answer(2003, "source").as_str().unwrap().parse().unwrap();
        assert_eq!(source.ip(), client(host));
        assert_eq!(report["hosts"][0]["source"], client(host).to_string());
        // The silent port is tried again, because the data may be lost.
        let [silent, answered @ ..] = [2001, 2002, 2003].map(|port| ports[&port]["attempts"].as_u64().unwrap());
        assert!(silent >= 3 && answered.into_iter().all(|attempts| attempts < silent), "{report}");
    }
}

/// Checks the answers of ports without a listener, on which tcp-bounce has different actions.
fn actions_of_a_responder_have_different_answers(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--on-connect close:81 --on-connect reset:82");
    for host in HOSTS {
        let report = probe(&network.client, &format!("--timeout 300ms --ports 80-82 {host}"));
        let ports = ports(&report, 0);
        let ends: Vec<&Value> = ports.values().map(|port| &port["answer"]["end"]).collect();
        assert_eq!(ends, [&Value::Null, &"closed".into(), &"reset".into()], "{report}");
        assert!(ports.values().all(|port| port["answer"]["kind"] == "silent"), "{report}");
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn needs_no_privilege_and_few_files() {
    let network = network_with_rejects();
    let mut command = network.client.command("prlimit");
    command.args(["--nofile=34:34", BINARY, "probe", "--timeout", "300ms", "--retries", "0", "--ports", "1001-1100"]);
    let text = run(command.arg(HOST.to_string())).success();
    assert!(text.starts_with("192.0.2.1: 0 open, 95 refused, 4 unreachable, 1 filtered\n"), "{text}");
    // The user may be unable to read the directory of the binary, so it is executed from standard input.
    let mut command = network.client.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
    command.args(["--pdeathsig=keep", "--", "/proc/self/fd/0", "probe", "--ports", "1001", "--format", "json"]);
    command.arg(HOST_V6.to_string());
    let streams = command.stdin(std::fs::File::open(BINARY).unwrap()).output().unwrap();
    assert!(streams.status.success(), "{streams:?}");
    let report: Value = serde_json::from_slice(&streams.stdout).unwrap();
    assert_eq!(ports_in_state(&report, 0, "refused"), [1001]);
}

/// Checks that hosts without a route, and the local policy, are errors of the ports and not of the probe.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn ports_without_a_route_are_unreachable() {
    let network = Network::without_program(Mode::Skb);
    let report = probe(&network.client, &format!("--ports 80 203.0.113.1 {HOST}"));
    let error = json!({"errno": "ENETUNREACH", "icmp": null});
    assert_eq!((&ports(&report, 0)[&80]["error"], &report["hosts"][0]["source"]), (&error, &Value::Null));
    assert_eq!(ports_in_state(&report, 1, "refused"), [80]);
    network.client.run("nft", "add table inet filter");
    network.client.run("nft", "add chain inet filter output { type filter hook output priority 0 ; }");
    network.client.run("nft", "add rule inet filter output tcp dport 80 reject");
    let report = probe(&network.client, &format!("--ports 80 --timeout 300ms {HOST}"));
    assert_eq!(ports(&report, 0)[&80]["state"], "unreachable", "{report}");
}

/// Checks a host for which this side has no address, beside one that answers. The kernel reports EADDRNOTAVAIL, as for
/// a lack of ports.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn hosts_without_a_source_address_do_not_end_the_probe() {
    let network = Network::without_program(Mode::Skb);
    for interface in ["lo", "client0"] {
        network.client.ip(&format!("-6 address flush dev {interface}"));
    }
    network.client.ip("-6 route add 2001:db8:2::/64 dev client0");
    let report = probe(&network.client, &format!("--ports 80 2001:db8:2::1 {HOST}"));
    assert_eq!(ports(&report, 0)[&80]["error"]["errno"], "EADDRNOTAVAIL", "{report}");
    assert_eq!(ports_in_state(&report, 1, "refused"), [80]);
}

/// Checks a closed port of this side that the kernel chooses as the client's port. The socket then connects to itself.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn ports_that_connect_to_themselves_are_refused() {
    let network = Network::without_program(Mode::Skb);
    network.client.sysctl("ipv4/ip_local_port_range", "40001 40001");
    for host in ["127.0.0.1", "::1"] {
        let report = probe(&network.client, &format!("--timeout 300ms --ports 40001 {host}"));
        assert_eq!(ports_in_state(&report, 0, "refused"), [40001], "{report}");
    }
}

/// Checks the longest time that the command line accepts.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn any_timeout_is_possible() {
    let network = Network::without_program(Mode::Skb);
    let report = probe(&network.client, &format!("--timeout {}s --ports 80 {HOST}", u64::MAX));
    assert_eq!(ports_in_state(&report, 0, "refused"), [80]);
}

/// Checks that the report is whole even if another process has set standard output to non-blocking.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn waits_for_the_reader_of_the_report() {
    let network = Network::without_program(Mode::Skb);
    let (mut reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut command = network.client.command(BINARY);
    command.args(["probe", "--format", "json", "--ports", "1-1000", &HOST.to_string()]);
    let process = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped()));
    // Until the reader starts, the report fills the pipe.
    let status = format!("/proc/{}/syscall", process.child.id());
    let polls = format!("{} ", libc::SYS_poll);
    until("for the probe to wait", || fs::read_to_string(&status).unwrap().starts_with(&polls).then_some(()));
    drop(command);
    let mut json = String::new();
    reader.read_to_string(&mut json).unwrap();
    assert!(process.finish().status.success());
    assert_eq!(ports(&parse(&json), 0).len(), 1000);
}
