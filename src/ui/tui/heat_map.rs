//! The heat map: all 65,536 ports in a rectangle, brightest where SYNs arrived most recently.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::Span;
use ratatui::widgets::Widget;

/// The number of TCP ports.
const PORTS: usize = 1 << u16::BITS;

/// The factor by which an update multiplies the heat of a port that received no SYN since the previous update.
const COOLING: f32 = 0.93;

/// The colours of the heat map, as indices of the 256-colour palette of terminals.
///
/// The first colour is for ports without SYNs. The others range from cold to hot.
const COLOURS: [u8; 9] = [235, 22, 28, 34, 70, 112, 184, 220, 231];

/// The characters that replace [`COLOURS`] if `NO_COLOR` is set.
const SHADES: [&str; 9] = [" ", "░", "░", "▒", "▒", "▒", "▓", "▓", "█"];

/// The number of SYNs to each port, and the heat of each port.
///
/// A port's heat is 1 when a SYN arrives, and decreases with each update after that. The heat map is drawn in parts of
/// equal size, each for a range of ports.
pub struct HeatMap {
    counts: Vec<u64>,
    heat: Vec<f32>,
    palette: Palette,
}

/// The drawing style of a heat map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// Uses [`COLOURS`], and draws two rows of parts in each row of the screen.
    Colours,
    /// Uses [`SHADES`], and draws one row of parts in each row of the screen.
    Shades,
}

impl HeatMap {
    /// Creates an empty heat map.
    pub fn new(palette: Palette) -> Self {
        Self { counts: vec![0; PORTS], heat: vec![0.0; PORTS], palette }
    }

    /// Returns the number of ports in each part of a heat map that fills `area`, rounded up.
    pub fn ports_per_part(&self, area: Rect) -> usize {
        PORTS.div_ceil(usize::from(area.width).max(1) * self.rows(area).max(1))
    }

    /// Returns the number of rows of parts in `area`.
    fn rows(&self, area: Rect) -> usize {
        let rows_per_cell = match self.palette {
            Palette::Colours => 2,
            Palette::Shades => 1,
        };
        usize::from(area.height) * rows_per_cell
    }

    /// Returns the first port of the row at `y` below the top of a heat map that fills `area`.
    pub fn first_port(&self, area: Rect, y: u16) -> usize {
        let rows = self.rows(area).max(1);
        usize::from(y) * (rows / usize::from(area.height).max(1)) * PORTS / rows
    }

    /// Returns a sample of each colour or shade: first that of ports without SYNs, then from cold to hot.
    pub fn legend(&self) -> [Span<'static>; COLOURS.len()] {
        std::array::from_fn(|level| match self.palette {
            Palette::Colours => Span::styled("█", Style::new().fg(Color::Indexed(COLOURS[level]))),
            Palette::Shades if level == 0 => Span::raw("blank"),
            Palette::Shades => Span::raw(SHADES[level]),
        })
    }

    /// Heats ports that received SYNs since the last update, and cools the others.
    ///
    /// `count` returns the total number of SYNs to a port.
    pub fn update(&mut self, count: impl Fn(u16) -> u64) {
        for ((port, last), heat) in (0..=u16::MAX).zip(&mut self.counts).zip(&mut self.heat) {
            let now = count(port);
            *heat = if now > *last { 1.0 } else { *heat * COOLING };
            *last = now;
        }
    }

    /// Returns each port that received SYNs, with the number of SYNs.
    pub fn counts(&self) -> impl Iterator<Item = (u16, u64)> {
        (0..=u16::MAX).zip(self.counts.iter().copied()).filter(|&(_, count)| count > 0)
    }

    /// Returns the heat of the hottest port in one of `parts` equal parts, as an index of [`COLOURS`] or [`SHADES`].
    ///
    /// The index is 0 only if no port of the part received a SYN.
    fn level(&self, part: usize, parts: usize) -> usize {
        let [first, end] = [part, part + 1].map(|part| part * PORTS / parts);
        // If there are more parts than ports, some ports fill several parts.
        let ports = first..end.max(first + 1).min(PORTS);
        if self.counts[ports.clone()].iter().all(|&count| count == 0) {
            return 0;
        }
        let heat = self.heat[ports].iter().copied().fold(0.0, f32::max);
        let hottest = COLOURS.len() - 1;
        (1 + (heat * (hottest - 1) as f32) as usize).min(hottest)
    }
}

