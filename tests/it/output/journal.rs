//! Output to the systemd journal. Each test starts a journald, and reads its entries with `journalctl`.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{BINARY, TcpBounce};
use crate::fixtures::network::{CLIENT, HOST, Mode, Network};
use crate::fixtures::process::{Process, run};
use crate::fixtures::until;

/// A shell script that starts a journald without effect on the machine: with a private `/run`, without the kernel's
/// log, and with the audit state unchanged.
const START: &str = "
mount -t tmpfs tmpfs /run &&
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal &&
printf '[Journal]\\nStorage=volatile\\nAudit=\\nReadKMsg=no\\nForwardToWall=no\\n' >/run/systemd/journald.conf.d/test.conf &&
exec /lib/systemd/systemd-journald";

/// A shell script that runs a command with `JOURNAL_STREAM`, which systemd sets for a service and `systemd-cat` does
/// not.
const RUN: &str = r#"export JOURNAL_STREAM="$(stat --dereference --format=%d:%i "/proc/$$/fd/1")" && exec "$0" "$@""#;

/// A journald in its own mount namespace.
struct Journal(Process);

impl Journal {
    fn start() -> Self {
        let mut command = Command::new("unshare");
        let process = Process::start(command.args(["--mount", "--propagation", "private", "sh", "-c", START]));
        let run = format!("/proc/{}/root/run/systemd", process.child.id());
        let is_there = |path: &str| Path::new(&run).join(path).exists();
        // Until the tmpfs is mounted, the path leads to the machine's `/run`.
        until("for journald", || (is_there("journald.conf.d/test.conf") && is_there("journal/socket")).then_some(()));
        Self(process)
    }

    /// Makes an `nsenter` command enter the mount namespace of this journald.
    fn enter(&self, mut command: Command) -> Command {
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.0.child.id()));
        command
    }

    /// Starts tcp-bounce with its output connected to the journal, as systemd does.
    fn start_responder(&self, network: &Network, arguments: &str) -> Process {
        let mut command = self.enter(network.host.command("nsenter"));
        command.args(["systemd-cat", "sh", "-c", RUN, BINARY]).args(arguments.split_whitespace());
        Process::start(&mut command)
    }

    /// Runs `journalctl`, and returns its output.
    fn ctl(&self, arguments: &str) -> String {
        let mut command = self.enter(Command::new("nsenter"));
        run(command.arg("journalctl").args(arguments.split_whitespace())).success()
    }

    /// Returns the journal entries of a process, oldest first.
    fn entries(&self, process: u32) -> Vec<Value> {
        self.ctl("--sync");
        let lines = self.ctl(&format!("--directory=/run/log/journal --output=json _PID={process}"));
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Returns the value of a field, which must be a string.
fn field<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry[name].as_str().unwrap_or_else(|| panic!("{name}: {entry}"))
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn messages_become_entries_with_fields() {
    let (network, journal) = (Network::new(Mode::Skb), Journal::start());
    let process = journal.start_responder(&network, "--mode skb --events host0");
    network.wait_until_attached();
    let client = network.connect(80).unwrap();
    network.wait_until_counted(Verdict::Completed, 1);
    let pid = process.child.id();
    process.signal(Signal::SIGINT);
    let finished = process.finish();
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));

    let entries = journal.entries(pid);
    let types: Vec<_> = entries.iter().map(|entry| field(entry, "TCP_BOUNCE_TYPE")).collect();
    assert_eq!(types, ["started", "event", "event", "summary"], "the run has exactly these entries");
    for entry in &entries {
        let priority = if field(entry, "TCP_BOUNCE_TYPE") == "event" { "7" } else { "6" };
        assert_eq!(
            ["_TRANSPORT", "SYSLOG_IDENTIFIER", "PRIORITY"].map(|name| field(entry, name)),
            ["journal", "tcp-bounce", priority]
        );
    }
    let [started, syn, completed, summary] = &entries[..] else { unreachable!() };
    assert!(field(started, "MESSAGE").starts_with("host0 (skb mode"), "{started}");
    for (name, value) in [("INTERFACE", "host0"), ("MODE", "skb"), ("EXCLUDED_LISTENERS", "")] {
        assert_eq!(field(started, &format!("TCP_BOUNCE_{name}")), value, "{name}");
    }
    let port = client.local_addr().unwrap().port().to_string();
    for (entry, event) in [(syn, "syn"), (completed, "completed")] {
        for (name, value) in [
            ("EVENT", event),
            ("SOURCE", &CLIENT.to_string()),
            ("SOURCE_PORT", &port),
            ("DESTINATION", &HOST.to_string()),
            ("PORT", "80"),
        ] {
            assert_eq!(field(entry, &format!("TCP_BOUNCE_{name}")), value, "{name}");
        }
    }
    assert!(field(summary, "MESSAGE").lines().count() > 1, "{summary}");
    assert_eq!(field(summary, "TCP_BOUNCE_COUNTERS_ANSWERED"), "1");
    assert_eq!(field(summary, "TCP_BOUNCE_EVENTS_DROPPED"), "0");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn warnings_and_errors_have_a_priority() {
    let (network, journal) = (Network::new(Mode::Skb), Journal::start());
    network.host.ip("link set host0 down");
    let entries = |arguments: &str| {
        let process = journal.start_responder(&network, arguments);
        let pid = process.child.id();
        let finished = process.finish();
        (journal.entries(pid), finished.status.code())
    };
    let (warned, code) = entries("--duration 1ms host0");
    assert_eq!(code, Some(0));
    let warning = warned.iter().find(|entry| field(entry, "TCP_BOUNCE_TYPE") == "warning").unwrap();
    assert_eq!(["PRIORITY", "TCP_BOUNCE_CODE"].map(|name| field(warning, name)), ["4", "down"]);
    assert!(
        field(warning, "MESSAGE").starts_with("warning: ") && field(warning, "MESSAGE").contains("host0"),
        "{warning}"
    );

    let (refused, code) = entries("nosuch0");
    assert_eq!(code, Some(1));
    let [error] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!(["PRIORITY", "TCP_BOUNCE_TYPE"].map(|name| field(error, name)), ["3", "error"]);
    assert!(field(error, "TCP_BOUNCE_HINT").contains("host0"), "{error}");

    let (refused, code) = entries("--check --quiet lo");
    assert_eq!(code, Some(1));
    let [check] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!(["PRIORITY", "TCP_BOUNCE_TYPE"].map(|name| field(check, name)), ["3", "check"]);
    assert!(field(check, "MESSAGE").starts_with("error: "), "{check}");
}

