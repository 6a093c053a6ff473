//! Tables of ports: adjacent ports folded into ranges, as text or as JUnit XML. All functions here are pure.

mod fold;
pub mod junit;
mod table;

pub use fold::{PortRange, Row, fold};
pub use table::table;

/// Returns the verdict of a comparison with a policy, given the number of ports that differ.
pub fn verdict(policy: &str, differences: usize) -> String {
    match differences {
        0 => format!("all ports are as {policy} expects"),
        1 => format!("1 port differs from {policy}"),
        count => format!("{count} ports differ from {policy}"),
    }
}

/// Returns the word for the state that a policy expects.
pub fn expected(is_open: bool) -> &'static str {
    if is_open { "open" } else { "closed" }
}

/// Joins `words` with spaces. `...` at the end stands for additional ones.
pub fn words(mut words: Vec<String>, has_more: bool) -> String {
    words.extend(has_more.then(|| "...".to_owned()));
    words.join(" ")
}
