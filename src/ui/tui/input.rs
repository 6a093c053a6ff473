//! Keyboard input of the full-screen view.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd;

/// The keys that end the run, as a terminal in raw mode sends them: q and Ctrl-C.
const QUIT_KEYS: [u8; 2] = [b'q', 0x03];

/// Waits for `duration`, at most until a key that ends the run. Returns whether there was one.
///
/// It reads standard input itself. The event reader of crossterm waits for the terminal and for SIGWINCH at once with
/// edge-triggered epoll: a key that arrives together with a resize stays unread until the next key. It also never returns
/// after a hangup.
///
/// # Errors
///
/// The terminal is gone or cannot be read from.
pub fn wait_for_quit(duration: Duration) -> io::Result<bool> {
    let end = Instant::now() + duration;
    loop {
        // Zero after `end`. Endless input cannot prolong the wait: the end is checked after each read.
        let left = end.saturating_duration_since(Instant::now()).as_millis() as u16;
        if !is_readable(left)? {
            return Ok(false);
        }
        let mut input = [0; 256];
        match unistd::read(io::stdin(), &mut input) {
            Ok(0) => return Err(gone()),
            Ok(length) if input[..length].iter().any(|byte| QUIT_KEYS.contains(byte)) => return Ok(true),
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) if left == 0 => return Ok(false),
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits for input, at most for `timeout` in milliseconds. A signal may end the wait early.
fn is_readable(timeout: u16) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut stdin = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut stdin, timeout) {
        Ok(0) | Err(Errno::EINTR) => return Ok(false),
        Ok(_) => {}
        Err(errno) => return Err(errno.into()),
    }
    let is_gone = |events: PollFlags| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
    if stdin[0].revents().is_some_and(is_gone) { Err(gone()) } else { Ok(true) }
}

fn gone() -> io::Error {
    io::Error::other("it is gone")
}
