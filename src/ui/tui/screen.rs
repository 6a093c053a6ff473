//! The layout of the full-screen view.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};
use tcp_bounce_wire::{Counters, Verdict};

use super::heat_map::HeatMap;
use crate::telemetry::{ClientEvent, CountedHandshakes};
use crate::ui::numbers::{grouped, rounded, short};
use crate::ui::verdicts;

/// The smallest screen that has room for the view, in columns and rows.
const MIN_SIZE: (u16, u16) = (80, 20);

/// The minimum screen height for slightly longer lists, in rows.
const MEDIUM: u16 = 28;

/// The minimum screen height for long lists, in rows.
const TALL: u16 = 40;

/// The width of the scales beside the graph and the heat map, in columns.
const SCALE_WIDTH: u16 = 7;

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
    /// The ports at which completed handshakes are counted.
    pub handshakes: CountedHandshakes,
    /// Whether the ports have the services of a profile.
    pub has_profile: bool,
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
    pub fn new(heat_map: HeatMap, handshakes: CountedHandshakes, has_profile: bool) -> Self {
        Self {
            title: String::new(),
            elapsed: Duration::ZERO,
            counters: Counters::default(),
            rates: Counters::default(),
            history: Vec::new(),
            handshakes,
            has_profile,
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
        let text = format!("terminal too small: needs {width}x{height}\npress q to quit");
        return frame.render_widget(Paragraph::new(text), area);
    }
    // At 20, 24, 28 and 40 rows, the heat map has 4, 8 or 16 rows, so that its scale has round numbers.
    let (rate_rows, list_rows, event_rows) = match area.height {
        TALL.. => (5, 9, 8),
        MEDIUM.. => (4, 7, 7),
        _ => (3, 6, 5),
    };
    let [title, rate, map, lists, events] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rate_rows),
        Constraint::Fill(1),
        Constraint::Length(list_rows),
        Constraint::Length(event_rows),
    ])
    .areas(area);
    draw_title(frame, title, view);
    draw_rate(frame, rate, view);
    draw_heat_map(frame, map, view);
    draw_lists(frame, lists, view);
    draw_events(frame, events, view);
}

fn draw_title(frame: &mut Frame, area: Rect, view: &View) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(34)]).areas(area);
    frame.render_widget(Line::from(view.title.as_str()).bold(), left);
    let seconds = Duration::from_secs(view.elapsed.as_secs());
    let elapsed = format!("running for {}, q to quit", rounded(seconds));
    frame.render_widget(Line::from(elapsed).right_aligned(), right);
}

/// Draws the totals and rates of answered SYNs and completed handshakes, and the history of the SYN rate.
fn draw_rate(frame: &mut Frame, area: Rect, view: &View) {
    let block = titled(Line::from(totals(view)));
    let [scale, graph] = beside_scale(block.inner(area));
    frame.render_widget(block, area);
    let history = &view.history[view.history.len().saturating_sub(graph.width.into())..];
    frame.render_widget(Sparkline::default().data(history).style(Style::new().fg(Color::Green)), graph);
    let highest = history.iter().copied().max().unwrap_or_default();
    let top = Line::from(format!("{}/s", short(highest))).right_aligned();
    frame.render_widget(Paragraph::new(top).dim(), scale);
    let bottom = Rect { y: scale.bottom().saturating_sub(1), height: 1, ..scale };
    frame.render_widget(Paragraph::new(Line::from("0/s").right_aligned()).dim(), bottom);
}

/// Returns the totals and rates of answered SYNs, and of completed handshakes if they are counted.
fn totals(view: &View) -> String {
    let (counters, rates) = (&view.counters, &view.rates);
    let (answered, rate) = (grouped(counters[Verdict::Answered]), short(rates[Verdict::Answered]));
    let handshakes = match view.handshakes {
        CountedHandshakes::All => "handshakes completed",
        CountedHandshakes::ExceptEcho => "completed (not echo)",
        CountedHandshakes::None => return format!("SYNs answered: {answered} ({rate}/s, graph)"),
    };
    let (completed, completed_rate) = (grouped(counters.completed()), short(rates.completed()));
    format!("SYNs answered: {answered} ({rate}/s, graph)  {handshakes}: {completed} ({completed_rate}/s)")
}

/// Splits `area` into a scale at the left, with a margin, and the rest.
fn beside_scale(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Length(SCALE_WIDTH), Constraint::Fill(1)]).spacing(1).areas(area)
}

