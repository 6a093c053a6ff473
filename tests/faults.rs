//! What must hold whatever goes wrong around tcp-bounce: nothing is left attached, what is wrong is said, and packets are
//! answered as long as it is there.

mod common;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::thread;
use std::time::{Duration, Instant};

use common::bouncer::TcpBounce;
use common::network::{HOST, Mode, Network, connect};
use common::process::{Finished, Process, run};
use common::programs::attached;
use common::until;
use libbpf_rs::query::ProgInfoIter;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use serde_json::Value;
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
    const LOAD: Duration = Duration::from_secs(10);
    let network = Network::new(Mode::Skb);
    let arguments = "--mode skb --json --events --then close host0";
    let process = Process::start(&mut TcpBounce::command(&network.host, arguments));
    process.wait_for("\"started\"");
    process.signal(Signal::SIGSTOP);
    let is_stopped = || fs::read_to_string(format!("/proc/{}/stat", process.child.id())).unwrap().contains(") T ");
    until("for it to stop", || is_stopped().then_some(()));
    let connections = network.client.enter(|| {
        let start = Instant::now();
        let ports = (1..=u16::MAX).cycle().take_while(|_| start.elapsed() < LOAD);
        ports.inspect(|&port| drop(connect(HOST, port).unwrap())).count() as u64
    });
    println!("{connections} connections in {LOAD:?}");
    assert!(is_stopped());
    assert!(network.counters()[Verdict::Answered] >= connections);
    process.signal(Signal::SIGCONT);
    process.signal(Signal::SIGINT);
    let said = process.finish().success();
    let summary: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let [seen, told, lost] = ["seen", "told", "lost"].map(|name| summary["events"][name].as_u64().unwrap());
    // Nobody has read them, and there was not room for all.
    assert!(seen > connections && told > 0 && told + lost == seen, "{summary}");
}

/// Runs it with a limit, to its end, which must leave nothing attached.
fn limited(network: &Network, resource: Resource, limit: u64) -> Finished {
    let mut command = TcpBounce::command(&network.host, "--mode skb --top --events --for 1ms host0");
    let lower = move || Ok(setrlimit(resource, limit, limit)?);
    // SAFETY: Between fork and exec it makes one system call; it takes no lock and no memory.
    unsafe { command.pre_exec(lower) };
    let finished = run(&mut command);
    assert_eq!(attached(&network.host, "host0"), None);
    finished
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn without_descriptors_it_does_not_start_and_says_why() {
    let network = Network::new(Mode::Skb);
    // From too few to read anything to too few for the last map.
    for limit in 4..16 {
        let finished = limited(&network, Resource::RLIMIT_NOFILE, limit);
        assert!(!finished.status.success(), "{finished:?}");
        let said = finished.stderr;
        let says_why = said.contains("Too many open files") || said.contains("hint: the limit of open files is low");
        assert!(said.starts_with("tcp-bounce: ") && says_why, "{limit}: {said}");
    }
}
