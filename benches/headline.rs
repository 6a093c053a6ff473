//! The article's headline: 10,000 threads connect at once.

use std::error::Error;
use std::time::Duration;

use libbpf_rs::query::ProgInfoIter;
use tcp_bounce::attach::AttachMode;

use crate::common::cost::{Statistics, cpu_time};
use crate::common::crowd::connect_at_once;
use crate::common::network::{Mode, Network};
use crate::common::programs;
use crate::peer::{self, Peers};
use crate::report::{Report, percent, row};

const THREADS: u16 = 10_000;

/// Has them connect to each program, and reports what that took.
pub fn report(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    report.section(
        "10,000 threads connect at once",
        "Each to a port of its own, when all are ready. The time of the program as the kernel measures it, and the CPU time of the process, \
         of the time that it took the clients.",
    );
    let _statistics = Statistics::start();
    let mut rows = Vec::new();
    for mode in [Mode::Native, Mode::Skb] {
        let network = Network::new(mode);
        let bouncer = network.bounce("");
        let idle = cpu_time(&bouncer);
        let run = Run::new(&network);
        let process = cpu_time(&bouncer) - idle;
        let name = format!("tcp-bounce, {}", mode.name());
        rows.push(row(&name, run.cells(process)));
        let accepted = if mode == Mode::Native {
            "native: connections accepted, of 10,000"
        } else {
            "skb: connections accepted, of 10,000"
        };
        report.at_least(accepted, f64::from(THREADS), "", run.accepted as f64);
        let share = 100.0 * run.share(process);
        report.at_most(&format!("{}: CPU time of 10,000 threads that connect", mode.name()), 1.0, " %", share);
    }
    if let Some(object) = peers.load_article()? {
        let network = Network::new(Mode::Native);
        let program = peer::program(&object);
        let _attachment = programs::attach_program(program, &network.host, "host0", AttachMode::Native);
        rows.push(row("the article's program, native", Run::new(&network).cells(Duration::ZERO)));
    }
    report.table(&["who answers", "accepted", "runs", "in the program", "in the process", "wall clock", "share"], rows);
    Ok(())
}

/// What it took.
struct Run {
    accepted: usize,
    /// How often the program ran, and for how long.
    runs: u64,
    program: Duration,
    wall_clock: Duration,
}

impl Run {
    fn new(network: &Network) -> Self {
        let id = programs::attached(&network.host, "host0").expect("a program is attached");
        let (connections, wall_clock) = connect_at_once(network, THREADS);
        let info = ProgInfoIter::default().find(|info| info.id == id).expect("it is still there");
        let accepted = connections.iter().filter(|connection| connection.is_ok()).count();
        Self { accepted, runs: info.run_cnt, program: Duration::from_nanos(info.run_time_ns), wall_clock }
    }

    /// The share of one CPU.
    fn share(&self, process: Duration) -> f64 {
        (self.program + process).as_secs_f64() / self.wall_clock.as_secs_f64()
    }

    fn cells(&self, process: Duration) -> [String; 6] {
        [
            self.accepted.to_string(),
            self.runs.to_string(),
            format!("{:.1?}", self.program),
            format!("{process:.1?}"),
            format!("{:.2?}", self.wall_clock),
            percent(self.share(process)),
        ]
    }
}
