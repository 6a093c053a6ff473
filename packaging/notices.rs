//! The licences of the libraries that the command and the XDP program are linked with, which want their texts to go along.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// How the names of files with licences begin.
const NAMES: [&str; 5] = ["licen", "copying", "copyright", "notice", "unlicense"];

/// The packages that go into the command and into the XDP program, and the texts of their licences, each once.
pub fn notices() -> Result<String, Box<dyn Error>> {
    let mut packages = BTreeMap::new();
    for manifest in ["Cargo.toml", "src/bpf/Cargo.toml"] {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(manifest);
        let options = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned);
        let metadata = MetadataCommand::new().manifest_path(manifest).other_options(options).exec()?;
        for package in linked(&metadata).ok_or("no graph of packages")? {
            packages.insert((package.name.to_string(), package.version.to_string()), package.clone());
        }
    }
    let mut text = String::from("tcp-bounce is linked with these packages of crates.io:\n\n");
    let mut licences: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((name, version), package) in &packages {
        let licence = package.license.as_deref().ok_or_else(|| format!("{name} has no licence"))?;
        writeln!(text, "{name} {version}: {licence}")?;
        let folder = package.manifest_path.parent().ok_or("a manifest is in a folder")?;
        for licence in texts(folder.as_std_path())? {
            licences.entry(licence).or_default().push(format!("{name} {version}"));
        }
    }
    for (licence, packages) in licences {
        write!(text, "\n{}\n{}\n\n{}\n", "-".repeat(72), packages.join(", "), licence.trim_end())?;
    }
    Ok(text)
}

/// The packages that those of the workspace need to run, and not only to be built or tested; without them.
fn linked(metadata: &Metadata) -> Option<Vec<&Package>> {
    let nodes: BTreeMap<&PackageId, _> = metadata.resolve.as_ref()?.nodes.iter().map(|node| (&node.id, node)).collect();
    let documents = env!("CARGO_PKG_NAME");
    let own = metadata.workspace_packages().into_iter().filter(|package| package.name != documents);
    let mut waiting: Vec<&PackageId> = own.map(|package| &package.id).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if found.insert(id) {
            let normal = nodes[id]
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
            waiting.extend(normal.map(|dependency| &dependency.pkg));
        }
    }
    // Those of the workspace come from no registry.
    Some(found.into_iter().map(|id| &metadata[id]).filter(|package| package.source.is_some()).collect())
}

/// The texts in a package's folder and in those in it, as where it has a library along.
fn texts(folder: &Path) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut texts = BTreeSet::new();
    let entries =
        |folder: &Path| fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    for path in entries(folder)? {
        let inner = if path.is_dir() { entries(&path)? } else { vec![path] };
        for path in inner {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            if path.is_file() && NAMES.iter().any(|beginning| name.starts_with(beginning)) {
                texts.insert(fs::read_to_string(&path)?);
            }
        }
    }
    Ok(texts)
}
