//! Output that nothing reads, such as a terminal after Ctrl-S or an SSH session that `--takeover` drops.
//!
//! The run answers and detaches as usual, and reports the lost output at the end.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use serde_json::Value;
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{TcpBounce, assert_error};
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::attached;
use crate::fixtures::until;

/// Returns a full pipe. A write to it blocks until the reader is read from or dropped.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(b"\n").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

/// Starts tcp-bounce with a full output pipe, and waits until it is attached and has dropped its privileges.
fn start_unread(network: &Network, arguments: &str) -> (Process, PipeReader) {
    let (reader, writer) = full_pipe();
    let mut command = TcpBounce::command(&network.host, &format!("--mode skb {arguments} host0"));
    let process = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped()));
    network.wait_until_attached();
    // A signal that arrives while the programs are being attached ends the start without output.
    let status = format!("/proc/{}/status", process.child.id());
    let is_dropped = || fs::read_to_string(&status).unwrap().contains("NoNewPrivs:\t1").then_some(());
    until("for the privileges to be dropped", is_dropped);
    (process, reader)
}

/// Checks that the program is detached, and that the process reports the lost output.
#[track_caller]
fn assert_reports_blocked_output(network: &Network, process: Process) {
    network.wait_until_detached();
    let finished = process.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_error(&finished.stderr, &["standard output is blocked", "lost"], "Ctrl-Q");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn signals_detach() {
    let network = Network::new(Mode::Skb);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (process, _reader) = start_unread(&network, "");
        process.signal(signal);
        assert_reports_blocked_output(&network, process);
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn run_ends_when_its_time_is_up() {
    let network = Network::new(Mode::Skb);
    let (process, _reader) = start_unread(&network, "--duration 1s");
    assert_reports_blocked_output(&network, process);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn excludes_a_later_listener() {
    let network = Network::new(Mode::Skb);
    let (process, _reader) = start_unread(&network, "");
    let _listener = network.listen(2222);
    until("for the port to be excluded", || {
        network.connect(2222).unwrap_or_else(|error| panic!("{HOST}: {error}"));
        (network.counters()[Verdict::Excluded] > 0).then_some(())
    });
    process.signal(Signal::SIGINT);
    assert_reports_blocked_output(&network, process);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn fatal_error_ends_the_run() {
    let network = Network::new(Mode::Skb);
    let ((_reader, stdout), (_error_reader, stderr)) = (full_pipe(), full_pipe());
    let mut command = TcpBounce::command(&network.host, "--mode skb host0");
    let process = Process::start_as_is(command.stdout(stdout).stderr(stderr));
    network.wait_until_attached();
    network.host.ip("link delete host0");
    assert_eq!(process.finish().status.code(), Some(1));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn second_signal_skips_the_summary() {
    let network = Network::new(Mode::Skb);
    let (mut process, _reader) = start_unread(&network, "");
    let status = until("for the end", || {
        process.signal(Signal::SIGINT);
        process.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(1));
    assert_eq!(attached(&network.host, "host0"), None);
}

/// Checks that one signal ends the wait for standard output after `--duration` has ended the run.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn signal_ends_the_waiting_but_keeps_the_report() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let arguments = format!("--events --duration 5s --report {}", report.display());
    let (process, _reader) = start_unread(&network, &arguments);
    network.connect(80).unwrap();
    network.wait_until_detached();
    process.signal(Signal::SIGTERM);
    assert_reports_blocked_output(&network, process);
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["ports"][0]["port"], 80, "{report}");
}

/// Checks a non-blocking output. Another program may have made a shared terminal non-blocking.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn nonblocking_output_is_completed_later() {
    let network = Network::new(Mode::Skb);
    let (mut reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    // The kernel rounds the capacity up to one page.
    let room = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).unwrap() as usize;
    let mut command = TcpBounce::command(&network.host, "--mode skb --events --json host0");
    let process = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped()));
    drop(command);
    network.wait_until_attached();
    for port in 1..=200 {
        network.connect(port).unwrap();
    }
    network.wait_until_counted(Verdict::Completed, 200);
    process.signal(Signal::SIGINT);
    network.wait_until_detached();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.len() > room);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let completed = lines.iter().filter(|line| line["event"] == "completed").count();
    assert_eq!((completed, &lines.last().unwrap()["type"]), (200, &"summary".into()));
    assert!(process.finish().status.success());
}
