//! The ports that are not answered.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use tcp_bounce_wire::PortSet;

use crate::cli::Cli;
use crate::error::Error;
use crate::listeners;
use crate::ports::PortList;

/// The ports that are left to the host, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spared {
    /// The host listens on them.
    listening: PortList,
    /// The user said so.
    except: PortList,
    /// The user said that only these are answered.
    only: Option<PortList>,
}

impl Spared {
    /// The ports to spare at this moment. Under takeover the host's listeners are not spared.
    pub fn now(cli: &Cli) -> Result<Self, Error> {
        let listening =
            if cli.takeover { BTreeSet::new() } else { listeners::ports().map_err(Error::ListListeners)? };
        let mut spared = Self { listening: PortList(listening), except: PortList::union(&cli.except), only: None };
        if !cli.ports.is_empty() {
            // What is not among these needs no other reason.
            let only = PortList::union(&cli.ports);
            spared.listening.0.retain(|port| only.0.contains(port));
            spared.except.0.retain(|port| only.0.contains(port));
            spared.only = Some(only);
        }
        Ok(spared)
    }

    /// The same for the program.
    pub fn ports(&self) -> PortSet {
        let mut ports = PortSet::new();
        self.listening.0.union(&self.except.0).for_each(|&port| ports.insert(port));
        if let Some(only) = &self.only {
            (0..=u16::MAX).filter(|port| !only.0.contains(port)).for_each(|port| ports.insert(port));
        }
        ports
    }
}

impl Display for Spared {
    /// A sentence that says what is answered.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.only {
            None => f.write_str("every TCP port answers")?,
            Some(only) => write!(f, "of the TCP ports {only} answer")?,
        }
        let lists = [(&self.listening, "the host listens"), (&self.except, "--except")];
        let lists = lists.into_iter().filter(|(list, _)| !list.0.is_empty());
        for (index, (list, reason)) in lists.enumerate() {
            write!(f, "{} {list} ({reason})", if index == 0 { " but" } else { " and" })?;
        }
        Ok(())
    }
}
