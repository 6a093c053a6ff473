//! The memory of the services of a profile.

use std::io::Write as _;

use tempfile::NamedTempFile;

use crate::fixtures::network::{Mode, Network};
use crate::fixtures::resources::{Memory, peak_memory};

/// Checks a profile with a payload of its own for each port, which takes 80 MiB.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn interfaces_share_the_services_and_free_them() {
    const SERVICES: u64 = 80 << 20;
    let mut file = NamedTempFile::new().unwrap();
    let banner = "x".repeat(1200);
    write!(file, "[[service]]\nports = \"others\"\nbanner = \"{banner}{{port}}\"\n").unwrap();
    let network = Network::new(Mode::Skb);
    network.add_cable();
    let memory = |interfaces: &str| {
        let responder = network.start_responder(&format!("--profile {} {interfaces}", file.path().display()));
        let memory = (peak_memory(&responder), Memory::of(&responder).resident);
        responder.interrupt();
        memory
    };
    let [one, two] = ["", "host1"].map(memory);
    println!("peak and resident memory: {one:?} with one interface, {two:?} with two");
    assert!(one.0 > SERVICES && one.0 < 2 * SERVICES, "{one:?}");
    assert!(two.0 < one.0 + SERVICES / 2, "{one:?} {two:?}");
    assert!(one.1 < SERVICES / 2 && two.1 < SERVICES / 2, "{one:?} {two:?}");
}
