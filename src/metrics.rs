//! `--metrics`: the counters for a monitoring system, as Prometheus reads them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, TEXT_FORMAT, TextEncoder};
use tcp_bounce_wire::{Action, Counters, EventCount, Verdict};
use tiny_http::{Header, Method, Response, Server};

use crate::attach::AttachMode;
use crate::error::Error;

/// Where metrics are served: a port is one on the loopback interface, unless there is an address before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsAddress(pub SocketAddr);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
        let loopback = port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        let address = loopback.or_else(|_| text.parse());
        address
            .map(Self)
            .map_err(|_| "not an address and a port, like 192.0.2.1:9464 or [::1]:9464, nor a port alone".to_owned())
    }
}

/// What there is to know of an interface.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name.
    pub interface: String,
    /// The mode that the program is attached in.
    pub mode: AttachMode,
    /// What it has counted.
    pub counters: Counters,
    /// What became of events, if somebody wants them.
    pub events: Option<EventCount>,
}

/// A server of metrics, until this is dropped. It tells what was published last, and has nothing to do with the rest.
pub struct Metrics {
    server: Arc<Server>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Metrics {
    /// Begins to listen.
    pub fn serve(MetricsAddress(address): MetricsAddress) -> Result<Self, Error> {
        let failure = |source| Error::Metrics { address, source };
        let server = Server::http(address).map_err(|error| failure(io::Error::other(error)))?;
        let server = Arc::new(server);
        let samples = Arc::new(Mutex::new(Vec::new()));
        let metrics = Self { server: Arc::clone(&server), samples: Arc::clone(&samples) };
        let answer = move || {
            for request in server.incoming_requests() {
                // Whoever asks may be gone.
                let _ = match (request.method(), request.url()) {
                    (Method::Get | Method::Head, "/metrics") => match page(&lock(&samples)) {
                        Ok(page) => {
                            let header = Header::from_bytes("Content-Type", TEXT_FORMAT);
                            let response = Response::from_string(page);
                            request.respond(header.into_iter().fold(response, Response::with_header))
                        }
                        Err(error) => request.respond(Response::from_string(error.to_string()).with_status_code(500)),
                    },
                    _ => request.respond(Response::from_string("see /metrics\n").with_status_code(404)),
                };
            }
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(answer).map_err(failure)?;
        Ok(metrics)
    }

    /// What is told from now on.
    pub fn publish(&self, samples: Vec<Sample>) {
        *lock(&self.samples) = samples;
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.server.unblock();
    }
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
                Action::Pass => "pass",
                Action::Drop => "drop",
                Action::Tx => "tx",
            };
            packets.with_label_values(&[interface.as_str(), action, verdict.name()]).inc_by(counters[verdict]);
        }
        if let Some(EventCount { told, lost, .. }) = count {
            events.with_label_values(&[interface.as_str(), "told"]).inc_by(*told);
            events.with_label_values(&[interface.as_str(), "lost"]).inc_by(*lost);
        }
    }
    TextEncoder::new().encode_to_string(&registry.gather())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback_interface() {
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "127.0.0.1:9464"),
            ("192.0.2.1:9464", "192.0.2.1:9464"),
            ("[::1]:9464", "[::1]:9464"),
            ("[::]:0", "[::]:0"),
        ] {
            assert_eq!(text.parse(), Ok(MetricsAddress(address.parse().unwrap())), "{text}");
        }
        for text in ["", "localhost:9464", "192.0.2.1", "::1:9464", "65536", "-1", "9464/metrics"] {
            assert!(text.parse::<MetricsAddress>().is_err(), "{text}");
        }
    }
}
