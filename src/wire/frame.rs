//! Ethernet frames with typed access, in the kernel and in memory.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The largest offset in a frame, in bytes. As a mask, it gives the verifier an upper bound for computed offsets.
///
/// The verifier's limit for packet offsets is 0xffff (`MAX_PACKET_OFF` in `kernel/bpf/verifier.c`). The mask is
/// smaller, so that an offset plus a length stays below the limit.
pub const MAX_OFFSET: usize = 0x7fff;

/// The largest number of bytes by which a frame grows at its start.
///
/// Most drivers reserve 256 bytes of headroom for XDP, and so does skb mode. The kernel keeps a `struct xdp_frame` of
/// 40 bytes there, and virtio-net the 12 bytes of its header.
pub const HEADROOM: usize = 200;

/// The number of bytes by which a frame can grow at its start with any driver.
///
/// Intel's drivers reserve at least 192 bytes (`ixgbe_compute_pad`), and the kernel takes 40 of them.
pub const LEAST_HEADROOM: usize = 152;

/// A fixed-size part of a packet. Any bytes are a valid value, at any alignment.
pub trait View: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned> View for T {}

/// A range of bytes in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The offset of the first byte from the start of the frame.
    pub offset: usize,
    /// The length in bytes.
    pub length: usize,
}

impl Span {
    /// Reads the first `limit` bytes in words of eight bytes, and passes each word to `write` with its index. Zeros
    /// fill the last word. At least eight bytes must precede the span in the frame.
    ///
    /// Returns the number of bytes that were read. It is smaller than `limit` if the span is shorter, or if a part is
    /// not accessible.
    #[inline(always)]
    pub fn read_words<F: Frame>(self, frame: &mut F, limit: usize, mut write: impl FnMut(usize, [u8; 8])) -> usize {
        const WORD: usize = size_of::<u64>();
        let length = self.length.min(limit);
        let mut read = 0;
        for index in 0..limit.div_ceil(WORD) {
            let start = index * WORD;
            if start >= length {
                break;
            }
            // The last word ends with the span. The shift removes the bytes that precede its own.
            let excess = (start + WORD).saturating_sub(length);
            let Some(word) = frame.at::<[u8; WORD]>((self.offset + start - excess) & MAX_OFFSET) else { break };
            write(index, (u64::from_le_bytes(*word) >> (8 * excess)).to_le_bytes());
            read = start + WORD - excess;
        }
        read
    }
}

/// An Ethernet frame without its frame check sequence. All offsets and lengths are in bytes.
///
/// The XDP program implements this trait for the packet in `xdp_md`, with the pointer comparisons that the verifier
/// requires. [`Buffer`] implements it for a slice.
#[expect(clippy::len_without_is_empty, reason = "an empty frame needs no special case")]
pub trait Frame {
    /// Returns the length of the accessible part: the whole frame, or the first buffer of a multi-buffer frame.
    fn len(&self) -> usize;

    /// Returns whether the frame has at least `length` bytes, including all buffers of a multi-buffer frame.
    ///
    /// The default implementation assumes a single buffer.
    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        length <= self.len()
    }

    /// Returns a view of the bytes at `offset`, or `None` if the view would exceed the accessible part.
    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T>;

    /// Returns a view of the last bytes of the accessible part, or `None` if the part is too short.
    fn last<T: View>(&mut self) -> Option<&mut T>;

    /// Shortens or extends the frame at its end to `len` bytes. Added bytes are zero. Returns `None` if there is no
    /// room.
    ///
    /// In the kernel, resizing calls the helper `bpf_xdp_adjust_tail`. No other step of a reply costs as much.
    fn resize(&mut self, len: usize) -> Option<()>;

    /// Extends the frame by `length` bytes: at its start as far as there is room, up to [`HEADROOM`], and at its end by
    /// the rest. Offsets then refer to the new start. The values of the new bytes are undefined.
    ///
    /// Returns the number of bytes that were added at the start. Returns `None` if there is no room, and then the frame
    /// may have grown at its end. The default implementation has no room.
    #[inline(always)]
    fn extend(&mut self, _length: usize) -> Option<usize> {
        None
    }
}

/// A frame in memory: the first `len` bytes of a buffer. The frame can grow into the remaining bytes.
#[derive(Debug)]
pub struct Buffer<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Buffer<'a> {
    /// Returns the frame in the first `len` bytes of `bytes`, or in all of them if `len` is larger.
    pub fn new(bytes: &'a mut [u8], len: usize) -> Self {
        let len = len.min(bytes.len());
        Self { bytes, len }
    }
}

impl Frame for Buffer<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T> {
        let tail = self.bytes.get_mut(..self.len)?.get_mut(offset..)?;
        T::mut_from_prefix(tail).ok().map(|(view, _)| view)
    }

    fn last<T: View>(&mut self) -> Option<&mut T> {
        T::mut_from_suffix(self.bytes.get_mut(..self.len)?).ok().map(|(_, view)| view)
    }

    fn resize(&mut self, len: usize) -> Option<()> {
        if let Some(added) = self.bytes.get_mut(self.len..len) {
            added.fill(0);
        }
        self.len = (len <= self.bytes.len()).then_some(len)?;
        Some(())
    }

    /// Moves the frame towards the end of the buffer, to make room at its start.
    fn extend(&mut self, length: usize) -> Option<usize> {
        let len = self.len.checked_add(length).filter(|&len| len <= self.bytes.len())?;
        let added = length.min(HEADROOM);
        self.bytes.copy_within(..self.len, added);
        self.len = len;
        Some(added)
    }
}
