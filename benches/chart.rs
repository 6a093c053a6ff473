//! Draws the bar chart of the cost of a SYN, from the table in the report.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;

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

/// The width of the chart, as pages show it, and the height of a bar with its margin.
const WIDTH: f64 = 830.0;
const PITCH: f64 = 38.0;
const BAR: f64 = 22.0;
/// The margin above the first bar and below the last one.
const TOP: f64 = 56.0;
const BOTTOM: f64 = 58.0;
/// The left and right ends of the scale. The labels are left of it, and the figures of the longest bar end right of it.
const LEFT: f64 = 262.0;
const RIGHT: f64 = 700.0;
/// The distance between lines of the grid, in nanoseconds.
const GRID: u32 = 1000;

/// A bar of the chart.
struct Bar {
    label: &'static str,
    /// The cost of a SYN, in nanoseconds.
    cost: f64,
    /// The cost as the report prints it.
    printed_cost: String,
    /// The cost relative to tcp-bounce, as the report prints it.
    ratio: String,
    is_reference: bool,
}

/// Writes `benchmarks-light.svg` and `benchmarks-dark.svg` to `folder`, from a report that contains `section`.
///
/// # Errors
///
/// The section does not have the table, or a file cannot be written.
pub fn draw(report: &str, section: &str, folder: &str) -> Result<(), Box<dyn Error>> {
    let bars = bars(report, section)?;
    for scheme in SCHEMES {
        fs::write(format!("{folder}/benchmarks-{}.svg", scheme.name), svg(&bars, &scheme)?)?;
    }
    Ok(())
}

/// Reads the bars from the table in `section`, and sorts them by cost. Leaves out programs that were not measured.
fn bars(report: &str, section: &str) -> Result<Vec<Bar>, Box<dyn Error>> {
    let (_, text) =
        report.split_once(&format!("\n## {section}\n")).ok_or("the report lacks the section of the chart")?;
    let table = text.lines().take_while(|line| !line.starts_with("## "));
    let mut bars = Vec::new();
    for line in table {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Some((name, label)) = BARS.into_iter().find(|(name, _)| *name == cells[0]) else { continue };
        let [cost, ratio] = [COST, RATIO].map(|column| cells.get(column).copied().unwrap_or_default());
        bars.push(Bar {
            label,
            cost: cost.parse()?,
            printed_cost: cost.to_owned(),
            ratio: ratio.to_owned(),
            is_reference: name == REFERENCE,
        });
    }
    if !bars.iter().any(|bar| bar.is_reference) {
        return Err(format!("the table of the chart lacks {REFERENCE:?}").into());
    }
    bars.sort_by(|one, other| one.cost.total_cmp(&other.cost));
    Ok(bars)
}

/// Returns the SVG file of a variant. The scale is linear and starts at zero.
fn svg(bars: &[Bar], scheme: &Scheme) -> Result<String, Box<dyn Error>> {
    let Scheme { background, text, muted, grid, .. } = scheme;
    let highest = bars.iter().map(|bar| bar.cost).fold(f64::from(GRID), f64::max);
    let steps = (highest / f64::from(GRID)).ceil() as u32;
    let x = |cost: f64| LEFT + cost / f64::from(steps * GRID) * (RIGHT - LEFT);
    let base = TOP + PITCH * bars.len() as f64;
    let height = base + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif\" font-size=\"14\">\n\
         <title>The cost of answering a SYN, relative to tcp-bounce</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"{background}\"/>\n\
         <text x=\"16\" y=\"30\" font-size=\"16\" font-weight=\"600\" fill=\"{text}\">\
         The cost of answering a SYN (tcp-bounce = 1)</text>\n",
    );
    for step in 0..=steps {
        let (x, value) = (x(f64::from(step * GRID)), step * GRID);
        let top = TOP - 6.0;
        writeln!(svg, "<path d=\"M{x:.1} {top}V{base}\" fill=\"none\" stroke=\"{grid}\"/>")?;
        let y = base + 18.0;
        writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y}\" font-size=\"13\" text-anchor=\"middle\" fill=\"{muted}\">{value}</text>"
        )?;
    }
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" font-size=\"13\" text-anchor=\"middle\" fill=\"{muted}\">\
         ns per SYN across a veth pair, cost of delivering the SYN subtracted</text>",
        f64::midpoint(LEFT, RIGHT),
        base + 42.0,
    )?;
    for (index, bar) in bars.iter().enumerate() {
        let top = TOP + PITCH * index as f64 + (PITCH - BAR) / 2.0 - 4.0;
        let baseline = top + BAR / 2.0 + 5.0;
        let (fill, weight) = if bar.is_reference { (scheme.reference, 600) } else { (scheme.bar, 400) };
        let Bar { label, cost, printed_cost, ratio, .. } = bar;
        let right = x(*cost);
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\" font-weight=\"{weight}\" fill=\"{text}\">{label}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>\n\
             <text x=\"{:.1}\" y=\"{baseline}\" fill=\"{muted}\" stroke=\"{background}\" stroke-width=\"5\" paint-order=\"stroke\">\
             <tspan font-weight=\"600\" fill=\"{text}\">{ratio} ×</tspan><tspan dx=\"8\" font-size=\"13\">{printed_cost} ns</tspan></text>",
            LEFT - 12.0,
            right - LEFT,
            right + 8.0,
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}
