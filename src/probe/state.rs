//! The state of a port, as a client sees it, and the merger of the results of several attempts.

use std::time::Duration;

use nix::errno::Errno;

use super::icmp::IcmpError;
use super::identity::Identification;

/// The result of all attempts at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortResult {
    /// The port.
    pub port: u16,
    /// The state of the port.
    pub state: PortState,
    /// The time from the first segment of the decisive attempt to its answer. `None` if the port is filtered.
    pub latency: Option<Duration>,
    /// The number of attempts.
    pub attempts: u32,
}

/// The state of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    /// A handshake was completed.
    Open(Answer),
    /// The SYN was answered with RST.
    Refused,
    /// The SYN was answered with an ICMP error, or could not be sent.
    Unreachable {
        /// The error of `connect(2)`.
        errno: Errno,
        /// The ICMP error. `None` if an error of this host kept the SYN from being sent, and before Linux 5.9.
        icmp: Option<IcmpError>,
    },
    /// Nothing answered the SYN.
    Filtered,
}

/// The answer of an open port, after the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The line of a tcp-bounce with `--on-connect identify`.
    Identified(Identification),
    /// Other data, cut after [`Answer::MAX_DATA`] bytes.
    Data(Vec<u8>),
    /// No data.
    Silent(Silence),
}

impl Answer {
    /// The maximum number of bytes that are kept of an answer.
    pub const MAX_DATA: usize = 256;
}

/// The end of a connection without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The connection stayed open.
    Open,
    /// The other side closed it.
    Closed,
    /// The other side reset it.
    Reset,
}

impl PortState {
    /// The state of an open port that has sent nothing yet.
    pub const SILENT: Self = Self::Open(Answer::Silent(Silence::Open));

    /// Returns whether the state is certain. Loss on the path can cause the other states, so a new attempt may differ.
    pub fn is_settled(&self) -> bool {
        *self != Self::Filtered && *self != Self::SILENT
    }

    /// Returns whether the state is a segment of the other side, which was not lost.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Refused)
    }

    /// Returns whether the port counts as open for a policy. An impostor is not the host.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Open(Answer::Identified(identification)) => identification.is_proven != Some(false),
            Self::Open(_) => true,
            Self::Refused | Self::Unreachable { .. } | Self::Filtered => false,
        }
    }

    /// Returns how much the state says about the port. Of two attempts, the one that says more is the result.
    fn weight(&self) -> u8 {
        match self {
            Self::Open(Answer::Identified(_)) => 5,
            Self::Open(Answer::Data(_)) => 4,
            Self::Open(Answer::Silent(_)) => 3,
            Self::Refused => 2,
            Self::Unreachable { .. } => 1,
            Self::Filtered => 0,
        }
    }
}

impl PortResult {
    /// Returns the result before the first attempt.
    pub fn new(port: u16) -> Self {
        Self { port, state: PortState::Filtered, latency: None, attempts: 0 }
    }

    /// Adds the result of an attempt. Returns whether the attempt was answered better than all earlier ones.
    pub fn add(&mut self, state: PortState, latency: Option<Duration>) -> bool {
        self.attempts += 1;
        // A connection that ends says more than one that stays open.
        let is_better = (state.weight(), state.is_settled()) > (self.state.weight(), self.state.is_settled());
        if is_better || self.attempts == 1 {
            (self.state, self.latency) = (state, latency);
        }
        is_better && self.state.is_answer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Option<Duration> = Some(Duration::from_millis(1));

    fn result(states: &[PortState]) -> PortState {
        let mut result = PortResult::new(80);
        for state in states {
            result.add(state.clone(), None);
        }
        result.state
    }

    #[test]
    fn the_most_informative_attempt_is_the_result() {
        let closed = PortState::Open(Answer::Silent(Silence::Closed));
        let data = PortState::Open(Answer::Data(b"SSH".to_vec()));
        let unreachable = PortState::Unreachable { errno: Errno::EHOSTUNREACH, icmp: None };
        for (states, expected) in [
            (vec![PortState::Filtered, PortState::Filtered], PortState::Filtered),
            (vec![PortState::Filtered, PortState::Refused], PortState::Refused),
            (vec![PortState::Filtered, unreachable.clone()], unreachable),
            (vec![PortState::SILENT, PortState::Filtered], PortState::SILENT),
            (vec![PortState::SILENT, PortState::Refused], PortState::SILENT),
            (vec![PortState::SILENT, closed.clone()], closed),
            (vec![PortState::Filtered, PortState::SILENT, data.clone()], data),
        ] {
            assert_eq!(result(&states), expected, "{states:?}");
        }
    }

    #[test]
    fn only_answers_that_loss_cannot_explain_are_settled() {
        for state in [PortState::Filtered, PortState::SILENT] {
            assert!(!state.is_settled(), "{state:?}");
        }
        for state in [PortState::Refused, PortState::Open(Answer::Silent(Silence::Reset))] {
            assert!(state.is_settled(), "{state:?}");
        }
    }

    #[test]
    fn attempts_are_counted_and_the_latency_is_that_of_the_decisive_one() {
        let mut result = PortResult::new(80);
        assert!(!result.add(PortState::Filtered, None));
        assert!(result.add(PortState::SILENT, MILLISECOND));
        assert!(!result.add(PortState::Filtered, None));
        let expected = PortResult { port: 80, state: PortState::SILENT, latency: MILLISECOND, attempts: 3 };
        assert_eq!(result, expected);
    }
}
