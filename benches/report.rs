//! What was measured, in words, tables and a chart: printed as it comes, and written to `docs` when all of it is there.

use std::error::Error;
use std::fmt::Display;
use std::process::Command;
use std::{env, fs};

use comfy_table::{CellAlignment, Table, presets};
use nix::sys::utsname::uname;

use crate::chart;

/// Where it is written to.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");

/// What was measured so far.
pub struct Report {
    heading: String,
    sections: String,
    targets: Vec<[String; 4]>,
    bars: Vec<(String, f64)>,
}

impl Report {
    /// Nothing yet but what it depends on: until the end, a change in the tree would be one of what is measured.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self { heading: heading()?, sections: String::new(), targets: Vec::new(), bars: Vec::new() })
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str, explanation: &str) {
        self.say(&format!("\n## {title}\n\n{explanation}"));
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.say(&format!("\n{text}"));
    }

    /// Adds a table whose columns, but for the first, hold numbers.
    pub fn table(&mut self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
        table.add_rows(rows);
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        self.say(&format!("\n{table}"));
    }

    /// Compares a figure with the most that it may be.
    pub fn at_most(&mut self, what: &str, limit: f64, unit: &str, value: f64) {
        self.target(what, format!("at most {limit}{unit}"), format!("{}{unit}", rounded(value)), value <= limit);
    }

    /// Compares a figure with the least that it may be.
    pub fn at_least(&mut self, what: &str, limit: f64, unit: &str, value: f64) {
        self.target(what, format!("at least {limit}{unit}"), format!("{}{unit}", rounded(value)), value >= limit);
    }

    fn target(&mut self, what: &str, limit: String, value: String, is_met: bool) {
        self.targets.push([what.to_owned(), limit, value, if is_met { "yes" } else { "**no**" }.to_owned()]);
    }

    /// Adds a bar to the chart: nanoseconds per SYN.
    pub fn bar(&mut self, name: &str, cost: f64) {
        self.bars.push((name.replace('`', ""), cost));
    }

    fn say(&mut self, text: &str) {
        println!("{text}");
        self.sections.push_str(text);
        self.sections.push('\n');
    }

    /// Ends with the targets.
    pub fn finish(&mut self) {
        let targets = std::mem::take(&mut self.targets);
        if targets.is_empty() {
            return;
        }
        self.section("Targets", "What it should be, and what it was in this run.");
        self.table(&["", "target", "measured", "met"], targets.into_iter().map(Vec::from));
    }

    /// Writes all of it to `docs`.
    pub fn write(&self) -> Result<(), Box<dyn Error>> {
        let text = format!("{}{}", self.heading, self.sections);
        fs::write(format!("{FOLDER}/benchmarks.md"), text)?;
        chart::draw(&self.bars, &format!("{FOLDER}/benchmarks.svg"))
    }
}

/// What all of it depends on, and how it was made.
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
         One run of `{}make bench`, as root, which wrote this file and the chart. Absolute times differ from machine to machine and from \
         run to run, and those of a table from those of the next: only ratios within one mean something. They are medians of the ratios of \
         each turn, and need not be the ratio of the medians beside them. [performance.md](performance.md) tells how it is measured and \
         what it comes from.\n\n\
         - commit: {}\n- machine: {} ({family}), {cpus} CPUs{}\n- kernel: {} {}\n- how the kernel guards returns from functions (`spec_rstack_overflow`): {}\n\n\
         ![What a SYN costs](benchmarks.svg)\n",
        objects.concat(),
        String::from_utf8_lossy(&commit).trim(),
        field("model name"),
        if is_virtual { " of a virtual machine" } else { "" },
        kernel.sysname().display(),
        kernel.release().display(),
        guard.trim(),
    ))
}

/// A figure with three digits that mean something.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{} %", rounded(100.0 * share))
}

/// The middle of these.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A row of a table.
pub fn row(name: impl Display, figures: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_string()).chain(figures).collect()
}
