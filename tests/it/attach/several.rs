//! Several interfaces: their programs are loaded before any of them is attached.

use std::fs;

use nix::sys::signal::Signal;

use crate::fixtures::command::{STARTED, TcpBounce, assert_error};
use crate::fixtures::network::{Mode, Network, connect};
use crate::fixtures::process::Process;
use crate::fixtures::programs::{attached, pass};
use crate::fixtures::until;

in_each_mode! {
    every_interface_answers,
}

/// The `prog_type` of an XDP program (`BPF_PROG_TYPE_XDP` in `linux/bpf.h`).
const XDP: &str = "prog_type:\t6\n";

/// Adds veth pairs until there are `count`, from `host0` to `client0` and so on. Returns the names at the host.
fn add_cables(network: &Network, count: usize) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|number| format!("host{number}")).collect();
    for (number, name) in names.iter().enumerate().skip(1) {
        let peer = format!("client{number}");
        network.host.ip(&format!("link add {name} type veth peer name {peer} netns {}", network.client.path()));
        for (namespace, interface, host_part) in [(&network.host, name, 1), (&network.client, &peer, 2)] {
            namespace.ip(&format!("address add 198.51.100.{}/30 dev {interface}", 4 * number + host_part));
            namespace.ip(&format!("link set {interface} up"));
        }
    }
    names
}

fn every_interface_answers(mode: Mode) {
    let network = Network::new(mode);
    let names = add_cables(&network, 4);
    let has_pass = mode == Mode::Native;
    let _passes: Vec<_> =
        (1..4).filter(|_| has_pass).map(|number| pass(&network.client, &format!("client{number}"))).collect();
    // The responders keep the order of the command line.
    let process = Process::start(&mut TcpBounce::command(
        &network.host,
        &format!("--mode {} --json {}", mode.name(), names.join(" ")),
    ));
    let started = names.iter().map(|name| format!("\"interface\":\"{name}\""));
    let output = process.wait_for(&started.clone().next_back().unwrap());
    let positions: Vec<_> = started.map(|interface| output.find(&interface).unwrap()).collect();
    assert!(positions.is_sorted(), "{output}");
    network.connect(80).unwrap();
    for number in 1..4 {
        let address = [198, 51, 100, 4 * number + 1].into();
        network.client.enter(|| connect(address, 80)).unwrap();
    }
    process.signal(Signal::SIGINT);
    let output = process.finish().success();
    assert_eq!(output.lines().last().unwrap().matches("\"answered\":1").count(), 4, "{output}");
}

/// Checks that no program is attached while another one is being loaded, and that a signal then prevents the start.
/// With a policy, that is an error, because no port was compared.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn sigint_during_loading_attaches_nothing() {
    const COUNT: usize = 8;
    let network = Network::new(Mode::Skb);
    let names = add_cables(&network, COUNT);
    let prevents_start = |options: &str| {
        let process = Process::start(&mut TcpBounce::command(&network.host, &format!("{options} {}", names.join(" "))));
        let descriptors = format!("/proc/{}/fdinfo", process.child.id());
        let loaded = || {
            let files = fs::read_dir(&descriptors).unwrap();
            let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default());
            texts.filter(|text| text.contains(XDP)).count()
        };
        until("for a program to be loaded", || (loaded() > 0).then_some(()));
        process.signal(Signal::SIGSTOP);
        let is_attached: Vec<_> = names.iter().map(|name| attached(&network.host, name).is_some()).collect();
        let is_loading = loaded() < COUNT;
        assert!(!is_loading || !is_attached.contains(&true), "{is_attached:?}");
        process.signal(Signal::SIGINT);
        process.signal(Signal::SIGCONT);
        let finished = process.finish();
        network.assert_nothing_is_attached();
        let is_prevented = !finished.stdout.contains(STARTED);
        if is_prevented && !options.is_empty() {
            assert_eq!(finished.status.code(), Some(1), "{finished:?}");
            assert_error(&finished.stderr, &["stopped before the start", "policy"], "`answering on`");
        } else {
            assert!(finished.status.success(), "{finished:?}");
        }
        is_loading && is_prevented
    };
    let folder = tempfile::tempdir().unwrap();
    let [policy, report] = ["policy.toml", "report.csv"].map(|name| folder.path().join(name));
    fs::write(&policy, "[[rule]]\nports = \"1\"\nopen = false\n").unwrap();
    let compares = format!("--report {} --expect {}", report.display(), policy.display());
    // Sometimes all programs are loaded before the test notices the first one, so it makes up to ten attempts.
    for options in ["", &compares] {
        assert!((0..10).any(|_| prevents_start(options)), "{options}");
    }
}
