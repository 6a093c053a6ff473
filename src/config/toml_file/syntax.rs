//! The syntax of TOML: parses a text, and explains mistakes in the words of the documentation.

use toml::de::{DeTable, Error};

use super::TomlError;
use super::keys::Dialect;
use super::source::Source;
use crate::config::ValueError;

/// The number of errors that are explained. One mistake can make the parser report many.
const EXPLAINED: usize = 20;

/// The quotes of a string of several lines.
const LONG_QUOTE: &str = "\"\"\"";

/// Quotes that TOML does not have, but text processors write.
const TYPOGRAPHIC_QUOTES: [char; 5] = ['“', '”', '„', '‘', '’'];

/// Stands for the key of the file's list in [`EXPLANATIONS`].
const LIST: &str = "LIST";

/// Causes and hints by the beginning of the parser's message.
const EXPLANATIONS: [(&str, &str, &str); 19] = [
    (
        "unexpected key or value",
        "text follows the value",
        "begin a line for each key; in a string, write a quote as \\\"",
    ),
    ("key with no value", "a key has no value", "write KEY = VALUE, or begin a comment with #"),
    ("missing value", "a key has no value", "write KEY = VALUE, or begin a comment with #"),
    ("missing assignment", "a key has no value", "write KEY = VALUE"),
    ("missing key", "a value has no key", "write KEY = VALUE"),
    ("unclosed array table", "the brackets are not closed", "write [[LIST]]"),
    ("unclosed table", "the bracket is not closed", "write [[LIST]]"),
    ("missing table open", "the bracket is not opened", "write [[LIST]]"),
    ("unclosed array", "a list is not closed", "end it with ]"),
    ("missing array opening", "a list is not opened", "begin it with ["),
    ("invalid inline table element", "braces are not closed before this item", "end them with }"),
    ("unclosed inline table", "braces are not closed", "end them with }"),
    ("missing inline table opening", "braces are not opened", "begin them with {"),
    ("extra comma", "a comma has no item before it", "remove the comma"),
    ("string values must be quoted", "a value is not in quotes", "put it in double quotes"),
    (
        "carriage return",
        "a carriage return is not followed by a line feed",
        "save the file with line feeds; in a string, write \\r",
    ),
    (
        "invalid multi-line basic string, expected newline",
        "a backslash is followed by a space",
        "remove the space, or write \\\\ for a backslash",
    ),
    (
        "invalid unquoted key",
        "a key has other characters than letters, digits, - and _",
        "write KEY = VALUE, or begin a comment with #",
    ),
    ("cannot recurse", "too many brackets are nested", "write lists without further lists in them"),
];

/// Parses `text` as TOML.
///
/// # Errors
///
/// [`TomlError::Syntax`] with the first line that has a mistake.
pub fn parse<'t>(text: &'t str, dialect: &Dialect) -> Result<DeTable<'t>, TomlError> {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table.into_inner());
    }
    errors.sort_by_key(|error| offset(error, text));
    let source = Source::new(text);
    // A string that is not closed is an error at the end of the file, and a mistake in the line where it begins.
    let last = errors.len().saturating_sub(1).max(EXPLAINED);
    let explained = errors.iter().take(EXPLAINED).chain(errors.get(last));
    let mistakes = explained.map(|error| explain(&source, dialect, error.message(), offset(error, text)));
    let first = mistakes.min_by_key(|&(line, _)| line);
    let (line, reason) = first.unwrap_or_else(|| (1, mistake("not TOML", general_hint(dialect))));
    Err(TomlError::Syntax { line, reason })
}

/// Returns whether a line of `text` begins a table or gives a key a value, so that `text` is meant to be TOML.
pub fn has_keys(text: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'"' | b' ' | b'\t');
    text.split(|&byte| byte == b'\n').any(|line| {
        let key = line.split(|&byte| byte == b'=').next().unwrap_or_default();
        line.trim_ascii_start().starts_with(b"[") || (key.len() < line.len() && key.iter().all(is_letter))
    })
}

/// Returns the offset of an error. An error at the end of the file has the offset of the last line with text.
fn offset(error: &Error, text: &str) -> usize {
    error.span().map_or(text.len(), |span| span.start).min(text.trim_end().len())
}

fn mistake(reason: impl Into<String>, hint: impl Into<String>) -> ValueError {
    ValueError::new(reason).with_examples(hint.into())
}

/// Returns the hint for a mistake without a better one.
fn general_hint(dialect: &Dialect) -> String {
    format!("the syntax is TOML (https://toml.io); {}", dialect.example)
}

/// Returns the line and the explanation of an error, given the message of the parser and its offset.
fn explain(source: &Source, dialect: &Dialect, message: &str, offset: usize) -> (usize, ValueError) {
    if message == "duplicate key" {
        return duplicate_key(source, dialect, offset);
    }
    if let Some(explained) = open_string(source, message, offset) {
        return explained;
    }
    let text = source.text_of_line(offset);
    let line = source.line(offset);
    let reason = missing_value(source, message, offset)
        .or_else(|| escape(source, dialect, message, offset))
        .or_else(|| open_list(source, dialect, message, offset))
        .or_else(|| unquoted(dialect, text))
        .or_else(|| missing_comma(dialect, message));
    match reason {
        Some(reason) => (line, reason),
        None => {
            let known = EXPLANATIONS.iter().find(|(start, ..)| message.starts_with(start));
            let cause = message.split_once(',').map_or(message, |(cause, _)| cause);
            let unknown = || mistake(format!("not TOML: {}", cause.replace('`', "")), general_hint(dialect));
            (line, known.map_or_else(unknown, |(_, reason, hint)| mistake(*reason, hint.replace(LIST, dialect.list))))
        }
    }
}

