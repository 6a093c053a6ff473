//! The port report of the far side (`--far`), and where the segments of a port were lost.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::state::{Answer, PortState, Silence};

/// The contents of a port report that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FarReport {
    ports: BTreeMap<u16, FarPort>,
}

/// The report of a port that received SYNs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
struct FarPort {
    port: u16,
    state: FarState,
    completed: u64,
}

/// The treatment of a port on the far side.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum FarState {
    /// tcp-bounce answered.
    Answered,
    /// A local listener or the host answered.
    #[serde(alias = "listener")]
    Excluded,
}

/// The file as tcp-bounce writes it. Unknown fields are ignored: later versions may add some.
#[derive(Deserialize)]
struct FileText {
    r#type: String,
    ports: Vec<FarPort>,
}

/// The place where the segments of a port were lost or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No SYN arrived at the host.
    NoSyn,
    /// A SYN arrived. Its answer was lost on the way back.
    AnswerLost,
    /// The SYN-ACK arrived here. The last ACK of the handshake was lost on the way there.
    AckLost,
    /// The host itself refused the SYN, or did not answer it.
    Host,
    /// Something on the way answered in place of the host.
    InBetween,
}

impl Cause {
    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSyn => "no_syn",
            Self::AnswerLost => "answer_lost",
            Self::AckLost => "ack_lost",
            Self::Host => "host",
            Self::InBetween => "in_between",
        }
    }

    /// Returns a description for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::NoSyn => "no SYN arrived",
            Self::AnswerLost => "the SYN arrived, and the answer was lost",
            Self::AckLost => "the last ACK did not arrive",
            Self::Host => "the SYN arrived, and the host did not accept it",
            Self::InBetween => "answered by something in between",
        }
    }
}

impl FarReport {
    /// Parses a port report in JSON.
    ///
    /// # Errors
    ///
    /// The text is no JSON, or no port report.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let file: FileText = serde_json::from_str(text)?;
        if file.r#type != "report" {
            return Err(serde::de::Error::custom("the type of the object is not \"report\""));
        }
        Ok(Self { ports: file.ports.into_iter().map(|port| (port.port, port)).collect() })
    }

    /// Returns where the segments of a port were lost or answered, given its state on this side. `None` if nothing was,
    /// and if no SYN was sent.
    pub fn cause(&self, port: u16, state: &PortState) -> Option<Cause> {
        let Some(far) = self.ports.get(&port) else {
            return match state {
                PortState::Filtered => Some(Cause::NoSyn),
                // The line of tcp-bounce arrived, so this is the report of another host or time.
                PortState::Open(Answer::Identified(_)) | PortState::Unreachable { icmp: None, .. } => None,
                PortState::Open(_) | PortState::Refused | PortState::Unreachable { .. } => Some(Cause::InBetween),
            };
        };
        match (far.state, state) {
            (_, PortState::Unreachable { icmp: None, .. }) => None,
            (FarState::Answered, PortState::Filtered) => Some(Cause::AnswerLost),
            (FarState::Answered, PortState::Refused | PortState::Unreachable { .. }) => Some(Cause::InBetween),
            (FarState::Answered, PortState::Open(Answer::Silent(Silence::Open))) if far.completed == 0 => {
                Some(Cause::AckLost)
            }
            (FarState::Answered | FarState::Excluded, PortState::Open(_)) => None,
            (FarState::Excluded, _) => Some(Cause::Host),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::probe::icmp::IcmpError;

    /// A report in which tcp-bounce answered at ports 80 and 81, and the host at port 22.
    const REPORT: &str = r#"{
        "version": 2, "type": "report", "time": null, "interfaces": [], "events_dropped": 0, "later": 1,
        "ports": [
            {"port": 22, "state": "listener", "syns": 1, "completed": 0},
            {"port": 23, "state": "excluded", "syns": 1, "completed": 0},
            {"port": 80, "state": "answered", "syns": 3, "completed": 0},
            {"port": 81, "state": "answered", "syns": 3, "completed": 1}
        ]
    }"#;

    #[test]
    fn the_cause_follows_from_both_sides() {
        let report = FarReport::parse(REPORT).unwrap();
        let icmp = Some(IcmpError { is_v6: false, kind: 3, code: 13, sender: None });
        let rejected = PortState::Unreachable { errno: Errno::EHOSTUNREACH, icmp };
        let unsent = PortState::Unreachable { errno: Errno::ENETUNREACH, icmp: None };
        let data = PortState::Open(Answer::Data(b"x".to_vec()));
        for (port, state, cause) in [
            (79, &PortState::Filtered, Some(Cause::NoSyn)),
            (79, &PortState::Refused, Some(Cause::InBetween)),
            (79, &rejected, Some(Cause::InBetween)),
            (79, &PortState::SILENT, Some(Cause::InBetween)),
            (79, &data, Some(Cause::InBetween)),
            (79, &unsent, None),
            (80, &PortState::Filtered, Some(Cause::AnswerLost)),
            (80, &PortState::Refused, Some(Cause::InBetween)),
            (80, &rejected, Some(Cause::InBetween)),
            (80, &PortState::SILENT, Some(Cause::AckLost)),
            (80, &data, None),
            (81, &PortState::SILENT, None),
            (22, &PortState::Refused, Some(Cause::Host)),
            (22, &PortState::Filtered, Some(Cause::Host)),
            (23, &rejected, Some(Cause::Host)),
            (23, &unsent, None),
            (22, &data, None),
            (22, &PortState::SILENT, None),
        ] {
            assert_eq!(report.cause(port, state), cause, "{port} {state:?}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        for text in ["", "[]", "{\"type\": \"probe\", \"ports\": []}", "{\"type\": \"report\"}", "port,state\n"] {
            FarReport::parse(text).unwrap_err();
        }
    }
}
