//! The renderer: prepares client tables, counters and events for the next redraw.

use std::cmp::Reverse;
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcp_bounce_wire::{Counters, Verdict};

use super::feed::Feed;
use super::heat_map::{HeatMap, Palette};
use super::screen::View;
use crate::telemetry::CountedHandshakes;
use crate::xdp::ClientTables;

/// The time between two updates of rates and lists.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum length of the SYN rate's history, in seconds.
const KEPT_SECONDS: usize = 500;

/// The maximum number of entries in the list of ports, and in the list of clients.
const LISTED: usize = 20;

/// Prepares the [`View`] for each redraw.
pub struct Renderer {
    tables: Arc<ClientTables>,
    feed: Feed,
    view: View,
    started: Instant,
    /// The time of the last update of the rates.
    rates_updated: Instant,
    /// The counters at `rates_updated`.
    last_counters: Counters,
}

impl Renderer {
    /// Creates a renderer with an empty view. Its heat map has no colours if `NO_COLOR` is set and not empty
    /// (<https://no-color.org>).
    pub fn new(tables: Arc<ClientTables>, handshakes: CountedHandshakes, has_profile: bool, feed: Feed) -> Self {
        let has_colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let palette = if has_colours { Palette::Colours } else { Palette::Shades };
        Self {
            tables,
            feed,
            view: View::new(HeatMap::new(palette), handshakes, has_profile),
            started: Instant::now(),
            rates_updated: Instant::now(),
            last_counters: Counters::default(),
        }
    }

    /// Returns the view as of the last update.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Updates the view from tables, counters and events. Rates and lists change only once a second.
    pub fn update(&mut self) {
        let Self { tables, view, .. } = self;
        view.elapsed = self.started.elapsed();
        view.heat_map.update(|port| tables.port(port).syns);
        let feed = self.feed.lock();
        let names = feed.samples.iter().map(|sample| format!("{} ({} mode)", sample.interface, sample.mode));
        view.title = format!("tcp-bounce on {}", names.collect::<Vec<_>>().join(", "));
        view.counters = feed.samples.iter().map(|sample| sample.counters).sum();
        view.events = feed.events.iter().cloned().collect();
        drop(feed);
        let elapsed = self.rates_updated.elapsed();
        if elapsed >= RATE_INTERVAL {
            self.rates_updated = Instant::now();
            self.update_rates(elapsed);
        }
    }

    /// Updates rates and lists. `elapsed` is the time since their last update.
    fn update_rates(&mut self, elapsed: Duration) {
        let Self { view, last_counters, .. } = self;
        let rate = |verdict: Verdict| {
            let packets = view.counters[verdict].saturating_sub(last_counters[verdict]);
            (packets as f64 / elapsed.as_secs_f64()).round() as u64
        };
        view.rates = Counters::from(Verdict::ALL.map(rate));
        *last_counters = view.counters;
        view.history.push(view.rates[Verdict::Answered]);
        let excess = view.history.len().saturating_sub(KEPT_SECONDS);
        view.history.drain(..excess);
        view.ports = highest(view.heat_map.counts());
        let (sources, _) = self.tables.sources();
        view.sources = highest(sources.into_iter().map(|(source, counts)| (source, counts.syns)));
    }
}

/// Returns up to [`LISTED`] entries with the highest counts, in descending order.
fn highest<T: Ord + Copy>(counts: impl Iterator<Item = (T, u64)>) -> Vec<(T, u64)> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|&(name, count)| (Reverse(count), name));
    counts.truncate(LISTED);
    counts
}
