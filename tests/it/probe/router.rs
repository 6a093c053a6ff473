//! A router between the probe and the host, with a firewall, NAT and proxies: each port is named rightly, with and
//! without the port report of the far side.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use tempfile::NamedTempFile;

use crate::fixtures::command::TcpBounce;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, HOST_V6, HOSTS, Mode};
use crate::fixtures::probe::{Server, probe_with_far, rows, run_probe};
use crate::fixtures::programs::pass;

in_each_mode! {
    each_port_behind_a_router_is_named_rightly,
}

/// The client, the router's port to the client, and the router's port to the host, over IPv4 and IPv6.
const ADDRESSES: [[&str; 3]; 2] =
    [["198.51.100.2", "198.51.100.1", "192.0.2.254"], ["2001:db8:1::2", "2001:db8:1::1", "2001:db8::fe"]];

/// The rules of the router. The host is at `port0`, the client at `port1`.
const RULES: &str = "
    table inet router {
        chain forward {
            type filter hook forward priority 0
            iifname port1 tcp dport 81 drop
            iifname port0 tcp sport 82 drop
            iifname port1 tcp dport 83 tcp flags & syn == 0 drop
            tcp dport 84 reject with tcp reset
            tcp dport 85 reject with icmpx admin-prohibited
        }
        chain prerouting {
            type nat hook prerouting priority -100
            meta nfproto ipv4 tcp dport 87 dnat ip to 192.0.2.1:8087
            meta nfproto ipv6 tcp dport 87 dnat ip6 to [2001:db8::1]:8087
            tcp dport 88 redirect to :8088
            tcp dport 89 redirect to :8089
            tcp dport 90 redirect to :8090
            tcp dport 91 redirect to :8091
        }
        chain postrouting {
            type nat hook postrouting priority 100
            tcp dport 86 masquerade
        }
    }
";

/// Creates a router, a host and a client, and returns their namespaces in this order.
fn routed() -> [Namespace; 3] {
    let [router, host, client] = [(); 3].map(|()| Namespace::new());
    router.sysctl("ipv4/ip_forward", "1");
    router.sysctl("ipv6/conf/all/forwarding", "1");
    for (port, interface, namespace) in [("port0", "host0", &host), ("port1", "client0", &client)] {
        router.ip(&format!("link add {port} type veth peer name {interface} netns {}", namespace.path()));
    }
    for ([client_ip, near, far], own) in ADDRESSES.into_iter().zip(HOSTS) {
        let suffix = if own.is_ipv4() { "/24" } else { "/64 nodad" };
        for (namespace, interface, address) in [
            (&router, "port0", far.to_owned()),
            (&router, "port1", near.to_owned()),
            (&host, "host0", own.to_string()),
            (&client, "client0", client_ip.to_owned()),
        ] {
            namespace.ip(&format!("address add {address}{suffix} dev {interface}"));
            namespace.ip(&format!("link set {interface} up"));
        }
        host.ip(&format!("route add default via {far}"));
        client.ip(&format!("route add default via {near}"));
    }
    let mut rules = NamedTempFile::new().unwrap();
    rules.write_all(RULES.as_bytes()).unwrap();
    router.run("nft", &format!("-f {}", rules.path().display()));
    [router, host, client]
}

/// Connects to port 91 of the host, and returns its answer, as the proxy of a client.
fn relay(client: &TcpStream) -> io::Result<Vec<u8>> {
    let is_ipv4 = client.local_addr()?.ip().to_canonical().is_ipv4();
    let host = if is_ipv4 { IpAddr::from(HOST) } else { HOST_V6.into() };
    let mut answer = Vec::new();
    TcpStream::connect((host, 91))?.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Returns the words for each port of `host` without `--far`, and the place that `--far` adds.
fn expected(host: IpAddr) -> BTreeMap<u16, (String, &'static str)> {
    let [client, near, far] = ADDRESSES[usize::from(host.is_ipv6())].map(|address| address.parse::<IpAddr>().unwrap());
    let reached_from = |address: IpAddr| {
        let address = if address.is_ipv4() { address.to_string() } else { format!("[{address}]") };
        format!("open tcp-bounce, reached from {address}")
    };
    let rejected = if host.is_ipv4() { "EHOSTUNREACH (ICMP" } else { "EACCES (ICMPv6" };
    let in_between = "answered by something in between";
    let ports = [
        (reached_from(client), ""),
        ("filtered".to_owned(), "no SYN arrived"),
        ("filtered".to_owned(), "the SYN arrived, and the answer was lost"),
        ("open silent".to_owned(), "the last ACK did not arrive"),
        ("refused".to_owned(), in_between),
        (format!("unreachable {rejected} administratively prohibited from {near})"), in_between),
        (format!("{} (translated)", reached_from(far)), ""),
        (format!("{} at {}", reached_from(client), SocketAddr::new(host, 8087)), ""),
        ("open \"HTTP/1.0 503 Service Unavailable\\r\\n\\r\\n\"".to_owned(), in_between),
        ("open silent".to_owned(), in_between),
        ("open closed without data".to_owned(), in_between),
        (format!("{} (translated)", reached_from(far)), ""),
        ("refused".to_owned(), "the SYN arrived, and the host did not accept it"),
        ("open \"SSH-2.0-OpenSSH_9.2p1\\r\\n\"".to_owned(), ""),
    ];
    (80..).zip(ports).collect()
}

/// Appends the place where segments were lost or answered. A state without an answer has no colon before it.
fn with_place(words: &str, place: &str) -> String {
    match place {
        "" => words.to_owned(),
        _ if words.contains(' ') => format!("{words}: {place}"),
        _ => format!("{words} {place}"),
    }
}

/// The router passes port 80. It drops SYNs (81), SYN-ACKs (82) or last ACKs (83), and rejects SYNs with RST (84) or
/// ICMP (85). It translates the source (86) or the destination (87). Its proxies send data (88), stay silent (89),
/// close (90) or relay (91). The host refuses SYNs (92), or has a listener (93).
fn each_port_behind_a_router_is_named_rightly(mode: Mode) {
    let [router, host, client] = routed();
    let _pass = (mode == Mode::Native).then(|| pass(&router, "port0"));
    let any = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let _silent = router.enter(|| TcpListener::bind(any(8089))).unwrap();
    let _servers = [
        Server::start(&router, any(8088), |_| b"HTTP/1.0 503 Service Unavailable\r\n\r\n".to_vec()),
        Server::start(&router, any(8090), |_| Vec::new()),
        Server::start(&router, any(8091), |stream| relay(stream).unwrap_or_default()),
        Server::start(&host, any(93), |_| b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
    ];
    let mut key = NamedTempFile::new().unwrap();
    write!(key, "{}", "5a".repeat(16)).unwrap();
    let key = key.path().display();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arrived.json");
    for address in HOSTS {
        let responder = TcpBounce::start(
            &host,
            &format!(
                "--mode {} --on-connect identify --key-file {key} --exclude-ports 92 --report {} host0",
                mode.name(),
                file.display()
            ),
        );
        let arguments = format!("--key-file {key} --timeout 300ms --ports 80-93 {address}");
        let text = run_probe(&client, &arguments).success();
        let without: BTreeMap<u16, String> =
            expected(address).into_iter().map(|(port, (words, _))| (port, words)).collect();
        assert_eq!(rows(&text), without, "{text}");
        let text = probe_with_far(&client, responder, &file, &arguments);
        let with = expected(address).into_iter().map(|(port, (words, place))| (port, with_place(&words, place)));
        assert_eq!(rows(&text), with.collect(), "{text}");
    }
}
