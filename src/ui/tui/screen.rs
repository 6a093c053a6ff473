//! What `--watch` shows, drawn.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Sparkline};
use tcp_bounce_wire::{Counters, Verdict};

use super::heat_map::Heat;
use crate::telemetry::client_event::ClientEvent;

/// The smallest screen that everything has a place on.
const LEAST: (u16, u16) = (80, 20);

/// How long an IPv6 address may be, as text.
const LONGEST_ADDRESS: u16 = 39;

/// What is to be seen.
#[derive(Default)]
pub struct View {
    /// Interfaces and modes.
    pub title: String,
    /// How long it has been running.
    pub elapsed: Duration,
    /// What was counted in all, and each second lately.
    pub counters: Counters,
    /// The same each second, lately.
    pub rates: Counters,
    /// How many SYNs were answered in each of the last seconds.
    pub history: Vec<u64>,
    /// How often each port was asked for.
    pub heat: Heat,
    /// The ports that were asked for most.
    pub ports: Vec<(u16, u64)>,
    /// The clients that asked most.
    pub sources: Vec<(IpAddr, u64)>,
    /// What clients did last; the newest is the last.
    pub events: Vec<ClientEvent>,
}

/// Draws it.
pub fn draw(frame: &mut Frame, view: &View) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (width, height) = LEAST;
        let text = format!("too small: {width}x{height} would do\nq ends it");
        return frame.render_widget(Paragraph::new(text), area);
    }
    let lists = if area.height >= 40 { 10 } else { 6 };
    let [title, rate, map, tables, events] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Fill(1),
        Constraint::Length(lists),
        Constraint::Length(lists - 1),
    ])
    .areas(area);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(26)]).areas(title);
    frame.render_widget(Line::from(view.title.as_str()).bold(), left);
    let running = format!("{}, q ends it", HumanDuration(view.elapsed));
    frame.render_widget(Line::from(running).right_aligned(), right);
    draw_rate(frame, rate, view);
    draw_map(frame, map, view);
    // Those of IPv4 fit in any case, and on a wide screen all.
    let address = if area.width >= 140 { LONGEST_ADDRESS } else { 17 };
    let [verdicts, ports, sources] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(14), Constraint::Length(9 + address)])
            .spacing(2)
            .areas(tables);
    draw_verdicts(frame, verdicts, view);
    let line = |count: u64, name: String| Line::from(format!("{:>8} {name}", short(count)));
    list(frame, ports, "SYNs by port", view.ports.iter().map(|&(port, count)| line(count, port.to_string())));
    let source = |&(source, count): &(IpAddr, u64)| line(count, shortened(&source.to_string(), address.into()));
    list(frame, sources, "SYNs by client", view.sources.iter().map(source));
    let room = usize::from(events.height.saturating_sub(1));
    let newest = view.events.iter().rev().take(room).rev().map(newest);
    list(frame, events, "newest", newest);
}

/// A line for an event: what a screen of 80 columns has room for, the rest behind it.
fn newest(client_event: &ClientEvent) -> Line<'static> {
    let ClientEvent { interface, source, source_port, destination, port, event, .. } = client_event;
    let time = humantime::format_rfc3339_millis(client_event.time).to_string();
    // The time of the day.
    let time = time.get(11..23).unwrap_or_default().to_owned();
    let source = SocketAddr::new(*source, *source_port);
    Line::from(format!("{time} {event:9} port {port:<5} from {source}, for {destination} on {interface}"))
}

/// The beginning and the end of what is too long: two addresses of one network differ at the end.
fn shortened(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_owned();
    }
    let (head, tail) = (width / 2, width - width / 2 - 1);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(text.len() - tail)).collect()
}

fn block(title: &str) -> Block<'_> {
    Block::new().title(Line::from(title).style(Style::new().fg(Color::Cyan)))
}

fn list<'a>(frame: &mut Frame, area: Rect, title: &str, lines: impl Iterator<Item = Line<'a>>) {
    let block = Block::new().title(Line::from(title.to_owned()).style(Style::new().fg(Color::Cyan)));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn draw_map(frame: &mut Frame, area: Rect, view: &View) {
    let inner = block("").inner(area);
    let count = view.heat.ports_in_each(inner);
    let title = format!("ports 0 to 65535, row by row, {count} to a place: the brighter, the later asked for");
    frame.render_widget(block(&title), area);
    frame.render_widget(&view.heat, inner);
}

fn draw_rate(frame: &mut Frame, area: Rect, view: &View) {
    let (now, all) = (view.rates[Verdict::Answered], view.counters[Verdict::Answered]);
    let completed = view.counters.completed();
    let title = format!(
        "SYNs answered: {} ({}/s, drawn below), completed: {} ({}/s)",
        HumanCount(all),
        HumanCount(now),
        HumanCount(completed),
        HumanCount(view.rates.completed())
    );
    let block = block(&title);
    let width = usize::from(area.width);
    let history = &view.history[view.history.len().saturating_sub(width)..];
    frame.render_widget(Sparkline::default().block(block).data(history).style(Style::new().fg(Color::Green)), area);
}

/// Those that have happened, the most frequent of late first.
fn draw_verdicts(frame: &mut Frame, area: Rect, view: &View) {
    let mut verdicts: Vec<Verdict> = Verdict::ALL.into_iter().filter(|&verdict| view.counters[verdict] > 0).collect();
    verdicts.sort_by_key(|&verdict| std::cmp::Reverse((view.rates[verdict], view.counters[verdict])));
    let line = |verdict: Verdict| {
        let (count, rate) = (short(view.counters[verdict]), short(view.rates[verdict]));
        Line::from(format!("{count:>8} {rate:>6}/s {}", verdict.description()))
    };
    list(frame, area, "packets", verdicts.into_iter().map(line));
}

/// A number in a few digits.
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
    fn what_is_too_long_keeps_its_beginning_and_its_end() {
        assert_eq!(shortened("192.0.2.1", 9), "192.0.2.1");
        assert_eq!(shortened("2001:db8:1234:5678:9abc:def0:1234:5678", 17), "2001:db8…234:5678");
        assert_eq!(shortened("2001:db8::1:1", 12), "2001:d…::1:1");
    }
}
