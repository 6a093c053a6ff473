//! A [`Frame`] over the memory of `struct xdp_md`.

use core::arch::asm;
use core::hint::assert_unchecked;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use tcp_bounce_wire::ProgramConfig;
use tcp_bounce_wire::checksum::Sum;
use tcp_bounce_wire::frame::{Frame, MAX_OFFSET, View};
use tcp_bounce_wire::ip::Span;
use tcp_bounce_wire::tcp_options::SynOptions;

/// The frame that an XDP program was called for.
///
/// Whoever reads it compares pointers and never makes a slice: the verifier knows a packet pointer to be good after
/// a comparison with `data_end`, but takes `data_end - data` for just a number.
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

    /// The length of the frame with all fragments.
    #[inline(always)]
    fn whole_len(&self) -> usize {
        if self.config.has_frags() {
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
        // The compiler would take the place of a comparison with `data_end`, which the verifier understands, by one of
        // lengths, which it does not.
        // SAFETY: It does nothing.
        unsafe { asm!("{0} = {0}", inout(reg) len, options(pure, nomem, nostack, preserves_flags)) };
        len
    }

    #[inline(always)]
    fn holds(&self, length: usize) -> bool {
        length <= self.len() || (self.config.has_frags() && length <= self.whole_len())
    }

    #[inline(always)]
    fn at<T: View>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: No packet is at the end of memory. That the sums do not wrap tells the compiler that a view within one
        // that has been checked need not be.
        let (start, mut end) = unsafe {
            let start = self.data.unchecked_add(offset);
            (start, start.unchecked_add(size_of::<T>()))
        };
        if size_of::<T>() == 1 {
            // The compiler would compare `start >= data_end`, of which the verifier learns less.
            // SAFETY: It does nothing.
            unsafe { asm!("{0} = {0}", inout(reg) end, options(pure, nomem, nostack, preserves_flags)) };
        }
        if end > self.data_end {
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
        let offset = self.len().wrapping_sub(size_of::<T>());
        self.at(offset & MAX_OFFSET)
    }

    #[inline(always)]
    fn offer(&mut self, Span { offset, length }: Span) -> SynOptions {
        // A call costs more than to see that there are none.
        if length == 0 { SynOptions(0) } else { SynOptions(offer(self.ctx.ctx, offset as u32, length as u32)) }
    }

    #[inline(always)]
    fn sum(&mut self, Span { offset, length }: Span) -> Option<Sum> {
        let sum = sum(self.ctx.ctx, offset as u32, length as u32);
        if sum == NO_SUM { None } else { Some(Sum(sum)) }
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> Option<()> {
        let delta = len as i32 - self.whole_len() as i32;
        // SAFETY: The helper checks its arguments.
        let status = unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), delta) };
        (self.data, self.data_end) = (self.ctx.data(), self.ctx.data_end());
        (status == 0).then_some(())
    }
}

/// [`SynOptions::read`] as a global function of the program: the verifier looks at such a one by itself, whatever its
/// arguments are.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn offer(ctx: *mut xdp_md, offset: u32, length: u32) -> u64 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    SynOptions::read(&mut frame, Span { offset: offset as usize & MAX_OFFSET, length: length as usize & MAX_OFFSET }).0
}

/// What [`sum`] returns if there is none: no sum is as large.
const NO_SUM: u64 = u64::MAX;

/// [`Sum::of`] as a global function likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sum(ctx: *mut xdp_md, offset: u32, length: u32) -> u64 {
    let mut frame = XdpFrame::new(XdpContext::new(ctx), &ProgramConfig::BUILT_IN);
    let span = Span { offset: offset as usize & MAX_OFFSET, length: length as usize & MAX_OFFSET };
    Sum::of(&mut frame, span).map_or(NO_SUM, |Sum(sum)| sum)
}
