//! Errors of profiles: the rules that a file breaks.

use crate::config::TomlError;

use super::{Profile, System};

/// A mistake in a profile. `line` is a line of its file, counted from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The file is not UTF-8.
    #[error("line {line}: not UTF-8")]
    NotUtf8 {
        /// The line of the first byte that is not UTF-8.
        line: usize,
    },
    /// The file has another format than the selected one.
    #[error("line {line}: this line is in the format {format}")]
    OtherFormat {
        /// A line in the other format.
        line: usize,
        /// The name of the other format, as `--profile-format` has it.
        format: &'static str,
    },
    /// The file is not TOML, and has no key of a profile.
    #[error("line {line}: not a profile in TOML")]
    NotToml {
        /// The first line that is not TOML.
        line: usize,
    },
    /// The file has a mistake that any file in TOML may have, such as an unknown key.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// The value of `system` is unknown.
    #[error("line {line}: \"{system}\" is not a known system")]
    UnknownSystem {
        /// The line of the name.
        line: usize,
        /// The name.
        system: String,
    },
    /// The value of `end` is unknown.
    #[error("line {line}: \"{end}\" is not a known end")]
    UnknownEnd {
        /// The line of the name.
        line: usize,
        /// The name.
        end: String,
    },
    /// The profile has no service.
    #[error("it has no service")]
    NoService,
    /// The service has neither a banner nor replies.
    #[error("line {line}: the service has neither a banner nor replies")]
    EmptyService {
        /// The line of the service.
        line: usize,
    },
    /// The service has too many replies.
    #[error("line {line}: the service has {count} replies; the limit is {}", Profile::MAX_REPLIES)]
    TooManyReplies {
        /// The line of the first reply that is one too many.
        line: usize,
        /// The number of replies.
        count: usize,
    },
    /// The prefix of a reply is empty.
    #[error("line {line}: the prefix is empty")]
    EmptyPrefix {
        /// The line of the prefix.
        line: usize,
    },
    /// The prefix of a reply is too long.
    #[error("line {line}: the prefix is {length} bytes long; the limit is {}", Profile::MAX_PREFIX)]
    PrefixTooLong {
        /// The line of the prefix.
        line: usize,
        /// The length of the prefix in bytes.
        length: usize,
    },
    /// A payload does not fit into one segment.
    #[error("line {line}: the {payload} is {length} bytes long; the limit is {}", Profile::MAX_PAYLOAD)]
    PayloadTooLong {
        /// The line of the payload.
        line: usize,
        /// The kind of payload: "banner" or "reply".
        payload: &'static str,
        /// The length of the payload in bytes, on a port of five digits and over IPv6.
        length: usize,
    },
    /// A payload has too many `{client}`, `{client_port}` or `{server}` placeholders.
    #[error(
        "line {line}: the {payload} has {count} {{client}}, {{client_port}} or {{server}} placeholders; the limit is {}",
        Profile::MAX_FIELDS
    )]
    TooManyFields {
        /// The line of the payload.
        line: usize,
        /// The kind of payload: "banner" or "reply".
        payload: &'static str,
        /// The number of placeholders.
        count: usize,
    },
    /// The banner of a service is empty.
    #[error("line {line}: the banner is empty")]
    EmptyBanner {
        /// The line of the banner.
        line: usize,
    },
    /// The payload of a reply is empty.
    #[error("line {line}: the reply is empty")]
    EmptyReply {
        /// The line of the payload.
        line: usize,
    },
    /// An earlier reply of the service matches all data that a reply matches.
    #[error("line {line}: the reply is never sent, because an earlier reply matches the same data")]
    UnreachableReply {
        /// The line of the reply.
        line: usize,
    },
    /// A service stays open, and one of its several replies has no prefix.
    #[error("line {line}: a service that stays open cannot have a reply without prefix beside other replies")]
    AmbiguousReply {
        /// The line of the reply without prefix.
        line: usize,
    },
    /// The digits of `hex` are no bytes.
    #[error("line {line}: {reason}")]
    InvalidHex {
        /// The line of the payload.
        line: usize,
        /// A phrase that says what is wrong.
        reason: String,
    },
    /// An escape of a string stands for a character of two bytes, and for a byte to most readers.
    #[error("line {line}: {escape} is a character of two bytes")]
    AmbiguousEscape {
        /// The line of the string.
        line: usize,
        /// The escape, such as `\xff`.
        escape: String,
    },
    /// Two services list the same port.
    #[error("line {line}: port {port} already belongs to the service {}in line {other}", quoted(name))]
    PortTwice {
        /// The line of the ports of the second service.
        line: usize,
        /// The port.
        port: u16,
        /// The name of the first service, if it has one.
        name: Option<String>,
        /// The line of the ports of the first service.
        other: usize,
    },
    /// The services select more ports than there are.
    #[error("line {line}: the service selects {selected} ports, and {left} are left")]
    TooManySelectedPorts {
        /// The line of the ports of the service.
        line: usize,
        /// The number of ports that the service selects.
        selected: u32,
        /// The number of ports that other services leave.
        left: u32,
    },
    /// A line of a portspoof configuration has another form.
    #[error("line {line}: expected a port or a range of ports, then a payload in double quotes")]
    InvalidEntry {
        /// The line.
        line: usize,
    },
    /// A payload of a portspoof configuration is not a regular expression that can be expanded.
    #[error("line {line}: the payload cannot be expanded: {reason}")]
    InvalidRegex {
        /// The line.
        line: usize,
        /// The reason.
        reason: String,
    },
    /// A payload of a portspoof configuration expands to no byte, or to too many.
    #[error("line {line}: the payload is empty, or longer than {} bytes", Profile::MAX_PAYLOAD)]
    Expansion {
        /// The line.
        line: usize,
    },
    /// No line of a signature file can be expanded.
    #[error("no line can be expanded: line {line}: {reason}")]
    NoExpandableLine {
        /// The first line.
        line: usize,
        /// The reason why it cannot be expanded.
        reason: String,
    },
    /// A file of portspoof has no payload.
    #[error("it has no payload")]
    NoPayload,
    /// Two services have all other ports.
    #[error("line {line}: \"others\" is already used in line {other}")]
    OthersTwice {
        /// The line of the ports of the second service.
        line: usize,
        /// The line of the ports of the first service.
        other: usize,
    },
}

