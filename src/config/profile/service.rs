//! The services of a profile: their ports, payloads and endings.

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
    /// What follows the last payload.
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
    /// The first bytes of the data that gets this reply. An empty prefix matches all data.
    pub prefix: Vec<u8>,
    /// The payload of the reply.
    pub payload: Vec<u8>,
}

/// What follows the last payload of a service: the reply, or the banner if there are no replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// The connection stays open.
    #[default]
    Stay,
    /// The last payload carries a FIN.
    Close,
    /// An RST follows when the client acknowledges the last payload.
    Reset,
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
