//! Tests of the explanations of TOML's syntax errors: the line, the cause and the hint.

use crate::config::{Policy, Profile};

/// Returns the message and the hint for a profile that is not TOML.
fn refusal(text: &str) -> (String, String) {
    let error = Profile::parse(text, "test").expect_err(text);
    (error.to_string(), error.hint().unwrap_or_default())
}

#[track_caller]
fn assert_refused(text: &str, message: &str, hint: &str) {
    let (found, advice) = refusal(text);
    assert_eq!(found, message, "{text}");
    assert!(advice.contains(hint), "{text}: {advice}");
}

#[test]
fn values_without_quotes_are_shown_in_quotes() {
    for (line, key, hint) in [
        ("ports = 22,80", "ports", "write ports = \"22,80\""),
        ("ports = 22,80  # web", "ports", "write ports = \"22,80\""),
        ("ports = 80-90", "ports", "write ports = \"80-90\""),
        ("ports = random:3", "ports", "write ports = \"random:3\""),
        ("ports = others", "ports", "write ports = \"others\""),
        ("end = close", "end", "write end = \"close\""),
        ("  name=web server", "name", "write name = \"web server\""),
        ("ports = “22”", "ports", "replace the typographic quotes: ports = \"22\""),
        ("banner = 220 ready\\r\\n", "banner", "put it in double quotes"),
    ] {
        let message = format!("line 3: the value of {key} is not in quotes");
        assert_refused(&format!("\n[[service]]\n{line}\n"), &message, hint);
    }
    assert_refused("system = linux\n", "line 1: the value of system is not in quotes", "write system = \"linux\"");
    assert_refused("replies = [\n { send = abc },\n]", "line 2: a value is not in quotes", "put it in double quotes");
}

#[test]
fn open_strings_are_found_where_they_begin() {
    for (text, message, hint) in [
        (
            "\nbanner = \"a\nend = \"close\"\n",
            "line 2: a string is not closed",
            "end it with \"; a string of several lines",
        ),
        ("\nbanner = 'a\n", "line 2: a string is not closed", "end it with '; a string of several lines"),
        ("\nbanner = \"\"\"a\nb\nc\nend = 1\n", "line 2: a string is not closed", "end it with \"\"\""),
        ("\nbanner = '''a\nb\n\n", "line 2: a string is not closed", "end it with '''"),
        (
            "x = \"\"\"a\"\"\"\nbanner = \"\"\"\nb \"quoted\" \"\"\\q\n\n",
            "line 2: a string is not closed",
            "end it with \"\"\"",
        ),
    ] {
        assert_refused(text, message, hint);
    }
}

#[test]
fn mistakes_in_a_string_of_several_lines_have_their_own_line() {
    let text = |line: &str| format!("[[service]]\nbanner = \"\"\"\\\nfirst\\r\\n\\\n{line}\n\"\"\"\n");
    for (line, message, hint) in [
        ("a\\q", "\\q is not an escape of TOML", "write \\\\ for a backslash"),
        ("a\\0", "\\0 is not an escape of TOML", "write \\x00 for the byte 00"),
        ("a\\'", "\\\\' is not an escape of TOML", "write \\\\ for a backslash"),
        ("a\\xf", "two hexadecimal digits must follow \\x", "write \\x0d"),
        ("a\\u12", "four hexadecimal digits must follow \\u", "write \\x0d"),
        ("a\\U12", "eight hexadecimal digits must follow \\U", "write \\x0d"),
        ("a\\ud800", "an escape is no character", "{ hex = \"ff fd 18\" }"),
        ("a\\ b", "a backslash is followed by a space", "remove the space"),
        ("a\rb", "a carriage return is not followed by a line feed", "in a string, write \\r"),
    ] {
        assert_refused(&text(line), &format!("line 4: {message}"), hint);
    }
}

#[test]
fn mistakes_at_the_end_of_the_file_are_in_the_last_line_with_text() {
    for end in ["", "\n", "\n\n  \n"] {
        let text = format!("[[service]]\nreplies = [{{ send = \"a\" }}{end}");
        assert_refused(&text, "line 2: a list is not closed", "end it with ]");
    }
}

#[test]
fn brackets_and_commas_are_explained() {
    for (text, message, hint) in [
        ("[[service]\nports = 1\n", "line 1: the brackets are not closed", "write [[service]]"),
        ("[service\nports = 1\n", "line 1: the bracket is not closed", "write [[service]]"),
        ("service]]\nports = 1\n", "line 1: a key has no value", "write KEY = VALUE"),
        ("[service]\nports = 1\n[service]\nports = 2", "line 1: a service is in single brackets", "write [[service]]"),
        ("[[service]]\n\n[service]\nports = 2", "line 3: a service is in single brackets", "write [[service]]"),
        (
            "replies = [\n { send = \"a\" }\n { send = \"b\" },\n]\n",
            "line 3: a comma is missing before this item",
            "replies look like [{ prefix = ",
        ),
        (
            "replies = [\n { send = \"a\" },\n\nend = \"close\"\n",
            "line 4: a list is not closed before this line",
            "end the list with ]",
        ),
        (
            "replies = [\n { send = \"a\" },\n\n[[service]]\nports = 1\n",
            "line 4: a list is not closed before this line",
            "end the list with ]",
        ),
        (
            "replies = [{ prefix = \"a\" send = \"a\" }]",
            "line 1: a comma is missing before this item",
            "replies look like",
        ),
        ("replies = [{ send = \"a\" ]\n", "line 1: braces are not closed before this item", "end them with }"),
    ] {
        assert_refused(text, message, hint);
    }
}

