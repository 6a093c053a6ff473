//! Two hosts and the cable between them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use tcp_bounce::attach::Attachment;
use tcp_bounce_wire::{Counters, Verdict};

use super::bouncer::TcpBounce;
use super::namespace::Namespace;
use super::{DEADLINE, programs, until};

/// The address of `host0`, where tcp-bounce answers.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The address of `client0`.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The IPv6 address of `host0`.
pub const HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The IPv6 address of `client0`.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// Both addresses of the host.
pub const HOSTS: [IpAddr; 2] = [IpAddr::V4(HOST), IpAddr::V6(HOST_V6)];

/// Where in the receive path tcp-bounce shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `--mode native`
    Native,
    /// `--mode skb`
    Skb,
}

impl Mode {
    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

/// A host and a client, each in its namespace, and a veth pair from `host0` of the one to `client0` of the other.
pub struct Network {
    /// Where tcp-bounce runs.
    pub host: Namespace,
    /// Where connections come from.
    pub client: Namespace,
    mode: Mode,
    /// A veth carries native replies only if its peer has a program too.
    _pass: Option<Attachment>,
}

impl Network {
    /// A network in which tcp-bounce can run in this mode.
    pub fn new(mode: Mode) -> Self {
        let mut network = Self::without_program(mode);
        network._pass = (mode == Mode::Native).then(|| programs::pass(&network.client, "client0"));
        network
    }

    /// The same, but `client0` has no program yet.
    pub fn without_program(mode: Mode) -> Self {
        let (host, client) = (Namespace::new(), Namespace::new());
        host.ip(&format!("link add host0 type veth peer name client0 netns {}", client.path()));
        host.ip(&format!("address add {HOST}/24 dev host0"));
        host.ip(&format!("address add {HOST_V6}/64 dev host0 nodad"));
        host.ip("link set host0 up");
        client.ip(&format!("address add {CLIENT}/24 dev client0"));
        client.ip(&format!("address add {CLIENT_V6}/64 dev client0 nodad"));
        client.ip("link set client0 up");
        Self { host, client, mode, _pass: None }
    }

    /// Starts tcp-bounce on `host0` with further arguments, separated by spaces, and waits until it answers.
    #[track_caller]
    pub fn bounce(&self, arguments: &str) -> TcpBounce {
        TcpBounce::start(&self.host, &self.arguments(arguments))
    }

    /// The arguments that [`Network::bounce`] gives to tcp-bounce.
    pub fn arguments(&self, further: &str) -> String {
        format!("--mode {} {further} host0", self.mode.name())
    }

    /// Connects from the client to a port of the host.
    pub fn connect(&self, port: u16) -> io::Result<TcpStream> {
        self.client.enter(|| connect(HOST, port))
    }

    /// Connects from the host to a port of the client.
    pub fn connect_back(&self, port: u16) -> io::Result<TcpStream> {
        self.host.enter(|| connect(CLIENT, port))
    }

    /// Waits until the program on `host0` has counted this many frames with this verdict.
    ///
    /// A connection is open before its last segment has arrived at the other end.
    #[track_caller]
    pub fn wait_until_counted(&self, verdict: Verdict, frames: u64) {
        let program = programs::attached(&self.host, "host0").expect("a program is attached");
        until(&format!("for {frames} frames that are {verdict:?}"), || {
            (programs::counters(program)[verdict] >= frames).then_some(())
        });
    }

    /// What the program on `host0` has counted so far.
    #[track_caller]
    pub fn counters(&self) -> Counters {
        programs::counters(programs::attached(&self.host, "host0").expect("a program is attached"))
    }

    /// Makes `host0` take also frames that XDP sends at the other end: a veth end without a program takes them only with GRO.
    pub fn receive_redirected(&self) {
        self.host.run("ethtool", "-K host0 gro on");
    }

    /// How many frames from the client the cable has lost, as the kernel counts them.
    ///
    /// In native mode a veth end has a ring of 256 frames, and loses those for which there is no room while the CPU that
    /// shall empty it does something else.
    pub fn lost(&self) -> u64 {
        dropped(&self.client, "client0")
    }

    /// The same of frames from the host.
    pub fn lost_on_the_way_back(&self) -> u64 {
        dropped(&self.host, "host0")
    }

    /// Adds a second cable, from `host1` to `client1`, and returns the address of `host1`.
    pub fn add_cable(&self) -> Ipv4Addr {
        self.host.ip(&format!("link add host1 type veth peer name client1 netns {}", self.client.path()));
        self.host.ip("address add 198.51.100.1/24 dev host1");
        self.host.ip("link set host1 up");
        self.client.ip("address add 198.51.100.2/24 dev client1");
        self.client.ip("link set client1 up");
        Ipv4Addr::new(198, 51, 100, 1)
    }

    /// Checks that no program is on `host0`, and that no port answers there.
    #[track_caller]
    pub fn assert_nothing_is_attached(&self) {
        assert_eq!(programs::attached(&self.host, "host0"), None);
        self.assert_refused(80);
    }

    /// Checks that the host's kernel refuses connections to `port`.
    #[track_caller]
    pub fn assert_refused(&self, port: u16) {
        let error = self.connect(port).expect_err("nothing listens there");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    }

    /// A listener on the host.
    pub fn listen(&self, port: u16) -> TcpListener {
        self.host.enter(|| TcpListener::bind((HOST, port))).unwrap()
    }

    /// A listener on the client.
    pub fn listen_at_client(&self, port: u16) -> TcpListener {
        self.client.enter(|| TcpListener::bind((CLIENT, port))).unwrap()
    }
}

/// A switch, and a host and a client at its ports `port0` and `port1`, with the names and addresses of a [`Network`].
pub fn switched() -> [Namespace; 3] {
    let [switch, host, client] = switched_as([("host0", "port0"), ("client0", "port1")]);
    host.ip(&format!("address add {HOST_V6}/64 dev host0 nodad"));
    client.ip(&format!("address add {CLIENT_V6}/64 dev client0 nodad"));
    [switch, host, client]
}

/// The same over IPv4, with other names for the interfaces of host and client, and for the ports that they are at.
pub fn switched_as(names: [(&str, &str); 2]) -> [Namespace; 3] {
    let [switch, host, client] = [(); 3].map(|()| Namespace::new());
    switch.ip("link add bridge0 type bridge");
    switch.ip("link set bridge0 up");
    for ((interface, port), (namespace, address)) in names.into_iter().zip([(&host, HOST), (&client, CLIENT)]) {
        switch.ip(&format!("link add {port} type veth peer name {interface} netns {}", namespace.path()));
        switch.ip(&format!("link set {port} master bridge0 up"));
        namespace.ip(&format!("address add {address}/24 dev {interface}"));
        namespace.ip(&format!("link set {interface} up"));
    }
    [switch, host, client]
}

/// How many frames that an interface should have sent were dropped.
fn dropped(namespace: &Namespace, interface: &str) -> u64 {
    let links: serde_json::Value =
        serde_json::from_str(&namespace.ip(&format!("-s -j link show dev {interface}"))).unwrap();
    links[0]["stats64"]["tx"]["dropped"].as_u64().expect("ip tells what was dropped")
}

/// Connects from the namespace of the calling thread.
pub fn connect(address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((address, port)), DEADLINE)
}
