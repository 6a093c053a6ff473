//! Repeats the experiment of the article that inspired tcp-bounce: 10,000 threads connect at once.

use std::error::Error;
use std::time::Duration;

use libbpf_rs::query::ProgInfoIter;
use tcp_bounce::internals::AttachMode;

use crate::fixtures::crowd::{Crowd, connect_at_once};
use crate::fixtures::flood::cpus;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::programs;
use crate::fixtures::resources::{Statistics, cpu_time};
use crate::peer::{self, Peers};
use crate::report::{Report, percent, row};

const THREADS: u16 = 10_000;

/// Connects all threads to each program, and reports the CPU time of the program and of its process.
pub fn report(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    report.section(
        "10,000 threads connect at once",
        "Each thread connects to a port of its own once all have started. The program runs for each SYN and each ACK. \
         The kernel measures the time in the program, and this measurement adds to it. A share is the time in program \
         and process, divided by the time of all CPUs. The run lasts from the start of the first thread to the last \
         connection, the rush from the first connect to the last connection.",
    );
    let _statistics = Statistics::start();
    let mut rows = Vec::new();
    for mode in [Mode::Native, Mode::Skb] {
        let network = Network::new(mode);
        let responder = network.start_responder("");
        let idle = cpu_time(&responder);
        let run = Run::new(&network);
        let process = cpu_time(&responder) - idle;
        let name = format!("tcp-bounce, {}", mode.name());
        rows.push(row(&name, run.cells(Some(process))));
        let accepted = if mode == Mode::Native {
            "native: connections accepted, of 10,000"
        } else {
            "skb: connections accepted, of 10,000"
        };
        report.at_least(accepted, f64::from(THREADS), "", run.accepted as f64);
        let share = 100.0 * run.share(process, run.crowd.run);
        report.at_most(
            &format!("{}: share of the CPUs while 10,000 threads start and connect", mode.name()),
            1.0,
            " %",
            share,
        );
    }
    if let Some(object) = peers.load_article()? {
        let network = Network::new(Mode::Native);
        let program = peer::program(&object);
        let _link = programs::attach_program(program, &network.host, "host0", AttachMode::Native);
        rows.push(row("the article's program, native", Run::new(&network).cells(None)));
    }
    report.table(
        &["server", "accepted", "runs", "in the program", "in the process", "run", "share", "of the rush"],
        rows,
    );
    Ok(())
}

/// The results of a run: the accepted connections, and the cost of the program.
struct Run {
    crowd: Crowd,
    accepted: usize,
    /// The number of times that the kernel ran the program.
    runs: u64,
    /// The total time in the program, as measured by the kernel (`run_time_ns`).
    program: Duration,
}

impl Run {
    fn new(network: &Network) -> Self {
        let id = programs::attached(&network.host, "host0").expect("a program is attached");
        let crowd = connect_at_once(network, THREADS);
        let info = ProgInfoIter::default().find(|info| info.id == id).expect("the program is still attached");
        let accepted = crowd.connections.iter().filter(|connection| connection.is_ok()).count();
        Self { crowd, accepted, runs: info.run_cnt, program: Duration::from_nanos(info.run_time_ns) }
    }

    /// Returns the time in the program and in the process as a share, from 0 to 1, of the time of all CPUs in `period`.
    fn share(&self, process: Duration, period: Duration) -> f64 {
        (self.program + process).as_secs_f64() / (period.as_secs_f64() * cpus().len() as f64)
    }

    fn cells(&self, process: Option<Duration>) -> [String; 7] {
        let used = process.unwrap_or_default();
        let Crowd { run, rush, .. } = self.crowd;
        [
            self.accepted.to_string(),
            self.runs.to_string(),
            format!("{:.1?}", self.program),
            process.map_or("-".to_owned(), |process| format!("{process:.1?}")),
            format!("{:.0?}", run),
            percent(self.share(used, run)),
            format!("{} in {rush:.0?}", percent(self.share(used, rush))),
        ]
    }
}
