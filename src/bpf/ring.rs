//! A ring buffer whose definition libbpf takes: it must have neither keys nor values.

use core::ptr;

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use aya_ebpf::helpers::{bpf_ringbuf_reserve, bpf_ringbuf_submit};

/// A map of which libbpf reads the types: the lengths of these arrays. User space says how large it is.
#[repr(C)]
pub struct Ring {
    r#type: *const [i32; BPF_MAP_TYPE_RINGBUF as usize],
    max_entries: *const [i32; 4096],
}

// SAFETY: The pointers point nowhere, and are never followed.
unsafe impl Sync for Ring {}

impl Ring {
    pub const fn new() -> Self {
        Self { r#type: ptr::null(), max_entries: ptr::null() }
    }

    /// Puts `record` in, if there is room.
    #[inline(always)]
    pub fn put<T: Copy>(&'static self, record: impl FnOnce() -> T) -> Option<()> {
        // SAFETY: The map is a ring buffer.
        let place = unsafe { bpf_ringbuf_reserve(ptr::from_ref(self).cast_mut().cast(), size_of::<T>() as u64, 0) };
        if place.is_null() {
            return None;
        }
        // SAFETY: The place is as large, aligned to eight bytes, and ours until it is submitted.
        unsafe {
            place.cast::<T>().write(record());
            bpf_ringbuf_submit(place, 0);
        }
        Some(())
    }
}
