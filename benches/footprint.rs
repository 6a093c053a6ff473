//! Measures the start time and the memory of tcp-bounce.

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tcp_bounce_wire::Verdict;

use crate::fixtures::DEADLINE;
use crate::fixtures::command::{BINARY, STARTED, TcpBounce};
use crate::fixtures::flood::{Sink, open_connections};
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::PROGRAM_OBJECT;
use crate::fixtures::resources::Memory;
use crate::report::{Report, median, rounded, row};

const TURNS: usize = 21;
/// The time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(1);
const CONNECTIONS: u64 = 1_000_000;

/// Measures the start time and the memory, with several options and with many open connections.
pub fn report(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.section(
        "Start and size",
        "The time from the start of the process to the first answered SYN, and the memory in use then.",
    );
    let mut rows = Vec::new();
    for (mode, arguments) in [
        (Mode::Native, ""),
        (Mode::Skb, ""),
        (Mode::Native, "--top-talkers --events --on-connect echo:7 --on-connect close"),
    ] {
        let turns: Vec<_> = (0..TURNS).map(|_| start(mode, arguments)).collect();
        let times: Vec<_> = turns.iter().map(|(time, _)| time.as_secs_f64() * 1e3).collect();
        let longest = times.iter().copied().fold(0.0, f64::max);
        let resident = turns.iter().map(|(_, memory)| mebibytes(memory.resident)).fold(0.0, f64::max);
        let maps = median(turns.iter().map(|(_, memory)| mebibytes(memory.maps)));
        let name = format!("`--mode {} {arguments}`", mode.name()).replace(" `", "`");
        rows.push(row(&name, [rounded(median(times)), rounded(longest), rounded(resident), rounded(maps)]));
        if arguments.is_empty() {
            report.at_most(&format!("{name}: start to first SYN answered, longest of {TURNS}"), 80.0, " ms", longest);
            report.at_most(&format!("{name}: resident memory"), 20.0, " MiB", resident);
        }
    }
    report.table(&["", "first answer, ms", "longest, ms", "resident, MiB", "maps, MiB"], rows);
    let [binary, object] = [BINARY, PROGRAM_OBJECT].map(|path| fs::metadata(path).map(|file| file.len()));
    report.paragraph(&format!(
        "The binary has {} MiB, including the BPF object of {} KiB.",
        rounded(mebibytes(binary?)),
        rounded(object? as f64 / 1024.0)
    ));
    connections(report);
    Ok(())
}

/// Starts tcp-bounce. Returns the time until it answers the first SYN, and the memory in use then.
fn start(mode: Mode, arguments: &str) -> (Duration, Memory) {
    let network = Network::new(mode);
    let mut command = TcpBounce::command(&network.host, &network.arguments(arguments));
    network.connect(80).expect_err("no answer yet, but the address is resolved");
    let start = Instant::now();
    let process = Process::start(&mut command);
    let time = network.client.enter(|| {
        // Before tcp-bounce answers, the kernel refuses each connection at once. The timeout limits the delay after a
        // lost SYN, and the pause saves CPU time.
        while TcpStream::connect_timeout(&SocketAddr::from((HOST, 80)), 10 * PAUSE).is_err() {
            assert!(start.elapsed() < DEADLINE, "no answer within the deadline");
            thread::sleep(PAUSE);
        }
        start.elapsed()
    });
    let responder = TcpBounce(process);
    responder.0.wait_for(STARTED);
    (time, Memory::of(&responder))
}

/// Measures how much an open connection adds to the memory of the process, and to the memory of its maps.
fn connections(report: &mut Report) {
    let network = Network::without_program(Mode::Native);
    let _sink = Sink::new(&network);
    let responder = network.start_responder("");
    let before = Memory::of(&responder);
    open_connections(&network, 80, CONNECTIONS);
    let after = Memory::of(&responder);
    let per_connection = |after: u64, before: u64| rounded((after as f64 - before as f64) / CONNECTIONS as f64);
    report.paragraph(&format!(
        "{} handshakes were completed, and the connections stayed open. Each one took {} bytes of the process and {} bytes of its maps.",
        network.counters()[Verdict::Completed],
        per_connection(after.resident, before.resident),
        per_connection(after.maps, before.maps),
    ));
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
