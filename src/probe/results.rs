//! The results of a scan, compared with a policy if there is one.

use std::time::Duration;

use super::far::{Cause, FarReport};
use super::state::PortResult;
use super::target::Target;
use crate::config::Policy;

/// The results of a scan.
#[derive(Clone, Debug)]
pub struct Results {
    /// The hosts, in the order of the command line.
    pub hosts: Vec<HostResults>,
    /// The duration of the scan.
    pub elapsed: Duration,
    /// The file of the policy, as the user wrote it.
    pub policy: Option<String>,
}

/// The results of a host.
#[derive(Clone, Debug)]
pub struct HostResults {
    /// The host.
    pub target: Target,
    /// The results of its ports, in ascending order.
    pub ports: Vec<PortResult>,
    /// Whether each port must be open. `None` without a policy.
    expected: Option<Vec<bool>>,
    /// The port report of the host.
    far: Option<FarReport>,
}

impl Results {
    /// Returns the number of ports, of all hosts, that differ from the policy.
    pub fn differences(&self) -> usize {
        self.hosts.iter().map(HostResults::differences).sum()
    }
}

impl HostResults {
    /// Compares the results of a host with a policy, and with the port report of the host.
    pub fn new(target: Target, ports: Vec<PortResult>, policy: Option<&Policy>, far: Option<FarReport>) -> Self {
        let expected = policy.map(|policy| {
            let expects_open = |result: &PortResult| policy.expects_open(target.source, target.ip(), result.port);
            ports.iter().map(expects_open).collect()
        });
        Self { target, ports, expected, far }
    }

    /// Returns whether the port with this index must be open. `None` without a policy.
    pub fn expected(&self, index: usize) -> Option<bool> {
        self.expected.as_ref()?.get(index).copied()
    }

    /// Returns where the segments of the port with this index were lost. `None` if they were not, or without a report.
    pub fn cause(&self, index: usize) -> Option<Cause> {
        let PortResult { port, state, .. } = self.ports.get(index)?;
        self.far.as_ref()?.cause(*port, state)
    }

    /// Returns whether the state of the port with this index differs from the policy.
    ///
    /// A port on which something answers in place of the host counts as closed.
    pub fn differs(&self, index: usize) -> bool {
        let is_open = self.ports[index].state.is_open() && self.cause(index) != Some(Cause::InBetween);
        self.expected(index).is_some_and(|expected| expected != is_open)
    }

    /// Returns the number of ports that differ from the policy.
    pub fn differences(&self) -> usize {
        (0..self.ports.len()).filter(|&index| self.differs(index)).count()
    }
}
