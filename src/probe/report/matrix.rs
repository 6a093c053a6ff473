//! The table of several hosts: a row for each range of ports, a column for each host.

use super::describe;
use crate::port_table::{expected, fold, table};
use crate::probe::results::HostResults;
use crate::probe::state::PortState;

/// Returns the table. All hosts have the same ports. Rows that differ from the policy come first.
pub fn render(hosts: &[HostResults]) -> String {
    let ports = hosts.first().map(|host| host.ports.iter().map(|result| result.port)).into_iter().flatten();
    let mut rows = fold(ports, |index| hosts.iter().map(|host| cell(host, index)).collect::<Vec<_>>());
    rows.sort_by_key(|row| !hosts.iter().any(|host| host.differs(row.indices.start)));
    let headings = hosts.iter().map(|host| host.target.host.clone());
    let headings: Vec<String> = ["PORTS".to_owned()].into_iter().chain(headings).collect();
    let rows = rows.into_iter().map(|row| [row.ports.to_string()].into_iter().chain(row.key).collect());
    table(&[headings].into_iter().chain(rows).collect::<Vec<_>>())
}

/// Returns the state of a port, with the kind of the answer of an open port, and the expectation if it differs.
fn cell(host: &HostResults, index: usize) -> String {
    let state = &host.ports[index].state;
    let text = match state {
        PortState::Open(answer) => format!("open ({})", describe::answer_kind(answer)),
        state => describe::state(state).to_owned(),
    };
    match host.expected(index).filter(|_| host.differs(index)) {
        Some(is_open) => format!("{text}, expected {}", expected(is_open)),
        None => text,
    }
}
