//! The course of a run: check, attach, watch, detach.

use std::io;
use std::process;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use caps::Capability;
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::answered::Answering;
use crate::bouncer::{self, Bouncer};
use crate::cli::Cli;
use crate::connections::Cut;
use crate::error::Error;
use crate::interface::Interface;
use crate::message::Message;
use crate::metrics::{Metrics, Sample};
use crate::observer::{Observer, Running};
use crate::output;
use crate::ports::PortList;
use crate::report::Report;
use crate::service::ServiceManager;
use crate::surroundings::Surroundings;
use crate::then::Plan;
use crate::{check, kernel, key, privileges, watch};

/// How often the listeners are read and the attachments checked.
const TICK: Duration = Duration::from_millis(500);
const _: () = assert!(TICK.as_millis() <= 1000, "a new listener is served within two seconds");

/// Answers on the interfaces of `cli` until interrupted or the time is over, on all or on none. When it returns, nothing
/// is attached.
pub fn run(cli: &Cli) -> Result<(), Error> {
    let plan = check_arguments(cli)?;
    if cli.watch {
        watch::check_terminal()?;
    }
    let interfaces = Interface::find(&cli.interfaces)?;
    kernel::check()?;
    interfaces.iter().try_for_each(bouncer::check_vacant)?;
    let (interrupt, interrupted) = mpsc::channel();
    let interrupts = interrupt.clone();
    privileges::without(|| handle_signals(interrupts)).map_err(Error::Privileges)??;

    let isn = key::isn(cli, &plan)?;
    let observer = Observer::new(cli)?;
    let manager = ServiceManager::from_environment();
    let listener = cli.metrics.map(Metrics::bind).transpose()?;
    let serve = || Ok((listener.map(Metrics::serve).transpose()?, Report::new(cli)?));
    let (metrics, report) = privileges::without(serve).map_err(Error::Privileges)?.map_err(Error::Thread)?;
    if cli.takeover {
        let connections = Cut::by_takeover(&interfaces, cli, &Surroundings::now(cli)?)?;
        if !connections.is_empty() {
            report.say(Message::Cut { connections });
        }
    }

    let is_interrupted = || interrupted.try_recv().is_ok();
    let mut bouncers = Vec::new();
    for interface in interfaces {
        if is_interrupted() {
            return Ok(());
        }
        // A NIC may take seconds for it, and what listens may change meanwhile.
        bouncers.push(Bouncer::start(interface, cli, isn, &plan, &Surroundings::now(cli)?)?);
    }
    if is_interrupted() {
        return Ok(());
    }
    let started = Instant::now();
    // A time that the clock cannot tell never comes.
    let end = cli.duration.and_then(|duration| started.checked_add(duration));
    if cli.watch {
        report.hold();
    }
    let now = follow(cli, &mut bouncers, |_| {})?;
    let mut answering = Answering::new(cli, &plan, now.spared.clone());
    let remarks: Vec<_> = bouncers.iter().map(|bouncer| check::remarks(cli, bouncer, &now)).collect();
    give_up_privileges(&bouncers, &observer).map_err(Error::Privileges)?;
    // It may fail, and who has been told that it answers relies on that.
    let mut observer = observer.start(&bouncers, report.teller(), interrupt)?;
    for (bouncer, remarks) in bouncers.iter().zip(remarks) {
        report.say(bouncer.started(&answering));
        for finding in remarks {
            report.say(Message::Warning { interface: bouncer.interface().name.clone(), finding });
        }
    }
    observer.begin();
    manager.ready(&bouncers);
    let publish = |observer: &Running, samples: &[Sample]| {
        observer.publish(samples);
        if let Some(metrics) = &metrics {
            metrics.publish(samples.to_vec());
        }
    };
    publish(&observer, &samples(&bouncers)?);

    let ended = wait(&interrupted, end, || {
        let now = follow(cli, &mut bouncers, |message| report.say(message))?;
        if now.spared != *answering.spared() {
            answering = Answering::new(cli, &plan, now.spared);
            report.say(Message::Answering(answering.clone()));
        }
        let samples = samples(&bouncers)?;
        report.progress(started.elapsed(), samples.iter().map(|sample| sample.counters).sum());
        publish(&observer, &samples);
        Ok(())
    });
    let elapsed = started.elapsed();
    // Before anything that may take time. What was counted is known also where an interface is gone.
    let programs: Vec<_> = bouncers.into_iter().map(Bouncer::detach).collect();
    manager.stopping();
    let given_back = observer.give_back();
    report.release();
    report.end();
    let (summary, written) = observer.finish(elapsed, &programs);
    // Who wants an end once more need not wait for the last words.
    drop(interrupted);
    let (summary, failure) = summary.map_or_else(|error| (None, Err(error)), |summary| (Some(summary), Ok(())));
    let lost = summary.as_ref().and_then(|summary| summary.events).map_or(0, |events| events.lost);
    let said = report.finish(summary).map_err(Error::Write);
    // Else it is the summary that tells.
    if cli.quiet && lost > 0 {
        output::complain(cli.json, vec![Message::Lost { events: lost }]);
    }
    let results = [ended, written, given_back, failure, said];
    let mut errors: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
    // The caller tells of one.
    let Some(last) = errors.pop() else { return Ok(()) };
    if !errors.is_empty() {
        output::complain(cli.json, errors.iter().map(Message::from).collect());
    }
    Err(last)
}

