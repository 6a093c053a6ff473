//! The library, as another program embeds it.

use std::path::Path;

use crate::fixtures::command::BINARY;
use crate::fixtures::network::{CLIENT, HOST, Mode, Network};
use crate::fixtures::process::Process;

/// Starts `examples/embed.rs` with `host0` and `arguments`, and waits until it answers.
#[track_caller]
fn start_example(network: &Network, arguments: &[&str]) -> Process {
    let example = Path::new(BINARY).with_file_name("examples").join("embed");
    assert!(example.exists(), "run `cargo build --release --examples` first, as `cargo test` without --test does");
    let process = Process::start(network.host.command(example.to_str().unwrap()).arg("host0").args(arguments));
    process.wait_for("answering\n");
    process
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn example_prints_events_and_detaches() {
    let network = Network::new(Mode::Skb);
    let process = start_example(&network, &["2"]);
    let client = network.connect(80).unwrap().local_addr().unwrap();
    assert_eq!(client.ip(), CLIENT);
    let printed = process.finish().success();
    let lines: Vec<&str> = printed.lines().collect();
    let [answering, syn, completed, count] = lines[..] else { panic!("{printed}") };
    assert_eq!((answering, count), ("answering", "handshakes completed: 1"));
    assert!(syn.ends_with(&format!(" host0 {client} > {HOST}:80 syn")), "{syn}");
    assert!(completed.ends_with(&format!(" host0 {client} > {HOST}:80 completed")), "{completed}");
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn example_reports_a_removed_interface() {
    let network = Network::new(Mode::Skb);
    let process = start_example(&network, &[]);
    network.host.ip("link delete host0");
    let finished = process.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains("Removed { interface: \"host0\" }"), "{finished:?}");
}
