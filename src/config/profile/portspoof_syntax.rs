//! The syntax of portspoof's expressions, and its translation for the crate `regex-syntax`.

/// The kind of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Payloads of portspoof's configuration: only classes, groups and the repetition of classes are special.
    Portspoof,
    /// Signatures of nmap: regular expressions.
    Nmap,
}

/// Printable characters, which a wildcard stands for.
const PRINTABLE: &str = "[ -~]";

/// Translates an expression to the syntax of `regex-syntax` for bytes.
///
/// Wildcards and negated classes stand for printable characters, so that banners stay readable.
pub fn to_regex(text: &[u8], dialect: Dialect) -> String {
    let mut regex = String::with_capacity(text.len());
    let mut rest = text;
    // Whether the last part is a class, which portspoof can repeat.
    let mut is_class = false;
    while let Some((&byte, after)) = rest.split_first() {
        let is_literal = dialect == Dialect::Portspoof;
        rest = after;
        let was_class = is_class;
        is_class = false;
        match byte {
            b'\\' => is_class = escape(&mut rest, &mut regex),
            b'[' => {
                class(&mut rest, &mut regex);
                is_class = true;
            }
            b'.' => {
                regex.push_str(PRINTABLE);
                is_class = true;
            }
            b'+' | b'*' if is_literal && !was_class => push_literal(byte, &mut regex),
            b'^' | b'$' | b'|' | b'{' | b'}' | b'?' if is_literal => push_literal(byte, &mut regex),
            b'(' if !is_literal && rest.starts_with(b"?:") => {
                regex.push_str("(?:");
                rest = rest.get(2..).unwrap_or_default();
            }
            b'{' if !is_count(rest) => push_literal(byte, &mut regex),
            // Signatures end with `$` if nothing follows them.
            b'$' if rest.is_empty() => {}
            b'+' | b'*' | b'?' | b'(' | b')' | b'|' | b'{' | b'}' | b'^' | b'$' => regex.push(char::from(byte)),
            _ => push_literal(byte, &mut regex),
        }
    }
    regex
}

/// Appends an escape, which begins after the backslash. Returns whether it is a class.
fn escape(rest: &mut &[u8], regex: &mut String) -> bool {
    let Some((&byte, after)) = rest.split_first() else {
        regex.push_str("\\\\");
        return false;
    };
    *rest = after;
    if byte.is_ascii_alphanumeric() {
        regex.push('\\');
        regex.push(char::from(byte));
    } else {
        push_literal(byte, regex);
    }
    matches!(byte, b'w' | b'd' | b's' | b'W' | b'D' | b'S')
}

/// Appends a class in brackets, which begins after the opening one.
fn class(rest: &mut &[u8], regex: &mut String) {
    let is_negated = rest.first() == Some(&b'^');
    regex.push_str(if is_negated { "[[" } else { "[" });
    let mut is_first = true;
    while let Some((&byte, after)) = rest.split_first() {
        *rest = after;
        match byte {
            b']' if !is_first => break,
            b'\\' => _ = escape(rest, regex),
            b'^' if is_first => {
                regex.push('^');
                continue;
            }
            b'-' => regex.push('-'),
            _ => push_literal(byte, regex),
        }
        is_first = false;
    }
    regex.push_str(if is_negated { "]&&" } else { "]" });
    if is_negated {
        regex.push_str(PRINTABLE);
        regex.push(']');
    }
}

/// Returns whether a counted repetition such as `3}` or `3,}` follows an opening brace.
fn is_count(rest: &[u8]) -> bool {
    let end = rest.iter().position(|&byte| byte == b'}');
    let count = end.and_then(|end| rest.get(..end)).unwrap_or_default();
    count.first().is_some_and(u8::is_ascii_digit) && count.iter().all(|byte| byte.is_ascii_digit() || *byte == b',')
}

/// Appends a byte that stands for itself.
fn push_literal(byte: u8, regex: &mut String) {
    if byte.is_ascii_alphanumeric() {
        regex.push(char::from(byte));
    } else {
        regex.push_str(&format!("\\x{byte:02x}"));
    }
}
