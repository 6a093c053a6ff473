//! Access to the packet in `struct xdp_md` through the trait [`Frame`].

use core::arch::asm;
use core::hint::assert_unchecked;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use tcp_bounce_wire::ProgramConfig;
use tcp_bounce_wire::frame::{Frame, HEADROOM, LEAST_HEADROOM, MAX_OFFSET, View};

/// The frame of the packet for which the program runs.
///
/// The methods compare pointers and never make a slice. The verifier accepts a packet pointer after a comparison with
/// `data_end`. It knows nothing about the value of the length `data_end - data`.
pub struct XdpFrame {
    ctx: XdpContext,
    config: &'static ProgramConfig,
    data: usize,
    data_end: usize,
}

impl XdpFrame {
    #[inline(always)]
    pub fn new(ctx: XdpContext, config: &'static ProgramConfig) -> Self {
        let (data, data_end) = (ctx.data(), ctx.data_end());
        Self { ctx, config, data, data_end }
    }

    /// Returns the length of the frame in bytes, including all buffers of a multi-buffer frame.
    #[inline(always)]
    fn whole_len(&self) -> usize {
        if self.config.features.has_frags() {
            // SAFETY: The helper only reads.
            unsafe { bpf_xdp_get_buff_len(self.ctx.as_ptr().cast()) as usize }
        } else {
            self.len()
        }
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn len(&self) -> usize {
        let mut len = self.data_end - self.data;
        // Hides from the compiler how `len` was computed. Otherwise the compiler replaces comparisons with `data_end`,
        // which the verifier understands, by comparisons of lengths, which it does not.
        // SAFETY: The assembly has no effect.
        unsafe { asm!("{0} = {0}", inout(reg) len, options(pure, nomem, nostack, preserves_flags)) };
        len
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        length <= self.len() || (self.config.features.has_frags() && length <= self.whole_len())
    }

    #[inline(always)]
    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: No packet lies at the end of the address space, so the sums do not wrap. `unchecked_add` lets the
        // compiler omit the check of a view that lies within a checked view.
        let (start, mut end) = unsafe {
            let start = self.data.unchecked_add(offset);
            (start, start.unchecked_add(size_of::<T>()))
        };
        if size_of::<T>() == 1 {
            // Keeps the compiler from comparing `start >= data_end` instead, from which the verifier learns less.
            // SAFETY: The assembly has no effect.
            unsafe { asm!("{0} = {0}", inout(reg) end, options(pure, nomem, nostack, preserves_flags)) };
        }
        if end > self.data_end {
            return None;
        }
        // SAFETY: No packet lies at address 0.
        unsafe { assert_unchecked(start != 0) };
        // SAFETY: The view lies within the packet, where any bytes are a valid `T` at any alignment. The view borrows
        // `self` mutably, so no second view exists.
        Some(unsafe { &mut *(start as *mut T) })
    }

    #[inline(always)]
    fn last<T: View>(&mut self) -> Option<&mut T> {
        let offset = self.len().wrapping_sub(size_of::<T>());
        self.at(offset & MAX_OFFSET)
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> Option<()> {
        let delta = len as i32 - self.whole_len() as i32;
        // SAFETY: The helper checks its arguments.
        let status = unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), delta) };
        // The helper invalidates all packet pointers, even if it fails.
        (self.data, self.data_end) = (self.ctx.data(), self.ctx.data_end());
        (status == 0).then_some(())
    }

    #[inline(always)]
    fn extend(&mut self, length: usize) -> Option<usize> {
        let mut added = u64::from(extend_packet(self.ctx.as_ptr().cast(), length as u32));
        // Hides from the compiler that the number is small. Otherwise it omits masks that the verifier needs.
        // SAFETY: The assembly has no effect.
        unsafe { asm!("{0} = {0}", inout(reg) added, options(pure, nomem, nostack, preserves_flags)) };
        // The helpers invalidate all packet pointers, even if they fail.
        (self.data, self.data_end) = (self.ctx.data(), self.ctx.data_end());
        (added != 0).then_some(added as usize)
    }
}

/// Extends the packet by `length` bytes, as [`Frame::extend`] does. Returns the number of bytes that were added at the
/// start, or 0 if there is no room.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn extend_packet(ctx: *mut xdp_md, length: u32) -> u32 {
    let length = length & MAX_OFFSET as u32;
    let most = length.min(HEADROOM as u32);
    let least = length.min(LEAST_HEADROOM as u32);
    if grow_at_end(ctx, length - most) && grow_at_start(ctx, most) {
        most
    } else if most > least && grow_at_end(ctx, most - least) && grow_at_start(ctx, least) {
        least
    } else {
        0
    }
}

/// Adds bytes at the end of the packet. Returns whether there was room.
#[inline(always)]
fn grow_at_end(ctx: *mut xdp_md, length: u32) -> bool {
    // SAFETY: The helper checks its arguments.
    length == 0 || unsafe { bpf_xdp_adjust_tail(ctx, length as i32) } == 0
}

/// Adds bytes at the start of the packet. Returns whether there was room.
#[inline(always)]
fn grow_at_start(ctx: *mut xdp_md, length: u32) -> bool {
    // SAFETY: The helper checks its arguments.
    unsafe { bpf_xdp_adjust_head(ctx, -(length as i32)) == 0 }
}
