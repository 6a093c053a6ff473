//! The course of a run: check, attach, watch, detach.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tcp_bounce_wire::Counters;

use crate::bouncer::{self, Bouncer};
use crate::cli::Cli;
use crate::error::Error;
use crate::interface::Interface;
use crate::kernel;
use crate::ports::PortList;
use crate::report::Report;
use crate::spared::Spared;

/// How often the listeners are read and the attachments checked.
const TICK: Duration = Duration::from_millis(500);

/// Answers on the interfaces of `cli` until interrupted, on all or on none. When it returns, nothing is attached.
pub fn run(cli: &Cli) -> Result<(), Error> {
    if PortList::union(&cli.except).is_everything() {
        return Err(Error::NothingLeft);
    }
    let interfaces = Interface::find(&cli.interfaces)?;
    kernel::check()?;
    interfaces.iter().try_for_each(bouncer::check_vacant)?;
    let interrupted = interrupts()?;

    let mut spared = Spared::now(cli)?;
    let mut bouncers = Vec::new();
    for interface in interfaces {
        bouncers.push(Bouncer::start(interface, cli, &spared.ports())?);
    }
    let mut report = Report::new(cli.quiet);
    for bouncer in &bouncers {
        let rest = if cli.takeover { "; all other TCP is dropped (--takeover)" } else { "" };
        report.line(&format!("{bouncer}: every TCP port answers{spared}{rest}"));
    }

    let started = Instant::now();
    let end = until(&interrupted, || {
        bouncers.iter().try_for_each(Bouncer::check)?;
        let now = Spared::now(cli)?;
        if now != spared {
            spared = now;
            bouncers.iter().try_for_each(|bouncer| bouncer.spare(&spared.ports()))?;
            report.line(&format!("from now on every TCP port answers{spared}"));
        }
        report.progress(started.elapsed(), &count(&bouncers)?);
        Ok(())
    });
    // What was counted is known also where an interface is gone.
    let counters = count(&bouncers);
    drop(bouncers);
    report.summary(started.elapsed(), &counters?);
    end
}

/// Ticks until `interrupted` or something goes wrong.
fn until(interrupted: &Receiver<()>, mut tick: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    while let Err(RecvTimeoutError::Timeout) = interrupted.recv_timeout(TICK) {
        tick()?;
    }
    Ok(())
}

fn count(bouncers: &[Bouncer]) -> Result<Counters, Error> {
    bouncers.iter().try_fold(Counters::default(), |sum, bouncer| Ok(sum + bouncer.counters()?))
}

/// Something arrives when the user wants an end: Ctrl-C, SIGTERM or SIGHUP.
fn interrupts() -> Result<Receiver<()>, Error> {
    let (sender, receiver) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Nobody receives any more if the run is already over.
        let _ = sender.send(());
    })
    .map_err(Error::Signals)?;
    Ok(receiver)
}
