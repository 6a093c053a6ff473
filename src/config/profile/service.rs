//! The services of a profile: their ports, payloads and endings.

use tcp_bounce_wire::Ending;

use crate::config::PortPattern;

use super::payload;

/// A service: its ports, and the payloads that it sends.
///
/// In the banner and in the payloads of replies, `{port}` stands for the service's port. [`ServiceConfig::on_port`]
/// replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The name of the service, for people.
    pub name: Option<String>,
    /// The ports of the service.
    pub ports: ServicePorts,
    /// The payload that is sent when the handshake completes. Empty if the client speaks first.
    pub banner: Vec<u8>,
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
    pub payload: Vec<u8>,
}

/// The first bytes of data. The empty prefix matches all data.
///
/// Letters of a prefix that is written as a string match in upper and in lower case. Those in hexadecimal match exactly.
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

    /// Returns the bytes. A byte of the data matches if it is equal to them after the mask of the same index is applied.
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
        let replies = self.replies.iter().map(|reply| &reply.payload);
        [&self.banner].into_iter().chain(replies).any(|payload| payload::contains_port(payload))
    }

    /// Returns the service as `port` offers it, with the port in its payloads.
    pub fn on_port(&self, port: u16) -> Self {
        let mut service = self.clone();
        let replies = service.replies.iter_mut().map(|reply| &mut reply.payload);
        for payload in [&mut service.banner].into_iter().chain(replies) {
            *payload = payload::on_port(payload, port);
        }
        service
    }
}
