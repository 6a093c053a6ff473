//! A frame that can be read and written by typed views, in the kernel and on the host alike.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Sum;
use crate::ip::Span;
use crate::tcp_options::SynOptions;

/// No offset is greater, and where it comes from a packet it is masked with this: the verifier wants a bound. It is its
/// own, `MAX_PACKET_OFF`, rounded down.
pub const MAX_OFFSET: usize = 0x7fff;

/// A piece of a packet: any bytes are a valid value, and it may lie at any address.
///
/// Every type that derives the five traits is one.
pub trait View: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned> View for T {}

/// An Ethernet frame, without its frame check sequence.
///
/// The XDP program implements this over `xdp_md` by comparing pointers, the way the verifier demands it; [`Buffer`]
/// does over a slice. Offsets and lengths are in bytes.
#[expect(clippy::len_without_is_empty, reason = "an empty frame is no case of its own")]
pub trait Frame {
    /// The length of the part of the frame that can be read and written: mostly, all of it.
    fn len(&self) -> usize;

    /// Whether the frame has at least `length` bytes, counting also those that the program has no direct access to.
    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        length <= self.len()
    }

    /// The `T` that begins at `offset`, if the whole of it lies within the frame.
    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T>;

    /// The `T` that the frame ends with, if it is not longer than the frame.
    fn last<T: View>(&mut self) -> Option<&mut T>;

    /// [`SynOptions::read`] of this frame.
    ///
    /// In the kernel it is a function of its own, of whose result the verifier knows nothing: so it need not follow the
    /// rest of the program for each sequence of options that there could be.
    #[inline(always)]
    fn offer(&mut self, options: Span) -> SynOptions
    where
        Self: Sized,
    {
        SynOptions::read(self, options)
    }

    /// [`Sum::of`] this frame: in the kernel, a function of its own likewise.
    #[inline(always)]
    fn sum(&mut self, span: Span) -> Option<Sum>
    where
        Self: Sized,
    {
        Sum::of(self, span)
    }

    /// Cuts or extends the frame at its end to `len` bytes; `None` if there is no room. What is added is zero.
    ///
    /// In the kernel it is a helper call (`bpf_xdp_adjust_tail`), the dearest step of all, so it is for frames that
    /// cannot stay as long as they are.
    fn resize(&mut self, len: usize) -> Option<()>;
}

/// A frame in memory: the first `len` bytes of a buffer; the rest is the room it can grow into.
#[derive(Debug)]
pub struct Buffer<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Buffer<'a> {
    /// The frame that is the first `len` bytes of `bytes`; all of them, if `len` is more.
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
