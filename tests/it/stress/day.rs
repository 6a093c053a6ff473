//! A day in an hour: one run on a host that keeps changing, under floods, crowds and malformed frames, with readers
//! that stall. Nothing grows, and every packet is counted.

mod changes;
mod ledger;
mod readers;
mod traffic;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use libbpf_rs::query::ProgInfoIter;
use nix::sys::signal::Signal;
use serde_json::Value;
use tcp_bounce::internals::XdpLink;
use tcp_bounce_wire::{Counters, Verdict};

use self::changes::Changes;
use self::ledger::{Ledger, total};
use self::readers::{OutputReader, Printed, Scrapers, request_without_reading};
use super::malformed::HOST_MAC;
use crate::fixtures::command::TcpBounce;
use crate::fixtures::flood::Sink;
use crate::fixtures::kernel_log::KernelLog;
use crate::fixtures::machine::MachineLock;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::{attached, knows_local_ports, pass};
use crate::fixtures::resources::{Memory, descriptors, threads};
use crate::fixtures::schema::validate;
use crate::fixtures::segment::text;
use crate::fixtures::{amount, day_length, until};

in_each_mode! {
    nothing_grows_and_every_packet_is_counted,
}

const INTERFACES: [&str; 2] = ["host0", "host1"];
const OPTIONS: &str = "--events --json --top-talkers --payload 64 --isn keyed --listener-grace 1s \
    --metrics-listen 9464 --on-connect close --on-connect echo:7 --on-connect tarpit:23 host1";

/// The time after which memory must not grow. The first port report, which takes a buffer, is written after a minute.
const SETTLING: Duration = Duration::from_secs(75);
/// The most by which the resident memory may grow afterwards, in bytes. The report gets further ports and clients.
const ALLOWANCE: u64 = 2 << 20;

/// A host with two interfaces that answer, and a client.
struct Site {
    network: Network,
    mode: Mode,
    /// The program on `client1`. A veth pair carries native replies only if the peer has an XDP program.
    _pass: Option<XdpLink>,
}

impl Site {
    fn new(mode: Mode) -> Self {
        let network = Network::without_program(mode);
        network.host.ip(&format!("link set host0 address {}", text(HOST_MAC)));
        network.receive_redirected();
        network.add_cable();
        let pass = (mode == Mode::Native).then(|| pass(&network.client, "client1"));
        Self { network, mode, _pass: pass }
    }
}

/// A running tcp-bounce with the readers of its outputs.
struct Day<'a> {
    site: &'a Site,
    // Dropped first: a scraper needs a running server.
    scrapers: Scrapers,
    responder: TcpBounce,
    report: PathBuf,
    output: OutputReader,
    ledgers: [Ledger; 2],
    start: Instant,
    settled: Option<Resources>,
    /// The number of times that the resources have been compared with the settled ones.
    comparisons: u32,
}

/// The resources of the process that must not grow.
#[derive(Clone, Copy, Debug)]
struct Resources {
    memory: Memory,
    descriptors: usize,
    threads: usize,
}

impl Resources {
    fn of(responder: &TcpBounce) -> Self {
        Self { memory: Memory::of(responder), descriptors: descriptors(responder), threads: threads(responder) }
    }

    /// Returns whether a process with these resources has grown since `before`.
    fn exceed(&self, before: &Self) -> bool {
        self.memory.resident > before.memory.resident + ALLOWANCE
            || self.memory.maps != before.memory.maps
            || self.descriptors > before.descriptors
            || self.threads > before.threads
    }
}

fn nothing_grows_and_every_packet_is_counted(mode: Mode) {
    let _machine = MachineLock::exclusive();
    let (length, seed) = (day_length(), seed());
    println!("{length:?} in {} mode, TCP_BOUNCE_TEST_DAY_SEED={seed}", mode.name());
    let mut log = KernelLog::open();
    let site = Site::new(mode);
    let _sink = Sink::new(&site.network);
    let folder = tempfile::tempdir().unwrap();
    let mut day = Day::start(&site, &folder.path().join("report.json"));
    // Traffic and changes happen at the same time, so each has its own random numbers.
    let [mut random, mut traffic_random, changes_random] = [0, 1, 2].map(|stream| Rng::with_seed(seed + stream));
    let mut changes = Changes::new(&site, changes_random);
    day.warm_up(&mut changes, &mut traffic_random);
    let mut rounds = 0;
    while day.comparisons == 0 || day.start.elapsed() < length {
        day.round(&mut random, &mut changes, &mut traffic_random);
        assert_eq!(log.complaints(), Vec::<String>::new());
        rounds += 1;
    }
    println!("{rounds} rounds");
    day.end();
    site.network.assert_nothing_is_attached();
    assert_eq!(log.complaints(), Vec::<String>::new());
}

/// Returns the seed of the random numbers. Long runs differ from each other.
fn seed() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    amount("DAY_SEED", 1, now as usize) as u64
}

