//! The thread of the full-screen view, whose end ends the run.

use std::io;
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use nix::sys::pthread::pthread_kill;
use nix::sys::signal::Signal;

/// A thread that draws the full-screen view.
pub struct TuiThread {
    thread: JoinHandle<()>,
    outcome: Receiver<io::Result<()>>,
}

impl TuiThread {
    /// Runs `work` in a thread, and sends to `interrupt` when it ends, in whichever way.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(interrupt: Sender<()>, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (ended, outcome) = mpsc::channel();
        let interrupt = InterruptOnDrop(interrupt);
        let run = move || {
            let _interrupt = interrupt;
            let _ = ended.send(work());
        };
        let thread = Builder::new().name("tui".to_owned()).spawn(run)?;
        Ok(Self { thread, outcome })
    }

    /// Returns the result of the thread's work, with a panic as an error. `None` if it does not end within `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<io::Result<()>> {
        match self.outcome.recv_timeout(timeout) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            // The panic itself is printed by the panic hook.
            Err(RecvTimeoutError::Disconnected) => Some(Err(io::Error::other("the view has panicked"))),
        }
    }

    /// Interrupts a write of the thread that waits for room, so that it tries again.
    ///
    /// # Errors
    ///
    /// The thread is gone.
    pub fn retry_write(&self) -> io::Result<()> {
        Ok(pthread_kill(self.thread.as_pthread_t(), Signal::SIGWINCH)?)
    }
}

/// Ends the run when it is dropped, also by a panic. Without the view, nobody would see that the program still answers.
struct InterruptOnDrop(Sender<()>);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        // The run may have ended already.
        let _ = self.0.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any test may take.
    const NEVER: Duration = Duration::from_secs(3600);

    #[test]
    fn interrupts_the_run_when_the_work_fails() {
        let (interrupt, interrupted) = mpsc::channel();
        let thread = TuiThread::start(interrupt, || Err(io::Error::other("no terminal"))).unwrap();
        interrupted.recv().unwrap();
        assert_eq!(thread.wait(NEVER).unwrap().unwrap_err().to_string(), "no terminal");
    }

    #[test]
    fn interrupts_the_run_when_the_work_panics() {
        let (interrupt, interrupted) = mpsc::channel();
        let thread = TuiThread::start(interrupt, || panic!("as the test wants it")).unwrap();
        interrupted.recv().unwrap();
        assert_eq!(thread.wait(NEVER).unwrap().unwrap_err().to_string(), "the view has panicked");
    }
}
