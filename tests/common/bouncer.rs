//! tcp-bounce itself.

use std::process::Command;

use nix::sys::signal::Signal;

use super::namespace::Namespace;
use super::process::{Finished, Process, run};

/// The path of the binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_tcp-bounce");

/// tcp-bounce while it runs.
pub struct TcpBounce(pub Process);

impl TcpBounce {
    /// The command, with arguments that are separated by spaces.
    pub fn command(namespace: &Namespace, arguments: &str) -> Command {
        let mut command = namespace.command(BINARY);
        command.args(arguments.split_whitespace());
        command
    }

    /// Starts it, and waits until it has said that it answers: then it does so on all its interfaces.
    #[track_caller]
    pub fn start(namespace: &Namespace, arguments: &str) -> Self {
        let process = Process::start(&mut Self::command(namespace, arguments));
        // The words of `--ports`, and those without.
        let says_so = |text: &str| text.contains(": every TCP port answers") || text.contains(": of the TCP ports ");
        let started =
            process.stdout.wait(|text, ended| if says_so(text) { Some(true) } else { ended.then_some(false) });
        if started != Some(true) {
            panic!("it does not start: {:?}", process.finish());
        }
        Self(process)
    }

    /// Ends it as Ctrl-C does, and returns its last words.
    #[track_caller]
    pub fn interrupt(self) -> Summary {
        self.0.signal(Signal::SIGINT);
        Summary::of(&self.0.finish())
    }

    /// Waits until it ends by itself, for a reason that it gives.
    #[track_caller]
    pub fn failure(self) -> String {
        let finished = self.0.finish();
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        finished.stderr
    }
}

/// Runs a tcp-bounce that must not start, and returns the reason that it gives.
#[track_caller]
pub fn refusal(namespace: &Namespace, arguments: &str) -> String {
    let finished = run(&mut TcpBounce::command(namespace, arguments));
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_eq!(finished.stdout, "");
    finished.stderr
}

/// Checks that `reason` is one line that has all these words, and a hint in another that has these.
#[track_caller]
pub fn assert_says(reason: &str, words: &[&str], hint: &str) {
    let (line, rest) = reason.split_once('\n').unwrap();
    assert!(words.iter().all(|word| line.contains(word)), "{words:?} {reason}");
    assert!(!hint.is_empty() && rest.starts_with("  hint: ") && rest.contains(hint), "{hint:?} {reason}");
    assert_eq!(rest.lines().count(), 1, "{reason}");
}

/// What tcp-bounce said when it had ended well.
#[derive(Debug)]
pub struct Summary(pub String);

impl Summary {
    /// The last words of a tcp-bounce that must have ended well.
    #[track_caller]
    pub fn of(finished: &Finished) -> Self {
        assert!(finished.status.success(), "{finished:?}");
        assert_eq!(finished.stderr, "");
        let (_, summary) = finished.stdout.split_once("detached after ").expect("there is a summary");
        Self(summary.to_owned())
    }

    /// The number before these words; 0 if they are not there.
    #[track_caller]
    pub fn count(&self, words: &str) -> u64 {
        let number = self.0.lines().find_map(|line| line.strip_suffix(words)?.strip_suffix(' '));
        number.map_or(0, |number| number.trim().replace(',', "").parse().unwrap())
    }
}
