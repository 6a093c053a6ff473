//! Interfaces that already have an XDP program. tcp-bounce never replaces it, and attaches to all interfaces or none.

use crate::fixtures::command::{STARTED, TcpBounce, assert_error, refusal};
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::{BENCH_OBJECT, attached, ip_link_set, pass};
use crate::fixtures::until;

#[test]
#[ignore = "needs root: makes network namespaces"]
fn names_a_foreign_program_and_keeps_it() {
    let network = Network::new(Mode::Skb);
    let _pass = pass(&network.client, "client0");
    for attach in ["xdpdrv", "xdpgeneric"] {
        ip_link_set(&network.host, &format!("host0 {attach} object {BENCH_OBJECT} program pass"));
        let foreign = attached(&network.host, "host0").unwrap();
        for mode in ["auto", "native", "skb"] {
            let reason = refusal(&network.host, &format!("--mode {mode} host0"));
            let hint = format!("detach it with `ip link set dev host0 {attach} off`");
            assert_error(&reason, &["already attached to host0", "\"pass\"", &format!("id {foreign},")], &hint);
            assert_eq!(attached(&network.host, "host0"), Some(foreign));
        }
        // The command in the hint works.
        network.host.ip(&format!("link set dev host0 {attach} off"));
        assert_eq!(attached(&network.host, "host0"), None);
    }
    // `ip` cannot remove a program that is attached by a BPF link.
    let _theirs = pass(&network.host, "host0");
    let foreign = attached(&network.host, "host0").unwrap();
    let reason = refusal(&network.host, "host0");
    let hint = "it stays attached until its process ends";
    assert_error(&reason, &["already attached to host0", "\"pass\"", &format!("id {foreign},")], hint);
    assert_eq!(attached(&network.host, "host0"), Some(foreign));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_a_second_tcp_bounce() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("");
    let first = attached(&network.host, "host0").unwrap();
    let reason = refusal(&network.host, "host0");
    assert_error(&reason, &["already attached to host0", "\"tcp_bounce\"", &format!("id {first},")], "tcp-bounce");
    network.connect(80).unwrap();
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn refuses_one_of_two_simultaneous_starts() {
    let network = Network::new(Mode::Skb);
    let start = || Process::start(&mut TcpBounce::command(&network.host, "--mode skb host0"));
    let both = [start(), start()];
    let refused = until("for one to end", || both.iter().position(|process| process.stderr.text().contains('\n')));
    let [first, second] = both;
    let (refused, running) = if refused == 0 { (first, second) } else { (second, first) };
    let reason = TcpBounce(refused).failure();
    assert_error(&reason, &["already attached to host0", "\"tcp_bounce\""], "another tcp-bounce attached it");
    running.wait_for(STARTED);
    TcpBounce(running).interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn attaches_to_all_interfaces_or_none() {
    let network = Network::new(Mode::Native);
    network.add_cable();
    let occupant = pass(&network.host, "host1");
    let reason = refusal(&network.host, "host0 host1");
    assert_error(&reason, &["already attached to host1"], "it stays attached until its process ends");
    network.assert_nothing_is_attached();

    // `host0` and `host1` are attached before `macvlan0` refuses the program.
    drop(occupant);
    for name in ["macvlan0", "macvlan1"] {
        network.host.ip(&format!("link add {name} link host1 type macvlan"));
    }
    let reason = refusal(&network.host, "--mode native host0 host1 macvlan0 macvlan1");
    assert_error(&reason, &["macvlan0 refuses native mode"], "--mode skb");
    network.assert_nothing_is_attached();
    assert_eq!(attached(&network.host, "host1"), None);
}
