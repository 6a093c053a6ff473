//! However tcp-bounce ends, nothing is left attached; and it ends when it is detached.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use crate::fixtures::command::{BINARY, Summary, TcpBounce};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, Mode, Network, connect};
use crate::fixtures::process::{Process, rerun, run};
use crate::fixtures::programs::{attached, pass};
use crate::fixtures::until;
use libbpf_rs::query::LinkInfoIter;
use nix::sys::signal::Signal;

in_each_mode! {
    interrupt_terminate_and_hang_up_leave_nothing_attached,
    an_interrupt_during_the_start_is_heeded,
    a_hang_up_that_was_ignored_at_the_start_stays_so,
    kill_leaves_nothing_attached,
    an_interface_that_is_removed_ends_the_run,
    an_interface_that_leaves_the_namespace_ends_the_run,
    a_detachment_by_force_ends_the_run,
    a_renamed_interface_goes_on_answering,
    one_of_two_interfaces_may_be_down_for_a_while,
}

fn interrupt_terminate_and_hang_up_leave_nothing_attached(mode: Mode) {
    let network = Network::new(mode);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let responder = network.start_responder("");
        network.connect(80).unwrap();
        responder.0.signal(signal);
        let summary = Summary::of(&responder.0.finish());
        assert_eq!(summary.count("SYNs answered"), 1, "{signal}: {summary:?}");
        network.assert_nothing_is_attached();
    }
}

/// The fixtures start the tool with the default reaction to signals, also where the test run ignores some, as under `nohup`.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_test_run_that_ignores_a_hang_up_changes_nothing() {
    let test = rerun(skb::interrupt_terminate_and_hang_up_leave_nothing_attached);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(test.get_program()).args(test.get_args());
    let said = run(&mut shell).success();
    assert!(said.contains("test result: ok. 1 passed"), "{said}");
}

/// The list of what `--takeover` cuts may be a reason to think better of it.
fn an_interrupt_during_the_start_is_heeded(mode: Mode) {
    let network = Network::new(mode);
    let _listener = network.listen(2222);
    let _connection = network.connect(2222).unwrap();
    let is_heeded = || {
        let mut command = TcpBounce::command(&network.host, &network.arguments("--takeover"));
        let process = Process::start(&mut command);
        process.wait_for("--takeover cuts these connections of the host:");
        process.signal(Signal::SIGINT);
        let finished = process.finish();
        assert!(finished.status.success(), "{finished:?}");
        network.assert_nothing_is_attached();
        !finished.stdout.contains("every TCP port answers")
    };
    // It may be faster than we, now and then.
    assert!((0..10).any(|_| is_heeded()));
}

/// As under `nohup`.
fn a_hang_up_that_was_ignored_at_the_start_stays_so(mode: Mode) {
    let network = Network::new(mode);
    let arguments = network.arguments("");
    let mut command = network.host.command("sh");
    command.args(["-c", &format!("trap '' HUP; exec {BINARY} {arguments}")]);
    let process = Process::start(&mut command);
    process.wait_for("every TCP port answers");
    process.signal(Signal::SIGHUP);
    network.connect(80).unwrap();
    process.signal(Signal::SIGINT);
    let summary = Summary::of(&process.finish());
    assert_eq!(summary.count("SYNs answered"), 1, "{summary:?}");
}

fn kill_leaves_nothing_attached(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    network.connect(80).unwrap();
    responder.0.signal(Signal::SIGKILL);
    let finished = responder.0.finish();
    assert_eq!(finished.status.signal(), Some(Signal::SIGKILL as i32), "{finished:?}");
    until("for the kernel to detach the program", || attached(&network.host, "host0").is_none().then_some(()));
    network.assert_nothing_is_attached();
}

fn an_interface_that_is_removed_ends_the_run(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    network.connect(80).unwrap();
    network.host.ip("link delete host0");
    let finished = responder.0.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains("host0 was removed"), "{finished:?}");
    // What it has counted is not lost.
    assert!(finished.stdout.contains(" 1 SYNs answered\n"), "{finished:?}");
}

fn an_interface_that_leaves_the_namespace_ends_the_run(mode: Mode) {
    let (network, elsewhere) = (Network::new(mode), Namespace::new());
    let responder = network.start_responder("");
    network.host.ip(&format!("link set host0 netns {}", elsewhere.path()));
    let reason = responder.failure();
    assert!(reason.contains("host0"), "{reason}");
    assert_eq!(attached(&elsewhere, "host0"), None);
}

fn a_detachment_by_force_ends_the_run(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let program = attached(&network.host, "host0").unwrap();
    let link = LinkInfoIter::default().find(|link| link.prog_id == program).unwrap();
    network.host.run("bpftool", &format!("link detach id {}", link.id));
    let reason = responder.failure();
    assert!(reason.contains("detached the program from host0"), "{reason}");
    network.assert_nothing_is_attached();
}

fn a_renamed_interface_goes_on_answering(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    // Not every kernel renames one that is up.
    for change in ["down", "name renamed0", "up"] {
        let name = if change == "up" { "renamed0" } else { "host0" };
        network.host.ip(&format!("link set {name} {change}"));
    }
    // When it has seen both of these, it has also seen that the interface is still there.
    for port in [2222, 2223] {
        let listener = network.listen(port);
        responder.0.wait_for(&format!("answers but {port} (the host listens)\n"));
        drop(listener);
    }
    network.connect(80).unwrap();
    responder.interrupt();
}

fn one_of_two_interfaces_may_be_down_for_a_while(mode: Mode) {
    let network = Network::new(mode);
    let second = network.add_cable();
    let _pass = (mode == Mode::Native).then(|| pass(&network.client, "client1"));
    let responder = network.start_responder("host1");
    let programs = ["host0", "host1"].map(|interface| attached(&network.host, interface));
    assert!(programs.iter().all(Option::is_some), "{programs:?}");
    for (down, port) in [("host0", 2222), ("host1", 2223)] {
        let (up, other) = if down == "host0" { (second, HOST) } else { (HOST, second) };
        network.host.ip(&format!("link set {down} down"));
        // When it has seen this, it has also seen that the interface is down.
        let listener = network.host.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap();
        responder.0.wait_for(&format!("answers but {port} (the host listens)\n"));
        drop(listener);
        network.client.enter(|| connect(up, 80)).unwrap();
        network.host.ip(&format!("link set {down} up"));
        network.client.enter(|| connect(other, 80)).unwrap();
        assert_eq!(["host0", "host1"].map(|interface| attached(&network.host, interface)), programs);
    }
    assert!(responder.interrupt().count("SYNs answered") >= 4);
}
