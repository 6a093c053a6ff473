//! Nobody reads what tcp-bounce says, as on a terminal after Ctrl-S, or one whose connection `--takeover` has cut: that
//! changes nothing of what it does.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::process::Stdio;

use crate::fixtures::command::TcpBounce;
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::attached;
use crate::fixtures::until;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use serde_json::Value;
use tcp_bounce_wire::Verdict;

/// A pipe that takes nothing, as long as the reader is there.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(b"\n").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

/// Starts it with an output that takes nothing, and waits until it is attached.
fn start_unread(network: &Network, arguments: &str) -> (Process, PipeReader) {
    let (reader, writer) = full_pipe();
    let mut command = TcpBounce::command(&network.host, &format!("--mode skb {arguments} host0"));
    let process = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped()));
    until("for the program to be attached", || attached(&network.host, "host0"));
    (process, reader)
}

fn assert_ends_well(network: &Network, process: Process) {
    until("for the program to be detached", || attached(&network.host, "host0").is_none().then_some(()));
    let finished = process.finish();
    assert!(finished.status.success(), "{finished:?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_signal_detaches() {
    let network = Network::new(Mode::Skb);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (process, _reader) = start_unread(&network, "");
        process.signal(signal);
        assert_ends_well(&network, process);
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn it_detaches_when_its_time_is_over() {
    let network = Network::new(Mode::Skb);
    let (process, _reader) = start_unread(&network, "--for 1s");
    assert_ends_well(&network, process);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_listener_that_comes_later_is_spared() {
    let network = Network::new(Mode::Skb);
    let (process, _reader) = start_unread(&network, "");
    let _listener = network.listen(2222);
    until("for the listener to be spared", || {
        network.connect(2222).unwrap_or_else(|error| panic!("{HOST}: {error}"));
        (network.counters()[Verdict::Excluded] > 0).then_some(())
    });
    process.signal(Signal::SIGINT);
    assert_ends_well(&network, process);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn it_ends_also_if_nobody_takes_what_is_wrong() {
    let network = Network::new(Mode::Skb);
    let ((_reader, stdout), (_error_reader, stderr)) = (full_pipe(), full_pipe());
    let mut command = TcpBounce::command(&network.host, "--mode skb host0");
    let process = Process::start_as_is(command.stdout(stdout).stderr(stderr));
    until("for the program to be attached", || attached(&network.host, "host0"));
    network.host.ip("link delete host0");
    assert_eq!(process.finish().status.code(), Some(1));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_second_signal_does_not_wait_for_the_last_words() {
    let network = Network::new(Mode::Skb);
    let (mut process, _reader) = start_unread(&network, "");
    let status = until("for the end", || {
        process.signal(Signal::SIGINT);
        process.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(1));
    assert_eq!(attached(&network.host, "host0"), None);
}

/// As where a program that does not wait has the terminal, too.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn what_there_is_no_room_for_at_once_is_written_later() {
    let network = Network::new(Mode::Skb);
    let (mut reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    // The least there is: a page.
    let room = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).unwrap() as usize;
    let mut command = TcpBounce::command(&network.host, "--mode skb --events --json host0");
    let process = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped()));
    drop(command);
    until("for the program to be attached", || attached(&network.host, "host0"));
    for port in 1..=200 {
        network.connect(port).unwrap();
    }
    network.wait_until_counted(Verdict::Completed, 200);
    process.signal(Signal::SIGINT);
    until("for the program to be detached", || attached(&network.host, "host0").is_none().then_some(()));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.len() > room);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = lines.iter().filter(|line| line["event"] == "completed").count();
    assert_eq!((told, &lines.last().unwrap()["type"]), (200, &"summary".into()));
    assert!(process.finish().status.success());
}
