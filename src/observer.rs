//! What is told of clients besides the counters: who asks for it, and what comes of it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tcp_bounce_wire::{Count, Counters, Observe};

use crate::arrivals::Arrivals;
use crate::bouncer::Bouncer;
use crate::cli::Cli;
use crate::error::Error;
use crate::events::{self, Knock, Reader};
use crate::message::{EventTotals, Most, Share, Summary};
use crate::report::Teller;
use crate::skel::TcpBounceSkel;
use crate::stats;
use crate::tables::{self, PortTable, SourceTable};

/// What `cli` asks the program for.
pub fn observe(cli: &Cli) -> Result<Observe, Error> {
    let (stripes, shared) = tables::stripes().map_err(Error::Maps)?;
    let is_report = cli.report.is_some();
    let events = if cli.events || is_report { cli.sample } else { 0 };
    Ok(Observe { ports: cli.top || is_report, sources: cli.top, events, stripes, shared })
}

/// What is read while the programs run, and written when they have ended.
pub struct Observer {
    observe: Observe,
    top: bool,
    prints_events: bool,
    arrivals: Option<Arc<Mutex<Arrivals>>>,
}

/// The same while the programs run.
pub struct Running {
    observer: Observer,
    interfaces: Vec<String>,
    reader: Option<Reader>,
}

impl Observer {
    /// What `cli` asks for, and a place for it.
    pub fn new(cli: &Cli) -> Result<Self, Error> {
        let arrivals = cli.report.as_ref().map(Arrivals::new).transpose()?;
        let arrivals = arrivals.map(|arrivals| Arc::new(Mutex::new(arrivals)));
        Ok(Self { observe: observe(cli)?, top: cli.top, prints_events: cli.events, arrivals })
    }

    /// Starts to read what is asked for, and to tell events to `teller`.
    pub fn start(self, bouncers: &[Bouncer], teller: Teller) -> Result<Running, Error> {
        let interfaces: Vec<String> = bouncers.iter().map(|bouncer| bouncer.interface().name.clone()).collect();
        let programs: Vec<_> = bouncers.iter().map(|bouncer| (bouncer.interface(), bouncer.program())).collect();
        let programs: Vec<_> =
            programs.into_iter().map(|(interface, program)| (interface.index, &*interface.name, program)).collect();
        let (arrivals, prints_events) = (self.arrivals.clone(), self.prints_events);
        let take = move |knocks: Vec<Knock>| {
            if let Some(arrivals) = &arrivals {
                let mut arrivals = lock(arrivals);
                knocks.iter().for_each(|knock| arrivals.add(knock));
            }
            !prints_events || teller.tell(knocks)
        };
        let reader = (self.observe.events != 0).then(|| Reader::start(&programs, take));
        Ok(Running { observer: self, interfaces, reader: reader.transpose().map_err(Error::Maps)? })
    }
}

impl Running {
    /// What there was in all, after so long; and whether it could be written down. The programs are attached to nothing any
    /// more.
    pub fn finish(self, elapsed: Duration, programs: &[TcpBounceSkel]) -> Result<(Summary, Result<(), Error>), Error> {
        let Observer { observe, top, arrivals, .. } = self.observer;
        let counters = programs.iter().map(stats::read).sum::<Result<Counters, _>>().map_err(Error::Maps)?;
        let events = self.reader.map(|reader| totals(reader.finish(), programs)).transpose().map_err(Error::Maps)?;
        let by_port = observe.ports.then(|| tables_by_port(programs, observe.stripes)).transpose();
        let by_port = by_port.map_err(Error::Tables)?.unwrap_or_default();
        let at_port = |port| by_port.iter().map(|table| table.get(port)).sum();
        // The reader, which had the other, has ended.
        let arrivals = arrivals.and_then(Arc::into_inner);
        let written = arrivals.map_or(Ok(()), |arrivals| {
            let arrivals = arrivals.into_inner().unwrap_or_else(PoisonError::into_inner);
            let interfaces: Vec<&str> = self.interfaces.iter().map(String::as_str).collect();
            arrivals.write(&interfaces, at_port, events.unwrap_or_default())
        });
        let ports = top.then(|| most_ports(at_port));
        let sources = top.then(|| most_sources(programs, observe.stripes)).transpose().map_err(Error::Tables)?;
        Ok((Summary { elapsed, counters, events, ports, sources }, written))
    }
}

fn lock(arrivals: &Mutex<Arrivals>) -> MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn totals(told: u64, programs: &[TcpBounceSkel]) -> libbpf_rs::Result<EventTotals> {
    let mut totals = EventTotals { told, ..EventTotals::default() };
    for program in programs {
        let count = events::count(program)?;
        totals.seen += count.seen;
        totals.lost += count.told + count.lost;
    }
    totals.lost -= told;
    Ok(totals)
}

fn tables_by_port(programs: &[TcpBounceSkel], stripes: u32) -> io::Result<Vec<PortTable>> {
    programs.iter().map(|program| PortTable::of(program, stripes)).collect()
}

fn most_ports(at_port: impl Fn(u16) -> Count) -> Most<u16> {
    let share = |name| {
        let Count { syns, completed } = at_port(name);
        Share { name, syns, completed }
    };
    Most::of((0..=u16::MAX).map(share).filter(|share| share.syns > 0).collect(), false)
}

fn most_sources(programs: &[TcpBounceSkel], stripes: u32) -> io::Result<Most<IpAddr>> {
    let mut sum = BTreeMap::new();
    let mut is_full = false;
    for program in programs {
        is_full |= SourceTable::of(program, stripes)?.add_to(&mut sum);
    }
    let shares = sum.into_iter().map(|(name, Count { syns, completed })| Share { name, syns, completed });
    Ok(Most::of(shares.collect(), is_full))
}
