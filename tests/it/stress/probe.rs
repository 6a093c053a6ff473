//! The probe of all ports through a line with a delay: of a host that answers on all ports, and behind a firewall that
//! drops most SYNs.

use std::time::Duration;

use serde_json::Value;

use crate::fixtures::command::TcpBounce;
use crate::fixtures::is_long;
use crate::fixtures::line::Line;
use crate::fixtures::machine::MachineLock;
use crate::fixtures::network::{HOST, switched};
use crate::fixtures::probe::{ports, ports_in_state, run_probe};

/// The delay in each direction.
const DELAY: Duration = Duration::from_millis(1);

/// Checks a path that passes all SYNs. Long runs also check ports that stay silent, and a firewall that passes 20
/// ports. Prints the time of each probe.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn all_ports_are_probed() {
    let _machine = MachineLock::exclusive();
    let [switch, host, client] = switched();
    switch.ip("link delete bridge0");
    // A packet socket would receive the client's frames without their checksums.
    client.run("ethtool", "-K client0 tx off");
    let _line = Line::start(&switch, DELAY, b"");
    let probe_all = |on_connect: &str| {
        let _responder = TcpBounce::start(&host, &format!("--mode skb --on-connect {on_connect} host0"));
        let json = run_probe(&client, &format!("--format json {HOST}")).success();
        let report: Value = serde_json::from_str(&json).unwrap();
        println!("{on_connect}: {:.1} seconds", report["elapsed"].as_f64().unwrap());
        let latencies = ports(&report, 0).into_values().filter_map(|port| port["latency"].as_f64());
        assert!(latencies.min_by(f64::total_cmp) >= Some(2.0 * DELAY.as_secs_f64()), "the line delays the segments");
        ports_in_state(&report, 0, "open")
    };
    let all: Vec<u16> = (1..=u16::MAX).collect();
    assert_eq!(probe_all("close"), all);
    if is_long() {
        assert_eq!(probe_all("identify"), all);
        assert_eq!(probe_all("ignore"), all);
        let holes: Vec<u16> = (0..20).map(|hole| 21 + hole * hole * 163).collect();
        let list = holes.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        switch.run("nft", "add table netdev firewall");
        switch.run("nft", "add chain netdev firewall out { type filter hook egress device port0 priority 0 ; }");
        switch.run("nft", &format!("add rule netdev firewall out tcp dport != {{ {list} }} drop"));
        assert_eq!(probe_all("close"), holes);
    }
}
