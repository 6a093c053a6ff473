//! Processes that end with the test that started them.

use std::io::{ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{DEADLINE, until};

/// A running process. It is killed when this value is dropped.
pub struct Process {
    /// The process itself.
    pub child: Child,
    /// What it writes to standard output.
    pub stdout: Output,
    /// What it writes to standard error.
    pub stderr: Output,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to standard output.
    pub stdout: String,
    /// All that it wrote to standard error.
    pub stderr: String,
}

/// Runs `command` to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    Process::start(command).finish()
}

impl Process {
    /// Starts `command`, with both of its output streams to be read here.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self::start_as_is(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Starts `command`, with its streams as they are.
    #[track_caller]
    pub fn start_as_is(command: &mut Command) -> Self {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("{:?} is not installed", command.get_program())
            }
            Err(error) => panic!("{command:?}: {error}"),
        };
        let stdout = Output::of(child.stdout.take());
        let stderr = Output::of(child.stderr.take());
        Self { child, stdout, stderr }
    }

    /// Waits until `needle` has been written to standard output, and returns all that has been.
    #[track_caller]
    pub fn wait_for(&self, needle: &str) -> String {
        self.stdout.wait_for(needle).unwrap_or_else(|| {
            panic!("{needle:?} did not come, but {:?} and {:?}", self.stdout.text(), self.stderr.text())
        })
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for the end.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let status = until("for the end of a process", || self.child.try_wait().unwrap());
        Finished { status, stdout: self.stdout.to_the_end(), stderr: self.stderr.to_the_end() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Standard output of a process that must have ended well.
    #[track_caller]
    pub fn success(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.stdout
    }
}

/// What a process has written to one of its streams so far.
#[derive(Clone, Default)]
pub struct Output(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let output = Self::default();
        let writer = output.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            if let Some(mut stream) = stream {
                while let Ok(length @ 1..) = stream.read(&mut chunk) {
                    writer.lock().bytes.extend(&chunk[..length]);
                    writer.0.1.notify_all();
                }
            }
            writer.lock().ended = true;
            writer.0.1.notify_all();
        });
        output
    }

    /// What has been written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Waits until `needle` has been written, and returns all that has been; `None` if it never is.
    pub fn wait_for(&self, needle: &str) -> Option<String> {
        self.wait(|text, ended| (text.contains(needle) || ended).then(|| text.to_owned()))
            .filter(|text| text.contains(needle))
    }

    #[track_caller]
    fn to_the_end(&self) -> String {
        self.wait(|text, ended| ended.then(|| text.to_owned())).expect("nobody else has the stream")
    }

    /// Waits until `found` finds something in what has been written, of which it learns also whether that is all.
    pub fn wait<T>(&self, mut found: impl FnMut(&str, bool) -> Option<T>) -> Option<T> {
        let mut result = None;
        let waiting = |written: &mut Written| {
            result = found(&String::from_utf8_lossy(&written.bytes), written.ended);
            result.is_none()
        };
        drop(self.0.1.wait_timeout_while(self.lock(), DEADLINE, waiting));
        result
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
