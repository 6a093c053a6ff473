//! Prints the results as they come. After a complete run, writes them and a chart to the documentation.

use std::error::Error;
use std::fmt::Display;
use std::process::Command;
use std::{env, fs};

use comfy_table::{CellAlignment, Table, presets};
use nix::sys::utsname::uname;

use crate::chart;

/// The file of the report.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/internals/benchmarks.md");
/// The directory of the chart.
const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images");

/// The results so far.
pub struct Report {
    heading: String,
    sections: String,
    targets: Vec<[String; 4]>,
}

impl Report {
    /// Creates a report with a description of the machine and of the commit.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self { heading: heading()?, sections: String::new(), targets: Vec::new() })
    }

    /// Starts a section.
    pub fn section(&mut self, title: &str, explanation: &str) {
        self.print(&format!("\n## {title}\n\n{explanation}"));
    }

    /// Adds a paragraph of Markdown.
    pub fn paragraph(&mut self, text: &str) {
        self.print(&format!("\n{text}"));
    }

    /// Adds a table. All columns but the first are aligned to the right, for numbers.
    pub fn table(&mut self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
        table.add_rows(rows);
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        self.print(&format!("\n{table}"));
    }

    /// Adds a target with an upper limit, and the measured value.
    pub fn at_most(&mut self, name: &str, limit: f64, unit: &str, value: f64) {
        self.target(name, format!("at most {limit}{unit}"), format!("{}{unit}", rounded(value)), value <= limit);
    }

    /// Adds a target with a lower limit, and the measured value.
    pub fn at_least(&mut self, name: &str, limit: f64, unit: &str, value: f64) {
        self.target(name, format!("at least {limit}{unit}"), format!("{}{unit}", rounded(value)), value >= limit);
    }

    fn target(&mut self, name: &str, limit: String, value: String, is_met: bool) {
        self.targets.push([name.to_owned(), limit, value, if is_met { "yes" } else { "**no**" }.to_owned()]);
    }

    fn print(&mut self, text: &str) {
        println!("{text}");
        self.sections.push_str(text);
        self.sections.push('\n');
    }

    /// Ends the report with a table of all targets, if there are any.
    pub fn finish(&mut self) {
        let targets = std::mem::take(&mut self.targets);
        if targets.is_empty() {
            return;
        }
        self.section("Targets", "The targets, and the results of this run.");
        self.table(&["", "target", "measured", "met"], targets.into_iter().map(Vec::from));
    }

    /// Writes the report and its chart.
    pub fn write(&self) -> Result<(), Box<dyn Error>> {
        let text = format!("{}{}", self.heading, self.sections);
        fs::write(FILE, &text)?;
        chart::draw(&text, IMAGES)
    }
}

/// Draws the chart again, with the figures of the last report.
pub fn redraw_chart() -> Result<(), Box<dyn Error>> {
    chart::draw(&fs::read_to_string(FILE)?, IMAGES)
}

/// Returns the heading, which describes how the report was made and on which machine.
fn heading() -> Result<String, Box<dyn Error>> {
    let kernel = uname()?;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let family = format!("family {}, model {}", field("cpu family"), field("model"));
    let cpus = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let is_virtual = cpu.contains(" hypervisor ");
    let guard = fs::read_to_string("/sys/devices/system/cpu/vulnerabilities/spec_rstack_overflow").unwrap_or_default();
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = commit.ok().filter(|commit| commit.status.success()).map_or("unknown".into(), |commit| commit.stdout);
    let objects = ["PEER_OBJ", "SYNPROXY_OBJ"]
        .map(|name| if env::var_os(name).is_some() { format!("{name}=FILE ") } else { String::new() });
    Ok(format!(
        "# Benchmarks\n\n\
         One run of `{}make bench`, as root, wrote this file and the chart. Absolute times differ between machines, runs and tables, \
         so only ratios within a table are meaningful. A ratio is the median of the ratios of all turns, and may differ from the ratio \
         of the medians beside it. [performance.md](performance.md) explains the measurements and their results.\n\n\
         - commit: {}\n- machine: {} ({family}), {cpus} CPUs{}\n- kernel: {} {}\n- guard for returns from functions (`spec_rstack_overflow`): {}\n\n\
         <picture>\n  \
         <source media=\"(prefers-color-scheme: dark)\" srcset=\"../images/benchmarks-dark.svg\">\n  \
         <img src=\"../images/benchmarks-light.svg\" alt=\"The time to answer a SYN across a veth pair, and the time of a handshake in the program\">\n\
         </picture>\n",
        objects.concat(),
        String::from_utf8_lossy(&commit).trim(),
        field("model name"),
        if is_virtual { " of a virtual machine" } else { "" },
        kernel.sysname().display(),
        kernel.release().display(),
        guard.trim(),
    ))
}

/// Formats a number with three decimals below 1, two below 10, one below 100, and none from 100 on. Formats zero
/// without decimals.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// Formats a share between 0 and 1 as a percentage.
pub fn percent(share: f64) -> String {
    format!("{} %", rounded(100.0 * share))
}

/// Returns the median: with an even number of values, the upper of the two middle ones. Panics if there are no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns a row of a table, with a name in the first column and figures in the others.
pub fn row(name: impl Display, figures: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_string()).chain(figures).collect()
}
