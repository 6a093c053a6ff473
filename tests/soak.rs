//! A flood of SYNs from forged sources: each is answered, or accounted for; it costs no memory, and the host's own services
//! go on.

#[macro_use]
mod common;

use std::env;
use std::thread;
use std::time::Duration;

use common::cost::Memory;
use common::flood::{Flood, Kind, Sink};
use common::network::{Mode, Network};
use common::service::{Service, percentile};
use tcp_bounce_wire::Verdict;

in_each_mode! {
    each_syn_of_a_flood_is_answered_or_accounted_for,
}

/// How many millions of SYNs, if not two.
const FLOOD: &str = "TCP_BOUNCE_TEST_FLOOD";

fn each_syn_of_a_flood_is_answered_or_accounted_for(mode: Mode) {
    let millions = env::var(FLOOD).map_or(2, |millions| millions.parse().expect("a number"));
    let network = Network::without_program(mode);
    let sink = Sink::new(&network);
    network.receive_redirected();
    let service = Service::new(&network);
    let bouncer = network.bounce("--top");
    let flood = Flood::new(&network, Kind::Syn, 80, 0);
    // What it tells of its interface, and the client of the service, take some memory once.
    service.during(|| flood.send(100_000));
    let (sent_before, memory) = (100_000, Memory::of(&bouncer));

    let (_, usual) = service.during(|| thread::sleep(Duration::from_millis(500)));
    let (times, flooded) = service.during(|| (0..millions).map(|_| flood.send(1_000_000)).collect::<Vec<_>>());

    let sent = sent_before + 1_000_000 * millions;
    let counters = network.counters();
    let received = sink.received();
    let answered = counters[Verdict::Answered];
    println!("{sent} SYNs: {answered} answered, {} lost on the way there, {received:?}", network.lost());
    let per_million = times.iter().sum::<Duration>() / millions as u32;
    println!("a million in {per_million:?}, with the generator and the cable");
    for (name, times) in [("without", &usual), ("during", &flooded)] {
        let [median, most, all] = [0.5, 0.99, 1.0].map(|share| percentile(times, share));
        println!("the host's service, {name} the flood: median {median:?}, 99 percent {most:?}, longest {all:?}");
    }
    // A segment of the service's client may have been lost as well.
    assert!(answered <= sent && sent <= answered + network.lost());
    assert!(received.syn_acks <= answered && answered <= received.syn_acks + network.lost_on_the_way_back());
    assert_eq!((received.resets, received.others), (0, 0));
    memory.assert_no_more(&bouncer);
    let summary = bouncer.interrupt();
    assert_eq!(summary.count("SYNs answered"), answered, "{summary:?}");
}
