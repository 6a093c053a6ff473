//! Measures how the cost of a SYN depends on settings, connections, interfaces and CPUs.

use std::error::Error;
use std::thread;
use std::time::Instant;

use tcp_bounce_wire::ProgramSettings;

use crate::fixtures::command::TcpBounce;
use crate::fixtures::flood::{Flood, Kind, Sink, cpus, open_connections};
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::resources::Memory;
use crate::in_kernel::{fd, filters, load, load_searching, many_prefixes, own_addresses, settings};
use crate::packets::{LINUX_SYN, LINUX_SYN_V6, TX, packet};
use crate::report::{Report, median, rounded, row};
use crate::wrapper::{Case, measure};

/// The number of repetitions of each measurement across a veth pair. The report has the medians.
const TURNS: usize = 11;
/// The number of SYNs in a repetition. In [`generators`], each generator sends five times as many.
const SYNS: u32 = 200_000;

/// Measures the cost of a SYN with growing numbers of ports, prefixes, connections, interfaces and CPUs.
pub fn report(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.section("Growth", "The cost of a SYN in relation to settings, connections, interfaces and CPUs.");
    excluded_ports(report)?;
    prefixes(report)?;
    connections(report);
    interfaces(report);
    generators(report);
    Ok(())
}

/// Measures the cost of a SYN in the kernel for growing numbers of excluded ports.
fn excluded_ports(report: &mut Report) -> Result<(), Box<dyn Error>> {
    let counts = [0, 1, 10, 100, 1000, 10_000, 60_000];
    let program = |count: u16| {
        let mut filters = own_addresses()?;
        // Excludes ports from the highest one down, because the SYN is for port 5000.
        (0..count).for_each(|port| filters.excluded_ports.insert(u16::MAX - port));
        // The set may change while the program runs, so the program looks up the port even if the set is empty. The
        // case with no excluded ports therefore includes the cost of the lookup.
        load(settings(), &filters)
    };
    let programs = counts.iter().map(|&count| program(count)).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let cases = programs.iter().map(|program| Case::new("", &packet(LINUX_SYN), fd(program), TX));
    let mut cases = cases.collect::<Result<Vec<_>, _>>()?;
    measure(&mut cases)?;
    let header = counts.map(|count| count.to_string());
    columns(report, "excluded ports", &header, "ns above zero", cases.iter().map(|case| case.costs().median()));
    Ok(())
}

/// Measures the cost of a SYN in the kernel for growing numbers of destination and source prefixes.
fn prefixes(report: &mut Report) -> Result<(), Box<dyn Error>> {
    let counts = [0, 1, 10, 100, 1000];
    let program = |count: usize| match count {
        0 => load(settings(), &*own_addresses()?),
        count => {
            load_searching(ProgramSettings { filters_sources: true, ..settings() }, &*filters(&many_prefixes(count))?)
        }
    };
    let programs = counts.iter().map(|&count| program(count)).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let cases = programs.iter().map(|program| Case::new("", &packet(LINUX_SYN_V6), fd(program), TX));
    let mut cases = cases.collect::<Result<Vec<_>, _>>()?;
    measure(&mut cases)?;
    let header = counts.map(|count| count.to_string());
    columns(
        report,
        "prefixes, each of `--dst` and `--src`, over IPv6",
        &header,
        "ns above zero",
        cases.iter().map(|case| case.costs().median()),
    );
    Ok(())
}

/// Measures the cost of a SYN across a veth pair for growing numbers of open connections.
fn connections(report: &mut Report) {
    let counts = [0u64, 1000, 10_000, 100_000, 1_000_000];
    let network = Network::without_program(Mode::Native);
    let _sink = Sink::new(&network);
    let _responder = network.start_responder("");
    let measured = Flood::new(&network, Kind::Syn, 443);
    let costs: Vec<_> = counts
        .iter()
        .zip(1000..)
        .map(|(&count, port)| {
            open_connections(&network, port, count);
            median((0..TURNS).map(|_| measured.send(SYNS).as_secs_f64() * 1e9 / f64::from(SYNS)))
        })
        .collect();
    let header = counts.map(|count| count.to_string());
    columns(report, "open connections", &header, "ns across a veth pair, generator included", costs);
}