/// Checks that tcp-bounce prints lines instead of journal entries with `--json`, or if its output is not the journal.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn json_and_other_outputs_get_lines() {
    let (network, journal) = (Network::new(Mode::Skb), Journal::start());
    let process = journal.start_responder(&network, "--json --duration 1ms host0");
    let pid = process.child.id();
    assert!(process.finish().status.success());
    let lines = journal.entries(pid).into_iter().map(|entry| {
        assert_eq!(field(&entry, "_TRANSPORT"), "stdout");
        serde_json::from_str::<Value>(field(&entry, "MESSAGE")).unwrap()
    });
    assert_eq!(lines.map(|line| field(&line, "type").to_owned()).collect::<Vec<_>>(), ["started", "summary"]);

    let mut command = TcpBounce::command(&network.host, "--duration 1ms host0");
    let output = run(command.env("JOURNAL_STREAM", "1:1")).success();
    assert!(output.starts_with("host0 (skb mode"), "{output}");
}

/// Checks a service that cannot see the journal's socket, as in a sandbox that hides `/run`.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn journal_without_a_socket_gets_lines() {
    let (network, journal) = (Network::new(Mode::Skb), Journal::start());
    let mut command = journal.enter(network.host.command("nsenter"));
    let hidden = format!("mount -t tmpfs tmpfs /run && {RUN}");
    let unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &hidden];
    command.arg("systemd-cat").args(unshare).args([BINARY, "--duration", "1ms", "host0"]);
    let process = Process::start(&mut command);
    let pid = process.child.id();
    assert!(process.finish().status.success());
    let entries = journal.entries(pid);
    assert!(entries.iter().all(|entry| field(entry, "_TRANSPORT") == "stdout"), "{entries:?}");
    assert!(field(&entries[0], "MESSAGE").starts_with("host0 (skb mode"), "{entries:?}");
    assert!(entries.iter().any(|entry| field(entry, "MESSAGE").starts_with("detached after")), "{entries:?}");
}
