//! `--watch` on a real terminal: tmux's.

use std::env;
use std::fs::{self, File};
use std::io::Read as _;
use std::iter;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, mpsc};

use crate::fixtures::command::{BINARY, TcpBounce, assert_error, refusal};
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::{Process, rerun, run};
use crate::fixtures::programs::attached;
use crate::fixtures::{DEADLINE, until};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::tcgetattr;
use nix::unistd::ttyname;
use tcp_bounce::internals::Tui;
use tcp_bounce::internals::client_tables::ClientTables;
use tcp_bounce_wire::TelemetrySettings;

/// A terminal in the host's namespace, in which a shell runs. It has a server of tmux's for itself.
struct Terminal<'a> {
    network: &'a Network,
    socket: String,
    /// The server, which ends with it.
    _server: Process,
}

impl<'a> Terminal<'a> {
    fn new(network: &'a Network, width: u16, height: u16) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let socket = folder.join("tmux").display().to_string();
        let mut command = network.host.command("tmux");
        // In the foreground, so that it is killed with the test.
        command.args(["-D", "-S", &socket, "-f", "/dev/null"]);
        let server = Process::start(&mut command);
        let terminal = Self { network, socket, _server: server };
        let (width, height) = (width.to_string(), height.to_string());
        until("for tmux", || {
            let mut new = terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, "sh"]);
            run(&mut new).status.success().then_some(())
        });
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.network.host.command("tmux");
        command.args(["-S", &self.socket]).args(arguments).stdin(Stdio::null());
        command
    }

    fn keys(&self, keys: &[&str]) {
        run(&mut self.tmux(&[&["send-keys"], keys].concat())).success();
    }

    /// What is on the screen, with colours.
    fn screen(&self) -> String {
        run(&mut self.tmux(&["capture-pane", "-p", "-e"])).success()
    }

    #[track_caller]
    fn wait_for(&self, words: &str) -> String {
        until(&format!("for {words:?} on the screen"), || {
            let screen = self.screen();
            screen.contains(words).then_some(screen)
        })
    }

    /// Starts it, and waits until it shows something.
    fn start(&self, words: &str) {
        let arguments = "--mode skb --watch --then close host0; echo it returned $?";
        self.keys(&[&format!("{BINARY} {arguments}"), "Enter"]);
        self.wait_for(words);
    }

    /// The process that runs in it, which is not the shell.
    fn process(&self) -> String {
        let shell = run(&mut self.tmux(&["display", "-p", "#{pane_pid}"])).success();
        self.network.host.run("pgrep", &format!("--parent {}", shell.trim())).trim().to_owned()
    }

    /// Checks that it has ended well, and that the terminal is as it was.
    #[track_caller]
    fn assert_given_back(&self) {
        let screen = self.wait_for("it returned 0");
        assert!(screen.contains("SYNs answered"), "the summary is there: {screen}");
        self.assert_usable();
        assert_eq!(attached(&self.network.host, "host0"), None);
    }

    #[track_caller]
    fn assert_usable(&self) {
        let state = run(&mut self.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"])).success();
        assert_eq!(state.trim(), "0 1", "the other screen is off, and the cursor to be seen");
        // It shows again what is typed.
        self.keys(&["echo $((6 * 7))", "Enter"]);
        let screen = self.wait_for("42");
        assert!(screen.contains("echo $((6 * 7))"), "{screen}");
    }
}

/// The foreground colour of the hottest ports, and of those that nobody has asked for.
const HOT: &str = "38;5;231";
const COLD: &str = "38;5;235";

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_scan_is_seen_at_every_size() {
    let network = Network::new(Mode::Skb);
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let terminal = Terminal::new(&network, width, height);
        terminal.start("ports 0 to 65535");
        let screen = terminal.screen();
        assert!(screen.contains(COLD) && !screen.contains(HOT), "{screen}");
        network.client.run("nmap", &format!("-n -Pn -sT -r -p 1-3000 {HOST}"));
        // Each SYN, the client with as many, the newest event, and what is hot.
        let screen = terminal.wait_for("SYNs answered: 3,000");
        assert!(screen.contains(COLD), "no higher port was asked for: {screen}");
        terminal.wait_for(" port 3000  from 192.0.2.2:");
        terminal.wait_for("    3000 192.0.2.2");
        terminal.keys(&["q"]);
        terminal.assert_given_back();
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_terminal_is_given_back_however_it_ends() {
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 80, 24);
    for end in ["Ctrl-C", "SIGTERM", "small"] {
        match end {
            "Ctrl-C" => {
                terminal.start("ports 0 to 65535");
                terminal.keys(&["C-c"]);
            }
            "SIGTERM" => {
                terminal.start("ports 0 to 65535");
                network.host.run("kill", &format!("-TERM {}", terminal.process()));
            }
            _ => {
                run(&mut terminal.tmux(&["resize-window", "-x", "40", "-y", "10"])).success();
                terminal.start("too small");
                terminal.keys(&["q"]);
                run(&mut terminal.tmux(&["resize-window", "-x", "80", "-y", "24"])).success();
            }
        }
        terminal.assert_given_back();
        terminal.keys(&["clear", "Enter"]);
    }
}