/// Draws the heat map, a legend above it, and the first port of each row beside it.
fn draw_heat_map(frame: &mut Frame, area: Rect, view: &View) {
    let block = titled(Line::default());
    let [scale, map] = beside_scale(block.inner(area));
    let count = view.heat_map.ports_per_part(map);
    let title = if count == 1 { "ports 0-65535".to_owned() } else { format!("ports 0-65535, {count} per cell") };
    let [without, levels @ ..] = view.heat_map.legend();
    let mut legend = vec![Span::raw("no SYN yet "), without, Span::raw("  last SYN 3 s ago ")];
    legend.extend(levels);
    legend.push(Span::raw(" now"));
    frame.render_widget(titled(Line::from(title)).title(Line::from(legend).right_aligned()), area);
    let first_ports = (0..map.height).map(|y| Line::from(view.heat_map.first_port(map, y).to_string()).right_aligned());
    frame.render_widget(Paragraph::new(first_ports.collect::<Vec<_>>()).dim(), scale);
    frame.render_widget(&view.heat_map, map);
}

/// Draws verdicts, ports and clients next to each other.
fn draw_lists(frame: &mut Frame, area: Rect, view: &View) {
    // 15 columns have room for any IPv4 address and for a shortened IPv6 address.
    let address_width = if area.width >= WIDE { IPV6_LENGTH } else { 15 };
    let [verdicts, ports, sources] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(13), Constraint::Length(7 + address_width)])
            .spacing(2)
            .areas(area);
    draw_list(frame, verdicts, "packets", " total rate/s verdict".to_owned(), verdict_lines(view));
    let line = |count: u64, name: String| Line::from(format!("{:>6} {name}", short(count)));
    let port = |&(port, count): &(u16, u64)| line(count, port.to_string());
    draw_list(frame, ports, "busiest ports", "  SYNs port".to_owned(), view.ports.iter().map(port));
    let source = |&(source, count): &(IpAddr, u64)| line(count, shortened(&source.to_string(), address_width.into()));
    draw_list(frame, sources, "busiest clients", "  SYNs client".to_owned(), view.sources.iter().map(source));
}

fn draw_events(frame: &mut Frame, area: Rect, view: &View) {
    let rows = usize::from(area.height.saturating_sub(2));
    let first = view.events.len().saturating_sub(rows);
    // An IPv6 client has brackets, a colon and a port besides its address.
    let widths = if area.width >= WIDE { [IPV6_LENGTH + 8, IPV6_LENGTH] } else { [21, 15] };
    let [client_width, address_width] = widths.map(usize::from);
    let columns = |time: &str, event: &str, port: &str, client: &str, destination: &str, interface: &str| {
        format!(
            "{time:12} {event:12} {port:>5} {client:client_width$} {destination:address_width$} {interface}",
            client = shortened(client, client_width),
            destination = shortened(destination, address_width)
        )
    };
    let line = |event: &ClientEvent| {
        let ClientEvent { interface, source, source_port, destination, port, event, time, data } = event;
        let time = humantime::format_rfc3339_millis(*time).to_string();
        let time_of_day = time.get(11..23).unwrap_or_default();
        let client = SocketAddr::new(*source, *source_port).to_string();
        let data = data.as_ref().map(|data| format!(" {data}")).unwrap_or_default();
        let columns = columns(time_of_day, event, &port.to_string(), &client, &destination.to_string(), interface);
        Line::from(columns + &data)
    };
    let headings = columns("time (UTC)", "event", "port", "client", "address", "interface");
    draw_list(frame, area, "latest events", headings, view.events[first..].iter().map(line));
}

/// Draws `title`, the column headings, and as many of `lines` below them as fit.
fn draw_list<'a>(frame: &mut Frame, area: Rect, title: &str, headings: String, lines: impl Iterator<Item = Line<'a>>) {
    let lines = [Line::from(headings).dim()].into_iter().chain(lines).collect::<Vec<_>>();
    frame.render_widget(Paragraph::new(lines).block(titled(Line::from(title.to_owned()))), area);
}

fn titled(title: Line<'static>) -> Block<'static> {
    Block::new().title(title.style(Style::new().fg(Color::Cyan)))
}

/// Returns a line for each verdict that has occurred, in descending order of the current rates.
fn verdict_lines(view: &View) -> impl Iterator<Item = Line<'static>> {
    let mut verdicts: Vec<Verdict> = Verdict::ALL.into_iter().filter(|&verdict| view.counters[verdict] > 0).collect();
    verdicts.sort_by_key(|&verdict| Reverse((view.rates[verdict], view.counters[verdict])));
    verdicts.into_iter().map(|verdict| {
        let count = view.counters[verdict];
        let description = verdicts::description(verdict, count, view.has_profile);
        Line::from(format!("{:>6} {:>6} {description}", short(count), short(view.rates[verdict])))
    })
}

/// Shortens `text` to `width` columns. Keeps its start and its end, because addresses of one network differ at the end.
fn shortened(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_owned();
    }
    let (head, tail) = (width / 2, width - width / 2 - 1);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(text.len() - tail)).collect()
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
