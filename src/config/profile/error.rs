//! Errors of profiles: the rules that a file breaks.

use crate::config::ValueError;

use super::{Profile, System};

/// A mistake in a profile. `line` is a line of its file, counted from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The file is not TOML, a key is unknown or missing, or a value has the wrong type.
    #[error("line {line}: {message}")]
    Syntax {
        /// The line.
        line: usize,
        /// The message of the TOML parser.
        message: String,
    },
    /// No operating system has this name.
    #[error("line {line}: \"{system}\" is not a known system")]
    UnknownSystem {
        /// The line of the name.
        line: usize,
        /// The name.
        system: String,
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
    #[error("line {line}: the service has {count} replies, and at most {} are supported", Profile::MAX_REPLIES)]
    TooManyReplies {
        /// The line of the first reply that is one too many.
        line: usize,
        /// The number of replies.
        count: usize,
    },
    /// The prefix of a reply is empty or too long.
    #[error("line {line}: the prefix has {length} bytes, and a prefix has 1 to {}", Profile::MAX_PREFIX)]
    PrefixLength {
        /// The line of the prefix.
        line: usize,
        /// The length of the prefix in bytes.
        length: usize,
    },
    /// A payload does not fit into one segment.
    #[error("line {line}: the {payload} has {length} bytes, and one segment carries at most {}", Profile::MAX_PAYLOAD)]
    PayloadTooLong {
        /// The line of the payload.
        line: usize,
        /// The kind of payload: "banner" or "reply".
        payload: &'static str,
        /// The length of the payload in bytes, on a port of five digits.
        length: usize,
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
    /// The ports of a service are malformed.
    #[error("line {line}: {}", reason.reason())]
    InvalidPorts {
        /// The line of the ports.
        line: usize,
        /// The error of the pattern.
        reason: ValueError,
    },
    /// Two services list the same port.
    #[error("line {line}: port {port} has a service already, in line {other}")]
    PortTwice {
        /// The line of the ports of the second service.
        line: usize,
        /// The port.
        port: u16,
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
    #[error("line {line}: not a port or a range of ports, and a payload in double quotes")]
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
    #[error("line {line}: the payload has no byte, or more than {}, which one segment carries", Profile::MAX_PAYLOAD)]
    Expansion {
        /// The line.
        line: usize,
    },
    /// Two services have all other ports.
    #[error("line {line}: the other ports have a service already, in line {other}")]
    OthersTwice {
        /// The line of the ports of the second service.
        line: usize,
        /// The line of the ports of the first service.
        other: usize,
    },
}

impl ProfileError {
    /// Returns advice on how to resolve the error, if there is any.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownSystem { .. } => {
                return Some(format!("use one of {}", System::ALL.map(System::name).join(", ")));
            }
            Self::NoService => "add a [[service]]; `tcp-bounce --show-profile linux-server` prints an example",
            Self::EmptyService { .. } => "add a banner, or a reply such as `replies = [{ send = \"...\" }]`",
            Self::TooManyReplies { .. } => "remove replies, or shorten a prefix so that it matches several requests",
            Self::PrefixLength { length: 0, .. } => "omit the prefix of a reply to any data",
            Self::PrefixLength { .. } => "shorten the prefix to the first bytes of the request",
            Self::PayloadTooLong { .. } => "shorten the payload",
            Self::EmptyReply { .. } => "remove the reply: data that matches no reply is acknowledged",
            Self::UnreachableReply { .. } => "remove the reply, or move it up",
            Self::AmbiguousReply { .. } => {
                "add `end = \"close\"`, or a prefix: a request in two segments would get two replies"
            }
            Self::InvalidHex { .. } => "hexadecimal bytes look like { hex = \"ff fd 18\" }",
            Self::AmbiguousEscape { .. } => "write bytes above 7f in hexadecimal, as in { hex = \"ff fd 18\" }",
            Self::InvalidPorts { reason, .. } => return reason.examples().map(str::to_owned),
            Self::PortTwice { port, .. } => return Some(format!("list port {port} for one service only")),
            Self::TooManySelectedPorts { .. } => "lower the numbers of random: and share:",
            Self::InvalidEntry { .. } => "a line looks like 51-60 \"220 ready\\r\\n\"",
            Self::InvalidRegex { .. } => "put a backslash before special characters that stand for themselves",
            Self::Expansion { .. } => "shorten the payload, or remove the line",
            Self::OthersTwice { .. } => "use \"others\" for one service only",
            Self::Syntax { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
