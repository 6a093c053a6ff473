//! Keyboard input of the full-screen view.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd;

/// Ctrl-C, as a terminal in raw mode sends it.
const CTRL_C: u8 = 0x03;

/// The first byte of an escape sequence, for example of a function key. The rest of the sequence may contain a `q`.
const ESCAPE: u8 = 0x1b;

/// Waits up to `duration` for a key that ends the run. Returns whether such a key was pressed.
///
/// Reads standard input directly. The event reader of crossterm uses edge-triggered epoll for both the terminal and
/// SIGWINCH, so a key that arrives together with a resize stays unread until the next key. That reader also never
/// returns after a hangup.
///
/// # Errors
///
/// The terminal is gone or cannot be read from.
pub fn wait_for_quit(duration: Duration) -> io::Result<bool> {
    let end = Instant::now() + duration;
    loop {
        // `left` is 0 once `end` has passed. The read after that is the last, so endless input cannot prolong the wait.
        let left = end.saturating_duration_since(Instant::now()).as_millis() as u16;
        if !is_readable(left)? {
            return Ok(false);
        }
        let mut input = [0; 256];
        match unistd::read(io::stdin(), &mut input) {
            Ok(0) => return Err(gone()),
            Ok(length) if has_quit_key(&input[..length]) => return Ok(true),
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) if left == 0 => return Ok(false),
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Returns whether `input` has a key that ends the run: Ctrl-C, or a q unless `input` starts with an escape sequence.
fn has_quit_key(input: &[u8]) -> bool {
    input.contains(&CTRL_C) || (input.first() != Some(&ESCAPE) && input.contains(&b'q'))
}

/// Waits for input, at most `timeout` milliseconds, and returns whether there is any. A signal may end the wait early.
///
/// # Errors
///
/// The terminal is gone or cannot be polled.
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
    io::Error::other("it was closed")
}
