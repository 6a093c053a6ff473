//! Payloads with fields, and their texts as the standard library formats addresses.

use std::net::{IpAddr, Ipv6Addr};

use siphasher::sip::SipHasher13;
use tcp_bounce_wire::{Field, FieldKind, Fields};

use super::segment::Segment;

/// A part of a payload.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes that are equal for each client.
    Bytes(Vec<u8>),
    /// A part that the program renders.
    Field(FieldKind),
}

/// A payload as a list of parts.
#[derive(Clone, Debug)]
pub struct TestPayload(pub Vec<Part>);

impl From<&[u8]> for TestPayload {
    fn from(bytes: &[u8]) -> Self {
        Self(vec![Part::Bytes(bytes.to_vec())])
    }
}

impl TestPayload {
    /// Returns whether the program renders a part of the payload.
    pub fn has_fields(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Field(_)))
    }

    /// Returns the payload as the table of blocks has it, with zeros in place of fields, and its fields.
    pub fn stored(&self, is_v6: bool) -> (Vec<u8>, Fields) {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        for part in &self.0 {
            match part {
                Part::Bytes(part) => bytes.extend_from_slice(part),
                &Part::Field(kind) => {
                    // The field of an endpoint starts with the byte before its text.
                    let is_endpoint = matches!(kind, FieldKind::ServerEndpoint | FieldKind::ClientEndpoint);
                    fields.push(Field { kind, offset: (bytes.len() - usize::from(is_endpoint)) as u16 });
                    let tuple = &[0; 36][..if is_v6 { 36 } else { 12 }];
                    bytes.resize(bytes.len() + text(kind, tuple, &[0; 16], bytes.last()).len(), 0);
                }
            }
        }
        (bytes, Fields::new(&fields))
    }

    /// Returns the payload that answers `request` under `key`.
    pub fn rendered(&self, request: &Segment, key: &[u8; 16]) -> Vec<u8> {
        let tuple = request.tuple();
        self.0.iter().fold(Vec::new(), |mut bytes, part| {
            match part {
                Part::Bytes(part) => bytes.extend_from_slice(part),
                &Part::Field(kind) => {
                    let text = text(kind, &tuple, key, bytes.last());
                    bytes.extend_from_slice(&text);
                }
            }
            bytes
        })
    }
}

/// Returns the text of a field, given the addresses and ports of a segment from the client, and the byte before the
/// field.
fn text(kind: FieldKind, tuple: &[u8], key: &[u8; 16], before: Option<&u8>) -> Vec<u8> {
    let (client, rest) = tuple.split_at(if tuple.len() > 12 { 16 } else { 4 });
    let (server, rest) = rest.split_at(client.len());
    let [client_port, server_port] = [0, 2].map(|index| u16::from_be_bytes([rest[index], rest[index + 1]]));
    match kind {
        FieldKind::Client => address_text(client).into_bytes(),
        FieldKind::Server => address_text(server).into_bytes(),
        FieldKind::ClientPort => format!("{client_port:<5}").into_bytes(),
        FieldKind::ClientEndpoint => endpoint_text(client, client_port, before),
        FieldKind::ServerEndpoint => endpoint_text(server, server_port, before),
        FieldKind::Token => format!("{:016x}", token(key, tuple)).into_bytes(),
    }
}

/// Returns the text of an endpoint, which a copy of the byte before it and spaces follow.
fn endpoint_text(address: &[u8], port: u16, before: Option<&u8>) -> Vec<u8> {
    let text = address_text(address);
    let address = text.trim_end();
    let (width, text) =
        if text.len() == 39 { (48, format!("[{address}]:{port}")) } else { (22, format!("{address}:{port}")) };
    let mut bytes = text.into_bytes();
    bytes.extend(before);
    bytes.resize(width, b' ');
    bytes
}

/// Returns the token of a connection, given the addresses and ports of a segment from the client.
pub fn token(key: &[u8; 16], tuple: &[u8]) -> u64 {
    let half = |label: &[u8]| SipHasher13::new_with_key(key).hash(label).to_le_bytes();
    let own = [half(b"tcp-bounce identity0"), half(b"tcp-bounce identity1")].concat();
    SipHasher13::new_with_key(&own.try_into().expect("16 bytes")).hash(tuple)
}

/// Returns the text of an address in fixed width.
pub fn address_text(address: &[u8]) -> String {
    match <[u8; 16]>::try_from(address) {
        Ok(v6) => Ipv6Addr::from(v6).segments().map(|group| format!("{group:04x}")).join(":"),
        Err(_) => format!("{:<15}", IpAddr::from(<[u8; 4]>::try_from(address).expect("an address")).to_string()),
    }
}
