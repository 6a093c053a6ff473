//! The port space as a heat map.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::widgets::Widget;

/// How many ports there are.
const PORTS: usize = 1 << u16::BITS;

/// How much of its heat a port keeps from one look to the next.
const COOLING: f32 = 0.93;

/// Of the 256 colours that terminals have: a port that nobody has asked for, then from cold to hot.
const COLOURS: [u8; 9] = [235, 22, 28, 34, 70, 112, 184, 220, 231];

/// The same without colours.
const SHADES: [&str; 9] = [" ", "░", "░", "▒", "▒", "▒", "▓", "▓", "█"];

/// How often each port was asked for, and how lately.
pub struct Heat {
    counts: Vec<u64>,
    heat: Vec<f32>,
    /// Whether it is drawn without colours.
    is_shaded: bool,
}

impl Heat {
    /// Nothing has been asked for.
    pub fn new() -> Self {
        Self { counts: vec![0; PORTS], heat: vec![0.0; PORTS], is_shaded: false }
    }

    /// The same for a terminal that shows no colours.
    pub fn shaded() -> Self {
        Self { is_shaded: true, ..Self::new() }
    }

    /// How many ports are a part of the map, where there is so much room.
    pub fn ports_in_each(&self, area: Rect) -> usize {
        PORTS.div_ceil(usize::from(area.width).max(1) * self.rows(area).max(1))
    }

    /// The parts one below the other.
    fn rows(&self, area: Rect) -> usize {
        usize::from(area.height) * if self.is_shaded { 1 } else { 2 }
    }

    /// Looks again at how often each port was asked for in all.
    pub fn look(&mut self, count: impl Fn(u16) -> u64) {
        for ((port, before), heat) in (0..=u16::MAX).zip(&mut self.counts).zip(&mut self.heat) {
            let now = count(port);
            *heat = if now > *before { 1.0 } else { *heat * COOLING };
            *before = now;
        }
    }

    /// How often each port was asked for, of those that were.
    pub fn counts(&self) -> impl Iterator<Item = (u16, u64)> {
        (0..=u16::MAX).zip(self.counts.iter().copied()).filter(|&(_, count)| count > 0)
    }

    /// How hot one of so many equal parts of the port space is: as its hottest port, as an index of [`COLOURS`].
    fn level(&self, part: usize, parts: usize) -> usize {
        let [first, end] = [part, part + 1].map(|part| part * PORTS / parts);
        // Of fewer ports than parts some are shown twice.
        let ports = first..end.max(first + 1).min(PORTS);
        let is_cold = self.counts[ports.clone()].iter().all(|&count| count == 0);
        let heat = self.heat[ports].iter().copied().fold(0.0, f32::max);
        let hottest = COLOURS.len() - 1;
        let level = if is_cold { 0 } else { 1 + (heat * (hottest - 1) as f32) as usize };
        level.min(hottest)
    }
}

impl Default for Heat {
    fn default() -> Self {
        Self::new()
    }
}

impl Widget for &Heat {
    /// Row by row from port 0 to 65535, with colours two parts one above the other in each cell.
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let parts = width * self.rows(area);
        for y in 0..area.height {
            for x in 0..area.width {
                let level = |row| self.level(row * width + usize::from(x), parts);
                let (symbol, style) = if self.is_shaded {
                    (SHADES[level(y.into())], Style::new())
                } else {
                    let colour = |row| Color::Indexed(COLOURS[level(row)]);
                    let upper = 2 * usize::from(y);
                    ("▀", Style::new().fg(colour(upper)).bg(colour(upper + 1)))
                };
                buffer.set_string(area.x + x, area.y + y, symbol, style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(heat: &Heat, width: u16, height: u16) -> Vec<Color> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        heat.render(area, &mut buffer);
        let rows = (0..height).flat_map(|y| [false, true].map(|lower| (y, lower)));
        let cell = |x, y, lower| if lower { buffer[(x, y)].bg } else { buffer[(x, y)].fg };
        rows.flat_map(|(y, lower)| (0..width).map(move |x| (x, y, lower)))
            .map(|(x, y, lower)| cell(x, y, lower))
            .collect()
    }

    #[test]
    fn without_colours_it_is_shaded() {
        let mut heat = Heat::shaded();
        heat.look(|port| u64::from(port == 40_000));
        let area = Rect::new(0, 0, 10, 10);
        let mut buffer = Buffer::empty(area);
        heat.render(area, &mut buffer);
        let hot = buffer.content().iter().enumerate().filter(|(_, cell)| cell.symbol() == "█");
        assert_eq!(hot.map(|(index, _)| index).collect::<Vec<_>>(), [40_000 * 100 / PORTS]);
        assert_eq!(buffer.content().iter().filter(|cell| cell.symbol() == " ").count(), 99);
    }

    const COLD: Color = Color::Indexed(COLOURS[0]);
    const HOT: Color = Color::Indexed(COLOURS[8]);

    #[test]
    fn each_port_is_somewhere_whatever_the_size() {
        for (width, height) in [(78, 8), (1, 1), (200, 50), (300, 300), (3, 7)] {
            for port in [0, 1, 22, 80, 32_767, 32_768, 65_534, 65_535] {
                let mut heat = Heat::new();
                heat.look(|other| u64::from(other == port));
                let colours = render(&heat, width, height);
                let part = usize::from(port) * colours.len() / PORTS;
                let hot: Vec<usize> = (0..colours.len()).filter(|&part| colours[part] == HOT).collect();
                // Where there are more parts than ports, it has some that lie next to each other.
                let several = colours.len().div_ceil(PORTS);
                assert!((1..=several).contains(&hot.len()), "{port} at {width}x{height}: {hot:?}");
                assert!(hot.iter().all(|hot| hot.abs_diff(part) <= several), "{port} at {width}x{height}: {hot:?}");
                assert!(colours.iter().all(|&colour| [HOT, COLD].contains(&colour)));
            }
        }
    }

    #[test]
    fn what_was_asked_for_cools_but_is_never_cold_again() {
        let mut heat = Heat::new();
        heat.look(|port| u64::from(port == 80));
        let mut last = HOT;
        for _ in 0..200 {
            heat.look(|port| u64::from(port == 80));
            let colours = render(&heat, 10, 5);
            last = *colours.iter().find(|&&colour| colour != COLD).expect("it is still to be seen");
        }
        assert_eq!(last, Color::Indexed(COLOURS[1]));
        heat.look(|port| 2 * u64::from(port == 80));
        assert!(render(&heat, 10, 5).contains(&HOT), "it is asked for again");
        assert_eq!(heat.counts().collect::<Vec<_>>(), [(80, 2)]);
    }
}
