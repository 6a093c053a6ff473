//! The thread of the full-screen view. When it ends, so does the run.

use std::io;
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
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
    /// Runs `work` in a new thread. Sends to `interrupt` if it returns or panics before `stop` is set.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(
        stop: Arc<AtomicBool>,
        interrupt: Sender<()>,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (ended, outcome) = mpsc::channel();
        let interrupt = InterruptOnDrop { stop, interrupt };
        let run = move || {
            let _interrupt = interrupt;
            let _ = ended.send(work());
        };
        let thread = Builder::new().name("tui".to_owned()).spawn(run)?;
        Ok(Self { thread, outcome })
    }

    /// Returns the result of `work`, with a panic as an error. `None` if it does not end within `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<io::Result<()>> {
        match self.outcome.recv_timeout(timeout) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            // The panic itself is printed by the panic hook.
            Err(RecvTimeoutError::Disconnected) => Some(Err(io::Error::other("the full-screen view panicked"))),
        }
    }

    /// Sends SIGWINCH to the thread, so that a blocked write tries again.
    ///
    /// # Errors
    ///
    /// The signal cannot be sent, because the thread has ended.
    pub fn retry_write(&self) -> io::Result<()> {
        Ok(pthread_kill(self.thread.as_pthread_t(), Signal::SIGWINCH)?)
    }
}

/// Ends the run when it is dropped before `stop` is set, even during a panic.
///
/// Without the view, the user would not see that tcp-bounce is still answering.
struct InterruptOnDrop {
    stop: Arc<AtomicBool>,
    interrupt: Sender<()>,
}

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        // During the shutdown, an interrupt would act like a second signal: the printer would abandon its pending
        // output.
        if !self.stop.load(Relaxed) {
            // Fails if the run has already ended.
            let _ = self.interrupt.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timeout that no test reaches.
    const NEVER: Duration = Duration::from_secs(3600);

    #[test]
    fn interrupts_the_run_when_the_work_fails() {
        let (interrupt, interrupted) = mpsc::channel();
        let thread = TuiThread::start(Arc::default(), interrupt, || Err(io::Error::other("no terminal"))).unwrap();
        interrupted.recv().unwrap();
        assert_eq!(thread.wait(NEVER).unwrap().unwrap_err().to_string(), "no terminal");
    }

    #[test]
    fn interrupts_the_run_when_the_work_panics() {
        let (interrupt, interrupted) = mpsc::channel();
        let thread = TuiThread::start(Arc::default(), interrupt, || panic!("this test panics on purpose")).unwrap();
        interrupted.recv().unwrap();
        assert_eq!(thread.wait(NEVER).unwrap().unwrap_err().to_string(), "the full-screen view panicked");
    }

    #[test]
    fn keeps_quiet_during_the_shutdown() {
        let (interrupt, interrupted) = mpsc::channel();
        let thread = TuiThread::start(Arc::new(AtomicBool::new(true)), interrupt, || Ok(())).unwrap();
        thread.wait(NEVER).unwrap().unwrap();
        // `recv` fails because the sender was dropped without sending anything.
        interrupted.recv().unwrap_err();
    }
}
