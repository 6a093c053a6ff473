//! The layout of the full-screen view.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Sparkline};
use tcp_bounce_wire::{Counters, Verdict};

use super::heat_map::HeatMap;
use crate::telemetry::ClientEvent;
use crate::ui::numbers::{grouped, rounded};

/// The smallest screen that has room for the view, in columns and rows.
const MIN_SIZE: (u16, u16) = (80, 20);

/// The minimum screen height for longer lists, in rows.
const TALL: u16 = 40;

/// The minimum screen width for IPv6 addresses in full, in columns.
const WIDE: u16 = 140;

/// The length of the longest IPv6 address, in characters.
const IPV6_LENGTH: u16 = 39;

/// The data that a redraw of the full-screen view shows.
pub struct View {
    /// The interfaces and their modes.
    pub title: String,
    /// The time since the start.
    pub elapsed: Duration,
    /// The counters of all interfaces.
    pub counters: Counters,
    /// The rate of each counter, in packets per second.
    pub rates: Counters,
    /// The SYNs answered per second in each of the last seconds, oldest first.
    pub history: Vec<u64>,
    /// The heat map of the SYNs to each port.
    pub heat_map: HeatMap,
    /// The ports with the most SYNs, in descending order.
    pub ports: Vec<(u16, u64)>,
    /// The clients with the most SYNs, in descending order.
    pub sources: Vec<(IpAddr, u64)>,
    /// The newest client events, in order of arrival.
    pub events: Vec<ClientEvent>,
}

impl View {
    /// Creates a view without data.
    pub fn new(heat_map: HeatMap) -> Self {
        Self {
            title: String::new(),
            elapsed: Duration::ZERO,
            counters: Counters::default(),
            rates: Counters::default(),
            history: Vec::new(),
            heat_map,
            ports: Vec::new(),
            sources: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// Draws `view`, or a note if the screen is too small for it.
pub fn draw(frame: &mut Frame, view: &View) {
    let area = frame.area();
    let (width, height) = MIN_SIZE;
    if area.width < width || area.height < height {
        let text = format!("too small: {width}x{height} would do\nq ends it");
        return frame.render_widget(Paragraph::new(text), area);
    }
    let list_rows = if area.height >= TALL { 10 } else { 6 };
    let [title, rate, map, lists, events] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Fill(1),
        Constraint::Length(list_rows),
        Constraint::Length(list_rows - 1),
    ])
    .areas(area);
    draw_title(frame, title, view);
    draw_rate(frame, rate, view);
    draw_heat_map(frame, map, view);
    draw_lists(frame, lists, view);
    draw_events(frame, events, view);
}

fn draw_title(frame: &mut Frame, area: Rect, view: &View) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(26)]).areas(area);
    frame.render_widget(Line::from(view.title.as_str()).bold(), left);
    let elapsed = format!("{}, q ends it", rounded(view.elapsed));
    frame.render_widget(Line::from(elapsed).right_aligned(), right);
}

/// Draws the totals and rates of answered SYNs and completed handshakes, and the history of the SYN rate.
fn draw_rate(frame: &mut Frame, area: Rect, view: &View) {
    let title = format!(
        "SYNs answered: {} ({}/s, drawn below), completed: {} ({}/s)",
        grouped(view.counters[Verdict::Answered]),
        grouped(view.rates[Verdict::Answered]),
        grouped(view.counters.completed()),
        grouped(view.rates.completed())
    );
    let history = &view.history[view.history.len().saturating_sub(area.width.into())..];
    let sparkline = Sparkline::default().block(titled(title)).data(history).style(Style::new().fg(Color::Green));
    frame.render_widget(sparkline, area);
}

fn draw_heat_map(frame: &mut Frame, area: Rect, view: &View) {
    let inner = titled(String::new()).inner(area);
    let count = view.heat_map.ports_per_part(inner);
    let title = format!("ports 0 to 65535, row by row, {count} to a place: the brighter, the later asked for");
    frame.render_widget(titled(title), area);
    frame.render_widget(&view.heat_map, inner);
}

/// Draws verdicts, ports and clients next to each other.
fn draw_lists(frame: &mut Frame, area: Rect, view: &View) {
    // 17 columns have room for any IPv4 address and for a shortened IPv6 address.
    let address_width = if area.width >= WIDE { IPV6_LENGTH } else { 17 };
    let [verdicts, ports, sources] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(14), Constraint::Length(9 + address_width)])
            .spacing(2)
            .areas(area);
    draw_list(frame, verdicts, "packets", verdict_lines(view));
    let line = |count: u64, name: String| Line::from(format!("{:>8} {name}", short(count)));
    let port = |&(port, count): &(u16, u64)| line(count, port.to_string());
    draw_list(frame, ports, "SYNs by port", view.ports.iter().map(port));
    let source = |&(source, count): &(IpAddr, u64)| line(count, shortened(&source.to_string(), address_width.into()));
    draw_list(frame, sources, "SYNs by client", view.sources.iter().map(source));
}

fn draw_events(frame: &mut Frame, area: Rect, view: &View) {
    let rows = usize::from(area.height.saturating_sub(1));
    let first = view.events.len().saturating_sub(rows);
    draw_list(frame, area, "newest", view.events[first..].iter().map(event_line));
}

/// Draws `title`, and as many of `lines` below it as fit.
fn draw_list<'a>(frame: &mut Frame, area: Rect, title: &str, lines: impl Iterator<Item = Line<'a>>) {
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(titled(title.to_owned())), area);
}

fn titled(title: String) -> Block<'static> {
    Block::new().title(Line::from(title).style(Style::new().fg(Color::Cyan)))
}

/// Returns a line for each verdict that has occurred, in descending order of the current rates.
fn verdict_lines(view: &View) -> impl Iterator<Item = Line<'static>> {
    let mut verdicts: Vec<Verdict> = Verdict::ALL.into_iter().filter(|&verdict| view.counters[verdict] > 0).collect();
    verdicts.sort_by_key(|&verdict| Reverse((view.rates[verdict], view.counters[verdict])));
    verdicts.into_iter().map(|verdict| {
        let (count, rate) = (short(view.counters[verdict]), short(view.rates[verdict]));
        Line::from(format!("{count:>8} {rate:>6}/s {}", verdict.description()))
    })
}

/// Returns a line for an event. The details that do not fit into 80 columns come last.
fn event_line(event: &ClientEvent) -> Line<'static> {
    let ClientEvent { interface, source, source_port, destination, port, event, time } = event;
    let time = humantime::format_rfc3339_millis(*time).to_string();
    let time_of_day = time.get(11..23).unwrap_or_default();
    let source = SocketAddr::new(*source, *source_port);
    Line::from(format!("{time_of_day} {event:9} port {port:<5} from {source}, for {destination} on {interface}"))
}

/// Shortens `text` to `width` columns. Keeps its start and its end, because addresses of one network differ at the end.
fn shortened(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_owned();
    }
    let (head, tail) = (width / 2, width - width / 2 - 1);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(text.len() - tail)).collect()
}

/// Returns `count`, rounded down to thousands, millions or billions if it is long. Counts below 10^14 take at most six
/// characters.
fn short(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{}k", count / 1000),
        10_000_000..10_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_long_text_in_the_middle() {
        assert_eq!(shortened("192.0.2.1", 9), "192.0.2.1");
        assert_eq!(shortened("2001:db8:1234:5678:9abc:def0:1234:5678", 17), "2001:db8…234:5678");
        assert_eq!(shortened("2001:db8::1:1", 12), "2001:d…::1:1");
    }
}