impl<'a> Day<'a> {
    /// Starts tcp-bounce and the readers of its outputs, and waits until it answers.
    fn start(site: &'a Site, report: &Path) -> Self {
        let network = &site.network;
        let (reader, writer) = io::pipe().unwrap();
        let arguments = network.arguments(&format!("{OPTIONS} --report {}", report.display()));
        let mut command = TcpBounce::command(&network.host, &arguments);
        let process = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped()));
        // The command has a descriptor of the pipe's writing end.
        drop(command);
        let output = OutputReader::start(reader);
        for interface in INTERFACES {
            let program = until("for a program to be attached", || attached(&network.host, interface));
            until("for the local ports to be known", || knows_local_ports(program).then_some(()));
        }
        Self {
            site,
            responder: TcpBounce(process),
            report: report.to_owned(),
            output,
            scrapers: Scrapers::start(&network.host),
            ledgers: INTERFACES.map(|interface| Ledger::open(&network.host, interface)),
            start: Instant::now(),
            settled: None,
            comparisons: 0,
        }
    }

    /// Causes every kind of traffic and change once, so that buffers and tables have their final size.
    fn warm_up(&mut self, changes: &mut Changes, random: &mut Rng) {
        traffic::every_malformed_frame(self.site);
        // The events of a flood fill all buffers while nothing is read.
        self.output.stall();
        traffic::every_kind(self.site, random);
        self.output.go_on();
        changes.every_kind();
        self.check();
    }

    /// Causes some traffic, and changes the host meanwhile. Sometimes, readers stall until the end of the round.
    fn round(&mut self, random: &mut Rng, changes: &mut Changes, traffic_random: &mut Rng) {
        if random.u8(..3) == 0 {
            self.output.stall();
        }
        let stalled = (random.bool()).then(|| request_without_reading(&self.site.network.host, random.bool()));
        thread::scope(|scope| {
            scope.spawn(|| traffic::some(self.site, traffic_random));
            changes.some();
        });
        drop(stalled);
        self.output.go_on();
        self.check();
    }

    /// Checks that every packet is counted, that nothing grows, and that the readers have found no fault.
    fn check(&mut self) {
        for ledger in &self.ledgers {
            ledger.balance(&self.site.network.host);
        }
        assert!(self.output.is_running() && self.scrapers.are_running());
        assert_eq!(self.responder.0.stderr.text(), "");
        // Each version of the report replaces the previous one, so it is always complete.
        if let Ok(report) = fs::read(&self.report) {
            serde_json::from_slice::<Value>(&report).unwrap();
        }
        match self.settled {
            None if self.start.elapsed() > SETTLING.min(day_length() / 4) => {
                let resources = Resources::of(&self.responder);
                println!("settled after {:?}: {resources:?}", self.start.elapsed());
                self.settled = Some(resources);
            }
            None => {}
            // Descriptors are open for a short time while the process reads the state of the host.
            Some(settled) => {
                until(&format!("for no more resources than {settled:?}"), || {
                    (!Resources::of(&self.responder).exceed(&settled)).then_some(())
                });
                self.comparisons += 1;
            }
        }
    }

    /// Ends the run, and checks the summary, the report and the end of all programs.
    fn end(self) {
        let Self { site, responder, report, output, scrapers, ledgers, .. } = self;
        let Network { host, client, .. } = &site.network;
        let programs = INTERFACES.map(|interface| attached(host, interface).unwrap());
        scrapers.finish();
        println!("at the end: {:?}", Resources::of(&responder));
        // Without a carrier, nothing arrives any more.
        set_links(client, "down");
        let counted = ledgers.map(|ledger| ledger.balance(host));
        responder.0.signal(Signal::SIGINT);
        let finished = responder.0.finish();
        assert!(finished.status.success() && finished.stderr.is_empty(), "{finished:?}");
        let report = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        assert_outputs(output.finish(), report, counted);

        assert!(!host.ip("link show").contains("prog/xdp"));
        let is_freed = || ProgInfoIter::default().all(|program| !programs.contains(&program.id));
        until("for the kernel to free the programs", || is_freed().then_some(()));
        set_links(client, "up");
    }
}

/// Sets both interfaces of the client up or down.
fn set_links(client: &Namespace, state: &str) {
    for interface in ["client0", "client1"] {
        client.ip(&format!("link set {interface} {state}"));
    }
}

/// Checks the lines of the run and its report. `counted` are the counters of each interface.
fn assert_outputs(printed: Printed, report: Value, counted: [Counters; 2]) {
    println!("{:?}", printed.numbers);
    let summary = &printed.first["summary"];
    assert_counters(summary, counted);
    let events = ["seen", "delivered", "dropped"].map(|name| summary["events"][name].as_u64().unwrap());
    println!("{events:?} events: seen, delivered, dropped");
    let [seen, delivered, dropped] = events;
    assert_eq!((delivered, delivered + dropped), (printed.numbers["event"], seen));
    assert_counts_syns(&report, summary);
    validate(&printed.first.into_values().chain([report]).collect::<Vec<_>>()).unwrap();
}

/// Checks that the summary has the counters of each interface.
fn assert_counters(summary: &Value, counted: [Counters; 2]) {
    for (interface, counters) in INTERFACES.into_iter().zip(counted) {
        let interfaces = summary["interfaces"].as_array().unwrap();
        let own = interfaces.iter().find(|own| own["interface"] == interface).unwrap();
        for verdict in Verdict::ALL {
            assert_eq!(own["counters"][verdict.name()], counters[verdict], "{interface} {verdict:?} {own}");
        }
        println!("{interface}: {} packets", total(counters));
    }
}

/// Checks that the report has each SYN that was answered, and no more than those that were passed to listeners.
fn assert_counts_syns(report: &Value, summary: &Value) {
    let ports = report["ports"].as_array().unwrap();
    let syns: u64 = ports.iter().map(|port| port["syns"].as_u64().unwrap()).sum();
    let [answered, excluded] =
        [Verdict::Answered, Verdict::Excluded].map(|verdict| summary["counters"][verdict.name()].as_u64().unwrap());
    assert!((answered..=answered + excluded).contains(&syns), "{answered} answered, {excluded} excluded, {syns} SYNs");
    println!("report: {} ports, {syns} SYNs", ports.len());
}
