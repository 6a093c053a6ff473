//! The payloads of `--on-connect identify`: each client reads both ends of its connection.

use tcp_bounce_wire::{Block, Ending, Field, FieldKind, Fields, Payload, Service, ServiceByPort};
use zerocopy::FromZeros as _;

use super::ResponderError;
use crate::config::{IdentityFormat, PostHandshake};
use crate::xdp::loader::ServiceTables;

/// The formats, each with its index among the services.
const FORMATS: [(u16, IdentityFormat); 2] = [(0, IdentityFormat::Text), (1, IdentityFormat::Json)];

/// Returns the tables for the ports whose connections are identified.
///
/// # Errors
///
/// [`ResponderError::OutOfMemory`] if the table of ports cannot be allocated.
pub fn tables(post_handshake: &PostHandshake) -> Result<ServiceTables, ResponderError> {
    let Ok(mut by_port) = ServiceByPort::new_box_zeroed() else { return Err(ResponderError::OutOfMemory) };
    for port in 0..=u16::MAX {
        let format = post_handshake.identity_of(port);
        FORMATS.into_iter().filter(|&(_, own)| format == Some(own)).for_each(|(index, _)| by_port.set(port, index));
    }
    let (mut services, mut blocks) = (Vec::new(), Vec::new());
    for ((_, format), is_v6) in FORMATS.into_iter().flat_map(|format| [(format, false), (format, true)]) {
        let Draft { bytes, fields, .. } = Draft::new(format, is_v6);
        let payload = Payload::new(&bytes, Fields::new(&fields), blocks.len() as u32);
        services.push(Service::new(payload, &[], Ending::Close));
        blocks.extend(Block::split(&bytes));
    }
    Ok(ServiceTables { services, by_port, blocks, has_fields: true })
}

/// A payload with zeros in place of its fields.
struct Draft {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    is_v6: bool,
}

impl Draft {
    /// Returns the payload in `format` for clients of an IP version.
    ///
    /// Its HTTP header is short, so that most drivers have room for the answer before the frame. A response of HTTP/1.0
    /// without a length ends with the connection.
    fn new(format: IdentityFormat, is_v6: bool) -> Self {
        let mut draft = Self { bytes: Vec::new(), fields: Vec::new(), is_v6 };
        draft.text("HTTP/1.0 200 OK\r\n");
        match format {
            IdentityFormat::Text => {
                draft.text("Content-Type: text/plain\r\n\r\ntcp-bounce ");
                draft.endpoint(FieldKind::ServerEndpoint);
                draft.text("reached from ");
                draft.endpoint(FieldKind::ClientEndpoint);
                draft.text("token=");
                draft.field(FieldKind::Token);
                draft.text("\n");
            }
            IdentityFormat::Json => {
                draft.text("\r\n{\"server\":\"");
                draft.endpoint(FieldKind::ServerEndpoint);
                draft.text(",\"client\":\"");
                draft.endpoint(FieldKind::ClientEndpoint);
                draft.text(",\"token\":\"");
                draft.field(FieldKind::Token);
                draft.text("\"}\n");
            }
        }
        draft
    }

    /// Appends text that is equal for each client.
    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends a field.
    fn field(&mut self, kind: FieldKind) {
        self.field_at(kind, self.bytes.len());
    }

    /// Appends an endpoint, whose field starts with the byte before it.
    fn endpoint(&mut self, kind: FieldKind) {
        self.field_at(kind, self.bytes.len() - 1);
    }

    /// Appends zeros, which the program replaces by a field at `offset`.
    fn field_at(&mut self, kind: FieldKind, offset: usize) {
        self.fields.push(Field { kind, offset: offset as u16 });
        self.bytes.resize(self.bytes.len() + kind.width(self.is_v6), 0);
    }
}

#[cfg(test)]
mod tests {
    use tcp_bounce_wire::frame::{HEADROOM, LEAST_HEADROOM};

    use super::*;

    #[test]
    fn payloads_fit_before_the_frame() {
        for format in [IdentityFormat::Text, IdentityFormat::Json] {
            for (is_v6, room) in [(false, LEAST_HEADROOM), (true, HEADROOM)] {
                let Draft { bytes, fields, .. } = Draft::new(format, is_v6);
                assert!(bytes.len() <= room, "{format:?}: {}", bytes.len());
                assert!(fields.len() <= Fields::MAX_COUNT);
            }
        }
    }

    #[test]
    fn only_identified_ports_have_a_service() {
        let choices = ["identify:80", "identify=json:81", "close"].map(|choice| choice.parse().unwrap());
        let tables = tables(&PostHandshake::new(&choices).unwrap()).unwrap();
        assert_eq!([80, 81].map(|port| tables.by_port.get(port)), [0, 1]);
        assert_eq!(tables.services.len(), 2 * FORMATS.len());
        let all = super::tables(&PostHandshake::new(&["identify=json".parse().unwrap()]).unwrap()).unwrap();
        assert!((0..=u16::MAX).all(|port| all.by_port.get(port) == 1));
    }
}
