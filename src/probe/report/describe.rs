//! The words for the state of a port and its answer.

use std::net::SocketAddr;
use std::time::Duration;

use crate::probe::far::Cause;
use crate::probe::identity::Identification;
use crate::probe::quote::quoted;
use crate::probe::results::HostResults;
use crate::probe::state::{Answer, PortResult, PortState, Silence};

/// The maximum width of received data in a table.
const DATA_WIDTH: usize = 48;

/// Returns the name of a state.
pub fn state(state: &PortState) -> &'static str {
    match state {
        PortState::Open(_) => "open",
        PortState::Refused => "refused",
        PortState::Unreachable { .. } => "unreachable",
        PortState::Filtered => "filtered",
    }
}

/// Returns the name of the kind of an answer.
pub fn answer_kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Identified(Identification { is_proven: Some(false), .. }) => "impostor",
        Answer::Identified(_) => "tcp-bounce",
        Answer::Data(_) => "data",
        Answer::Silent(_) => "silent",
    }
}

/// Returns a description of the answer or the error of the port with this index, and of the place where its segments
/// were lost. The text is empty if there is neither.
///
/// For a range of ports, `is_range`, the ports of this side are left out: they differ.
pub fn port(host: &HostResults, index: usize, is_range: bool) -> String {
    let PortResult { port, state, .. } = &host.ports[index];
    let answer = answer(state, host.target.endpoint(*port), is_range);
    match host.cause(index).map(Cause::description) {
        Some(cause) if answer.is_empty() => cause.to_owned(),
        Some(cause) => format!("{answer}: {cause}"),
        None => answer,
    }
}

/// Returns a description of the answer or the error, and an empty text if there is none.
///
/// `target` is the endpoint that was connected to.
fn answer(state: &PortState, target: SocketAddr, is_range: bool) -> String {
    match state {
        PortState::Open(Answer::Identified(identification)) => identified(identification, target, is_range),
        PortState::Open(Answer::Data(data)) => quoted(data, DATA_WIDTH),
        PortState::Open(Answer::Silent(Silence::Open)) => "silent".to_owned(),
        PortState::Open(Answer::Silent(Silence::Closed)) => "closed without data".to_owned(),
        PortState::Open(Answer::Silent(Silence::Reset)) => "reset without data".to_owned(),
        PortState::Unreachable { errno, icmp: Some(icmp) } => format!("{errno:?} ({icmp})"),
        PortState::Unreachable { errno, icmp: None } => format!("{errno:?}"),
        PortState::Refused | PortState::Filtered => String::new(),
    }
}

fn identified(identification: &Identification, target: SocketAddr, is_range: bool) -> String {
    let source = identification.identity.source;
    let source = if is_range { source.ip().to_string() } else { source.to_string() };
    let mut text = format!("{}, reached from {source}", answer_kind(&Answer::Identified(*identification)));
    if identification.has_translated_source() {
        text.push_str(" (translated)");
    }
    if identification.has_translated_destination(target) {
        text.push_str(&format!(" at {}", identification.identity.destination));
    }
    text
}

/// Returns a latency in milliseconds.
pub fn latency(latency: Duration) -> String {
    let milliseconds = latency.as_secs_f64() * 1000.0;
    match milliseconds {
        ..0.05 => "<0.1 ms".to_owned(),
        ..9.95 => format!("{milliseconds:.1} ms"),
        _ => format!("{milliseconds:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_two_digits_below_ten_milliseconds() {
        for (microseconds, text) in
            [(0, "<0.1 ms"), (49, "<0.1 ms"), (50, "0.1 ms"), (940, "0.9 ms"), (9949, "9.9 ms"), (12_300, "12 ms")]
        {
            assert_eq!(latency(Duration::from_micros(microseconds)), text);
        }
    }
}
