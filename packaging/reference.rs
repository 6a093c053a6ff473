//! Generates the reference pages of the command line: `command-line.md` and `probe-command-line.md` in
//! `docs/reference`.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use clap::{Arg, Command, CommandFactory as _};
use tcp_bounce::internals::{Args, ProbeArgs};

/// The maximum length of a line, in characters.
const WIDTH: usize = 120;

/// Returns the page of the command in Markdown.
pub fn command_page() -> String {
    page(Args::command(), "Command line", "src/cli/responder.rs")
}

/// Returns the page of the subcommand `probe` in Markdown.
pub fn probe_page() -> String {
    page(ProbeArgs::command(), "Command line of probe", "src/cli/probe.rs")
}

/// Writes both pages to a directory.
pub fn write(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("command-line.md"), command_page())?;
    fs::write(folder.join("probe-command-line.md"), probe_page())
}

/// Returns a page: the usage, a section for each heading with its options, and the end of `--help`. `source` is the
/// file with the comments.
fn page(mut command: Command, title: &str, source: &str) -> String {
    command.build();
    let notice = format!("<!-- Generated from {source} by `make docs`. Change the comments there, not this page. -->");
    let mut page = format!("# {title}\n\n{notice}\n\n");
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    add_text(&mut page, &about.replacen("\n\n", ".\n\n", 1));
    let usage = command.render_usage().to_string();
    write_block(&mut page, "text", usage.trim_start_matches("Usage: "));
    let arguments: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &arguments {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        add_line(&mut page, &format!("## {}", heading.unwrap_or("Arguments")));
        arguments.iter().filter(|arg| arg.get_help_heading() == heading).for_each(|arg| add_argument(&mut page, arg));
    }
    let end = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    end.split("\n\n").for_each(|section| add_section(&mut page, section));
    page.truncate(page.trim_end().len());
    page + "\n"
}

/// Adds an option: a heading with its name, its spellings, the short and the long text, the values and the default.
fn add_argument(page: &mut String, arg: &Arg) {
    let value = arg.get_value_names().unwrap_or_default().join(" ");
    let spelling = |name: String| if takes_values(arg) { format!("`{name} {value}`") } else { format!("`{name}`") };
    let long = arg.get_long().map(|long| format!("--{long}"));
    let title = format!("`{}`", long.as_deref().unwrap_or(&value));
    add_line(page, &format!("### {title}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let spellings: Vec<String> = short.into_iter().chain(long).map(spelling).collect();
    let spellings = spellings.join(", ");
    if !spellings.is_empty() && spellings != title {
        add_line(page, &spellings);
    }
    let text = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let (short, long) = text.split_once("\n\n").unwrap_or((&text, ""));
    // A default that is no value is part of the short text.
    let (short, default) = short.strip_suffix(']').and_then(|it| it.split_once(" [default: ")).unwrap_or((short, ""));
    add_text(page, &format!("{short}.\n\n{long}"));
    add_values(page, arg);
    let defaults = arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy()));
    let defaults: Vec<String> = defaults.filter(|_| takes_values(arg)).collect();
    let default = if default.is_empty() { defaults.join(", ") } else { escaped(default) };
    if !default.is_empty() {
        add_line(page, &format!("Default: {default}"));
    }
}

fn takes_values(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|number| number.takes_values())
}

/// Adds a table of the possible values, if the option has any.
fn add_values(page: &mut String, arg: &Arg) {
    let values = arg.get_possible_values();
    if !takes_values(arg) || values.is_empty() {
        return;
    }
    page.push_str("| value | meaning |\n|---|---|\n");
    for value in values.iter().filter(|value| !value.is_hide_set()) {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{}` | {} |", value.get_name(), escaped(&help));
    }
    page.push('\n');
}

/// Adds a section of the end of `--help`: a title with a colon, and indented lines.
fn add_section(page: &mut String, section: &str) {
    let (title, body) = section.split_once(":\n").unwrap_or(("", section));
    add_line(page, &format!("## {title}"));
    let lines: Vec<&str> = body.lines().collect();
    if lines.iter().any(|line| line.starts_with("    ")) {
        for line in lines {
            match line.strip_prefix("    ") {
                Some(command) => write_block(page, "sh", command),
                None => add_text(page, line.trim_start()),
            }
        }
    } else {
        lines.iter().for_each(|line| page.push_str(&list_item(line.trim_start())));
        page.push('\n');
    }
}

/// Returns a list item. A first word that two spaces separate from the rest, such as an exit status, is set as code.
fn list_item(line: &str) -> String {
    match line.split_once("  ") {
        Some((term, rest)) => format!("- `{term}`: {}\n", escaped(rest.trim_start())),
        None => format!("- {}\n", escaped(line)),
    }
}

fn write_block(page: &mut String, language: &str, text: &str) {
    let _ = write!(page, "```{language}\n{text}\n```\n\n");
}

fn add_line(page: &mut String, line: &str) {
    page.push_str(line);
    page.push_str("\n\n");
}

/// Adds the paragraphs of `text`, wrapped. A single line break in `text` has no meaning.
fn add_text(page: &mut String, text: &str) {
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        let mut line = String::new();
        for word in escaped(paragraph).split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
                page.push_str(&line);
                page.push('\n');
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        add_line(page, &line);
    }
}

/// Returns `text` with options such as `--ports` set as code, and with the characters escaped that Markdown interprets.
///
/// Text between backticks stays as it is.
fn escaped(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(index, part)| if index % 2 == 1 { part.to_owned() } else { escaped_outside_code(part) });
    parts.collect::<Vec<_>>().join("`")
}

fn escaped_outside_code(text: &str) -> String {
    text.split_inclusive(char::is_whitespace).map(escaped_word).collect()
}

fn escaped_word(word: &str) -> String {
    let core = word.trim_start_matches('(').trim_end().trim_end_matches(['.', ',', ':', ';', ')']);
    let is_code = core.starts_with("--") || core.starts_with('-') && core.len() == 2 || core.starts_with("http://");
    let start = word.find(core).unwrap_or_default();
    let (before, after) = (&word[..start], &word[start + core.len()..]);
    let core =
        if is_code { format!("`{core}`") } else { core.replace('<', "\\<").replace('[', "\\[").replace('*', "\\*") };
    format!("{before}{core}{after}")
}
