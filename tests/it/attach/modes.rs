//! To which interfaces tcp-bounce attaches, and in which mode.

use std::io::Write as _;

use crate::fixtures::command::{TcpBounce, assert_error, refusal};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, Mode, Network, connect};
use crate::fixtures::programs::{attached, pass};
use tcp_bounce::internals::kernel::has_frags;
use tcp_bounce_wire::Verdict;

in_each_mode! {
    it_attaches_in_the_mode_that_was_asked_for,
    several_interfaces_answer_in_one_run,
    jumbo_frames_are_answered,
}

fn it_attaches_in_the_mode_that_was_asked_for(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let (said, shown) = match mode {
        Mode::Native => (
            "host0 (native mode: on veth, native replies are lost unless the peer has an XDP program too) for ",
            " xdp ",
        ),
        Mode::Skb => ("host0 (skb mode) for ", " xdpgeneric "),
    };
    let text = responder.0.stdout.text();
    assert!(text.starts_with(&format!("{said}{HOST}")) && text.contains(": every TCP port answers\n"), "{text}");
    assert!(network.host.ip("link show dev host0").contains(shown));
    responder.interrupt();
}

fn several_interfaces_answer_in_one_run(mode: Mode) {
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
fn native_mode_is_refused_where_the_driver_has_none() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link add macvlan0 link host0 type macvlan");
    network.host.ip("link add bridge0 type bridge");
    for interface in ["macvlan0", "bridge0"] {
        let reason = refusal(&network.host, &format!("--mode native {interface}"));
        assert_error(&reason, &[interface, "refuses native"], "--mode skb");
        assert_eq!(attached(&network.host, interface), None);
    }
}

/// A frame of 9000 bytes does not fit in one page, so the program must be one that takes frames in several parts.
fn jumbo_frames_are_answered(mode: Mode) {
    if mode == Mode::Native && !has_frags() {
        // Such a kernel takes no program for them.
        return;
    }
    let network = Network::new(mode);
    network.host.ip("link set host0 mtu 9000");
    network.client.ip("link set client0 mtu 9000");
    let responder = network.start_responder("");
    let mut connection = network.connect(80).unwrap();
    network.wait_until_counted(Verdict::Completed, 1);
    // One segment that is in several parts.
    connection.write_all(&[0xee; 8900]).unwrap();
    network.wait_until_counted(Verdict::Later, 1);
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn offload_is_refused_where_the_nic_has_none() {
    let network = Network::new(Mode::Skb);
    let reason = refusal(&network.host, "--mode hw host0");
    assert_error(&reason, &["host0", "refuses hw"], "--mode auto");
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn auto_chooses_skb_on_veth_and_says_why() {
    let network = Network::new(Mode::Skb);
    let responder = TcpBounce::start(&network.host, "host0");
    assert!(responder.0.stdout.text().starts_with("host0 (skb mode: on veth,"), "{}", responder.0.stdout.text());
    network.connect(80).unwrap();
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn auto_chooses_native_where_the_driver_has_it() {
    let host = Namespace::new();
    host.ip("tuntap add tap0 mode tap");
    let responder = TcpBounce::start(&host, "tap0");
    let expected = "tap0 (native mode) for no address, as it has none: every TCP port answers";
    assert_eq!(responder.0.stdout.text().lines().next(), Some(expected));
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn auto_falls_back_to_skb_and_says_why() {
    for (interface, add) in [
        ("macvlan0", "link add macvlan0 link host0 type macvlan mode bridge"),
        ("bridge0", "link add bridge0 type bridge"),
    ] {
        let network = Network::new(Mode::Skb);
        network.host.ip(&format!("address delete {HOST}/24 dev host0"));
        // The address is not that of host0 any more, so it must not answer ARP for it.
        network.host.sysctl("ipv4/conf/host0/arp_ignore", "1");
        network.host.ip(add);
        if interface == "bridge0" {
            network.host.ip("link set host0 master bridge0");
        }
        network.host.ip(&format!("address add {HOST}/24 dev {interface}"));
        network.host.ip(&format!("link set {interface} up"));

        let responder = TcpBounce::start(&network.host, interface);
        let text = responder.0.stdout.text();
        assert!(text.starts_with(&format!("{interface} (skb mode: the driver refuses native mode: ")), "{text}");
        network.connect(80).unwrap();
        assert_eq!(responder.interrupt().count("SYNs answered"), 1);
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn an_interface_may_be_named_only_once() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link property add dev host0 altname a-very-long-name-of-host0");
    for arguments in ["host0 host0", "host0 a-very-long-name-of-host0"] {
        let reason = refusal(&network.host, arguments);
        assert_error(&reason, &["host0 is named twice"], "altname");
    }
    let responder = TcpBounce::start(&network.host, "a-very-long-name-of-host0");
    network.connect(80).unwrap();
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn an_interface_is_found_among_many() {
    let network = Network::new(Mode::Skb);
    (0..100).for_each(|number| drop(network.host.ip(&format!("link add bridge{number} type bridge"))));
    let reason = refusal(&network.host, "nosuch0");
    assert_error(&reason, &["there is no interface \"nosuch0\""], "bridge99");
    assert!(reason.contains("host0, "), "{reason}");
    let responder = TcpBounce::start(&network.host, "host0");
    network.connect(80).unwrap();
    responder.interrupt();
}

/// A tunnel's packets have no Ethernet header.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn an_interface_that_is_not_ethernet_is_refused() {
    let host = Namespace::new();
    host.ip("tuntap add tun0 mode tun");
    assert_error(&refusal(&host, "tun0"), &["tun0 is no Ethernet interface"], "only interfaces with Ethernet headers");
}
