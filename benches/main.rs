//! The benchmarks: `make bench`, as root.
//!
//! The argument `chart` only draws the chart again, with the figures of the last report.
//!
//! Absolute times differ between machines and runs, so only ratios are meaningful. Programs and servers that are
//! compared are measured alternately in one run, and the report has the medians.

#[path = "../tests/it/fixtures/mod.rs"]
#[allow(dead_code, unused_macros, reason = "the tests use the rest")]
mod fixtures;

mod after_handshake;
mod cable;
mod chart;
mod footprint;
mod growth;
mod headline;
mod in_kernel;
mod packets;
mod peer;
mod report;
mod service;
mod wrapper;

use std::error::Error;
use std::{env, fs, process};

use nix::unistd::Uid;
use peer::Peers;
use report::Report;

/// The names of the parts, in the order of the report.
const PARTS: [&str; 7] = ["kernel", "cable", "headline", "footprint", "growth", "service", "handshake"];

fn main() {
    if let Err(error) = bench() {
        eprintln!("error: {error}");
        process::exit(1);
    }
}

fn bench() -> Result<(), Box<dyn Error>> {
    // Cargo passes `--bench` to every benchmark.
    let mut chosen: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if chosen == ["chart"] {
        return report::redraw_chart();
    }
    if let Some(unknown) = chosen.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(
            format!("no part named {unknown:?}: choose from {}, or omit it to run all", PARTS.join(", ")).into()
        );
    }
    if !Uid::effective().is_root() {
        return Err("the benchmarks need root: run `make bench`".into());
    }
    if fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")?.trim() != "0" {
        return Err("BPF statistics slow down every program: run `sysctl kernel.bpf_stats_enabled=0`".into());
    }
    let peers = Peers::from_environment()?;
    let is_whole = chosen.is_empty();
    if is_whole {
        chosen = PARTS.map(str::to_owned).into();
    }
    let mut report = Report::new()?;
    for part in chosen {
        match part.as_str() {
            "kernel" => in_kernel::report(&mut report, &peers)?,
            "cable" => cable::report(&mut report, &peers)?,
            "headline" => headline::report(&mut report, &peers)?,
            "footprint" => footprint::report(&mut report)?,
            "growth" => growth::report(&mut report)?,
            "service" => service::report(&mut report)?,
            _ => after_handshake::report(&mut report)?,
        }
    }
    report.finish();
    if is_whole { report.write() } else { Ok(()) }
}
