//! The fields of a payload: the parts that the program renders for each client, such as the client's address.
//!
//! A payload is stored with zeros in place of its fields. The zeros add nothing to the stored sum of the payload.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::text::{Ipv4Endpoint, Ipv4Text, Ipv6Endpoint, Ipv6Text, PortText, TokenText};

/// The content of a field. The numbers are above 0, and have three bits.
///
/// An endpoint is an address and a port, as in `192.0.2.1:80`. The payload has the first byte of this field, which the
/// program copies after the port: a space, or the quotation mark of a string in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum FieldKind {
    /// The client's address.
    Client = 1,
    /// The client's port.
    ClientPort = 2,
    /// The address to which the client connects.
    Server = 3,
    /// The address and port to which the client connects.
    ServerEndpoint = 4,
    /// The client's address and port.
    ClientEndpoint = 5,
    /// The [token](crate::identity::token) of the connection.
    Token = 6,
}

impl FieldKind {
    /// All kinds, in the order of their values.
    pub const ALL: [Self; 6] =
        [Self::Client, Self::ClientPort, Self::Server, Self::ServerEndpoint, Self::ClientEndpoint, Self::Token];

    /// Returns the number of zeros that the payload has in place of the field, over IPv6 or over IPv4.
    pub const fn width(self, is_v6: bool) -> usize {
        match self {
            Self::ClientPort => size_of::<PortText>(),
            Self::Client | Self::Server if is_v6 => size_of::<Ipv6Text>(),
            Self::Client | Self::Server => size_of::<Ipv4Text>(),
            Self::ServerEndpoint | Self::ClientEndpoint if is_v6 => size_of::<Ipv6Endpoint>() - 1,
            Self::ServerEndpoint | Self::ClientEndpoint => size_of::<Ipv4Endpoint>() - 1,
            Self::Token => size_of::<TokenText>(),
        }
    }
}

/// A field of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// The content.
    pub kind: FieldKind,
    /// The offset from the start of the payload, in bytes, at most [`Fields::MAX_OFFSET`].
    pub offset: u16,
}

/// Up to four fields of a payload as a number of 56 bits, with 14 bits for each: the offset in the lower 11 bits, the
/// [`FieldKind`] above them. The first field is in the lowest bits. Zeros follow the last field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Fields(pub u64);

impl Fields {
    /// No fields.
    pub const NONE: Self = Self(0);

    /// The largest number of fields of a payload.
    pub const MAX_COUNT: usize = 4;

    /// The largest offset of a field, in bytes.
    pub const MAX_OFFSET: u16 = (1 << Self::OFFSET_BITS) - 1;

    /// The number of bits of a field.
    const BITS: u32 = 14;

    /// The number of bits of an offset.
    const OFFSET_BITS: u32 = 11;

    /// Returns the set of `fields`. Fields after the first [`Fields::MAX_COUNT`] are ignored.
    pub fn new(fields: &[Field]) -> Self {
        let bits = |field: &Field| (field.kind as u16) << Self::OFFSET_BITS | field.offset & Self::MAX_OFFSET;
        let fields = fields.iter().take(Self::MAX_COUNT).rev();
        Self(fields.fold(0, |rest, field| rest << Self::BITS | u64::from(bits(field))))
    }

    /// Returns whether there are no fields.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Removes the first field. Returns its offset in bytes and its [`FieldKind`] as a number, or `None` if there are
    /// no fields.
    #[inline(always)]
    pub const fn pop(&mut self) -> Option<(usize, u16)> {
        if self.is_empty() {
            return None;
        }
        let bits = self.0 as u16 & ((1 << Self::BITS) - 1);
        self.0 >>= Self::BITS;
        Some(((bits & Self::MAX_OFFSET) as usize, bits >> Self::OFFSET_BITS))
    }
}
