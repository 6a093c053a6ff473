//! The bpf_link that attaches the XDP program to an interface.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys::{self, BPF_XDP, XDP_FLAGS_DRV_MODE, XDP_FLAGS_HW_MODE, XDP_FLAGS_SKB_MODE};
use libbpf_rs::query::{LinkInfo, LinkTypeInfo};

use crate::config::AttachMode;
use crate::host::Interface;

/// A bpf_link that keeps a program attached to an interface.
///
/// The kernel detaches the program when the last descriptor of the link is closed. That happens when this value is
/// dropped, and also when the process is killed.
#[derive(Debug)]
pub struct XdpLink(OwnedFd);

impl XdpLink {
    /// Attaches `program` to `interface` in the given mode.
    ///
    /// # Errors
    ///
    /// The error of `BPF_LINK_CREATE`.
    pub fn new(program: BorrowedFd, interface: &Interface, mode: AttachMode) -> io::Result<Self> {
        let options = libbpf_sys::bpf_link_create_opts {
            sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
            flags: flags(mode),
            ..Default::default()
        };
        // SAFETY: `program` is an open descriptor and `options` is initialized. Both outlive the call.
        let link = unsafe {
            libbpf_sys::bpf_link_create(program.as_raw_fd(), interface.index as i32, BPF_XDP, &raw const options)
        };
        if link < 0 {
            return Err(io::Error::from_raw_os_error(-link));
        }
        // SAFETY: The kernel has just created the descriptor, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(link) }))
    }

    /// Returns whether the link is still attached.
    ///
    /// The kernel detaches a link when its interface is removed. Another process can detach it, too.
    ///
    /// # Errors
    ///
    /// The error of `BPF_OBJ_GET_INFO_BY_FD`.
    pub fn is_attached(&self) -> libbpf_rs::Result<bool> {
        let link = LinkInfo::from_fd(self.0.as_fd())?;
        Ok(matches!(link.info, LinkTypeInfo::Xdp(link) if link.ifindex != 0))
    }
}

/// Returns the flag for `mode`, one of `XDP_FLAGS_*_MODE` in `linux/if_link.h`.
pub const fn flags(mode: AttachMode) -> u32 {
    match mode {
        AttachMode::Native => XDP_FLAGS_DRV_MODE,
        AttachMode::Skb => XDP_FLAGS_SKB_MODE,
        AttachMode::Hw => XDP_FLAGS_HW_MODE,
    }
}
