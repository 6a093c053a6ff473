//! `--metrics`: the counters for a monitoring system, as Prometheus reads them.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, TEXT_FORMAT, TextEncoder};
use tcp_bounce_wire::{EventCounts, Verdict, XdpAction};

use super::TelemetryError;
use crate::config::MetricsAddress;
use crate::responder::Sample;

/// A server of metrics, as long as the process runs. It tells what was published last, and has nothing to do with the rest.
///
/// Whoever reaches it may be slow, or not mean well: there are a few threads, each with one connection at a time, which has a
/// second for all that it wants.
pub struct MetricsServer {
    samples: Arc<Mutex<Vec<Sample>>>,
}

/// How many connections there are at once.
const CONNECTIONS: usize = 4;

/// How long each may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the head of a request may be, in bytes.
const LONGEST_HEAD: usize = 8192;

impl MetricsServer {
    /// Begins to listen, and answers nobody yet.
    pub fn bind(MetricsAddress(address): MetricsAddress) -> Result<TcpListener, TelemetryError> {
        TcpListener::bind(address).map_err(|source| TelemetryError::Metrics { address, source })
    }

    /// Begins to answer.
    pub fn serve(listener: TcpListener) -> io::Result<Self> {
        let listener = Arc::new(listener);
        let samples = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..CONNECTIONS {
            let (listener, samples) = (Arc::clone(&listener), Arc::clone(&samples));
            let serve = move || {
                loop {
                    match listener.accept() {
                        // Whoever asks may be gone.
                        Ok((stream, _)) => drop(answer(&stream, &samples)),
                        // There may be no room for another descriptor.
                        Err(_) => thread::sleep(PATIENCE),
                    }
                }
            };
            thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
        }
        Ok(Self { samples })
    }

    /// What is told from now on.
    pub fn publish(&self, samples: Vec<Sample>) {
        *lock(&self.samples) = samples;
    }
}

/// Answers one request, and no more on this connection.
fn answer(mut stream: &TcpStream, samples: &Mutex<Vec<Sample>>) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => head.extend(&chunk[..length]),
        }
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // There is nothing to ask for.
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET", b"/metrics") => match page(&lock(samples)) {
            Ok(page) => ("200 OK", page),
            Err(error) => ("500 Internal Server Error", error.to_string()),
        },
        (b"GET", _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {TEXT_FORMAT}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // It fits into the buffer of the socket, so it takes no time.
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all((head + &body).as_bytes())
}

fn lock(samples: &Mutex<Vec<Sample>>) -> MutexGuard<'_, Vec<Sample>> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The page, in the text format.
fn page(samples: &[Sample]) -> prometheus::Result<String> {
    let registry = Registry::new();
    let counter = |name: &str, help: &str, labels: &[&str]| {
        let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(counter.clone())).map(|()| counter)
    };
    let info = |name: &str, help: &str, labels: &[&str]| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone())).map(|()| gauge)
    };
    info("tcp_bounce_build_info", "The version of tcp-bounce.", &["version"])?
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
    let attached = info("tcp_bounce_attached", "1 for each interface that is answered on.", &["interface", "mode"])?;
    let packets = counter(
        "tcp_bounce_packets_total",
        "Packets that arrived, by what became of them (action) and why (verdict).",
        &["interface", "action", "verdict"],
    )?;
    let events = counter(
        "tcp_bounce_events_total",
        "Events that were put into the ring buffer, and that were lost as there was no room.",
        &["interface", "result"],
    )?;
    for Sample { interface, mode, counters, events: count } in samples {
        attached.with_label_values(&[interface.as_str(), &mode.to_string()]).set(1);
        for verdict in Verdict::ALL {
            let action = match verdict.action() {
                XdpAction::Pass => "pass",
                XdpAction::Drop => "drop",
                XdpAction::Tx => "tx",
            };
            packets.with_label_values(&[interface.as_str(), action, verdict.name()]).inc_by(counters[verdict]);
        }
        if let Some(EventCounts { delivered, dropped, .. }) = count {
            events.with_label_values(&[interface.as_str(), "told"]).inc_by(*delivered);
            events.with_label_values(&[interface.as_str(), "lost"]).inc_by(*dropped);
        }
    }
    TextEncoder::new().encode_to_string(&registry.gather())
}
