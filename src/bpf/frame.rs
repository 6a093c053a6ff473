//! A [`Frame`] over the memory of `struct xdp_md`.

use core::arch::asm;
use core::hint::assert_unchecked;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::programs::XdpContext;
use tcp_bounce_wire::frame::{Frame, View};

/// The frame that an XDP program was called for.
///
/// Whoever reads it compares pointers and never makes a slice: the verifier knows a packet pointer to be good after
/// a comparison with `data_end`, but takes `data_end - data` for just a number.
pub struct XdpFrame {
    ctx: XdpContext,
    data: usize,
    data_end: usize,
}

impl XdpFrame {
    #[inline(always)]
    pub fn new(ctx: XdpContext) -> Self {
        let (data, data_end) = (ctx.data(), ctx.data_end());
        Self { ctx, data, data_end }
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.data_end - self.data
    }

    #[inline(always)]
    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T> {
        let start = self.data + offset;
        if start + size_of::<T>() > self.data_end {
            return None;
        }
        // SAFETY: The packet is not at address 0.
        unsafe { assert_unchecked(start != 0) };
        // SAFETY: The whole of it lies in the packet, where any bytes are a valid `T` at any alignment, and `self` is
        // borrowed as long as it is.
        Some(unsafe { &mut *(start as *mut T) })
    }

    #[inline(always)]
    fn last<T: View>(&mut self) -> Option<&mut T> {
        let mut offset = self.len().wrapping_sub(size_of::<T>());
        // The compiler would find that this counts back from the end of the packet, but the verifier allows no
        // arithmetic on `data_end`.
        // SAFETY: It does nothing.
        unsafe { asm!("{0} = {0}", inout(reg) offset, options(pure, nomem, nostack, preserves_flags)) };
        // The verifier wants a bound; this is its own, MAX_PACKET_OFF, rounded down.
        self.at(offset & 0x7fff)
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> Option<()> {
        let delta = len as i32 - self.len() as i32;
        // SAFETY: The helper checks its arguments.
        let status = unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), delta) };
        (self.data, self.data_end) = (self.ctx.data(), self.ctx.data_end());
        (status == 0).then_some(())
    }
}
