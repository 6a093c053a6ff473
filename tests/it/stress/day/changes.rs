//! The changes of a day: addresses, listeners, interfaces and sysctls of the host come and go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use fastrand::Rng;
use libbpf_rs::query::ProgInfoIter;
use serde_json::Value;

use super::Site;
use super::ledger::total;
use crate::fixtures::command::TcpBounce;
use crate::fixtures::network::HOST;
use crate::fixtures::process::Process;
use crate::fixtures::programs::{attached, counters};
use crate::fixtures::segment::{Endpoint, Injector, SYN, Segment, mac};
use crate::fixtures::{DEADLINE, accept, exchange, until};

/// The most addresses that are added at a time, and the most listeners that are open.
const MOST: usize = 20;

/// Sysctls that shape the SYN-ACK, and their values.
const SYSCTLS: [(&str, &[&str]); 8] = [
    ("ipv4/tcp_timestamps", &["0", "1", "2"]),
    ("ipv4/tcp_sack", &["0", "1"]),
    ("ipv4/tcp_window_scaling", &["0", "1"]),
    ("ipv4/tcp_ecn", &["0", "1", "2"]),
    ("ipv4/ip_default_ttl", &["64", "100", "255"]),
    ("ipv4/tcp_rmem", &["4096 131072 6291456", "4096 65536 16777216", "4096 16384 65536"]),
    ("ipv6/auto_flowlabels", &["0", "1"]),
    ("ipv6/conf/host0/hop_limit", &["64", "128"]),
];

/// The host, with the changes so far.
pub struct Changes<'a> {
    site: &'a Site,
    random: Rng,
    addresses: Vec<IpAddr>,
    listeners: Vec<TcpListener>,
    has_spare: bool,
}

impl<'a> Changes<'a> {
    const KINDS: [fn(&mut Self); 8] = [
        Self::add_address,
        Self::remove_address,
        Self::open_listener,
        Self::close_listener,
        Self::set_sysctl,
        Self::add_or_delete_interface,
        Self::interrupt_interface,
        Self::delete_attached_interface,
    ];

    /// Returns a host without changes.
    pub fn new(site: &'a Site, random: Rng) -> Self {
        Self { site, random, addresses: Vec::new(), listeners: Vec::new(), has_spare: false }
    }

    /// Makes a change of each kind.
    pub fn every_kind(&mut self) {
        Self::KINDS.iter().for_each(|change| change(self));
    }

    /// Makes a few changes.
    pub fn some(&mut self) {
        for _ in 0..self.random.u8(2..=6) {
            self.random.choice(Self::KINDS).unwrap()(self);
        }
    }

