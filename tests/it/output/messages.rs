//! Messages during a run and at its end.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use nix::sys::signal::Signal;
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{BINARY, STARTED, Summary, TcpBounce, refusal};
use crate::fixtures::network::{Mode, Network, connect};
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
    assert_eq!(summary.count("passed: to an excluded port"), 1, "{summary:?}");
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
    let error = refusal(&network.host, "--quiet nosuch0");
    assert!(error.starts_with("error: ") && error.contains("\"nosuch0\""), "{error}");
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
    assert_eq!(line, "host0 (skb mode): answering on all TCP ports\n");

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
    terminal.wait_for(STARTED);
    network.connect(80).unwrap();
    let text = terminal.wait_for("1 SYN answered (");
    assert!(text.contains("/s), 1 completed ("), "{text:?}");

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
    terminal.wait_for(STARTED);
    drop(terminal);
    network.wait_until_detached();
}

/// Returns the lines of the start message, from the line about `host0` to the last indented line.
fn start_message(output: &str) -> Vec<&str> {
    let mut lines = output.lines().skip_while(|line| !line.starts_with("host0 ("));
    let first = lines.next().unwrap_or_else(|| panic!("no start: {output}"));
    [first].into_iter().chain(lines.take_while(|line| line.starts_with("  "))).collect()
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn start_and_check_describe_the_scope() {
    const NOTE: &str = "  note: ";
    let network = Network::new(Mode::Skb);
    let _listener = network.listen(22);
    for (arguments, ports, addresses, settings) in [
        ("", "all TCP ports except 22 (local listener)", "192.0.2.1, 2001:db8::1", &[][..]),
        (
            "--dst 10.0.0.0/8 --exclude-ports 8000-8999",
            "all TCP ports except 22 (local listener) and 8000-8999 (--exclude-ports)",
            "10.0.0.0/8",
            &[],
        ),
        ("--takeover --dst any", "all TCP ports", "any", &["takeover: all other TCP to these addresses is dropped"]),
        (
            "--takeover --dst any --ports 80,443 --src 10.0.0.0/8",
            "TCP ports 80,443",
            "any",
            &[
                "sources: 10.0.0.0/8",
                "takeover: all other TCP from these sources to these addresses and ports is dropped",
            ],
        ),
        (
            "--ports 22-23 --isn keyed --on-connect close",
            "TCP ports 22-23 except 22 (local listener)",
            "192.0.2.1, 2001:db8::1",
            &["on connect: close", "sequence numbers: keyed"],
        ),
        (
            "--on-connect tarpit:22-23 --on-connect echo:7",
            "all TCP ports except 22 (local listener)",
            "192.0.2.1, 2001:db8::1",
            &[
                "on connect: tarpit on 22-23, echo on 7, ignore on the others",
                "note: actions on excluded ports have no effect: tarpit on 22",
                "sequence numbers: keyed (required by echo and tarpit)",
            ],
        ),
    ] {
        let output = |option: &str| {
            run(&mut TcpBounce::command(&network.host, &format!("{option} {arguments} host0"))).success()
        };
        let started = output("--duration 1ms");
        let lines = start_message(&started);
        let (note, lines) = lines.split_last().unwrap();
        assert!(note.starts_with(NOTE) && note.contains("veth"), "{started}");
        let settings: Vec<String> = settings.iter().map(|setting| format!("  {setting}")).collect();
        let expected = [
            vec![format!("host0 (skb mode): answering on {ports}"), format!("  addresses: {addresses}")],
            settings.clone(),
        ];
        // The host has link-local addresses, too.
        let without_link_local = |line: &&str| line.split(", fe80:").next().unwrap().to_owned();
        assert_eq!(lines.iter().map(without_link_local).collect::<Vec<_>>(), expected.concat(), "{arguments}");
        let check = output("--check");
        let block = [vec![format!("would answer on {ports}")], settings].concat().join("\n");
        assert!(check.contains(&format!("\n{block}\n")), "{check}");
    }
}

/// Checks that the end of a run with several interfaces has counters for each of them, and the total.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn summary_has_each_interface_and_the_total() {
    let network = Network::new(Mode::Skb);
    let address = network.add_cable();
    let responder = network.start_responder("host1");
    network.connect(80).unwrap();
    network.client.enter(|| connect(address, 80)).unwrap();
    network.client.enter(|| connect(address, 81)).unwrap();
    network.wait_until_counted(Verdict::Completed, 1);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 3, "{summary:?}");
    let (_, rest) = summary.0.split_once("host1:\n").unwrap();
    let (of_host1, rest) = rest.split_once("host0:\n").unwrap();
    let (of_host0, total) = rest.split_once("total:\n").unwrap();
    for (block, answered) in
        [(of_host1, " 2 SYNs answered\n"), (of_host0, " 1 SYN answered\n"), (total, " 3 SYNs answered\n")]
    {
        assert!(block.contains(answered), "{summary:?}");
    }
}

/// Checks that handshakes are not reported as 0 where they are not counted.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn echo_shows_no_count_of_handshakes() {
    let network = Network::new(Mode::Skb);
    for (arguments, line) in [
        ("--on-connect echo", None),
        ("--on-connect echo:7", Some("1 handshake completed (echo ports are not counted)")),
    ] {
        let responder = network.start_responder(arguments);
        for port in [7, 80] {
            network.connect(port).unwrap();
        }
        network.wait_until_counted(Verdict::Later, 1);
        if line.is_some() {
            network.wait_until_counted(Verdict::Completed, 1);
        }
        let summary = responder.interrupt();
        let shown = summary.0.lines().map(str::trim_start).find(|line| line.contains("completed"));
        assert_eq!(shown, line, "{summary:?}");
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
    assert!(output.contains("\n  addresses: none\n"), "{output}");
    let warnings: Vec<&str> = output.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{output}");
    assert!(warnings.iter().all(|line| line.contains("host0")), "{output}");
    assert!(output.contains("\n  hint: run `ip link set dev host0 up`\n"), "{output}");
    let output = run(&mut TcpBounce::command(&network.host, "--duration 1ms --dst any host0")).success();
    assert_eq!(output.matches("\nwarning: ").count(), 1, "{output}");
}
