//! Readers of the outputs of a run: one of the events, which stalls at times, and several of the metrics.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, ErrorKind, PipeReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::fixtures::DEADLINE;
use crate::fixtures::namespace::Namespace;

const METRICS: &str = "127.0.0.1:9464";
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
const SCRAPERS: usize = 3;
/// The time between two scrapes of a client.
const PAUSE: Duration = Duration::from_millis(100);

/// The type of a JSON line.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
}

/// The lines that a run has printed.
#[derive(Default)]
pub struct Printed {
    /// The number of lines of each type.
    pub numbers: BTreeMap<String, u64>,
    /// The first line of each type.
    pub first: BTreeMap<String, Value>,
}

impl Printed {
    fn add(&mut self, line: &[u8]) {
        let parsed: Line = serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_ne!(parsed.r#type, "warning", "{}", String::from_utf8_lossy(line));
        if let Some(number) = self.numbers.get_mut(&*parsed.r#type) {
            *number += 1;
        } else {
            self.first.insert(parsed.r#type.to_string(), serde_json::from_slice(line).unwrap());
            self.numbers.insert(parsed.r#type.into_owned(), 1);
        }
    }
}

/// A thread that reads the JSON lines of a run.
pub struct OutputReader {
    is_stalled: Arc<(Mutex<bool>, Condvar)>,
    /// The thread, until its end is awaited.
    thread: Option<JoinHandle<Printed>>,
}

impl OutputReader {
    pub fn start(pipe: PipeReader) -> Self {
        let is_stalled = Arc::<(Mutex<bool>, Condvar)>::default();
        let theirs = Arc::clone(&is_stalled);
        let read = move || {
            let (mut printed, mut pipe, mut line) = (Printed::default(), BufReader::new(pipe), Vec::new());
            while pipe.read_until(b'\n', &mut line).unwrap() > 0 {
                printed.add(&line);
                line.clear();
                drop(theirs.1.wait_while(theirs.0.lock().unwrap(), |is_stalled| *is_stalled));
            }
            printed
        };
        Self { is_stalled, thread: Some(thread::spawn(read)) }
    }

    /// Stops reading.
    pub fn stall(&self) {
        *self.is_stalled.0.lock().unwrap() = true;
    }

    /// Reads again.
    pub fn go_on(&self) {
        *self.is_stalled.0.lock().unwrap() = false;
        self.is_stalled.1.notify_all();
    }

    /// Returns whether the output has neither ended nor had a fault.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Reads to the end of the output.
    pub fn finish(mut self) -> Printed {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for OutputReader {
    /// Lets the thread of a failed test end.
    fn drop(&mut self) {
        self.go_on();
    }
}

/// Threads that request the metrics again and again.
pub struct Scrapers(Vec<(Sender<()>, JoinHandle<()>)>);

impl Scrapers {
    pub fn start(host: &Namespace) -> Self {
        let scraper = |_| {
            let (stop, is_stopped) = mpsc::channel();
            (stop, host.spawn(move || scrape_until(&is_stopped)))
        };
        Self((0..SCRAPERS).map(scraper).collect())
    }

    /// Returns whether no scraper has found a fault.
    pub fn are_running(&self) -> bool {
        self.0.iter().all(|(_, thread)| !thread.is_finished())
    }

    pub fn finish(self) {
        for (stop, thread) in self.0 {
            drop(stop);
            thread.join().unwrap();
        }
    }
}

/// Requests the metrics until the channel is closed. Checks that the number of packets never decreases.
fn scrape_until(is_stopped: &Receiver<()>) {
    let mut packets = 0;
    while is_stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        let now = scrape();
        assert!(now >= packets, "{now} packets after {packets}");
        packets = now;
    }
}

/// Requests the metrics once, and returns the number of packets.
fn scrape() -> u64 {
    let mut stream = TcpStream::connect(METRICS).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(REQUEST).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.matches("\ntcp_bounce_attached{").count() == 2, "{page}");
    let packets = page.lines().filter(|line| line.starts_with("tcp_bounce_packets_total{"));
    packets.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Sends many requests for the metrics, or half a request, and reads no answer.
pub fn request_without_reading(host: &Namespace, is_complete: bool) -> TcpStream {
    let mut stream = host.enter(|| TcpStream::connect(METRICS)).unwrap();
    let request = if is_complete { REQUEST.repeat(10_000) } else { REQUEST[..10].to_owned() };
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    // The server may close the connection meanwhile, but it never stops reading.
    let written = stream.write_all(&request);
    assert_ne!(written.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "the request was not read");
    stream
}
