//! Collects the licences of all third-party packages that are linked into the command and the XDP program.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use serde::Deserialize;

/// The prefixes of the names of licence files, in lower case.
const LICENCE_FILES: [&str; 5] = ["licen", "copying", "copyright", "notice", "unlicense"];

/// The target of the XDP program. Its licences are those of both byte orders.
const BPF_PLATFORM: &str = "bpfel-unknown-none";

/// The fields of `cargo metadata`'s output that are needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    /// The registry that the package comes from. `None` for a package of the workspace.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// The kind, "build" or "dev". `None` for a normal dependency.
    kind: Option<String>,
}

/// Returns a list of the packages that are linked into the command for `platform` and into the XDP program, followed by
/// each distinct licence text. `platform` is a target of Rust, such as `aarch64-unknown-linux-gnu`.
pub fn notices(platform: &str) -> Result<String, Box<dyn Error>> {
    let mut packages = BTreeMap::new();
    for (manifest, platform) in [("Cargo.toml", platform), ("src/bpf/package/Cargo.toml", BPF_PLATFORM)] {
        for package in linked_packages(read_metadata(manifest, platform)?) {
            packages.insert((package.name.clone(), package.version.clone()), package);
        }
    }
    let mut text = String::from("tcp-bounce is linked with these packages of crates.io:\n\n");
    let mut users_by_licence: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((name, version), package) in &packages {
        let licence = package.license.as_deref().ok_or_else(|| format!("{name} has no licence"))?;
        writeln!(text, "{name} {version}: {licence}")?;
        let folder = package.manifest_path.parent().ok_or("a manifest has no folder")?;
        for licence in licence_texts(folder)? {
            users_by_licence.entry(licence).or_default().push(format!("{name} {version}"));
        }
    }
    for (licence, users) in users_by_licence {
        write!(text, "\n{}\n{}\n\n{}\n", "-".repeat(72), users.join(", "), licence.trim_end())?;
    }
    Ok(text)
}

/// Runs `cargo metadata` for a manifest and a platform. The path is relative to the root of the repository.
fn read_metadata(manifest: &str, platform: &str) -> Result<Metadata, Box<dyn Error>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(manifest);
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", platform, "--manifest-path"])
        .arg(&manifest)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata fails for {} on {platform}", manifest.display()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Returns the registry packages that are normal dependencies of workspace members, directly or indirectly.
///
/// Leaves out the packages that only this tool needs, and the packages that are only needed to build or to test.
fn linked_packages(metadata: Metadata) -> Vec<Package> {
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let is_this_tool = |id: &str| metadata.packages.iter().any(|p| p.id == id && p.name == env!("CARGO_PKG_NAME"));
    let mut pending: Vec<&str> = metadata.workspace_members.iter().map(String::as_str).collect();
    pending.retain(|id| !is_this_tool(id));
    let mut linked = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if linked.insert(id) {
            let dependencies = nodes[id].deps.iter();
            let normal = dependencies.filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            pending.extend(normal.map(|dependency| dependency.pkg.as_str()));
        }
    }
    let packages = metadata.packages.into_iter();
    packages.filter(|package| package.source.is_some() && linked.contains(package.id.as_str())).collect()
}

/// Returns the texts of all licence files in a directory and in its direct subdirectories, where packages keep
/// libraries that they bundle.
fn licence_texts(folder: &Path) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let mut texts = BTreeSet::new();
    for path in entries(folder)? {
        let candidates = if path.is_dir() { entries(&path)? } else { vec![path] };
        for path in candidates.into_iter().filter(|path| is_licence_file(path)) {
            texts.insert(fs::read_to_string(&path)?);
        }
    }
    Ok(texts)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn is_licence_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    path.is_file() && LICENCE_FILES.iter().any(|prefix| name.starts_with(prefix))
}
