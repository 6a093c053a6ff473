//! The text of a file in TOML, and the lines of its parts.

use std::ops::Range;

/// The text of a file in TOML.
pub struct Source<'a> {
    text: &'a str,
    /// The offsets of the line feeds, in ascending order.
    line_feeds: Vec<usize>,
}

impl<'a> Source<'a> {
    /// Returns `text` with an index of its lines.
    pub fn new(text: &'a str) -> Self {
        Self { text, line_feeds: text.match_indices('\n').map(|(offset, _)| offset).collect() }
    }

    /// Returns the line of the byte at `offset`, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.line_feeds.partition_point(|&line_feed| line_feed < offset) + 1
    }

    /// Returns the text before and after `offset`.
    pub fn split_at(&self, offset: usize) -> (&'a str, &'a str) {
        self.text.split_at_checked(offset).unwrap_or((self.text, ""))
    }

    /// Returns the text of the line that has the byte at `offset`, without its end.
    pub fn text_of_line(&self, offset: usize) -> &'a str {
        let line = self.text.split('\n').nth(self.line(offset) - 1).unwrap_or_default();
        line.trim_end_matches('\r')
    }

    /// Returns the number of the first line that `is_match` accepts.
    pub fn find_line(&self, is_match: impl Fn(&str) -> bool) -> Option<usize> {
        self.text.lines().position(is_match).map(|index| index + 1)
    }

    /// Returns the line of the first character in `span` that `is_match` accepts, or else the line of the span's start.
    pub fn line_of(&self, span: Range<usize>, is_match: impl Fn(char) -> bool) -> usize {
        let within = self.text.get(span.clone()).and_then(|text| text.find(is_match));
        self.line(span.start + within.unwrap_or(0))
    }

    /// Returns the first escape above `\x7f` in the string at `span`, with its line. TOML reads it as a character, not
    /// as a byte.
    pub fn ambiguous_escape(&self, span: Range<usize>) -> Option<(usize, String)> {
        // Strings in single quotes have no escapes.
        let mut rest = self.text.get(span.clone()).filter(|string| string.starts_with('"'))?;
        while let Some((_, escape)) = rest.split_once('\\') {
            let mut characters = escape.chars();
            match characters.next() {
                Some('x') if !matches!(characters.next(), Some('0'..='7')) => {
                    return Some((self.line(span.end - escape.len()), format!("\\{}", escape.get(..3)?)));
                }
                _ => rest = characters.as_str(),
            }
        }
        None
    }
}
