//! The report as one line of JSON.

use serde::Serialize;

use super::describe;
use crate::port_table;
use crate::probe::far::Cause;
use crate::probe::icmp::IcmpError;
use crate::probe::results::{HostResults, Results};
use crate::probe::state::{Answer, PortResult, PortState, Silence};

#[derive(Serialize)]
struct ReportJson {
    version: u32,
    r#type: &'static str,
    elapsed: f64,
    policy: Option<String>,
    hosts: Vec<HostJson>,
}

#[derive(Serialize)]
struct HostJson {
    host: String,
    address: String,
    source: Option<String>,
    differences: Option<usize>,
    ports: Vec<PortJson>,
}

#[derive(Serialize)]
struct PortJson {
    port: u16,
    state: &'static str,
    /// The state that the policy expects.
    expected: Option<&'static str>,
    /// The place where the segments of the port were lost.
    cause: Option<&'static str>,
    latency: Option<f64>,
    attempts: u32,
    answer: Option<AnswerJson>,
    error: Option<ErrorJson>,
}

#[derive(Default, Serialize)]
struct AnswerJson {
    kind: &'static str,
    /// The received bytes, escaped.
    data: Option<String>,
    /// The end of a silent connection.
    end: Option<&'static str>,
    /// The endpoints in the line of tcp-bounce.
    destination: Option<String>,
    source: Option<String>,
    local: Option<String>,
    is_proven: Option<bool>,
}

#[derive(Serialize)]
struct ErrorJson {
    errno: String,
    icmp: Option<IcmpJson>,
}

#[derive(Serialize)]
struct IcmpJson {
    r#type: u8,
    code: u8,
    sender: Option<String>,
}

/// Returns the report with a final newline. `version` is the version of the schema.
pub fn render(results: &Results, version: u32) -> String {
    let json = ReportJson {
        version,
        r#type: "probe",
        elapsed: results.elapsed.as_secs_f64(),
        policy: results.policy.clone(),
        hosts: results.hosts.iter().map(host).collect(),
    };
    // Serialization cannot fail: all keys are strings.
    format!("{}\n", serde_json::to_string(&json).unwrap_or_default())
}

fn host(host: &HostResults) -> HostJson {
    HostJson {
        host: host.target.host.clone(),
        address: host.target.ip().to_string(),
        source: host.target.source.map(|source| source.to_string()),
        differences: host.expected(0).map(|_| host.differences()),
        ports: (0..host.ports.len()).map(|index| port(host, index)).collect(),
    }
}

fn port(host: &HostResults, index: usize) -> PortJson {
    let PortResult { port, state, latency, attempts } = &host.ports[index];
    let (answer, error) = match state {
        PortState::Open(open) => (Some(answer(open)), None),
        PortState::Unreachable { errno, icmp } => {
            (None, Some(ErrorJson { errno: format!("{errno:?}"), icmp: icmp.as_ref().map(icmp_json) }))
        }
        PortState::Refused | PortState::Filtered => (None, None),
    };
    PortJson {
        port: *port,
        state: describe::state(state),
        expected: host.expected(index).map(port_table::expected),
        cause: host.cause(index).map(Cause::name),
        latency: latency.map(|latency| latency.as_secs_f64()),
        attempts: *attempts,
        answer,
        error,
    }
}

fn answer(answer: &Answer) -> AnswerJson {
    let json = AnswerJson { kind: describe::answer_kind(answer), ..AnswerJson::default() };
    match answer {
        Answer::Identified(identification) => AnswerJson {
            destination: Some(identification.identity.destination.to_string()),
            source: Some(identification.identity.source.to_string()),
            local: identification.local.map(|local| local.to_string()),
            is_proven: identification.is_proven,
            ..json
        },
        Answer::Data(data) => AnswerJson { data: Some(data.escape_ascii().to_string()), ..json },
        Answer::Silent(silence) => {
            let end = match silence {
                Silence::Open => None,
                Silence::Closed => Some("closed"),
                Silence::Reset => Some("reset"),
            };
            AnswerJson { end, ..json }
        }
    }
}

fn icmp_json(icmp: &IcmpError) -> IcmpJson {
    IcmpJson { r#type: icmp.kind, code: icmp.code, sender: icmp.sender.map(|sender| sender.to_string()) }
}
