//! A network whose host has the NIC under test, and the expectations of the NIC's driver.

use std::env;
use std::fmt::{self, Display, Formatter};
use std::io::{Read as _, Write as _};
use std::thread;

use tcp_bounce::internals::{ethtool, kernel};

use crate::fixtures::command::{STARTED, TcpBounce};
use crate::fixtures::kernel_log::KernelLog;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{CLIENT, HOST, Mode, Network};
use crate::fixtures::nics;
use crate::fixtures::process::run;
use crate::fixtures::segment::{mac, text};
use crate::fixtures::{accept, until};
use crate::tap::TapCable;

/// The NICs of scripts/test-drivers.
const DRIVERS: [Driver; 10] = [
    Driver { nic: "virtio-net", name: "virtio_net", native_since: Some((4, 10)) },
    Driver { nic: "virtio-net-plain", name: "virtio_net", native_since: Some((4, 10)) },
    Driver { nic: "virtio-net-4", name: "virtio_net", native_since: Some((4, 10)) },
    Driver { nic: "virtio-net-4-plain", name: "virtio_net", native_since: Some((4, 10)) },
    // `virtnet_xdp_set` refuses a program if it cannot stop qemu from merging packets.
    Driver { nic: "virtio-net-merging", name: "virtio_net", native_since: None },
    Driver { nic: "igb", name: "igb", native_since: Some((5, 10)) },
    Driver { nic: "vmxnet3", name: "vmxnet3", native_since: Some((6, 6)) },
    Driver { nic: "e1000e", name: "e1000e", native_since: None },
    Driver { nic: "rtl8139", name: "8139cp", native_since: None },
    Driver { nic: "tap", name: "tun", native_since: Some((4, 15)) },
];

/// A NIC and its driver.
pub struct Driver {
    /// The name of the NIC in scripts/test-drivers.
    nic: &'static str,
    /// The name of the driver, as in `ethtool -i`.
    name: &'static str,
    /// The first version of Linux whose driver supports native mode on this NIC. `None` if no version does.
    native_since: Option<(u32, u32)>,
}

impl Driver {
    /// Returns the driver under test, which scripts/test-drivers names in the environment.
    fn under_test() -> &'static Self {
        let nic = env::var("TCP_BOUNCE_TEST_DRIVER").expect("this is a virtual machine of `make test-drivers`");
        DRIVERS.iter().find(|driver| driver.nic == nic).unwrap_or_else(|| panic!("no NIC is named {nic}"))
    }

    /// Returns whether the driver supports native mode on the running kernel, with an MTU of 1500 bytes.
    pub fn is_native(&self) -> bool {
        self.native_since.is_some_and(|version| !kernel::is_older_than(version))
    }

    /// Returns the mode of a run with `--mode requested` and an MTU of 1500 bytes. `None` if tcp-bounce does not start.
    pub fn expected(&self, requested: &str) -> Option<Mode> {
        match (requested, self.is_native()) {
            ("native", false) => None,
            ("skb", _) | ("auto", false) => Some(Mode::Skb),
            _ => Some(Mode::Native),
        }
    }
}

/// Returns the modes that the driver under test supports.
pub fn modes() -> Vec<Mode> {
    if Driver::under_test().is_native() { vec![Mode::Native, Mode::Skb] } else { vec![Mode::Skb] }
}

/// A network with the NIC under test at `host0`.
pub struct Lab {
    pub network: Network,
    /// The kernel's log, from the creation of the network on.
    log: KernelLog,
    driver: &'static Driver,
    _cable: Option<TapCable>,
}

impl Lab {
    /// Creates the network, with an MTU of 1500 bytes.
    ///
    /// Host and client know each other's MAC addresses. A connection then waits while the link is down, and does not
    /// fail.
    pub fn new(mode: Mode) -> Self {
        let (driver, log) = (Driver::under_test(), KernelLog::open());
        let is_tap = driver.nic == "tap";
        let (host, client) = if is_tap { (Namespace::new(), Namespace::new()) } else { nics::host_and_client() };
        let cable = is_tap.then(|| TapCable::new([(&host, "host0"), (&client, "client0")]));
        assert_eq!(host.enter(|| ethtool::driver("host0")).unwrap(), driver.name);
        let network = Network::of_interfaces(host, client, mode);
        for (namespace, nic, address, neighbour) in [
            (&network.host, "host0", CLIENT, mac(&network.client, "client0")),
            (&network.client, "client0", HOST, mac(&network.host, "host0")),
        ] {
            namespace.ip(&format!("neighbour add {address} lladdr {} dev {nic} nud permanent", text(neighbour)));
        }
        // A response that is lost while the link is down must be sent again until the client has it.
        network.host.sysctl("ipv4/tcp_orphan_retries", "8");
        let mut lab = Self { network, log, driver, _cable: cable };
        assert!(lab.set_mtu(1500));
        lab
    }

