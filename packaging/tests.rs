//! Tests of the generated documents: each has every option, and the tracked reference page is up to date.

use std::fs;
use std::path::Path;

use chrono::DateTime;
use clap::{Arg, Command, CommandFactory as _};
use tcp_bounce::internals::Args;

use super::{completions, manual, reference};

fn command() -> Command {
    let mut command = Args::command();
    command.build();
    command
}

/// Returns the names of all options without dashes, and their short forms.
fn options() -> Vec<(String, Option<char>)> {
    let command = command();
    let options = command.get_arguments().filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.get_short())));
    let options: Vec<_> = options.collect();
    assert!(options.len() > 20, "{options:?}");
    options
}

#[test]
fn reference_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/command-line.md");
    let tracked = fs::read_to_string(path).unwrap_or_default();
    let page = reference::page(Args::command());
    let difference = page.lines().zip(tracked.lines()).find(|(new, old)| new != old);
    assert!(page == tracked, "docs/reference/command-line.md is out of date: run `make docs`: {difference:?}");
}

#[test]
fn reference_page_has_every_option_and_value() {
    let page = reference::page(Args::command());
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
    manual::write(Args::command(), DateTime::UNIX_EPOCH, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    for (name, _) in options() {
        assert!(page.contains(&format!("\\fB\\-\\-{}\\fR", name.replace('-', "\\-"))), "--{name} {page}");
    }
    for heading in command().get_arguments().filter_map(Arg::get_help_heading) {
        assert!(page.contains(&format!("\n.SS {}\n", heading.replace('-', "\\-"))), "{heading} {page}");
    }
}

#[test]
fn completions_have_every_option_and_action() {
    let folder = tempfile::tempdir().unwrap();
    completions::write(Args::command(), folder.path()).unwrap();
    for (file, dashes, actions) in [
        ("tcp-bounce.bash", "--", "ignore reset close discard echo tarpit"),
        ("_tcp-bounce", "--", "tarpit\\:\"Hold"),
        ("tcp-bounce.fish", "-l ", "tarpit\\t'Hold"),
    ] {
        let script = fs::read_to_string(folder.path().join(file)).unwrap();
        for (name, _) in options() {
            assert!(script.contains(&format!("{dashes}{name}")), "{file} {name} {script}");
        }
        assert!(script.contains(actions), "{file} {script}");
    }
}

#[test]
fn short_texts_have_at_most_60_characters() {
    for arg in command().get_arguments() {
        let text = arg.get_help().unwrap().to_string();
        assert!(text.chars().count() <= 60, "{text}");
        let values = arg.get_possible_values();
        for help in values.iter().filter_map(|value| value.get_help()) {
            assert!(help.to_string().len() <= 80, "{help}");
        }
    }
}
