//! Ten thousand clients that connect at once.

use tcp_bounce_wire::Verdict;

use crate::fixtures::crowd::connect_at_once;
use crate::fixtures::machine::MachineLock;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::until;

in_each_mode! {
    ten_thousand_threads_connect_at_once,
}

fn ten_thousand_threads_connect_at_once(mode: Mode) {
    const THREADS: u16 = 10_000;
    let _machine = MachineLock::exclusive();
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let connections = connect_at_once(&network, THREADS).connections;
    let accepted = connections.iter().filter(|connection| connection.is_ok()).count();
    assert_eq!(accepted, usize::from(THREADS), "{:?}", connections.iter().find(|connection| connection.is_err()));
    // A client does not retransmit the ACK that completes a handshake, so lost frames are counted too.
    until("for a last ACK of each connection", || {
        let completed = network.counters()[Verdict::Completed];
        (completed + network.lost() > u64::from(THREADS)).then_some(())
    });
    let summary = responder.interrupt();
    let (answered, completed) = (summary.count("SYNs answered"), summary.count("handshakes completed"));
    assert!(answered > u64::from(THREADS), "{summary:?}");
    // A retransmitted SYN causes another SYN-ACK, and the client acknowledges each SYN-ACK at most once.
    assert!(completed <= answered, "{summary:?}");
}
