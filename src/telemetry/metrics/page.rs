//! The metrics page, in Prometheus' text format.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use tcp_bounce_wire::{EventCounts, Verdict, XdpAction};

use crate::responder::Sample;

/// The text of the metrics page, or the error of encoding it.
pub type Page = prometheus::Result<String>;

/// Encodes samples as a page. The metrics are registered once, and set for each page.
pub struct PageEncoder {
    registry: Registry,
    attached: IntGaugeVec,
    packets: IntCounterVec,
    events: IntCounterVec,
}

impl PageEncoder {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// The name or a label of a metric violates Prometheus' rules.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let info = gauge(
            &registry,
            "tcp_bounce_build_info",
            "The version of tcp-bounce, as a label. The value is always 1.",
            &["version"],
        )?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let help = "The interfaces to which the XDP program is attached, and the mode. The value is always 1.";
        let attached = gauge(&registry, "tcp_bounce_attached", help, &["interface", "mode"])?;
        let help = "Received packets, by XDP action and verdict.";
        let packets = counter(&registry, "tcp_bounce_packets_total", help, &["interface", "action", "verdict"])?;
        let help = "Client events delivered to the ring buffer, or dropped because it was full.";
        let events = counter(&registry, "tcp_bounce_events_total", help, &["interface", "result"])?;
        Ok(Self { registry, attached, packets, events })
    }

    /// Encodes `samples`, one for each interface.
    ///
    /// # Errors
    ///
    /// The text format cannot represent a metric.
    pub fn encode(&self, samples: &[Sample]) -> Page {
        // Prometheus counters can only be increased. After a reset, they can be increased to the sampled value.
        self.attached.reset();
        self.packets.reset();
        self.events.reset();
        samples.iter().for_each(|sample| self.set(sample));
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Sets the metrics of one interface.
    fn set(&self, Sample { interface, mode, counters, events }: &Sample) {
        let interface = interface.as_str();
        self.attached.with_label_values(&[interface, &mode.to_string()]).set(1);
        for verdict in Verdict::ALL {
            let action = match verdict.action() {
                XdpAction::Pass => "pass",
                XdpAction::Drop => "drop",
                XdpAction::Tx => "tx",
            };
            self.packets.with_label_values(&[interface, action, verdict.name()]).inc_by(counters[verdict]);
        }
        if let Some(EventCounts { delivered, dropped, .. }) = events {
            self.events.with_label_values(&[interface, "delivered"]).inc_by(*delivered);
            self.events.with_label_values(&[interface, "dropped"]).inc_by(*dropped);
        }
    }
}

fn gauge(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauge.clone())).map(|()| gauge)
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counter.clone())).map(|()| counter)
}