impl Widget for &HeatMap {
    /// Draws the parts row by row, from port 0 to port 65535.
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let parts = width * self.rows(area);
        for y in 0..area.height {
            for x in 0..area.width {
                let level = |row| self.level(row * width + usize::from(x), parts);
                let colour = |row| Color::Indexed(COLOURS[level(row)]);
                let row = usize::from(y);
                let (symbol, style) = match self.palette {
                    Palette::Shades => (SHADES[level(row)], Style::new()),
                    // The upper half of the cell has the foreground colour, the lower half the background colour.
                    Palette::Colours => ("▀", Style::new().fg(colour(2 * row)).bg(colour(2 * row + 1))),
                };
                buffer.set_string(area.x + x, area.y + y, symbol, style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLD: Color = Color::Indexed(COLOURS[0]);
    const HOT: Color = Color::Indexed(COLOURS[8]);

    /// Renders a heat map with colours, and returns the colours of its parts.
    fn render(map: &HeatMap, width: u16, height: u16) -> Vec<Color> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        map.render(area, &mut buffer);
        let rows = (0..height).flat_map(|y| [false, true].map(|is_lower| (y, is_lower)));
        let colour = |x, y, is_lower| if is_lower { buffer[(x, y)].bg } else { buffer[(x, y)].fg };
        rows.flat_map(|(y, is_lower)| (0..width).map(move |x| (x, y, is_lower)))
            .map(|(x, y, is_lower)| colour(x, y, is_lower))
            .collect()
    }

    #[test]
    fn draws_shades_without_colours() {
        let mut map = HeatMap::new(Palette::Shades);
        map.update(|port| u64::from(port == 40_000));
        let area = Rect::new(0, 0, 10, 10);
        let mut buffer = Buffer::empty(area);
        map.render(area, &mut buffer);
        let hot = buffer.content().iter().enumerate().filter(|(_, cell)| cell.symbol() == "█");
        assert_eq!(hot.map(|(index, _)| index).collect::<Vec<_>>(), [40_000 * 100 / PORTS]);
        assert_eq!(buffer.content().iter().filter(|cell| cell.symbol() == " ").count(), 99);
    }

    #[test]
    fn each_row_starts_with_its_first_port() {
        for palette in [Palette::Colours, Palette::Shades] {
            let map = HeatMap::new(palette);
            let first_ports = |height| (0..height).map(|y| map.first_port(Rect::new(0, 0, 10, height), y)).collect();
            let (four, seven): (Vec<_>, Vec<_>) = (first_ports(4), first_ports(7));
            assert_eq!(four, [0, 16384, 32768, 49152]);
            assert_eq!(seven, [0, 9362, 18724, 28086, 37449, 46811, 56173]);
        }
    }

    #[test]
    fn shows_each_port_at_every_size() {
        for (width, height) in [(78, 8), (1, 1), (200, 50), (300, 300), (3, 7)] {
            for port in [0, 1, 22, 80, 32_767, 32_768, 65_534, 65_535] {
                let mut map = HeatMap::new(Palette::Colours);
                map.update(|other| u64::from(other == port));
                let colours = render(&map, width, height);
                let part = usize::from(port) * colours.len() / PORTS;
                let hot: Vec<usize> = (0..colours.len()).filter(|&part| colours[part] == HOT).collect();
                // If there are more parts than ports, a port fills several adjacent parts.
                let most = colours.len().div_ceil(PORTS);
                assert!((1..=most).contains(&hot.len()), "{port} at {width}x{height}: {hot:?}");
                assert!(hot.iter().all(|hot| hot.abs_diff(part) <= most), "{port} at {width}x{height}: {hot:?}");
                assert!(colours.iter().all(|&colour| [HOT, COLD].contains(&colour)));
            }
        }
    }

    #[test]
    fn cools_ports_but_keeps_them_visible() {
        let mut map = HeatMap::new(Palette::Colours);
        map.update(|port| u64::from(port == 80));
        let mut last = HOT;
        for _ in 0..200 {
            map.update(|port| u64::from(port == 80));
            let colours = render(&map, 10, 5);
            last = *colours.iter().find(|&&colour| colour != COLD).expect("the port stays visible");
        }
        assert_eq!(last, Color::Indexed(COLOURS[1]));
        map.update(|port| 2 * u64::from(port == 80));
        assert!(render(&map, 10, 5).contains(&HOT), "a second SYN heats the port again");
        assert_eq!(map.counts().collect::<Vec<_>>(), [(80, 2)]);
    }
}
