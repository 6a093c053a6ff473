//! The help and the usage errors of the command and its subcommand.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

use crate::config::{BuiltIn, Profile};
use crate::output::ErrorMessage;

/// The maximum width of the help, in columns.
pub const WIDTH: usize = 100;

/// The exit status of a usage error, and of a mistake in the configuration.
pub const USAGE_ERROR: u8 = 2;

/// The exit status if ports differ from the policy of `--expect`.
const DIFFERENCES: u8 = 3;

/// The arguments that can be missing, as clap names them, each with a message and advice.
const MISSING: [(&str, &str, &str); 6] = [
    ("<IFACE>...", "no interface given", "add one, as in `tcp-bounce eth1`; `tcp-bounce -h` lists the options"),
    (
        "<HOST>...",
        "no host given",
        "add one, as in `tcp-bounce probe 192.0.2.1`; `tcp-bounce probe -h` lists the options",
    ),
    ("--events", "--sample requires --events", "add --events"),
    (
        "<--events|--report <FILE>|--tui>",
        "--payload requires --events, --report or --tui",
        "add --events to print the payloads",
    ),
    ("--report <FILE>", "--expect requires --report", "add --report FILE, which ends with .csv, .json or .xml"),
    ("--profile <NAME|FILE>", "--profile-format requires --profile", "add --profile"),
];

/// Returns the exit status of a comparison with a policy.
pub fn verdict_status(is_as_expected: bool) -> ExitCode {
    if is_as_expected { ExitCode::SUCCESS } else { DIFFERENCES.into() }
}

/// Returns whether `flag` is among the options, even if other arguments are invalid.
pub fn has_flag(arguments: &[OsString], flag: &str) -> bool {
    arguments.iter().skip(1).take_while(|argument| *argument != "--").any(|argument| argument == flag)
}

/// Removes the lists of values and two empty lines, which `-h` has no room for.
fn brief(command: Command) -> Command {
    const TEMPLATE: &str = "{about-with-newline}{usage-heading} {usage}\n{all-args}{after-help}";
    command.mut_args(|arg| arg.hide_possible_values(true)).help_template(TEMPLATE)
}

/// Parses `arguments`. The first one is the name of the command.
///
/// # Errors
///
/// The help was requested, or an argument is invalid.
pub fn matches(command: Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let command = if has_flag(arguments, "-h") { brief(command) } else { command };
    command.try_get_matches_from(arguments).map_err(|mut error| {
        // clap suggests to pass an unknown option after `--`, but no interface and no host has such a name.
        error.remove(ContextKind::Suggested);
        error
    })
}

/// Converts an error of clap to a message in the form of all other errors.
///
/// The message is clap's, unless it lacks the cause. The hint has the possible values and clap's tips,
/// or else advice on this kind of error. `arguments` are those that clap refused, and
/// `command` is the command that the user types.
pub fn usage_error(error: &clap::Error, arguments: &[OsString], command: &str) -> ErrorMessage {
    let text = error.to_string();
    let paragraphs: Vec<String> = text.split("\n\n").map(one_line).collect();
    // A value with an empty line splits the message into several paragraphs.
    let is_rest = |paragraph: &String| {
        ["tip: ", "Usage: ", "For more information"].iter().any(|start| paragraph.starts_with(start))
    };
    let (first, rest) = paragraphs.split_at(paragraphs.iter().position(is_rest).unwrap_or(paragraphs.len()));
    let first = first.join(" ");
    let first = first.strip_prefix("error: ").unwrap_or(&first);
    let (first, values) = match first.strip_suffix(']').and_then(|first| first.split_once(" [possible values: ")) {
        Some((first, values)) => (first, Some(format!("possible values: {values}"))),
        None => (first, None),
    };
    let tips = rest.iter().filter_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned));
    let hints: Vec<String> = values.into_iter().chain(tips).collect();
    let is_missing = |name: &str| match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|argument| argument == name),
        _ => false,
    };
    if let Some(word) = word_of_profile(arguments).filter(|_| is_missing("<IFACE>...")) {
        return ErrorMessage {
            message: format!("no interface given: {word} is the value of --profile"),
            hint: Some(format!("name a profile before it, as in `tcp-bounce --profile linux-server {word}`")),
            libbpf: Vec::new(),
        };
    }
    let list_options = format!("run `{command} -h` to list the options");
    let list_values = format!("run `{command} --help` to list the values");
    let missing = MISSING.iter().find(|(name, ..)| is_missing(name));
    let (message, advice) = match error.kind() {
        ErrorKind::MissingRequiredArgument => missing.map_or((first, ""), |(_, message, advice)| (*message, *advice)),
        ErrorKind::UnknownArgument => (first, list_options.as_str()),
        ErrorKind::ArgumentConflict if first.ends_with("multiple times") => (first, "give the option only once"),
        ErrorKind::ArgumentConflict => (first, "remove one of these options"),
        ErrorKind::InvalidValue if first.ends_with("none was supplied") => (first, list_values.as_str()),
        _ => (first, ""),
    };
    let hint = if hints.is_empty() { advice.to_owned() } else { hints.join("; ") };
    ErrorMessage { message: message.to_owned(), hint: (!hint.is_empty()).then_some(hint), libbpf: Vec::new() }
}

/// Returns the value of `--profile` if it is neither a built-in profile nor a file, and so may be an interface.
fn word_of_profile(arguments: &[OsString]) -> Option<&str> {
    let option = |argument: &OsString| argument == "--profile" || value_of_profile(argument).is_some();
    let index = arguments.iter().position(option)?;
    let word = value_of_profile(&arguments[index]).or_else(|| arguments.get(index + 1)?.to_str())?;
    let is_profile = BuiltIn::find(word).is_some() || Profile::is_path(word) || Path::new(word).exists();
    (!is_profile).then_some(word)
}

/// Returns the value of an argument of the form `--profile=VALUE`.
fn value_of_profile(argument: &OsStr) -> Option<&str> {
    argument.to_str()?.strip_prefix("--profile=")
}

fn one_line(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}
