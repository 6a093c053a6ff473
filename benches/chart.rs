//! Draws the bar charts of the cost of a SYN and of a handshake, from tables in the report.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::fs;

use crate::{cable, in_kernel};

/// The name of the server that all others are compared with.
const REFERENCE: &str = "tcp-bounce, native";

/// The bars: the name of the server in the table, and the label in the chart.
const BARS: [(&str, &str); 6] = [
    (REFERENCE, "tcp-bounce (native XDP)"),
    ("the article's program, native", "C program of the article"),
    ("`xdp_synproxy`, native", "xdp_synproxy"),
    ("nftables `synproxy`", "nftables SYNPROXY"),
    ("listener with SYN cookies", "kernel listener with SYN cookies"),
    ("NAT of all ports to one listener", "NAT redirect to one listener"),
];

/// The columns of the table: the cost above the cost of delivering a SYN, and its ratio to the reference.
const COST: usize = 2;
const RATIO: usize = 3;

/// The rows of the handshake's table.
const HANDSHAKE: [&str; 3] = ["SYN", "last ACK", "**whole handshake**"];

/// The columns of the handshake's table: the program's label in the chart, and the column with its cost.
const PROGRAMS: [(&str, usize); 2] = [("tcp-bounce", 1), ("the article's", 2)];

/// The colours of a variant of the chart.
struct Scheme {
    name: &'static str,
    background: &'static str,
    text: &'static str,
    muted: &'static str,
    grid: &'static str,
    bar: &'static str,
    reference: &'static str,
}

const SCHEMES: [Scheme; 2] = [
    Scheme {
        name: "light",
        background: "#ffffff",
        text: "#1f2328",
        muted: "#59636e",
        grid: "#d1d9e0",
        bar: "#afb8c1",
        reference: "#0969da",
    },
    Scheme {
        name: "dark",
        background: "#0d1117",
        text: "#f0f6fc",
        muted: "#9198a1",
        grid: "#30363d",
        bar: "#656c76",
        reference: "#4493f8",
    },
];

/// The width of the chart, as pages show it, and the height of a bar with its margin, in pixels.
const WIDTH: f64 = 830.0;
const PITCH: f64 = 38.0;
const BAR: f64 = 22.0;
/// The margin above the first bar and below the last one of a panel.
const TOP: f64 = 56.0;
const BOTTOM: f64 = 58.0;
/// The left and right ends of the scale. The labels are left of it, and the figures of the longest bar end right of it.
const LEFT: f64 = 262.0;
const RIGHT: f64 = 700.0;

/// A bar chart. The scale is linear and starts at zero.
struct Panel {
    title: &'static str,
    /// The description of the scale.
    scale: &'static str,
    /// The distance between lines of the grid, in nanoseconds.
    grid: u32,
    bars: Vec<Bar>,
}

/// A bar of the chart.
struct Bar {
    label: String,
    /// The cost, in nanoseconds.
    cost: f64,
    /// The figure beside the bar.
    figure: String,
    /// The text beside the figure, which may be empty.
    note: String,
    is_reference: bool,
}

/// Writes `benchmarks-light.svg` and `benchmarks-dark.svg` to `folder`, from a report.
///
/// # Errors
///
/// The report does not have the tables, or a file cannot be written.
pub fn draw(report: &str, folder: &str) -> Result<(), Box<dyn Error>> {
    let panels = [cable_panel(report)?, handshake_panel(report)?];
    for scheme in SCHEMES {
        fs::write(format!("{folder}/benchmarks-{}.svg", scheme.name), svg(&panels, &scheme)?)?;
    }
    Ok(())
}

/// Returns the chart of the cost of a SYN across a veth pair. Leaves out programs that were not measured.
fn cable_panel(report: &str) -> Result<Panel, Box<dyn Error>> {
    let mut bars = Vec::new();
    for cells in rows(report, cable::SECTION, cable::TABLE)? {
        let Some((name, label)) = BARS.into_iter().find(|(name, _)| *name == cells[0]) else { continue };
        let [cost, ratio] = [COST, RATIO].map(|column| cells.get(column).copied().unwrap_or_default());
        bars.push(Bar {
            label: label.to_owned(),
            cost: cost.parse()?,
            figure: format!("{ratio} ×"),
            note: format!("{cost} ns"),
            is_reference: name == REFERENCE,
        });
    }
    if !bars.iter().any(|bar| bar.is_reference) {
        return Err(format!("the table of the chart lacks {REFERENCE:?}").into());
    }
    bars.sort_by(|one, other| one.cost.total_cmp(&other.cost));
    Ok(Panel {
        title: "The cost of answering a SYN (tcp-bounce = 1)",
        scale: "ns per SYN across a veth pair, cost of delivering the SYN subtracted",
        grid: 1000,
        bars,
    })
}

