//! The structure of user space: layers import only downward, without cycles, and only the command line uses clap.
//!
//! `docs/internals/architecture.md` explains the layers. `src/wire/tests/layers.rs` tests the packet logic.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The layers from the lowest to the highest. Modules in one layer may not import each other.
const LAYERS: [&[&str]; 14] = [
    &["diagnosis", "port_table"],
    &["config"],
    &["output"],
    &["probe"],
    &["process"],
    &["host"],
    &["xdp"],
    &["responder"],
    &["telemetry"],
    &["preflight"],
    &["ui"],
    &["error"],
    &["command", "run"],
    &["cli"],
];

/// The only files that may use clap.
const KNOW_CLAP: [&str; 3] = ["cli/probe.rs", "cli/responder.rs", "cli/usage.rs"];

/// A module, as its path below `src`: `["responder", "scope"]`.
type Module = Vec<String>;

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns the sources of user space, without comment lines and unit tests, by their paths below `src`.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![source_folder()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(source_folder()).unwrap().to_owned();
            // `wire` and `bpf` are separate packages.
            if path.is_dir() && !below.starts_with("wire") && !below.starts_with("bpf") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !below.ends_with("tests.rs") {
                sources.insert(below, code(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(sources.len() > 30, "{sources:?}");
    sources
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn module(path: &Path) -> Module {
    let mut parts: Module = path.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs").to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// Returns the paths in user space that the code of `module` contains. `text` is this code, and `children` are the
/// submodules that it can name without a prefix.
fn paths(text: &str, module: &Module, children: &[&str]) -> Vec<Module> {
    let start = Regex::new(r"\b(crate|super|self)((?:::super)*)::").unwrap();
    let mut paths = Vec::new();
    for found in start.captures_iter(text) {
        let mut base = match &found[1] {
            "crate" => Vec::new(),
            "self" => module.clone(),
            _ => module[..module.len().saturating_sub(1)].to_vec(),
        };
        base.truncate(base.len().saturating_sub(found[2].matches("super").count()));
        expand(&text[found.get(0).unwrap().end()..], &base, &mut paths);
    }
    // A `mod.rs` may name its submodules without a prefix. Re-exports are not imports.
    let uses = text.lines().filter(|line| !line.trim_start().starts_with("pub use ")).collect::<Vec<_>>().join("\n");
    for child in children {
        if Regex::new(&format!(r"(?:^|[^\w:]){child}::")).unwrap().is_match(&uses) {
            paths.push(module.iter().cloned().chain([(*child).to_owned()]).collect());
        }
    }
    paths
}

/// Adds the path at the start of `text`, or each path in braces, to `paths`. The paths continue `base`.
fn expand(text: &str, base: &Module, paths: &mut Vec<Module>) {
    let name = Regex::new(r"^\s*(\w+)(::)?").unwrap();
    if let Some(inner) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut item = 0;
        for (index, character) in inner.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' => {
                    if depth == 0 {
                        expand(inner[item..index].trim_start(), base, paths);
                        item = index + 1;
                    }
                    if character == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
    } else if let Some(found) = name.captures(text) {
        let mut path = base.clone();
        path.push(found[1].to_owned());
        if found.get(2).is_some() {
            expand(&text[found.get(0).unwrap().end()..], &path, paths);
        } else {
            paths.push(path);
        }
    }
}

/// Returns the modules of user space that each module imports from.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let sources = sources();
    let modules: BTreeSet<Module> = sources.keys().map(|path| module(path)).collect();
    let reexports = reexports(&sources, &modules);
    let mut imports = BTreeMap::new();
    for (path, text) in &sources {
        let module = module(path);
        let children = modules.iter().filter(|other| other.len() == module.len() + 1 && other.starts_with(&module));
        let children: Vec<&str> = children.filter_map(|child| child.last()).map(String::as_str).collect();
        let found = paths(text, &module, if path.ends_with("mod.rs") { &children } else { &[] });
        let found = found.into_iter().filter_map(|path| resolve(path, &modules, &reexports));
        imports.insert(module.clone(), found.filter(|other| *other != module).collect());
    }
    imports
}

/// Returns the items that a `mod.rs` re-exports, each with the module that defines it.
fn reexports(sources: &BTreeMap<PathBuf, String>, modules: &BTreeSet<Module>) -> BTreeMap<Module, Module> {
    let reexport = Regex::new(r"(?m)^pub use (?:self::)?(\w[^;]*);").unwrap();
    let mut reexports = BTreeMap::new();
    for (path, text) in sources.iter().filter(|(path, _)| path.ends_with("mod.rs")) {
        let folder = module(path);
        for found in reexport.captures_iter(text) {
            let mut items = Vec::new();
            expand(&found[1], &folder, &mut items);
            for item in items {
                let owner: Module = item[..item.len() - 1].to_vec();
                if modules.contains(&owner) {
                    let name = folder.iter().chain(item.last()).cloned().collect();
                    reexports.insert(name, owner);
                }
            }
        }
    }
    reexports
}

/// Returns the module that defines the item at `path`, or `None` if it is not in user space.
fn resolve(path: Module, modules: &BTreeSet<Module>, reexports: &BTreeMap<Module, Module>) -> Option<Module> {
    (1..=path.len()).rev().find_map(|length| {
        let prefix = path[..length].to_vec();
        reexports.get(&prefix).cloned().or_else(|| modules.contains(&prefix).then_some(prefix))
    })
}

fn rank(module: &Module) -> usize {
    let layer = module.first().map(String::as_str).unwrap_or("lib");
    match layer {
        "lib" | "main" => LAYERS.len(),
        layer => {
            LAYERS.iter().position(|names| names.contains(&layer)).unwrap_or_else(|| panic!("{layer} is not a layer"))
        }
    }
}

#[test]
fn imports_go_down_the_layers() {
    let mut upward = Vec::new();
    for (module, others) in imports() {
        for other in others {
            let is_within = module.first() == other.first();
            if !is_within && rank(&other) >= rank(&module) {
                upward.push(format!("{} imports {}", module.join("::"), other.join("::")));
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut imports = imports();
    // The crate root only names its public items.
    imports.remove(&Module::new());
    // Removes modules from the bottom up. Modules in a cycle always have imports left, so they are never removed.
    while let Some(module) = imports.iter().find(|(_, others)| others.is_empty()).map(|(module, _)| module.clone()) {
        imports.remove(&module);
        for others in imports.values_mut() {
            others.remove(&module);
        }
    }
    let left = imports.iter().map(|(module, others)| {
        let others: Vec<String> = others.iter().map(|other| other.join("::")).collect();
        format!("{} imports {}", module.join("::"), others.join(", "))
    });
    let left: Vec<String> = left.collect();
    assert!(left.is_empty(), "{}", left.join("\n"));
}

#[test]
fn only_the_command_line_knows_clap() {
    let sources = sources();
    let clap = Regex::new(r"\bclap\b").unwrap();
    let know: Vec<&Path> =
        sources.iter().filter(|(_, text)| clap.is_match(text)).map(|(path, _)| path.as_path()).collect();
    assert_eq!(know, KNOW_CLAP.map(Path::new));
}

#[test]
fn each_file_says_its_purpose_in_the_first_line() {
    for (path, _) in sources() {
        let text = fs::read_to_string(source_folder().join(&path)).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.ends_with(['.', ':', ',']) || first.len() > 60, "{path:?}: {first}");
    }
}
