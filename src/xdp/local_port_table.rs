//! The table of local ports, in memory that this process shares with the kernel.
//!
//! The kernel records sockets in the table ([`LocalPorts::record_at`]), at any time. User space writes with atomic
//! operations only, so that a concurrent write of the kernel is never lost.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw};
use tcp_bounce_wire::{LocalPorts, local_ports};

/// The map `.data.ports`, mapped for reading and writing.
#[derive(Debug)]
pub struct LocalPortTable(MmapRaw);

impl LocalPortTable {
    /// Maps the table in `map`.
    ///
    /// # Errors
    ///
    /// The error of `mmap(2)`.
    pub fn new(map: impl AsFd) -> io::Result<Self> {
        MmapOptions::new().len(size_of::<LocalPorts>()).map_raw(map.as_fd().as_raw_fd()).map(Self)
    }

    /// Forgets the network namespace whose sockets are recorded, so that the kernel records none.
    pub fn clear_namespace(&self) {
        self.namespace_word().store(0, SeqCst);
    }

    /// Returns the address of the network namespace whose sockets are recorded, or 0 if it is not known.
    pub fn namespace(&self) -> u64 {
        self.namespace_word().load(SeqCst)
    }

    /// Sets the port whose next listener identifies the network namespace. 0 disables the identification.
    pub fn set_probe_port(&self, port: u16) {
        // SAFETY: The word lies within the mapping and is aligned.
        unsafe { &*self.0.as_ptr().add(LocalPorts::PROBE_PORT).cast::<AtomicU32>() }.store(port.into(), SeqCst);
    }

    /// Sets whether the kernel marks the ports of closed listeners.
    pub fn set_has_grace(&self, has_grace: bool) {
        self.byte(LocalPorts::HAS_GRACE).store(has_grace.into(), SeqCst);
    }

    /// Returns whether the table contains all ports in use.
    pub fn is_complete(&self) -> bool {
        self.byte(LocalPorts::COMPLETENESS).load(SeqCst) == LocalPorts::COMPLETE
    }

    /// Begins an epoch: sockets that are recorded from now on get a new stamp.
    ///
    /// If the table is incomplete, [`Self::end_epoch`] completes it, unless the kernel reports another socket without a
    /// port meanwhile.
    pub fn begin_epoch(&self) {
        let epoch = self.epoch();
        self.byte(LocalPorts::EPOCH).store(next_epoch(epoch), SeqCst);
        self.change_completeness(LocalPorts::INCOMPLETE, LocalPorts::COMPLETING);
    }

    /// Adds `port` to the table.
    pub fn add(&self, port: u16) {
        self.stamp(port).store(self.epoch(), SeqCst);
    }

    /// Ends an epoch, after the ports of all sockets were added since [`Self::begin_epoch`].
    ///
    /// Removes a port if no socket was seen on it in this epoch and in the one before. One dump that misses its sockets
    /// therefore does not remove it. A port in its grace time stays.
    pub fn end_epoch(&self) {
        let epoch = self.epoch();
        for port in 0..=u16::MAX {
            let stamp = self.stamp(port).load(SeqCst);
            let is_recent = stamp == epoch || next_epoch(stamp) == epoch;
            if stamp != 0 && !is_recent && self.closed_listener(port).load(SeqCst) == 0 {
                // Fails if the kernel has recorded a socket since the load.
                let _ = self.stamp(port).compare_exchange(stamp, 0, SeqCst, SeqCst);
            }
        }
        self.change_completeness(LocalPorts::COMPLETING, LocalPorts::COMPLETE);
    }

    /// Marks `port` as if the kernel had reported a closed listener, unless it has.
    pub fn mark_closed_listener(&self, port: u16) {
        self.add(port);
        let _ = self.closed_listener(port).compare_exchange(0, LocalPorts::NEWLY_CLOSED, SeqCst, SeqCst);
    }

    /// Returns the ports at which a listener was closed since the last call. From then on, they are in a grace time.
    pub fn start_graces(&self) -> impl Iterator<Item = u16> {
        let is_new = |port: &u16| {
            let state = self.closed_listener(*port);
            // Most ports fail the first comparison, which costs less than the exchange.
            state.load(SeqCst) == LocalPorts::NEWLY_CLOSED
                && state.compare_exchange(LocalPorts::NEWLY_CLOSED, LocalPorts::IN_GRACE, SeqCst, SeqCst).is_ok()
        };
        (0..=u16::MAX).filter(is_new)
    }

    /// Ends the grace time of `port`, unless another listener was closed since the last [`Self::start_graces`].
    pub fn end_grace(&self, port: u16) {
        let _ = self.closed_listener(port).compare_exchange(LocalPorts::IN_GRACE, 0, SeqCst, SeqCst);
    }

    /// Returns a table for the sockets of `namespace`, which no kernel writes.
    #[cfg(test)]
    pub fn fake(namespace: u64) -> Self {
        let table = Self(MmapOptions::new().len(size_of::<LocalPorts>()).map_anon().unwrap().into());
        table.namespace_word().store(namespace, SeqCst);
        table
    }

    /// Returns the table as the kernel sees it.
    #[cfg(test)]
    pub fn kernel(&self) -> &LocalPorts {
        // SAFETY: The mapping is aligned to a page and as long as the table, which any bytes are valid for.
        unsafe { &*self.0.as_ptr().cast() }
    }

    /// Runs `action` as if `epoch` were the current epoch.
    #[cfg(test)]
    pub fn in_epoch(&self, epoch: u8, action: impl FnOnce(&LocalPorts)) {
        let current = self.byte(LocalPorts::EPOCH).swap(epoch, SeqCst);
        action(self.kernel());
        self.byte(LocalPorts::EPOCH).store(current, SeqCst);
    }

    /// Returns the current epoch, 1 to 255.
    pub fn epoch(&self) -> u8 {
        self.byte(LocalPorts::EPOCH).load(SeqCst)
    }

    fn change_completeness(&self, from: u8, to: u8) {
        let _ = self.byte(LocalPorts::COMPLETENESS).compare_exchange(from, to, SeqCst, SeqCst);
    }

    fn stamp(&self, port: u16) -> &AtomicU8 {
        self.byte(LocalPorts::STAMPS + local_ports::index(port))
    }

    fn closed_listener(&self, port: u16) -> &AtomicU8 {
        self.byte(LocalPorts::CLOSED_LISTENERS + local_ports::index(port))
    }

    fn namespace_word(&self) -> &AtomicU64 {
        // SAFETY: The word lies within the mapping and is aligned.
        unsafe { &*self.0.as_ptr().add(LocalPorts::NAMESPACE).cast::<AtomicU64>() }
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        assert!(offset < self.0.len());
        // SAFETY: The byte lies within the mapping, which lives as long as `self`. The kernel writes whole bytes.
        unsafe { &*self.0.as_ptr().add(offset).cast::<AtomicU8>() }
    }
}

/// Returns the epoch after `epoch`. The stamp 0 stands for a port without sockets, so no epoch is 0.
fn next_epoch(epoch: u8) -> u8 {
    if epoch == u8::MAX { 1 } else { epoch + 1 }
}
