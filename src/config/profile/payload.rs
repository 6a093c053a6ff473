//! Payloads: hexadecimal digits, and placeholders.

use std::slice;

use tcp_bounce_wire::{Field, FieldKind, Fields};

/// A part of a payload that differs between ports, runs or clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    /// The port of the service.
    Port,
    /// The date at which tcp-bounce started.
    Date,
    /// A part that the program renders for each client.
    Field(FieldKind),
}

impl Placeholder {
    /// The placeholders, each with its text in a payload.
    const ALL: [(Self, &[u8]); 5] = [
        (Self::Port, b"{port}"),
        (Self::Date, b"{date}"),
        (Self::Field(FieldKind::Client), b"{client}"),
        (Self::Field(FieldKind::ClientPort), b"{client_port}"),
        (Self::Field(FieldKind::Server), b"{server}"),
    ];

    /// Returns the length of the longest text that replaces the placeholder, in bytes.
    const fn longest(self) -> usize {
        match self {
            Self::Port => "65535".len(),
            Self::Date => "Mon, 30 Nov 2026 07:00:00 +0000".len(),
            Self::Field(kind) => kind.width(true),
        }
    }
}

/// A part of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Placeholder(Placeholder),
}

/// A payload of a profile: bytes, and placeholders between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadConfig(Vec<Part>);

impl PayloadConfig {
    /// Appends text, whose placeholders are replaced later.
    pub(super) fn push_text(&mut self, text: &[u8]) {
        let mut rest = text;
        while let Some((byte, after)) = rest.split_first() {
            let mut all = Placeholder::ALL.into_iter();
            match all.find_map(|(placeholder, text)| Some((placeholder, rest.strip_prefix(text)?))) {
                Some((placeholder, tail)) => {
                    self.0.push(Part::Placeholder(placeholder));
                    rest = tail;
                }
                None => {
                    self.push_exact(slice::from_ref(byte));
                    rest = after;
                }
            }
        }
    }

    /// Appends bytes that are sent as they are.
    pub(super) fn push_exact(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(Part::Bytes(last)) => last.extend_from_slice(bytes),
            _ if bytes.is_empty() => {}
            _ => self.0.push(Part::Bytes(bytes.to_owned())),
        }
    }

    /// Returns whether the payload has no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the payload contains the placeholder of the port.
    pub(super) fn contains_port(&self) -> bool {
        self.0.contains(&Part::Placeholder(Placeholder::Port))
    }

    /// Returns the number of placeholders that the program renders for each client.
    pub(super) fn count_fields(&self) -> usize {
        self.0.iter().filter(|part| matches!(part, Part::Placeholder(Placeholder::Field(_)))).count()
    }

    /// Returns the length in bytes, on a port of five digits and over IPv6.
    pub(super) fn longest(&self) -> usize {
        let length = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Placeholder(placeholder) => placeholder.longest(),
        };
        self.0.iter().map(length).sum()
    }
}

#[cfg(test)]
impl PayloadConfig {
    /// Returns the payload with its placeholders as text.
    pub fn text(&self) -> Vec<u8> {
        let text = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.clone(),
            Part::Placeholder(own) => Placeholder::ALL.iter().find(|(it, _)| it == own).unwrap().1.to_owned(),
        };
        self.0.iter().flat_map(text).collect()
    }
}

impl From<&[u8]> for PayloadConfig {
    /// Returns the payload of this text.
    fn from(text: &[u8]) -> Self {
        let mut payload = Self::default();
        payload.push_text(text);
        payload
    }
}

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

/// The values of the placeholders in the payloads of a port, for one IP version.
#[derive(Clone, Copy, Debug)]
pub struct PlaceholderValues<'a> {
    /// The port.
    pub port: u16,
    /// The date at which tcp-bounce started.
    pub date: &'a str,
    /// Whether clients connect over IPv6, and not over IPv4.
    pub is_v6: bool,
}