/// As over a connection that hangs for a while.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_terminal_that_takes_nothing_is_given_back_all_the_same() {
    let network = Network::new(Mode::Skb);
    // Nobody reads what comes out at the other end.
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    let name = ttyname(&slave).unwrap().display().to_string();
    let before = tcgetattr(&slave).unwrap().local_flags;
    let mut command = TcpBounce::command(&network.host, "--mode skb --watch host0");
    let end = || Stdio::from(slave.try_clone().unwrap());
    let process = Process::start_as_is(command.stdin(end()).stdout(end()).stderr(Stdio::piped()));
    drop(command);
    let mut rows = (50..60).cycle();
    until("for it to wait for the terminal", || {
        // Then all is drawn anew.
        network.host.run("stty", &format!("--file={name} cols 160 rows {}", rows.next().unwrap()));
        process.signal(Signal::SIGWINCH);
        let tasks = fs::read_dir(format!("/proc/{}/task", process.child.id())).unwrap();
        let mut waits = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("wchan")).unwrap_or_default());
        waits.any(|wait| wait == "wait_woken").then_some(())
    });
    process.signal(Signal::SIGTERM);
    let finished = process.finish();
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(tcgetattr(&slave).unwrap().local_flags, before);
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut said = Vec::new();
    // Where there is nothing any more, there is an error.
    let _ = File::from(master).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    let after = |sequence: &str| said.rsplit_once(sequence).unwrap_or_else(|| panic!("{sequence:?}: {said:?}")).1;
    // The other screen is left, and the cursor to be seen again, before the last words.
    assert!(after("\x1b[?1049l").contains("detached after"), "{said:?}");
    assert!(!after("\x1b[?25h").contains("\x1b[?25l"), "{said:?}");
}

/// As when its window is closed, or the connection to it is lost.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn when_the_terminal_goes_it_ends() {
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 80, 24);
    terminal.start("ports 0 to 65535");
    let process = terminal.process();
    run(&mut terminal.tmux(&["kill-server"])).success();
    until("for the program to be detached", || attached(&network.host, "host0").is_none().then_some(()));
    let path = format!("/proc/{process}");
    until("for the process to end", || (!Path::new(&path).exists()).then_some(()));
}

/// There the terminal would stop it, and the NIC would go on bouncing.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn in_the_background_it_does_not_start() {
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 120, 24);
    terminal.keys(&["set -m", "Enter"]);
    terminal.keys(&[&format!("{BINARY} --watch host0 &"), "Enter"]);
    let screen = terminal.wait_for("not the process in its foreground");
    assert!(screen.contains("hint: start it without `&`"), "{screen}");
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn without_a_terminal_it_does_not_start() {
    let network = Network::new(Mode::Skb);
    assert_error(&refusal(&network.host, "--watch host0"), &["--watch needs a terminal"], "--events");
    network.assert_nothing_is_attached();
}

/// The test runs itself in the terminal, where it panics while it has the whole of it.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_terminal_is_given_back_after_a_panic() {
    const IN_TERMINAL: &str = "TCP_BOUNCE_TEST_IN_TERMINAL";
    if env::var_os(IN_TERMINAL).is_some() {
        let (interrupt, interrupted) = mpsc::channel();
        let _watch =
            Tui::start(Arc::new(ClientTables::of(iter::empty(), TelemetrySettings::default()).unwrap()), interrupt)
                .unwrap();
        let _ = interrupted.recv_timeout(DEADLINE);
        panic!("as it must not");
    }
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 80, 24);
    let itself = rerun(the_terminal_is_given_back_after_a_panic);
    let words = iter::once(itself.get_program()).chain(itself.get_args()).map(|word| word.to_str().unwrap());
    let command = words.collect::<Vec<_>>().join(" ");
    terminal.keys(&[&format!("{IN_TERMINAL}=1 {command}; echo it returned $?"), "Enter"]);
    terminal.wait_for("ports 0 to 65535");
    terminal.keys(&["q"]);
    let screen = terminal.wait_for("it returned 101");
    assert!(screen.contains("as it must not"), "it says why: {screen}");
    terminal.assert_usable();
}
