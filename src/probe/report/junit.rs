//! The report as JUnit XML: a test suite for each host, a test case for each range of ports.

use super::describe;
use crate::port_table::junit::{Case, Suite, name, render as render_suites};
use crate::port_table::{Row, expected, fold};
use crate::probe::results::{HostResults, Results};

/// The key of a test case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    differs: bool,
    state: &'static str,
    answer: String,
}

/// Returns the report. A range of ports that differs from the policy is a failure.
pub fn render(results: &Results) -> String {
    let suites = results.hosts.iter().map(|host| Suite { name: host.target.title(), cases: cases(host) });
    render_suites("tcp-bounce probe", results.elapsed.as_secs_f64(), &suites.collect::<Vec<_>>())
}

fn cases(host: &HostResults) -> Vec<Case> {
    let key = |index: usize| {
        let result = &host.ports[index];
        let answer = describe::port(host, index, true);
        Key { differs: host.differs(index), state: describe::state(&result.state), answer }
    };
    let rows = fold(host.ports.iter().map(|result| result.port), key);
    rows.iter().map(|row| case(host, row)).collect()
}

fn case(host: &HostResults, row: &Row<Key>) -> Case {
    let Key { differs, state, answer } = &row.key;
    let seen = if answer.is_empty() { (*state).to_owned() } else { format!("{state}: {answer}") };
    let expected = host.expected(row.indices.start).filter(|_| *differs).map(expected);
    Case { name: name(row.ports), seen, expected }
}
