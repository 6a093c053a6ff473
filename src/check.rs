//! `--check`: whether tcp-bounce would start, and what there is to know before. It attaches and changes nothing.

pub mod facts;
pub mod finding;
pub mod verdict;

use std::fmt::{self, Display, Formatter};
use std::io;

use serde::Serialize;
use tcp_bounce_wire::Isn;

use self::facts::Facts;
use self::finding::Finding;
use self::verdict::Choice;
use crate::answered::{Answering, Destinations};
use crate::arrivals::Arrivals;
use crate::attach::AttachMode;
use crate::bouncer::{self, Bouncer};
use crate::cli::{Cli, Mode};
use crate::connections::Cut;
use crate::error::Error;
use crate::interface::Interface;
use crate::kernel::{self, KernelFeatures};
use crate::key;
use crate::message::Message;
use crate::metrics::Metrics;
use crate::output::Output;
use crate::run::check_arguments;
use crate::surroundings::Surroundings;
use crate::then::Plan;
use crate::watch;

/// What was found. The names of the fields are those of the JSON.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Whether tcp-bounce would start with these arguments.
    starts: bool,
    /// Whether people are told of nothing but problems.
    #[serde(skip)]
    is_quiet: bool,
    host: Host,
    #[serde(flatten)]
    answering: Answering,
    /// None without takeover.
    cut: Option<Cut>,
    interfaces: Vec<Examined>,
}

/// What is the same for all interfaces.
#[derive(Debug, Serialize)]
struct Host {
    kernel: KernelFeatures,
    missing_capabilities: Vec<String>,
    findings: Vec<Finding>,
}

/// An interface, and what tcp-bounce would do there.
#[derive(Debug, Serialize)]
struct Examined {
    #[serde(flatten)]
    facts: Facts,
    /// The addresses or prefixes that are answered for; `any` for all.
    to: Destinations,
    /// None on an interface that it cannot run on.
    mode: Option<AttachMode>,
    reason: Option<String>,
    /// Whether the kernel takes the program; none if it was not asked.
    loads: Option<bool>,
    findings: Vec<Finding>,
}

/// What must be said of an interface when it starts. What cannot be found out is not worth a failure.
pub fn remarks(cli: &Cli, bouncer: &Bouncer, surroundings: &Surroundings) -> Vec<Finding> {
    let index = bouncer.interface().index;
    let interface = surroundings.interfaces.iter().find(|interface| interface.index == index);
    let Some(Ok(facts)) = interface.map(|interface| Facts::of(interface, surroundings)) else { return Vec::new() };
    let mut findings = verdict::warnings(&facts, bouncer.destinations());
    if cli.mode == Mode::Auto && bouncer.mode() == AttachMode::Skb {
        // What the driver may have refused native mode for.
        findings.extend(verdict::choose(&facts, cli.mode).1);
    }
    findings
}

/// Checks what `cli` asks for, prints what there is to know, and returns whether tcp-bounce would start.
pub fn check(cli: &Cli) -> Result<bool, Error> {
    let check = Check::new(cli)?;
    let starts = check.starts;
    if check.is_quiet && starts && !cli.json {
        return Ok(true);
    }
    match Output::stdout(cli.json).say([&Message::Check(check)]) {
        // Who stops reading, as `head` does, has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(starts),
        written => written.map_err(Error::Write).map(|()| starts),
    }
}

impl Check {
    fn new(cli: &Cli) -> Result<Self, Error> {
        let plan = check_arguments(cli)?;
        let named = Interface::named(&cli.interfaces)?;
        let surroundings = Surroundings::now(cli)?;
        let isn = key::isn(cli, &plan)?;
        let cut = cli.takeover.then(|| Cut::by_takeover(&named, cli, &surroundings)).transpose()?;
        let mut host = Host::new();
        // Without the means to load it, there is nothing to learn from trying.
        let may_load = !host.findings.iter().any(Finding::is_problem);
        host.findings.extend(of_what_is_told(cli));
        let interfaces: Vec<_> = named
            .iter()
            .map(|interface| Examined::new(interface, cli, isn, &plan, &surroundings, may_load))
            .collect::<Result<_, _>>()?;
        let answering = Answering::new(cli, &plan, surroundings.spared);
        let check = Self { starts: false, is_quiet: cli.quiet, host, answering, cut, interfaces };
        let starts = !check.findings().any(Finding::is_problem);
        Ok(Self { starts, ..check })
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.interfaces.iter().flat_map(|interface| &interface.findings).chain(&self.host.findings)
    }

