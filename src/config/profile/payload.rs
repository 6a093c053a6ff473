//! Payloads: hexadecimal digits, and the placeholder of the port.

/// The placeholder for the port of a service.
const PORT: &[u8] = b"{port}";

/// The longest text that replaces [`PORT`], in bytes.
const LONGEST_PORT: usize = 5;

/// Converts hexadecimal digits such as `ff fd 18` to bytes. White space is ignored.
///
/// # Errors
///
/// A phrase that says what is wrong.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|character| !character.is_whitespace()).collect();
    let mut values = Vec::with_capacity(digits.len());
    for digit in digits {
        let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
        values.push(value.ok_or_else(|| format!("{digit:?} is not a hexadecimal digit"))?);
    }
    let (pairs, rest) = values.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
    } else {
        Err(format!("the number of hexadecimal digits is odd: {}", values.len()))
    }
}

/// Returns whether `payload` contains the placeholder of the port.
pub fn contains_port(payload: &[u8]) -> bool {
    payload.windows(PORT.len()).any(|window| window == PORT)
}

/// Returns `payload` with `port` in place of each placeholder.
pub fn on_port(payload: &[u8], port: u16) -> Vec<u8> {
    let mut rest = payload;
    let mut replaced = Vec::with_capacity(payload.len());
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(PORT) {
            replaced.extend_from_slice(port.to_string().as_bytes());
            rest = tail;
        } else {
            replaced.push(first);
            rest = tail;
        }
    }
    replaced
}

/// Returns the length of `payload` in bytes on a port of five digits.
pub fn longest(payload: &[u8]) -> usize {
    let count = payload.windows(PORT.len()).filter(|window| *window == PORT).count();
    payload.len() - count * PORT.len() + count * LONGEST_PORT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_give_bytes() {
        assert_eq!(parse_hex("").unwrap(), b"");
        assert_eq!(parse_hex("ff FD\n\t18").unwrap(), [0xff, 0xfd, 0x18]);
        assert_eq!(parse_hex("0 1 2 3").unwrap(), [0x01, 0x23]);
        for (text, reason) in [
            ("f", "the number of hexadecimal digits is odd: 1"),
            ("ff fd 1", "the number of hexadecimal digits is odd: 5"),
            ("0x41", "'x' is not a hexadecimal digit"),
            ("zz", "'z' is not a hexadecimal digit"),
            ("\u{661}1", "'\u{661}' is not a hexadecimal digit"),
        ] {
            assert_eq!(parse_hex(text).unwrap_err(), reason);
        }
    }

    #[test]
    fn the_port_replaces_each_placeholder() {
        for (payload, replaced) in [
            ("", ""),
            ("{port}", "80"),
            ("a{port}{port}b", "a8080b"),
            ("{{port}}", "{80}"),
            ("{por{port}t}", "{por80t}"),
            ("{Port} {port", "{Port} {port"),
        ] {
            assert_eq!(on_port(payload.as_bytes(), 80), replaced.as_bytes());
            assert_eq!(contains_port(payload.as_bytes()), payload != replaced, "{payload}");
            assert_eq!(longest(payload.as_bytes()), on_port(payload.as_bytes(), 65535).len(), "{payload}");
        }
        assert_eq!(on_port(b"{port} {port}", 65535), b"65535 65535");
        assert_eq!(on_port(&[0xff, 0, b'{'], 1), [0xff, 0, b'{']);
    }
}
