//! The services of a profile: the payloads that ports send, and the requests that they answer.
//!
//! User space fills these tables before the program is attached. A payload is prepared so that the program only copies
//! words and adds one sum.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

use crate::checksum::Sum;
use crate::field::Fields;
use crate::frame::{Frame, MAX_OFFSET, Span};

/// The length of the longest payload, in bytes: one segment on every path that IPv6 supports. Its 1280 bytes hold an
/// IPv6 header, a TCP header and timestamps.
pub const MAX_PAYLOAD: usize = 1208;

/// The length of the longest prefix of a request that selects a reply, in bytes.
pub const MAX_PREFIX: usize = size_of::<Word>();

/// The largest number of replies of a service.
pub const MAX_REPLIES: usize = 4;

/// The unit in which payloads are copied.
pub type Word = [u8; 8];

/// The unit in which payloads are stored: 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Block(pub [Word; Self::WORDS]);

impl Block {
    /// The number of words in a block.
    pub const WORDS: usize = 32;
    /// The largest number of blocks of a payload.
    pub const MAX_COUNT: usize = MAX_PAYLOAD.div_ceil(size_of::<Self>());

    /// Splits a payload into blocks. Zeros precede the payload, so that it ends at the end of a word.
    ///
    /// The program writes whole words, and the last word ends at the end of the frame. The zeros of the first word then
    /// lie in the TCP header, which is written afterwards.
    pub fn split(payload: &[u8]) -> impl Iterator<Item = Self> {
        let words = payload.len().div_ceil(size_of::<Word>());
        let padding = words * size_of::<Word>() - payload.len();
        let byte = move |index: usize| index.checked_sub(padding).and_then(|index| payload.get(index));
        (0..words.div_ceil(Self::WORDS)).map(move |block| {
            Self(core::array::from_fn(|word| {
                let start = (block * Self::WORDS + word) * size_of::<Word>();
                core::array::from_fn(|offset| byte(start + offset).copied().unwrap_or(0))
            }))
        })
    }
}

/// A payload in the table of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Payload {
    /// The index of the first block. The other blocks follow it.
    pub first_block: u32,
    /// The length in bytes, at most [`MAX_PAYLOAD`].
    pub length: u16,
    /// The sum of the payload for a checksum, folded, in memory order.
    pub sum: [u8; 2],
    /// The parts of the payload that the program renders.
    pub fields: Fields,
}

impl Payload {
    /// No payload.
    pub const EMPTY: Self = Self { first_block: 0, length: 0, sum: [0; 2], fields: Fields::NONE };

    /// Returns the entry for `payload`, whose blocks start at `first_block`. Bytes after [`MAX_PAYLOAD`] are ignored.
    ///
    /// The bytes of `fields` must be zero.
    pub fn new(payload: &[u8], fields: Fields, first_block: u32) -> Self {
        let payload = payload.get(..MAX_PAYLOAD).unwrap_or(payload);
        let sum = Sum::of_bytes(payload).fold().to_ne_bytes();
        Self { first_block, length: payload.len() as u16, sum, fields }
    }

    /// Returns whether there is no payload.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the length of the payload with the zeros before it: a multiple of a word, in bytes.
    #[inline(always)]
    pub const fn padded_length(&self) -> usize {
        (self.length as usize).next_multiple_of(size_of::<Word>())
    }

    /// Writes the zeros before the payload and the payload to offset `start` of the frame. `block` returns a block of
    /// the table.
    ///
    /// Returns `None` if the frame is too short or if a block is missing.
    #[inline(always)]
    pub fn write<'a, F: Frame>(
        self,
        frame: &mut F,
        start: usize,
        block: impl Fn(u32) -> Option<&'a Block>,
    ) -> Option<()> {
        let words = self.padded_length() / size_of::<Word>();
        for index in 0..Block::MAX_COUNT {
            let first = index * Block::WORDS;
            if first >= words {
                break;
            }
            let block = block(self.first_block.wrapping_add(index as u32))?;
            for (position, word) in block.0.iter().enumerate() {
                if first + position >= words {
                    break;
                }
                *frame.at::<Word>(start + (first + position) * size_of::<Word>())? = *word;
            }
        }
        Some(())
    }
}

/// The first bytes of a request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The first eight bytes as a little-endian number. Zeros replace missing bytes.
    pub start: u64,
    /// The length of the request in bytes.
    pub length: u32,
}

