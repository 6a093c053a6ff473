//! A service of the host's own, and a client that uses it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::DEADLINE;
use super::network::{HOST, Network, connect};

const PORT: u16 = 2222;
const WORDS: &[u8; 5] = b"hello";

/// A listener on the host, which a tcp-bounce that is started later spares.
pub struct Service<'a> {
    network: &'a Network,
    listener: TcpListener,
}

impl<'a> Service<'a> {
    /// Has the host listen.
    pub fn new(network: &'a Network) -> Self {
        Self { network, listener: network.listen(PORT) }
    }

    /// Has the client connect, say something and get it back, again and again as long as `meanwhile` takes and at least
    /// once. Returns how long each time took, in order of length.
    pub fn during<T>(&self, meanwhile: impl FnOnce() -> T) -> (T, Vec<Duration>) {
        let is_over = AtomicBool::new(false);
        let requests = || {
            let mut times = Vec::new();
            while times.is_empty() || !is_over.load(Ordering::Relaxed) {
                times.push(request());
            }
            // The last one says nothing.
            drop(connect(HOST, PORT).unwrap());
            times
        };
        thread::scope(|scope| {
            scope.spawn(|| self.serve());
            let client = scope.spawn(|| self.network.client.enter(requests));
            let result = meanwhile();
            is_over.store(true, Ordering::Relaxed);
            let mut times = client.join().unwrap();
            times.sort();
            (result, times)
        })
    }

    /// Answers one after another, until one says nothing.
    fn serve(&self) {
        let mut words = *WORDS;
        for stream in self.listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            if stream.read_exact(&mut words).and_then(|()| stream.write_all(&words)).is_err() {
                break;
            }
        }
    }
}

/// How long one takes. The server closes first, so that the client's port is free at once.
fn request() -> Duration {
    let start = Instant::now();
    let mut stream = connect(HOST, PORT).expect("the host's service is spared");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(WORDS).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, WORDS);
    start.elapsed()
}

/// The time that this share of all times is below.
pub fn percentile(times: &[Duration], share: f64) -> Duration {
    times[((times.len() - 1) as f64 * share) as usize]
}
