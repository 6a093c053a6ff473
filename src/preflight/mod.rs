//! The preflight check (`--check`): reports whether tcp-bounce would start, in which mode, and with which warnings.
//!
//! The check reads facts about the host, and rules derive findings from the facts. The kernel verifies the program, but
//! nothing is attached or changed.

pub mod facts;
pub mod finding;
pub mod key_file;
pub mod privileges;
pub mod profile;
pub mod rules;
mod services;
pub mod sockets;
mod table;

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use tcp_bounce_wire::Isn;

use self::facts::Facts;
pub use self::finding::{Finding, Severity};
use self::rules::{Answering, Choice};
use self::services::ServiceTable;
use crate::config::{AttachMode, Config, isn};
use crate::host::Interface;
use crate::host::kernel::{self, KernelFeatures};
use crate::responder::{
    AffectedConnections, AnswerSummary, HostSnapshot, ProgramPlan, Responder, ResponderError, Scope, fragments, mode,
    service_tables,
};

/// The result of the preflight check. It displays as the text of `--check`, and serializes to its JSON (`--json`).
#[derive(Debug, Serialize)]
pub struct Check {
    starts: bool,
    /// Whether the text lists only errors (`--quiet`).
    #[serde(skip)]
    is_brief: bool,
    host: HostReport,
    #[serde(flatten)]
    answering: AnswerSummary,
    /// The services of the profile, if there is one.
    services: Option<ServiceTable>,
    /// The established connections that takeover would affect. `None` without takeover.
    affected_connections: Option<AffectedConnections>,
    interfaces: Vec<InterfaceReport>,
}

/// The kernel and the privileges, with findings about them and about the outputs.
#[derive(Debug, Serialize)]
struct HostReport {
    kernel: KernelFeatures,
    missing_capabilities: Vec<String>,
    findings: Vec<Finding>,
}

/// An interface, the mode that tcp-bounce would attach in, and the findings about both.
#[derive(Debug, Serialize)]
struct InterfaceReport {
    #[serde(flatten)]
    facts: Facts,
    #[serde(rename = "destinations")]
    scope: Scope,
    /// The predicted mode. `None` if the interface is not supported.
    mode: Option<AttachMode>,
    /// The reason for the mode, if the user should know it.
    reason: Option<String>,
    /// Whether the kernel accepts the program.
    ///
    /// `None` if the program was not loaded: in hw mode, on an unsupported interface, on an old kernel, without
    /// capabilities, or if it cannot be prepared, for example because there are too many prefixes.
    loads: Option<bool>,
    findings: Vec<Finding>,
}

/// Returns the warnings to report when a responder has started.
///
/// The list is empty if the facts cannot be read, or `snapshot` no longer contains the interface.
pub fn start_findings(config: &Config, responder: &Responder, snapshot: &HostSnapshot) -> Vec<Finding> {
    let index = responder.interface().index;
    let interface = snapshot.interfaces.iter().find(|interface| interface.index == index);
    let Some(Ok(facts)) = interface.map(|interface| Facts::read(interface, snapshot)) else { return Vec::new() };
    let answering = Answering {
        scope: responder.scope(),
        mode: responder.mode(),
        has_fragments: responder.has_fragments(),
        short_answers: rules::short_answers(&config.post_handshake, config.profile.as_ref()),
    };
    let mut findings = rules::warnings(&facts, &answering);
    if config.attach_mode.is_none() && responder.mode() == AttachMode::Skb {
        // The findings about native mode are likely reasons why the driver refused it.
        findings.extend(rules::choose(&facts, config.attach_mode).1);
    }
    findings
}