/// Returns the chart of the cost of a handshake in the program. Leaves out the article's program if it was not
/// measured.
fn handshake_panel(report: &str) -> Result<Panel, Box<dyn Error>> {
    let rows = rows(report, in_kernel::SECTION, in_kernel::HANDSHAKE)?;
    let mut bars = Vec::new();
    for name in HANDSHAKE {
        let cells = rows.iter().find(|cells| cells[0] == name);
        let cells = cells.ok_or_else(|| format!("the table of the chart lacks {name:?}"))?;
        for (program, column) in PROGRAMS {
            let cost = cells.get(column).copied().unwrap_or_default();
            if cost != "-" {
                bars.push(Bar {
                    label: format!("{program}, {}", name.trim_matches('*')),
                    cost: cost.parse()?,
                    figure: format!("{cost} ns"),
                    note: String::new(),
                    is_reference: column == 1,
                });
            }
        }
    }
    Ok(Panel {
        title: "The cost of a handshake in the XDP program",
        scale: "ns per packet, without the kernel's work before and after the program",
        grid: 20,
        bars,
    })
}

/// Returns the cells of each row of a table in `section`. `header` is the first cell of the table's first line.
fn rows<'a>(report: &'a str, section: &str, header: &str) -> Result<Vec<Vec<&'a str>>, Box<dyn Error>> {
    let (_, text) =
        report.split_once(&format!("\n## {section}\n")).ok_or("the report lacks the section of the chart")?;
    let lines = text.lines().take_while(|line| !line.starts_with("## "));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    let mut table = cells.skip_while(|cells| cells[0] != header).take_while(|cells| cells.len() > 1);
    // The second line separates the header from the rows.
    table.by_ref().nth(1).ok_or_else(|| format!("the section {section:?} lacks the table {header:?}"))?;
    Ok(table.collect())
}

/// Returns the SVG file of a variant, with the panels one below the other.
fn svg(panels: &[Panel], scheme: &Scheme) -> Result<String, Box<dyn Error>> {
    let height: f64 = panels.iter().map(Panel::height).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif\" font-size=\"14\">\n\
         <title>The cost of answering a SYN, relative to tcp-bounce, and the cost of a handshake</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"{}\"/>\n",
        scheme.background,
    );
    let mut top = 0.0;
    for panel in panels {
        writeln!(svg, "<g transform=\"translate(0 {top})\">")?;
        panel.draw(&mut svg, scheme)?;
        writeln!(svg, "</g>")?;
        top += panel.height();
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

impl Panel {
    /// Returns the lower end of the bars, in pixels from the top of the panel.
    fn base(&self) -> f64 {
        TOP + PITCH * self.bars.len() as f64
    }

    fn height(&self) -> f64 {
        self.base() + BOTTOM
    }

    /// Returns the horizontal position of a cost, in pixels, if the scale has `steps` steps.
    fn x(&self, cost: f64, steps: u32) -> f64 {
        LEFT + cost / f64::from(steps * self.grid) * (RIGHT - LEFT)
    }

    fn draw(&self, svg: &mut String, scheme: &Scheme) -> fmt::Result {
        let Scheme { text, muted, grid, .. } = scheme;
        let highest = self.bars.iter().map(|bar| bar.cost).fold(f64::from(self.grid), f64::max);
        let steps = (highest / f64::from(self.grid)).ceil() as u32;
        let (top, base) = (TOP - 6.0, self.base());
        let small = |x: f64, y: f64| {
            format!("<text x=\"{x:.1}\" y=\"{y}\" font-size=\"13\" text-anchor=\"middle\" fill=\"{muted}\">")
        };
        writeln!(
            svg,
            "<text x=\"16\" y=\"30\" font-size=\"16\" font-weight=\"600\" fill=\"{text}\">{}</text>",
            self.title
        )?;
        for step in 0..=steps {
            let value = step * self.grid;
            let x = self.x(value.into(), steps);
            writeln!(svg, "<path d=\"M{x:.1} {top}V{base}\" fill=\"none\" stroke=\"{grid}\"/>")?;
            writeln!(svg, "{}{value}</text>", small(x, base + 18.0))?;
        }
        writeln!(svg, "{}{}</text>", small(f64::midpoint(LEFT, RIGHT), base + 42.0), self.scale)?;
        for (bar, index) in self.bars.iter().zip(0u32..) {
            let top = TOP + PITCH * f64::from(index) + (PITCH - BAR) / 2.0 - 4.0;
            bar.draw(svg, scheme, top, self.x(bar.cost, steps))?;
        }
        Ok(())
    }
}

impl Bar {
    /// Draws the bar, with its label to the left and its figure to the right. `top` and `right` are its upper and right
    /// edges in pixels.
    fn draw(&self, svg: &mut String, scheme: &Scheme, top: f64, right: f64) -> fmt::Result {
        let Scheme { background, text, muted, .. } = scheme;
        let Self { label, figure, note, .. } = self;
        let baseline = top + BAR / 2.0 + 5.0;
        let (fill, weight) = if self.is_reference { (scheme.reference, 600) } else { (scheme.bar, 400) };
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\" font-weight=\"{weight}\" fill=\"{text}\">{label}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>\n\
             <text x=\"{:.1}\" y=\"{baseline}\" fill=\"{muted}\" stroke=\"{background}\" stroke-width=\"5\" paint-order=\"stroke\">\
             <tspan font-weight=\"600\" fill=\"{text}\">{figure}</tspan><tspan dx=\"8\" font-size=\"13\">{note}</tspan></text>",
            LEFT - 12.0,
            right - LEFT,
            right + 8.0,
        )
    }
}
