//! Tokens. A client that receives one can prove that a responder with the key answered its connection.

use core::net::SocketAddr;

use crate::address::{Ipv4Address, Ipv6Address};
use crate::ip::Ip;
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::siphash::SipHash13;

/// The texts whose hashes under the key of the ISN are the key of the tokens. No input of an ISN is as long.
const LABELS: [&[u8; 20]; 2] = [b"tcp-bounce identity0", b"tcp-bounce identity1"];

/// Returns the token of the connection from `client` to `server`, under the key in a key file. Its text has 16
/// hexadecimal digits, as with `{:016x}`.
///
/// The token is the [`SipHash13`] of the addresses and ports. Its own key is derived from `key`, so that tokens reveal
/// no sequence numbers. Returns `None` if one address is IPv4 and the other one is IPv6.
///
/// ```
/// use tcp_bounce_wire::identity::token;
///
/// let (client, server) = ("203.0.113.7:53211".parse().unwrap(), "192.0.2.1:8443".parse().unwrap());
/// assert_eq!(token(&[7; 16], client, server).map(|token| format!("{token:016x}")).as_deref(), Some("5b4829152c0a1b27"));
/// ```
pub fn token(key: &[u8; 16], client: SocketAddr, server: SocketAddr) -> Option<u64> {
    let hash = token_hash(*key);
    let ([a, b], [c, d]) = (client.port().to_be_bytes(), server.port().to_be_bytes());
    let ports = [a, b, c, d];
    match (client, server) {
        (SocketAddr::V4(client), SocketAddr::V4(server)) => {
            let [client, server] = [client, server].map(|end| Ipv4Address(end.ip().octets()));
            Some(Ipv4::hash(hash, client, server, ports))
        }
        (SocketAddr::V6(client), SocketAddr::V6(server)) => {
            let [client, server] = [client, server].map(|end| Ipv6Address(end.ip().octets()));
            Some(Ipv6::hash(hash, client, server, ports))
        }
        _ => None,
    }
}

/// Returns the hash of tokens before the first block, given the key of the ISN.
pub(crate) const fn token_hash(key: [u8; 16]) -> SipHash13 {
    let hash = SipHash13::new(key);
    let [first, second] = [half(hash, LABELS[0]), half(hash, LABELS[1])];
    SipHash13::new(((second as u128) << 64 | first as u128).to_le_bytes())
}

/// Returns half of the key of tokens.
const fn half(hash: SipHash13, label: &[u8; 20]) -> u64 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, last @ ..] = *label;
    hash.block([a, b, c, d, e, f, g, h]).block([i, j, k, l, m, n, o, p]).finish(last, label.len() as u8)
}
