//! Messages during a run and at its end.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use nix::sys::signal::Signal;
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{BINARY, Summary, TcpBounce, refusal};
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::{Process, run};
use crate::fixtures::programs::attached;
use crate::fixtures::{accept, until};

#[test]
#[ignore = "needs root: makes network namespaces"]
fn summary_shows_the_counters() {
    let network = Network::new(Mode::Skb);
    let listener = network.listen(2222);
    let responder = network.start_responder("");
    for port in [80, 443, 2222] {
        network.connect(port).unwrap();
    }
    drop(accept(&listener));
    network.wait_until_counted(Verdict::Completed, 2);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 2, "{summary:?}");
    assert_eq!(summary.count("handshakes completed"), 2, "{summary:?}");
    assert!(summary.count("passed: to a spared port") >= 2, "{summary:?}");
    // Counters that are 0 are not printed.
    assert!(!summary.0.contains("fragment"), "{summary:?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn quiet_prints_nothing() {
    let network = Network::new(Mode::Skb);
    let responder = Process::start(&mut TcpBounce::command(&network.host, "--quiet host0"));
    network.wait_until_attached();
    // Without `--quiet`, tcp-bounce would report that it excludes this port.
    let listener = network.listen(2222);
    until("for the listener to be served", || {
        let _connection = network.connect(2222).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener.accept().ok()
    });
    responder.signal(Signal::SIGINT);
    let finished = responder.finish();
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn quiet_still_prints_errors() {
    let network = Network::new(Mode::Skb);
    assert!(refusal(&network.host, "--quiet nosuch0").contains("there is no interface \"nosuch0\""));
}

/// Checks a reader that exits early, as in `tcp-bounce host0 | head -1`.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn closed_output_does_not_end_the_run() {
    let network = Network::new(Mode::Skb);
    let (reader, writer) = io::pipe().unwrap();
    let mut command = TcpBounce::command(&network.host, "host0");
    let responder = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped()));
    drop(command);
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert!(line.ends_with("every TCP port answers\n"), "{line}");

    // The next message, about the excluded port, has no reader.
    let listener = network.listen(2222);
    until("for the listener to be served", || {
        let _connection = network.connect(2222).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener.accept().ok()
    });
    network.connect(80).unwrap();
    responder.signal(Signal::SIGINT);
    let finished = responder.finish();
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(finished.stderr, "");
}

/// Starts tcp-bounce on a terminal of 120 columns. `script` provides the terminal.
fn on_a_terminal(network: &Network) -> Process {
    let on_terminal = format!("stty columns 120 && exec '{BINARY}' --mode skb host0");
    let mut script = network.host.command("script");
    script.args(["--quiet", "--return", "--command", &on_terminal, "/dev/null"]).env("TERM", "xterm");
    Process::start_as_is(script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn terminal_shows_a_status_line_until_ctrl_c() {
    let network = Network::new(Mode::Skb);
    let mut terminal = on_a_terminal(&network);
    terminal.wait_for("every TCP port answers");
    network.connect(80).unwrap();
    let text = terminal.wait_for("SYNs answered 1 (");
    assert!(text.contains("/s), completed 1 ("), "{text:?}");

    let keyboard = terminal.child.stdin.as_mut().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    let finished = terminal.finish();
    assert!(finished.status.success(), "{finished:?}");
    let (_, summary) = finished.stdout.split_once("detached after ").unwrap();
    let summary = Summary(summary.replace('\r', ""));
    assert_eq!(summary.count("SYNs answered"), 1, "{summary:?}");
    assert_eq!(attached(&network.host, "host0"), None);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn loss_of_the_terminal_ends_the_run() {
    let network = Network::new(Mode::Skb);
    let terminal = on_a_terminal(&network);
    terminal.wait_for("every TCP port answers");
    drop(terminal);
    network.wait_until_detached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn start_and_check_describe_the_scope() {
    let network = Network::new(Mode::Skb);
    for (arguments, addresses, ports) in [
        ("", "192.0.2.1", "every TCP port answers"),
        ("--dst 10.0.0.0/8", "10.0.0.0/8", "every TCP port answers"),
        ("--takeover", "any address", "every TCP port answers; all other TCP is dropped (--takeover)"),
        (
            "--takeover --ports 80",
            "any address",
            "of the TCP ports 80 answer; other TCP is dropped, but for what is left to the host (--takeover)",
        ),
        (
            "--takeover --dst 10.0.0.0/8",
            "10.0.0.0/8",
            "every TCP port answers; other TCP is dropped, but for what is left to the host (--takeover)",
        ),
        (
            "--takeover --src 10.0.0.0/8",
            "any address",
            "every TCP port answers, to clients in 10.0.0.0/8; other TCP is dropped, but for what is left to the host (--takeover)",
        ),
        (
            "--src 10.0.0.0/8 --exclude-ports 22",
            "192.0.2.1",
            "every TCP port answers but 22 (--exclude-ports), to clients in 10.0.0.0/8",
        ),
    ] {
        let output = |option: &str| {
            run(&mut TcpBounce::command(&network.host, &format!("{option} {arguments} host0"))).success()
        };
        let started = output("--duration 1ms");
        let line = started.lines().next().unwrap();
        assert!(line.starts_with("host0 (skb mode: ") && line.contains(&format!(") for {addresses}")), "{line}");
        assert!(line.ends_with(&format!(": {ports}")), "{line}");
        let check = output("--check");
        assert!(check.contains(&format!("\n  answers for {addresses}")), "{check}");
        assert!(check.contains(&format!("\n{ports}\n")), "{check}");
    }
}

/// Checks that a start prints warnings, as `--check` does.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn start_warns_when_no_client_can_be_answered() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link set host0 down");
    network.host.ip("address flush dev host0");
    let output = run(&mut TcpBounce::command(&network.host, "--duration 1ms host0")).success();
    assert!(output.contains("\nhost0: warning: it is down\n  command: ip link set dev host0 up\n"), "{output}");
    assert!(output.contains("\nhost0: warning: it has no IP address"), "{output}");
    let output = run(&mut TcpBounce::command(&network.host, "--duration 1ms --dst any host0")).success();
    assert!(output.contains("it is down") && !output.contains("no IP address"), "{output}");
}
