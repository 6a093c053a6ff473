//! The transcripts in `docs/recipes` and the README, replayed and compared line by line.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use regex::Regex;
use tempfile::TempDir;

use crate::fixtures::command::BINARY;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::switched_as;
use crate::fixtures::process::Process;
use crate::fixtures::programs::PROGRAM_OBJECT;
use crate::fixtures::until;

/// Patterns of text that differs between runs, and their replacements.
const VARIES: [(&str, &str); 15] = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"(\d+\.\d+\.\d+\.\d+):\d+ >", "$1:PORT >"),
    (r"after [\d.]+ seconds?", "after TIME"),
    (r"after \d+ milliseconds", "after TIME"),
    (r"\([\d.]+s latency\)", "(TIME latency)"),
    (r"^Starting Nmap .*", "Starting Nmap"),
    (r"in [\d.]+ seconds", "in TIME"),
    (r"\bid \d+", "id ID"),
    (r"\btag [0-9a-f]{16}", "tag TAG"),
    (r"token=[0-9a-f]{16}", "token=TOKEN"),
    (r"(?:<0\.1|\b[\d.]+) ms +", "LATENCY "),
    (r"(, reached from \d+\.\d+\.\d+\.\d+):\d+", "$1:PORT"),
    (r#"time="[\d.]+""#, r#"time="TIME""#),
    // The compiler chooses the registers.
    (r"\br[2-9]\b", "REGISTER"),
    (r"link/ether \S+ brd \S+ link-netnsid \d", "link/ether MAC"),
];

fn comparable(line: &str) -> String {
    VARIES.iter().fold(line.trim_end().to_owned(), |line, (pattern, instead)| {
        Regex::new(pattern).unwrap().replace_all(&line, *instead).into_owned()
    })
}

/// A command line of a transcript, after the prompt of a machine.
struct Prompted<'a> {
    machine: &'a str,
    /// Whether the command runs as root: after the prompt `#`, or with `sudo`.
    is_root: bool,
    /// The command without `sudo`.
    command: &'a str,
}

impl<'a> Prompted<'a> {
    /// Parses a line. Returns `None` for lines of output.
    fn parse(line: &'a str) -> Option<Self> {
        let (prompt, command) = line.split_once(' ')?;
        let (machine, is_root) = match prompt.strip_suffix('#') {
            Some(machine) => (machine, true),
            None => (prompt.strip_suffix('$')?, command.starts_with("sudo ")),
        };
        let command = command.strip_prefix("sudo ").unwrap_or(command);
        ["server", "firewall", "client"].contains(&machine).then_some(Self { machine, is_root, command })
    }
}

/// A running command of a transcript.
struct Running {
    command: String,
    process: Process,
    /// The number of output lines that were compared or skipped.
    seen: usize,
    /// Whether the last line of the transcript was `[...]`. Any number of output lines may then precede the next line.
    skips: bool,
    /// Whether the transcript has interrupted the command with `^C`.
    was_interrupted: bool,
}

impl Running {
    fn start(machine: &Namespace, folder: &Path, prompted: &Prompted) -> Self {
        let others = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([folder.to_owned()].into_iter().chain(env::split_paths(&others))).unwrap();
        let mut shell = machine.command(if prompted.is_root { "bash" } else { "setpriv" });
        if !prompted.is_root {
            shell.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=keep", "--", "bash"]);
        }
        shell
            .args(["-c", &format!("exec 2>&1\n{}", prompted.command.trim_end_matches('&'))])
            .current_dir(folder)
            .env("PATH", path)
            .process_group(0);
        Self {
            command: prompted.command.to_owned(),
            process: Process::start(&mut shell),
            seen: 0,
            skips: false,
            was_interrupted: false,
        }
    }

    /// Returns whether the command answers connections until it is interrupted.
    fn is_responder(&self) -> bool {
        let arguments = self.command.trim_start_matches("./").strip_prefix("tcp-bounce ");
        arguments.is_some_and(|arguments| !arguments.starts_with("probe "))
    }

    fn signal(&self, signal: Signal) -> nix::Result<()> {
        killpg(Pid::from_raw(self.process.child.id() as i32), signal)
    }

    /// Waits for `line` in the output. It must be the next line, unless the transcript has `[...]` before it.
    #[track_caller]
    fn expect(&mut self, line: &str) {
        if line == "[...]" {
            self.skips = true;
            return;
        }
        let wanted = comparable(line);
        let (seen, skips) = (self.seen, self.skips);
        let found = self.process.stdout.wait(|text, ended| {
            // The last line may be incomplete until the process has ended.
            let whole = if ended { text.len() } else { text.rfind('\n').map_or(0, |end| end + 1) };
            let mut lines = text[..whole].lines().skip(seen);
            let index = if skips { lines.position(|line| comparable(line) == wanted) } else { lines.next().map(|_| 0) };
            index.map(Some).or(ended.then_some(None))
        });
        let text = self.process.stdout.text();
        let index = found.flatten().unwrap_or_else(|| panic!("{}: {line:?} is missing in: {text}", self.command));
        let actual = text.lines().nth(seen + index).unwrap();
        assert_eq!(comparable(actual), wanted, "{}: {text}", self.command);
        (self.seen, self.skips) = (seen + index + 1, false);
    }

