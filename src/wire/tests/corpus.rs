//! Runs the packet logic on each input in the fuzzer's corpus.

use crate::common;
#[path = "common/input.rs"]
mod input;

use std::fs;
use std::panic;

#[test]
fn holds_the_invariants_for_the_corpus() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/bounce");
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() > 100, "the corpus is missing: {} inputs", inputs.len());
    for path in inputs {
        let bytes = fs::read(&path).unwrap();
        panic::catch_unwind(|| input::run(&bytes)).unwrap_or_else(|_| panic!("{}", path.display()));
    }
}
