//! The layers of the crate: each file imports only from files above it in the table of `lib.rs`.

use std::collections::BTreeSet;
use std::fs;

/// Returns the modules in the table of `lib.rs`, from top to bottom.
fn layers() -> Vec<String> {
    let rows = include_str!("../lib.rs").lines().filter_map(|line| line.strip_prefix("//! | [`"));
    rows.map(|row| row.split('`').next().unwrap().trim_start_matches("mod@").to_owned()).collect()
}

/// Returns each name that follows `crate::` in `source`, except in comments.
fn imports(source: &str) -> BTreeSet<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    assert!(!code.contains("super::"), "paths to other files must begin with `crate::`");
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.split("crate::").skip(1).map(|rest| rest.split(|letter| !is_word(letter)).next().unwrap().to_owned()).collect()
}

/// Returns a message for each import of `module` that is not from a file above it.
fn violations(module: &str, source: &str, layers: &[String]) -> Vec<String> {
    let rank = |name: &str| layers.iter().position(|layer| layer == name);
    let own = rank(module).unwrap_or_else(|| panic!("`{module}` is not in the table of lib.rs"));
    let is_above = |name: &String| rank(name).is_some_and(|rank| rank < own);
    let upward = imports(source).into_iter().filter(|name| !is_above(name));
    upward.map(|name| format!("{module}.rs imports crate::{name}")).collect()
}

#[test]
fn imports_lead_to_upper_layers_only() {
    let layers = layers();
    let mut modules = BTreeSet::new();
    for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let path = entry.unwrap().path();
        let is_module = path.extension().is_some_and(|extension| extension == "rs");
        if !is_module || path.ends_with("lib.rs") || path.ends_with("build.rs") {
            continue;
        }
        let module = path.file_stem().unwrap().to_str().unwrap();
        let source = fs::read_to_string(&path).unwrap();
        assert_eq!(violations(module, &source, &layers), [""; 0]);
        modules.insert(module.to_owned());
    }
    assert_eq!(modules, layers.into_iter().collect(), "the table of lib.rs lists each file once");
}

#[test]
fn detects_imports_of_lower_layers() {
    let layers = ["address", "frame", "respond"].map(str::to_owned);
    let source = "use crate::address::Mac;\nuse crate::respond::respond;\n// use crate::nothing;\n";
    assert_eq!(violations("frame", source, &layers), ["frame.rs imports crate::respond"]);
    assert_eq!(violations("frame", "let mac = crate::Filters::new();", &layers), ["frame.rs imports crate::Filters"]);
    assert_eq!(violations("address", "use crate::address::Mac;", &layers), ["address.rs imports crate::address"]);
    assert_eq!(violations("respond", "use crate::{address, frame};", &layers), ["respond.rs imports crate::"]);
}
