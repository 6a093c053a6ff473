//! The choice of a SYN-ACK's initial sequence number.

/// The source of initial sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isn {
    /// The same number for every SYN-ACK.
    Fixed(u32),
    /// The lower half of [`SipHash13`](crate::siphash::SipHash13) of addresses and ports under this key (RFC 6528).
    /// Only a client that receives the SYN-ACK knows the number.
    ///
    /// The hash covers only what every segment of the connection contains, so that each of them can be checked.
    /// The client's ISN is therefore no part of it.
    Keyed([u8; 16]),
}