/// Measures the cost of a SYN across a veth pair, the start time and the memory for growing numbers of interfaces.
fn interfaces(report: &mut Report) {
    let counts = [1, 2, 4, 8, 16];
    let figures: Vec<[f64; 3]> = counts
        .iter()
        .map(|&count| {
            let network = Network::without_program(Mode::Native);
            let _sink = Sink::new(&network);
            let others = (1..count).map(|number| format!("host{number}")).collect::<Vec<_>>();
            for (number, name) in others.iter().enumerate() {
                network.host.ip(&format!("link add {name} type veth peer name other{number}"));
                network.host.ip(&format!("link set {name} up"));
            }
            let start = Instant::now();
            let responder = TcpBounce::start(&network.host, &network.arguments(&others.join(" ")));
            let start = start.elapsed().as_secs_f64() * 1e3;
            let flood = Flood::new(&network, Kind::Syn, 80);
            let cost = median((0..TURNS).map(|_| flood.send(SYNS).as_secs_f64() * 1e9 / f64::from(SYNS)));
            let memory = Memory::of(&responder);
            [cost, start, (memory.resident + memory.maps) as f64 / f64::from(1 << 20)]
        })
        .collect();
    let header = counts.map(|count| count.to_string());
    let header: Vec<_> = std::iter::once("interfaces").chain(header.iter().map(String::as_str)).collect();
    let names = ["ns across a veth pair, generator included", "start until all answer, ms", "resident and maps, MiB"];
    let rows =
        names.iter().enumerate().map(|(index, name)| row(name, figures.iter().map(|figures| rounded(figures[index]))));
    report.table(&header, rows);
    if let Some([_, start, _]) = figures.last() {
        report.at_most("start until all of 16 interfaces answer", 800.0, " ms", *start);
    }
}

/// Measures the rate of answered SYNs for growing numbers of CPUs, each with its own generator and receive queue.
fn generators(report: &mut Report) {
    let cpus = cpus();
    let (available, counts) = (cpus.len(), 1..=cpus.len());
    let network = Network::without_program(Mode::Native);
    for (namespace, interface) in [(&network.host, "host0"), (&network.client, "client0")] {
        namespace.run("ethtool", &format!("-L {interface} rx {available} tx {available}"));
    }
    let sink = Sink::new(&network);
    let _responder = network.start_responder("");
    let rates: Vec<_> = counts
        .clone()
        .map(|count| {
            let on_cpu = |&cpu| Flood::on_cpu(&network, Kind::Syn, 80, cpu);
            let floods: Vec<_> = cpus.iter().take(count).map(on_cpu).collect();
            median((0..TURNS).map(|_| {
                let before = sink.received().syn_acks;
                let start = Instant::now();
                thread::scope(|scope| {
                    floods.iter().for_each(|flood| drop(scope.spawn(|| flood.send(5 * SYNS))));
                });
                (sink.received().syn_acks - before) as f64 / start.elapsed().as_secs_f64() / 1e6
            }))
        })
        .collect();
    let header: Vec<_> = counts.map(|count| count.to_string()).collect();
    columns(report, "CPUs", &header, "million SYNs answered per second, generator included", rates);
}

/// Reports a table with one row: `unit` and the figures. The row above has `name` and `header`.
fn columns(report: &mut Report, name: &str, header: &[String], unit: &str, figures: impl IntoIterator<Item = f64>) {
    let header: Vec<_> = std::iter::once(name).chain(header.iter().map(String::as_str)).collect();
    report.table(&header, [row(unit, figures.into_iter().map(rounded))]);
}
