//! What must hold whatever goes wrong around tcp-bounce: nothing is left attached, what is wrong is said, and packets are
//! answered as long as it is there.

mod common;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::thread;
use std::time::Duration;

use common::bouncer::TcpBounce;
use common::network::{HOST, Mode, Network};
use common::process::{Process, run};
use common::programs::attached;
use common::until;
use libbpf_rs::query::ProgInfoIter;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use tcp_bounce_wire::Verdict;

/// Whether this program is in the kernel yet. It may take a moment after its last user has gone.
fn is_loaded(program: u32) -> bool {
    ProgInfoIter::default().any(|info| info.id == program)
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_kill_at_any_moment_leaves_nothing() {
    let network = Network::new(Mode::Skb);
    let mut random = fastrand::Rng::with_seed(6);
    let mut attached_before = 0;
    for round in 0..200 {
        let process = Process::start(&mut TcpBounce::command(&network.host, "--mode skb --top --for 200ms host0"));
        // Of the start, the run and the end.
        thread::sleep(Duration::from_micros(random.u64(..500_000)));
        let program = attached(&network.host, "host0");
        attached_before += usize::from(program.is_some());
        process.signal(Signal::SIGKILL);
        process.finish();
        until("for the program to be detached", || attached(&network.host, "host0").is_none().then_some(()));
        if let Some(program) = program {
            until("for the program to be unloaded", || (!is_loaded(program)).then_some(()));
        }
        assert!(network.connect(80).is_err(), "round {round}");
    }
    assert!((20..180).contains(&attached_before), "{attached_before} of 200 were attached when they were killed");
}

/// It answers in the kernel, so it goes on when the process does not.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_stopped_process_answers_on() {
    let network = Network::new(Mode::Skb);
    let bouncer = network.bounce("--events");
    bouncer.0.signal(Signal::SIGSTOP);
    let state = || fs::read_to_string(format!("/proc/{}/stat", bouncer.0.child.id())).unwrap();
    until("for it to stop", || state().contains(") T ").then_some(()));
    network.client.run("nmap", &format!("-n -Pn -sT -p 1-5000 {HOST}"));
    assert!(network.counters()[Verdict::Answered] >= 5000);
    bouncer.0.signal(Signal::SIGCONT);
    let summary = bouncer.interrupt();
    assert!(summary.count("SYNs answered") >= 5000, "{summary:?}");
}

/// Starts it with a limit, and returns what it says. It must not start.
fn limited(network: &Network, resource: Resource, limit: u64) -> String {
    let mut command = TcpBounce::command(&network.host, "--mode skb --top --events host0");
    let lower = move || Ok(setrlimit(resource, limit, limit)?);
    // SAFETY: Between fork and exec it makes one system call; it takes no lock and no memory.
    unsafe { command.pre_exec(lower) };
    let finished = run(&mut command);
    assert!(!finished.status.success(), "{finished:?}");
    assert_eq!(attached(&network.host, "host0"), None);
    finished.stderr
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn without_descriptors_it_does_not_start_and_says_why() {
    let network = Network::new(Mode::Skb);
    // From too few to read anything to too few for the last map.
    for limit in 4..16 {
        let said = limited(&network, Resource::RLIMIT_NOFILE, limit);
        let says_why = said.contains("Too many open files") || said.contains("hint: the limit of open files is low");
        assert!(said.starts_with("tcp-bounce: ") && says_why, "{limit}: {said}");
    }
}
