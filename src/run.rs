//! The course of a run: check, attach, watch, detach.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};
use tcp_bounce_wire::Counters;

use crate::bouncer::{self, Bouncer};
use crate::cli::Cli;
use crate::connections::Cut;
use crate::error::Error;
use crate::interface::Interface;
use crate::ports::PortList;
use crate::report::Report;
use crate::surroundings::Surroundings;
use crate::{check, kernel, key, timer};

/// How often the listeners are read and the attachments checked.
const TICK: Duration = Duration::from_millis(500);
const _: () = assert!(TICK.as_millis() <= 1000, "a new listener is served within two seconds");

/// Answers on the interfaces of `cli` until interrupted or the time is over, on all or on none. When it returns, nothing
/// is attached.
pub fn run(cli: &Cli) -> Result<(), Error> {
    check_arguments(cli)?;
    let interfaces = Interface::find(&cli.interfaces)?;
    kernel::check()?;
    interfaces.iter().try_for_each(bouncer::check_vacant)?;
    let (interrupt, interrupted) = mpsc::channel();
    handle_signals(interrupt.clone())?;

    let isn = key::isn(cli)?;
    let mut report = Report::new(cli.quiet);
    if cli.takeover {
        let cut = Cut::by_takeover(&interfaces, cli, &Surroundings::now(cli)?)?;
        if !cut.is_empty() {
            report.line(&cut.to_string());
        }
    }

    let mut bouncers = Vec::new();
    for interface in interfaces {
        // A NIC may take seconds for it, and what listens may change meanwhile.
        bouncers.push(Bouncer::start(interface, cli, isn, &Surroundings::now(cli)?)?);
    }
    let started = Instant::now();
    if let Some(duration) = cli.duration {
        timer::start(duration, interrupt).map_err(Error::Timer)?;
    }
    let now = follow(cli, &mut bouncers, |_| {})?;
    for bouncer in &bouncers {
        let rest = if cli.takeover { "; all other TCP is dropped (--takeover)" } else { "" };
        report.line(&format!("{bouncer}: {}{rest}", now.spared));
        if let Some(remark) = check::remark(bouncer.interface(), &now) {
            report.line(remark.to_string().trim_end());
        }
    }
    let mut spared = now.spared;

    let end = until(&interrupted, || {
        let now = follow(cli, &mut bouncers, |line| report.line(&line))?;
        if now.spared != spared {
            spared = now.spared;
            report.line(&format!("from now on {spared}"));
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

/// Checks what the command line asks for, as far as that can be done without looking at the machine.
pub(crate) fn check_arguments(cli: &Cli) -> Result<(), Error> {
    let except = PortList::union(&cli.except);
    let only = PortList::union(&cli.ports);
    let is_nothing_left = if cli.ports.is_empty() { except.is_everything() } else { only.0.is_subset(&except.0) };
    if is_nothing_left { Err(Error::NothingLeft) } else { Ok(()) }
}

/// Ticks until `interrupted` or something goes wrong.
fn until(interrupted: &Receiver<()>, mut tick: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    while let Err(RecvTimeoutError::Timeout) = interrupted.recv_timeout(TICK) {
        tick()?;
    }
    Ok(())
}

/// Has all of them follow what has changed, and says who answers for other addresses now.
fn follow(cli: &Cli, bouncers: &mut [Bouncer], mut say: impl FnMut(String)) -> Result<Surroundings, Error> {
    let now = Surroundings::now(cli)?;
    for bouncer in bouncers {
        let name = bouncer.interface().name.clone();
        if let Some(destinations) = bouncer.follow(cli, &now)? {
            say(format!("{name}: from now on for {destinations}"));
        }
    }
    Ok(now)
}

fn count(bouncers: &[Bouncer]) -> Result<Counters, Error> {
    bouncers.iter().try_fold(Counters::default(), |sum, bouncer| Ok(sum + bouncer.counters()?))
}

/// Sends to `interrupt` when the user wants an end: Ctrl-C, SIGTERM or SIGHUP; not SIGHUP under `nohup`.
fn handle_signals(interrupt: Sender<()>) -> Result<(), Error> {
    let nohup = matches!(set_hangup(SigHandler::SigIgn)?, SigHandler::SigIgn);
    ctrlc::set_handler(move || {
        // Nobody receives any more if the run is already over.
        let _ = interrupt.send(());
    })
    .map_err(Error::Signals)?;
    if nohup {
        set_hangup(SigHandler::SigIgn)?;
    }
    Ok(())
}

fn set_hangup(handler: SigHandler) -> Result<SigHandler, Error> {
    // SAFETY: What is installed is no function.
    unsafe { signal(Signal::SIGHUP, handler) }.map_err(|errno| Error::Signals(ctrlc::Error::System(errno.into())))
}