#[test]
fn keys_and_values_are_explained() {
    for (text, message, hint) in [
        (
            "replies = [\n { send = \"a\" }\nend = \"close\"\n",
            "line 3: a list is not closed before this line",
            "end the list with ]",
        ),
        ("ports = [22 80]\n", "line 1: a value is not in quotes", "put it in double quotes"),
        ("[[service]]\nports = 1\nports = 2", "line 3: the key ports appears twice", "with [[service]]"),
        ("\nports\n", "line 2: a key has no value", "write KEY = VALUE"),
        ("ports =\n", "line 1: a key has no value", "write KEY = VALUE"),
        (
            "// a comment\n",
            "line 1: a key has other characters than letters, digits, - and _",
            "begin a comment with #",
        ),
        ("a comment\n", "line 1: a key has no value", "begin a comment with #"),
        ("[[service]] ports = 1\n", "line 1: text follows the value", "begin a line for each key"),
        ("ports = 80 end = \"close\"\n", "line 1: a value is not in quotes", "put it in double quotes"),
        ("name = \"a \"b\" c\"\n", "line 1: text follows the value", "write a quote as \\\""),
    ] {
        assert_refused(text, message, hint);
    }
}

#[test]
fn hints_fit_the_kind_of_file() {
    for (text, message, hint) in [
        ("[[rule]\nopen = true\n", "line 1: the brackets are not closed", "write [[rule]]"),
        ("[rule]\nports = 1\n[rule]\nports = 2", "line 1: a rule is in single brackets", "write [[rule]], in double"),
        ("[[rule]]\nports = 22,80\n", "line 2: the value of ports is not in quotes", "write ports = \"22,80\""),
        ("[[rule]]\nports = [22, 80\nopen = true", "line 3: a list is not closed before this line", "end the list"),
        ("[[rule]]\nports = [\"22\" \"80\"]\n", "line 2: a comma is missing before this item", "ports = \"22,80\""),
        ("[[rule]]\nfrom = \"\\ud800\"\n", "line 2: an escape is no character", "remove it"),
        ("default_open = yes or no\n", "line 1: the value of default_open is not in quotes", ""),
        ("a = 1__0\n", "line 1: not TOML: ", "tcp-bounce probe --help"),
    ] {
        let error = Policy::parse(text, "test").expect_err(text);
        assert!(error.to_string().starts_with(message), "{text}: {error}");
        assert!(error.hint().is_some_and(|advice| advice.contains(hint)), "{text}: {error:?}");
    }
}

#[test]
fn the_first_of_several_mistakes_is_named() {
    for (text, line) in
        [("a = \"\\q\"\nb = \"\\q\"\nc c\n", 1), ("c c\na = \"\\q\"\n", 1), ("a = 1\nb = \"\n\nc = \"\"\"\n\\q\n", 2)]
    {
        assert!(refusal(text).0.starts_with(&format!("line {line}: ")), "{text}");
    }
}

/// No mistake has an empty explanation, and each one fits into a line.
#[test]
fn each_mistake_has_a_hint() {
    for text in [
        "a = 1__0",
        "a = 01",
        "a = +-1",
        "a = 1e",
        "a = 2024-13-01",
        "a.b = 1\na = 2",
        "= 1",
        "a = = 1",
        "{",
        "}",
        "]",
        ",",
        "\"\"\"a\"\"\" = 1",
        "\u{0}",
        "\u{feff}\u{feff}",
        "a = [1,,2]",
        "a = {,}",
        "a = {b}",
        "a = tru",
        "[]",
        "[a.]",
        "[[a]]\n[a]",
        "a = 1\n[a.b]",
        "\\",
        "a = \"\\",
        "a = \"\"\"\\",
        "a = '''",
    ] {
        let (message, hint) = refusal(text);
        assert!(
            message.starts_with("line ") && !message.ends_with(": ") && !message.contains('\n'),
            "{text}: {message}"
        );
        assert!(!hint.is_empty() && !hint.contains('\n'), "{text}: {hint}");
    }
    let nested = format!("a = {}", "[".repeat(200));
    assert_eq!(refusal(&nested).0, "line 1: too many brackets are nested");
}
