//! The ports that are not answered.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use tcp_bounce_wire::Ports;

use crate::cli::Cli;
use crate::error::Error;
use crate::listeners;
use crate::ports::PortList;

/// The ports that are left to the host, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Spared {
    /// The host listens on them.
    listening: PortList,
    /// The user said so.
    except: PortList,
}

impl Spared {
    /// The ports to spare at this moment. Under takeover the host's listeners are not spared.
    pub fn now(cli: &Cli) -> Result<Self, Error> {
        let listening =
            if cli.takeover { BTreeSet::new() } else { listeners::ports().map_err(Error::ListListeners)? };
        Ok(Self { listening: PortList(listening), except: PortList::union(&cli.except) })
    }

    /// The same for the program.
    pub fn ports(&self) -> Ports {
        let mut ports = Ports::new();
        self.listening.0.union(&self.except.0).for_each(|&port| ports.insert(port));
        ports
    }
}

impl Display for Spared {
    /// The end of a sentence that says what is answered.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let lists = [(&self.listening, "the host listens"), (&self.except, "--except")];
        let lists = lists.into_iter().filter(|(list, _)| !list.0.is_empty());
        for (index, (list, reason)) in lists.enumerate() {
            write!(f, "{} {list} ({reason})", if index == 0 { " but" } else { " and" })?;
        }
        Ok(())
    }
}