impl Check {
    /// Checks whether tcp-bounce would start with `config`.
    ///
    /// `host_findings` are additional findings about outputs and privileges, which the caller has to check.
    ///
    /// # Errors
    ///
    /// - Settings of `config` contradict each other, or the key file cannot be read.
    /// - An interface does not exist or is named twice.
    /// - The kernel does not report the state of the host, or the attached programs.
    /// - The memory for the services of the profile cannot be allocated.
    pub fn run(config: &Config, host_findings: Vec<Finding>) -> Result<Self, ResponderError> {
        let named = Interface::find_by_name(&config.interfaces)?;
        let isn = isn::resolve(&config.syn_ack, &config.post_handshake, config.profile.as_ref())?;
        let config = &config.with_ports_of_profile(isn)?;
        let snapshot = HostSnapshot::read(&config.scope)?;
        let affected = || AffectedConnections::list(&named, &config.scope, &snapshot);
        let affected_connections = config.scope.takeover.then(affected).transpose()?;
        let mut host = HostReport::read();
        // The program cannot be loaded if the kernel is too old or a capability is missing.
        let may_load = !host.findings.iter().any(Finding::is_error);
        if may_load && !config.scope.takeover {
            host.findings.extend(sockets::predict());
        }
        host.findings.extend(host_findings);
        host.findings.extend(key_file::check(&config.syn_ack));
        host.findings.extend(profile::check(config, &snapshot.exclusions));
        let tables = service_tables(config, isn)?;
        let plan = |interface: &Interface| ProgramPlan::new(interface.clone(), config, isn, &snapshot, tables.clone());
        let interfaces: Vec<_> = named
            .iter()
            .map(|interface| InterfaceReport::read(interface, config, &snapshot, plan, may_load))
            .collect::<Result<_, _>>()?;
        let answering = AnswerSummary::new(config, &snapshot.exclusions).imitating(snapshot.tcp_settings.as_ref());
        let services = match (&config.profile, isn) {
            (Some(profile), Isn::Keyed(key)) => Some(ServiceTable::new(profile, &key, &config.scope.ports)),
            _ => None,
        };
        let check =
            Self { starts: false, is_brief: false, host, answering, services, affected_connections, interfaces };
        let starts = !check.findings().any(Finding::is_error);
        Ok(Self { starts, ..check })
    }

    /// Sets whether the text lists only errors.
    pub fn brief(self, is_brief: bool) -> Self {
        Self { is_brief, ..self }
    }

    /// Returns whether tcp-bounce would start.
    pub fn starts(&self) -> bool {
        self.starts
    }

    /// Returns the text of each error, with the name of its interface.
    fn errors(&self) -> Vec<String> {
        let of_interfaces = self.interfaces.iter().flat_map(|InterfaceReport { facts, findings, .. }| {
            findings.iter().map(|finding| (Some(facts.name.as_str()), finding))
        });
        let all = of_interfaces.chain(self.host.findings.iter().map(|finding| (None, finding)));
        let errors = all.filter(|(_, finding)| finding.is_error());
        errors.map(|(interface, finding)| finding.about(interface).to_string()).collect()
    }

    /// Returns all findings, first about the interfaces and then about the host.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.interfaces.iter().flat_map(|interface| &interface.findings).chain(&self.host.findings)
    }
}

impl HostReport {
    /// Reads the kernel's release and features, and the capabilities of the calling thread.
    fn read() -> Self {
        let findings = [
            kernel::check_release().err().map(|error| Finding::from_error("kernel_too_old", &error, error.hint())),
            kernel::check_capabilities()
                .err()
                .map(|error| Finding::from_error("missing_capabilities", &error, error.hint())),
        ];
        let missing = kernel::missing_capabilities().iter().map(ToString::to_string).collect();
        Self {
            kernel: KernelFeatures::read(),
            missing_capabilities: missing,
            findings: findings.into_iter().flatten().collect(),
        }
    }
}

