//! The report as text: totals, and a table of ranges of ports.

use std::time::Duration;

use super::{describe, matrix};
use crate::port_table::{Row, expected, fold, table, verdict};
use crate::probe::results::{HostResults, Results};
use crate::probe::state::{PortResult, PortState};

/// The key of a row in the table of a host. What differs comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    differs: bool,
    state: &'static str,
    answer: String,
}

/// Returns the totals of each host, and a table. Several hosts share one table, with a column for each.
pub fn render(results: &Results) -> String {
    let mut text: String = results.hosts.iter().map(|host| format!("{}\n", totals(host))).collect();
    match results.hosts.as_slice() {
        [host] => text.push_str(&host_table(host)),
        hosts => text.push_str(&matrix::render(hosts)),
    }
    if let Some(policy) = &results.policy {
        text.push_str(&format!("{}\n", verdict(policy, results.differences())));
    }
    text.push_str(&format!("probed in {:.1} seconds\n", results.elapsed.as_secs_f64()));
    text
}

/// Returns a line with the number of ports in each state.
fn totals(host: &HostResults) -> String {
    let kinds: Vec<(&str, Option<&str>)> = host.ports.iter().map(|result| kind(&result.state)).collect();
    let count = |state: &str| kinds.iter().filter(|kind| kind.0 == state).count();
    let answers = ["tcp-bounce", "impostor", "data", "silent"].into_iter().filter_map(|answer| {
        let count = kinds.iter().filter(|kind| kind.1 == Some(answer)).count();
        (count > 0).then(|| format!("{count} {answer}"))
    });
    let answers = answers.collect::<Vec<_>>().join(", ");
    let answers = if answers.is_empty() { answers } else { format!(" ({answers})") };
    let others = ["refused", "unreachable", "filtered"].into_iter().filter_map(|state| {
        let count = count(state);
        (count > 0).then(|| format!(", {count} {state}"))
    });
    let others: String = others.collect();
    format!("{}: {} open{answers}{others}", host.target.title(), count("open"))
}

fn kind(state: &PortState) -> (&'static str, Option<&'static str>) {
    let answer = match state {
        PortState::Open(answer) => Some(describe::answer_kind(answer)),
        _ => None,
    };
    (describe::state(state), answer)
}

fn host_table(host: &HostResults) -> String {
    let key = |index: usize| {
        let state = describe::state(&host.ports[index].state);
        Key { differs: host.differs(index), state, answer: describe::port(host, index, true) }
    };
    let mut rows = fold(host.ports.iter().map(|result| result.port), key);
    rows.sort_by_key(|row| !row.key.differs);
    let has_policy = host.expected(0).is_some();
    let headings = ["PORTS", "STATE", "EXPECTED", "LATENCY", "ANSWER"].map(str::to_owned).to_vec();
    let rows = rows.iter().map(|row| cells(host, row));
    let mut rows: Vec<Vec<String>> = [headings].into_iter().chain(rows).collect();
    if !has_policy {
        rows.iter_mut().for_each(|row| drop(row.remove(2)));
    }
    table(&rows)
}

/// Returns the cells of a row: the ports, the state, the expectation if it differs, the median of the latencies, and
/// the answer.
fn cells(host: &HostResults, row: &Row<Key>) -> Vec<String> {
    let results = &host.ports[row.indices.clone()];
    let Key { differs, state, answer } = &row.key;
    let answer = match results {
        [_] => describe::port(host, row.indices.start, false),
        _ => answer.clone(),
    };
    let expected = host.expected(row.indices.start).filter(|_| *differs).map(expected);
    let latency = median(results).map(describe::latency).unwrap_or_default();
    vec![row.ports.to_string(), (*state).to_owned(), expected.unwrap_or_default().to_owned(), latency, answer]
}

fn median(results: &[PortResult]) -> Option<Duration> {
    let mut latencies: Vec<Duration> = results.iter().filter_map(|result| result.latency).collect();
    latencies.sort_unstable();
    latencies.get(latencies.len() / 2).copied()
}
