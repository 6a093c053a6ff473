//! Echo, discard and services over a network that loses packets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::thread;

use tcp_bounce::internals::XdpLink;

use crate::fixtures::command::TcpBounce;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, HOST_V6, HOSTS, Mode, switched};
use crate::fixtures::{DEADLINE, programs};

in_each_mode! {
    echo_returns_all_data_without_loss,
    echo_returns_all_data_with_1_percent_loss,
    echo_returns_all_data_with_5_percent_loss,
    echo_returns_all_data_with_20_percent_loss,
    discard_accepts_all_data_with_20_percent_loss,
    services_send_all_payloads_with_1_percent_loss,
    services_send_all_payloads_with_5_percent_loss,
    services_send_all_payloads_with_20_percent_loss,
}

/// A host and a client, connected by a switch that drops a given percentage of the TCP segments in each direction.
struct LossyNetwork {
    host: Namespace,
    client: Namespace,
    _switch: Namespace,
    _pass: Option<XdpLink>,
    mode: Mode,
}

impl LossyNetwork {
    fn new(mode: Mode, percent: u32) -> Self {
        let [switch, host, client] = switched();
        let pass = (mode == Mode::Native).then(|| programs::pass(&switch, "port0"));
        switch.run("nft", "add table bridge loss");
        switch.run("nft", "add chain bridge loss forward { type filter hook forward priority 0 ; }");
        switch.run(
            "nft",
            &format!("add rule bridge loss forward meta l4proto tcp numgen random mod 100 < {percent} drop"),
        );
        // By default the client waits 200 ms before its first retransmission, and doubles the wait each time. A shorter
        // wait makes the test faster.
        client.ip(&format!("route add {HOST}/32 dev client0 rto_min 5ms"));
        client.ip(&format!("-6 route add {HOST_V6}/128 dev client0 rto_min 5ms"));
        // BBR, the default on some machines, mistakes these losses for low bandwidth and slows down.
        client.sysctl("ipv4/tcp_congestion_control", "reno");
        // With the default of 6 retries, one client in a thousand would give up before its handshake completes.
        client.sysctl("ipv4/tcp_syn_retries", "20");
        Self { host, client, _switch: switch, _pass: pass, mode }
    }

    fn start_responder(&self, arguments: &str) -> TcpBounce {
        TcpBounce::start(&self.host, &format!("--mode {} {arguments} host0", self.mode.name()))
    }

    fn connect(&self, address: IpAddr) -> TcpStream {
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(address, 7), 10 * DEADLINE);
        let stream = self.client.enter(connect).unwrap();
        // A dozen losses in a row do happen at 20 percent, and the client doubles its wait after each loss.
        stream.set_read_timeout(Some(10 * DEADLINE)).unwrap();
        stream.set_write_timeout(Some(10 * DEADLINE)).unwrap();
        stream
    }
}

/// Checks that the host echoes 1 MB unchanged over IPv4 and over IPv6, with `percent` of the segments lost.
fn echo(mode: Mode, percent: u32) {
    let network = LossyNetwork::new(mode, percent);
    let responder = network.start_responder("--on-connect echo");
    let mut random = fastrand::Rng::with_seed(percent.into());
    let data: Vec<u8> = (0..1_000_000).map(|_| random.u8(..)).collect();
    thread::scope(|scope| {
        for address in HOSTS {
            let (network, data) = (&network, &data);
            scope.spawn(move || {
                let mut stream = network.connect(address);
                let mut writer = stream.try_clone().unwrap();
                let received = thread::scope(|scope| {
                    scope.spawn(|| {
                        writer.write_all(data).unwrap();
                        writer.shutdown(Shutdown::Write).unwrap();
                    });
                    let mut received = Vec::new();
                    stream.read_to_end(&mut received).unwrap();
                    received
                });
                assert!(received == *data, "the {} bytes received differ from those sent", received.len());
            });
        }
    });
    drop(responder);
}

fn echo_returns_all_data_without_loss(mode: Mode) {
    echo(mode, 0);
}

fn echo_returns_all_data_with_1_percent_loss(mode: Mode) {
    echo(mode, 1);
}

fn echo_returns_all_data_with_5_percent_loss(mode: Mode) {
    echo(mode, 5);
}

fn echo_returns_all_data_with_20_percent_loss(mode: Mode) {
    echo(mode, 20);
}

fn discard_accepts_all_data_with_20_percent_loss(mode: Mode) {
    let network = LossyNetwork::new(mode, 20);
    let responder = network.start_responder("--on-connect discard");
    for address in HOSTS {
        let mut stream = network.connect(address);
        stream.write_all(&vec![1; 10_000_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    drop(responder);
}

/// Checks that each client of a service gets all payloads, and no other bytes, over IPv4 and over IPv6, with `percent`
/// of the segments lost.
fn services(mode: Mode, percent: u32) {
    const PROFILE: &str = r#"
        [[service]]
        ports = "7"
        banner = "ready\r\n"
        replies = [{ prefix = "one", send = "first reply\r\n" }, { prefix = "two", send = "2\r\n" }]
    "#;
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(&file, PROFILE).unwrap();
    let network = LossyNetwork::new(mode, percent);
    let responder = network.start_responder(&format!("--profile {}", file.path().display()));
    let dialogue = |address| {
        let mut stream = network.connect(address);
        // The client speaks at once. A lost banner is sent again when the client retransmits this request.
        for (request, reply) in [("one", "ready\r\nfirst reply\r\n"), ("two", "2\r\n"), ("one", "first reply\r\n")] {
            stream.write_all(request.as_bytes()).unwrap();
            let mut received = vec![0; reply.len()];
            stream.read_exact(&mut received).unwrap();
            assert_eq!(String::from_utf8_lossy(&received), reply);
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    };
    thread::scope(|scope| {
        for address in HOSTS.into_iter().cycle().take(8) {
            let dialogue = &dialogue;
            scope.spawn(move || (0..25).for_each(|_| dialogue(address)));
        }
    });
    drop(responder);
}

fn services_send_all_payloads_with_1_percent_loss(mode: Mode) {
    services(mode, 1);
}

fn services_send_all_payloads_with_5_percent_loss(mode: Mode) {
    services(mode, 5);
}

fn services_send_all_payloads_with_20_percent_loss(mode: Mode) {
    services(mode, 20);
}