impl InterfaceReport {
    /// Reads the facts about `interface` and applies the rules. `plan` plans the program for the interface.
    ///
    /// If `may_load` is set, the kernel verifies the program, except in hw mode or on an unsupported interface.
    fn read(
        interface: &Interface,
        config: &Config,
        snapshot: &HostSnapshot,
        plan: impl Fn(&Interface) -> Result<ProgramPlan, ResponderError>,
        may_load: bool,
    ) -> Result<Self, ResponderError> {
        let facts = Facts::read(interface, snapshot)?;
        let scope = Scope::of(interface, &config.scope.destinations, snapshot);
        if let Err(error) = interface.check_supported() {
            let findings = vec![Finding::from_error("unfit", &error, error.hint())];
            return Ok(Self { facts, scope, mode: None, reason: None, loads: None, findings });
        }
        let (Choice { mode, reason }, mut findings) = rules::choose(&facts, config.attach_mode);
        // If the driver refuses the first choice, a start tries the next one, and warns about it.
        let has_fragments = fragments(mode, facts.mtu, facts.driver.as_deref()).first() == Some(&true);
        let short_answers = rules::short_answers(&config.post_handshake, config.profile.as_ref());
        let answering = Answering { scope: &scope, mode, has_fragments, short_answers };
        findings.extend(rules::findings(&facts, &answering));
        let (loads, refusal) = match plan(interface) {
            // In hw mode, verifying the program means loading it into the NIC, which the check must not change.
            Ok(plan) if may_load && mode != AttachMode::Hw => {
                let verified = mode::verify(&plan, mode);
                (Some(verified.is_ok()), verified.err().map(|error| ("program_refused", error)))
            }
            Ok(_) => (None, None),
            Err(error) => (None, Some((plan_code(&error), error))),
        };
        findings.extend(refusal.map(|(code, error)| Finding::from_error(code, &error, error.hint())));
        findings.sort_by_key(|finding| !finding.is_error());
        Ok(Self { facts, scope, mode: Some(mode), reason, loads, findings })
    }
}

/// Returns the code of the finding for a program that cannot be prepared.
fn plan_code(error: &ResponderError) -> &'static str {
    match error {
        ResponderError::TooManyPrefixes { .. } => "too_many_prefixes",
        _ => "program_not_prepared",
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if self.is_brief {
            return f.write_str(&self.errors().join("\n"));
        }
        self.interfaces.iter().try_for_each(|interface| write!(f, "{interface}"))?;
        write!(f, "{}", self.host)?;
        if self.starts {
            writeln!(f, "{}", self.answering)?;
        }
        self.services.iter().try_for_each(|services| write!(f, "{services}"))?;
        if let Some(affected) = self.affected_connections.as_ref().filter(|affected| !affected.is_empty()) {
            writeln!(f, "{affected}")?;
        }
        let not = if self.starts { "" } else { " not" };
        write!(f, "tcp-bounce would{not} start")
    }
}

/// Writes each finding on its own lines, indented by two spaces.
fn write_findings(f: &mut Formatter, findings: &[Finding]) -> fmt::Result {
    findings.iter().try_for_each(|finding| writeln!(f, "  {}", finding.to_string().replace('\n', "\n  ")))
}

impl Display for HostReport {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "host:")?;
        table::write_row(f, "kernel", std::slice::from_ref(&self.kernel.release))?;
        table::write_row(f, "features", &self.kernel.names())?;
        write_findings(f, &self.findings)
    }
}

impl Display for InterfaceReport {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let not = if self.findings.iter().any(Finding::is_error) { " not" } else { "" };
        write!(f, "{}: would{not} attach", self.facts.name)?;
        self.mode.iter().try_for_each(|mode| write!(f, " in {mode} mode"))?;
        self.reason.iter().try_for_each(|reason| write!(f, "\n  note: {reason}"))?;
        writeln!(f)?;
        write!(f, "{}", self.facts)?;
        if self.mode.is_some() {
            let scope = if self.scope.is_empty() { "no address".to_owned() } else { self.scope.to_string() };
            table::write_row(f, "answers for", &[scope])?;
        }
        if let Some(loads) = self.loads {
            let verdict = if loads { "accepted by the kernel's verifier" } else { "rejected by the kernel" };
            table::write_row(f, "program", &[verdict.to_owned()])?;
        }
        write_findings(f, &self.findings)
    }
}
