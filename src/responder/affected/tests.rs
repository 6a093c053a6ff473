//! Tests of the connections that takeover of `eth0` affects.

use netlink_packet_route::link::LinkLayerType;

use super::*;
use crate::config::{DestinationChoice, PortSelection};
use crate::host::HostAddress;
use crate::responder::Exclusions;

/// The address of `eth0`, the interface that the program is attached to.
const HOST: &str = "192.0.2.1";
const BRIDGE_ADDRESS: &str = "198.51.100.1";
const LOOPBACK_ADDRESS: &str = "203.0.113.1";
const OTHER_INTERFACE_ADDRESS: &str = "192.0.2.129";
const CLIENT: &str = "192.0.2.2";

/// Returns a host with `lo`, `eth0` (a port of the bridge), the bridge, and `eth1`, in this order.
fn host(scope: &ScopeConfig) -> HostSnapshot {
    let interfaces = vec![
        Interface::fake(1, LinkLayerType::Loopback, None),
        Interface::fake(2, LinkLayerType::Ether, Some(3)),
        Interface::fake(3, LinkLayerType::Ether, None),
        Interface::fake(4, LinkLayerType::Ether, None),
    ];
    let addresses = [
        (1, "127.0.0.1"),
        (1, LOOPBACK_ADDRESS),
        (2, HOST),
        (2, "2001:db8::1"),
        (3, BRIDGE_ADDRESS),
        (4, OTHER_INTERFACE_ADDRESS),
    ];
    let addresses = addresses.map(|(index, address)| HostAddress::fake(index, address)).to_vec();
    let exclusions = Exclusions::new(scope, BTreeSet::new());
    HostSnapshot { interfaces, addresses, listeners: BTreeSet::new(), exclusions, tcp_settings: None }
}

fn takeover() -> ScopeConfig {
    ScopeConfig { takeover: true, destinations: DestinationChoice::Any, ..ScopeConfig::default() }
}

fn connection(local: &str, port: u16, remote: &str) -> Connection {
    Connection {
        local: (local.parse::<IpAddr>().unwrap(), port).into(),
        remote: (remote.parse::<IpAddr>().unwrap(), 50_000).into(),
    }
}

/// Selects the connections that takeover of `eth0` affects.
fn select(connections: &[Connection], scope: &ScopeConfig) -> Vec<Connection> {
    let snapshot = host(scope);
    AffectedConnections::select(connections.iter().copied(), &snapshot.interfaces[1..2], scope, &snapshot).0
}

#[track_caller]
fn assert_affected(connection: Connection, scope: &ScopeConfig, is_affected: bool) {
    assert_eq!(select(&[connection], scope), if is_affected { vec![connection] } else { vec![] });
}

#[test]
fn lists_connections_of_the_interface_by_local_end() {
    let v6 = connection("2001:db8::1", 22, "2001:db8::2");
    let [second, first] = [80, 22].map(|port| connection(HOST, port, CLIENT));
    assert_eq!(select(&[v6, second, first], &takeover()), [first, second, v6]);
}

#[test]
fn leaves_out_connections_between_own_addresses() {
    assert_affected(connection(HOST, 80, HOST), &takeover(), false);
    assert_affected(connection(HOST, 80, OTHER_INTERFACE_ADDRESS), &takeover(), false);
    assert_affected(connection("127.0.0.1", 80, "127.0.0.1"), &takeover(), false);
}

#[test]
fn leaves_out_addresses_of_other_interfaces() {
    assert_affected(connection(OTHER_INTERFACE_ADDRESS, 80, CLIENT), &takeover(), false);
}

#[test]
fn leaves_out_excluded_ports() {
    let ports = PortSelection::new(Some("80,443".parse().unwrap()), "443".parse().unwrap()).unwrap();
    let scope = ScopeConfig { ports, ..takeover() };
    assert_affected(connection(HOST, 80, CLIENT), &scope, true);
    assert_affected(connection(HOST, 443, CLIENT), &scope, false);
    assert_affected(connection(HOST, 22, CLIENT), &scope, false);
}

#[test]
fn leaves_out_sources_outside_the_filter() {
    let scope = ScopeConfig { sources: vec!["192.0.2.2/32".parse().unwrap()], ..takeover() };
    assert_affected(connection(HOST, 80, CLIENT), &scope, true);
    assert_affected(connection(HOST, 80, "192.0.2.3"), &scope, false);
}

#[test]
fn leaves_out_destinations_outside_the_scope() {
    let prefixes = DestinationChoice::Prefixes(vec!["198.51.100.0/24".parse().unwrap()]);
    let scope = ScopeConfig { destinations: prefixes, ..takeover() };
    assert_affected(connection(BRIDGE_ADDRESS, 80, CLIENT), &scope, true);
    assert_affected(connection(HOST, 80, CLIENT), &scope, false);
}

#[test]
fn includes_addresses_of_the_bridge_above_a_port() {
    assert_affected(connection(BRIDGE_ADDRESS, 80, CLIENT), &takeover(), true);
    let own = ScopeConfig { destinations: DestinationChoice::Own, ..takeover() };
    assert_affected(connection(BRIDGE_ADDRESS, 80, CLIENT), &own, false);
}

#[test]
fn includes_loopback_addresses_that_other_hosts_reach() {
    assert_affected(connection(LOOPBACK_ADDRESS, 80, CLIENT), &takeover(), true);
}

#[test]
fn selects_among_a_hundred_thousand_connections() {
    // The clients are 10.0.0.0, 10.0.0.1 and so on. Every second connection is to an address of another interface.
    let client = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
    let connections: Vec<_> = (0..100_000)
        .map(|number| {
            let local = if number % 2 == 0 { HOST } else { OTHER_INTERFACE_ADDRESS };
            Connection { remote: (client(number), 50_000).into(), ..connection(local, 80, CLIENT) }
        })
        .collect();
    let affected = select(&connections, &takeover());
    assert_eq!(affected, connections.iter().copied().step_by(2).collect::<Vec<_>>());
}

#[test]
fn shows_twenty_connections_and_the_number_of_the_others() {
    let connections: Vec<_> = (1..=23).map(|port| connection(HOST, port, CLIENT)).collect();
    let text = AffectedConnections(connections).to_string();
    assert_eq!(text.lines().count(), 1 + 20 + 1);
    assert!(text.ends_with("\n  192.0.2.1:20 with 192.0.2.2:50000\n  and 3 more"), "{text}");
}
