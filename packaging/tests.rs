//! Tests of the generated documents: each has every option, the tracked reference pages are up to date, and the
//! licences are those of the platform.

use std::fs;
use std::path::Path;
use std::process;

use chrono::DateTime;
use clap::{Arg, Command, CommandFactory as _};
use tcp_bounce::internals::{Args, ProbeArgs};

use super::{completions, manual, notices, reference};

fn command() -> Command {
    let mut command = Args::command();
    command.build();
    command
}

/// Returns the names of all options without dashes, and their short forms.
fn options() -> Vec<(String, Option<char>)> {
    let options = options_of(&command());
    assert!(options.len() > 20, "{options:?}");
    options
}

fn options_of(command: &Command) -> Vec<(String, Option<char>)> {
    let options = command.get_arguments().filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.get_short())));
    options.collect()
}

#[test]
fn reference_pages_are_up_to_date() {
    for (name, page) in
        [("command-line.md", reference::command_page()), ("probe-command-line.md", reference::probe_page())]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
        let tracked = fs::read_to_string(path).unwrap_or_default();
        let difference = page.lines().zip(tracked.lines()).find(|(new, old)| new != old);
        assert!(page == tracked, "docs/reference/{name} is out of date: run `make docs`: {difference:?}");
    }
}

#[test]
fn reference_page_has_every_option_and_value() {
    let page = reference::command_page();
    for (name, short) in options() {
        assert!(page.contains(&format!("\n### `--{name}`\n")), "--{name} {page}");
        assert!(short.is_none_or(|short| page.contains(&format!("\n`-{short}"))), "-{short:?} {page}");
    }
    for value in ["| `tarpit` | ", "| `native` | ", "Default: `10s`", "## Selection\n", "## Exit status\n"] {
        assert!(page.contains(value), "{value} {page}");
    }
    for line in page.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
}

#[test]
fn manual_page_has_every_option_and_heading() {
    let mut page = Vec::new();
    manual::write(Args::command(), manual::SECTIONS, DateTime::UNIX_EPOCH, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    for (name, _) in options() {
        assert!(page.contains(&format!("\\fB\\-\\-{}\\fR", name.replace('-', "\\-"))), "--{name} {page}");
    }
    for heading in command().get_arguments().filter_map(Arg::get_help_heading) {
        assert!(page.contains(&format!("\n.SS {}\n", heading.replace('-', "\\-"))), "{heading} {page}");
    }
}

#[test]
fn manual_page_of_probe_has_every_option() {
    let mut page = Vec::new();
    manual::write(ProbeArgs::command(), manual::PROBE_SECTIONS, DateTime::UNIX_EPOCH, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains(".SH SYNOPSIS\n\\fBtcp\\-bounce\\fR probe [OPTIONS] <HOST>...\n"), "{page}");
    let command = ProbeArgs::command();
    for option in command.get_arguments().filter_map(Arg::get_long) {
        assert!(page.contains(&format!("\\fB\\-\\-{}\\fR", option.replace('-', "\\-"))), "--{option} {page}");
    }
}

#[test]
fn completions_have_every_option_and_action() {
    let folder = tempfile::tempdir().unwrap();
    completions::write(folder.path()).unwrap();
    let probe = options_of(&ProbeArgs::command());
    for (file, dashes, actions, formats) in [
        ("tcp-bounce.bash", "--", "ignore reset close discard echo tarpit", "text json junit"),
        ("_tcp-bounce", "--", "tarpit\\:\"Hold", "junit\\:\"JUnit"),
        ("tcp-bounce.fish", "-l ", "tarpit\\t'Hold", "junit\\t'JUnit"),
    ] {
        let script = fs::read_to_string(folder.path().join(file)).unwrap();
        for (name, _) in options().iter().chain(&probe) {
            assert!(script.contains(&format!("{dashes}{name}")), "{file} {name} {script}");
        }
        assert!(script.contains(actions) && script.contains(formats), "{file} {script}");
    }
}

/// Completes words with the function that the script registers for `tcp-bounce`. The last word is the one to complete.
const COMPLETE: &str = r#"
    source "$0"
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    function=$(complete -p tcp-bounce | sed 's/.*-F \([^ ]*\).*/\1/')
    "$function" tcp-bounce "${@: -1}" "${@: -2:1}"
    echo "${COMPREPLY[*]}"
"#;

#[test]
fn bash_completes_the_subcommand_and_its_options() {
    let folder = tempfile::tempdir().unwrap();
    completions::write(folder.path()).unwrap();
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, "192.0.2.1 far.example\n").unwrap();
    let complete = |words: &str| {
        let mut bash = process::Command::new("bash");
        bash.env("HOSTFILE", &hosts);
        bash.args(["--norc", "-uc", COMPLETE]).arg(folder.path().join("tcp-bounce.bash"));
        // The word to complete may be empty.
        let output = bash.args(words.split(' ')).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{words} {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    for (words, completed) in [
        ("tcp-bounce pro", "probe"),
        ("tcp-bounce lo pro", ""),
        ("tcp-bounce --on-connect t", "tarpit"),
        ("tcp-bounce probe --ex", "--expect"),
        ("tcp-bounce probe --tak", ""),
        ("tcp-bounce probe --format j", "json junit"),
        ("tcp-bounce probe --ipv4 --format t", "text"),
        ("tcp-bounce probe --ports 80 --ti", "--timeout"),
        ("tcp-bounce probe fa", "far.example"),
    ] {
        assert_eq!(complete(words), completed, "{words}");
    }
    let options = complete("tcp-bounce probe -");
    for (name, short) in options_of(&ProbeArgs::command()) {
        assert!(options.split(' ').any(|option| option == format!("--{name}")), "{name} {options}");
        assert!(short.is_none_or(|short| options.split(' ').any(|option| option == format!("-{short}"))), "{options}");
    }
}

#[test]
fn short_texts_have_at_most_60_characters() {
    let mut probe = ProbeArgs::command();
    probe.build();
    for arg in command().get_arguments().chain(probe.get_arguments()) {
        let text = arg.get_help().unwrap().to_string();
        assert!(text.chars().count() <= 60, "{text}");
        let values = arg.get_possible_values();
        for help in values.iter().filter_map(|value| value.get_help()) {
            assert!(help.to_string().len() <= 80, "{help}");
        }
    }
}

#[test]
fn licences_are_those_of_the_platform() {
    let listed = |platform: &str| notices::notices(platform).unwrap();
    // Of the packages for Unix, a platform without an operating system needs none.
    let [intel, arm, bare] =
        ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "bpfel-unknown-none"].map(listed);
    for package in ["\nclap 4.", "\nlibbpf-sys 1.", "\naya-ebpf 0."] {
        assert!([&intel, &arm, &bare].iter().all(|text| text.contains(package)), "{package}");
    }
    for package in ["\nmio 1.", "\nsignal-hook 0."] {
        assert!(intel.contains(package) && arm.contains(package), "{package}");
        assert!(!bare.contains(package), "{package}");
    }
}

#[test]
fn licences_need_a_known_platform() {
    let error = notices::notices("vax-unknown-linux-gnu").unwrap_err().to_string();
    assert!(error.starts_with("cargo metadata fails for ") && error.ends_with(" on vax-unknown-linux-gnu"), "{error}");
}
