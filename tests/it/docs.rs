//! The transcripts in `docs/recipes`, replayed and compared line by line.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::{env, fs};

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
const VARIES: [(&str, &str); 11] = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"(\d+\.\d+\.\d+\.\d+):\d+ >", "$1:PORT >"),
    (r"after [\d.]+ seconds?", "after TIME"),
    (r"after \d+ milliseconds", "after TIME"),
    (r"\([\d.]+s latency\)", "(TIME latency)"),
    (r"^Starting Nmap .*", "Starting Nmap"),
    (r"in [\d.]+ seconds", "in TIME"),
    (r"\bid \d+", "id ID"),
    (r"\btag [0-9a-f]{16}", "tag TAG"),
    // The compiler chooses the registers.
    (r"\br[2-9]\b", "REGISTER"),
    (r"link/ether \S+ brd \S+ link-netnsid \d", "link/ether MAC"),
];

fn comparable(line: &str) -> String {
    VARIES.iter().fold(line.trim_end().to_owned(), |line, (pattern, instead)| {
        Regex::new(pattern).unwrap().replace_all(&line, *instead).into_owned()
    })
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
    fn start(machine: &Namespace, folder: &Path, command: &str) -> Self {
        let own = Path::new(BINARY).parent().unwrap().to_owned();
        let others = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([own].into_iter().chain(env::split_paths(&others))).unwrap();
        let mut shell = machine.command("bash");
        shell
            .args(["-c", &format!("exec 2>&1\n{}", command.trim_end_matches('&'))])
            .current_dir(folder)
            .env("PATH", path)
            .process_group(0);
        Self {
            command: command.to_owned(),
            process: Process::start(&mut shell),
            seen: 0,
            skips: false,
            was_interrupted: false,
        }
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
        fs::copy(PROGRAM_OBJECT, folder.path().join("tcp_bounce.bpf.o")).unwrap();
        let namespaces = [("server", server), ("firewall", firewall), ("client", client)].into();
        Self { namespaces, folder, current: None, responder: None, background: Vec::new() }
    }

    /// Replays a line of a transcript: a command after the name of its machine, Ctrl-C, or a line of output.
    #[track_caller]
    fn replay(&mut self, line: &str) {
        let command = line.split_once("# ").filter(|(name, _)| self.namespaces.contains_key(name));
        if let Some((name, command)) = command {
            self.set_aside();
            if command.starts_with("tcp-bounce") {
                self.await_resets();
            }
            self.current = Some(Running::start(&self.namespaces[name], self.folder.path(), command));
        } else if line == "^C" {
            self.set_aside();
            let mut responder = self.responder.take().expect("tcp-bounce is running");
            responder.signal(Signal::SIGINT).unwrap();
            responder.was_interrupted = true;
            self.current = Some(responder);
        } else {
            self.current.as_mut().expect("a command comes first").expect(line);
        }
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
        if running.command.starts_with("tcp-bounce") && !running.was_interrupted {
            self.responder = Some(running);
        } else if running.command.ends_with('&') {
            self.background.push(running);
        } else {
            running.finish();
        }
    }
}

/// Replays all transcripts of a page in `docs/recipes`.
#[track_caller]
fn replay(page: &str) {
    let text = fs::read_to_string(format!("docs/recipes/{page}.md")).unwrap();
    let mut machines = Machines::new();
    let transcripts = text.split("```console\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let lines: Vec<&str> = transcripts.flat_map(str::lines).collect();
    assert!(!lines.is_empty());
    lines.into_iter().for_each(|line| machines.replay(line));
    machines.set_aside();
    assert!(machines.responder.is_none(), "the page ends tcp-bounce with Ctrl-C");
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
