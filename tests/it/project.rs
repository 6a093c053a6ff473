//! The files around the code: the list of make targets, the workflows, the notes of a release, and the packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use regex::Regex;
use toml::{Table, Value};

/// Runs a command in the root of the repository, and returns its standard output.
#[track_caller]
fn output(command: &mut Command) -> String {
    // `make test` sets variables that would change the output of another make.
    let output = command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn make_lists_every_target_by_theme() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    let declared = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: "));
    let declared: BTreeSet<&str> = declared.flat_map(str::split_whitespace).collect();
    assert!(declared.contains("check-arm64"), "{declared:?}");

    let list = output(&mut Command::new("make"));
    let listed: BTreeSet<&str> =
        list.lines().filter_map(|line| line.strip_prefix("  make ")?.split_whitespace().next()).collect();
    assert_eq!(listed, declared, "each target needs `.PHONY` and a comment: {list}");

    let themes: Vec<&str> = list.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
    assert_eq!(themes, ["Build:", "Run:", "Test:", "Package:", "Maintain:"]);
    let columns: BTreeSet<Option<usize>> =
        list.lines().filter(|line| line.starts_with("  make ")).map(description).collect();
    assert_eq!(columns.len(), 1, "the descriptions are not aligned: {list}");
}

/// Returns the column in which the description of a target begins.
fn description(line: &str) -> Option<usize> {
    let name = "  make ".len();
    let gap = name + line[name..].find("  ")?;
    Some(gap + line[gap..].find(|character| character != ' ')?)
}

/// Returns the workflows by file name.
fn workflows() -> BTreeMap<String, String> {
    let files = fs::read_dir(".github/workflows").unwrap().map(|entry| entry.unwrap());
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    files.map(|entry| (name(&entry), fs::read_to_string(entry.path()).unwrap())).collect()
}

#[test]
fn each_action_has_its_version_in_one_place() {
    let action = Regex::new(r"(?m)^ +(?:- )?uses: ([^.\s]\S*)$").unwrap();
    let version = Regex::new(r"^[\w-]+/[\w-]+@v\d+$").unwrap();
    let mut seen = BTreeSet::new();
    for (name, text) in workflows() {
        for found in action.captures_iter(&text) {
            assert!(version.is_match(&found[1]), "{name}: {}", &found[1]);
            let action = found[1].split('@').next().unwrap().to_owned();
            assert!(seen.insert(action), "{name} has another version of {}", &found[1]);
        }
    }
    assert!(seen.contains("actions/checkout"), "{seen:?}");
}

#[test]
fn each_job_has_permissions_and_a_time_limit() {
    let job = Regex::new(r"(?m)^  [a-z]+:$").unwrap();
    for (name, text) in workflows() {
        assert!(text.contains("\npermissions: {}\n"), "{name} grants permissions to all jobs");
        let jobs = text.split_once("\njobs:\n").unwrap().1;
        let starts: Vec<usize> = job.find_iter(jobs).map(|found| found.start()).chain([jobs.len()]).collect();
        assert!(starts.len() > 1, "{name} has no jobs");
        for range in starts.windows(2) {
            let job = &jobs[range[0]..range[1]];
            assert!(job.contains("\n    permissions:\n"), "{name}: {job}");
            // The called workflow has a time limit.
            let is_call = job.contains("\n    uses: ./.github/workflows/make.yml\n");
            assert!(is_call || job.contains("\n    timeout-minutes: "), "{name}: {job}");
        }
    }
}