    /// Whether tcp-bounce would start.
    pub fn starts(&self) -> bool {
        self.starts
    }
}

/// What keeps from telling what is to be told.
fn of_what_is_told(cli: &Cli) -> impl Iterator<Item = Finding> {
    // Nothing of it stays.
    let report = cli.report.as_ref().and_then(|file| Arrivals::new(file).err());
    let metrics = cli.metrics.and_then(|address| Metrics::bind(address).err());
    let terminal = cli.watch.then(watch::check_terminal).and_then(Result::err);
    let errors = [("report", report), ("metrics", metrics), ("terminal", terminal)];
    errors.into_iter().filter_map(|(code, error)| Some(Finding::error(code, &error?)))
}

impl Host {
    fn new() -> Self {
        let findings = [
            kernel::check_release().err().map(|error| Finding::error("kernel_too_old", &error)),
            kernel::check_capabilities().err().map(|error| Finding::error("missing_capabilities", &error)),
        ];
        let missing = kernel::missing_capabilities().iter().map(ToString::to_string).collect();
        Self {
            kernel: KernelFeatures::now(),
            missing_capabilities: missing,
            findings: findings.into_iter().flatten().collect(),
        }
    }
}

impl Examined {
    fn new(
        interface: &Interface,
        cli: &Cli,
        isn: Isn,
        plan: &Plan,
        surroundings: &Surroundings,
        may_load: bool,
    ) -> Result<Self, Error> {
        let facts = Facts::of(interface, surroundings)?;
        let to = Destinations::now(cli, interface, surroundings);
        if let Err(error) = interface.check_fit() {
            let findings = vec![Finding::error("unfit", &error)];
            return Ok(Self { facts, to, mode: None, reason: None, loads: None, findings });
        }
        let (Choice { mode, reason }, mut findings) = verdict::choose(&facts, cli.mode);
        findings.extend(verdict::findings(&facts, &to));
        // For offload the program is loaded into the NIC, which is more than a check may do.
        let loaded = (may_load && mode != AttachMode::Hw)
            .then(|| bouncer::verify(interface, mode, cli, isn, plan, surroundings));
        if let Some(Err(error)) = &loaded {
            findings.push(Finding::error("program_refused", error));
        }
        findings.sort_by_key(|finding| !finding.is_problem());
        Ok(Self { facts, to, mode: Some(mode), reason, loads: loaded.map(|loaded| loaded.is_ok()), findings })
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if self.is_quiet {
            let problems: Vec<_> =
                self.findings().filter(|finding| finding.is_problem()).map(Finding::to_string).collect();
            return f.write_str(&problems.join("\n"));
        }
        self.interfaces.iter().try_for_each(|interface| write!(f, "{interface}"))?;
        write!(f, "{}", self.host)?;
        if self.starts {
            writeln!(f, "{}", self.answering)?;
        }
        if let Some(cut) = self.cut.as_ref().filter(|cut| !cut.is_empty()) {
            writeln!(f, "{cut}")?;
        }
        let not = if self.starts { "" } else { " not" };
        write!(f, "tcp-bounce would{not} start")
    }
}

/// Lists findings below that which they are of.
fn list(f: &mut Formatter, findings: &[Finding]) -> fmt::Result {
    findings.iter().try_for_each(|finding| writeln!(f, "  {}", finding.to_string().replace('\n', "\n  ")))
}

impl Display for Host {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "host:")?;
        writeln!(f, "  {:<11} {}", "kernel", self.kernel)?;
        list(f, &self.findings)
    }
}

impl Display for Examined {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}:", self.facts.name)?;
        if let Some(mode) = self.mode {
            write!(f, " {mode} mode")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        writeln!(f)?;
        write!(f, "{}", self.facts)?;
        if self.mode.is_some() {
            writeln!(f, "  {:<11} {}", "answers for", self.to)?;
        }
        if let Some(loads) = self.loads {
            let answer = if loads { "accepted by the kernel's verifier" } else { "refused by the kernel" };
            writeln!(f, "  {:<11} {answer}", "program")?;
        }
        list(f, &self.findings)
    }
}