    /// Returns the driver under test.
    pub fn driver(&self) -> &'static Driver {
        self.driver
    }

    /// Sets the MTU of both NICs, in bytes, and waits for the link. Returns false if the driver refuses the MTU.
    pub fn set_mtu(&mut self, mtu: u32) -> bool {
        self.network.client.ip(&format!("link set client0 mtu {mtu}"));
        let mut command = self.network.host.command("ip");
        let is_set = run(command.args(["link", "set", "host0", "mtu", &mtu.to_string()])).status.success();
        self.wait_for_link();
        is_set
    }

    /// Sets offloads of the NIC under test, such as `rxvlan on txvlan off`. Returns false if the driver does not allow
    /// them.
    pub fn set_vlan_offloads(&self, offloads: &str) -> bool {
        run(self.network.host.command("ethtool").args(["-K", "host0"]).args(offloads.split(' ')));
        self.wait_for_link();
        let features = self.network.host.run("ethtool", "-k host0");
        let words: Vec<&str> = offloads.split(' ').collect();
        words.chunks(2).all(|pair| {
            let name = if pair[0] == "rxvlan" { "rx-vlan-offload: " } else { "tx-vlan-offload: " };
            let state = features.lines().find_map(|line| line.strip_prefix(name)?.split(' ').next());
            state == Some(pair[1])
        })
    }

    /// Waits until the link of the NIC under test is up.
    pub fn wait_for_link(&self) {
        until("for the link", || self.network.host.ip("link show dev host0").contains("LOWER_UP").then_some(()));
    }

    /// Runs `--check` on the NIC under test.
    #[track_caller]
    pub fn check(&self, arguments: &str) -> Prediction {
        let finished = run(&mut TcpBounce::command(&self.network.host, &format!("--check --json {arguments} host0")));
        let report: serde_json::Value =
            serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"));
        let interface = &report["interfaces"][0];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let findings = interface["findings"].as_array().unwrap().iter();
        Prediction {
            starts: report["starts"].as_bool().unwrap(),
            mode: if interface["mode"] == "native" { Mode::Native } else { Mode::Skb },
            findings: findings.map(|finding| (text(&finding["code"]), text(&finding["command"]))).collect(),
        }
    }

    /// Starts tcp-bounce on the NIC under test in the given mode, or with `auto`, and lets it end at once.
    #[track_caller]
    pub fn run_briefly(&self, mode: &str) -> Outcome {
        let arguments = format!("--mode {mode} --duration 1ms host0");
        let finished = run(&mut TcpBounce::command(&self.network.host, &arguments));
        self.wait_for_link();
        let (first, rest) = finished.stdout.split_once('\n').unwrap_or(("", ""));
        let mode = match first.split_once(STARTED) {
            Some(("host0 (native mode)", _)) => Some(Mode::Native),
            Some(("host0 (skb mode)", _)) => Some(Mode::Skb),
            Some(_) => panic!("{finished:?}"),
            None => None,
        };
        assert_eq!(finished.status.success(), mode.is_some(), "{finished:?}");
        let remarks = rest.lines().chain(finished.stderr.lines()).map(str::trim);
        let is_remark = |line: &&str| ["note: ", "warning: ", "error: "].iter().any(|prefix| line.starts_with(prefix));
        Outcome { mode, remarks: remarks.filter(is_remark).map(str::to_owned).collect() }
    }

    /// Starts tcp-bounce in the mode of the network, and waits for the link: some drivers reset it.
    #[track_caller]
    pub fn start(&self, arguments: &str) -> TcpBounce {
        let responder = self.network.start_responder(arguments);
        self.wait_for_link();
        responder
    }

    /// Sends data to a listener of the host, and checks that it arrives unchanged.
    #[track_caller]
    pub fn transfer_to_host(&self) {
        let sent: Vec<u8> = (0..4_000_000_u32).map(|index| (index ^ index >> 8) as u8).collect();
        let listener = self.network.listen(2222);
        let mut client = self.network.connect(2222).unwrap();
        let mut server = accept(&listener);
        let mut received = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(&sent).unwrap();
                drop(client);
            });
            server.read_to_end(&mut received).unwrap();
        });
        assert!(received == sent, "{} of {} bytes arrived unchanged", common_prefix(&received, &sent), sent.len());
    }

    /// Ends the network. Checks that the kernel logged no fault.
    #[track_caller]
    pub fn finish(self) {
        let Self { network, mut log, driver, _cable } = self;
        drop(network);
        let mut complaints = log.complaints();
        if driver.nic == "virtio-net-merging" {
            complaints.retain(|record| !warns_of_merging(record));
        }
        assert_eq!(complaints, Vec::<String>::new());
    }
}

/// The result of `--check`.
pub struct Prediction {
    pub starts: bool,
    pub mode: Mode,
    /// The code and the command of each finding about the interface. The command is empty if there is none.
    findings: Vec<(String, String)>,
}

impl Prediction {
    /// Returns whether the check says that the driver may refuse native mode: the kernel does not report its features,
    /// or there is a warning.
    pub fn has_doubts(&self) -> bool {
        let doubts = ["mtu", "lro", "gro_hw"];
        kernel::is_older_than(kernel::DRIVER_FEATURES) || doubts.iter().any(|code| self.command(code).is_some())
    }

    /// Returns the command of the finding with this code. Returns `None` without the finding.
    pub fn command(&self, code: &str) -> Option<&str> {
        self.findings.iter().find(|(it, _)| it == code).map(|(_, command)| command.as_str())
    }
}

impl Display for Prediction {
    /// Writes the mode and the codes of the findings.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let start = if self.starts { self.mode.name() } else { "no start" };
        f.write_str(start)?;
        self.findings.iter().try_for_each(|(code, _)| write!(f, ", {code}"))
    }
}

/// The result of a start.
pub struct Outcome {
    /// The mode. `None` if tcp-bounce did not start.
    pub mode: Option<Mode>,
    /// Notes, warnings and errors.
    pub remarks: Vec<String>,
}

impl Display for Outcome {
    /// Writes the mode and the remarks.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mode = self.mode.map_or("no start", Mode::name);
        f.write_str(&[&[mode.to_owned()], &self.remarks[..]].concat().join(", "))
    }
}

/// Returns whether a record is a part of the kernel's warning that a NIC still merges packets in skb mode
/// (`dev_disable_gro_hw`).
fn warns_of_merging(record: &str) -> bool {
    record.contains("generic_xdp_install") || record.contains("Call Trace")
}

/// Returns the number of equal bytes at the start of both slices.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