    /// Waits until tcp-bounce accepts a connection of the client.
    fn wait_until_accepted(&self, address: IpAddr, port: u16) {
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(address, port), DEADLINE).ok();
        until(&format!("for {address} to accept on {port}"), || self.site.network.client.enter(connect));
    }

    fn add_address(&mut self) {
        let number = self.random.u16(0x10..0x40);
        let (address, length) = match self.random.bool() {
            true => (IpAddr::from(Ipv4Addr::new(192, 0, 2, number as u8)), 24),
            false => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into(), 64),
        };
        if self.addresses.len() == MOST || self.addresses.contains(&address) {
            return;
        }
        self.site.network.host.ip(&format!("address add {address}/{length} dev host0 nodad"));
        self.addresses.push(address);
        self.wait_until_accepted(address, 80);
    }

    fn remove_address(&mut self) {
        if !self.addresses.is_empty() {
            let address = self.addresses.swap_remove(self.random.usize(..self.addresses.len()));
            let length = if address.is_ipv4() { 24 } else { 64 };
            self.site.network.host.ip(&format!("address delete {address}/{length} dev host0"));
        }
    }

    fn open_listener(&mut self) {
        let port = self.random.u16(20_000..20_040);
        let is_open = |listener: &TcpListener| listener.local_addr().unwrap().port() == port;
        if self.listeners.len() == MOST || self.listeners.iter().any(is_open) {
            return;
        }
        let listener = self.site.network.listen(port);
        let mut client_end = self.site.network.connect(port).unwrap();
        exchange(&mut client_end, &mut accept(&listener));
        self.listeners.push(listener);
    }

    fn close_listener(&mut self) {
        if !self.listeners.is_empty() {
            let listener = self.listeners.swap_remove(self.random.usize(..self.listeners.len()));
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            self.wait_until_accepted(HOST.into(), port);
        }
    }

    fn set_sysctl(&mut self) {
        let (name, values) = self.random.choice(SYSCTLS).unwrap();
        self.site.network.host.sysctl(name, self.random.choice(values).unwrap());
    }

    /// Adds an interface without a program, or deletes it.
    fn add_or_delete_interface(&mut self) {
        let host = &self.site.network.host;
        if self.has_spare {
            host.ip("link delete spare0");
        } else {
            host.ip("link add spare0 type veth peer name spare1");
            host.ip("address add 203.0.113.9/30 dev spare0");
            host.ip("link set spare0 up");
        }
        self.has_spare = !self.has_spare;
    }

    /// Sets an interface with a program down and up again.
    fn interrupt_interface(&mut self) {
        let host = &self.site.network.host;
        host.ip("link set host1 down");
        host.ip("link set host1 up");
        self.wait_until_accepted(Ipv4Addr::new(198, 51, 100, 1).into(), 80);
    }

    /// Deletes an interface with a program of another run, which ends with the right counters.
    fn delete_attached_interface(&mut self) {
        let (host, client) = (&self.site.network.host, &self.site.network.client);
        self.add_cable_without_traffic();
        let arguments = format!("--json --mode {} gone0", self.site.mode.name());
        let responder = Process::start(&mut TcpBounce::command(host, &arguments));
        responder.wait_for("\"started\"");
        let program = attached(host, "gone0").unwrap();

        let syns = self.random.u16(1..=100);
        let injector = Injector::new(client, "gone1");
        let endpoint = |mac, last, port| Endpoint { mac, address: Ipv4Addr::new(203, 0, 113, last).into(), port };
        let (from, to) = (endpoint(mac(client, "gone1"), 3, 40_000), endpoint(mac(host, "gone0"), 1, 80));
        for port in 1..=syns {
            let to = Endpoint { port, ..to };
            injector.send(&Segment {
                from,
                to,
                flags: SYN,
                sequence_number: 1,
                acknowledgment_number: 0,
                payload: b"",
            });
        }
        until("for the SYNs to be counted", || (total(counters(program)) == u64::from(syns)).then_some(()));
        host.ip("link delete gone0");
        let finished = responder.finish();
        assert!(finished.status.code() == Some(1) && finished.stderr.contains("gone0 was removed"), "{finished:?}");
        let summary: Value = serde_json::from_str(finished.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(summary["counters"]["answered"], syns, "{summary}");
        let counted = summary["counters"].as_object().unwrap().values().map(|count| count.as_u64().unwrap());
        assert_eq!(counted.sum::<u64>(), u64::from(syns), "{summary}");
        let is_freed = || ProgInfoIter::default().all(|other| other.id != program);
        until("for the kernel to free the program", || is_freed().then_some(()));
    }

    /// Adds the veth pair `gone0`-`gone1`. Without IPv6, neither end sends anything by itself.
    fn add_cable_without_traffic(&self) {
        let (host, client) = (&self.site.network.host, &self.site.network.client);
        host.ip(&format!("link add gone0 type veth peer name gone1 netns {}", client.path()));
        for (namespace, interface) in [(host, "gone0"), (client, "gone1")] {
            namespace.sysctl(&format!("ipv6/conf/{interface}/disable_ipv6"), "1");
            namespace.ip(&format!("link set {interface} up"));
        }
        host.ip("address add 203.0.113.1/29 dev gone0");
    }
}