impl Request {
    /// Reads the request in `span`, which other headers precede. Returns `None` if it is not accessible.
    #[inline(always)]
    pub fn read<F: Frame>(frame: &mut F, Span { offset, length }: Span) -> Option<Self> {
        const WORD: usize = size_of::<Word>();
        let start = if length >= WORD {
            u64::from_le_bytes(*frame.at::<Word>(offset)?)
        } else if length > 0 {
            // The last bytes of the headers precede a short request. The shift removes them.
            let word = u64::from_le_bytes(*frame.at::<Word>((offset + length).checked_sub(WORD)? & MAX_OFFSET)?);
            word >> (8 * (WORD - length))
        } else {
            0
        };
        Some(Self { start, length: length as u32 })
    }
}

/// A reply of a service, and the requests that it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Reply {
    /// The start of the requests, as a little-endian number.
    prefix: u64,
    /// The bits of `prefix` that are compared.
    mask: u64,
    /// The length of the prefix in bytes.
    prefix_length: u32,
    /// 1 if the reply exists, 0 for an unused entry.
    is_used: u32,
    payload: Payload,
}

impl Reply {
    /// Returns the reply with this payload to requests that start with `prefix`. `mask` has a byte for each byte of the
    /// prefix, and selects the bits to compare. Bytes after [`MAX_PREFIX`] are ignored.
    pub fn new(prefix: &[u8], mask: &[u8], payload: Payload) -> Self {
        let mut words = [Word::default(); 2];
        let [bytes, masks] = &mut words;
        for ((&byte, &mask), (place, mask_place)) in prefix.iter().zip(mask).zip(bytes.iter_mut().zip(masks)) {
            (*place, *mask_place) = (byte & mask, mask);
        }
        let prefix_length = prefix.len().min(MAX_PREFIX) as u32;
        let [prefix, mask] = words.map(u64::from_le_bytes);
        Self { prefix, mask, prefix_length, is_used: 1, payload }
    }

    #[inline(always)]
    const fn answers(&self, request: Request) -> bool {
        self.is_used != 0 && request.length >= self.prefix_length && request.start & self.mask == self.prefix
    }
}

/// How a service ends a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u32)]
pub enum Ending {
    /// It leaves this to the client.
    #[default]
    Stay,
    /// It sends a FIN with each reply, or with the banner if it has no replies.
    Close,
    /// It resets the connection when the client has acknowledged a reply, or the banner if it has no replies.
    Reset,
}

/// The payloads that a port sends, and how it ends connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Service {
    /// The payload that completes the handshake. Empty if the client speaks first.
    banner: Payload,
    replies: [Reply; MAX_REPLIES],
    /// An [`Ending`] as a number.
    ending: u32,
    /// 1 if there are replies, 0 otherwise.
    has_replies: u32,
}

impl Service {
    /// Returns a service. Of `replies`, the first [`MAX_REPLIES`] count.
    pub fn new(banner: Payload, replies: &[Reply], ending: Ending) -> Self {
        let mut own = [Reply::default(); MAX_REPLIES];
        own.iter_mut().zip(replies).for_each(|(place, &reply)| *place = reply);
        Self { banner, replies: own, ending: ending as u32, has_replies: !replies.is_empty() as u32 }
    }

    /// Returns the payload that completes the handshake.
    #[inline(always)]
    pub const fn banner(&self) -> Payload {
        self.banner
    }

    /// Returns whether the service answers requests.
    #[inline(always)]
    pub const fn has_replies(&self) -> bool {
        self.has_replies != 0
    }

    /// Returns whether the service ends connections in this way.
    #[inline(always)]
    pub const fn ends_with(&self, ending: Ending) -> bool {
        self.ending == ending as u32
    }

    /// Returns the payload of the first reply that answers `request`, or [`Payload::EMPTY`].
    #[inline(always)]
    pub fn reply_to(&self, request: Request) -> Payload {
        let [a, b, c, d] = &self.replies;
        // The verifier follows fewer paths than with a loop.
        if a.answers(request) {
            a.payload
        } else if b.answers(request) {
            b.payload
        } else if c.answers(request) {
            c.payload
        } else if d.answers(request) {
            d.payload
        } else {
            Payload::EMPTY
        }
    }
}

/// The index of each port's service.
///
/// As in [`PortSet`](crate::PortSet), a port's index in this table is in network byte order. The entries of ports
/// without a service are never read, because these ports are excluded.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ServiceByPort([u16; 65536]);

impl ServiceByPort {
    /// Sets the index of the service of `port`.
    pub fn set(&mut self, port: u16, service: u16) {
        self.0[port.to_be() as usize] = service;
    }

    /// Returns the index of the service of `port`.
    #[inline(always)]
    pub fn get(&self, port: u16) -> u16 {
        self.0[port.to_be() as usize]
    }
}
