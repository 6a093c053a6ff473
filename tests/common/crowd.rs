//! Many threads that connect at once.

use std::io;
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::network::{HOST, Network, connect};

/// What became of them.
pub struct Crowd {
    /// The connections.
    pub connections: Vec<io::Result<TcpStream>>,
    /// From the start of the first thread to the last connection.
    pub run: Duration,
    /// From the first connect to the last connection.
    pub rush: Duration,
}

/// Connects each of `threads` threads of the client to a port of its own, when all of them are ready.
pub fn connect_at_once(network: &Network, threads: u16) -> Crowd {
    allow_open_files(u64::from(threads) + 1000);
    // A crowd that waits for the answer to one ARP request would be let down by the kernel.
    network.connect(1).unwrap();
    let start = Instant::now();
    let results: Vec<_> = network.client.enter(|| {
        let ready = Barrier::new(usize::from(threads));
        thread::scope(|scope| {
            let connect_when_all_are_ready = |port| {
                ready.wait();
                let begin = Instant::now();
                (connect(HOST, port), begin, Instant::now())
            };
            let start_thread = |port| {
                let builder = thread::Builder::new().stack_size(64 * 1024);
                builder.spawn_scoped(scope, move || connect_when_all_are_ready(port)).unwrap()
            };
            let threads: Vec<_> = (1..=threads).map(start_thread).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    });
    let first = results.iter().map(|&(_, begin, _)| begin).min().unwrap_or(start);
    let last = results.iter().map(|&(.., end)| end).max().unwrap_or(start);
    let connections = results.into_iter().map(|(connection, ..)| connection).collect();
    Crowd { connections, run: last - start, rush: last - first }
}

fn allow_open_files(number: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(number), hard.max(number)).unwrap();
}
