//! What the tests of the whole program share: network namespaces, a cable between two of them, processes in them, and
//! tcp-bounce as one of these.
//!
//! Nothing of it outlives the tests, however they end. The namespaces have no name, so the kernel removes each together
//! with its last user; and the kernel kills each process when the thread that started it ends.

#![allow(dead_code, unused_macros, reason = "each test crate uses its own part of this")]

pub mod bouncer;
pub mod capture;
pub mod cost;
pub mod crowd;
pub mod flood;
pub mod namespace;
pub mod network;
pub mod process;
pub mod programs;
pub mod schema;
pub mod segment;
pub mod service;

use std::env;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy. A test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How long to look for what must not come. Only a test that should fail can pass by its being too short.
pub const SILENCE: Duration = Duration::from_millis(300);

/// How much of something: what the environment variable `name` asks for, and at least this.
pub fn at_least(name: &str, least: usize) -> usize {
    let asked = env::var(name).ok().map(|number| number.parse().unwrap_or_else(|_| panic!("{name} is a number")));
    asked.unwrap_or(0).max(least)
}

/// Makes of each function that takes a [`network::Mode`] a test in native mode and one in skb mode.
macro_rules! in_each_mode {
    ($($test:ident,)+) => {
        in_each_mode!(@ native, Native, $($test)+);
        in_each_mode!(@ skb, Skb, $($test)+);
    };
    (@ $module:ident, $mode:ident, $($test:ident)+) => {
        mod $module {
            $(
                #[test]
                #[ignore = "needs root: makes network namespaces"]
                fn $test() {
                    super::$test(crate::common::network::Mode::$mode);
                }
            )+
        }
    };
}

/// Tries again and again until there is something: for what has no event to wait for.
#[track_caller]
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The next connection to `listener`.
#[track_caller]
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = until("for a connection", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Whether nobody has connected to `listener`.
pub fn is_idle(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    matches!(listener.accept(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends a few bytes each way between the two ends of a connection.
#[track_caller]
pub fn exchange(one: &mut TcpStream, other: &mut TcpStream) {
    carry(one, other, b"there");
    carry(other, one, b"and back");
}

#[track_caller]
fn carry(from: &mut TcpStream, to: &mut TcpStream, message: &[u8]) {
    from.write_all(message).unwrap();
    to.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut received = vec![0; message.len()];
    to.read_exact(&mut received).unwrap();
    assert_eq!(received, message);
}

/// Whether nothing arrives at this end of a connection.
pub fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
