//! The ring buffer through which the XDP program sends records to user space.

use core::ptr;

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use aya_ebpf::helpers::{bpf_ringbuf_reserve, bpf_ringbuf_submit};

/// The definition of a ring buffer map for libbpf, which reads the array lengths in the types of the fields.
///
/// libbpf requires that a ring buffer has no key or value type. aya's definition has both. User space sets the size.
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

    /// Adds the record that `record` returns. If there is no room, returns `None` without calling `record`.
    #[inline(always)]
    pub fn put<T: Copy>(&'static self, record: impl FnOnce() -> T) -> Option<()> {
        // SAFETY: The reserved memory has the size of `T` and is aligned to eight bytes.
        self.put_with(size_of::<T>(), |place| unsafe { place.cast::<T>().write(record()) })
    }

    /// Adds a record of `size` bytes, which `write` fills. The verifier must know the size. If there is no room,
    /// returns `None` without calling `write`.
    ///
    /// The record wakes no reader, since a wakeup costs more than the record. Readers poll the ring buffer.
    #[inline(always)]
    pub fn put_with(&'static self, size: usize, write: impl FnOnce(*mut u8)) -> Option<()> {
        // SAFETY: `self` is the map that libbpf created from this definition, a ring buffer.
        let place = unsafe { bpf_ringbuf_reserve(ptr::from_ref(self).cast_mut().cast(), size as u64, 0) };
        if place.is_null() {
            return None;
        }
        write(place.cast());
        // SAFETY: The memory was reserved above.
        unsafe { bpf_ringbuf_submit(place, BPF_RB_NO_WAKEUP.into()) };
        Some(())
    }
}
