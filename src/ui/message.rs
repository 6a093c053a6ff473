//! What tcp-bounce says while it runs: to people, and as JSON to programs.

use std::fmt::{self, Display, Formatter};

use indicatif::{HumanCount, HumanDuration};
use libsystemd::logging::Priority;
use serde::Serialize;
use tcp_bounce_wire::Verdict;

use crate::config::AttachMode;
use crate::error::Error;
use crate::preflight::{Check, Finding};
use crate::responder::{AffectedConnections, AnswerSummary, Scope};
use crate::telemetry::{ClientEvent, EventTotals, Summary, TopEntry, TopList};

/// Something to say. The names of the fields are those of the JSON, which `docs/output.schema.json` describes.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// Connections of the host's that end now.
    #[serde(rename = "cut")]
    AffectedConnections {
        /// Which.
        connections: AffectedConnections,
    },
    /// It answers on an interface.
    Started {
        /// Its name.
        interface: String,
        /// How the program is attached.
        mode: AttachMode,
        /// What there is to know about that mode here.
        remark: Option<String>,
        /// For whom it answers.
        to: Scope,
        /// Whom it answers, and how.
        #[serde(flatten)]
        answering: AnswerSummary,
    },
    /// Something that somebody should know.
    Warning {
        /// Of which interface.
        interface: String,
        /// What.
        #[serde(flatten)]
        finding: Finding,
    },
    /// From now on an interface answers for others.
    #[serde(rename = "destinations")]
    ScopeChanged {
        /// Its name.
        interface: String,
        /// For whom it answers.
        to: Scope,
    },
    /// From now on other ports are answered.
    #[serde(rename = "answering")]
    AnswerChanged(AnswerSummary),
    /// A client did something.
    Event(ClientEvent),
    /// It has ended.
    Summary(Summary),
    /// Events were lost, of which nobody learns otherwise.
    Lost {
        /// How many.
        events: u64,
    },
    /// What a check has found.
    Check(Check),
    /// It did not start, or had to stop.
    Error {
        /// Why, with all causes.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// What libbpf had to say.
        libbpf: Vec<String>,
    },
}

impl Message {
    /// How much it matters, to the journal.
    pub fn priority(&self) -> Priority {
        match self {
            Self::Error { .. } => Priority::Error,
            Self::Check(check) if !check.starts() => Priority::Error,
            Self::AffectedConnections { .. } | Self::Warning { .. } | Self::Lost { .. } => Priority::Warning,
            // journald limits how many there may be of each priority: events must not push out the rest.
            Self::Event(_) => Priority::Debug,
            _ => Priority::Info,
        }
    }
}

impl From<&Error> for Message {
    fn from(error: &Error) -> Self {
        Self::Error { message: error.with_causes(), hint: error.hint(), libbpf: error.libbpf_messages().to_vec() }
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::AffectedConnections { connections } => write!(f, "{connections}"),
            Self::Started { interface, mode, remark, to, answering } => {
                write!(f, "{interface} ({mode} mode")?;
                if let Some(remark) = remark {
                    write!(f, ": {remark}")?;
                }
                write!(f, ") for {to}: {answering}")
            }
            Self::Warning { interface, finding } => write!(f, "{interface}: {finding}"),
            Self::ScopeChanged { interface, to } => write!(f, "{interface}: from now on for {to}"),
            Self::AnswerChanged(answering) => write!(f, "from now on {answering}"),
            Self::Event(event) => write!(f, "{event}"),
            Self::Summary(summary) => write!(f, "{summary}"),
            Self::Lost { events } => write!(f, "tcp-bounce: {events} events were lost"),
            Self::Check(check) => write!(f, "{check}"),
            Self::Error { message, hint, libbpf } => {
                write!(f, "tcp-bounce: {message}")?;
                hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))?;
                libbpf.iter().try_for_each(|line| write!(f, "\n  libbpf: {line}"))
            }
        }
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { elapsed, counters, events, ports, sources } = self;
        write!(f, "detached after {}", HumanDuration(*elapsed))?;
        for verdict in Verdict::ALL {
            let always = match verdict {
                Verdict::Answered => true,
                Verdict::Completed => counters.completed() == 0,
                _ => false,
            };
            if always || counters[verdict] > 0 {
                write!(f, "\n{:>15} {}", HumanCount(counters[verdict]).to_string(), verdict.description())?;
            }
        }
        if let Some(EventTotals { seen, delivered, dropped }) = events {
            let count = |count: &u64| HumanCount(*count).to_string();
            write!(
                f,
                "\n{:>15} events, of which {} were told and {} lost",
                count(seen),
                count(delivered),
                count(dropped)
            )?;
        }
        if let Some(ports) = ports {
            write!(f, "\n{:>15} ports asked for{ports}", HumanCount(ports.distinct as u64).to_string())?;
        }
        if let Some(sources) = sources {
            let least = if sources.at_least { " at least" } else { "" };
            write!(f, "\n{:>15} clients{least}{sources}", HumanCount(sources.distinct as u64).to_string())?;
        }
        Ok(())
    }
}

impl<T: Display> Display for TopList<T> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        for (index, TopEntry { name, syns, .. }) in self.entries.iter().enumerate() {
            write!(f, "{}{name} ({})", if index == 0 { ", most: " } else { ", " }, HumanCount(*syns))?;
        }
        Ok(())
    }
}
