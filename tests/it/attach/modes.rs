//! Attach modes and interfaces.

use std::io::Write as _;

use tcp_bounce::internals::kernel::has_frags;
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{TcpBounce, assert_error, refusal, usage_error};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, Mode, Network, connect};
use crate::fixtures::programs::{attached, pass};

in_each_mode! {
    attaches_in_the_chosen_mode,
    answers_on_several_interfaces,
    answers_jumbo_frames,
}

fn attaches_in_the_chosen_mode(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let (line, note, shown) = match mode {
        Mode::Native => {
            ("host0 (native mode): answering on all TCP ports\n", "\n  note: native mode on veth ", " xdp ")
        }
        Mode::Skb => ("host0 (skb mode): answering on all TCP ports\n", "", " xdpgeneric "),
    };
    let text = responder.0.stdout.text();
    assert!(text.starts_with(&format!("{line}  addresses: {HOST}")) && text.contains(note), "{text}");
    assert!(network.host.ip("link show dev host0").contains(shown));
    responder.interrupt();
}

fn answers_on_several_interfaces(mode: Mode) {
    let network = Network::new(mode);
    let addresses = [HOST, network.add_cable()];
    let _pass = (mode == Mode::Native).then(|| pass(&network.client, "client1"));
    let responder = network.start_responder("host1");
    for address in addresses {
        network.client.enter(|| connect(address, 80)).unwrap();
    }
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 2, "{summary:?}");
    network.assert_nothing_is_attached();
    assert_eq!(attached(&network.host, "host1"), None);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_native_mode_without_driver_support() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link add macvlan0 link host0 type macvlan");
    network.host.ip("link add bridge0 type bridge");
    for interface in ["macvlan0", "bridge0"] {
        let reason = refusal(&network.host, &format!("--mode native {interface}"));
        assert_error(&reason, &[interface, "refuses native mode"], "--mode skb");
        assert_eq!(attached(&network.host, interface), None);
    }
}

/// Checks an MTU of 9000 bytes. Frames larger than a page need multi-buffer support in native mode.
fn answers_jumbo_frames(mode: Mode) {
    if mode == Mode::Native && !has_frags() {
        // Kernels without multi-buffer XDP refuse the program at this MTU.
        return;
    }
    let network = Network::new(mode);
    network.host.ip("link set host0 mtu 9000");
    network.client.ip("link set client0 mtu 9000");
    let responder = network.start_responder("");
    let mut connection = network.connect(80).unwrap();
    network.wait_until_counted(Verdict::Completed, 1);
    // In native mode, the frame of this segment spans several buffers.
    connection.write_all(&[0xee; 8900]).unwrap();
    network.wait_until_counted(Verdict::Later, 1);
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_offload_without_nic_support() {
    let network = Network::new(Mode::Skb);
    for arguments in ["", "--profile linux-server", "--on-connect tarpit --events --top-talkers"] {
        let reason = refusal(&network.host, &format!("--mode hw {arguments} host0"));
        assert_error(&reason, &["host0", "refuses hw mode"], "--mode auto");
        network.assert_nothing_is_attached();
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn auto_chooses_skb_on_veth_with_a_reason() {
    let network = Network::new(Mode::Skb);
    let responder = TcpBounce::start(&network.host, "host0");
    let text = responder.0.stdout.text();
    assert!(text.starts_with("host0 (skb mode): ") && text.contains("\n  note: native mode on veth "), "{text}");
    network.connect(80).unwrap();
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn auto_chooses_native_with_driver_support() {
    let host = Namespace::new();
    host.ip("tuntap add tap0 mode tap");
    let responder = TcpBounce::start(&host, "tap0");
    let expected = "tap0 (native mode): answering on all TCP ports";
    assert_eq!(responder.0.stdout.text().lines().next(), Some(expected));
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn auto_falls_back_to_skb_with_a_reason() {
    for (interface, add) in [
        ("macvlan0", "link add macvlan0 link host0 type macvlan mode bridge"),
        ("bridge0", "link add bridge0 type bridge"),
    ] {
        let network = Network::new(Mode::Skb);
        network.host.ip(&format!("address delete {HOST}/24 dev host0"));
        // The address moves from `host0` to `interface`, so `host0` must not answer ARP requests for it.
        network.host.sysctl("ipv4/conf/host0/arp_ignore", "1");
        network.host.ip(add);
        if interface == "bridge0" {
            network.host.ip("link set host0 master bridge0");
        }
        network.host.ip(&format!("address add {HOST}/24 dev {interface}"));
        network.host.ip(&format!("link set {interface} up"));

        let responder = TcpBounce::start(&network.host, interface);
        let text = responder.0.stdout.text();
        assert!(text.starts_with(&format!("{interface} (skb mode): ")), "{text}");
        assert!(text.contains("\n  note: the driver refuses native mode: "), "{text}");
        network.connect(80).unwrap();
        assert_eq!(responder.interrupt().count("SYNs answered"), 1);
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_an_interface_named_twice() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link property add dev host0 altname a-very-long-name-of-host0");
    for arguments in ["host0 host0", "host0 a-very-long-name-of-host0"] {
        let reason = usage_error(&network.host, arguments);
        assert_error(&reason, &["host0 is named twice"], "altname");
    }
    let responder = TcpBounce::start(&network.host, "a-very-long-name-of-host0");
    network.connect(80).unwrap();
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn finds_an_interface_among_many() {
    let network = Network::new(Mode::Skb);
    (0..100).for_each(|number| drop(network.host.ip(&format!("link add bridge{number} type bridge"))));
    let reason = refusal(&network.host, "nosuch0");
    assert_error(&reason, &["no interface named \"nosuch0\""], "bridge99");
    assert!(reason.contains("host0, "), "{reason}");
    let responder = TcpBounce::start(&network.host, "host0");
    network.connect(80).unwrap();
    responder.interrupt();
}

/// Checks a TUN interface, whose packets have no Ethernet header.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_an_interface_without_ethernet() {
    let host = Namespace::new();
    host.ip("tuntap add tun0 mode tun");
    assert_error(&refusal(&host, "tun0"), &["tun0 is not an Ethernet interface"], "link/ether");
}
