//! What must hold whatever goes wrong around tcp-bounce: nothing is left attached, what is wrong is said, and packets are
//! answered as long as it is there.

mod common;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::bouncer::{BINARY, TcpBounce, assert_says};
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

/// Has tcp-bounce run with a small disk at `folder`, which is mounted with these options. A shell prepares it.
fn with_disk(network: &Network, folder: &Path, options: &str, prepare: &str, arguments: &str) -> Command {
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs {folder} && cd {folder} && {{ {prepare}; }} && exec {BINARY} {arguments}",
        folder = folder.display()
    );
    let mut command = network.host.command("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    command
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_disk_that_takes_no_report_keeps_it_from_starting() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    // Also where there is room for the name of the file yet.
    let fill = "! cat /dev/zero 2>/dev/null >full";
    for (options, prepare, reason) in [
        ("size=64k,ro", "true", "Read-only file system"),
        ("size=64k", fill, "No space left on device"),
        ("size=64k,nr_inodes=2", fill, "No space left on device"),
    ] {
        let disk = |arguments| run(&mut with_disk(&network, folder.path(), options, prepare, arguments));
        let finished = disk("--mode skb --report report.json host0");
        assert_eq!(finished.status.code(), Some(1), "{options}: {finished:?}");
        assert_eq!(finished.stdout, "");
        assert_says(&finished.stderr, &["cannot write the report report.json", reason], "has room");
        assert_eq!(attached(&network.host, "host0"), None);
        let check = disk("--check --report report.json host0");
        assert_eq!(check.status.code(), Some(1), "{options}: {check:?}");
        assert!(check.stdout.contains(&format!("problem: cannot write the report report.json: {reason}")), "{check:?}");
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_disk_that_fills_up_costs_the_report_and_nothing_else() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let arguments = "--mode skb --report report.json host0";
    let process =
        Process::start(&mut with_disk(&network, folder.path(), "size=64k", "echo old >report.json", arguments));
    process.wait_for("every TCP port answers");
    // It stays as long as the file is open.
    let mounted = File::open(format!("/proc/{}/root{}", process.child.id(), folder.path().display())).unwrap();
    let disk = PathBuf::from(format!("/proc/self/fd/{}", mounted.as_raw_fd()));
    let error = fs::write(disk.join("full"), [0; 65_536 + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    for port in 1..=100 {
        network.connect(port).unwrap();
    }
    network.wait_until_counted(Verdict::Completed, 100);
    process.signal(Signal::SIGINT);
    let finished = process.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_says(&finished.stderr, &["cannot write the report report.json", "No space left on device"], "has room");
    assert!(finished.stdout.contains(" 100 SYNs answered\n"), "{finished:?}");
    network.assert_nothing_is_attached();
    // What was there is not lost for it, and nothing half written is left.
    assert_eq!(fs::read_to_string(disk.join("report.json")).unwrap(), "old\n");
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 2);
}
