//! Programs that identify systems by their packets: p0f and `nmap -O`. They must not distinguish a port that
//! tcp-bounce answers from a port with a listener on the same host.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use regex::Regex;

use crate::fixtures::DEADLINE;
use crate::fixtures::network::{HOST, HOSTS, Mode, Network};
use crate::fixtures::process::Process;

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
const SCANS: usize = 4;

/// Opens listeners on port [`LISTENING`] of the host.
fn listen(network: &Network) -> Vec<TcpListener> {
    HOSTS.map(|address| network.host.enter(|| TcpListener::bind((address, LISTENING))).unwrap()).into()
}

fn p0f_prints_the_signature_of_a_listener(mode: Mode) {
    let network = Network::new(mode);
    let _listeners = listen(&network);
    let responder = network.start_responder("");
    for address in HOSTS {
        let p0f = Process::start(network.client.command("p0f").args(["-i", "client0"]));
        p0f.wait_for("Entered main event loop");
        let [listener, answered] = [LISTENING, ANSWERED].map(|port| {
            let address = SocketAddr::from((address, port));
            let stream = network.client.enter(|| TcpStream::connect_timeout(&address, DEADLINE)).unwrap();
            p0f_signature(&p0f, stream.local_addr().unwrap())
        });
        assert_eq!(answered, listener, "{address}");
    }
    responder.interrupt();
}

/// Returns the system and the signature that p0f derives from the answer to `client`.
#[track_caller]
fn p0f_signature(p0f: &Process, client: SocketAddr) -> [String; 2] {
    // Only the port is compared, since p0f does not abbreviate IPv6 addresses.
    let record = format!("/{} -> ", client.port());
    let found = p0f.stdout.wait(|text, _| {
        let records = text.split(&record).skip(1).filter_map(|record| record.split_once("\n`----"));
        let (record, _) = records.into_iter().find(|(record, _)| record.contains(" (syn+ack) ]-"))?;
        let field =
            |name| record.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once("= ")?.1.to_owned()));
        Some([field("| os ")?, field("| raw_sig ")?])
    });
    found.unwrap_or_else(|| panic!("p0f saw no answer: {}", p0f.stdout.text()))
}

/// Scans an open port and [`CLOSED`] with `nmap -O`, and returns nmap's output with its debugging lines.
#[track_caller]
fn scan(network: &Network, host: IpAddr, open: u16) -> String {
    let family = if host.is_ipv6() { "-6" } else { "" };
    let scan = format!("{family} -O --osscan-guess --max-os-tries 1 -d -n -Pn -p {open},{CLOSED} {host}");
    let output = network.client.run("nmap", &scan);
    assert!(output.contains(&format!("\n{open}/tcp ")) && output.contains("\nTCP/IP fingerprint:\n"), "{output}");
    output
}

/// Returns the lines of an IPv4 fingerprint such as `T1(R=Y%DF=Y%T=40%...)` by their names.
///
/// Leaves out the line of the scan itself, and replaces the values that are random for a kernel's listener: the ISN's
/// and the timestamps' rates (`SP`, `GCD`, `ISR`, `TS`).
#[track_caller]
fn fingerprint(output: &str) -> BTreeMap<String, String> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("OS:"));
    let text: String = lines.collect();
    let line = Regex::new(r"([A-Z0-9]+)\(([^()]*)\)").unwrap();
    let random = Regex::new(r"\b(SP|GCD|ISR|TS)=[0-9A-FU]+").unwrap();
    let lines = line.captures_iter(&text).filter(|found| &found[1] != "SCAN");
    lines.map(|found| (found[1].to_owned(), random.replace_all(&found[2], "$1=random").into_owned())).collect()
}

/// Returns nmap's best guesses of the system: the first of its list over IPv4, the running systems over IPv6. Leaves
/// out the percentages.
#[track_caller]
fn guess(output: &str) -> String {
    let guesses = Regex::new(r"(?m)^(?:Aggressive OS guesses|OS details|Running(?: \(JUST GUESSING\))?): ([^(\n]+)");
    let guess = guesses.unwrap().captures_iter(output).last().unwrap_or_else(|| panic!("no guess: {output}"));
    guess[1].trim().to_owned()
}

/// Checks the replies to all probes of `nmap -O`, to the open and to the closed port.
///
/// `nmap -O` compares the sequence numbers of several connections, so it recognizes a fixed ISN.
fn nmap_prints_the_fingerprint_of_a_listener(mode: Mode) {
    let network = Network::new(mode);
    let _listeners = listen(&network);
    let listener = fingerprint(&scan(&network, HOST.into(), LISTENING));
    for probe in ["SEQ", "OPS", "WIN", "ECN", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "U1", "IE"] {
        assert!(listener.contains_key(probe), "{probe} {listener:?}");
    }
    let responder = network.start_responder(&format!("--isn keyed --ports {ANSWERED}"));
    assert_eq!(fingerprint(&scan(&network, HOST.into(), ANSWERED)), listener);
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
        listener.push(guess(&scan(&network, host, LISTENING)));
        answered.push(guess(&scan(&network, host, ANSWERED)));
        if listener.iter().any(|guess| answered.contains(guess)) {
            responder.interrupt();
            return;
        }
    }
    panic!("listener: {listener:?}, tcp-bounce: {answered:?}");
}
