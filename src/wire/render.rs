//! Renders the fields of a payload in a finished reply, and adds them to its checksum.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::IpAddress;
use crate::checksum::Sum;
use crate::config::ProgramConfig;
use crate::field::{FieldKind, Fields};
use crate::frame::{Frame, MAX_OFFSET};
use crate::ip::Ip;
use crate::tcp::Tcp;
use crate::text::{PortText, TokenText};

/// The headers of a reply, without TCP options.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Headers<I: Unaligned> {
    ip: I,
    tcp: Tcp,
}

/// Writes `fields` into the payload of a reply, and corrects the checksum of TCP. The fields must be zero before.
///
/// The IP header, without options, is at `ip_offset` from the start of the frame, in bytes. The client is the
/// destination of the reply. `render` is [`render_field`], or calls it. Returns `None` if the frame is too short.
#[inline(always)]
pub fn render_fields<I: Ip, F: Frame>(
    frame: &mut F,
    ip_offset: usize,
    fields: Fields,
    render: impl Fn(&mut F, (usize, u16)) -> Option<Sum>,
) -> Option<()> {
    let mut sum = Sum::ZERO;
    let mut rest = fields;
    while let Some(field) = rest.pop() {
        let own = render(frame, field)?;
        let (offset, _) = field;
        sum = sum + if offset % 2 == 0 { own } else { own.swapped() };
    }
    let Headers { tcp, .. } = frame.at::<Headers<I>>(ip_offset)?;
    let [a, b] = tcp.checksum;
    tcp.checksum = sum.word([!a, !b]).checksum();
    Some(())
}

/// Writes a field into the payload of a reply, and returns its sum. The field is given by its offset from the start of
/// the payload, in bytes, and by its [`FieldKind`] as a number. `config` has the key of tokens.
///
/// Returns `None` if the frame is too short, or if there is no such kind.
#[inline(always)]
pub fn render_field<I: Ip, F: Frame>(
    frame: &mut F,
    ip_offset: usize,
    (offset, kind): (usize, u16),
    config: &ProgramConfig,
) -> Option<Sum> {
    const CLIENT: u16 = FieldKind::Client as u16;
    const CLIENT_PORT: u16 = FieldKind::ClientPort as u16;
    const SERVER: u16 = FieldKind::Server as u16;
    const SERVER_ENDPOINT: u16 = FieldKind::ServerEndpoint as u16;
    const CLIENT_ENDPOINT: u16 = FieldKind::ClientEndpoint as u16;
    const TOKEN: u16 = FieldKind::Token as u16;
    let Headers { ip, tcp } = frame.at::<Headers<I>>(ip_offset)?;
    let (server, client, client_port) = (ip.source().words(), ip.destination().words(), tcp.destination_port.get());
    let payload_offset = ip_offset + size_of::<I>() + tcp.header_length();
    // The mask gives the verifier an upper bound.
    let start = (payload_offset + offset) & MAX_OFFSET;
    match kind {
        CLIENT_PORT => Some(frame.at::<PortText>(start)?.set(client_port)),
        CLIENT => Some(I::Address::write(client, frame.at(start)?)),
        SERVER => Some(I::Address::write(server, frame.at(start)?)),
        CLIENT_ENDPOINT => render_endpoint::<I, F>(frame, ip_offset, start, true),
        SERVER_ENDPOINT => render_endpoint::<I, F>(frame, ip_offset, start, false),
        TOKEN => {
            let token = token::<I, F>(frame, ip_offset, config)?;
            Some(frame.at::<TokenText>(start)?.set(token))
        }
        _ => None,
    }
}

/// Writes the endpoint of the client or of the server to offset `start` of the frame, and returns its sum.
#[inline(always)]
fn render_endpoint<I: Ip, F: Frame>(frame: &mut F, ip_offset: usize, start: usize, is_client: bool) -> Option<Sum> {
    let Headers { ip, tcp } = frame.at::<Headers<I>>(ip_offset)?;
    let (address, port) =
        if is_client { (ip.destination(), tcp.destination_port) } else { (ip.source(), tcp.source_port) };
    let (address, port) = (address.words(), port.get());
    Some(I::Address::write_endpoint(address, port, frame.at(start)?))
}

/// Returns the token of the connection that a reply belongs to.
#[inline(always)]
fn token<I: Ip, F: Frame>(frame: &mut F, ip_offset: usize, config: &ProgramConfig) -> Option<u64> {
    let Headers { ip, tcp } = frame.at::<Headers<I>>(ip_offset)?;
    let ([a, b], [c, d]) = (tcp.destination_port.to_bytes(), tcp.source_port.to_bytes());
    Some(I::hash(config.token_hash, ip.destination(), ip.source(), [a, b, c, d]))
}
