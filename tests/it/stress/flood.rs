//! A flood of SYNs from forged sources: each SYN is answered or accounted for, memory does not grow, and the host's
//! services keep working.

use std::time::Duration;

use tcp_bounce_wire::Verdict;

use crate::fixtures::flood::{Flood, Kind, Sink};
use crate::fixtures::host_service::{Service, percentile};
use crate::fixtures::machine::MachineLock;
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::programs::{attached, knows_local_ports};
use crate::fixtures::resources::Memory;
use crate::fixtures::{amount, until};

in_each_mode! {
    each_syn_is_answered_or_accounted_for,
}

const MILLION: u32 = 1_000_000;
/// The number of SYNs before the first measurement of memory.
const WARM_UP: u32 = 100_000;

fn each_syn_is_answered_or_accounted_for(mode: Mode) {
    let _machine = MachineLock::exclusive();
    let millions = amount("FLOOD", 1, 100);

    let network = Network::without_program(mode);
    let sink = Sink::new(&network);
    network.receive_redirected();
    let service = Service::new(&network, HOST);
    let responder = network.start_responder("--top-talkers");
    let program = attached(&network.host, "host0").unwrap();
    until("for the local ports to be known", || knows_local_ports(program).then_some(()));
    let flood = Flood::new(&network, Kind::Syn, 80);
    // The first packets cause one-time allocations, so memory is measured after them.
    let (_, usual) = service.during(|| flood.send(WARM_UP));
    let memory = Memory::of(&responder);
    let (times, flooded) = service.during(|| (0..millions).map(|_| flood.send(MILLION)).collect::<Vec<_>>());

    let sent = u64::from(WARM_UP) + millions as u64 * u64::from(MILLION);
    // The lost frames may include segments of the service's client.
    until("for each SYN to be answered or lost", || {
        (network.counters()[Verdict::Answered] + network.lost() >= sent).then_some(())
    });
    let answered = network.counters()[Verdict::Answered];
    until("for each answer to arrive or be lost", || {
        (sink.received().syn_acks + network.lost_on_the_way_back() >= answered).then_some(())
    });
    let received = sink.received();
    println!("{sent} SYNs: {answered} answered, {} lost on the way there; {received:?}", network.lost());
    let per_million = times.iter().sum::<Duration>() / times.len() as u32;
    println!("a million in {per_million:?}, with the generator and the cable");
    for (name, times) in [("at first", &usual), ("later", &flooded)] {
        let [median, most, all] = [0.5, 0.99, 1.0].map(|share| percentile(times, share));
        println!("the host's service, {name}: median {median:?}, 99 percent {most:?}, longest {all:?}");
    }
    // The share of lost frames depends on the machine.
    assert!(answered <= sent && answered > sent / 10, "{answered} of {sent}");
    assert!(received.syn_acks <= answered && received.syn_acks > answered / 10, "{received:?}");
    assert_eq!((received.resets, received.others), (0, 0));
    memory.assert_no_more(&responder);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), answered, "{summary:?}");
}
