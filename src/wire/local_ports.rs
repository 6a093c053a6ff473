//! The table of local ports: the TCP ports on which the host may have sockets.
//!
//! The kernel itself keeps the table: a raw tracepoint program calls [`LocalPorts::record_at`] whenever a socket
//! changes its state. User space adds the sockets that exist at the start, removes ports that are no longer in use, and
//! ends grace times. The table may contain too many ports, never too few: the XDP program looks up a socket only if the
//! segment's port is in the table.

use core::cell::Cell;
use core::mem::offset_of;

/// The TCP state of a connection that both ends have established (`TCP_ESTABLISHED` in `net/tcp_states.h`).
pub const TCP_ESTABLISHED: u32 = 1;
/// The TCP state of a closed socket.
pub const TCP_CLOSE: u32 = 7;
/// The TCP state of a listening socket.
pub const TCP_LISTEN: u32 = 10;

/// A change of a socket's state, as the tracepoint `sock:inet_sock_set_state` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The address of the socket's network namespace in the kernel.
    pub namespace: u64,
    /// The socket's local port, or 0 if it has none yet.
    pub port: u16,
    /// The TCP state before the change, from `net/tcp_states.h`.
    pub old_state: u32,
    /// The TCP state after the change.
    pub new_state: u32,
    /// Whether the socket's local address is a loopback address.
    pub is_loopback: bool,
}

/// The TCP ports on which the host may have sockets, in one network namespace.
///
/// All CPUs and user space write the table at the same time. Each field is written as a whole, so concurrent writes
/// need no atomic instructions, which BPF programs have only since Linux 5.12.
#[derive(Debug)]
#[repr(C)]
pub struct LocalPorts {
    /// The address of the namespace whose sockets are recorded, or 0 if it is not known yet.
    namespace: Cell<u64>,
    /// The port of the socket with which user space identifies its namespace, or 0.
    probe_port: Cell<u32>,
    /// [`Self::COMPLETE`] if the table contains all ports in use. Otherwise, every port may have a socket.
    completeness: Cell<u8>,
    /// The current epoch, 1 to 255, or 0 before the first one.
    epoch: Cell<u8>,
    /// 1 if closed listeners have a grace time.
    has_grace: Cell<u8>,
    padding: u8,
    /// For each port, the epoch in which a socket was last seen, or 0.
    stamps: [Cell<u8>; 1 << u16::BITS],
    /// For each port, 0 if no listener is in its grace time. The kernel writes [`Self::NEWLY_CLOSED`] when a listener
    /// is closed.
    closed_listeners: [Cell<u8>; 1 << u16::BITS],
}

impl LocalPorts {
    /// The offset of the namespace's address in the table, in bytes: a `u64`. User space only reads it.
    pub const NAMESPACE: usize = offset_of!(Self, namespace);
    /// The offset of the probe port in the table, in bytes: a `u32`, in host byte order.
    pub const PROBE_PORT: usize = offset_of!(Self, probe_port);
    /// The offset of the table's completeness, in bytes: a `u8`.
    pub const COMPLETENESS: usize = offset_of!(Self, completeness);
    /// The offset of the current epoch, in bytes: a `u8`.
    pub const EPOCH: usize = offset_of!(Self, epoch);
    /// The offset of the flag that closed listeners have a grace time, in bytes: a `u8`.
    pub const HAS_GRACE: usize = offset_of!(Self, has_grace);
    /// The offset of the stamps of all ports, in bytes: each a `u8`, at the [`index`] of its port.
    pub const STAMPS: usize = offset_of!(Self, stamps);
    /// The offset of the closed listeners, in bytes: each a `u8`, at the [`index`] of its port.
    pub const CLOSED_LISTENERS: usize = offset_of!(Self, closed_listeners);

    /// The completeness of a table that lacks the port of a socket. Only this value is written by the kernel.
    pub const INCOMPLETE: u8 = 0;
    /// The completeness of a table that contains all ports in use.
    pub const COMPLETE: u8 = 1;
    /// The completeness of a table that user space is completing. If the kernel overwrites it meanwhile, user space has
    /// to start again.
    pub const COMPLETING: u8 = 2;

    /// The state of a port at which the kernel has closed a listener since user space last looked.
    pub const NEWLY_CLOSED: u8 = 1;
    /// The state of a port at which a listener was closed, and whose grace time user space has started.
    pub const IN_GRACE: u8 = 2;

    /// Returns an empty table, which is not complete.
    pub const fn new() -> Self {
        Self {
            namespace: Cell::new(0),
            probe_port: Cell::new(0),
            completeness: Cell::new(Self::INCOMPLETE),
            epoch: Cell::new(0),
            has_grace: Cell::new(0),
            padding: 0,
            stamps: [const { Cell::new(0) }; 1 << u16::BITS],
            closed_listeners: [const { Cell::new(0) }; 1 << u16::BITS],
        }
    }

    /// Records a change of a socket's state.
    ///
    /// The kernel reports the change before `listen(2)`, `connect(2)` or `accept(2)` returns. A socket that connects
    /// without a port of its own gets one after its first change, and is recorded when it is established. A socket that
    /// listens without a port of its own is not reported again, so the table is incomplete from then on.
    ///
    /// A closed listener on a loopback address gets no grace time, since no packet from a network reached it.
    pub fn record(&self, change: StateChange) {
        self.record_at(index(change.port), change);
    }

    /// Records a change of a socket's state, like [`Self::record`]. `index` is the [`index`] of its port.
    ///
    /// `track_socket` calls this function with an index for which old verifiers know no upper bound. The check of the
    /// bound is for them.
    #[inline(always)]
    pub fn record_at(&self, index: usize, change: StateChange) {
        let StateChange { namespace, port, old_state, new_state, is_loopback } = change;
        if self.namespace.get() == 0 && new_state == TCP_LISTEN && port != 0 && u32::from(port) == self.probe_port.get()
        {
            self.namespace.set(namespace);
        }
        if namespace != self.namespace.get() {
            return;
        }
        let (Some(stamp), Some(closed_listener)) = (self.stamps.get(index), self.closed_listeners.get(index)) else {
            return;
        };
        if new_state == TCP_CLOSE {
            // The port of a closed listener is 0 if the kernel had selected it.
            if old_state == TCP_LISTEN && self.has_grace.get() != 0 && port != 0 && !is_loopback {
                closed_listener.set(Self::NEWLY_CLOSED);
            }
        } else if port != 0 {
            stamp.set(self.epoch.get());
        } else if new_state == TCP_LISTEN {
            self.completeness.set(Self::INCOMPLETE);
        }
    }

    /// Returns whether the host may have a socket on `port`.
    #[inline(always)]
    pub fn may_contain(&self, port: u16) -> bool {
        self.completeness.get() != Self::COMPLETE || self.stamps[index(port)].get() != 0
    }

    /// Returns whether a listener on `port` was closed, and its grace time has not ended.
    #[inline(always)]
    pub fn has_closed_listener(&self, port: u16) -> bool {
        self.closed_listeners[index(port)].get() != 0
    }
}

/// Returns the index of a port in the table: the port in network byte order, so that the XDP program swaps no bytes.
#[inline(always)]
pub const fn index(port: u16) -> usize {
    port.to_be() as usize
}

impl Default for LocalPorts {
    fn default() -> Self {
        Self::new()
    }
}
