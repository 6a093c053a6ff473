//! The end of a run: nothing stays attached, and a run ends when its program is detached.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode as Permissions;
use nix::unistd::{Pid, mkfifo};
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{BINARY, STARTED, Summary, TcpBounce};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, Mode, Network, connect};
use crate::fixtures::process::{Process, rerun, run, stop_main_thread};
use crate::fixtures::programs::{attached, link_of, pass};
use crate::fixtures::until;

in_each_mode! {
    sigint_sigterm_and_sighup_detach,
    sigint_during_the_start_prevents_it,
    ignored_sighup_stays_ignored,
    sigkill_detaches,
    removing_the_interface_ends_the_run,
    moving_the_interface_to_another_namespace_ends_the_run,
    forced_detachment_ends_the_run,
    renamed_interface_keeps_answering,
    other_interface_answers_while_one_is_down,
}

fn sigint_sigterm_and_sighup_detach(mode: Mode) {
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

/// Checks that the fixtures reset the signal dispositions of tcp-bounce if the test run ignores SIGHUP, as under
/// `nohup`.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn sighup_detaches_in_a_test_run_that_ignores_it() {
    let test = rerun(skb::sigint_sigterm_and_sighup_detach);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(test.get_program()).args(test.get_args());
    let output = run(&mut shell).success();
    assert!(output.contains("test result: ok. 1 passed"), "{output}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn signals_end_the_wait_for_a_key() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("key");
    // Nothing writes to the FIFO, so opening it blocks.
    mkfifo(&fifo, Permissions::S_IRUSR).unwrap();
    let [policy, report] = ["policy.toml", "report.csv"].map(|name| folder.path().join(name));
    fs::write(&policy, "default_open = true\n").unwrap();
    let compares = format!("--report {} --expect {}", report.display(), policy.display());
    // With a policy, success would mean that the ports were compared.
    for (signal, options, status) in [(Signal::SIGINT, "", 0), (Signal::SIGTERM, "", 0), (Signal::SIGINT, &compares, 1)]
    {
        let arguments = format!("--mode skb --isn keyed --key-file {} {options} host0", fifo.display());
        let process = Process::start(&mut TcpBounce::command(&network.host, &arguments));
        let system_call = format!("/proc/{}/syscall", process.child.id());
        let open = format!("{} ", libc::SYS_openat);
        until("for tcp-bounce to open the FIFO", || {
            fs::read_to_string(&system_call).unwrap().starts_with(&open).then_some(())
        });
        process.signal(signal);
        let finished = process.finish();
        assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(status), ""), "{finished:?}");
        network.assert_nothing_is_attached();
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn second_signal_ends_a_run_whose_main_thread_is_stuck() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let responder = network.start_responder(&format!("--report {}", folder.path().join("report.json").display()));
    let mut process = responder.0;
    stop_main_thread(Pid::from_raw(process.child.id() as i32));
    let status = until("for the end", || {
        process.signal(Signal::SIGINT);
        process.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(1));
    network.wait_until_detached();
}

/// Checks that a burst of signals is treated as one, so that the report is written. `timeout` sends such a burst: it
/// signals its child, and then the process group of both.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn burst_of_signals_keeps_the_report() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let responder = network.start_responder(&format!("--report {}", report.display()));
    network.connect(80).unwrap();
    network.wait_until_counted(Verdict::Completed, 1);
    responder.0.signal(Signal::SIGTERM);
    responder.0.signal(Signal::SIGINT);
    responder.0.signal(Signal::SIGHUP);
    let summary = Summary::of(&responder.0.finish());
    assert_eq!(summary.count("SYNs answered"), 1, "{summary:?}");
    assert!(fs::read_to_string(report).unwrap().contains("\"port\": 80"));
}

/// Checks that a user who sees the list of connections affected by `--takeover` can still prevent the start.
fn sigint_during_the_start_prevents_it(mode: Mode) {
    let network = Network::new(mode);
    let _listener = network.listen(2222);
    let _connection = network.connect(2222).unwrap();
    let prevents_start = || {
        let mut command = TcpBounce::command(&network.host, &network.arguments("--takeover"));
        let process = Process::start(&mut command);
        process.wait_for("--takeover affects 1 established connection of this host:");
        process.signal(Signal::SIGINT);
        let finished = process.finish();
        assert!(finished.status.success(), "{finished:?}");
        network.assert_nothing_is_attached();
        !finished.stdout.contains(STARTED)
    };
    // Sometimes the start is faster than the signal, so the test makes up to ten attempts.
    assert!((0..10).any(|_| prevents_start()));
}