    /// Waits for the process to end. Checks that the transcript has all of its output, unless it ends with `[...]`.
    #[track_caller]
    fn finish(mut self) {
        until(&format!("for the end of {}", self.command), || self.process.child.try_wait().unwrap());
        let rest = self.process.stdout.wait(|text, ended| ended.then(|| text.to_owned())).unwrap();
        let rest: Vec<_> = rest.lines().skip(self.seen).collect();
        assert!(self.skips || rest.is_empty(), "{}: output that the page does not show: {rest:#?}", self.command);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.signal(Signal::SIGKILL);
    }
}

/// Two hosts, and a switch between them that serves as a firewall.
struct Machines {
    namespaces: BTreeMap<&'static str, Namespace>,
    /// The working directory of the commands.
    folder: TempDir,
    /// The command whose output the transcript shows.
    current: Option<Running>,
    /// The running tcp-bounce, which a later Ctrl-C interrupts.
    responder: Option<Running>,
    /// The probe that waits for the report of the responder. A later block shows the rest of its output.
    waiting: Option<Running>,
    /// Commands with `&`, which run until the end of the page.
    background: Vec<Running>,
}

impl Machines {
    fn new() -> Self {
        let [firewall, server, client] = switched_as([("eth1", "inside"), ("eth0", "outside")]);
        // Link-local IPv6 addresses would differ between runs.
        server.sysctl("ipv6/conf/eth1/disable_ipv6", "1");
        client.sysctl("ipv6/conf/eth0/disable_ipv6", "1");
        let folder = tempfile::tempdir().unwrap();
        // Unprivileged commands run here, too.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::copy(BINARY, folder.path().join("tcp-bounce")).unwrap();
        fs::copy(PROGRAM_OBJECT, folder.path().join("tcp_bounce.bpf.o")).unwrap();
        let namespaces = [("server", server), ("firewall", firewall), ("client", client)].into();
        Self { namespaces, folder, current: None, responder: None, waiting: None, background: Vec::new() }
    }

    /// Replays a block of a page: commands after the names of their machines, Ctrl-C, and lines of output. A block that
    /// begins with output continues the command that waits.
    #[track_caller]
    fn replay(&mut self, block: &str) {
        for (index, line) in block.lines().enumerate() {
            if let Some(prompted) = Prompted::parse(line) {
                self.set_aside();
                self.start(&prompted);
            } else if line == "^C" {
                self.waiting = self.current.take_if(|running| running.command.contains(" --far "));
                self.set_aside();
                let mut responder = self.responder.take().expect("tcp-bounce is running");
                responder.signal(Signal::SIGINT).unwrap();
                responder.was_interrupted = true;
                self.current = Some(responder);
            } else {
                if let Some(waiting) = self.waiting.take_if(|_| index == 0) {
                    self.set_aside();
                    self.current = Some(waiting);
                }
                self.current.as_mut().expect("a command comes first").expect(line);
            }
        }
    }

    #[track_caller]
    fn start(&mut self, prompted: &Prompted) {
        if prompted.command.contains("tcp-bounce ") {
            self.await_resets();
        }
        self.current = Some(Running::start(&self.namespaces[prompted.machine], self.folder.path(), prompted));
    }

    /// Waits until the client's closed connections have ended. The FIN of a connection to an earlier responder would be
    /// an event of the next one.
    #[track_caller]
    fn await_resets(&self) {
        let client = &self.namespaces["client"];
        until("for the host to reset the client's connections", || {
            client.run("ss", "-Htn state fin-wait-1").is_empty().then_some(())
        });
    }

    /// Stops comparing the current command's output. tcp-bounce and commands with `&` keep running; others must end.
    #[track_caller]
    fn set_aside(&mut self) {
        let Some(running) = self.current.take() else { return };
        if running.is_responder() && !running.was_interrupted {
            self.responder = Some(running);
        } else if running.command.ends_with('&') {
            self.background.push(running);
        } else {
            running.finish();
        }
    }
}

/// Returns the transcripts of a page.
#[track_caller]
fn transcripts(page: &str) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    text.split("```console\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned()).collect()
}

/// Replays all transcripts of a page in `docs/recipes`.
#[track_caller]
fn replay(page: &str) {
    let mut machines = Machines::new();
    let blocks = transcripts(&format!("docs/recipes/{page}.md"));
    assert!(!blocks.is_empty());
    blocks.iter().for_each(|block| machines.replay(block));
    machines.set_aside();
    assert!(machines.waiting.is_none(), "the page shows the end of the waiting command");
    assert!(machines.responder.is_none(), "the page ends tcp-bounce with Ctrl-C");
}

/// Replays the transcripts of the README that begin on one of the machines. The firewall passes two ports.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn readme_matches() {
    let mut machines = Machines::new();
    for command in [
        "add table bridge filter",
        "add chain bridge filter forward { type filter hook forward priority 0 ; }",
        "add rule bridge filter forward iifname outside tcp dport != { 22, 443 } drop",
    ] {
        machines.namespaces["firewall"].run("nft", command);
    }
    let blocks = transcripts("README.md");
    let blocks: Vec<&String> = blocks.iter().filter(|block| Prompted::parse(block).is_some()).collect();
    assert!(!blocks.is_empty());
    blocks.into_iter().for_each(|block| machines.replay(block));
    machines.set_aside();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn firewall_page_matches() {
    replay("firewall");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn deception_page_matches() {
    replay("deception");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn load_sink_page_matches() {
    replay("load-sink");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn learning_xdp_page_matches() {
    replay("learning-xdp");
}