impl ProfileError {
    /// Returns the line of the mistake. `None` if the mistake concerns the whole file.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::NoService | Self::NoPayload | Self::NoExpandableLine { .. } => None,
            Self::Toml(error) => Some(error.line()),
            Self::NotUtf8 { line }
            | Self::OtherFormat { line, .. }
            | Self::NotToml { line }
            | Self::UnknownSystem { line, .. }
            | Self::UnknownEnd { line, .. }
            | Self::EmptyService { line }
            | Self::TooManyReplies { line, .. }
            | Self::EmptyPrefix { line }
            | Self::PrefixTooLong { line, .. }
            | Self::PayloadTooLong { line, .. }
            | Self::TooManyFields { line, .. }
            | Self::EmptyBanner { line }
            | Self::EmptyReply { line }
            | Self::UnreachableReply { line }
            | Self::AmbiguousReply { line }
            | Self::InvalidHex { line, .. }
            | Self::AmbiguousEscape { line, .. }
            | Self::PortTwice { line, .. }
            | Self::TooManySelectedPorts { line, .. }
            | Self::InvalidEntry { line }
            | Self::InvalidRegex { line, .. }
            | Self::Expansion { line }
            | Self::OthersTwice { line, .. } => Some(*line),
        }
    }

    /// Returns advice on how to resolve the error, if there is any.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownSystem { .. } => {
                return Some(format!("use one of {}", System::ALL.map(System::name).join(", ")));
            }
            Self::NotUtf8 { .. } => "save the file in UTF-8, and write other bytes as in { hex = \"ff fd 18\" }",
            Self::OtherFormat { format: "toml", .. } => "remove --profile-format",
            Self::OtherFormat { format, .. } => return Some(format!("add --profile-format {format}")),
            Self::NotToml { .. } => {
                "expected KEY = VALUE or [[service]]; see tcp-bounce --show-profile linux-server; for a list of regular \
                 expressions, add --profile-format portspoof-signatures"
            }
            Self::Toml(error) => return error.hint(),
            Self::UnknownEnd { .. } => "use one of stay, close, reset",
            Self::NoService => "add a [[service]]; `tcp-bounce --show-profile linux-server` prints an example",
            Self::EmptyService { .. } => "add a banner, or a reply such as `replies = [{ send = \"...\" }]`",
            Self::TooManyReplies { .. } => "remove replies, or shorten a prefix so that it matches several requests",
            Self::EmptyPrefix { .. } => "omit the prefix of a reply to any data",
            Self::PrefixTooLong { .. } => "shorten the prefix to the first bytes of the request",
            Self::PayloadTooLong { .. } => "shorten it, best to 250 bytes, which fit on most interfaces",
            Self::TooManyFields { .. } => "remove some of {client}, {client_port} and {server}",
            Self::EmptyBanner { .. } => "remove the key, or add text",
            Self::EmptyReply { .. } => "remove the reply: data that matches no reply is acknowledged",
            Self::UnreachableReply { .. } => "remove the reply, or move it up",
            Self::AmbiguousReply { .. } => {
                "add `end = \"close\"`, or a prefix: a request in two segments would get two replies"
            }
            Self::InvalidHex { .. } => "hexadecimal bytes look like { hex = \"ff fd 18\" }",
            Self::AmbiguousEscape { .. } => "write bytes above 7f in hexadecimal, as in { hex = \"ff fd 18\" }",
            Self::PortTwice { port, .. } => return Some(format!("list port {port} for one service only")),
            Self::TooManySelectedPorts { .. } => "lower the numbers of random: and share:",
            Self::InvalidEntry { .. } => {
                "a line looks like 51-60 \"220 ready\\r\\n\"; for a list of regular expressions, use the format \
                 portspoof-signatures"
            }
            Self::InvalidRegex { .. } => "put a backslash before special characters that stand for themselves",
            Self::Expansion { .. } => "shorten the payload, or remove the line",
            Self::NoExpandableLine { .. } => "correct at least one expression",
            Self::NoPayload => return None,
            Self::OthersTwice { .. } => "use \"others\" for one service only",
        };
        Some(hint.to_owned())
    }
}

/// Returns a name in quotes with a space after it. Empty without a name.
fn quoted(name: &Option<String>) -> String {
    name.as_ref().map_or_else(String::new, |name| format!("\"{}\" ", name.escape_debug()))
}