/// Checks what the command line asks for, as far as that can be done without looking at the machine, and returns what is
/// to become of connections.
pub(crate) fn check_arguments(cli: &Cli) -> Result<Plan, Error> {
    let except = PortList::union(&cli.except);
    let only = PortList::union(&cli.ports);
    let is_nothing_left = if cli.ports.is_empty() { except.is_everything() } else { only.0.is_subset(&except.0) };
    if is_nothing_left { Err(Error::NothingLeft) } else { Plan::new(&cli.then) }
}

/// Gives up what is needed neither for what there is to be read and written from now on nor for the report.
fn give_up_privileges(bouncers: &[Bouncer], observer: &Observer) -> Result<(), privileges::Failure> {
    // Before Linux 5.19 the maps of a program can only be read with it, as long as others are kept from BPF.
    let reads = || samples(bouncers).is_ok();
    let writes = || observer.folder().is_none_or(|folder| tempfile::tempfile_in(folder).is_ok());
    let later: [privileges::Later; 2] = [
        (&[Capability::CAP_BPF, Capability::CAP_SYS_ADMIN], &reads),
        // Root may write into the folder of somebody else with it.
        (&[Capability::CAP_DAC_OVERRIDE], &writes),
    ];
    privileges::give_up(&later, observer.folder())
}

/// Ticks until `interrupted`, the `end` has come, or something goes wrong.
fn wait(
    interrupted: &Receiver<()>,
    end: Option<Instant>,
    mut tick: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let left = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()));
        match interrupted.recv_timeout(left.min(TICK)) {
            Err(RecvTimeoutError::Timeout) if left > TICK || end.is_none() => tick()?,
            _ => return Ok(()),
        }
    }
}

/// Has all of them follow what has changed, and says who answers for other addresses now.
fn follow(cli: &Cli, bouncers: &mut [Bouncer], mut say: impl FnMut(Message)) -> Result<Surroundings, Error> {
    let now = Surroundings::now(cli)?;
    for bouncer in bouncers {
        let interface = bouncer.interface().name.clone();
        if let Some(to) = bouncer.follow(cli, &now)? {
            say(Message::Destinations { interface, to: to.clone() });
        }
    }
    Ok(now)
}

fn samples(bouncers: &[Bouncer]) -> Result<Vec<Sample>, Error> {
    bouncers.iter().map(Bouncer::sample).collect()
}

/// Sends to `interrupt` when the user wants an end: Ctrl-C, SIGTERM or SIGHUP; not SIGHUP under `nohup`.
fn handle_signals(interrupt: Sender<()>) -> Result<(), Error> {
    let nohup = matches!(set_hangup(SigHandler::SigIgn)?, SigHandler::SigIgn);
    ctrlc::set_handler(move || {
        // If the run is over nobody receives it.
        if interrupt.send(()).is_err() {
            process::exit(1);
        }
    })
    .map_err(|error| match error {
        // It does not tell what that is.
        ctrlc::Error::System(source) => Error::Signals(source),
        error => Error::Signals(io::Error::other(error)),
    })?;
    if nohup {
        set_hangup(SigHandler::SigIgn)?;
    }
    // The terminal would stop it when it is in the background; nobody could end it then but by SIGKILL.
    // SAFETY: What is installed is no function.
    unsafe { signal(Signal::SIGTTOU, SigHandler::SigIgn) }.map(drop).map_err(|errno| Error::Signals(errno.into()))
}

fn set_hangup(handler: SigHandler) -> Result<SigHandler, Error> {
    // SAFETY: What is installed is no function.
    unsafe { signal(Signal::SIGHUP, handler) }.map_err(|errno| Error::Signals(errno.into()))
}
