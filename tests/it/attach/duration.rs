//! `--duration`: a run with a time limit.

use std::time::{Duration, Instant};

use crate::fixtures::command::Summary;
use crate::fixtures::network::{Mode, Network};

in_each_mode! {
    run_ends_when_its_time_is_up,
}

fn run_ends_when_its_time_is_up(mode: Mode) {
    let network = Network::new(mode);
    let started = Instant::now();
    let responder = network.start_responder("--duration 4s");
    network.connect(80).unwrap();
    let summary = Summary::of(&responder.0.finish());
    assert!(started.elapsed() >= Duration::from_secs(4));
    assert_eq!(summary.count("SYNs answered"), 1, "{summary:?}");
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn sigint_ends_a_run_before_its_time_is_up() {
    let network = Network::new(Mode::Skb);
    for duration in ["1h", "1000000years"] {
        network.start_responder(&format!("--duration {duration}")).interrupt();
    }
}
