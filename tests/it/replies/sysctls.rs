//! SYN-ACKs follow the host's sysctls, at the start and while tcp-bounce runs.

use crate::fixtures::capture::Capture;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::until;

in_each_mode! {
    follows_the_hosts_sysctls,
    options_override_the_hosts_sysctls,
}

const FIELDS: [&str; 3] = ["ip.ttl", "tcp.window_size_value", "tcp.options.wscale.shift"];

/// Names and values of sysctls.
type Sysctls = &'static [(&'static str, &'static str)];

/// Sysctls, and the fields of a SYN-ACK that tcp-bounce sends under them and those before.
const STEPS: [(Sysctls, [&str; 3]); 4] = [
    (&[("ipv4/tcp_rmem", "4096 131072 6291456")], ["64", "65160", "7"]),
    (&[("ipv4/ip_default_ttl", "100"), ("ipv4/tcp_rmem", "4096 65536 16777216")], ["100", "31856", "9"]),
    (&[("ipv4/tcp_timestamps", "0"), ("ipv4/tcp_window_scaling", "0")], ["100", "32120", ""]),
    (&[("ipv4/tcp_workaround_signed_windows", "1"), ("ipv4/tcp_rmem", "4096 131072 6291456")], ["100", "32767", ""]),
];

/// Returns the fields of the SYN-ACK that a new connection gets.
fn fields(network: &Network) -> Vec<String> {
    let capture = Capture::start(&network.client, "client0", "tcp[tcpflags] = tcp-syn|tcp-ack", 1, &FIELDS);
    network.connect(80).unwrap();
    capture.packets().remove(0)
}

fn follows_the_hosts_sysctls(mode: Mode) {
    let network = Network::new(mode);
    let apply = |sysctls: Sysctls| sysctls.iter().for_each(|(name, value)| network.host.sysctl(name, value));
    let [(first, expected), later @ ..] = STEPS;
    apply(first);
    let responder = network.start_responder("");
    assert_eq!(fields(&network), expected, "at the start");
    for (sysctls, expected) in later {
        apply(sysctls);
        until(&format!("for a SYN-ACK under {sysctls:?}"), || (fields(&network) == expected).then_some(()));
    }
    responder.interrupt();
    // A new run reads the sysctls at its start.
    let responder = network.start_responder("");
    assert_eq!(fields(&network), STEPS[3].1, "at a new start");
    responder.interrupt();
}

fn options_override_the_hosts_sysctls(mode: Mode) {
    let network = Network::new(mode);
    network.host.sysctl("ipv4/ip_default_ttl", "100");
    network.host.sysctl("ipv4/tcp_rmem", "4096 65536 16777216");
    let responder = network.start_responder("--ttl 7 --window 1000 --wscale 3");
    assert_eq!(fields(&network), ["7", "1000", "3"]);
    responder.interrupt();
}