#[test]
fn workflows_call_existing_make_targets() {
    let call = Regex::new(r"\bmake ([a-z-][a-z0-9 -]*)").unwrap();
    let makefile = fs::read_to_string("Makefile").unwrap();
    let mut targets = BTreeSet::new();
    for text in workflows().values() {
        let commands = text.lines().filter(|line| line.trim_start().starts_with("command: "));
        for found in commands.filter_map(|line| call.captures(line)) {
            targets.extend(found[1].split_whitespace().map(str::to_owned));
        }
    }
    assert!(targets.contains("deb"), "{targets:?}");
    let missing: Vec<&String> =
        targets.iter().filter(|target| !makefile.contains(&format!("\n{target}: ## "))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Runs `scripts/release-notes VERSION` with this changelog.
fn release_notes(version: &str, changelog: &str) -> Output {
    let mut command = Command::new("scripts/release-notes");
    let command = command.arg(version).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(changelog.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

const CHANGELOG: &str = "\
# Changelog

This file has sections.

## [Unreleased]

- Not yet.

## [0.2.10] - 2026-03-01

The first line
and the second.

### Added

- An option
  in two lines.
- A list:
  - an item
    in two lines

## [0.2.1] - 2026-02-01

- The last.
";

#[test]
fn release_notes_are_the_section_of_the_version() {
    let notes = release_notes("0.2.10", CHANGELOG);
    let expected = "\
The first line and the second.

### Added

- An option in two lines.
- A list:
  - an item in two lines
";
    assert_eq!(String::from_utf8_lossy(&notes.stdout), expected, "{notes:?}");
    assert!(notes.status.success(), "{notes:?}");
    assert_eq!(release_notes("0.2.1", CHANGELOG).stdout, b"- The last.\n");
}

#[test]
fn release_notes_refuse_a_version_without_a_section() {
    for (version, changelog) in [("0.2", CHANGELOG), ("0.3.0", CHANGELOG), ("1.0.0", "## [1.0.0]\n\n## [0.1.0]\n")] {
        let notes = release_notes(version, changelog);
        assert!(!notes.status.success() && notes.stdout.is_empty(), "{notes:?}");
        let expected = format!("error: the changelog has no section for {version}: add `## [{version}] - DATE`\n");
        assert_eq!(String::from_utf8_lossy(&notes.stderr), expected);
    }
}

#[test]
fn downloads_are_those_of_the_version_and_the_repository() {
    let url = Regex::new(r"https://github\.com/([\w-]+/tcp-bounce)\b(/releases/download/v(\d[\w.-]*))?").unwrap();
    let archive = Regex::new(r"\btcp-bounce-(\d+\.\d+\.\d+)-").unwrap();
    let repository = env!("CARGO_PKG_REPOSITORY").trim_start_matches("https://github.com/");
    let wire = fs::read_to_string("Cargo.toml").unwrap();
    let wire = wire.lines().find(|line| line.starts_with("tcp-bounce-wire = {")).unwrap().to_owned();
    assert!(wire.ends_with(concat!("version = \"", env!("CARGO_PKG_VERSION"), "\" }")), "{wire}");
    for page in ["README.md", "docs/installation.md"] {
        let text = fs::read_to_string(page).unwrap();
        for found in url.captures_iter(&text) {
            assert_eq!(&found[1], repository, "{page}");
            assert!(
                found.get(3).is_none_or(|version| version.as_str() == env!("CARGO_PKG_VERSION")),
                "{page}: {found:?}"
            );
        }
        let versions: BTreeSet<&str> = archive.captures_iter(&text).map(|found| found.extract::<1>().1[0]).collect();
        assert_eq!(versions, BTreeSet::from([env!("CARGO_PKG_VERSION")]), "{page}");
    }
    let releasing = fs::read_to_string("docs/internals/releasing.md").unwrap();
    assert!(releasing.contains(&format!("--repo {repository}")), "docs/internals/releasing.md");
}

/// Returns the files of a package as `SOURCE DESTINATION MODE`.
fn package_files(assets: &Value) -> BTreeSet<String> {
    let file = |asset: &Value| {
        let field = |index: usize, name| asset.get(index).or_else(|| asset.get(name)).unwrap().as_str().unwrap();
        let destination = field(1, "dest").trim_start_matches('/');
        format!("{} {destination} {}", field(0, "source"), field(2, "mode"))
    };
    assets.as_array().unwrap().iter().map(file).collect()
}

#[test]
fn both_packages_have_the_same_files() {
    let manifest: Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    let metadata = &manifest["package"]["metadata"];
    let deb = package_files(&metadata["deb"]["assets"]);
    let rpm = package_files(&metadata["generate-rpm"]["assets"]);
    let only_deb: Vec<&String> = deb.difference(&rpm).collect();
    let only_rpm: Vec<&String> = rpm.difference(&deb).collect();
    assert_eq!(
        only_deb,
        [
            "packaging/lintian-overrides usr/share/lintian/overrides/tcp-bounce 644",
            "target/documents/_tcp-bounce usr/share/zsh/vendor-completions/ 644",
            "target/release/tcp-bounce usr/bin/ 755",
        ]
    );
    assert_eq!(
        only_rpm,
        [
            "LICENSE-* usr/share/licenses/tcp-bounce/ 644",
            "target/documents/_tcp-bounce usr/share/zsh/site-functions/ 644",
            "target/rpm/tcp-bounce usr/bin/ 755",
        ]
    );
}
