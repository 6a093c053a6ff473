//! Many threads that connect at once.

use std::io;
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::network::{HOST, Network, connect};

/// Connects each of `threads` threads of the client to a port of its own, when all of them are ready. Returns the connections,
/// and how long it took from then on.
pub fn connect_at_once(network: &Network, threads: u16) -> (Vec<io::Result<TcpStream>>, Duration) {
    allow_open_files(u64::from(threads) + 1000);
    // A crowd that waits for the answer to one ARP request would be let down by the kernel.
    network.connect(1).unwrap();
    network.client.enter(|| {
        let start = Barrier::new(usize::from(threads) + 1);
        thread::scope(|scope| {
            let connect_when_all_are_ready = |port| {
                start.wait();
                connect(HOST, port)
            };
            let start_thread = |port| {
                let builder = thread::Builder::new().stack_size(64 * 1024);
                builder.spawn_scoped(scope, move || connect_when_all_are_ready(port)).unwrap()
            };
            let threads: Vec<_> = (1..=threads).map(start_thread).collect();
            start.wait();
            let begin = Instant::now();
            (threads.into_iter().map(|thread| thread.join().unwrap()).collect(), begin.elapsed())
        })
    })
}

fn allow_open_files(number: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(number), hard.max(number)).unwrap();
}
