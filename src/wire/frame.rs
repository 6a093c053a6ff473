//! An Ethernet frame that typed views read and write, both in the kernel and in memory.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The largest offset in a frame, and the mask for offsets that come from a packet: the verifier requires a bound. It
/// is the verifier's own limit, `MAX_PACKET_OFF`, rounded down.
pub const MAX_OFFSET: usize = 0x7fff;

/// A fixed-size part of a packet: any bytes are valid, at any alignment.
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

/// An Ethernet frame without its frame check sequence. All offsets and lengths are in bytes.
///
/// The XDP program implements it over `xdp_md`, with the pointer comparisons that the verifier requires. [`Buffer`]
/// implements it over a slice.
#[expect(clippy::len_without_is_empty, reason = "an empty frame is no case of its own")]
pub trait Frame {
    /// Returns the length of the accessible part: the whole frame, or the first part of a frame with XDP fragments.
    fn len(&self) -> usize;

    /// Returns whether the frame, including any XDP fragments, has at least `length` bytes.
    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        length <= self.len()
    }

    /// Returns the view at `offset`, or `None` unless it lies within the accessible part.
    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T>;

    /// Returns the view at the end of the accessible part, or `None` if that is shorter.
    fn last<T: View>(&mut self) -> Option<&mut T>;

    /// Shortens or extends the frame at its end to `len` bytes, and fills with zeros. Returns `None` without room.
    ///
    /// In the kernel this calls a helper (`bpf_xdp_adjust_tail`), the most expensive step of all.
    fn resize(&mut self, len: usize) -> Option<()>;
}

/// A frame in memory: the first `len` bytes of a buffer. The remaining bytes are room to grow.
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
}
