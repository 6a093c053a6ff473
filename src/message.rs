//! What tcp-bounce says while it runs: to people, and as JSON to programs.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use libsystemd::logging::Priority;
use serde::{Serialize, Serializer};
use tcp_bounce_wire::{Counters, Verdict};

use crate::answered::{Answering, Destinations};
use crate::attach::AttachMode;
use crate::check::Check;
use crate::check::finding::Finding;
use crate::connections::Cut;
use crate::error::Error;
use crate::events::Knock;
use crate::stats;

/// The version of the JSON. It grows when what is there changes its meaning.
pub const VERSION: u32 = 1;

/// How many ports and clients a summary names.
const NAMED: usize = 5;

/// Something to say. The names of the fields are those of the JSON, which `docs/output.schema.json` describes.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// Connections of the host's that end now.
    Cut {
        /// Which.
        connections: Cut,
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
        to: Destinations,
        /// Whom it answers, and how.
        #[serde(flatten)]
        answering: Answering,
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
    Destinations {
        /// Its name.
        interface: String,
        /// For whom it answers.
        to: Destinations,
    },
    /// From now on other ports are answered.
    Answering(Answering),
    /// A client did something.
    Event(Knock),
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
            Self::Cut { .. } | Self::Warning { .. } | Self::Lost { .. } => Priority::Warning,
            // journald limits how many there may be of each priority: events must not push out the rest.
            Self::Event(_) => Priority::Debug,
            _ => Priority::Info,
        }
    }
}

impl From<&Error> for Message {
    fn from(error: &Error) -> Self {
        let libbpf = if let Error::Load { messages, .. } = error { messages.clone() } else { Vec::new() };
        Self::Error { message: error.with_causes(), hint: error.hint(), libbpf }
    }
}

impl Display for Message {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Cut { connections } => write!(f, "{connections}"),
            Self::Started { interface, mode, remark, to, answering } => {
                write!(f, "{interface} ({mode} mode")?;
                if let Some(remark) = remark {
                    write!(f, ": {remark}")?;
                }
                write!(f, ") for {to}: {answering}")
            }
            Self::Warning { interface, finding } => write!(f, "{interface}: {finding}"),
            Self::Destinations { interface, to } => write!(f, "{interface}: from now on for {to}"),
            Self::Answering(answering) => write!(f, "from now on {answering}"),
            Self::Event(knock) => write!(f, "{knock}"),
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

/// What was counted from the start to the end.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// How long it ran, in seconds.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// How many packets got each verdict.
    #[serde(serialize_with = "stats::by_name")]
    pub counters: Counters,
    /// What became of events, if somebody wanted them.
    pub events: Option<EventTotals>,
    /// The ports that most SYNs went to, if that was counted.
    pub ports: Option<Most<u16>>,
    /// The clients that most SYNs came from, if that was counted.
    pub sources: Option<Most<IpAddr>>,
}

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventTotals {
    /// How many there were.
    pub seen: u64,
    /// How many of them were told.
    pub told: u64,
    /// How many were to be told, but there was no room for them, or nobody read them.
    pub lost: u64,
}

/// Those of a kind that had the most.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Most<T> {
    /// How many of a kind there were at all.
    pub distinct: usize,
    /// Whether there may have been more, which are forgotten.
    pub at_least: bool,
    /// Those with the most.
    pub most: Vec<Share<T>>,
}

/// What one had.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Share<T> {
    /// A port, or an address.
    pub name: T,
    /// How many SYNs were answered.
    pub syns: u64,
    /// How many handshakes were completed.
    pub completed: u64,
}

impl<T: Ord + Copy> Most<T> {
    /// Those of `shares` with the most SYNs; `at_least`: others may have been forgotten.
    pub fn of(mut shares: Vec<Share<T>>, at_least: bool) -> Self {
        let distinct = shares.len();
        shares.sort_by_key(|share| (std::cmp::Reverse(share.syns), share.name));
        shares.truncate(NAMED);
        Self { distinct, at_least, most: shares }
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
        if let Some(EventTotals { seen, told, lost }) = events {
            let count = |count: &u64| HumanCount(*count).to_string();
            write!(f, "\n{:>15} events, of which {} were told and {} lost", count(seen), count(told), count(lost))?;
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

impl<T: Display> Display for Most<T> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        for (index, Share { name, syns, .. }) in self.most.iter().enumerate() {
            write!(f, "{}{name} ({})", if index == 0 { ", most: " } else { ", " }, HumanCount(*syns))?;
        }
        Ok(())
    }
}

fn seconds<S: Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}
