//! The choice of the initial sequence number (ISN) of a SYN-ACK.

/// The source of initial sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isn {
    /// The same number in every SYN-ACK.
    Fixed(u32),
    /// The lower half of the [`SipHash13`](crate::siphash::SipHash13) of addresses and ports under this key (RFC 6528).
    /// The upper half is the offset of timestamps. Only a client that receives the SYN-ACK learns the number.
    ///
    /// The hash covers only fields that every segment of the connection contains. Any later segment can therefore be
    /// checked. The client's ISN is not hashed, because later segments do not contain it. For actions that follow the
    /// client, the hash determines the offset between the two ISNs.
    Keyed([u8; 16]),
}
