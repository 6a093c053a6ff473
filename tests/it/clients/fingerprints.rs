//! Programs that identify systems by their packets: p0f and `nmap -O`. They must not distinguish a port that
//! tcp-bounce answers from a port with a listener on the same host.

use std::net::{IpAddr, TcpListener};

use crate::fixtures::network::{HOST, HOSTS, Mode, Network};
use crate::fixtures::nmap::{fingerprint, guess, system_scan};
use crate::fixtures::p0f::P0f;

in_each_mode! {
    p0f_prints_the_signature_of_a_listener,
    nmap_prints_the_fingerprint_of_a_listener,
    nmap_guesses_the_system_of_a_listener,
    nmap_guesses_the_system_of_a_listener_over_ipv6,
}

const LISTENING: u16 = 22;
const ANSWERED: u16 = 80;
const CLOSED: u16 = 81;

/// The number of scans in which two guesses must be equal at least once.
///
/// The kernel's sequence numbers and timestamps are random, and sometimes resemble another system's.
const SCANS: usize = 8;

/// Opens listeners on port [`LISTENING`] of the host.
fn listen(network: &Network) -> Vec<TcpListener> {
    HOSTS.map(|address| network.host.enter(|| TcpListener::bind((address, LISTENING))).unwrap()).into()
}

fn p0f_prints_the_signature_of_a_listener(mode: Mode) {
    let network = Network::new(mode);
    let _listeners = listen(&network);
    let responder = network.start_responder("");
    for address in HOSTS {
        let p0f = P0f::start(&network.client, "client0");
        let [listener, answered] = [LISTENING, ANSWERED].map(|port| p0f.answer_to(&network.open(address, port)));
        assert_eq!(answered, listener, "{address}");
    }
    responder.interrupt();
}

/// Checks the replies to all probes of `nmap -O`, to the open and to the closed port.
///
/// `nmap -O` compares the sequence numbers of several connections, so it recognises a fixed ISN.
fn nmap_prints_the_fingerprint_of_a_listener(mode: Mode) {
    let network = Network::new(mode);
    let _listeners = listen(&network);
    let listener = fingerprint(&system_scan(&network, HOST.into(), LISTENING, CLOSED));
    for probe in ["SEQ", "OPS", "WIN", "ECN", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "U1", "IE"] {
        assert!(listener.contains_key(probe), "{probe} {listener:?}");
    }
    let responder = network.start_responder(&format!("--isn keyed --ports {ANSWERED}"));
    assert_eq!(fingerprint(&system_scan(&network, HOST.into(), ANSWERED, CLOSED)), listener);
    responder.interrupt();
}

fn nmap_guesses_the_system_of_a_listener(mode: Mode) {
    assert_equal_guess(mode, HOSTS[0]);
}

fn nmap_guesses_the_system_of_a_listener_over_ipv6(mode: Mode) {
    assert_equal_guess(mode, HOSTS[1]);
}

#[track_caller]
fn assert_equal_guess(mode: Mode, host: IpAddr) {
    let network = Network::new(mode);
    let _listeners = listen(&network);
    let responder = network.start_responder(&format!("--isn keyed --ports {ANSWERED}"));
    let (mut listener, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..SCANS {
        listener.push(guess(&system_scan(&network, host, LISTENING, CLOSED)));
        answered.push(guess(&system_scan(&network, host, ANSWERED, CLOSED)));
        if listener.iter().any(|guess| answered.contains(guess)) {
            responder.interrupt();
            return;
        }
    }
    panic!("listener: {listener:?}, tcp-bounce: {answered:?}");
}