/// Explains a list without a comma between two items.
fn missing_comma(dialect: &Dialect, message: &str) -> Option<ValueError> {
    message.starts_with("missing comma").then(|| mistake("a comma is missing before this item", dialect.list_hint))
}

/// Explains a key without a value, which the parser takes for an empty string.
fn missing_value(source: &Source, message: &str, offset: usize) -> Option<ValueError> {
    let rest = source.split_at(offset).1.split(['\n', '#']).next().unwrap_or_default();
    (message.starts_with("string values") && rest.trim().is_empty())
        .then(|| mistake("a key has no value", "write KEY = VALUE, or begin a comment with #"))
}

/// Explains a string without its closing quotes.
fn open_string(source: &Source, message: &str, offset: usize) -> Option<(usize, ValueError)> {
    let quote = match message {
        "invalid basic string, expected `\"`" => "\"",
        "invalid literal string, expected `'`" => "'",
        "invalid multi-line basic string, expected `\"`" => LONG_QUOTE,
        "invalid multi-line literal string, expected `'`" => "'''",
        _ => return None,
    };
    let several_lines = if quote.len() == 1 { "; a string of several lines is in \"\"\"" } else { "" };
    let start = if quote.len() == 1 { offset } else { source.split_at(offset).0.rfind(quote).unwrap_or(offset) };
    Some((source.line(start), mistake("a string is not closed", format!("end it with {quote}{several_lines}"))))
}

/// Explains an escape that TOML does not have.
fn escape(source: &Source, dialect: &Dialect, message: &str, offset: usize) -> Option<ValueError> {
    let (before, after) = source.split_at(offset);
    let kind = message.split_once(',').map_or(message, |(kind, _)| kind);
    match kind {
        "missing escaped value" => {
            let letter: String = after.chars().take(1).flat_map(char::escape_debug).collect();
            let hint = match letter.as_str() {
                "0" => "write \\x00 for the byte 00, and \\\\ for a backslash",
                _ => "write \\\\ for a backslash, and \\x1b for the byte 1b",
            };
            Some(mistake(format!("\\{letter} is not an escape of TOML"), hint))
        }
        "too few unicode value digits" => {
            let (digits, kind) = match before.rsplit_once('\\').and_then(|(_, escape)| escape.chars().next())? {
                'x' => ("two", "\\x"),
                'u' => ("four", "\\u"),
                _ => ("eight", "\\U"),
            };
            let hint = "write \\x0d for the byte 0d, and \\\\ for a backslash";
            Some(mistake(format!("{digits} hexadecimal digits must follow {kind}"), hint))
        }
        "invalid value" => Some(mistake("an escape is no character", dialect.escape_hint)),
        _ => None,
    }
}

/// Explains a list that is not closed before the next key or table.
fn open_list(source: &Source, dialect: &Dialect, message: &str, offset: usize) -> Option<ValueError> {
    let line = source.text_of_line(offset);
    let begins_anew = line.trim_start().starts_with("[[") || known_key(dialect, line).is_some();
    let before = source.split_at(offset).0.rsplit('\n').next().unwrap_or_default();
    // The parser takes the key for an item of the list.
    let is_first = before.chars().all(|letter| letter == ' ' || letter == '[');
    let is_in_list = message.starts_with("string values") || message.starts_with("missing comma between array");
    (is_in_list && is_first && begins_anew)
        .then(|| mistake("a list is not closed before this line", "end the list with ]"))
}

/// Returns the key and the value of a line, if the key is one that begins a line.
fn known_key<'l>(dialect: &Dialect, line: &'l str) -> Option<(&'l str, &'l str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    dialect.keys.iter().any(|keys| keys.iter().any(|known| known.name == key)).then_some((key, value.trim()))
}

/// Explains a string without quotes, such as `ports = 22,80`.
fn unquoted(dialect: &Dialect, line: &str) -> Option<ValueError> {
    let (key, value) = known_key(dialect, line)?;
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim_end();
    if value.is_empty() || value.contains('=') || value.starts_with(['"', '\'', '[', '{', '#']) {
        return None;
    }
    let straight = value.trim_matches(TYPOGRAPHIC_QUOTES);
    if straight.len() < value.len() {
        let hint = format!("replace the typographic quotes: {key} = \"{straight}\"");
        return Some(mistake(format!("the value of {key} is not in quotes"), hint));
    }
    let is_plain = !value.contains(['"', '\\']) && value.chars().all(|character| !character.is_control());
    let hint = if is_plain { format!("write {key} = \"{value}\"") } else { "put it in double quotes".to_owned() };
    Some(mistake(format!("the value of {key} is not in quotes"), hint))
}

/// Explains a key that a table has already. Two `[service]` are a table with one key: the first one is the mistake.
fn duplicate_key(source: &Source, dialect: &Dialect, offset: usize) -> (usize, ValueError) {
    let list = dialect.list;
    let key = source.split_at(offset).1;
    let key = key.split(|character: char| "=.]".contains(character) || character.is_whitespace()).next().unwrap_or(key);
    let heading = source.find_line(|line| line.trim_start().starts_with(&format!("[{list}]")));
    match heading {
        Some(line) if key == list => {
            let reason = format!("a {list} is in single brackets");
            (line, mistake(reason, format!("write [[{list}]], in double brackets")))
        }
        _ => (
            source.line(offset),
            mistake(
                format!("the key {} appears twice", key.escape_debug()),
                format!("remove one, or begin a further {list} with [[{list}]]"),
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
