//! A ring buffer.

use core::ptr;

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use aya_ebpf::helpers::{bpf_ringbuf_reserve, bpf_ringbuf_submit};

/// The definition of a ring buffer for libbpf, which reads the lengths of the arrays in these types.
///
/// Unlike the definition in aya, it has neither keys nor values, which libbpf requires. User space sets the size.
#[repr(C)]
pub struct Ring {
    r#type: *const [i32; BPF_MAP_TYPE_RINGBUF as usize],
    max_entries: *const [i32; 4096],
}

// SAFETY: The pointers are null and never dereferenced.
unsafe impl Sync for Ring {}

impl Ring {
    pub const fn new() -> Self {
        Self { r#type: ptr::null(), max_entries: ptr::null() }
    }

    /// Adds a record, which is computed only if there is room. Returns `None` without room.
    #[inline(always)]
    pub fn put<T: Copy>(&'static self, record: impl FnOnce() -> T) -> Option<()> {
        // SAFETY: The map is a ring buffer.
        let place = unsafe { bpf_ringbuf_reserve(ptr::from_ref(self).cast_mut().cast(), size_of::<T>() as u64, 0) };
        if place.is_null() {
            return None;
        }
        // SAFETY: The memory has the size of `T`, is aligned to eight bytes, and belongs to this program until it is
        // submitted.
        unsafe {
            place.cast::<T>().write(record());
            bpf_ringbuf_submit(place, 0);
        }
        Some(())
    }
}
