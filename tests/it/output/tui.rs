//! `--tui` on a real terminal, provided by tmux.

use std::env;
use std::fs::{self, File};
use std::io::Read as _;
use std::iter;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, mpsc};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, ttyname};
use tcp_bounce::internals::client_tables::ClientTables;
use tcp_bounce::internals::{CountedHandshakes, Tui};
use tcp_bounce_wire::TelemetrySettings;
use tempfile::TempDir;

use crate::fixtures::command::{BINARY, TcpBounce, assert_error, usage_error};
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::{Process, rerun, run, stop_main_thread};
use crate::fixtures::programs::attached;
use crate::fixtures::{DEADLINE, until};

/// A terminal with a shell in the host's namespace, in a separate tmux server.
struct Terminal<'a> {
    network: &'a Network,
    socket: String,
    /// The tmux server, which is killed when this value is dropped.
    _server: Process,
    /// The folder of the socket.
    _folder: TempDir,
}

impl<'a> Terminal<'a> {
    fn new(network: &'a Network, width: u16, height: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("tmux").display().to_string();
        let mut command = network.host.command("tmux");
        // With `-D`, the server stays in the foreground, so it is killed with the test.
        command.args(["-D", "-S", &socket, "-f", "/dev/null"]);
        let server = Process::start(&mut command);
        let terminal = Self { network, socket, _server: server, _folder: folder };
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

    /// Returns the text on the screen, with escape sequences for its colours.
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

    /// Starts tcp-bounce, and waits until the screen contains `words`.
    fn start(&self, words: &str) {
        let arguments = "--mode skb --tui --on-connect close host0; echo it returned $?";
        self.keys(&[&format!("{BINARY} {arguments}"), "Enter"]);
        self.wait_for(words);
    }

    /// Returns the id of the process that runs in the shell.
    fn process(&self) -> String {
        let shell = run(&mut self.tmux(&["display", "-p", "#{pane_pid}"])).success();
        self.network.host.run("pgrep", &format!("--parent {}", shell.trim())).trim().to_owned()
    }

    /// Checks that tcp-bounce succeeded, restored the terminal and detached.
    #[track_caller]
    fn assert_restored(&self) {
        let screen = self.wait_for("it returned 0");
        assert!(screen.contains("SYNs answered"), "the summary is on the screen: {screen}");
        self.assert_usable();
        assert_eq!(attached(&self.network.host, "host0"), None);
    }

    #[track_caller]
    fn assert_usable(&self) {
        let state = run(&mut self.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"])).success();
        assert_eq!(state.trim(), "0 1", "the alternate screen is off, and the cursor is visible");
        // The terminal echoes again.
        self.keys(&["echo $((6 * 7))", "Enter"]);
        let screen = self.wait_for("42");
        assert!(screen.contains("echo $((6 * 7))"), "{screen}");
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn second_signal_restores_the_terminal_while_the_main_thread_is_stuck() {
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 80, 24);
    terminal.start("ports 0-65535");
    let process = Pid::from_raw(terminal.process().parse().unwrap());
    stop_main_thread(process);
    until("for the end", || {
        kill(process, Signal::SIGTERM).unwrap();
        let status = waitpid(process, Some(WaitPidFlag::WNOHANG)).unwrap();
        (status == WaitStatus::Exited(process, 1)).then_some(())
    });
    terminal.wait_for("it returned 1");
    terminal.assert_usable();
    network.wait_until_detached();
}

/// The foreground colour of the busiest ports, in an SGR escape sequence.
const HOT: &str = "38;5;231";
/// The foreground colour of ports without clients.
const COLD: &str = "38;5;235";

/// Returns the lines of a screen that have cells of the heat map.
fn heat_map(screen: &str) -> String {
    screen.lines().filter(|line| line.contains('▀')).collect()
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn tui_shows_a_scan_at_every_size() {
    let network = Network::new(Mode::Skb);
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let terminal = Terminal::new(&network, width, height);
        terminal.start("ports 0-65535");
        let map = heat_map(&terminal.screen());
        assert!(map.contains(COLD) && !map.contains(HOT), "{map}");
        network.client.run("nmap", &format!("-n -Pn -sT -r -p 1-3000 {HOST}"));
        // Wait for the counters, the newest event and the top clients.
        let map = heat_map(&terminal.wait_for("SYNs answered: 3,000"));
        assert!(map.contains(COLD), "ports above 3000 have no clients: {map}");
        terminal.wait_for(" 3000 192.0.2.2:");
        terminal.wait_for("  3000 192.0.2.2");
        terminal.keys(&["q"]);
        terminal.assert_restored();
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn terminal_is_restored_after_every_kind_of_end() {
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 80, 24);
    for end in ["Ctrl-C", "SIGTERM", "small"] {
        match end {
            "Ctrl-C" => {
                terminal.start("ports 0-65535");
                terminal.keys(&["C-c"]);
            }
            "SIGTERM" => {
                terminal.start("ports 0-65535");
                network.host.run("kill", &format!("-TERM {}", terminal.process()));
            }
            _ => {
                run(&mut terminal.tmux(&["resize-window", "-x", "40", "-y", "10"])).success();
                terminal.start("too small");
                terminal.keys(&["q"]);
                run(&mut terminal.tmux(&["resize-window", "-x", "80", "-y", "24"])).success();
            }
        }
        terminal.assert_restored();
        terminal.keys(&["clear", "Enter"]);
    }
}

/// Checks a terminal that accepts no output while the run ends, like an SSH connection that hangs.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn blocked_terminal_is_restored() {
    let network = Network::new(Mode::Skb);
    // Nothing reads `master` until the run has ended.
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    let name = ttyname(&slave).unwrap().display().to_string();
    let before = tcgetattr(&slave).unwrap().local_flags;
    let mut command = TcpBounce::command(&network.host, "--mode skb --tui host0");
    let end = || Stdio::from(slave.try_clone().unwrap());
    let process = Process::start_as_is(command.stdin(end()).stdout(end()).stderr(Stdio::piped()));
    drop(command);
    let mut rows = (50..60).cycle();
    until("for it to wait for the terminal", || {
        // A new size makes the TUI draw everything again.
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
    let mut output = Vec::new();
    // Reading ends with an error when the output is used up.
    let _ = File::from(master).read_to_end(&mut output);
    let output = String::from_utf8_lossy(&output);
    let after = |sequence: &str| output.rsplit_once(sequence).unwrap_or_else(|| panic!("{sequence:?}: {output:?}")).1;
    // The TUI leaves the alternate screen before the summary. The cursor is visible at the end.
    assert!(after("\x1b[?1049l").contains("detached after"), "{output:?}");
    assert!(!after("\x1b[?25h").contains("\x1b[?25l"), "{output:?}");
}

/// Checks a terminal whose window is closed or whose connection is lost. The process gets SIGHUP.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn loss_of_the_terminal_ends_the_run() {
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 80, 24);
    terminal.start("ports 0-65535");
    let process = terminal.process();
    run(&mut terminal.tmux(&["kill-server"])).success();
    network.wait_until_detached();
    let path = format!("/proc/{process}");
    until("for the process to end", || (!Path::new(&path).exists()).then_some(()));
}

/// Checks a terminal that is not the controlling terminal. The process gets no SIGHUP when this terminal is lost.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn loss_of_the_terminal_without_a_signal_ends_the_run_with_an_error() {
    let network = Network::new(Mode::Skb);
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    // A child process that inherited `master` would keep the terminal alive.
    fcntl(&master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let mut command = TcpBounce::command(&network.host, "--mode skb --tui host0");
    let end = || Stdio::from(slave.try_clone().unwrap());
    let process = Process::start_as_is(command.stdin(end()).stdout(end()).stderr(Stdio::piped()));
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut master = File::from(master);
    let mut screen = Vec::new();
    until("for the heat map", || {
        // Reading ends with an error when the output is used up.
        let _ = master.read_to_end(&mut screen);
        String::from_utf8_lossy(&screen).contains("ports 0-65535").then_some(())
    });
    drop(master);
    let finished = process.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    // Reading input notices the hangup, unless drawing does so first (EIO).
    let reasons = ["it was closed", "Input/output error"].map(|reason| format!("cannot use the terminal: {reason}"));
    assert!(reasons.iter().any(|reason| finished.stderr.contains(reason)), "{finished:?}");
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn first_key_after_a_resize_ends_the_run() {
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 80, 24);
    for key in ["q", "C-c"] {
        terminal.start("ports 0-65535");
        run(&mut terminal.tmux(&["resize-window", "-x", "40", "-y", "10"])).success();
        // The new size is drawn, so SIGWINCH has been sent.
        terminal.wait_for("too small");
        terminal.keys(&[key]);
        terminal.wait_for("it returned 0");
        run(&mut terminal.tmux(&["resize-window", "-x", "80", "-y", "24"])).success();
        terminal.assert_restored();
        terminal.keys(&["clear", "Enter"]);
    }
}

/// Checks that `--tui` does not start in the background. Otherwise the terminal would stop the process (SIGTTOU),
/// while the program kept answering.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn background_start_is_refused() {
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 120, 24);
    terminal.keys(&["set -m", "Enter"]);
    terminal.keys(&[&format!("{BINARY} --tui host0 &"), "Enter"]);
    let screen = terminal.wait_for("--tui cannot run in the background");
    assert!(screen.contains("hint: start tcp-bounce without `&`"), "{screen}");
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn start_without_a_terminal_is_refused() {
    let network = Network::new(Mode::Skb);
    assert_error(&usage_error(&network.host, "--tui host0"), &["--tui needs a terminal"], "--events");
    network.assert_nothing_is_attached();
}

/// Checks the terminal after a panic. The test reruns itself in the terminal, and panics while it shows the TUI.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn terminal_is_restored_after_a_panic() {
    const IN_TERMINAL: &str = "TCP_BOUNCE_TEST_IN_TERMINAL";
    if env::var_os(IN_TERMINAL).is_some() {
        let (interrupt, interrupted) = mpsc::channel();
        let tables = Arc::new(ClientTables::new(iter::empty(), TelemetrySettings::default()).unwrap());
        let _tui = Tui::start(tables, CountedHandshakes::All, false, interrupt).unwrap();
        let _ = interrupted.recv_timeout(DEADLINE);
        panic!("deliberate panic");
    }
    let network = Network::new(Mode::Skb);
    let terminal = Terminal::new(&network, 80, 24);
    let itself = rerun(terminal_is_restored_after_a_panic);
    let words = iter::once(itself.get_program()).chain(itself.get_args()).map(|word| word.to_str().unwrap());
    let command = words.collect::<Vec<_>>().join(" ");
    terminal.keys(&[&format!("{IN_TERMINAL}=1 {command}; echo it returned $?"), "Enter"]);
    terminal.wait_for("ports 0-65535");
    terminal.keys(&["q"]);
    let screen = terminal.wait_for("it returned 101");
    assert!(screen.contains("deliberate panic"), "the panic message is on the screen: {screen}");
    terminal.assert_usable();
}
