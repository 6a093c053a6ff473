//! Repeats the experiment of the article that inspired tcp-bounce: 10,000 threads connect at once.

use std::error::Error;
use std::time::Duration;

use libbpf_rs::Object;
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
/// The number of turns. All threads connect to each program once in each turn.
const TURNS: usize = 5;

/// An attached program that the threads connect to.
#[derive(Clone, Copy)]
enum Server<'a> {
    TcpBounce(Mode),
    /// The article's program, in native mode.
    Article(&'a Object),
}

impl Server<'_> {
    fn name(self) -> String {
        match self {
            Self::TcpBounce(mode) => format!("tcp-bounce, {}", mode.name()),
            Self::Article(_) => "the article's program, native".to_owned(),
        }
    }

    /// Attaches the program, connects all threads, and returns the results.
    fn run(self) -> Run {
        match self {
            Self::TcpBounce(mode) => {
                let network = Network::new(mode);
                let responder = network.start_responder("");
                let idle = cpu_time(&responder);
                let run = Run::new(&network);
                Run { process: Some(cpu_time(&responder) - idle), ..run }
            }
            Self::Article(object) => {
                let network = Network::new(Mode::Native);
                let _link = programs::attach_program(peer::program(object), &network.host, "host0", AttachMode::Native);
                Run::new(&network)
            }
        }
    }
}

/// Connects all threads to each program, and reports the CPU time of the program and of its process.
pub fn report(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    report.section(
        "10,000 threads connect at once",
        &format!(
            "Each thread connects to a port of its own once all have started. The program runs for each SYN and each \
             ACK. The kernel measures the time in the program, and this measurement adds to it. A share is the time in \
             program and process, divided by the time of all CPUs. The run lasts from the start of the first thread to \
             the last connection, the rush from the first connect to the last connection. Each row is the run with the \
             median time in the program, of {TURNS} runs."
        ),
    );
    let _statistics = Statistics::start();
    let article = peers.load_article()?;
    let servers: Vec<_> = [Mode::Native, Mode::Skb]
        .map(Server::TcpBounce)
        .into_iter()
        .chain(article.iter().map(Server::Article))
        .collect();
    let mut runs: Vec<Vec<Run>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..TURNS {
        servers.iter().zip(&mut runs).for_each(|(server, runs)| runs.push(server.run()));
    }
    runs.iter_mut().for_each(|runs| runs.sort_by_key(|run| run.program));
    let medians: Vec<_> = runs.iter().map(|runs| &runs[TURNS / 2]).collect();
    report.table(
        &["server", "accepted", "runs", "in the program", "in the process", "run", "share", "of the rush"],
        servers.iter().zip(&medians).map(|(server, run)| row(server.name(), run.cells())),
    );
    for (mode, (runs, median)) in [Mode::Native, Mode::Skb].iter().zip(runs.iter().zip(&medians)) {
        let fewest = runs.iter().map(|run| run.accepted).min().unwrap_or_default();
        report.at_least(
            &format!("{}: connections accepted, of 10,000", mode.name()),
            f64::from(THREADS),
            "",
            fewest as f64,
        );
        report.at_most(
            &format!("{}: share of the CPUs while 10,000 threads start and connect", mode.name()),
            1.0,
            " %",
            100.0 * median.share(median.run),
        );
    }
    if let [native, _, article] = medians[..] {
        report.at_most(
            "native: time in the program for 10,000 threads: of the article's program",
            1.0,
            "",
            native.program.as_secs_f64() / article.program.as_secs_f64(),
        );
    }
    Ok(())
}

/// The results of a run: the accepted connections, and the cost of the program.
struct Run {
    accepted: usize,
    /// The time from the start of the first thread to the last connection.
    run: Duration,
    /// The time from the first `connect` to the last connection.
    rush: Duration,
    /// The number of times that the kernel ran the program.
    runs: u64,
    /// The total time in the program, as measured by the kernel (`run_time_ns`).
    program: Duration,
    /// The CPU time of the program's process, if it has one.
    process: Option<Duration>,
}

impl Run {
    /// Connects all threads to the attached program.
    fn new(network: &Network) -> Self {
        let id = programs::attached(&network.host, "host0").expect("a program is attached");
        let info = || ProgInfoIter::default().find(|info| info.id == id).expect("the program is still attached");
        // The article's program is loaded once for all turns, and the kernel counts all its runs.
        let before = info();
        let Crowd { connections, run, rush } = connect_at_once(network, THREADS);
        let after = info();
        let accepted = connections.iter().filter(|connection| connection.is_ok()).count();
        let program = Duration::from_nanos(after.run_time_ns - before.run_time_ns);
        Self { accepted, run, rush, runs: after.run_cnt - before.run_cnt, program, process: None }
    }

    /// Returns the time in the program and in the process as a share, from 0 to 1, of the time of all CPUs in `period`.
    fn share(&self, period: Duration) -> f64 {
        (self.program + self.process.unwrap_or_default()).as_secs_f64() / (period.as_secs_f64() * cpus().len() as f64)
    }

    fn cells(&self) -> [String; 7] {
        let Self { run, rush, .. } = *self;
        [
            self.accepted.to_string(),
            self.runs.to_string(),
            format!("{:.1?}", self.program),
            self.process.map_or("-".to_owned(), |process| format!("{process:.1?}")),
            format!("{run:.0?}"),
            percent(self.share(run)),
            format!("{} in {rush:.0?}", percent(self.share(rush))),
        ]
    }
}
