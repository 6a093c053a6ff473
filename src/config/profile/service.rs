//! The services of a profile: their ports, payloads and endings.

use tcp_bounce_wire::Ending;

use crate::config::PortPattern;

use super::PayloadConfig;

/// A service: its ports, and the payloads that it sends.
///
/// The banner and the payloads of replies may contain placeholders such as `{port}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The name of the service, for people.
    pub name: Option<String>,
    /// The ports of the service.
    pub ports: ServicePorts,
    /// The payload that is sent when the handshake completes. Empty if the client speaks first.
    pub banner: PayloadConfig,
    /// The replies to data of the client. The first reply that matches is sent.
    pub replies: Vec<ReplyConfig>,
    /// How the service ends a connection.
    pub ending: Ending,
}

/// The ports of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServicePorts {
    /// Listed ports, and ports that the key selects.
    Pattern(PortPattern),
    /// All ports that no other service has.
    Others,
}

/// A reply to data of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyConfig {
    /// The data that gets this reply.
    pub prefix: Prefix,
    /// The payload of the reply.
    pub payload: PayloadConfig,
}

/// The first bytes of data. The empty prefix matches all data.
///
/// Letters of a prefix that is written as a string match in upper and in lower case. Those in hexadecimal match
/// exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix {
    bytes: Vec<u8>,
    mask: Vec<u8>,
}

impl Prefix {
    /// The bits that are equal in the upper and in the lower case of an ASCII letter.
    const LETTER: u8 = 0xdf;

    /// Appends bytes that match exactly.
    pub(super) fn push_exact(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.mask.extend(bytes.iter().map(|_| u8::MAX));
    }

    /// Appends text that matches in upper and in lower case.
    pub(super) fn push_text(&mut self, text: &str) {
        let mask = |byte: u8| if byte.is_ascii_alphabetic() { Self::LETTER } else { u8::MAX };
        self.bytes.extend(text.bytes().map(|byte| byte & mask(byte)));
        self.mask.extend(text.bytes().map(mask));
    }

    /// Returns the bytes. A byte of the data matches if it is equal to them after the mask of the same index is
    /// applied.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the masks of the bytes.
    pub fn mask(&self) -> &[u8] {
        &self.mask
    }

    /// Returns whether every data that begins with `other` begins with this prefix.
    pub fn covers(&self, other: &Self) -> bool {
        let own = self.bytes.iter().zip(&self.mask);
        self.bytes.len() <= other.bytes.len()
            && own
                .zip(other.bytes.iter().zip(&other.mask))
                .all(|((byte, mask), (other, other_mask))| mask & other_mask == *mask && other & mask == *byte)
    }
}

impl ServiceConfig {
    /// Returns whether a payload contains the port, so that each port of the service needs its own payloads.
    pub fn depends_on_port(&self) -> bool {
        self.payloads().any(PayloadConfig::contains_port)
    }

    /// Returns the length of the longest payload in bytes, on a port of five digits and over IPv6.
    pub fn longest_payload(&self) -> usize {
        self.payloads().map(PayloadConfig::longest).max().unwrap_or(0)
    }

    /// Returns whether a payload contains placeholders that the program renders for each client.
    pub fn has_fields(&self) -> bool {
        self.payloads().any(|payload| payload.count_fields() > 0)
    }

    /// Returns the banner and the payload of each reply.
    fn payloads(&self) -> impl Iterator<Item = &PayloadConfig> {
        let replies = self.replies.iter().map(|reply| &reply.payload);
        [&self.banner].into_iter().chain(replies)
    }
}
