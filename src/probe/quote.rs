//! Received bytes as printable text: escaped and cut.

/// Returns `bytes` in double quotes, with the escapes of Rust. Cuts them after about `width` characters, and marks the
/// cut with `…`.
pub fn quoted(bytes: &[u8], width: usize) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        let piece = byte.escape_ascii().to_string();
        if index > 0 && text.len() + piece.len() > width {
            text.push('…');
            break;
        }
        text.push_str(&piece);
    }
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let text = quoted(&all, usize::MAX);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
    }

    #[test]
    fn long_data_is_cut_between_escapes() {
        assert_eq!(quoted(b"SSH-2.0\r\n", 40), "\"SSH-2.0\\r\\n\"");
        assert_eq!(quoted(b"abc\xff\xff", 8), "\"abc\\xff…\"");
        assert_eq!(quoted(b"abcdef", 6), "\"abcdef\"");
        assert_eq!(quoted(b"abcdefg", 6), "\"abcdef…\"");
    }
}
