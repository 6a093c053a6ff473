//! A service of the host's own, and a client that uses it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::DEADLINE;
use super::network::{Network, connect};

const PORT: u16 = 2222;
const WORDS: &[u8; 5] = b"hello";

/// How long the host waits for what a client has to say. One whose segments were lost has sent them again before that.
const PATIENCE: Duration = Duration::from_secs(10);

/// In how many requests the kernel may reset one.
///
/// In one of several floods of 100 million SYNs it was one, whose socket on the host never got the data. It seems that the ACK that
/// completes a handshake and the segment after it came by two CPUs, and that the second was looked up while the first took the
/// request from the table and put the socket into it (`inet_ehash_insert`). The program passes whatever is to a spared port.
const RESET: usize = 100_000;

/// A listener on the host, which a tcp-bounce that is started later spares.
pub struct Service<'a> {
    network: &'a Network,
    listener: TcpListener,
    address: Ipv4Addr,
}

impl<'a> Service<'a> {
    /// Has the host listen at this address of its own.
    pub fn new(network: &'a Network, address: Ipv4Addr) -> Self {
        let listener = network.host.enter(|| TcpListener::bind((address, PORT))).unwrap();
        Self { network, listener, address }
    }

    /// Has the client connect, say something and get it back, again and again as long as `meanwhile` takes and at least
    /// once. Returns how long each time took, in order of length.
    pub fn during<T>(&self, meanwhile: impl FnOnce() -> T) -> (T, Vec<Duration>) {
        let (is_over, is_idle) = (AtomicBool::new(false), AtomicBool::new(false));
        let requests = || {
            // However it ends, so that nobody waits for it.
            let _idle = Finally(&is_idle);
            let (mut times, mut resets) = (Vec::new(), 0);
            while times.is_empty() || !is_over.load(Ordering::Relaxed) {
                match request(self.address) {
                    Ok(time) => times.push(time),
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => resets += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(resets <= 1 + times.len() / RESET, "{resets} reset, {} served", times.len());
            times
        };
        thread::scope(|scope| {
            scope.spawn(|| self.serve(&is_idle));
            let client = scope.spawn(|| self.network.client.enter(requests));
            let over = Finally(&is_over);
            let result = meanwhile();
            drop(over);
            let mut times = client.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            times.sort();
            (result, times)
        })
    }

    /// Answers one after another, until there are no more.
    fn serve(&self, is_idle: &AtomicBool) {
        let mut words = *WORDS;
        self.listener.set_nonblocking(true).unwrap();
        while !is_idle.load(Ordering::Relaxed) {
            let mut sockets = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            if poll(&mut sockets, PollTimeout::from(10u8)).unwrap() == 0 {
                continue;
            }
            let (mut stream, _) = self.listener.accept().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            match stream.read_exact(&mut words).and_then(|()| stream.write_all(&words)) {
                // Its client has been reset, or finds that this one is gone.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                served => served.unwrap(),
            }
        }
    }
}

/// Sets it when it is dropped.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long one takes. The server closes first, so that the client's port is free at once.
fn request(address: Ipv4Addr) -> io::Result<Duration> {
    let start = Instant::now();
    let mut stream = connect(address, PORT).expect("the host's service is spared");
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(WORDS)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    assert_eq!(answer, WORDS);
    Ok(start.elapsed())
}

/// The time that this share of all times is below.
pub fn percentile(times: &[Duration], share: f64) -> Duration {
    times[((times.len() - 1) as f64 * share) as usize]
}
