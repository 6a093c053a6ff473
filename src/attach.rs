//! The attachment of the XDP program to an interface.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys::{self, BPF_XDP, XDP_FLAGS_DRV_MODE, XDP_FLAGS_HW_MODE, XDP_FLAGS_SKB_MODE};
use libbpf_rs::query::{LinkInfo, LinkInfoIter, LinkTypeInfo, ProgInfoIter, XdpLinkInfo};
use libbpf_rs::{Xdp, XdpFlags};
use serde::Serialize;

use crate::error::Error;
use crate::interface::Interface;

/// Where in the receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachMode {
    /// In the driver, before the packet becomes an `sk_buff`.
    Native,
    /// In the kernel's generic path: works with every driver, but slower.
    Skb,
    /// In the NIC.
    Hw,
}

impl AttachMode {
    /// `XDP_FLAGS_*_MODE` of `linux/if_link.h`.
    pub const fn flags(self) -> u32 {
        match self {
            Self::Native => XDP_FLAGS_DRV_MODE,
            Self::Skb => XDP_FLAGS_SKB_MODE,
            Self::Hw => XDP_FLAGS_HW_MODE,
        }
    }
}

impl Display for AttachMode {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Skb => "skb",
            Self::Hw => "hw",
        })
    }
}

/// A program that is attached to an interface as long as this value lives, and no longer than the process.
///
/// It is a bpf_link: the kernel detaches the program when the last file descriptor of the link is closed, even by
/// SIGKILL.
#[derive(Debug)]
pub struct Attachment(OwnedFd);

impl Attachment {
    /// Attaches `program`. The error is that of `BPF_LINK_CREATE`.
    pub fn new(program: BorrowedFd, interface: &Interface, mode: AttachMode) -> io::Result<Self> {
        let options = libbpf_sys::bpf_link_create_opts {
            sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
            flags: mode.flags(),
            ..Default::default()
        };
        // SAFETY: Both descriptors are what they are said to be for the length of the call, and so is `options`.
        let link = unsafe {
            libbpf_sys::bpf_link_create(program.as_raw_fd(), interface.index as i32, BPF_XDP, &raw const options)
        };
        if link < 0 {
            return Err(io::Error::from_raw_os_error(-link));
        }
        // SAFETY: The kernel has just made this descriptor, for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(link) }))
    }

    /// Whether it is still attached: the interface may be gone, or somebody may have detached the program by force.
    pub fn is_attached(&self) -> libbpf_rs::Result<bool> {
        let link = LinkInfo::from_fd(self.0.as_fd())?;
        Ok(matches!(link.info, LinkTypeInfo::Xdp(link) if link.ifindex != 0))
    }
}

/// An XDP program of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Occupant {
    /// Its name, if the kernel tells it.
    pub name: Option<String>,
    /// Its id, as `bpftool prog` shows it.
    pub id: u32,
    /// The mode that it is attached in.
    pub mode: AttachMode,
    /// Whether it is attached by a bpf_link, as far as the kernel tells: only the holder of that can take it off.
    pub has_link: bool,
}

impl Occupant {
    /// The program that is attached to `interface`, in whatever mode.
    pub fn of(interface: &Interface) -> Result<Option<Self>, Error> {
        let attached = query(interface)?;
        let modes = [
            (AttachMode::Native, attached.drv_prog_id),
            (AttachMode::Skb, attached.skb_prog_id),
            (AttachMode::Hw, attached.hw_prog_id),
        ];
        let Some((mode, id)) = modes.into_iter().find(|&(_, id)| id != 0) else { return Ok(None) };
        let program = ProgInfoIter::default().find(|program| program.id == id);
        let name = program.map(|program| program.name.to_string_lossy().into_owned());
        let is_here = |link: &XdpLinkInfo| link.ifindex == interface.index;
        let has_link = LinkInfoIter::default()
            .any(|link| link.prog_id == id && matches!(&link.info, LinkTypeInfo::Xdp(link) if is_here(link)));
        Ok(Some(Self { name, id, mode, has_link }))
    }

    /// Whether it is libxdp's, which calls several programs one after another.
    pub fn is_dispatcher(&self) -> bool {
        self.name.as_deref() == Some("xdp_dispatcher")
    }

    /// The command that makes room on `interface`; none where that is up to another process, or need not be.
    pub fn remedy(&self, interface: &str) -> Option<String> {
        let mode = match self.mode {
            AttachMode::Native => "xdpdrv",
            AttachMode::Skb => "xdpgeneric",
            AttachMode::Hw => "xdpoffload",
        };
        (!self.has_link && !self.is_dispatcher()).then(|| format!("ip link set dev {interface} {mode} off"))
    }

    /// What the operator can do about it on `interface`.
    pub fn hint(&self, interface: &str) -> String {
        if self.is_dispatcher() {
            return format!(
                "it is libxdp's; `xdp-loader load -m {} {interface} tcp_bounce.bpf.o` adds the object beside what it calls, \
                 but that answers on every port, for every address, and spares no listener",
                self.mode
            );
        }
        match self.remedy(interface) {
            Some(off) => format!(
                "it is never replaced; `bpftool prog show id {}` tells more of it, and `{off}` takes it off, unless a \
                 process holds it",
                self.id
            ),
            None => {
                "it is never replaced, and goes when the process ends that attached it; another tcp-bounce, perhaps: \
                     `pgrep --list-full --exact tcp-bounce`"
                    .into()
            }
        }
    }
}

/// What the kernel tells of XDP on an interface.
pub fn query(interface: &Interface) -> Result<libbpf_sys::bpf_xdp_query_opts, Error> {
    // A query is about no program, but the library wants to see one.
    let stdin = io::stdin();
    let answer = Xdp::new(stdin.as_fd()).query(interface.index as i32, XdpFlags::NONE);
    answer.map_err(|source| Error::Query { interface: interface.name.clone(), source })
}

impl Display for Occupant {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "\"{name}\" (id {}, {} mode)", self.id, self.mode),
            None => write!(f, "id {}, {} mode", self.id, self.mode),
        }
    }
}