impl PlaceholderValues<'_> {
    /// Returns `payload` with these values in place of its placeholders. Zeros replace the fields that the program
    /// renders, which are returned, too.
    pub fn fill(&self, payload: &PayloadConfig) -> (Vec<u8>, Fields) {
        let mut bytes = Vec::new();
        let mut fields = Vec::new();
        for part in &payload.0 {
            match *part {
                Part::Bytes(ref part) => bytes.extend_from_slice(part),
                Part::Placeholder(Placeholder::Port) => bytes.extend_from_slice(self.port.to_string().as_bytes()),
                Part::Placeholder(Placeholder::Date) => bytes.extend_from_slice(self.date.as_bytes()),
                Part::Placeholder(Placeholder::Field(kind)) => {
                    fields.push(Field { kind, offset: bytes.len() as u16 });
                    bytes.resize(bytes.len() + kind.width(self.is_v6), 0);
                }
            }
        }
        (bytes, Fields::new(&fields))
    }
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

    /// Returns a payload on a port, without the fields that the program renders.
    fn on_port(payload: &PayloadConfig, port: u16) -> Vec<u8> {
        PlaceholderValues { port, date: "Thu, 01 Jan 1970 00:00:00 +0000", is_v6: false }.fill(payload).0
    }

    fn text(text: &str) -> PayloadConfig {
        PayloadConfig::from(text.as_bytes())
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
            let config = text(payload);
            assert_eq!(on_port(&config, 80), replaced.as_bytes());
            assert_eq!(config.contains_port(), payload != replaced, "{payload}");
            assert_eq!(config.longest(), on_port(&config, 65535).len(), "{payload}");
            assert_eq!(config.is_empty(), payload.is_empty(), "{payload}");
        }
        assert_eq!(on_port(&text("{port} {port"), 65535), b"65535 {port");
        assert_eq!(on_port(&PayloadConfig::from(&[0xff, 0, b'{'][..]), 1), [0xff, 0, b'{']);
    }

    #[test]
    fn exact_bytes_have_no_placeholders() {
        let mut config = text("{port}");
        for part in ["{port}", "{client}", "{po", "rt}"] {
            config.push_exact(part.as_bytes());
        }
        assert_eq!(on_port(&config, 80), b"80{port}{client}{port}");
        assert_eq!((config.longest(), config.count_fields()), (5 + 20, 0));
        let mut literal = PayloadConfig::default();
        literal.push_exact(b"");
        assert!(literal.is_empty());
        literal.push_exact(b"{port}");
        assert!(!literal.contains_port());
    }

    #[test]
    fn the_date_replaces_its_placeholder() {
        assert_eq!(on_port(&text("<{date}>{date"), 1), b"<Thu, 01 Jan 1970 00:00:00 +0000>{date");
        assert_eq!(text("{date}").longest(), on_port(&text("{date}"), 1).len());
        assert!(!text("{date}").contains_port() && text("{date}{port}").count_fields() == 0);
    }

    #[test]
    fn zeros_replace_the_fields_that_the_program_renders() {
        let payload = text("{client_port}a{client}{server}{client");
        let field = |kind, offset| Field { kind, offset };
        for (is_v6, address) in [(false, "255.255.255.255".len()), (true, 8 * 4 + 7)] {
            let values = PlaceholderValues { port: 1, date: "", is_v6 };
            let (bytes, fields) = values.fill(&payload);
            assert_eq!(bytes, [&[0; 5][..], b"a", &vec![0; 2 * address], b"{client"].concat());
            let server = 6 + address as u16;
            let expected =
                [field(FieldKind::ClientPort, 0), field(FieldKind::Client, 6), field(FieldKind::Server, server)];
            assert_eq!(fields, Fields::new(&expected));
            assert_eq!(payload.longest() == bytes.len(), is_v6);
        }
        assert_eq!(payload.count_fields(), 3);
    }
}