/// Checks that SIGHUP does not end a run that was started under `nohup`.
fn ignored_sighup_stays_ignored(mode: Mode) {
    let network = Network::new(mode);
    let arguments = network.arguments("");
    let mut command = network.host.command("sh");
    command.args(["-c", &format!("trap '' HUP; exec {BINARY} {arguments}")]);
    let process = Process::start(&mut command);
    process.wait_for(STARTED);
    process.signal(Signal::SIGHUP);
    network.connect(80).unwrap();
    process.signal(Signal::SIGINT);
    let summary = Summary::of(&process.finish());
    assert_eq!(summary.count("SYNs answered"), 1, "{summary:?}");
}

fn sigkill_detaches(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    network.connect(80).unwrap();
    responder.0.signal(Signal::SIGKILL);
    let finished = responder.0.finish();
    assert_eq!(finished.status.signal(), Some(Signal::SIGKILL as i32), "{finished:?}");
    network.wait_until_detached();
    network.assert_nothing_is_attached();
}

fn removing_the_interface_ends_the_run(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    network.connect(80).unwrap();
    network.host.ip("link delete host0");
    let finished = responder.0.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains("host0 was removed"), "{finished:?}");
    // The counters survive the loss of the interface.
    assert!(finished.stdout.contains(" 1 SYN answered\n"), "{finished:?}");
}

fn moving_the_interface_to_another_namespace_ends_the_run(mode: Mode) {
    let (network, elsewhere) = (Network::new(mode), Namespace::new());
    let responder = network.start_responder("");
    network.host.ip(&format!("link set host0 netns {}", elsewhere.path()));
    let reason = responder.failure();
    assert!(reason.contains("host0"), "{reason}");
    assert_eq!(attached(&elsewhere, "host0"), None);
}

fn forced_detachment_ends_the_run(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    let program = attached(&network.host, "host0").unwrap();
    network.host.run("bpftool", &format!("link detach id {}", link_of(program)));
    let reason = responder.failure();
    assert!(reason.contains("detached the program from host0"), "{reason}");
    network.assert_nothing_is_attached();
}

fn renamed_interface_keeps_answering(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("");
    // Some kernels do not rename an interface that is up.
    for change in ["down", "name renamed0", "up"] {
        let name = if change == "up" { "renamed0" } else { "host0" };
        network.host.ip(&format!("link set {name} {change}"));
    }
    // The responder checks interfaces and listeners together, so it has checked `host0` before each message.
    for port in [2222, 2223] {
        let listener = network.listen(port);
        responder.0.wait_for(&format!("now answering on all TCP ports except {port} (local listener)\n"));
        drop(listener);
    }
    network.connect(80).unwrap();
    responder.interrupt();
}

fn other_interface_answers_while_one_is_down(mode: Mode) {
    let network = Network::new(mode);
    let second = network.add_cable();
    let _pass = (mode == Mode::Native).then(|| pass(&network.client, "client1"));
    let responder = network.start_responder("host1");
    let programs = ["host0", "host1"].map(|interface| attached(&network.host, interface));
    assert!(programs.iter().all(Option::is_some), "{programs:?}");
    for (down, port) in [("host0", 2222), ("host1", 2223)] {
        let (up, other) = if down == "host0" { (second, HOST) } else { (HOST, second) };
        network.host.ip(&format!("link set {down} down"));
        // The responder checks interfaces and listeners together, so it has seen the interface down before the message.
        let listener = network.host.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap();
        responder.0.wait_for(&format!("now answering on all TCP ports except {port} (local listener)\n"));
        drop(listener);
        network.client.enter(|| connect(up, 80)).unwrap();
        network.host.ip(&format!("link set {down} up"));
        network.client.enter(|| connect(other, 80)).unwrap();
        assert_eq!(["host0", "host1"].map(|interface| attached(&network.host, interface)), programs);
    }
    assert!(responder.interrupt().count("SYNs answered") >= 4);
}
