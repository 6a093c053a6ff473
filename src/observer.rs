//! What is told of clients besides the counters: who asks for it, and what comes of it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tcp_bounce_wire::{ClientCounts, Counters, TelemetrySettings};

use crate::arrivals::Arrivals;
use crate::bouncer::Bouncer;
use crate::cli::Cli;
use crate::error::Error;
use crate::events::{self, Knock, Reader};
use crate::message::{EventTotals, Most, Share, Summary};
use crate::metrics::Sample;
use crate::report::Teller;
use crate::skel::TcpBounceSkel;
use crate::stats;
use crate::tables::{self, Tables};
use crate::watch::Watch;

/// What `cli` asks the program for.
pub fn observe(cli: &Cli) -> Result<TelemetrySettings, Error> {
    let (stripes, shared) = tables::stripes().map_err(Error::Tables)?;
    let &Cli { top, watch, events, sample, .. } = cli;
    let is_report = cli.report.is_some();
    let events = if events || is_report || watch { sample } else { 0 };
    Ok(TelemetrySettings { ports: top || is_report || watch, sources: top || watch, events, stripes, shared })
}

/// What is to be read while the programs run, and written when they have ended.
pub struct Observer {
    observe: TelemetrySettings,
    names_most: bool,
    prints_events: bool,
    watches: bool,
    folder: Option<PathBuf>,
    arrivals: Option<Arc<Mutex<Arrivals>>>,
}

/// The same while the programs run.
pub struct Running {
    observer: Observer,
    interfaces: Vec<String>,
    teller: Teller,
    tables: Arc<Tables>,
    reader: Reader,
    watch: Option<Watch>,
    /// As long as it is there nothing is told.
    held: Vec<Sender<()>>,
}

impl Observer {
    /// What `cli` asks for, and a place for it.
    pub fn new(cli: &Cli) -> Result<Self, Error> {
        let arrivals = cli.report.as_ref().map(Arrivals::new).transpose()?;
        Ok(Self {
            observe: observe(cli)?,
            names_most: cli.top || cli.watch,
            prints_events: cli.events,
            watches: cli.watch,
            folder: cli.report.as_ref().map(|report| report.folder().to_owned()),
            arrivals: arrivals.map(|arrivals| Arc::new(Mutex::new(arrivals))),
        })
    }

    /// The folder of the report, if there is to be one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Takes all that it needs to read what is asked for, to tell events to `teller`, and to show what happens; there the user
    /// may `interrupt`. No event is told before [`Running::begin`].
    pub fn start(self, bouncers: &[Bouncer], teller: Teller, interrupt: Sender<()>) -> Result<Running, Error> {
        let interfaces: Vec<String> = bouncers.iter().map(|bouncer| bouncer.interface().name.clone()).collect();
        let tables = Tables::of(bouncers.iter().map(Bouncer::program), self.observe).map_err(Error::Tables)?;
        let tables = Arc::new(tables);
        let watch = self.watches.then(|| Watch::start(Arc::clone(&tables), interrupt));
        let watch = watch.transpose().map_err(Error::Terminal)?;
        let mut reader = Reader::default();
        let mut held = Vec::new();
        if self.observe.events != 0 {
            for (bouncer, interface) in bouncers.iter().zip(&interfaces) {
                let arrivals = self.arrivals.clone();
                let onlooker = watch.as_ref().map(Watch::onlooker);
                let teller = self.prints_events.then(|| teller.clone());
                let (hold, begun) = mpsc::channel();
                held.push(hold);
                let take = move |knocks: Vec<Knock>| {
                    // Until the other end is dropped.
                    let _ = begun.recv();
                    if let Some(arrivals) = &arrivals {
                        let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                        knocks.iter().for_each(|knock| arrivals.add(knock));
                    }
                    match (&onlooker, &teller) {
                        (Some(onlooker), _) => onlooker.tell(knocks),
                        (None, Some(teller)) => teller.tell(knocks),
                        (None, None) => {}
                    }
                };
                reader.read(bouncer.program(), interface, take).map_err(Error::Maps)?;
            }
        }
        Ok(Running { observer: self, interfaces, teller, tables, reader, watch, held })
    }
}

impl Running {
    /// From now on events are told.
    pub fn begin(&mut self) {
        self.held.clear();
    }

    /// Shows what there is to know now, if it is shown at all.
    pub fn publish(&self, samples: &[Sample]) {
        if let Some(watch) = &self.watch {
            watch.publish(samples.to_vec());
        }
    }

    /// Gives the terminal back, if it was taken.
    pub fn give_back(&mut self) -> Result<(), Error> {
        self.watch.take().map_or(Ok(()), |watch| watch.finish()).map_err(Error::Terminal)
    }

    /// What there was in all, after so long; and whether it could be written down. The programs are attached to nothing any
    /// more.
    pub fn finish(self, elapsed: Duration, programs: &[TcpBounceSkel]) -> (Result<Summary, Error>, Result<(), Error>) {
        let Self { observer: Observer { observe, names_most, prints_events, arrivals, .. }, .. } = self;
        let handed = self.reader.finish();
        let events = (observe.events != 0).then(|| totals(handed, programs)).transpose();
        let at_port = |port| self.tables.port(port);
        // The readers, which had the others, have ended.
        let written = arrivals.and_then(Arc::into_inner).map_or(Ok(()), |arrivals| {
            let arrivals = arrivals.into_inner().unwrap_or_else(PoisonError::into_inner);
            let interfaces: Vec<&str> = self.interfaces.iter().map(String::as_str).collect();
            let lost = events.as_ref().ok().copied().flatten().unwrap_or_default().lost;
            arrivals.write(&interfaces, at_port, lost)
        });
        // Those that were handed on need not have been printed.
        let printed = |events: EventTotals| {
            let told = if prints_events { self.teller.printed() } else { events.told };
            EventTotals { told, lost: events.lost + events.told - told, ..events }
        };
        let events = events.map(|events| events.map(printed));
        let counters = programs.iter().map(stats::read).sum::<Result<Counters, _>>();
        let summary = counters.and_then(|counters| {
            let ports = names_most.then(|| most_ports(at_port));
            let sources = names_most.then(|| most_sources(&self.tables));
            Ok(Summary { elapsed, counters, events: events?, ports, sources })
        });
        (summary.map_err(Error::Maps), written)
    }
}

/// What became of the events of which so many were handed on.
fn totals(handed: u64, programs: &[TcpBounceSkel]) -> libbpf_rs::Result<EventTotals> {
    let mut totals = EventTotals { told: handed, ..EventTotals::default() };
    let mut wanted = 0;
    for program in programs {
        let count = events::count(program)?;
        totals.seen += count.seen;
        wanted += count.delivered + count.dropped;
    }
    // One that is under way on another CPU may be read before it is counted.
    totals.lost = wanted.saturating_sub(handed);
    Ok(totals)
}

fn most_ports(at_port: impl Fn(u16) -> ClientCounts) -> Most<u16> {
    let share = |name| {
        let ClientCounts { syns, completed } = at_port(name);
        Share { name, syns, completed }
    };
    Most::of((0..=u16::MAX).map(share).filter(|share| share.syns > 0).collect(), false)
}

fn most_sources(tables: &Tables) -> Most<IpAddr> {
    let (sources, is_full) = tables.sources();
    let shares = sources.into_iter().map(|(name, ClientCounts { syns, completed })| Share { name, syns, completed });
    Most::of(shares.collect(), is_full)
}
